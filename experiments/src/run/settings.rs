//! `--set KEY=VALUE`: settings of the engine, host, tools, metrics and run. Policy keys are left for
//! [`super::policies`].

use std::num::NonZeroU32;

use scheduler::{HeadOfLine, Planning, StartRoom};
use sim::tool_cpu::Hold;
use sim::world::ToolMode;
use units::{BlockSize, Nanos};

/// Keys of this module. Their meaning is in `orrery run --help`.
pub const KEYS: [&str; 23] = [
    "engine.token_budget",
    "engine.max_running",
    "engine.block_size",
    "engine.kv_blocks",
    "engine.head_of_line",
    "engine.prefix_caching",
    "engine.host_gib",
    "engine.link_gb_per_s",
    "engine.whole_prompt",
    "engine.async_scheduling",
    "engine.tensor_parallel",
    "cost.model",
    "cost.specs",
    "host.per_step_ms",
    "host.per_running_us",
    "host.overlapped",
    "tools.mode",
    "tools.worker_holds",
    "tools.host_cores",
    "tools.host_threads",
    "metrics.alpha1_tolerance",
    "run.sample_every_s",
    "workload.seed",
];

/// The most tokens or turns that one limit may name: far beyond any engine, and sums stay in 64 bits.
const COUNT_LIMIT: u64 = 1 << 32;

/// How tool calls share the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tools {
    /// Calls slow each other down on the cores.
    Shared,
    /// Calls queue for as many workers as there are cores.
    Fifo,
    /// No call waits for another.
    Unlimited,
}

/// Whose cores the engine's host work runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCores {
    /// Its own: tools and engine do not meet.
    Disjoint,
    /// Those of the tools: while a step runs, its threads and theirs share them.
    Shared,
}

/// Settings that no policy owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Tokens that one step may compute.
    pub token_budget: u64,
    /// Turns that may run at once.
    pub max_running: u64,
    /// Tokens per KV block.
    pub block_size: BlockSize,
    /// Blocks of the pool, the null block included; `None`: what the GPU has room for.
    pub kv_blocks: Option<u64>,
    /// Whether a turn may overtake one that does not fit.
    pub head_of_line: HeadOfLine,
    /// Whether content left in free blocks may be hit.
    pub prefix_caching: bool,
    /// Host memory for KV, GiB; 0 for none. Only policies that offload use it.
    pub host_gib: f64,
    /// Bandwidth of the link to it each way, 1e9 bytes per second.
    pub link_gb_per_s: f64,
    /// For how much of itself a turn must find room to start.
    pub start_room: StartRoom,
    /// When a step is planned.
    pub planning: Planning,
    /// GPUs that share each layer.
    pub tensor_parallel: u32,
    /// The cost model as given: `auto`, `closed-form`, `roofline`, `profile:DIR` or a TOML file.
    pub cost: String,
    /// Sizes of captured graphs for kernel tables; `None`: vLLM's default. Not a key: an engine's own
    /// configuration says.
    pub graphs: Option<Vec<u64>>,
    /// Files and folders of specs besides those that ship, separated by commas; empty for none.
    pub specs: String,
    /// Host time per step; `None`: the usual.
    pub host_per_step: Option<Nanos>,
    /// Host time per running turn; `None`: the usual.
    pub host_per_running: Option<Nanos>,
    /// Whether the host works beside the GPU; `None`: as with asynchronous scheduling.
    pub host_overlapped: Option<bool>,
    /// How tool calls share the machine.
    pub tools: Tools,
    /// How long a worker keeps a call; only [`Tools::Fifo`] has workers.
    pub worker_holds: Option<Hold>,
    /// Whose cores the engine's host work runs on.
    pub host_cores: HostCores,
    /// Threads of the engine that are busy while a step runs; `None`: one. Only [`HostCores::Shared`] has
    /// tools that notice.
    pub host_threads: Option<NonZeroU32>,
    /// How far above `T_ideal` still meets alpha 1.
    pub alpha1_tolerance: f64,
    /// Time between samples.
    pub sample_every: Nanos,
    /// Seed of a generated workload's sessions.
    pub workload_seed: u64,
}

