//! Reading a draw: a number, or a table with one distribution and its modifiers.

use super::dist::Dist;
use super::draw::Draw;
use super::error::SpecError;
use super::mixture::Mixture;
use super::toml_text::{Field, Table};

const KINDS: &[&str] = &[
    "constant",
    "lognormal",
    "mixture",
    "gamma",
    "normal",
    "uniform",
    "empirical",
    "quantiles",
];
const MODIFIERS: &[&str] = &[
    "truncate",
    "clip",
    "plus",
    "session_factor",
    "session_correlation",
];
/// Logarithms of what a description may draw: `exp(50)` is far above any limit.
const MOST_LN: f64 = 50.0;

/// Reads a draw of values that are not negative. `most` bounds every number in it.
pub(super) fn draw(field: &Field<'_>, most: f64) -> Result<Draw, SpecError> {
    if field.as_number().is_some() {
        let mut draw = Draw::constant(field.number(0.0, most)?);
        draw.clip = (0.0, most);
        return Ok(draw);
    }
    let wanted = "a number or a table with a distribution";
    let table = field.as_table().ok_or_else(|| field.bad(wanted))?;
    table.only(&[KINDS, MODIFIERS].concat())?;
    let kinds = table.which(KINDS);
    let [kind] = kinds.as_slice() else {
        return Err(field.bad(format!("exactly one of {}", super::error::list(KINDS))));
    };
    let dist = dist(kind, &table.need(kind, "a distribution")?, most)?;
    let share = |key, most| table.get(key).map_or(Ok(0.0), |f| f.number(0.0, most));
    let clip = table.get("clip").map(|f| range(&f, most));
    Ok(Draw {
        within: within(&table, &dist, most)?,
        plus: table
            .get("plus")
            .map_or(Ok(0.0), |f| f.number(-most, most))?,
        clip: clip.transpose()?.unwrap_or((0.0, most)),
        session_factor: share("session_factor", 10.0)?,
        session_correlation: share("session_correlation", 1.0)?,
        dist,
    })
}

/// Two numbers that rise.
fn range(field: &Field<'_>, most: f64) -> Result<(f64, f64), SpecError> {
    let [low, high] = field.numbers(0.0, most)?;
    if low > high {
        return Err(field.bad("the lower end first"));
    }
    Ok((low, high))
}

/// Shares below the ends of `truncate`.
fn within(table: &Table<'_>, dist: &Dist, most: f64) -> Result<Option<(f64, f64)>, SpecError> {
    let Some(field) = table.get("truncate") else {
        return Ok(None);
    };
    if matches!(dist, Dist::Constant(_) | Dist::Empirical(_)) {
        return Err(field.bad("nothing here: list only the values that you want"));
    }
    let (low, high) = range(&field, most)?;
    let shares = (dist.share_below(low), dist.share_below(high));
    // Below that, the quantile is decided by rounding.
    if shares.1 - shares.0 < 1e-9 {
        return Err(field.bad("a range that the distribution reaches"));
    }
    Ok(Some(shares))
}

fn dist(kind: &str, field: &Field<'_>, most: f64) -> Result<Dist, SpecError> {
    match kind {
        "constant" => Ok(Dist::Constant(field.number(0.0, most)?)),
        "lognormal" => lognormal(&field.table()?, most),
        "mixture" => mixture(field),
        "gamma" => gamma(&field.table()?, most),
        "normal" => {
            let table = field.table()?;
            table.only(&["mean", "sd"])?;
            Ok(Dist::Normal {
                mean: table.need("mean", "a mean")?.number(-most, most)?,
                sd: table
                    .need("sd", "a standard deviation")?
                    .number(1e-9, most)?,
            })
        }
        "uniform" => {
            let (low, high) = range(field, most)?;
            if low >= high {
                return Err(field.bad("two different ends"));
            }
            Ok(Dist::Uniform { low, high })
        }
        "empirical" => {
            let items = field.items()?;
            let values = items.iter().map(|item| item.number(0.0, most));
            let mut values = values.collect::<Result<Vec<_>, _>>()?;
            values.sort_by(f64::total_cmp);
            Ok(Dist::Empirical(values))
        }
        _ => quantiles(field, most),
    }
}

