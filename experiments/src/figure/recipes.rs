//! The figures: a sweep from `experiments/recipes` each, and what is drawn of it.

use super::recipe::{Grid, Metric, Part, Recipe, Shape};
use super::{overhead, spread, timeline};

macro_rules! sweep {
    ($name:literal) => {
        include_str!(concat!("../../recipes/", $name, ".toml"))
    };
}

macro_rules! beside {
    ($($name:literal),+ $(,)?) => {
        &[$((concat!($name, ".toml"), sweep!($name))),+]
    };
}

const MEAN: Metric = Metric::new("latency_s.mean", "mean latency, s");
/// Overload spreads policies over decades, so figures over load have logarithmic axes.
const LOG_MEAN: Metric = Metric::log("latency_s.mean", "mean latency, s");
const LOG_P90: Metric = Metric::log("latency_s.p90", "P90 latency, s");
const LOG_P95: Metric = Metric::log("latency_s.p95", "P95 latency, s");
const RATE: Metric = Metric::new("rate_per_s", "arrivals, sessions/s");
const GOODPUT_1: Metric = Metric::new("goodput_per_s.1", "goodput (alpha 1), sessions/s");
const GOODPUT_2: Metric = Metric::new("goodput_per_s.2", "goodput (alpha 2), sessions/s");
const GOODPUT_3: Metric = Metric::new("goodput_per_s.3", "goodput (alpha 3), sessions/s");
const TOKENS: Metric = Metric::new("output_tokens_per_s", "output, tokens/s");
const HITS: Metric = Metric::new("prefix_hit_rate", "prefix hit rate");
const MAKESPAN: Metric = Metric::new("makespan_s", "time until all are done, s");

/// A panel per metric and workload, over rates.
const fn over_rates(metrics: &'static [Metric]) -> Shape {
    over(metrics, RATE)
}

const fn over(metrics: &'static [Metric], x: Metric) -> Shape {
    Shape::Grid(Grid {
        metrics,
        panels: Some("workload"),
        x,
        series: "policy",
        bars: false,
    })
}

/// A knob of mars: mean latency over its values, a line per workload.
const fn knob(sweep: &'static str, column: &'static str, label: &'static str) -> Part {
    Part {
        sweep,
        shape: Shape::Grid(Grid {
            metrics: &[MEAN],
            panels: None,
            x: Metric::new(column, label),
            series: "workload",
            bars: false,
        }),
    }
}

const fn recipe(name: &'static str, columns: usize, parts: &'static [Part]) -> Recipe {
    Recipe {
        name,
        title: "",
        about: "",
        of_paper: false,
        columns,
        parts,
        policies: &[],
    }
}

