//! Reading CSV tables: named columns of whole numbers, and a time in microseconds.

use std::collections::BTreeMap;

use super::error::ProfileError;

/// Times in microseconds, by the numbers that stand for a point.
pub(super) type Points<const N: usize> = BTreeMap<[u64; N], f64>;

/// A text and its name in errors.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// What errors call it.
    pub name: &'a str,
    /// What it holds.
    pub text: &'a str,
}

/// Times by layer and point.
pub(super) fn by_layer<const N: usize>(
    file: Named<'_>,
    columns: [&'static str; N],
) -> Result<BTreeMap<String, Points<N>>, ProfileError> {
    let mut layers: BTreeMap<String, Points<N>> = BTreeMap::new();
    rows(file, Some("layer"), columns, |line, layer, point, time| {
        let points = layers.entry(layer.to_owned()).or_default();
        insert(file, line, points, point, time)
    })?;
    Ok(layers)
}

/// Times by point.
pub(super) fn points<const N: usize>(
    file: Named<'_>,
    columns: [&'static str; N],
) -> Result<Points<N>, ProfileError> {
    let mut points = Points::new();
    rows(file, None, columns, |line, _, point, time| {
        insert(file, line, &mut points, point, time)
    })?;
    Ok(points)
}

fn insert<const N: usize>(
    file: Named<'_>,
    line: u64,
    points: &mut Points<N>,
    point: [u64; N],
    time: f64,
) -> Result<(), ProfileError> {
    match points.insert(point, time) {
        None => Ok(()),
        Some(_) => Err(ProfileError::Twice {
            file: file.name.into(),
            line,
            point: format!("{point:?}").into(),
        }),
    }
}

fn rows<const N: usize>(
    file: Named<'_>,
    label: Option<&'static str>,
    columns: [&'static str; N],
    mut row: impl FnMut(u64, &str, [u64; N], f64) -> Result<(), ProfileError>,
) -> Result<(), ProfileError> {
    let broken = |error: csv::Error| ProfileError::Csv {
        file: file.name.into(),
        message: error.to_string().into(),
    };
    let mut reader = csv::Reader::from_reader(file.text.as_bytes());
    let header = reader.headers().map_err(broken)?.clone();
    let place = |column: &'static str| {
        let found = header.iter().position(|name| name.trim() == column);
        found.ok_or_else(|| ProfileError::NoColumn {
            file: file.name.into(),
            column,
            found: header.iter().collect::<Vec<_>>().join(", ").into(),
        })
    };
    let label = label.map(place).transpose()?;
    let mut places = [0; N];
    for (slot, column) in places.iter_mut().zip(columns) {
        *slot = place(column)?;
    }
    let time_at = place("time_us")?;
    for record in reader.records() {
        let record = record.map_err(broken)?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |at: usize| record.get(at).unwrap_or_default().trim();
        let wrong = |column, value: &str, wanted| ProfileError::Field {
            file: file.name.into(),
            line,
            column,
            value: value.into(),
            wanted,
        };
        let mut point = [0; N];
        for ((slot, &at), column) in point.iter_mut().zip(&places).zip(columns) {
            let parsed = field(at).parse::<u64>().ok().filter(|n| *n <= 1 << 40);
            *slot = parsed.ok_or_else(|| wrong(column, field(at), "0 to 2^40"))?;
        }
        let time = field(time_at).parse::<f64>().ok();
        let time = time.filter(|us| us.is_finite() && *us > 0.0 && *us < 1e12);
        let time = time.ok_or_else(|| wrong("time_us", field(time_at), "microseconds above 0"))?;
        row(line, label.map_or("", field), point, time)?;
    }
    Ok(())
}
