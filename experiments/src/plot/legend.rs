//! Above the panels: title, caption, and one legend for all of them.

use plotters::element::Text;
use plotters::prelude::{Color as _, IntoFont as _, IntoTextStyle, Rectangle};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::draw::{Area, FONT, dot, line, marker, refused, rgb};
use super::style::Style;
use super::{Figure, Mark};

const LEFT: i32 = 16;
const TITLE_HEIGHT: u32 = 30;
const LINE_HEIGHT: u32 = 20;
/// Length of the piece of line before a name.
const SAMPLE: i32 = 38;
/// A letter of 14 px is about this wide.
const LETTER: f64 = 7.4;

struct Entry {
    name: String,
    style: Style,
    mark: Mark,
    x: i32,
    row: u32,
}

/// All that stands above the panels.
pub(super) struct Legend {
    title: String,
    caption: Vec<String>,
    entries: Vec<Entry>,
}

/// Pixels that a text of 14 px takes.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "pixels of a short text"
)]
fn width_of(text: &str) -> i32 {
    (text.chars().count() as f64 * LETTER).ceil() as i32
}

/// The text in lines that fit, broken between words.
fn wrapped(text: &str, width: i32) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("never empty");
        if last.is_empty() {
            last.push_str(word);
        } else if width_of(last) + width_of(word) + 8 <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

impl Legend {
    /// An entry per name, in the order of first appearance, in as many rows as they need.
    pub(super) fn of(figure: &Figure, width: u32) -> Self {
        let width = i32::try_from(width).unwrap_or(i32::MAX) - 2 * LEFT;
        let mut entries: Vec<Entry> = Vec::new();
        let (mut x, mut row) = (0, 0);
        for series in figure.panels.iter().flat_map(|panel| &panel.series) {
            if entries.iter().any(|e| e.name == series.name) {
                continue;
            }
            let needs = SAMPLE + 8 + width_of(&series.name) + 22;
            if x > 0 && x + needs > width {
                (x, row) = (0, row + 1);
            }
            entries.push(Entry {
                name: series.name.clone(),
                style: series.style,
                mark: series.mark,
                x,
                row,
            });
            x += needs;
        }
        let caption = figure.caption.iter().flat_map(|text| wrapped(text, width));
        Self {
            title: figure.title.clone(),
            caption: caption.collect(),
            entries,
        }
    }

    /// Pixels above the panels.
    pub(super) fn height(&self) -> u32 {
        let captions = u32::try_from(self.caption.len()).unwrap_or(u32::MAX);
        let rows = self.entries.last().map_or(0, |e| e.row + 1);
        self.title_height() + LINE_HEIGHT * (captions + rows) + 12
    }

    fn title_height(&self) -> u32 {
        if self.title.is_empty() {
            0
        } else {
            TITLE_HEIGHT
        }
    }

    pub(super) fn draw(&self, area: &Area<'_>) -> anyhow::Result<()> {
        let anchor = Pos::new(HPos::Left, VPos::Center);
        let large = (FONT, 18).into_font().into_text_style(area).pos(anchor);
        let small = (FONT, 14).into_font().into_text_style(area).pos(anchor);
        let title = Text::new(self.title.clone(), (LEFT, 18), large);
        area.draw(&title).map_err(refused)?;
        let mut y = i32::try_from(self.title_height())? + 10;
        let step = i32::try_from(LINE_HEIGHT)?;
        for caption in &self.caption {
            let text = Text::new(caption.clone(), (LEFT, y), small.clone());
            area.draw(&text).map_err(refused)?;
            y += step;
        }
        y += 2;
        for entry in &self.entries {
            let (x, y) = (LEFT + entry.x, y + step * i32::try_from(entry.row)?);
            let middle = (x + SAMPLE / 2, y);
            match entry.mark {
                Mark::Bars => {
                    let corners = [(x + 12, y - 6), (x + SAMPLE - 8, y + 6)];
                    let swatch = Rectangle::new(corners, rgb(entry.style).mix(0.85).filled());
                    area.draw(&swatch).map_err(refused)?;
                }
                Mark::Dots => dot(area, entry.style, middle)?,
                Mark::Line | Mark::Curve | Mark::Steps => {
                    line(area, &[(x, y), (x + SAMPLE, y)], entry.style)?;
                }
            }
            if entry.mark == Mark::Line {
                marker(area, entry.style, middle)?;
            }
            let name = Text::new(entry.name.clone(), (x + SAMPLE + 8, y), small.clone());
            area.draw(&name).map_err(refused)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_captions_are_broken_between_words() {
        assert_eq!(wrapped("one two three", 60), ["one two", "three"]);
        assert_eq!(wrapped("", 60), [""]);
    }
}
