//! What a figure is made of: sweeps, and how their results become panels.

use super::drawing::Drawing;
use super::results::{How, Results};
use crate::failure::Failure;
use crate::sweep::grid::Grid as Runs;

/// A figure.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// What the command line and its files call it.
    pub name: &'static str,
    /// Above the drawing.
    pub title: &'static str,
    /// What it shows and what to look for.
    pub about: &'static str,
    /// Whether the paper has it.
    pub of_paper: bool,
    /// Panels side by side.
    pub columns: usize,
    /// Sweeps with their drawings; the panels of all stand in one grid.
    pub parts: &'static [Part],
    /// Policies of its own, as file name and TOML: they lie beside the sweep.
    pub policies: &'static [(&'static str, &'static str)],
}

impl Recipe {
    /// Numbers of the parts whose runs are kept, not timed.
    pub fn kept(&self) -> impl Iterator<Item = usize> {
        let parts = self.parts.iter().enumerate();
        let kept = parts.filter(|(_, part)| !matches!(part.shape, Shape::Timed(_)));
        kept.map(|(number, _)| number)
    }
}

/// A sweep and what to draw of it.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// As `orrery sweep` takes it.
    pub sweep: &'static str,
    /// The panels.
    pub shape: Shape,
}

/// How results become panels.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A panel per metric and group, a line per series: most figures.
    Grid(Grid),
    /// Anything else.
    Own(fn(&Results) -> anyhow::Result<Drawing>),
    /// No runs are kept: the sweep's runs are timed on this machine, now.
    Timed(fn(&Runs, &How<'_>) -> Result<Timed, Failure>),
}

/// What a measurement on this machine comes to.
#[derive(Clone, Debug, Default)]
pub struct Timed {
    /// Panels and numbers.
    pub drawing: Drawing,
    /// What was run and on what, for the caption.
    pub setting: String,
}

/// Columns of the table of runs, and where they go.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Rows of panels.
    pub metrics: &'static [Metric],
    /// Column whose values make panels of their own; `None`: one panel per metric.
    pub panels: Option<&'static str>,
    /// Column of the horizontal axis.
    pub x: Metric,
    /// Column whose values make lines.
    pub series: &'static str,
    /// Bars instead of lines.
    pub bars: bool,
}

/// A column as a quantity.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// In `runs.csv`.
    pub column: &'static str,
    /// With its unit.
    pub label: &'static str,
    /// On a logarithmic axis.
    pub log: bool,
}

impl Metric {
    /// On an even axis.
    pub const fn new(column: &'static str, label: &'static str) -> Self {
        Self {
            column,
            label,
            log: false,
        }
    }

    /// On a logarithmic axis.
    pub const fn log(column: &'static str, label: &'static str) -> Self {
        Self {
            column,
            label,
            log: true,
        }
    }
}
