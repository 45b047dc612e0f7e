//! From a line's JSON to a [`Session`].
//!
//! What is absent has a default that says "unknown" or "none", never zero for "not measured".

use std::sync::Arc;

use serde_json::Value;
use units::{Nanos, Tokens};

use super::Header;
use super::field::Fields;
use crate::error::{Place, TraceError, shown};
use crate::model::{Command, Evidence, Known, Session, SharedPrefix, ToolCall, Turn};

const HEADER: &[&str] = &["orrery_trace", "source", "license", "note"];
const SESSION: &[&str] = &["id", "model", "arrival_s", "shared", "parent", "turns"];
const SHARED: &[&str] = &["group", "tokens"];
const TURN: &[&str] = &[
    "prompt",
    "reused",
    "output",
    "output_from",
    "cached",
    "llm_s",
    "tools",
    "think_s",
];
const TOOL: &[&str] = &[
    "name",
    "wall_s",
    "wall_from",
    "cpu_s",
    "cpu_from",
    "parallelism",
    "command",
];

/// Reads the header and the version from the JSON of line 1.
pub(super) fn header(value: Value, place: Place) -> Result<(Header, u64), TraceError> {
    // Version first: the fields of another version are not this one's to judge.
    let got = value.get("orrery_trace").ok_or(TraceError::NotATrace)?;
    let known = super::OLDEST_VERSION..=super::VERSION;
    let version = got
        .as_u64()
        .filter(|version| known.contains(version))
        .ok_or_else(|| TraceError::Version { got: shown(got) })?;
    let mut fields = Fields::new(value, String::new(), place, HEADER)?;
    let header = Header {
        source: fields.text("source")?.map(|text| text.to_string()),
        license: fields.text("license")?.map(|text| text.to_string()),
        note: fields.text("note")?.map(|text| text.to_string()),
        commands: version > super::WITHOUT_COMMANDS,
    };
    Ok((header, version))
}

/// Reads a session from the JSON of one line. The laws between fields are not checked here.
pub(super) fn session(value: Value, version: u64, place: Place) -> Result<Session, TraceError> {
    let mut fields = Fields::new(value, String::new(), place, SESSION)?;
    let mut shared = Vec::new();
    if version == 1 {
        if let Some(value) = fields.take("shared") {
            shared.push(segment(value, "shared".to_owned(), place)?);
        }
    } else {
        for (i, value) in fields.list("shared")?.into_iter().enumerate() {
            shared.push(segment(value, format!("shared[{i}]"), place)?);
        }
    }
    let mut turns = Vec::new();
    for (i, value) in fields.list("turns")?.into_iter().enumerate() {
        turns.push(turn(value, format!("turns[{i}]"), version, place)?);
    }
    Ok(Session {
        id: fields.need_text("id")?,
        model: fields.text("model")?,
        arrival: fields.seconds("arrival_s")?,
        shared,
        parent: fields.text("parent")?,
        turns,
    })
}

fn segment(value: Value, path: String, place: Place) -> Result<SharedPrefix, TraceError> {
    let mut fields = Fields::new(value, path, place, SHARED)?;
    Ok(SharedPrefix {
        group: fields.need_text("group")?,
        tokens: fields.need_tokens("tokens", 0)?,
    })
}

fn turn(value: Value, path: String, version: u64, place: Place) -> Result<Turn, TraceError> {
    let mut fields = Fields::new(value, path, place, TURN)?;
    let output = fields.need_tokens("output", 1)?;
    let evidence = evidence(&mut fields, "output_from")?;
    let mut tools = Vec::new();
    for (i, value) in fields.list("tools")?.into_iter().enumerate() {
        tools.push(tool(
            value,
            format!("{}[{i}]", fields.path_of("tools")),
            version,
            place,
        )?);
    }
    Ok(Turn {
        prompt: fields.need_tokens("prompt", 1)?,
        reused: fields.tokens("reused", 0)?.unwrap_or(Tokens::ZERO),
        output: Known {
            value: output,
            evidence,
        },
        cached: fields.tokens("cached", 0)?,
        llm: fields.seconds("llm_s")?,
        tools,
        think: fields.seconds("think_s")?,
    })
}

fn tool(value: Value, path: String, version: u64, place: Place) -> Result<ToolCall, TraceError> {
    let mut fields = Fields::new(value, path, place, TOOL)?;
    let parallelism = match fields.take("parallelism") {
        None => 1,
        Some(value) => value
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n > 0)
            .ok_or_else(|| fields.bad("parallelism", &value, "a whole number of threads from 1"))?,
    };
    Ok(ToolCall {
        name: fields.need_text("name")?,
        wall: known_time(&mut fields, "wall_s", "wall_from")?,
        cpu: known_time(&mut fields, "cpu_s", "cpu_from")?,
        parallelism,
        command: command(&mut fields, version)?,
    })
}

fn command(fields: &mut Fields, version: u64) -> Result<Option<Arc<Command>>, TraceError> {
    const KEY: &str = "command";
    let Some(value) = fields.take(KEY) else {
        return Ok(None);
    };
    if version <= super::WITHOUT_COMMANDS {
        let wanted = format!(
            "no command in version {version} of the format; line 1 of version {0} has \"orrery_trace\":{0}",
            super::VERSION
        );
        return Err(fields.bad(KEY, &value, &wanted));
    }
    let Value::Array(items) = value else {
        return Err(fields.bad(
            KEY,
            &value,
            "a list of texts: the program, then its arguments",
        ));
    };
    let mut argv = Vec::with_capacity(items.len());
    for (i, item) in items.into_iter().enumerate() {
        match item {
            Value::String(text) => argv.push(text.into_boxed_str()),
            other => return Err(fields.bad(&format!("{KEY}[{i}]"), &other, "a text")),
        }
    }
    Ok(Some(Arc::new(Command { argv: argv.into() })))
}

fn known_time(
    fields: &mut Fields,
    time: &str,
    from: &str,
) -> Result<Option<Known<Nanos>>, TraceError> {
    let value = fields.seconds(time)?;
    let evidence = evidence(fields, from)?;
    Ok(value.map(|value| Known { value, evidence }))
}

fn evidence(fields: &mut Fields, key: &str) -> Result<Evidence, TraceError> {
    let Some(value) = fields.take(key) else {
        return Ok(Evidence::Recorded);
    };
    match value.as_str() {
        Some("recorded") => Ok(Evidence::Recorded),
        Some("estimated") => Ok(Evidence::Estimated),
        Some("drawn") => Ok(Evidence::Drawn),
        _ => Err(fields.bad(key, &value, "\"recorded\", \"estimated\" or \"drawn\"")),
    }
}
