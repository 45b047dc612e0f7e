//! The design's arrows: who may depend on whom, read from the manifests and the sources.

#![allow(
    clippy::disallowed_methods,
    reason = "this test reads the workspace's own files"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;

/// What each crate of the workspace may use of the others.
const ARROWS: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("traces", &["units"]),
    ("scheduler", &["units"]),
    ("policies", &["scheduler", "units"]),
    ("replay", &["scheduler", "traces", "units"]),
    ("sim", &["replay", "scheduler", "traces", "units"]),
    ("engine", &["replay", "scheduler", "traces", "units"]),
    (
        "experiments",
        &[
            "engine",
            "policies",
            "replay",
            "scheduler",
            "sim",
            "traces",
            "units",
        ],
    ),
    (
        "workspace-tests",
        &[
            "engine",
            "experiments",
            "policies",
            "replay",
            "scheduler",
            "sim",
            "traces",
            "units",
        ],
    ),
];

/// What only one crate may use.
const ONLY_IN: &[(&str, &str)] = &[
    ("polars", "experiments"),
    ("plotters", "experiments"),
    ("candle", "engine"),
];

/// What neither the mechanism nor a policy may name: clocks, files, threads, chance, the engine, and
/// maps whose order is random.
const PURE: &[&str] = &["scheduler", "policies", "replay"];
const BANNED: &[&str] = &[
    "std::time",
    "Instant",
    "SystemTime",
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::sync::mpsc",
    "rand",
    "getrandom",
    "rayon",
    "tokio",
    "crossbeam",
    "candle",
    "HashMap::",
    "HashSet",
    "println!",
    "unsafe",
];

const MOST_LINES: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every dependency a manifest names, of all kinds and targets.
fn dependencies(manifest: &Table) -> Vec<String> {
    fn collect(table: &Table, found: &mut Vec<String>) {
        for (key, value) in table {
            let Some(inner) = value.as_table() else {
                continue;
            };
            if key.ends_with("dependencies") {
                for (name, spec) in inner {
                    let renamed = spec.get("package").and_then(|p| p.as_str());
                    found.push(renamed.unwrap_or(name).to_owned());
                }
            } else if key != "workspace" {
                collect(inner, found);
            }
        }
    }
    let mut found = Vec::new();
    collect(manifest, &mut found);
    found
}

/// What a manifest may not say.
fn backwards(manifest: &Table) -> Vec<String> {
    let Some(name) = manifest
        .get("package")
        .and_then(|p| p.get("name"))
        .and_then(|n| n.as_str())
    else {
        return vec![String::from("a manifest without a package name")];
    };
    let Some((_, allowed)) = ARROWS.iter().find(|(crate_name, _)| *crate_name == name) else {
        return vec![format!("`{name}` is not in the list of arrows")];
    };
    let mut wrong = Vec::new();
    for dependency in dependencies(manifest) {
        let ours = ARROWS
            .iter()
            .any(|(crate_name, _)| *crate_name == dependency);
        if ours && !allowed.contains(&dependency.as_str()) {
            wrong.push(format!(
                "`{name}` uses `{dependency}`: the arrow runs backwards"
            ));
        }
        for (what, only) in ONLY_IN {
            if dependency.starts_with(what) && name != *only {
                wrong.push(format!(
                    "`{name}` uses `{dependency}`, which only `{only}` may"
                ));
            }
        }
        if PURE.contains(&name) && BANNED.iter().any(|b| dependency.starts_with(b)) {
            wrong.push(format!(
                "`{name}` uses `{dependency}`, which decides nothing"
            ));
        }
    }
    wrong
}

/// Code without comments and strings, where a word is only a word.
fn code(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a pure crate's source may not name. `FxHashMap` is for look-ups, its order never leaks:
/// those places are reviewed by hand, `HashMap` itself is not allowed.
fn impure(text: &str) -> Vec<&'static str> {
    let code = code(text)
        .replace("FxHashMap", "Fx")
        .replace("hash_map", "");
    let word = |c: char| c.is_alphanumeric() || c == '_';
    BANNED
        .iter()
        .filter(|banned| {
            let name = banned.trim_end_matches(':');
            code.match_indices(name).any(|(at, _)| {
                let before = code[..at].chars().next_back();
                let after = code[at + name.len()..].chars().next();
                !before.is_some_and(word) && (name.ends_with('!') || !after.is_some_and(word))
            })
        })
        .copied()
        .collect()
}