/// `{ mu, sigma }`, `{ median, sigma }` or `{ mean, sd }`.
fn lognormal(table: &Table<'_>, most: f64) -> Result<Dist, SpecError> {
    table.only(&["mu", "sigma", "median", "mean", "sd"])?;
    if table.get("mean").is_some() {
        table.only(&["mean", "sd"])?;
        let mean = table.need("mean", "a mean")?.number(1e-9, most)?;
        let sd = table
            .need("sd", "a standard deviation")?
            .number(0.0, most)?;
        // The lognormal with these two moments.
        let variance = libm::log1p((sd / mean) * (sd / mean));
        let mu = libm::log(mean) - variance / 2.0;
        return Ok(lognormal_of(mu, libm::sqrt(variance)));
    }
    let sigma = table.need("sigma", "standard deviation of the logarithm")?;
    let sigma = sigma.number(0.0, 10.0)?;
    if table.get("median").is_some() {
        table.only(&["median", "sigma"])?;
        let median = table.need("median", "a median")?.number(1e-9, most)?;
        return Ok(lognormal_of(libm::log(median), sigma));
    }
    let mu = table.need(
        "mu",
        "mean of the logarithm (or `median`, or `mean` and `sd`)",
    )?;
    Ok(lognormal_of(mu.number(-MOST_LN, MOST_LN)?, sigma))
}

/// Without spread it is a number: a share below some value would be 0 / 0.
fn lognormal_of(mu: f64, sigma: f64) -> Dist {
    if sigma > 0.0 {
        Dist::Lognormal { mu, sigma }
    } else {
        Dist::Constant(libm::exp(mu))
    }
}

/// `[{ weight, mu, sigma }, ...]`; weights are scaled to sum to 1.
fn mixture(field: &Field<'_>) -> Result<Dist, SpecError> {
    let mut parts = Vec::new();
    for item in field.items()? {
        let table = item.table()?;
        table.only(&["weight", "mu", "sigma"])?;
        let weight = table.need("weight", "a weight")?.number(1e-9, 1e9)?;
        let mu = table.need("mu", "mean of the logarithm")?;
        let sigma = table.need("sigma", "standard deviation of the logarithm")?;
        parts.push((
            weight,
            mu.number(-MOST_LN, MOST_LN)?,
            sigma.number(1e-6, 10.0)?,
        ));
    }
    Ok(Dist::Mixture(Mixture::new(parts)))
}

/// `{ mean, cv }`.
fn gamma(table: &Table<'_>, most: f64) -> Result<Dist, SpecError> {
    table.only(&["mean", "cv"])?;
    let mean = table.need("mean", "a mean")?.number(1e-9, most)?;
    // Beyond a coefficient of variation of 10 nearly all values are 0.
    let cv = table
        .need("cv", "standard deviation / mean")?
        .number(0.01, 10.0)?;
    let shape = 1.0 / (cv * cv);
    Ok(Dist::Gamma {
        shape,
        rate: shape / mean,
    })
}

/// `[[share, value], ...]`: shares rise from 0 to 1, values do not fall.
fn quantiles(field: &Field<'_>, most: f64) -> Result<Dist, SpecError> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for item in field.items()? {
        let [share, value] = item.numbers(0.0, most)?;
        let (before, floor) = points.last().copied().unwrap_or((-1.0, 0.0));
        if share <= before || share > 1.0 || value < floor {
            return Err(
                item.bad("a share above the one before, and a value not below the one before")
            );
        }
        points.push((share, value));
    }
    let ends = (points.first().map(|p| p.0), points.last().map(|p| p.0));
    if ends != (Some(0.0), Some(1.0)) {
        return Err(field.bad("points from share 0 to share 1"));
    }
    Ok(Dist::Quantiles(points))
}
