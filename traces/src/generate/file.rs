//! Reading a description from TOML. The schema is in `GENERATE.md`.
//!
//! A key of a class that stands at the top holds for every class that does not give its own.

use toml::de::DeTable;
use units::{Nanos, Tokens};

use super::arrivals::arrivals;
use super::draw::Draw;
use super::error::SpecError;
use super::parse_draw::draw;
use super::spec::{Build, CALLS_LIMIT, Class, Pause, Spec, TURNS_LIMIT, Tool};
use super::target::{Quantity, Statistic, Target};
use super::toml_text::{Field, Table};
use crate::model::SharedPrefix;
use crate::validate::TOKEN_LIMIT;

const TOP: &[&str] = &["name", "about", "sources", "arrivals", "class", "target"];
const CLASS: &[&str] = &[
    "shared",
    "turns",
    "first_prompt",
    "output",
    "observation",
    "first_observation",
    "context_limit",
    "tools_per_turn",
    "tools_after_last",
    "tool",
    "build",
    "pause",
];
const SHARED: &[&str] = &["group", "tokens"];
const TOOL: &[&str] = &[
    "name",
    "weight",
    "wall_s",
    "timeout_s",
    "cores",
    "parallelism",
];
const BUILD: &[&str] = &["name", "cpu_s", "wall_per_cpu", "parallelism"];
const PAUSE: &[&str] = &["share", "seconds"];
const TARGET: &[&str] = &[
    "of",
    "statistic",
    "above",
    "class",
    "wanted",
    "tolerance",
    "source",
];

/// The agent's usual time limit for a command.
const TIMEOUT: Nanos = Nanos::from_millis(120_000);
/// Mean cores that a shell command keeps busy: 505 commands above 1 s, see `crate::fill`.
const CORES: f64 = 0.55;
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
const MOST_TURNS: f64 = TURNS_LIMIT as f64;
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
const MOST_CALLS: f64 = CALLS_LIMIT as f64;
/// The largest number of tokens, and the largest weight, in a description.
const MOST: f64 = 1e9;
/// The largest time in seconds: the model's limit.
const MOST_S: f64 = 1e7;
/// The most cores, and the most threads.
const MOST_CORES: f64 = 65_536.0;

impl Spec {
    /// Reads a description.
    ///
    /// # Errors
    /// The first mistake, with its line, key, value and limits.
    pub fn from_toml(text: &str) -> Result<Self, SpecError> {
        let parsed = DeTable::parse(text).map_err(|source| SpecError::Syntax {
            source: Box::new(source),
        })?;
        let root = Table::root(text, &parsed);
        root.only(&[TOP, CLASS].concat())?;
        let sources = match root.get("sources") {
            None => Vec::new(),
            Some(list) => list
                .items()?
                .iter()
                .map(|item| item.text().map(str::to_owned))
                .collect::<Result<_, _>>()?,
        };
        let classes = classes(&root)?;
        let targets = root
            .tables("target")?
            .iter()
            .map(|table| target(table, &classes))
            .collect::<Result<_, _>>()?;
        let plan = root.get("arrivals").map(|field| arrivals(&field));
        let about = root.get("about").map_or(Ok(""), |about| about.text())?;
        Ok(Self {
            name: root.need("name", "the workload's name")?.text()?.into(),
            about: about.to_owned(),
            sources,
            classes,
            arrivals: plan.transpose()?,
            targets,
        })
    }
}

/// A class's keys, with those at the top behind them.
struct Keys<'a> {
    root: &'a Table<'a>,
    own: &'a Table<'a>,
}

impl<'a> Keys<'a> {
    fn get(&self, key: &str) -> Option<Field<'a>> {
        self.own.get(key).or_else(|| self.root.get(key))
    }

    fn need(&self, key: &str, wanted: &'static str) -> Result<Field<'a>, SpecError> {
        match self.get(key) {
            Some(field) => Ok(field),
            None => self.own.need(key, wanted),
        }
    }

    fn count(&self, key: &str, most: f64) -> Result<Draw, SpecError> {
        draw(&self.need(key, "a number or a distribution")?, most)
    }
}

