//! Axes: where a value lies and what the ticks say.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::Ranged;

/// What an axis shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The quantity, with its unit.
    pub label: String,
    /// How values are laid out.
    pub scale: Scale,
    /// First and last value shown; values beyond lie on the edge. `None`: what the data need.
    pub limits: Option<(f64, f64)>,
}

/// How values are laid out along an axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    /// Evenly. From zero, unless there are negative values.
    Linear,
    /// By the logarithm, over whole decades. Values that are not above zero are not shown.
    Log,
    /// One place per name.
    Names(Vec<String>),
}

impl Axis {
    /// An even axis.
    pub fn linear(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            scale: Scale::Linear,
            limits: None,
        }
    }

    /// A logarithmic axis.
    pub fn log(label: impl Into<String>) -> Self {
        Self {
            scale: Scale::Log,
            ..Self::linear(label)
        }
    }

    /// An axis of categories.
    pub fn names(label: impl Into<String>, names: Vec<String>) -> Self {
        Self {
            scale: Scale::Names(names),
            ..Self::linear(label)
        }
    }

    /// The same axis from `low` to `high`.
    pub fn within(self, low: f64, high: f64) -> Self {
        Self {
            limits: Some((low, high)),
            ..self
        }
    }

    /// Where the value is drawn; `None` if it cannot be.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        if !value.is_finite() {
            return None;
        }
        let value = self
            .limits
            .map_or(value, |(low, high)| value.clamp(low, high));
        match self.scale {
            Scale::Log => (value > 0.0).then(|| value.log10()),
            Scale::Linear | Scale::Names(_) => Some(value),
        }
    }

    /// The ends of the axis, as places, for these values. Never empty.
    #[expect(clippy::cast_precision_loss, reason = "a handful of categories")]
    pub(super) fn range(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        if let Scale::Names(names) = &self.scale {
            return (-0.5, names.len().max(1) as f64 - 0.5);
        }
        if let Some((low, high)) = self.limits {
            let place = |value| self.place(value).unwrap_or(0.0);
            return (place(low), place(high));
        }
        let places: Vec<f64> = values.filter_map(|value| self.place(value)).collect();
        let low = places.iter().copied().fold(f64::INFINITY, f64::min);
        let high = places.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if places.is_empty() {
            return (0.0, 1.0);
        }
        if self.scale == Scale::Log {
            let (low, high) = (low.floor(), high.ceil());
            return (low, high.max(low + 1.0));
        }
        let (low, high) = (low.min(0.0), high.max(0.0));
        let room = (high - low) * 0.06;
        let room = if room > 0.0 { room } else { 1.0 };
        (if low < 0.0 { low - room } else { 0.0 }, high + room)
    }

    /// How many ticks to ask for; a logarithmic axis has its own.
    pub(super) fn ticks(&self) -> usize {
        match &self.scale {
            Scale::Linear | Scale::Log => 6,
            Scale::Names(names) => 2 * names.len() + 1,
        }
    }

    /// The axis between these ends, for the drawing library.
    pub(super) fn span(&self, (low, high): (f64, f64)) -> Span {
        Span {
            even: (low..high).into(),
            ticks: (self.scale == Scale::Log).then(|| decades(low, high)),
        }
    }

    /// What stands at a tick; nothing where no number belongs.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a category's number"
    )]
    pub(super) fn tick(&self, place: f64) -> String {
        let whole = place.round();
        let is_whole = (place - whole).abs() < 1e-6;
        match &self.scale {
            Scale::Linear => number(place),
            Scale::Log => number(10_f64.powf(place)),
            Scale::Names(names) if is_whole && whole >= 0.0 => {
                names.get(whole as usize).cloned().unwrap_or_default()
            }
            Scale::Names(_) => String::new(),
        }
    }
}

/// An axis with ends. Places are even along it; the ticks of a logarithmic one are not.
pub(super) struct Span {
    even: RangedCoordf64,
    /// Where ticks stand; `None`: where the library puts them.
    ticks: Option<Vec<f64>>,
}

