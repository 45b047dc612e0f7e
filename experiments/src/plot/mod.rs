//! Figures: panels in a grid under one legend, as SVG text and as PNG.
//!
//! What: a [`Figure`] says what is to be seen, in numbers and words; [`svg`] draws it, [`png()`] renders
//! that, [`Drawn`] is both with their files. [`style`] gives every policy its own colour, dash and marker,
//! the same in all figures. Every command that draws, draws here.
//! Why: a reader who has learned one figure can read them all, also in a black-and-white print.
//! Limits: lines with markers and intervals, bare lines, bars, and dots; axes are linear, logarithmic or
//! of named categories.

mod draw;
mod drawn;
mod legend;
pub mod png;
pub mod scale;
pub mod style;

use scale::Axis;
use style::Style;

pub use draw::svg;
pub use drawn::Drawn;
pub use png::png;

/// What a whole figure shows.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The first line above the panels; none where it is empty.
    pub title: String,
    /// Under the title: what was run, with how many seeds, what the bars are. Long lines are broken.
    pub caption: Vec<String>,
    /// Panels side by side in one row.
    pub columns: usize,
    /// In reading order.
    pub panels: Vec<Panel>,
}

/// One plot with its axes.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Above the plot; nothing where it is empty.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// Drawn in order; later ones lie on top.
    pub series: Vec<Series>,
}

/// The points of one policy (or one setting) in one panel.
#[derive(Clone, Debug)]
pub struct Series {
    /// In the legend; equal names in several panels share an entry.
    pub name: String,
    /// How it looks.
    pub style: Style,
    /// What the points become.
    pub mark: Mark,
    /// By rising x, for lines.
    pub points: Vec<Point>,
}

/// What the points of a series become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A line with a marker at each point, and its interval as a bar.
    Line,
    /// A line alone, for curves of very many points; intervals are a band.
    Curve,
    /// A horizontal line until the next point: a value that holds.
    Steps,
    /// A bar from the axis, side by side with the other series of the panel.
    Bars,
    /// A dot each, see-through: where many lie on each other it is dark.
    Dots,
}

/// A value with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Place on the axis; the number of the category, from 0, where the axis has names.
    pub x: f64,
    /// The value.
    pub y: f64,
    /// Half of the 95 % interval; `None` where there is none.
    pub half: Option<f64>,
}

impl Point {
    /// A value without an interval.
    pub const fn new(x: f64, y: f64) -> Self {
        Self { x, y, half: None }
    }
}
