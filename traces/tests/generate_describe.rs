//! What a description means: each part by a workload small enough to be read, and each mistake by
//! what is said about it.

use proptest::prelude::*;
use traces::generate::{PRESETS, Spec, TURNS_LIMIT, achieved};
use units::{Nanos, Tokens};

/// The least that a description says, with more in front.
fn with(more: &str) -> String {
    format!("{more}\nname = \"t\"\nturns = 3\nfirst_prompt = 100\noutput = 10\nobservation = 5\n")
}

fn spec(more: &str) -> Spec {
    Spec::from_toml(&with(more)).expect(more)
}

fn prompts(spec: &Spec) -> Vec<u64> {
    spec.session(1, 0)
        .turns
        .iter()
        .map(|t| t.prompt.0)
        .collect()
}

const BASH: &str = "tool = [{ name = \"Bash\", wall_s = 2 }]";

#[test]
fn a_prompt_is_the_one_before_its_output_and_the_observation() {
    let session = spec("").session(1, 0);
    let tokens: Vec<_> = session
        .turns
        .iter()
        .map(|t| (t.prompt.0, t.reused.0))
        .collect();
    assert_eq!(tokens, [(100, 0), (115, 110), (130, 125)]);
    assert!(
        session
            .turns
            .iter()
            .all(|t| t.output.value == Tokens(10) && t.tools.is_empty())
    );
    assert_eq!((&*session.id, session.arrival), ("t/0", None));
}

#[test]
fn the_first_observation_may_be_another() {
    assert_eq!(
        prompts(&spec("first_observation = 1000")),
        [100, 1110, 1125]
    );
}

#[test]
fn a_session_ends_where_its_context_does() {
    // The third prompt is 130: with room for one token it is there, with its output cut.
    assert_eq!(prompts(&spec("context_limit = 131")), [100, 115, 130]);
    let last = spec("context_limit = 131").session(1, 0);
    assert_eq!(last.turns[2].output.value, Tokens(1));
    assert_eq!(prompts(&spec("context_limit = 130")), [100, 115]);
    // A first prompt that is too long is cut instead.
    assert_eq!(prompts(&spec("context_limit = 50")), [49]);
    assert_eq!(
        prompts(&spec("shared = { group = \"g\", tokens = 120 }")),
        [120, 135, 150]
    );
}

#[test]
fn tools_follow_every_turn_but_the_last() {
    let calls = |more: &str| -> Vec<usize> {
        let session = spec(more).session(1, 0);
        session.turns.iter().map(|t| t.tools.len()).collect()
    };
    assert_eq!(calls(BASH), [1, 1, 0]);
    assert_eq!(calls(&format!("tools_per_turn = 2\n{BASH}")), [2, 2, 0]);
    assert_eq!(
        calls(&format!("tools_after_last = true\n{BASH}")),
        [1, 1, 1]
    );
    // What ends a session early makes its last turn, too.
    assert_eq!(calls(&format!("context_limit = 130\n{BASH}")), [1, 0]);
    let call = &spec(BASH).session(1, 0).turns[0].tools[0];
    assert_eq!(call.wall.unwrap().value, Nanos::from_millis(2000));
    assert_eq!(call.cpu.unwrap().value, Nanos::from_millis(1100));
}

#[test]
fn a_tool_is_killed_at_its_limit_and_has_the_cores_it_can_use() {
    let tool = "tool = [{ name = \"x\", wall_s = 200, cores = 3, parallelism = 2 }]";
    let call = spec(tool).session(1, 0).turns[0].tools[0].clone();
    assert_eq!(call.wall.unwrap().value, Nanos::from_millis(120_000));
    assert_eq!(call.cpu.unwrap().value, Nanos::from_millis(240_000));
    let tool = "tool = [{ name = \"x\", wall_s = 200, timeout_s = 1000 }]";
    let call = spec(tool).session(1, 0).turns[0].tools[0].clone();
    assert_eq!(call.wall.unwrap().value, Nanos::from_millis(200_000));
}

#[test]
fn the_first_call_of_a_session_builds_its_environment() {
    let build = "build = { name = \"venv\", cpu_s = 8, wall_per_cpu = 1.25 }";
    let names = |more: &str| -> Vec<String> {
        let session = spec(more).session(1, 0);
        let calls = session.turns.iter().flat_map(|t| &t.tools);
        calls.map(|c| c.name.to_string()).collect()
    };
    assert_eq!(names(&format!("{build}\n{BASH}")), ["venv", "Bash"]);
    let session = spec(&format!("{build}\n{BASH}")).session(1, 0);
    let call = &session.turns[0].tools[0];
    assert_eq!(call.wall.unwrap().value, Nanos::from_millis(10_000));
    assert_eq!(call.cpu.unwrap().value, Nanos::from_millis(8_000));
    // Nothing to replace: nothing is built.
    assert!(names(build).is_empty());
}