impl Default for Settings {
    /// The replay settings of the reference.
    fn default() -> Self {
        Self {
            token_budget: 2048,
            max_running: 128,
            block_size: BlockSize::default(),
            kv_blocks: None,
            head_of_line: HeadOfLine::Stop,
            prefix_caching: true,
            host_gib: 64.0,
            link_gb_per_s: 32.0,
            start_room: StartRoom::FirstChunk,
            planning: Planning::Between,
            tensor_parallel: 1,
            cost: "auto".to_owned(),
            graphs: None,
            specs: String::new(),
            host_per_step: None,
            host_per_running: None,
            host_overlapped: None,
            tools: Tools::Shared,
            worker_holds: None,
            host_cores: HostCores::Disjoint,
            host_threads: None,
            alpha1_tolerance: 0.01,
            sample_every: Nanos::from_millis(1_000),
            workload_seed: 1,
        }
    }
}

/// A value that a setting cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("setting `{key}` is `{value}` (wanted: {wanted})")]
pub struct SettingError {
    key: String,
    value: String,
    wanted: &'static str,
}

impl Settings {
    /// What the tools run on, with so many cores or workers.
    ///
    /// # Errors
    /// [`SettingError`] for a setting of workers where there are none, or of shared cores where none are
    /// shared.
    pub fn tool_mode(&self, cores: NonZeroU32) -> Result<ToolMode, SettingError> {
        let refuse = |key: &str, value: &str, wanted| {
            Err(SettingError {
                key: key.to_owned(),
                value: value.to_owned(),
                wanted,
            })
        };
        if let (Some(hold), Tools::Shared | Tools::Unlimited) = (self.worker_holds, self.tools) {
            let value = match hold {
                Hold::Cpu => "cpu",
                Hold::Call => "call",
            };
            let wanted = "nothing, but with tools.mode=fifo";
            return refuse("tools.worker_holds", value, wanted);
        }
        if let (Some(threads), HostCores::Disjoint) = (self.host_threads, self.host_cores) {
            let wanted = "nothing, but with tools.host_cores=shared";
            return refuse("tools.host_threads", &threads.to_string(), wanted);
        }
        match (self.tools, self.host_cores) {
            (Tools::Shared, HostCores::Disjoint) => Ok(ToolMode::Shared(cores)),
            (Tools::Shared, HostCores::Shared) => Ok(ToolMode::WithEngine {
                cores,
                threads: self.host_threads.unwrap_or(NonZeroU32::MIN),
            }),
            (Tools::Fifo, HostCores::Disjoint) => {
                let hold = self.worker_holds.unwrap_or(Hold::Cpu);
                Ok(ToolMode::Fifo(cores, hold))
            }
            (Tools::Unlimited, HostCores::Disjoint) => Ok(ToolMode::Unlimited),
            (Tools::Fifo | Tools::Unlimited, HostCores::Shared) => {
                let wanted = "disjoint, but with tools.mode=shared";
                refuse("tools.host_cores", "shared", wanted)
            }
        }
    }

