//! What users type wrong, and what they are told.

use super::*;
use crate::spec::Hardware;

const MINE: &str = r#"
[[gpu]]
name = "mine"
memory_mib = 24_576
memory_gb_per_s = 1_008
sources = ["data sheet"]

[[cost]]
model = "llama-3.1-8b"
gpu = "mine"
evidence = "fitted to my runs"
p0 = 5.0
p1 = 0.05
p2 = 2e-6
d0 = 17.0
e = 0.0
d1 = 0.02
d2 = 1.3e-4
"#;

fn told(text: &str) -> String {
    let refused = Catalog::builtin().add("mine.toml", text);
    refused.expect_err("is wrong").to_string()
}

#[test]
fn a_users_gpu_serves_a_model_that_ships() {
    let mut catalog = Catalog::builtin();
    catalog.add("mine.toml", MINE).expect("is right");
    let mine = Hardware::new(&catalog, "mine", "llama-3.1-8b", 0.9).expect("fits");
    assert_eq!(mine.evidence, "fitted to my runs");
    // (0.9 * 24576 - 18944) MiB = 3174.4 MiB, at 8 tokens per MiB.
    assert_eq!(mine.kv_tokens, units::Tokens(25_395));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
    let text = MINE.replace("memory_mib", "memory_mb");
    assert_eq!(
        told(&text),
        "`mine.toml` line 4: unknown key `memory_mb` in `gpu` (known: `name`, `aliases`, `memory_mib`, \
         `memory_gb_per_s`, `bf16_tflops`, `link_gb_per_s`, `like`, `sources`)\nhint: did you mean `memory_mib`?"
    );
    assert!(told("[[gpus]]\nname = \"x\"").ends_with("hint: did you mean `gpu`?"));
}

#[test]
fn names_of_drivers_and_repositories_are_known() {
    let catalog = Catalog::builtin();
    assert_eq!(
        catalog.gpu_known_as("NVIDIA GeForce RTX 4090"),
        Some("rtx-4090")
    );
    assert_eq!(
        catalog.model_known_as("Qwen/Qwen3-30B-A3B-Instruct-2507"),
        Some("qwen3-coder-30b-a3b")
    );
    assert_eq!(catalog.model_known_as("llama-3.1-8b"), Some("llama-3.1-8b"));
    assert_eq!(catalog.gpu_known_as("NVIDIA H300"), None);
}

#[test]
fn an_unknown_name_lists_all_and_the_nearest() {
    let catalog = Catalog::builtin();
    let refused = Hardware::new(&catalog, "h100-nvlink", "llama-3.1-8b", 0.9);
    assert_eq!(
        refused.expect_err("no such GPU").to_string(),
        "no GPU `h100-nvlink` (known: `a100-sxm`, `h100-nvl`, `h100-sxm`, `h200-nvl`, \
         `h200-sxm`, `rtx-4090`, `rtx-pro-6000`, `xeon-8480`)\nhint: did you mean `h100-nvl`?"
    );
    let refused = catalog.model("zzz").expect_err("no such model");
    assert!(!refused.to_string().contains("hint"), "{refused}");
}

#[test]
fn a_pair_without_a_fit_is_refused() {
    let gpu_alone = MINE.split("[[cost]]").next().expect("a first part");
    let mut catalog = Catalog::builtin();
    catalog.add("mine.toml", gpu_alone).expect("is right");
    let refused = Hardware::new(&catalog, "mine", "llama-3.1-8b", 0.9);
    assert_eq!(
        refused.expect_err("no cost").to_string(),
        "no cost for `llama-3.1-8b` on `mine` (fitted GPUs of this model: `a100-sxm`, \
         `h100-sxm`, `h200-sxm`)\nhint: add a [[cost]] for the pair, or `like` to the GPU"
    );
}

#[test]
fn a_gpu_like_one_that_does_not_exist_is_refused() {
    let gpu_alone = MINE.split("[[cost]]").next().expect("a first part");
    let mut catalog = Catalog::builtin();
    let text = format!("{gpu_alone}like = \"h100-sxn\"");
    catalog
        .add("mine.toml", &text)
        .expect("names are joined later");
    let refused = Hardware::new(&catalog, "mine", "llama-3.1-8b", 0.9).expect_err("no `like`");
    let message = refused.to_string();
    assert!(message.starts_with("no GPU `h100-sxn`"), "{message}");
    assert!(message.ends_with("did you mean `h100-sxm`?"), "{message}");
}

#[test]
fn senseless_values_are_refused_by_entry_and_field() {
    let text = MINE.replace("24_576", "0");
    assert_eq!(
        told(&text),
        "`mine.toml`: gpu mine: `memory_mib` is 0 (wanted: 1 to 2^40)"
    );
    let text = MINE.replace("d0 = 17.0", "d0 = -17.0");
    assert_eq!(
        told(&text),
        "`mine.toml`: cost llama-3.1-8b on mine: no usable cost"
    );
    let model = r#"
        [[model]]
        name = "m"
        layers = 2
        kv_heads = 1
        head_dim = 64
        kv_bytes = 2
        weights_gib = 1.0
        context_length = 1024
        experts = { active = 9, total = 8 }
        sources = []
    "#;
    assert_eq!(
        told(model),
        "`mine.toml`: model m: `experts` is 9 of 8 (wanted: at least 1 active, at most all)"
    );
    let nan = model.replace("1.0", "nan").replace("= 9", "= 1");
    assert!(
        told(&nan).contains("`weights_gib` is NaN"),
        "{}",
        told(&nan)
    );
}

#[test]
fn a_bandwidth_or_rate_of_zero_is_refused_where_it_stands() {
    let gpu = |line: &str| {
        format!(
            "[[gpu]]\nname = \"g\"\nmemory_mib = 81_920\nmemory_gb_per_s = 2_000\nsources = []\n{line}\n"
        )
    };
    assert!(Catalog::builtin().add("mine.toml", &gpu("")).is_ok());
    let no_memory = gpu("").replace("2_000", "0");
    let told_first = told(&no_memory);
    assert!(
        told_first.starts_with("`mine.toml`: gpu g: `memory_gb_per_s` is 0 (wanted: "),
        "{told_first}"
    );
    for key in ["bf16_tflops", "link_gb_per_s"] {
        let message = told(&gpu(&format!("{key} = 0")));
        let start = format!("`mine.toml`: gpu g: `{key}` is 0 (wanted: ");
        assert!(message.starts_with(&start), "{message}");
    }
}

#[test]
fn wrong_types_and_missing_keys_say_where() {
    let text = MINE.replace("24_576", "\"24 GiB\"");
    let refused = Catalog::builtin().add("mine.toml", &text);
    let Err(SpecError::Syntax { source, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(source.to_string().contains("line 4, column 14"), "{source}");
    let text = MINE.replace("e = 0.0\n", "");
    let refused = Catalog::builtin().add("mine.toml", &text);
    let Err(SpecError::Syntax { source, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!(source.to_string().contains("missing field `e`"), "{source}");
}

#[test]
fn a_name_is_not_taken_twice_and_a_bad_text_adds_nothing() {
    let text = format!(
        "{MINE}\n[[gpu]]\nname = \"h100-sxm\"\nmemory_mib = 1\nmemory_gb_per_s = 1\nsources = []\n"
    );
    let mut catalog = Catalog::builtin();
    let refused = catalog.add("mine.toml", &text).expect_err("is taken");
    assert_eq!(
        refused.to_string(),
        "`mine.toml`: gpu h100-sxm is already defined\nhint: give yours another name"
    );
    assert!(catalog.gpu("mine").is_err());
}