#[test]
fn a_human_answers_instead_of_a_tool() {
    let more = format!("pause = {{ share = 1, seconds = 60 }}\n{BASH}");
    let session = spec(&more).session(1, 0);
    let pauses: Vec<_> = session.turns.iter().map(|t| t.think).collect();
    let minute = Some(Nanos::from_millis(60_000));
    assert_eq!(pauses, [minute, minute, None]);
    assert!(session.turns.iter().all(|t| t.tools.is_empty()));
}

#[test]
fn classes_and_tools_come_by_weight() {
    let text = "
        name = \"t\"
        output = 1
        observation = 1
        [[tool]]
        name = \"a\"
        weight = 1
        wall_s = 1
        [[tool]]
        name = \"b\"
        weight = 3
        wall_s = 1
        [[tool]]
        name = \"never\"
        weight = 0
        wall_s = 1
        [[class]]
        name = \"short\"
        weight = 4
        turns = 2
        first_prompt = 10
        [[class]]
        name = \"long\"
        turns = 3
        first_prompt = 20
        tool = [{ name = \"c\", wall_s = 1 }]
    ";
    let spec = Spec::from_toml(text).unwrap();
    let mut counts = [0_i32; 4];
    for index in 0..10_000 {
        let session = spec.session(5, index);
        let class = &spec.classes[spec.class_of(5, index)];
        assert_eq!(
            session.turns.len(),
            if &*class.name == "long" { 3 } else { 2 }
        );
        match &*session.turns[0].tools[0].name {
            "a" => counts[0] += 1,
            "b" => counts[1] += 1,
            "c" => counts[2] += 1,
            _ => counts[3] += 1,
        }
    }
    // 8,000 short ones, a quarter of them with `a`; 2,000 long ones. Four binomial deviations.
    assert!((counts[2] - 2_000).abs() < 160, "{counts:?}");
    assert!((counts[0] - 2_000).abs() < 160, "{counts:?}");
    assert_eq!(counts[3], 0);
}

#[test]
fn one_quantity_moves_no_other() {
    let base = |output: &str| {
        let text = format!(
            "name = \"t\"
            turns = {{ lognormal = {{ median = 10, sigma = 0.5 }} }}
            first_prompt = {{ gamma = {{ mean = 1000, cv = 0.5 }} }}
            output = {output}
            observation = {{ uniform = [10, 500] }}
            tool = [{{ name = \"x\", wall_s = {{ lognormal = {{ mu = 0, sigma = 1 }}, session_correlation = 0.2 }} }}]"
        );
        Spec::from_toml(&text).unwrap()
    };
    let (a, b) = (
        base("7"),
        base("{ lognormal = { median = 300, sigma = 1 } }"),
    );
    for index in 0..50 {
        let (a, b) = (a.session(1, index), b.session(1, index));
        assert_eq!(a.turns.len(), b.turns.len());
        assert_eq!(a.turns[0].prompt, b.turns[0].prompt);
        for (a, b) in a.turns.iter().zip(&b.turns) {
            assert_eq!(a.tools, b.tools);
            assert_eq!(a.prompt - a.reused, b.prompt - b.reused);
        }
    }
}

/// What is written, how the refusal begins, and what else is in it.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "outputs = 3",
        "line 1: `outputs` is unknown here",
        "hint: did you mean `output`?",
    ),
    (
        "context_limit = 1",
        "line 1: `context_limit` is 1 (wanted: a whole number from 2 to 4294967295",
        "",
    ),
    (
        "context_limit = 10.5",
        "line 1: `context_limit` is 10.5",
        "",
    ),
    (
        "tools_per_turn = 1",
        "line 1: `tools_per_turn` is 1 (wanted: a `tool` to call",
        "",
    ),
    (
        "tool = []",
        "line 1: `tool` is [] (wanted: a list that is not empty",
        "",
    ),
    (
        "tool = [{ name = \"x\" }]",
        "line 1: `tool[0].wall_s` is missing",
        "",
    ),
    (
        "tool = [{ name = \"x\", wall_s = -1 }]",
        "line 1: `tool[0].wall_s` is -1 (wanted: a number from 0 to 10000000",
        "",
    ),
    (
        "tool = [{ name = \"x\", wall_s = 1, weight = 0 }]",
        "line 1: `tool` is",
        "weight above 0",
    ),
    (
        "tool = [{ name = \"x\", wall_s = { lognormal = { mu = 1 } } }]",
        "line 1: `tool[0].wall_s.lognormal.sigma` is missing",
        "",
    ),
    (
        "tool = [{ name = \"x\", wall_s = { lognorm = { mu = 1 } } }]",
        "line 1: `tool[0].wall_s.lognorm` is unknown",
        "did you mean `lognormal`?",
    ),
    (
        "tool = [{ name = \"x\", wall_s = { clip = [1, 2] } }]",
        "line 1: `tool[0].wall_s` is { clip = [1, 2] } (wanted: exactly one of",
        "",
    ),
    (
        "tool = [{ name = \"x\", wall_s = { uniform = [2, 2] } }]",
        "line 1: `tool[0].wall_s.uniform` is [2, 2] (wanted: two different ends",
        "",
    ),
    (
        "tool = [{ name = \"x\", wall_s = { uniform = [1, 2], truncate = [5, 6] } }]",
        "line 1: `tool[0].wall_s.truncate` is [5, 6] (wanted: a range that the distribution reaches",
        "",
    ),
    (
        "tool = [{ name = \"x\", wall_s = { quantiles = [[0, 1], [0.5, 0.5], [1, 2]] } }]",
        "line 1: `tool[0].wall_s.quantiles[1]` is [0.5, 0.5]",
        "",
    ),
    (
        "tool = [{ name = \"x\", wall_s = { quantiles = [[0, 1], [0.5, 3]] } }]",
        "line 1: `tool[0].wall_s.quantiles` is",
        "from share 0 to share 1",
    ),
    (
        "tool = [{ name = \"x\", wall_s = { empirical = [1, \"2\"] } }]",
        "line 1: `tool[0].wall_s.empirical[1]` is \"2\"",
        "",
    ),
    (
        "tool = [{ name = \"x\", wall_s = { gamma = { mean = 1, cv = 0 } } }]",
        "line 1: `tool[0].wall_s.gamma.cv` is 0 (wanted: a number from 0.01 to 10",
        "",
    ),
    (
        "tool = [{ name = \"x\", wall_s = { lognormal = { mean = 1, sigma = 2 } } }]",
        "line 1: `tool[0].wall_s.lognormal.sigma` is unknown here (known: `mean`, `sd`",
        "",
    ),
    (
        "shared = { group = \"\", tokens = 5 }",
        "line 1: `shared.group` is \"\"",
        "",
    ),
    (
        "build = { name = \"b\", cpu_s = 1, wall_per_cpu = 0.5 }",
        "line 1: `build.wall_per_cpu` is 0.5 (wanted: a number from 1 to",
        "",
    ),
    (
        "pause = { share = 2, seconds = 1 }",
        "line 1: `pause.share` is 2 (wanted: a number from 0 to 1",
        "",
    ),
    (
        "arrivals = { kind = \"poison\", rate_per_s = 1 }",
        "line 1: `arrivals.kind` is \"poison\"",
        "did you mean `poisson`?",
    ),
    (
        "arrivals = { kind = \"burst\", rate_per_s = 1 }",
        "line 1: `arrivals.size` is missing",
        "",
    ),
    (
        "target = [{ of = \"turn\", statistic = \"mean\", wanted = 1, tolerance = 0.1, source = \"s\" }]",
        "line 1: `target[0].of` is \"turn\"",
        "did you mean `turns`?",
    ),
    (
        "target = [{ of = \"turns\", statistic = \"p101\", wanted = 1, tolerance = 0.1, source = \"s\" }]",
        "line 1: `target[0].statistic` is \"p101\"",
        "",
    ),
    (
        "target = [{ of = \"turns\", statistic = \"share\", wanted = 1, tolerance = 0.1, source = \"s\" }]",
        "line 1: `target[0].above` is missing",
        "",
    ),
    (
        "class = [{ name = \"a\" }, { name = \"a\" }]",
        "line 1: `class[1].name` is \"a\" (wanted: a name that no other class has",
        "",
    ),
    (
        "class = [{ name = \"a\", weight = 0 }]",
        "line 1: `class` is",
        "weight above 0",
    ),
    ("= 3", "not TOML", ""),
];

#[test]
fn mistakes_are_named_with_line_key_value_and_limit() {
    for (more, begins, also) in MISTAKES {
        let refused = Spec::from_toml(&with(more)).expect_err(more).to_string();
        assert!(refused.starts_with(begins), "{more}\n{refused}");
        assert!(refused.contains(also), "{more}\n{refused}");
    }
    // The line is that of the mistake, and a limit on turns is one.
    let refused = Spec::from_toml("name = \"t\"\n\nturns = 10001\n").unwrap_err();
    let wanted = format!("line 3: `turns` is 10001 (wanted: a number from 0 to {TURNS_LIMIT})");
    assert_eq!(refused.to_string(), wanted);
}

prop_compose! {
    /// A draw of any kind, as it is written.
    fn a_draw(most: f64)(
        kind in 0..7, a in 0.01..1.0_f64, b in 0.0..3.0_f64, r in 0.0..1.0_f64, cut in any::<bool>(),
    ) -> String {
        let x = a * most;
        let dist = match kind {
            0 => return format!("{x}"),
            1 => format!("lognormal = {{ median = {x}, sigma = {b} }}"),
            2 => format!("gamma = {{ mean = {x}, cv = {} }}", b + 0.02),
            3 => format!("normal = {{ mean = {x}, sd = {} }}", x * b + 0.1),
            4 => format!("uniform = [{}, {x}]", x / 2.0),
            5 => format!("empirical = [0, {x}, {}]", x / 3.0),
            _ => format!("mixture = [{{ weight = {a}, mu = {b}, sigma = {} }}, {{ weight = 1, mu = 0, sigma = 1 }}]", b + 0.1),
        };
        let clip = if cut { format!(", clip = [1, {}]", x + 1.0) } else { String::new() };
        format!("{{ {dist}, session_correlation = {r}, session_factor = {}{clip} }}", b / 3.0)
    }
}

proptest! {
    /// Whatever is described, the sessions are lawful, complete and within their context.
    #[test]
    fn every_described_session_is_lawful(
        turns in a_draw(40.0), first in a_draw(50_000.0), output in a_draw(3_000.0),
        observation in a_draw(3_000.0), wall in a_draw(100.0), cores in a_draw(4.0),
        calls in a_draw(3.0), context in 300..200_000_u64, threads in 1..4_u32,
        after in any::<bool>(), share in 0.0..1.0_f64, seed in any::<u64>(),
    ) {
        let text = format!(
            "name = \"p\"
            shared = {{ group = \"g\", tokens = 200 }}
            turns = {turns}
            first_prompt = {first}
            output = {output}
            observation = {observation}
            context_limit = {context}
            tools_per_turn = {calls}
            tools_after_last = {after}
            build = {{ name = \"b\", cpu_s = {wall}, wall_per_cpu = 1 }}
            pause = {{ share = {share}, seconds = {wall} }}
            tool = [{{ name = \"x\", wall_s = {wall}, cores = {cores}, parallelism = {threads} }}]"
        );
        let spec = Spec::from_toml(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
        for session in spec.sessions(seed, 5) {
            prop_assert_eq!(session.check(), Ok(()));
            prop_assert!(session.idle_time().is_some());
            prop_assert!(session.turns[0].prompt >= Tokens(200));
            for turn in &session.turns {
                prop_assert!((turn.prompt + turn.output.value).0 <= context);
                prop_assert!(turn.think.is_none() || turn.tools.is_empty());
            }
            for pair in session.turns.windows(2) {
                prop_assert_eq!(pair[1].reused, pair[0].prompt + pair[0].output.value);
            }
        }
    }
}

#[test]
fn the_example_of_the_documentation_works() {
    let text = include_str!("../GENERATE.md");
    let example = text
        .split("```")
        .nth(1)
        .and_then(|block| block.strip_prefix("toml"));
    let spec = Spec::from_toml(example.expect("an example")).unwrap();
    assert_eq!((spec.classes.len(), spec.targets.len()), (2, 1));
    for got in achieved(&spec, 1, 5_000) {
        assert_eq!(got.within(), Some(true), "{got:?}");
    }
}

proptest! {
    /// A preset with a part cut out, doubled or overwritten is refused or used; it never breaks.
    #[test]
    fn a_damaged_description_is_refused_or_used(
        preset in 0..PRESETS.len(), from in any::<prop::sample::Index>(), length in 0..30_usize,
        put in "[-0-9a-z\\[\\]{}=,.\"# \n]{0,8}", twice in any::<bool>(),
    ) {
        let text = PRESETS[preset].1;
        prop_assume!(text.is_ascii());
        let from = from.index(text.len());
        let to = (from + length).min(text.len());
        let part = if twice { &text[from..to] } else { "" };
        let damaged = format!("{}{part}{put}{part}{}", &text[..from], &text[to..]);
        match Spec::from_toml(&damaged) {
            Ok(spec) => prop_assert_eq!(spec.session(1, 0).check(), Ok(())),
            Err(refused) => prop_assert!(!refused.to_string().is_empty()),
        }
    }
}