    /// Sets one key; `Ok(false)` if it is none of [`KEYS`].
    ///
    /// # Errors
    /// [`SettingError`] with the key, its value and what it may be.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool, SettingError> {
        let bad = |wanted| SettingError {
            key: key.to_owned(),
            value: value.to_owned(),
            wanted,
        };
        let count = |least: u64, wanted| {
            let parsed: Option<u64> = value.parse().ok();
            parsed
                .filter(|n| (least..=COUNT_LIMIT).contains(n))
                .ok_or_else(|| bad(wanted))
        };
        let flag = || value.parse::<bool>().map_err(|_| bad("true or false"));
        let number = |least: f64, most: f64, wanted| {
            let parsed: Option<f64> = value.parse().ok();
            parsed
                .filter(|x| (least..=most).contains(x))
                .ok_or_else(|| bad(wanted))
        };
        let span = |unit_s: f64, least: f64, most: f64, wanted| {
            let x = number(least, most, wanted)?;
            Nanos::from_secs(x * unit_s).map_err(|_| bad(wanted))
        };
        match key {
            "engine.token_budget" => self.token_budget = count(1, "tokens, 1 to 2^32")?,
            "engine.max_running" => self.max_running = count(1, "turns, 1 to 2^32")?,
            "engine.block_size" => {
                let wanted = "tokens, 1 to 2^32";
                let size = BlockSize::new(count(1, wanted)?);
                self.block_size = size.ok_or_else(|| bad(wanted))?;
            }
            "engine.kv_blocks" => self.kv_blocks = Some(count(2, "blocks, 2 to 2^24")?),
            "engine.head_of_line" => {
                self.head_of_line = match value {
                    "stop" => HeadOfLine::Stop,
                    "skip" => HeadOfLine::Skip,
                    _ => return Err(bad("stop or skip")),
                };
            }
            "engine.prefix_caching" => {
                self.prefix_caching = flag()?;
            }
            "engine.whole_prompt" => {
                let rooms = [StartRoom::FirstChunk, StartRoom::WholeContext];
                self.start_room = rooms[usize::from(flag()?)];
            }
            "engine.async_scheduling" => {
                self.planning = [Planning::Between, Planning::Ahead][usize::from(flag()?)];
            }
            "engine.tensor_parallel" => {
                let wanted = "GPUs, 1 to 64";
                let degree = value.parse().ok().filter(|n| (1..=64).contains(n));
                self.tensor_parallel = degree.ok_or_else(|| bad(wanted))?;
            }
            "cost.model" => value.clone_into(&mut self.cost),
            "cost.specs" => value.clone_into(&mut self.specs),
            "host.overlapped" => {
                self.host_overlapped = Some(flag()?);
            }
            "engine.host_gib" => self.host_gib = number(0.0, 1e6, "GiB, 0 to 1e6")?,
            "engine.link_gb_per_s" => {
                self.link_gb_per_s = number(1e-3, 1e6, "GB/s, 0.001 to 1e6")?;
            }
            "host.per_step_ms" => {
                self.host_per_step = Some(span(1e-3, 0.0, 1e4, "milliseconds, 0 to 10000")?);
            }
            "host.per_running_us" => {
                self.host_per_running = Some(span(1e-6, 0.0, 1e6, "microseconds, 0 to 1e6")?);
            }
            "metrics.alpha1_tolerance" => {
                self.alpha1_tolerance = number(0.0, 1.0, "a share, 0 to 1")?;
            }
            "run.sample_every_s" => {
                self.sample_every = span(1.0, 1e-3, 1e7, "seconds, 0.001 to 1e7")?;
            }
            "workload.seed" => {
                let wanted = "a whole number, 0 to 2^64 - 1";
                self.workload_seed = value.parse().map_err(|_| bad(wanted))?;
            }
            _ => return self.set_tools(key, value),
        }
        Ok(true)
    }

    /// Sets one of the keys of the tools; `Ok(false)` if it is none.
    fn set_tools(&mut self, key: &str, value: &str) -> Result<bool, SettingError> {
        let bad = |wanted| SettingError {
            key: key.to_owned(),
            value: value.to_owned(),
            wanted,
        };
        match key {
            "tools.mode" => {
                self.tools = match value {
                    "shared" => Tools::Shared,
                    "fifo" => Tools::Fifo,
                    "unlimited" => Tools::Unlimited,
                    _ => return Err(bad("shared, fifo or unlimited")),
                };
            }
            "tools.worker_holds" => {
                self.worker_holds = Some(match value {
                    "cpu" => Hold::Cpu,
                    "call" => Hold::Call,
                    _ => return Err(bad("cpu or call")),
                });
            }
            "tools.host_cores" => {
                self.host_cores = match value {
                    "disjoint" => HostCores::Disjoint,
                    "shared" => HostCores::Shared,
                    _ => return Err(bad("disjoint or shared")),
                };
            }
            "tools.host_threads" => {
                let threads = value.parse().ok().filter(|n: &NonZeroU32| n.get() <= 1024);
                self.host_threads = Some(threads.ok_or_else(|| bad("threads, 1 to 1024"))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_can_be_set() {
        let values = [
            "512",
            "7",
            "32",
            "100",
            "skip",
            "false",
            "16",
            "25",
            "true",
            "true",
            "2",
            "roofline",
            "mine.toml",
            "1.5",
            "2",
            "true",
            "fifo",
            "call",
            "shared",
            "3",
            "0.05",
            "0.5",
            "9",
        ];
        let mut settings = Settings::default();
        for (key, value) in KEYS.iter().zip(values) {
            assert_eq!(settings.set(key, value), Ok(true), "{key}");
        }
        assert_eq!(
            settings,
            Settings {
                token_budget: 512,
                max_running: 7,
                block_size: BlockSize::new(32).unwrap(),
                kv_blocks: Some(100),
                head_of_line: HeadOfLine::Skip,
                prefix_caching: false,
                host_gib: 16.0,
                link_gb_per_s: 25.0,
                start_room: StartRoom::WholeContext,
                planning: Planning::Ahead,
                tensor_parallel: 2,
                cost: "roofline".to_owned(),
                graphs: None,
                specs: "mine.toml".to_owned(),
                host_per_step: Some(Nanos::new(1_500_000)),
                host_per_running: Some(Nanos::new(2_000)),
                host_overlapped: Some(true),
                tools: Tools::Fifo,
                worker_holds: Some(Hold::Call),
                host_cores: HostCores::Shared,
                host_threads: NonZeroU32::new(3),
                alpha1_tolerance: 0.05,
                sample_every: Nanos::from_millis(500),
                workload_seed: 9,
            }
        );
    }

    #[test]
    fn a_wrong_value_names_key_value_and_limit() {
        let mut settings = Settings::default();
        for (key, value) in [
            ("engine.token_budget", "0"),
            ("engine.token_budget", "-1"),
            ("engine.kv_blocks", "1"),
            ("engine.head_of_line", "stopp"),
            ("tools.mode", "fifos"),
            ("tools.worker_holds", "io"),
            ("tools.host_cores", "own"),
            ("tools.host_threads", "0"),
            ("host.per_step_ms", "NaN"),
            ("run.sample_every_s", "0"),
            ("metrics.alpha1_tolerance", "inf"),
        ] {
            let error = settings.set(key, value).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("setting `{key}` is `{value}` (wanted: ")),
                "{error}"
            );
        }
        assert_eq!(settings, Settings::default());
        assert_eq!(settings.set("order.aging_s", "1"), Ok(false));
    }

    #[test]
    fn tools_run_on_what_was_set() {
        let cores = NonZeroU32::new(3).unwrap();
        let mode = |pairs: &[(&str, &str)]| {
            let mut settings = Settings::default();
            for (key, value) in pairs {
                assert_eq!(settings.set(key, value), Ok(true), "{key}");
            }
            settings.tool_mode(cores)
        };
        assert_eq!(mode(&[]), Ok(ToolMode::Shared(cores)));
        assert_eq!(
            mode(&[("tools.mode", "unlimited")]),
            Ok(ToolMode::Unlimited)
        );
        let fifo = ("tools.mode", "fifo");
        assert_eq!(mode(&[fifo]), Ok(ToolMode::Fifo(cores, Hold::Cpu)));
        assert_eq!(
            mode(&[("tools.worker_holds", "call"), fifo]),
            Ok(ToolMode::Fifo(cores, Hold::Call))
        );
        let shared = ("tools.host_cores", "shared");
        let with_engine = |threads| ToolMode::WithEngine {
            cores,
            threads: NonZeroU32::new(threads).unwrap(),
        };
        assert_eq!(mode(&[shared]), Ok(with_engine(1)));
        assert_eq!(
            mode(&[shared, ("tools.host_threads", "2")]),
            Ok(with_engine(2))
        );
        for (pairs, told) in [
            (
                [("tools.host_threads", "2"), ("tools.mode", "shared")],
                "setting `tools.host_threads` is `2` (wanted: nothing, but with \
                 tools.host_cores=shared)",
            ),
            (
                [shared, fifo],
                "setting `tools.host_cores` is `shared` (wanted: disjoint, but with \
                 tools.mode=shared)",
            ),
        ] {
            assert_eq!(mode(&pairs).unwrap_err().to_string(), told);
        }
        let error = mode(&[("tools.worker_holds", "call")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "setting `tools.worker_holds` is `call` (wanted: nothing, but with tools.mode=fifo)"
        );
    }
}
