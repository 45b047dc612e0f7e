//! A real vLLM run replayed from its request log, with kernel tables as the only hardware input.
//!
//! The run (RTX 4090, Llama-3.1-8B, 300 requests at 10/s, 2,588 KV blocks) and the tables are those of
//! casys-kaist/LLMServingSim. They are not part of the project: without them the test is skipped, visibly.
//! The log has the lengths of prompts and not their tokens; which of them share an opening is here. The aims
//! are the figures of the best published simulator of this run, which had the tokens.

#![expect(clippy::disallowed_methods, reason = "recordings are files")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use policies::PolicySpec;
use scheduler::{Config, Planning, StartRoom};
use sim::cost::Host;
use sim::fidelity::{Comparison, Request, replay, share_openings};
use sim::spec::{Catalog, Choice, CostChoice, Hardware, ProfileFiles};
use sim::world::{Setup, ToolMode};
use units::{BlockSize, Blocks, Nanos, Tokens};

fn shared(path: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/calibration/llmservingsim");
    let file = root.join(path);
    if !file.exists() {
        eprintln!("SKIPPED: no {}", file.display());
        return None;
    }
    Some(file)
}

fn profile() -> Option<ProfileFiles> {
    let folder = shared("profiler/perf/RTX4090/meta-llama/Llama-3.1-8B/bf16")?;
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("is there");
    Some(ProfileFiles {
        origin: "RTX4090/Llama-3.1-8B/bf16/tp1".to_owned(),
        dense: read("tp1/dense.csv"),
        attention: read("tp1/attention.csv"),
        per_sequence: read("tp1/per_sequence.csv"),
        moe: None,
        meta: Some(read("meta.yaml")),
        graphs: None,
    })
}

#[derive(serde::Deserialize)]
struct Line {
    request_id: String,
    input_toks: u64,
    output_toks: u64,
    queued_ts: f64,
    first_token_ts: f64,
    last_token_ts: f64,
}

fn requests() -> Option<Vec<Request>> {
    let file = shared("bench/examples/RTX4090/Llama-3.1-8B/vllm/requests.jsonl")?;
    let text = std::fs::read_to_string(file).expect("is there");
    let lines: Vec<Line> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a request"))
        .collect();
    let start = lines
        .iter()
        .map(|l| l.queued_ts)
        .fold(f64::INFINITY, f64::min);
    let since = |at: f64| Nanos::from_secs(at - start).expect("after the start");
    let requests = lines.into_iter().map(|l| Request {
        id: l.request_id,
        queued: since(l.queued_ts),
        input: Tokens(l.input_toks),
        output: Tokens(l.output_toks),
        shared: Vec::new(),
        first_token: since(l.first_token_ts),
        last_token: since(l.last_token_ts),
    });
    Some(requests.collect())
}

fn setup(files: ProfileFiles, usable_blocks: u64) -> Setup {
    let choice = Choice {
        gpu: "rtx-4090",
        model: "llama-3.1-8b",
        utilisation: 0.9,
        degree: 1,
        cost: CostChoice::Profile(Box::new(files)),
    };
    let hardware = Hardware::choose(&Catalog::builtin(), &choice).expect("fits");
    eprintln!("{}", hardware.evidence);
    let host = Host {
        overlapped: true,
        ..Host::TYPICAL
    };
    Setup {
        engine: Config {
            block_size: BlockSize::default(),
            usable_blocks: Blocks(usable_blocks),
            token_budget: Tokens(2048),
            max_running: 256,
            start_room: StartRoom::WholeContext,
            planning: Planning::Ahead,
            ..Config::default()
        },
        cost: Arc::new(hardware.with_host(host).cost),
        tools: ToolMode::Unlimited,
        horizon: None,
        sample_every: None,
    }
}

fn compare(setup: &Setup, requests: &[Request]) -> Comparison {
    let policy = PolicySpec::preset("fcfs")
        .expect("ships")
        .build()
        .expect("a policy");
    let replayed = replay(setup, policy, requests).expect("goes through");
    let pairs: Vec<_> = requests
        .iter()
        .zip(&replayed.timings)
        .map(|(real, sim)| (real.timing(), sim.expect("every request finishes")))
        .collect();
    let c = Comparison::new(&pairs).expect("times above zero");
    for (name, e) in [
        ("TTFT", c.ttft),
        ("TPOT", c.tpot.expect("two tokens")),
        ("latency", c.latency),
    ] {
        eprintln!(
            "{name:8} real {:.4} s  simulated {:.4} s  mean {:+.2} %  p50 {:+.2} %  p95 {:+.2} %  \
             per request {:.2} %",
            e.real_mean,
            e.sim_mean,
            100.0 * e.mean,
            100.0 * e.p50,
            100.0 * e.p95,
            100.0 * e.per_request
        );
    }
    eprintln!(
        "grade {}; {} preemptions in {} steps",
        c.grade().as_str(),
        replayed.summary.counters.preemptions,
        replayed.summary.counters.steps
    );
    c
}

