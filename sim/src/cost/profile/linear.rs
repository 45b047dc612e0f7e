//! Everything whose time depends on how many tokens or sequences a step has: one look-up each.

use std::collections::BTreeMap;

use super::error::ProfileError;
use super::read::{Named, Points};
use crate::cost::experts::touched_share;

/// Layers of a dense table and how often a model has them, per transformer layer or once.
const DENSE: &[(&str, Times)] = &[
    ("embedding", Times::Once),
    ("layernorm", Times::PerLayer(2)),
    ("qkv_proj", Times::PerLayer(1)),
    ("qk_norm", Times::PerLayer(1)),
    ("rotary_emb", Times::PerLayer(1)),
    ("o_proj", Times::PerLayer(1)),
    ("gate_up_proj", Times::PerLayer(1)),
    ("act_fn", Times::PerLayer(1)),
    ("down_proj", Times::PerLayer(1)),
    ("final_layernorm", Times::Once),
];

/// Layers without which no decoder can be.
const NEEDED: &[&str] = &[
    "embedding",
    "layernorm",
    "qkv_proj",
    "o_proj",
    "final_layernorm",
];
/// And those of a dense feed-forward block.
const FEED_FORWARD: &[&str] = &["gate_up_proj", "act_fn", "down_proj"];
const PER_SEQUENCE: &[&str] = &["lm_head", "sampler"];

#[derive(Clone, Copy, Debug)]
enum Times {
    Once,
    PerLayer(u32),
}

/// Time in nanoseconds of all dense layers, by tokens; entry 0 is zero.
pub(super) fn dense(
    file: Named<'_>,
    layers: &BTreeMap<String, Points<1>>,
    depth: u32,
    mixture: bool,
) -> Result<Vec<f64>, ProfileError> {
    let needed = NEEDED
        .iter()
        .chain(if mixture { &[][..] } else { FEED_FORWARD });
    for &layer in needed {
        if !layers.contains_key(layer) {
            return Err(ProfileError::NoLayer {
                file: file.name.into(),
                layer,
            });
        }
    }
    let mut sum = Vec::new();
    for (name, points) in layers {
        let Some((_, times)) = DENSE.iter().find(|(known, _)| known == name) else {
            return Err(unknown(file, name, DENSE.iter().map(|(n, _)| *n)));
        };
        let factor = match times {
            Times::Once => 1.0,
            Times::PerLayer(n) => f64::from(depth * n),
        };
        add(file, &mut sum, points, factor)?;
    }
    Ok(sum)
}

/// Time in nanoseconds of what runs once per sequence that a token is drawn for.
pub(super) fn per_sequence(
    file: Named<'_>,
    layers: &BTreeMap<String, Points<1>>,
) -> Result<Vec<f64>, ProfileError> {
    let mut sum = Vec::new();
    for &layer in PER_SEQUENCE {
        let Some(points) = layers.get(layer) else {
            return Err(ProfileError::NoLayer {
                file: file.name.into(),
                layer,
            });
        };
        add(file, &mut sum, points, 1.0)?;
    }
    if let Some(name) = layers.keys().find(|n| !PER_SEQUENCE.contains(&n.as_str())) {
        return Err(unknown(file, name, PER_SEQUENCE.iter().copied()));
    }
    Ok(sum)
}

/// Adds a layer's times at every whole number up to its last point. All layers must reach as far.
fn add(
    file: Named<'_>,
    sum: &mut Vec<f64>,
    points: &Points<1>,
    factor: f64,
) -> Result<(), ProfileError> {
    let line = line(points);
    if line.first().is_none_or(|first| first.0 != 1) {
        return Err(ProfileError::Hole {
            file: file.name.into(),
            point: "1".into(),
        });
    }
    let every = at_every_whole(&line);
    if sum.is_empty() {
        sum.resize(every.len(), 0.0);
    }
    // A layer that ends sooner bounds the whole table.
    sum.truncate(every.len());
    for (slot, us) in sum.iter_mut().zip(every) {
        *slot += factor * us * 1e3;
    }
    Ok(())
}

fn line(points: &Points<1>) -> Vec<(u64, f64)> {
    points.iter().map(|(&[x], &us)| (x, us)).collect()
}

