//! Presets with settings that cannot be: the key, the value, the limit.

use std::fs;

use crate::errors::refused;
use crate::support::folder;

/// Policy, setting, value and what the message must say.
const CASES: [(&str, &str, &str); 22] = [
    (
        "mars",
        "admission.window_min=31",
        "window_min is 31, window_init 30, window_max 30, wanted 1 <= window_min <= window_init",
    ),
    (
        "mars-preview",
        "admission.window_min=40",
        "window_min is 40, window_init 30, window_max 30, wanted 1 <= window_min",
    ),
    (
        "concur",
        "admission.window_min=9",
        "window_min is 9, window_init 8, window_max 1024, wanted 1 <= window_min",
    ),
    (
        "mars",
        "admission.kv_high=0.5",
        "kv_low is 0.85, kv_high 0.5, wanted 0 <= kv_low < kv_high",
    ),
    (
        "concur",
        "admission.use_low=0.6",
        "use_low is 0.6, use_high 0.5, wanted 0 <= use_low < use_high",
    ),
    (
        "mars",
        "admission.decrease_percent=101",
        "decrease_percent is 101, wanted 0 to 100",
    ),
    (
        "mars",
        "admission.interval_s=0",
        "interval_s is 0, wanted more than 0",
    ),
    (
        "thunderagent",
        "admission.interval_s=-1",
        "interval_s is -1, wanted more than 0",
    ),
    (
        "thunderagent",
        "admission.force_resume_s=0",
        "force_resume_s is 0, wanted more than 0",
    ),
    (
        "continuum",
        "retention.ttl_s=-1",
        "ttl_s is -1, wanted seconds: 0 or more",
    ),
    (
        "continuum",
        "retention.max_mean_s=-0.5",
        "max_mean_s is -0.5, wanted seconds: 0 or more",
    ),
    (
        "continuum-dy",
        "retention.default_s=-2",
        "default_s is -2, wanted seconds: 0 or more",
    ),
    (
        "continuum-dy",
        "retention.record_window=0",
        "record_window is 0, wanted at least 1",
    ),
    (
        "mars",
        "retention.bound_s=-60",
        "bound_s is -60, wanted seconds: 0 or more",
    ),
    (
        "infercept",
        "retention.interval_s=0",
        "interval_s is 0, wanted more than 0",
    ),
    (
        "infercept",
        "retention.reload_s_per_token=-1",
        "reload_s_per_token is -1, wanted 0 (the cost model) or more",
    ),
    (
        "mars",
        "order.footprint=[8192,2048,1]",
        "footprint is [8192, 2048, 1], wanted each above the one before",
    ),
    (
        "autellix",
        "order.service=[10,10,30]",
        "service is [10, 10, 30], wanted each above the one before",
    ),
    (
        "autellix",
        "order.quanta=[2048,0,512,256]",
        "quanta[1] is 0, wanted at least 1 token",
    ),
    (
        "mars-preview",
        "order.quanta=[0,1,1,1]",
        "quanta[0] is 0, wanted at least 1 token",
    ),
    ("autellix", "order.beta=0", "beta is 0, wanted more than 0"),
    (
        "mars-preview",
        "order.turn_window=0",
        "turn_window is 0, wanted at least 1 turn",
    ),
];

#[test]
fn a_setting_that_cannot_be_names_key_value_and_limit() {
    let at = folder();
    for (policy, set, words) in CASES {
        let section = set.split('.').next().unwrap_or_default();
        let whose = format!("policy `{policy}`: {section}: ");
        refused(
            at.path(),
            &["--policy", policy, "--set", set],
            &[&whose, words],
        );
    }
}

/// A value of the wrong type, from the command line and from a file.
#[test]
fn a_value_of_the_wrong_type_names_key_value_and_what_is_wanted() {
    let at = folder();
    let says = "policy `mars`: `order.aging_s` is \"ten\", wanted a number";
    let set = ["--policy", "mars", "--set", "order.aging_s=ten"];
    refused(at.path(), &set, &[says]);
    let text = "base = \"mars\"\nname = \"mine\"\n[admission]\nwindow_max = \"many\"\n";
    fs::write(at.path().join("mine.toml"), text).unwrap();
    let says =
        "policy `mine`: `admission.window_max` is \"many\", wanted a whole number, 0 or more";
    let file = "cannot use policy `mine.toml`";
    refused(at.path(), &["--policy", "mine.toml"], &[file, says]);
}

/// The same in a file, which the message names too.
#[test]
fn a_setting_of_a_file_that_cannot_be_names_the_file() {
    let at = folder();
    let text = |base: &str, section: &str, line: &str| {
        format!("base = \"{base}\"\nname = \"mine\"\n[{section}]\n{line}\n")
    };
    for (text, words) in [
        (
            text("continuum", "retention", "ttl_s = -2.5"),
            "ttl_s is -2.5",
        ),
        (
            text("autellix", "order", "quanta = [0, 1, 1, 1]"),
            "quanta[0] is 0",
        ),
        (text("mars", "admission", "window_max = 3"), "window_max 3"),
    ] {
        fs::write(at.path().join("mine.toml"), text).unwrap();
        let file = "cannot use policy `mine.toml`";
        refused(at.path(), &["--policy", "mine.toml"], &[file, words]);
    }
}

#[test]
fn an_unknown_key_of_any_preset_names_the_nearest() {
    let at = folder();
    for (policy, set, nearest) in [
        ("continuum", "retention.tll_s=1", "retention.ttl_s"),
        ("autellix", "order.betta=1", "order.beta"),
        ("infercept-swap", "retention.swop=true", "retention.swap"),
        ("concur", "admission.use_hihg=1", "admission.use_high"),
        (
            "thunderagent",
            "admission.bufer_tokens=1",
            "admission.buffer_tokens",
        ),
        ("mars-preview", "order.turn_windw=1", "order.turn_window"),
    ] {
        let hint = format!("hint: did you mean `{nearest}`?");
        refused(
            at.path(),
            &["--policy", policy, "--set", set],
            &["unknown key", &hint],
        );
    }
}
