//! The descriptions that come with the program.

use super::spec::Spec;

/// Names and texts of the shipped descriptions.
pub const PRESETS: &[(&str, &str)] = &[
    ("swebench", include_str!("../../presets/swebench.toml")),
    (
        "claude-code",
        include_str!("../../presets/claude-code.toml"),
    ),
    ("ilr-1", include_str!("../../presets/ilr-1.toml")),
    ("ilr-2", include_str!("../../presets/ilr-2.toml")),
    ("ilr-3", include_str!("../../presets/ilr-3.toml")),
    ("ilr-4", include_str!("../../presets/ilr-4.toml")),
    ("s-ilr-1", include_str!("../../presets/s-ilr-1.toml")),
    ("s-ilr-2", include_str!("../../presets/s-ilr-2.toml")),
    ("s-ilr-3", include_str!("../../presets/s-ilr-3.toml")),
    (
        "continuum-swebench",
        include_str!("../../presets/continuum-swebench.toml"),
    ),
    (
        "continuum-bfcl",
        include_str!("../../presets/continuum-bfcl.toml"),
    ),
];

/// The shipped description called `name`; `None` if there is none.
///
/// # Panics
/// Never: the texts are part of the program, and a test reads them.
pub fn preset(name: &str) -> Option<Spec> {
    let (_, text) = PRESETS.iter().find(|(known, _)| *known == name)?;
    Some(Spec::from_toml(text).expect("a test reads every preset"))
}
