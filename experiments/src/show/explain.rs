//! A policy in words: the texts of `explain.toml`, with the settings that the preset gives.

use std::fmt::Write as _;

use anyhow::anyhow;
use policies::PolicySpec;
use toml::Table;

use crate::failure::{Exit, Failure};
use crate::run::limits::Limit;

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

/// A limit, in the same shape as far as it has one.
pub(super) fn limit(limit: Limit) -> String {
    let (rule, formula, source) = match limit {
        Limit::Isolated => (
            "Every session has a machine of its own from its arrival on, under fcfs, with its own \
             context warm and a shared opening cold. Its latency is T_ideal, so every session is in \
             time at every alpha from 1 up. In company a session can be faster only where others \
             warmed its opening.",
            "latency = T_ideal",
            "Wang et al., arXiv 2604.26963, section 2 (the ideal time).",
        ),
        Limit::Bound => (
            "No policy's mean latency on this load is below it. The larger of two means: what each \
             session takes at least in any company, and the flow time of one server that does every \
             session's least GPU work, the shortest remaining first, without KV limits and tools.",
            "bound = max(mean of least latencies, mean flow time of the relaxed server)",
            "Schrage, Operations Research 1968; the proof is in the documentation of sim::bound.",
        ),
    };
    let intro = format!("{}: {}", limit.name(), limit.meaning());
    format!(
        "{}\n\n{}\n  Formula:\n    {formula}\n{}\n",
        wrapped(&intro, ""),
        wrapped(rule, "  "),
        wrapped(&format!("Source: {source}"), "  ")
    )
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