fn members() -> Vec<(PathBuf, Table)> {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    let workspace: Table = text.parse().expect("TOML");
    let members = workspace["workspace"]["members"]
        .as_array()
        .expect("a list");
    members
        .iter()
        .map(|member| {
            let folder = root().join(member.as_str().expect("a path"));
            let text = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
            (folder, text.parse().expect("TOML"))
        })
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("readable");
            found.push((path, text));
        }
    }
}

#[test]
fn arrows_run_as_designed() {
    let members = members();
    let mut names: Vec<&str> = members
        .iter()
        .filter_map(|(_, m)| m["package"]["name"].as_str())
        .collect();
    names.sort_unstable();
    let mut listed: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    listed.sort_unstable();
    assert_eq!(
        names, listed,
        "a crate came or went: say here what it may use"
    );
    let wrong: Vec<String> = members.iter().flat_map(|(_, m)| backwards(m)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mechanism_and_policies_are_pure() {
    let mut wrong = BTreeMap::new();
    for (folder, manifest) in members() {
        if !PURE.contains(&manifest["package"]["name"].as_str().expect("a name")) {
            continue;
        }
        let mut files = Vec::new();
        sources(&folder, &mut files);
        assert!(files.len() > 4, "{} has hardly a source", folder.display());
        for (path, text) in files {
            let found = impure(&text);
            if !found.is_empty() {
                wrong.insert(path, found);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_is_too_long() {
    let mut files = Vec::new();
    for (folder, _) in members() {
        sources(&folder, &mut files);
    }
    assert!(files.len() > 50, "only {} sources found", files.len());
    let long = files
        .iter()
        .map(|(path, text)| (text.lines().count(), path));
    let long: Vec<_> = long.filter(|(lines, _)| *lines >= MOST_LINES).collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// The tests above can fail: each wrong manifest and source is found.
#[test]
fn wrong_arrows_are_found() {
    let manifest = |text: &str| text.parse::<Table>().expect("TOML");
    let fine =
        manifest("[package]\nname = \"sim\"\n[dependencies]\nunits = \"1\"\nserde = \"1\"\n");
    assert!(backwards(&fine).is_empty());
    for wrong in [
        "[package]\nname = \"units\"\n[dependencies]\ntraces.workspace = true\n",
        "[package]\nname = \"scheduler\"\n[dev-dependencies]\npolicies.workspace = true\n",
        "[package]\nname = \"scheduler\"\n[build-dependencies]\nsim = { path = \"../sim\" }\n",
        "[package]\nname = \"traces\"\n[target.'cfg(unix)'.dependencies]\nscheduler = \"1\"\n",
        "[package]\nname = \"policies\"\n[dependencies]\nother = { package = \"engine\" }\n",
        "[package]\nname = \"sim\"\n[dependencies]\npolars = \"1\"\n",
        "[package]\nname = \"traces\"\n[dependencies]\nplotters = \"1\"\n",
        "[package]\nname = \"sim\"\n[dependencies]\ncandle-core = \"1\"\n",
        "[package]\nname = \"policies\"\n[dependencies]\nrand_core = \"1\"\n",
        "[package]\nname = \"policies\"\n[dependencies]\ncandle-core = \"1\"\n",
        "[package]\nname = \"new\"\n",
        "[dependencies]\nunits = \"1\"\n",
    ] {
        assert!(!backwards(&manifest(wrong)).is_empty(), "{wrong}");
    }
    for wrong in [
        "let t = std::time::Instant::now();",
        "use std::fs;",
        "std::thread::spawn(f)",
        "use rand::Rng;",
        "use std::collections::{BTreeMap, HashMap};",
        "HashMap::new()",
        "use candle::Tensor;",
        "unsafe { x }",
        "println!(\"x\")",
    ] {
        assert!(!impure(wrong).is_empty(), "{wrong}");
    }
    for fine in [
        "// std::fs is banned",
        "use rustc_hash::FxHashMap;",
        "let operand = 1;",
        "brand",
    ] {
        assert!(impure(fine).is_empty(), "{fine}");
    }
}