/// Requests of this run whose prompts begin alike: an earlier one, a later one, and the tokens at the start
/// of both that are the same. From the tokens of its data set (`workloads/sharegpt-llama-3.1-8b-300-sps10.jsonl`,
/// which the run's own configuration names): all prompts whose first twenty tokens are another's. Most are
/// later turns of a conversation, which begin with all of the earlier prompt; behind it comes the
/// conversation's answer, tokenised otherwise than the engine generated it.
const OPENINGS: [(usize, usize, usize); 32] = [
    (17, 79, 859),
    (22, 177, 483),
    (27, 88, 327),
    (28, 68, 363),
    (31, 152, 38),
    (31, 183, 319),
    (35, 66, 633),
    (36, 223, 814),
    (38, 174, 1320),
    (40, 47, 455),
    (45, 117, 389),
    (56, 235, 838),
    (61, 180, 824),
    (63, 128, 843),
    (76, 140, 391),
    (82, 93, 629),
    (107, 158, 616),
    (109, 200, 262),
    (111, 287, 448),
    (117, 139, 996),
    (138, 188, 721),
    (146, 220, 522),
    (147, 280, 831),
    (149, 265, 596),
    (151, 184, 579),
    (153, 173, 460),
    (163, 293, 262),
    (165, 285, 735),
    (186, 281, 817),
    (201, 209, 607),
    (207, 237, 1265),
    (226, 227, 520),
];

/// Prompts of the recorded lengths that share what [`OPENINGS`] says and nothing else.
fn prompts(requests: &[Request]) -> Vec<Vec<u32>> {
    let mut fresh = 0_u32..;
    let mut prompts: Vec<Vec<u32>> = Vec::new();
    for (at, request) in requests.iter().enumerate() {
        let opening = OPENINGS.iter().find(|(_, later, _)| *later == at);
        let mut prompt = opening.map_or(Vec::new(), |&(earlier, _, tokens)| {
            prompts[earlier][..tokens].to_vec()
        });
        let length = usize::try_from(request.input.get()).expect("thousands");
        assert!(
            prompt.len() <= length,
            "request {at} is shorter than its opening"
        );
        prompt.extend(fresh.by_ref().take(length - prompt.len()));
        prompts.push(prompt);
    }
    prompts
}

/// Mean errors of TTFT, TPOT and latency and the mean absolute ones per request, percent.
fn percent(c: &Comparison) -> [f64; 6] {
    let tpot = c.tpot.expect("two tokens");
    [
        c.ttft.mean,
        tpot.mean,
        c.latency.mean,
        c.ttft.per_request,
        tpot.per_request,
        c.latency.per_request,
    ]
    .map(|x| 100.0 * x)
}

/// What is aimed for: means within 1 %, and per request no more than is stated of the published simulator of
/// this run.
const AIMS: [f64; 6] = [1.0, 1.0, 1.0, 3.8, 1.6, 0.6];
const NAMES: [&str; 6] = [
    "mean TTFT",
    "mean TPOT",
    "mean latency",
    "TTFT per request",
    "TPOT per request",
    "latency per request",
];

/// The one aim that is missed, by this much: where it is met one day, the test says so.
const TPOT_PER_REQUEST: (&str, f64) = ("TPOT per request", 1.604);

/// With what that simulator had too: the tokens, as far as prompts share them.
#[test]
fn a_saturated_vllm_run_is_met_but_for_tpot_per_request() {
    let (Some(files), Some(mut requests)) = (profile(), requests()) else {
        return;
    };
    let openings = share_openings(&prompts(&requests), BlockSize::default());
    for (request, shared) in requests.iter_mut().zip(openings) {
        request.shared = shared;
    }
    let sharing = requests.iter().filter(|r| !r.shared.is_empty()).count();
    // 32 that begin like an earlier one, and the earlier ones: 31 and 117 are in two pairs.
    assert_eq!(sharing, 62);
    let got = percent(&compare(&setup(files, 2_587), &requests));
    for ((name, got), aim) in NAMES.iter().zip(got).zip(AIMS) {
        if *name == TPOT_PER_REQUEST.0 {
            let is = TPOT_PER_REQUEST.1;
            assert!(got > aim, "{name}: {got:+.3} % meets {aim}: say so here");
            assert!(
                (got - is).abs() < 0.001,
                "{name}: {got:+.4} % is not {is} %"
            );
        } else {
            assert!(got.abs() <= aim, "{name}: {got:+.3} %, aim {aim}");
        }
    }
}

/// From the log alone, which has lengths and no tokens: the figures that `sim/README.md` states, so that a
/// change shows.
#[test]
fn without_the_prompts_it_is_further_off_as_stated() {
    let (Some(files), Some(requests)) = (profile(), requests()) else {
        return;
    };
    let got = percent(&compare(&setup(files, 2_587), &requests));
    let stated = [1.45, -0.59, 0.95, 3.20, 5.12, 1.28];
    for ((name, got), is) in NAMES.iter().zip(got).zip(stated) {
        assert!((got - is).abs() < 0.01, "{name}: {got:+.2} % is not {is} %");
    }
}
