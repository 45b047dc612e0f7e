//! Reading clients from CSV: our own table of several clients, and `ServeGen`'s file per client.
//!
//! `ServeGen`'s traps: the files have no header; a window without arrivals has an empty family and
//! zeros; of the two parameters `p1` is `1 / cv^2` for gamma gaps, but `p2` does not match the rate.
//! So the family, the rate and the coefficient of variation are used, and the parameters are not.

use csv::{ReaderBuilder, StringRecord};
use units::{Nanos, Time};

use super::clients::{Client, ClientMix, WINDOW, Window};
use super::gaps::{GapKind, GapLaw};

/// A table of clients that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// The text is not CSV.
    #[error("not CSV: {0}")]
    Csv(#[from] csv::Error),
    /// A line with too many or too few columns.
    #[error("line {line}: {columns} columns (wanted: {wanted})")]
    Columns {
        /// Line, from 1.
        line: u64,
        /// Columns of the line.
        columns: usize,
        /// What they should be.
        wanted: &'static str,
    },
    /// A value that cannot be.
    #[error("line {line}: `{column}` is `{value}` (wanted: {wanted})")]
    Value {
        /// Line, from 1.
        line: u64,
        /// Name of the column.
        column: &'static str,
        /// The value as written.
        value: String,
        /// What it may be.
        wanted: String,
    },
    /// No arrivals at all.
    #[error("no client ever sends anything (wanted: a window with a rate above 0)")]
    Silent,
}

const OURS: &str = "client,start_s,rate_per_s,cv,family";
const SERVEGEN: &str = "start_s,rate,cv,Gamma|Weibull,p1,p2";

impl ClientMix {
    /// Several clients from one table with the header `client,start_s,rate_per_s,cv,family`, one
    /// window of 600 s a line. Lines of a client are in order of time, and may lie anywhere.
    ///
    /// # Errors
    /// The first line that cannot be used.
    pub fn from_csv(text: &str) -> Result<Self, ClientsError> {
        let mut reader = ReaderBuilder::new()
            .flexible(true)
            .comment(Some(b'#'))
            .from_reader(text.as_bytes());
        let header: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
        if header.join(",") != OURS {
            return Err(ClientsError::Value {
                line: reader.headers()?.position().map_or(1, csv::Position::line),
                column: "header",
                value: header.join(","),
                wanted: format!("`{OURS}`"),
            });
        }
        let mut clients: Vec<Client> = Vec::new();
        for record in reader.records() {
            let row = Row::new(record?, 5, OURS)?;
            let name = &row.record[0];
            let at = clients.iter().position(|client| &*client.name == name);
            let at = at.unwrap_or_else(|| {
                clients.push(Client {
                    name: name.into(),
                    windows: Vec::new(),
                });
                clients.len() - 1
            });
            let windows = &mut clients[at].windows;
            windows.extend(row.window(1, windows.last())?);
        }
        Self::new(clients).ok_or(ClientsError::Silent)
    }
}

impl Client {
    /// One client from a file of `ServeGen`: `start_s,rate,cv,Gamma|Weibull,p1,p2`, no header.
    ///
    /// # Errors
    /// The first line that cannot be used.
    pub fn from_servegen(name: &str, text: &str) -> Result<Self, ClientsError> {
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        let mut windows: Vec<Window> = Vec::new();
        for record in reader.records() {
            let row = Row::new(record?, 6, SERVEGEN)?;
            windows.extend(row.window(0, windows.last())?);
        }
        Ok(Self {
            name: name.into(),
            windows,
        })
    }
}

struct Row {
    record: StringRecord,
    line: u64,
}

impl Row {
    fn new(
        record: StringRecord,
        columns: usize,
        wanted: &'static str,
    ) -> Result<Self, ClientsError> {
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != columns {
            return Err(ClientsError::Columns {
                line,
                columns: record.len(),
                wanted,
            });
        }
        Ok(Self { record, line })
    }

    fn bad(&self, at: usize, column: &'static str, wanted: String) -> ClientsError {
        ClientsError::Value {
            line: self.line,
            column,
            value: self.record[at].to_owned(),
            wanted,
        }
    }

    fn number(
        &self,
        at: usize,
        column: &'static str,
        least: f64,
        most: f64,
    ) -> Result<f64, ClientsError> {
        let number: Option<f64> = self.record[at].trim().parse().ok();
        number
            .filter(|x| (least..=most).contains(x))
            .ok_or_else(|| self.bad(at, column, format!("a number from {least} to {most}")))
    }

    /// The window in the columns from `at`: start, rate, cv, family. `None` if nothing arrives in it.
    fn window(&self, at: usize, last: Option<&Window>) -> Result<Option<Window>, ClientsError> {
        let start = self.number(at, "start_s", 0.0, 1e9)?;
        let start = Nanos::from_secs(start)
            .map_err(|_| self.bad(at, "start_s", "a time in seconds".to_owned()))?;
        let start = Time::ZERO + start;
        if let Some(last) = last.filter(|last| last.start + WINDOW > start) {
            let wanted = format!("at least {}", (last.start + WINDOW).as_secs());
            return Err(self.bad(at, "start_s", wanted));
        }
        let rate_per_s = self.number(at + 1, "rate", 0.0, 1e9)?;
        if rate_per_s <= 0.0 {
            return Ok(None);
        }
        let kind = match self.record[at + 3].trim() {
            "Gamma" => GapKind::Gamma,
            "Weibull" => GapKind::Weibull,
            _ => return Err(self.bad(at + 3, "family", "Gamma or Weibull".to_owned())),
        };
        let cv = self.number(at + 2, "cv", 0.01, 1000.0)?;
        let law = GapLaw::new(kind, cv)
            .map_err(|_| self.bad(at + 2, "cv", "a number from 0.01 to 1000".to_owned()))?;
        Ok(Some(Window {
            start,
            rate_per_s,
            law,
        }))
    }
}