fn classes(root: &Table<'_>) -> Result<Vec<Class>, SpecError> {
    let tables = root.tables("class")?;
    if tables.is_empty() {
        // One kind of session needs no name: all its keys stand at the top.
        return Ok(vec![class(&Keys { root, own: root }, "all", 1.0)?]);
    }
    let mut classes: Vec<Class> = Vec::with_capacity(tables.len());
    for own in &tables {
        own.only(&[&["name", "weight"], CLASS].concat())?;
        let field = own.need("name", "the class's name")?;
        let name = field.text()?;
        if classes.iter().any(|class| &*class.name == name) {
            return Err(field.bad("a name that no other class has"));
        }
        let weight = own.get("weight").map_or(Ok(1.0), |w| w.number(0.0, MOST))?;
        classes.push(class(&Keys { root, own }, name, weight)?);
    }
    if classes.iter().all(|class| class.weight <= 0.0) {
        let list = root.need("class", "classes")?;
        return Err(list.bad("at least one class with a weight above 0"));
    }
    Ok(classes)
}

fn class(keys: &Keys<'_>, name: &str, weight: f64) -> Result<Class, SpecError> {
    let most = TOKEN_LIMIT.0;
    let context_limit = keys
        .get("context_limit")
        .map_or(Ok(most), |field| field.whole(2, most))?;
    let shared = keys
        .get("shared")
        .map(|field| shared(&field, context_limit));
    let first_observation = keys.get("first_observation");
    let first_observation = first_observation.map(|field| draw(&field, MOST));
    let tools = tools(keys)?;
    Ok(Class {
        name: name.into(),
        weight,
        shared: shared.transpose()?,
        turns: keys.count("turns", MOST_TURNS)?,
        first_prompt: keys.count("first_prompt", MOST)?,
        output: keys.count("output", MOST)?,
        observation: keys.count("observation", MOST)?,
        first_observation: first_observation.transpose()?,
        context_limit,
        tools_per_turn: match keys.get("tools_per_turn") {
            Some(field) if tools.is_empty() => {
                return Err(field.bad("a `tool` to call, but the class has none"));
            }
            Some(field) => draw(&field, MOST_CALLS)?,
            None => Draw::constant(if tools.is_empty() { 0.0 } else { 1.0 }),
        },
        tools_after_last: keys
            .get("tools_after_last")
            .map_or(Ok(false), |field| field.boolean())?,
        tools,
        build: keys.get("build").map(|field| build(&field)).transpose()?,
        pause: keys.get("pause").map(|field| pause(&field)).transpose()?,
    })
}

fn tools(keys: &Keys<'_>) -> Result<Vec<Tool>, SpecError> {
    let Some(field) = keys.get("tool") else {
        return Ok(Vec::new());
    };
    let tables = field.items()?;
    let tools = tables.iter().map(|item| tool(&item.table()?));
    let tools = tools.collect::<Result<Vec<_>, _>>()?;
    if tools.iter().all(|tool| tool.weight <= 0.0) {
        return Err(field.bad("at least one tool with a weight above 0"));
    }
    Ok(tools)
}

fn shared(field: &Field<'_>, context_limit: u64) -> Result<SharedPrefix, SpecError> {
    let table = field.table()?;
    table.only(SHARED)?;
    let group = table.need("group", "the name of the opening")?.text()?;
    let tokens = table.need("tokens", "the opening's tokens")?;
    // A prompt needs room for one output token.
    let tokens = tokens.whole(1, context_limit - 1)?;
    Ok(SharedPrefix {
        group: group.into(),
        tokens: Tokens(tokens),
    })
}

fn parallelism(table: &Table<'_>) -> Result<u32, SpecError> {
    let threads = table
        .get("parallelism")
        .map_or(Ok(1), |field| field.whole(1, 65_536))?;
    Ok(u32::try_from(threads).unwrap_or(u32::MAX))
}