/// Every figure, those of the paper first.
pub const RECIPES: &[Recipe] = &[
    Recipe {
        title: "Figure 2: token throughput and goodput over load",
        about: "output tokens/s and goodput (alpha 3) over load, first and last regime",
        of_paper: true,
        ..recipe(
            "2",
            2,
            &[Part {
                sweep: sweep!("2"),
                shape: over_rates(&[TOKENS, GOODPUT_3]),
            }],
        )
    },
    Recipe {
        title: "Figure 3A: KV blocks evicted over normalised time",
        about: "who churns KV all the time, and who only at first",
        of_paper: true,
        ..recipe(
            "3a",
            2,
            &[Part {
                sweep: sweep!("3"),
                shape: Shape::Own(timeline::churn),
            }],
        )
    },
    Recipe {
        title: "Figure 3B: time to first token of turns, by percentile",
        about: "TTFT per turn by percentile, logarithmic",
        of_paper: true,
        ..recipe(
            "3b",
            2,
            &[Part {
                sweep: sweep!("3"),
                shape: Shape::Own(spread::ttft),
            }],
        )
    },
    Recipe {
        title: "Figure 6: the four input-length regimes",
        about: "cumulative shares of sessions by input length and by ideal time",
        of_paper: true,
        ..recipe(
            "6",
            2,
            &[Part {
                sweep: sweep!("6"),
                shape: Shape::Own(spread::workloads),
            }],
        )
    },
    Recipe {
        title: "Figure 7: latency over load, Qwen3-Coder-30B-A3B on H100",
        about: "mean, P90 and P95 latency over five rates and four regimes",
        of_paper: true,
        ..recipe(
            "7",
            4,
            &[Part {
                sweep: sweep!("7"),
                shape: over_rates(&[LOG_MEAN, LOG_P90, LOG_P95]),
            }],
        )
    },
    Recipe {
        title: "Figure 8: latency over load, GPT-OSS-120B on H100",
        about: "mean, P90 and P95 latency over three regimes of a second model",
        of_paper: true,
        ..recipe(
            "8",
            3,
            &[Part {
                sweep: sweep!("8"),
                shape: over_rates(&[LOG_MEAN, LOG_P90, LOG_P95]),
            }],
        )
    },
    Recipe {
        title: "Figure 9: goodput at alpha 1, 2 and 3, H100",
        about: "sessions per second that end within alpha times their ideal time",
        of_paper: true,
        ..recipe(
            "9",
            4,
            &[Part {
                sweep: sweep!("7"),
                shape: over_rates(&[GOODPUT_1, GOODPUT_2, GOODPUT_3]),
            }],
        )
    },
    Recipe {
        title: "Figure 10: latency over load, Qwen3-Coder-30B-A3B on H200",
        about: "mean, P90 and P95 latency over seven rates and four regimes",
        of_paper: true,
        ..recipe(
            "10",
            4,
            &[Part {
                sweep: sweep!("10"),
                shape: over_rates(&[LOG_MEAN, LOG_P90, LOG_P95]),
            }],
        )
    },
    Recipe {
        title: "Figure 13: mars without one of its parts",
        about: "mean latency of mars, and without admission, queue order, co-scheduling",
        of_paper: true,
        ..recipe(
            "13",
            4,
            &[Part {
                sweep: sweep!("13"),
                shape: over_rates(&[LOG_MEAN]),
            }],
        )
    },
    Recipe {
        title: "What the admission window of mars saw and did",
        about: "window, caps, backlog, KV pressure u and CPU backlog r over one run of mars",
        ..recipe(
            "control",
            2,
            &[Part {
                sweep: sweep!("control"),
                shape: Shape::Own(timeline::control),
            }],
        )
    },
    Recipe {
        title: "The concurrency cliff: 300 sessions of 30 turns, so many at a time",
        about: "prefix reuse and completion time with 8 to 32 sessions at a time, and under mars",
        policies: beside![
            "window-8",
            "window-12",
            "window-16",
            "window-20",
            "window-32",
            "agentic-30",
        ],
        ..recipe(
            "cliff",
            2,
            &[Part {
                sweep: sweep!("cliff"),
                shape: Shape::Grid(Grid {
                    metrics: &[HITS, MAKESPAN],
                    panels: None,
                    x: Metric::new("policy", "sessions at a time"),
                    series: "gpu",
                    bars: true,
                }),
            }],
        )
    },
    Recipe {
        title: "The gap to what cannot be beaten",
        about: "mean latency beside the provable bound, sessions alone, and a policy that knows the future",
        ..recipe(
            "gap",
            2,
            &[Part {
                sweep: sweep!("gap"),
                shape: over_rates(&[LOG_MEAN]),
            }],
        )
    },
    Recipe {
        title: "What scheduling costs: the time of one plan",
        about: "time of plan() on this machine over the turns it orders, and its share of the step; measured, not simulated",
        ..recipe(
            "overhead",
            3,
            &[Part {
                sweep: sweep!("overhead"),
                shape: Shape::Timed(overhead::planning),
            }],
        )
    },
    Recipe {
        title: "Mechanism by mechanism on a stock engine",
        about: "control plane, smallest-first, queue and retention of mars, each alone on fcfs",
        policies: beside![
            "fcfs-control-plane",
            "fcfs-kv-budget",
            "fcfs-smallest-first",
            "fcfs-queue",
            "fcfs-retention",
        ],
        ..recipe(
            "mechanisms",
            2,
            &[Part {
                sweep: sweep!("mechanisms"),
                shape: over_rates(&[LOG_MEAN]),
            }],
        )
    },
    Recipe {
        title: "Sensitivity of mars to its thresholds",
        about: "mean latency over one knob at a time: KV mark, decrease, window, interval, long sessions, aging",
        ..recipe(
            "thresholds",
            3,
            &[
                knob(
                    sweep!("thresholds-kv-high"),
                    "policy.admission.kv_high",
                    "kv_high, share of the pool",
                ),
                knob(
                    sweep!("thresholds-decrease"),
                    "policy.admission.decrease_percent",
                    "decrease, % of the window",
                ),
                knob(
                    sweep!("thresholds-window"),
                    "policy.admission.window_max",
                    "window_max, sessions",
                ),
                knob(
                    sweep!("thresholds-interval"),
                    "policy.admission.interval_s",
                    "control interval, s",
                ),
                knob(
                    sweep!("thresholds-long"),
                    "policy.admission.long_in_flight",
                    "long sessions in flight",
                ),
                knob(
                    sweep!("thresholds-aging"),
                    "policy.order.aging_s",
                    "aging, s per level",
                ),
            ],
        )
    },
    Recipe {
        title: "How many cores the tools need",
        about: "mean latency over 1 to 32 tool cores",
        ..recipe(
            "tool-cores",
            2,
            &[Part {
                sweep: sweep!("tool-cores"),
                shape: over(&[MEAN], Metric::log("tool_cores", "tool cores")),
            }],
        )
    },
    Recipe {
        title: "Tools of one mean, from constant to heavy-tailed",
        about: "mean latency over the spread of tool times, 2 s in the mean",
        policies: beside!["tools-sd-0.5", "tools-sd-2", "tools-sd-8", "tools-sd-32"],
        ..recipe(
            "tool-variance",
            2,
            &[Part {
                sweep: sweep!("tool-variance"),
                shape: Shape::Grid(Grid {
                    metrics: &[MEAN],
                    panels: Some("rate_per_s"),
                    x: Metric::new("workload", "standard deviation of tool times"),
                    series: "policy",
                    bars: true,
                }),
            }],
        )
    },
    Recipe {
        title: "Smooth and bursty arrivals of one rate",
        about: "mean latency under even, Poisson and gamma arrivals",
        ..recipe(
            "arrivals",
            2,
            &[Part {
                sweep: sweep!("arrivals"),
                shape: Shape::Grid(Grid {
                    metrics: &[MEAN],
                    panels: Some("workload"),
                    x: Metric::new("arrivals", "arrival process"),
                    series: "policy",
                    bars: true,
                }),
            }],
        )
    },
    Recipe {
        title: "Who waits: tail latency by session size",
        about: "P99 latency by quarters of sessions, by prompt tokens",
        ..recipe(
            "starvation",
            2,
            &[Part {
                sweep: sweep!("starvation"),
                shape: Shape::Own(spread::sizes),
            }],
        )
    },
    Recipe {
        title: "The same turns per second, in shorter or longer sessions",
        about: "mean latency per session of 4 to 32 turns at one rate of turns",
        policies: beside!["turns-4", "turns-8", "turns-16", "turns-32"],
        ..recipe(
            "turns",
            2,
            &[Part {
                sweep: sweep!("turns"),
                shape: Shape::Grid(Grid {
                    metrics: &[MEAN, HITS],
                    panels: None,
                    x: Metric::new("workload", "turns of a session"),
                    series: "policy",
                    bars: true,
                }),
            }],
        )
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_name_of_its_own_and_says_what_it_shows() {
        for (i, recipe) in RECIPES.iter().enumerate() {
            assert!(
                !recipe.title.is_empty() && !recipe.about.is_empty(),
                "{}",
                recipe.name
            );
            assert!(RECIPES[..i].iter().all(|other| other.name != recipe.name));
        }
        let of_paper: Vec<&str> = RECIPES
            .iter()
            .filter(|r| r.of_paper)
            .map(|r| r.name)
            .collect();
        assert_eq!(of_paper, ["2", "3a", "3b", "6", "7", "8", "9", "10", "13"]);
    }
}
