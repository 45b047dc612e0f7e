//! A policy in words: the texts of `explain.toml`, with the settings that the preset gives.

use std::fmt::Write as _;

use anyhow::anyhow;
use policies::PolicySpec;
use toml::Table;

use crate::failure::{Exit, Failure};

const TEXTS: &str = include_str!("explain.toml");
/// Stands for a space at which no line may break.
const TIE: &str = "\u{1}";
const SECTIONS: [&str; 3] = ["admission", "order", "retention"];

/// The policy, part by part: rule, formula, settings, source.
///
/// # Errors
/// A part without a text: a bug, since a test covers all.
pub(super) fn explain(spec: &PolicySpec) -> Result<String, Failure> {
    let bug = |what: String| Failure {
        exit: Exit::Invariant,
        error: anyhow!(what),
    };
    let texts: Table = TEXTS
        .parse()
        .map_err(|e| bug(format!("explain.toml: {e}")))?;
    let settings: Table = spec
        .to_toml()
        .map_err(Failure::bad_input)?
        .parse()
        .map_err(|e| bug(format!("policy: {e}")))?;
    let intro = format!("{}: {}", spec.name, spec.intent);
    let mut out = format!("{}\nSource: {}\n", wrapped(&intro, ""), spec.source);
    for section in SECTIONS {
        let part = settings.get(section).and_then(toml::Value::as_table);
        let part = part.ok_or_else(|| bug(format!("policy without [{section}]")))?;
        let kind = part.get("kind").and_then(toml::Value::as_str).unwrap_or("");
        let text = texts.get(section).and_then(|s| s.get(kind));
        let text = text.ok_or_else(|| bug(format!("no explanation of {section} `{kind}`")))?;
        let field = |name| {
            text.get(name)
                .and_then(toml::Value::as_str)
                .unwrap_or("n/a")
        };
        let _ = writeln!(out, "\n[{section}] {kind}");
        let _ = writeln!(out, "{}", wrapped(field("rule").trim(), "  "));
        let _ = writeln!(out, "  Formula:");
        for line in field("formula").trim().lines() {
            let _ = writeln!(out, "    {line}");
        }
        let values: Vec<String> = part
            .iter()
            .filter(|(key, _)| *key != "kind")
            .map(|(key, value)| format!("{key} = {value}").replace(' ', TIE))
            .collect();
        if !values.is_empty() {
            let _ = writeln!(out, "  Settings:\n{}", wrapped(&values.join(", "), "    "));
            out = out.replace(TIE, " ");
        }
        let source = format!("Source: {}", field("source").trim());
        let _ = writeln!(out, "{}", wrapped(&source, "  "));
    }
    Ok(out)
}

/// The words in lines of at most 98 characters, each indented.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.len() + 1 + word.len() > 98 {
            lines.push(format!("{indent}{line}"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(format!("{indent}{line}"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use policies::PRESETS;

    #[test]
    fn every_preset_can_be_explained() {
        for (name, _) in PRESETS {
            let spec = PolicySpec::preset(name).unwrap();
            let text = explain(&spec).unwrap();
            assert_eq!(text.matches("Formula:").count(), 3, "{text}");
            assert!(!text.contains("n/a"), "{text}");
            assert!(
                text.lines().all(|line| line.chars().count() <= 100),
                "{text}"
            );
        }
    }
}