/// Straight lines between points: 0 for none, then each whole number to the last point.
fn at_every_whole(line: &[(u64, f64)]) -> Vec<f64> {
    let mut every = vec![0.0];
    for pair in line.windows(2) {
        let ((a, from), (b, to)) = (pair[0], pair[1]);
        for x in a..b {
            every.push(from + (to - from) * share(a, b, x));
        }
    }
    every.extend(line.last().map(|last| last.1));
    every
}

#[expect(clippy::cast_precision_loss, reason = "table axes are below 2^40")]
fn share(a: u64, b: u64, x: u64) -> f64 {
    (x - a) as f64 / (b - a) as f64
}

/// Time in nanoseconds of all mixture layers, by tokens, with the experts that so many tokens touch if
/// their choices are independent: `E (1 - (1 - k/E)^tokens)`.
///
/// Along the experts times are interpolated in a row of equal tokens, then between two rows. A row of few
/// tokens ends at the experts that those can touch; where more are asked for than it has, it is carried
/// on in parallel to the row above, which has them.
pub(super) fn mixture(
    file: Named<'_>,
    points: &Points<2>,
    depth: u32,
    (active, total): (u32, u32),
) -> Result<Vec<f64>, ProfileError> {
    let mut rows: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
    for (&[tokens, experts], &us) in points {
        #[expect(clippy::cast_precision_loss, reason = "table axes are below 2^40")]
        rows.entry(tokens).or_default().push((experts as f64, us));
    }
    let (most, fewest) = (f64::from(total), f64::from(active));
    for (&tokens, row) in &rows {
        let can = most.min(fewest * count(tokens));
        let (first, last) = (row[0].0, row[row.len() - 1].0);
        // Grids are geometric, so a row may stop short of what could be touched; not short of half.
        if (first - fewest).abs() > 0.5 || last * 2.0 <= can || last > most {
            return Err(ProfileError::Experts {
                file: file.name.into(),
                found: format!("{first} to {last} at {tokens} tokens").into(),
                active,
                total,
            });
        }
    }
    let rows: Vec<(u64, Vec<(f64, f64)>)> = rows.into_iter().collect();
    if rows.first().is_none_or(|first| first.0 != 1) {
        return Err(ProfileError::Hole {
            file: file.name.into(),
            point: "1 token".into(),
        });
    }
    let mut every = vec![0.0];
    let at = |below: &[(f64, f64)], above: &[(f64, f64)], touched: f64| {
        let end = below[below.len() - 1].0;
        let beyond = on_row(above, touched.max(end)) - on_row(above, end);
        on_row(below, touched.min(end)) + beyond
    };
    let mut push = |us: f64| every.push(us * 1e3 * f64::from(depth));
    for pair in rows.windows(2) {
        let ((a, below), (b, above)) = (&pair[0], &pair[1]);
        for tokens in *a..*b {
            let touched = most * touched_share(tokens, fewest / most);
            let (low, high) = (at(below, above, touched), on_row(above, touched));
            push(low + (high - low) * share(*a, *b, tokens));
        }
    }
    if let Some((tokens, row)) = rows.last() {
        push(on_row(row, most * touched_share(*tokens, fewest / most)));
    }
    Ok(every)
}

#[expect(clippy::cast_precision_loss, reason = "table axes are below 2^40")]
fn count(tokens: u64) -> f64 {
    tokens as f64
}

/// Straight lines between points; beyond the last one the slope of the last two.
fn on_row(row: &[(f64, f64)], x: f64) -> f64 {
    let above = row
        .partition_point(|p| p.0 < x)
        .clamp(1, row.len().max(2) - 1);
    let Some(&(b, to)) = row.get(above) else {
        return row[0].1;
    };
    let (a, from) = row[above - 1];
    from + (to - from) * (x - a) / (b - a)
}

fn unknown<'a>(file: Named<'_>, layer: &str, known: impl Iterator<Item = &'a str>) -> ProfileError {
    ProfileError::UnknownLayer {
        file: file.name.into(),
        layer: layer.into(),
        known: known.collect::<Vec<_>>().join(", ").into(),
    }
}

#[cfg(test)]
#[path = "linear_tests.rs"]
mod tests;