fn tool(table: &Table<'_>) -> Result<Tool, SpecError> {
    table.only(TOOL)?;
    let timeout = match table.get("timeout_s") {
        None => TIMEOUT,
        Some(field) => {
            let seconds = field.number(1e-6, MOST_S)?;
            Nanos::from_secs(seconds).map_err(|_| field.bad("a time in seconds"))?
        }
    };
    Ok(Tool {
        name: table.need("name", "the tool's name")?.text()?.into(),
        weight: table
            .get("weight")
            .map_or(Ok(1.0), |field| field.number(0.0, MOST))?,
        wall_s: draw(&table.need("wall_s", "seconds it takes alone")?, MOST_S)?,
        timeout,
        cores: table
            .get("cores")
            .map_or(Ok(Draw::constant(CORES)), |field| draw(&field, MOST_CORES))?,
        parallelism: parallelism(table)?,
    })
}

fn build(field: &Field<'_>) -> Result<Build, SpecError> {
    let table = field.table()?;
    table.only(BUILD)?;
    let parallelism = parallelism(&table)?;
    let wall = table.need("wall_per_cpu", "wall time alone per CPU time")?;
    Ok(Build {
        name: table.need("name", "the tool call's name")?.text()?.into(),
        cpu_s: draw(&table.need("cpu_s", "seconds of CPU time")?, MOST_S)?,
        // Less wall time than that has no room for the CPU time.
        wall_per_cpu: wall.number(1.0 / f64::from(parallelism), MOST)?,
        parallelism,
    })
}

fn pause(field: &Field<'_>) -> Result<Pause, SpecError> {
    let table = field.table()?;
    table.only(PAUSE)?;
    let share = table.need("share", "share of the turns that a human answers")?;
    Ok(Pause {
        share: share.number(0.0, 1.0)?,
        seconds: draw(&table.need("seconds", "seconds until the answer")?, MOST_S)?,
    })
}

fn target(table: &Table<'_>, classes: &[Class]) -> Result<Target, SpecError> {
    table.only(TARGET)?;
    let of = table.need("of", "what the statistic is about")?;
    let name = of.text()?;
    let quantity = Quantity::ALL.iter().find(|(known, _)| *known == name);
    let names: Vec<&str> = Quantity::ALL.iter().map(|(known, _)| *known).collect();
    let (_, quantity) = quantity.ok_or_else(|| of.bad_name(&names))?;
    let class = table.get("class").map(|field| {
        let name = field.text()?;
        let names: Vec<&str> = classes.iter().map(|class| &*class.name).collect();
        let found = names.iter().position(|known| *known == name);
        found.ok_or_else(|| field.bad_name(&names))
    });
    let source = table.need("source", "who states the number")?;
    Ok(Target {
        of: *quantity,
        statistic: statistic(table)?,
        class: class.transpose()?,
        wanted: table
            .need("wanted", "the number wanted")?
            .number(-MOST, MOST)?,
        tolerance: table
            .need("tolerance", "how far off is still met, as a share")?
            .number(0.0, 10.0)?,
        source: source.text()?.to_owned(),
    })
}

fn statistic(table: &Table<'_>) -> Result<Statistic, SpecError> {
    let field = table.need("statistic", "`mean`, `sd`, `p50` or another")?;
    let name = field.text()?;
    let above = table.get("above");
    if let Some(above) = above.as_ref().filter(|_| name != "share") {
        return Err(above.bad("nothing here: only `statistic = \"share\"` has a limit"));
    }
    match name {
        "mean" => Ok(Statistic::Mean),
        "sd" => Ok(Statistic::Sd),
        "min" => Ok(Statistic::Min),
        "max" => Ok(Statistic::Max),
        "share" => {
            let above = table.need("above", "the limit above which values count")?;
            Ok(Statistic::ShareAbove(above.number(-MOST, MOST)?))
        }
        _ => {
            let percent = name.strip_prefix('p').and_then(|p| p.parse().ok());
            let percent = percent.filter(|p| (0.0..=100.0).contains(p));
            percent.map(Statistic::Percentile).ok_or_else(|| {
                field.bad("`mean`, `sd`, `min`, `max`, `share` (with `above`), or `p0` to `p100`")
            })
        }
    }
}