impl Ranged for Span {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, pixels: (i32, i32)) -> i32 {
        self.even.map(place, pixels)
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        let wanted = || self.even.key_points(hint);
        self.ticks.clone().unwrap_or_else(wanted)
    }

    fn range(&self) -> Range<f64> {
        self.even.range()
    }
}

/// Ticks between two places of a logarithmic axis: every power of ten, or every second of many; with few
/// of them also their double and fivefold.
fn decades(low: f64, high: f64) -> Vec<f64> {
    let steps: &[f64] = if high - low > 2.0 {
        &[1.0]
    } else {
        &[1.0, 2.0, 5.0]
    };
    let stride = if high - low > 8.0 { 2.0 } else { 1.0 };
    let mut ticks = Vec::new();
    let mut decade = low.floor();
    while decade <= high {
        let within = steps.iter().map(|step| decade + step.log10());
        ticks.extend(within.filter(|tick| (low..=high).contains(tick)));
        decade += stride;
    }
    ticks
}

/// A number as an axis shows it: without the noise of binary fractions, thousands and up by letter.
fn number(value: f64) -> String {
    let (scaled, letter) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let rounded = (scaled * 1e6).round() / 1e6;
    // No minus before a zero.
    let rounded = if rounded == 0.0 { 0.0 } else { rounded };
    format!("{rounded}{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_start_at_zero_and_leave_room() {
        let axis = Axis::linear("x");
        assert_eq!(axis.range([2.0, 10.0].into_iter()), (0.0, 10.6));
        assert_eq!(axis.range([-10.0, 10.0].into_iter()), (-11.2, 11.2));
        assert_eq!(axis.range([0.0].into_iter()), (0.0, 1.0));
        assert_eq!(axis.range([f64::NAN].into_iter()), (0.0, 1.0));
    }

    #[test]
    fn logarithmic_axes_span_whole_decades() {
        let axis = Axis::log("x");
        assert_eq!(axis.range([0.0, 3.0, 250.0].into_iter()), (0.0, 3.0));
        assert_eq!(axis.range([10.0].into_iter()), (1.0, 2.0));
        assert_eq!(axis.place(0.0), None);
        assert_eq!(
            [-3.0, -1.0, 0.0, 50_f64.log10(), 4.0, 6.0].map(|p| axis.tick(p)),
            ["0.001", "0.1", "1", "50", "10k", "1M"]
        );
    }

    #[test]
    fn a_short_logarithmic_axis_has_ticks_within_its_decades() {
        let shown = |low: f64, high: f64| -> Vec<String> {
            let places = decades(low, high);
            places.iter().map(|p| Axis::log("x").tick(*p)).collect()
        };
        assert_eq!(
            shown(1.0, 3.0),
            ["10", "20", "50", "100", "200", "500", "1000"]
        );
        assert_eq!(shown(30_f64.log10(), 2.0), ["50", "100"]);
        assert_eq!(shown(0.0, 3.0), ["1", "10", "100", "1000"]);
        assert_eq!(decades(0.0, 9.0), [0.0, 2.0, 4.0, 6.0, 8.0]);
    }

    #[test]
    fn names_stand_at_their_places_only() {
        let axis = Axis::names("x", vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(axis.range([].into_iter()), (-0.5, 1.5));
        assert_eq!(
            [-0.5, 0.0, 0.5, 1.0, 2.0].map(|p| axis.tick(p)),
            ["", "a", "", "b", ""]
        );
    }

    #[test]
    fn values_beyond_the_limits_lie_on_the_edge() {
        let axis = Axis::linear("x").within(0.0, 5.0);
        assert_eq!(axis.place(9.0), Some(5.0));
        assert_eq!(axis.range([9.0].into_iter()), (0.0, 5.0));
        assert_eq!([12_000.0, 0.1 + 0.2, -0.0].map(number), ["12k", "0.3", "0"]);
    }
}
