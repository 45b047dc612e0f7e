//! What a part of a figure comes to: panels, and the numbers in them.

use crate::estimate::Estimate;
use crate::plot::Panel;

/// Panels with the numbers that they show.
#[derive(Clone, Debug, Default)]
pub struct Drawing {
    /// In reading order.
    pub panels: Vec<Panel>,
    /// A row per point.
    pub rows: Vec<Row>,
}

/// A point, as a row of the figure's CSV.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Title of its panel.
    pub panel: String,
    /// What is measured, with its unit.
    pub metric: String,
    /// Its line.
    pub series: String,
    /// What the horizontal axis shows, with its unit.
    pub x_name: String,
    /// Where on it.
    pub x: String,
    /// The value over seeds.
    pub value: Estimate,
}

impl Drawing {
    /// Adds the panels and rows of another part.
    pub fn absorb(&mut self, other: Self) {
        self.panels.extend(other.panels);
        self.rows.extend(other.rows);
    }

    /// The numbers as CSV; `n/a` where there is none.
    ///
    /// # Errors
    /// None in practice: it writes to memory.
    pub fn csv(&self) -> anyhow::Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record([
            "panel", "metric", "series", "x_name", "x", "mean", "half_95", "seeds",
        ])?;
        for row in &self.rows {
            let shown = |value: Option<f64>| value.map_or_else(|| "n/a".to_owned(), digits);
            writer.write_record([
                &row.panel,
                &row.metric,
                &row.series,
                &row.x_name,
                &row.x,
                &shown(row.value.mean),
                &shown(row.value.half()),
                &row.value.n.to_string(),
            ])?;
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }
}

/// Six significant digits: more than any interval here leaves.
pub fn digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let rounded: f64 = format!("{value:.5e}").parse().unwrap_or(value);
    rounded.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_missing_ones_are_not_zero() {
        assert_eq!(
            [1_234.567_89, 0.1 + 0.2, 0.0, 12_345_678.0].map(digits),
            ["1234.57", "0.3", "0", "12345700"]
        );
        let row = |values: &[f64]| Row {
            panel: "p".to_owned(),
            metric: "latency, s".to_owned(),
            series: "mars".to_owned(),
            x_name: "rate".to_owned(),
            x: "0.1".to_owned(),
            value: Estimate::of(values),
        };
        let drawing = Drawing {
            panels: Vec::new(),
            rows: vec![row(&[1.0, 3.0]), row(&[2.0]), row(&[])],
        };
        // Student's t for two values is 12.706; their standard error is 1.
        assert_eq!(
            drawing.csv().unwrap(),
            "panel,metric,series,x_name,x,mean,half_95,seeds\n\
             p,\"latency, s\",mars,rate,0.1,2,12.7062,2\n\
             p,\"latency, s\",mars,rate,0.1,2,n/a,1\n\
             p,\"latency, s\",mars,rate,0.1,n/a,n/a,0\n"
        );
    }
}
