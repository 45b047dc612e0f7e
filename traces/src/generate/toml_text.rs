//! Walking a TOML text with the path and the line of everything in it.
//!
//! Why: serde's refusals name neither the nearest key nor the value's limits, and a description of a
//! workload is written by hand.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{SpecError, list, nearest};

/// A table of the text.
#[derive(Clone, Debug)]
pub(super) struct Table<'a> {
    text: &'a str,
    path: String,
    at: usize,
    entries: &'a DeTable<'a>,
}

/// A value of the text.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    text: &'a str,
    path: String,
    value: &'a Spanned<DeValue<'a>>,
}

fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}

impl<'a> Table<'a> {
    /// The whole text.
    pub(super) fn root(text: &'a str, root: &'a Spanned<DeTable<'a>>) -> Self {
        Self {
            text,
            path: String::new(),
            at: 0,
            entries: root.get_ref(),
        }
    }

    /// Path of `key` in this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Refuses keys that are not in `known`; the first in the text's order is the one reported.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), SpecError> {
        let unknown = self
            .entries
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
            .min_by_key(|key| key.span().start);
        let Some(key) = unknown else { return Ok(()) };
        Err(SpecError::UnknownKey {
            line: line_of(self.text, key.span().start),
            key: self.path_of(key.get_ref()),
            nearest: nearest(key.get_ref(), known),
            known: list(known),
        })
    }

    /// The keys of this table that are in `these`, in the order of `these`.
    pub(super) fn which<'k>(&self, these: &[&'k str]) -> Vec<&'k str> {
        let here = these.iter().filter(|key| self.entries.contains_key(**key));
        here.copied().collect()
    }

    pub(super) fn get(&self, key: &str) -> Option<Field<'a>> {
        let value = self.entries.get(key)?;
        Some(Field {
            text: self.text,
            path: self.path_of(key),
            value,
        })
    }

    pub(super) fn need(&self, key: &str, wanted: &'static str) -> Result<Field<'a>, SpecError> {
        self.get(key).ok_or_else(|| SpecError::Missing {
            line: line_of(self.text, self.at),
            key: self.path_of(key),
            wanted,
        })
    }

    /// The tables of an array of tables; none if the key is absent.
    pub(super) fn tables(&self, key: &str) -> Result<Vec<Self>, SpecError> {
        let Some(field) = self.get(key) else {
            return Ok(Vec::new());
        };
        field.items()?.iter().map(Field::table).collect()
    }
}

impl<'a> Field<'a> {
    /// The refusal of this value.
    pub(super) fn bad(&self, wanted: impl Into<String>) -> SpecError {
        const MOST: usize = 60;
        let span = self.value.span();
        let written = self.text.get(span.clone()).unwrap_or("?");
        let mut value: String = written.chars().take(MOST).collect();
        if value.len() < written.len() {
            value.push_str("...");
        }
        SpecError::Value {
            line: line_of(self.text, span.start),
            key: self.path.clone(),
            value,
            wanted: wanted.into(),
        }
    }

    /// The refusal of this value, which is none of these names.
    pub(super) fn bad_name(&self, known: &[&str]) -> SpecError {
        let name = self.value.get_ref().as_str().unwrap_or_default();
        let hint = nearest(name, known)
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        self.bad(format!("one of {}{hint}", list(known)))
    }

    /// The number, whole or not; `None` for anything else.
    pub(super) fn as_number(&self) -> Option<f64> {
        match self.value.get_ref() {
            DeValue::Integer(i) =>
            {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "numbers of a description are far below 2^53"
                )]
                i64::from_str_radix(i.as_str(), i.radix())
                    .ok()
                    .map(|i| i as f64)
            }
            DeValue::Float(f) => f.as_str().parse().ok(),
            _ => None,
        }
    }

    /// A number from `least` to `most`.
    pub(super) fn number(&self, least: f64, most: f64) -> Result<f64, SpecError> {
        let number = self.as_number().filter(|x| (least..=most).contains(x));
        number.ok_or_else(|| self.bad(format!("a number from {least} to {most}")))
    }

    /// A whole number from `least` to `most`.
    pub(super) fn whole(&self, least: u64, most: u64) -> Result<u64, SpecError> {
        let whole = match self.value.get_ref() {
            DeValue::Integer(i) => u64::from_str_radix(i.as_str(), i.radix()).ok(),
            _ => None,
        };
        let within = whole.filter(|x| (least..=most).contains(x));
        within.ok_or_else(|| self.bad(format!("a whole number from {least} to {most}")))
    }

    /// A text that is not empty.
    pub(super) fn text(&self) -> Result<&'a str, SpecError> {
        let text = self.value.get_ref().as_str().filter(|t| !t.is_empty());
        text.ok_or_else(|| self.bad("a text that is not empty"))
    }

    pub(super) fn boolean(&self) -> Result<bool, SpecError> {
        let boolean = self.value.get_ref().as_bool();
        boolean.ok_or_else(|| self.bad("true or false"))
    }

    pub(super) fn as_table(&self) -> Option<Table<'a>> {
        let entries = self.value.get_ref().as_table()?;
        Some(Table {
            text: self.text,
            path: self.path.clone(),
            at: self.value.span().start,
            entries,
        })
    }

    pub(super) fn table(&self) -> Result<Table<'a>, SpecError> {
        self.as_table().ok_or_else(|| self.bad("a table"))
    }

    /// The items of an array that is not empty.
    pub(super) fn items(&self) -> Result<Vec<Self>, SpecError> {
        let array = self.value.get_ref().as_array();
        let array = array.filter(|items| !items.is_empty());
        let array = array.ok_or_else(|| self.bad("a list that is not empty"))?;
        let items = array.iter().enumerate().map(|(i, value)| Self {
            text: self.text,
            path: format!("{}[{i}]", self.path),
            value,
        });
        Ok(items.collect())
    }

    /// Exactly `N` numbers, each from `least` to `most`.
    pub(super) fn numbers<const N: usize>(
        &self,
        least: f64,
        most: f64,
    ) -> Result<[f64; N], SpecError> {
        let numbers: Vec<f64> = self
            .items()?
            .iter()
            .map(|item| item.number(least, most))
            .collect::<Result<_, _>>()?;
        let wanted = || self.bad(format!("a list of {N} numbers"));
        numbers.try_into().map_err(|_| wanted())
    }
}
