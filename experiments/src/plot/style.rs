//! Which series looks how, in every figure.
//!
//! Colours are those of Okabe and Ito, which the colour-blind tell apart. No two policies share colour,
//! dash and marker, so a print without colour can be read too.

/// Red, green, blue.
pub type Rgb = (u8, u8, u8);

/// Points drawn at the values of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A filled circle.
    Disc,
    /// An outlined circle.
    Ring,
    /// A filled square.
    Square,
    /// An outlined square.
    Frame,
    /// A filled triangle.
    Triangle,
    /// A filled diamond.
    Diamond,
    /// Two crossed lines.
    Cross,
    /// Nothing.
    None,
}

/// The looks of one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Of line, marker and bar.
    pub colour: Rgb,
    /// Pixels drawn and left out; nothing left out is a solid line.
    pub dash: (u32, u32),
    /// At each point.
    pub marker: Marker,
}

const BLUE: Rgb = (0, 114, 178);
const VERMILION: Rgb = (213, 94, 0);
const GREEN: Rgb = (0, 158, 115);
const PURPLE: Rgb = (204, 121, 167);
const SKY: Rgb = (86, 180, 233);
const ORANGE: Rgb = (230, 159, 0);
const BLACK: Rgb = (0, 0, 0);
const GREY: Rgb = (120, 120, 120);

const SOLID: (u32, u32) = (1, 0);
const DASHED: (u32, u32) = (9, 5);
const DOTTED: (u32, u32) = (3, 4);
const LONG: (u32, u32) = (16, 5);

const fn style(colour: Rgb, dash: (u32, u32), marker: Marker) -> Style {
    Style {
        colour,
        dash,
        marker,
    }
}

/// The presets and the limits.
const NAMED: [(&str, Style); 17] = [
    ("mars", style(VERMILION, SOLID, Marker::Disc)),
    ("mars-preview", style(VERMILION, DASHED, Marker::Ring)),
    ("fcfs", style(BLUE, SOLID, Marker::Square)),
    ("autellix", style(GREEN, DASHED, Marker::Triangle)),
    ("infercept", style(PURPLE, DOTTED, Marker::Diamond)),
    ("infercept-swap", style(PURPLE, LONG, Marker::Frame)),
    ("continuum", style(SKY, DASHED, Marker::Cross)),
    ("continuum-dy", style(ORANGE, LONG, Marker::Ring)),
    ("concur", style(GREY, DASHED, Marker::Triangle)),
    ("thunderagent", style(BLACK, DOTTED, Marker::Diamond)),
    ("srpt-oracle", style(BLACK, DASHED, Marker::Cross)),
    ("mars-no-admission", style(BLUE, DASHED, Marker::Triangle)),
    ("mars-no-mlfq", style(GREEN, DOTTED, Marker::Diamond)),
    ("mars-no-coscheduler", style(PURPLE, LONG, Marker::Square)),
    ("bound", style(BLACK, SOLID, Marker::None)),
    ("isolated", style(GREY, DOTTED, Marker::None)),
    ("T_ideal", style(GREY, SOLID, Marker::None)),
];

/// The looks of series that have no fixed ones, by their number in the figure.
const OTHERS: [Style; 8] = [
    style(BLUE, SOLID, Marker::Disc),
    style(VERMILION, DASHED, Marker::Triangle),
    style(GREEN, DOTTED, Marker::Square),
    style(PURPLE, LONG, Marker::Diamond),
    style(SKY, SOLID, Marker::Ring),
    style(BLACK, DASHED, Marker::Cross),
    style(ORANGE, LONG, Marker::Frame),
    style(GREY, DOTTED, Marker::Disc),
];

/// The looks of the policy called `name`; of any other series by its `number` among the others.
pub fn of(name: &str, number: usize) -> Style {
    let named = NAMED.iter().find(|(known, _)| *known == name);
    named.map_or(OTHERS[number % OTHERS.len()], |(_, style)| *style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_policies_look_alike_even_without_colour_and_dash() {
        for (i, (name, a)) in NAMED.iter().enumerate() {
            for (other, b) in &NAMED[..i] {
                assert_ne!(a, b, "{name} and {other}");
            }
        }
    }

    #[test]
    fn every_preset_has_looks_of_its_own() {
        for preset in policies::preset::PRESETS.iter().map(|(name, _)| *name) {
            assert!(NAMED.iter().any(|(name, _)| *name == preset), "{preset}");
        }
        assert_eq!(of("mars", 3), of("mars", 5));
        assert_ne!(of("mine.toml", 0), of("other.toml", 1));
    }
}
