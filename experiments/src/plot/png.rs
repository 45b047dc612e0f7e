//! A figure as pixels, for where SVG is not shown.
//!
//! How: the very SVG text is rendered, [`SCALE`] pixels to a unit, so both say the same. Its font, Noto
//! Sans, is in the program and no other is looked for: one program makes the same bytes on any machine.
//! Limits: letters of Latin, Greek and Cyrillic; the font has no others.

use anyhow::{Context, anyhow};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

/// Pixels per unit of the SVG: sharp on screens of twice the usual density.
pub const SCALE: u16 = 2;

/// The family that every text of a figure asks for first, as the font file calls itself.
pub(super) const FAMILY: &str = "Noto Sans";

/// The drawing as a PNG of [`SCALE`] times its width and height.
///
/// # Errors
/// If the text is no SVG, or too large for memory.
pub fn png(svg: &str) -> anyhow::Result<Vec<u8>> {
    let pixmap = pixels(svg).context("cannot render the figure as PNG")?;
    pixmap
        .encode_png()
        .context("cannot render the figure as PNG")
}

fn pixels(svg: &str) -> anyhow::Result<Pixmap> {
    let mut options = Options {
        font_family: FAMILY.to_owned(),
        ..Options::default()
    };
    let fonts = options.fontdb_mut();
    fonts.load_font_data(notosans::REGULAR_TTF.to_vec());
    fonts.set_sans_serif_family(FAMILY);
    let tree = Tree::from_str(svg, &options)?;
    let size = tree.size().to_int_size();
    let scaled = |length: u32| length.checked_mul(u32::from(SCALE));
    let pixmap = scaled(size.width())
        .zip(scaled(size.height()))
        .and_then(|(width, height)| Pixmap::new(width, height));
    let mut pixmap = pixmap
        .ok_or_else(|| anyhow!("{} x {} pixels are too many", size.width(), size.height()))?;
    let scale = f32::from(SCALE);
    resvg::render(
        &tree,
        Transform::from_scale(scale, scale),
        &mut pixmap.as_mut(),
    );
    Ok(pixmap)
}

#[cfg(test)]
mod tests {
    use super::super::scale::Axis;
    use super::super::{Figure, Mark, Panel, Point, Series, style, svg};
    use super::*;

    fn figure(title: &str, label: &str) -> String {
        let series = Series {
            name: "mars".to_owned(),
            style: style::of("mars", 0),
            mark: Mark::Line,
            points: vec![Point::new(0.1, 2.0), Point::new(0.2, 3.0)],
        };
        let figure = Figure {
            title: title.to_owned(),
            caption: vec!["What was run".to_owned()],
            columns: 1,
            panels: vec![Panel {
                title: "A".to_owned(),
                x: Axis::linear(label),
                y: Axis::linear("mean latency, s"),
                series: vec![series],
            }],
        };
        svg(&figure).unwrap()
    }

    /// Dark pixels in a rectangle of the drawing, in its own units.
    fn dark(pixmap: &Pixmap, columns: std::ops::Range<u32>, rows: std::ops::Range<u32>) -> usize {
        let scale = u32::from(SCALE);
        let place = |row: u32| (columns.start * scale..columns.end * scale).map(move |c| (c, row));
        (rows.start * scale..rows.end * scale)
            .flat_map(place)
            .filter(|&(x, y)| pixmap.pixel(x, y).is_some_and(|p| p.red() < 128))
            .count()
    }

    #[test]
    fn a_png_has_twice_the_pixels_and_is_the_same_every_time() {
        let text = figure("Title", "rate, sessions/s");
        let pixmap = pixels(&text).unwrap();
        assert_eq!(pixmap.width(), 2 * 640);
        let height: u32 = text
            .split("height=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next()?.parse().ok())
            .unwrap();
        assert_eq!(pixmap.height(), 2 * height);
        // White paper, with something on it.
        assert_eq!(pixmap.pixel(0, 0).unwrap().red(), 255);
        assert!(dark(&pixmap, 0..640, 0..height) > 1000);
        assert_eq!(png(&text).unwrap(), png(&text).unwrap());
        assert!(png(&text).unwrap().starts_with(b"\x89PNG"));
    }

    #[test]
    fn text_is_drawn_in_the_font_that_is_in_the_program() {
        let (with, without) = (figure("Title", "rate"), figure(" ", "rate"));
        let of = |text: &str| dark(&pixels(text).unwrap(), 0..640, 0..30);
        assert!(of(&with) > 100, "{}", of(&with));
        assert_eq!(of(&without), 0);
        // The axis' words, below the plot.
        let (with, without) = (figure("Title", "rate"), figure("Title", " "));
        assert_ne!(png(&with).unwrap(), png(&without).unwrap());
        // A family that is not there falls back to the one that is: every word is drawn all the same.
        let other = with.replace(FAMILY, "No Such Font");
        assert_ne!(other, with);
        assert_eq!(png(&other).unwrap(), png(&with).unwrap());
    }

    #[test]
    fn what_is_no_svg_is_refused() {
        let error = png("<html>").unwrap_err();
        assert!(
            format!("{error:#}").starts_with("cannot render the figure as PNG: "),
            "{error:#}"
        );
    }
}
