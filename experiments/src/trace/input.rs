//! What a user may name where a trace is wanted, opened as a stream of sessions.
//!
//! Limits: ids are checked for uniqueness while they stream by, 16 bytes each.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, anyhow};
use traces::generate::PRESETS;
use traces::validate::Ids;
use traces::{Header, Session, TraceError, TraceReader, bundled};

use super::args::OnBad;
use super::made::{self, Make};
use crate::failure::{Failure, did_you_mean, nearest};

/// The bundled workload that is meant when none is named.
pub const DEFAULT: &str = "swebench-mini";

/// So many reasons for sessions left out are kept.
const REASONS: usize = 20;

/// Sessions of one trace, in its order.
pub struct Input {
    /// As the user named it.
    pub name: String,
    /// What the trace says about itself.
    pub header: Header,
    sessions: Sessions,
    ids: Ids,
    number: u64,
}

enum Sessions {
    File(Box<TraceReader<'static>>),
    Memory(std::vec::IntoIter<Session>),
    Made(Box<dyn Iterator<Item = Session> + Send>),
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A session that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadSession {
    /// Its line cannot be read.
    #[error("{0}")]
    Line(TraceError),
    /// Its id is taken.
    #[error(
        "session {number} of the file: `id` is `{id}`, which an earlier session has (wanted: unique)"
    )]
    TakenId {
        /// Which session, from 1.
        number: u64,
        /// The id.
        id: String,
    },
}

impl BadSession {
    /// Whether the sessions after it can be read.
    pub const fn is_of_one_session(&self) -> bool {
        match self {
            Self::Line(error) => error.is_of_one_line(),
            Self::TakenId { .. } => true,
        }
    }
}

/// Sessions that were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many.
    pub count: u64,
    /// Why, for the first of them.
    pub because: Vec<String>,
}

impl Dropped {
    fn note(&mut self, why: &BadSession) {
        self.count += 1;
        if self.because.len() < REASONS {
            self.because.push(why.to_string());
        }
    }
}

impl Input {
    /// Opens the trace called `name`: a bundled workload, a file, or `-` for stdin.
    ///
    /// # Errors
    /// Bad input: no such trace, or a file that is none.
    pub fn open(name: &str) -> Result<Self, Failure> {
        if made::spec(name)?.is_some() {
            return Err(Failure::bad_input(anyhow!(
                "`{name}` describes a workload and is no trace\nhint: `orrery trace generate {name} \
                 -o FILE` makes one"
            )));
        }
        Self::recorded(name)
    }

    /// As [`Input::open`]; also a generator's preset or `.toml` description, from which sessions are
    /// made. Says whether they were.
    ///
    /// # Errors
    /// As [`Input::open`], and a description that is wrong.
    pub fn open_or_make(name: &str, make: Make) -> Result<(Self, bool), Failure> {
        let Some(spec) = made::spec(name)? else {
            return Ok((Self::recorded(name)?, false));
        };
        let header = made::header(&spec, make);
        let sessions = Sessions::Made(Box::new(made::sessions(spec, make)?));
        Ok((Self::new(name, header, sessions), true))
    }

    fn recorded(name: &str) -> Result<Self, Failure> {
        let bundled_name = if name == "bundled" { DEFAULT } else { name };
        if let Some((header, sessions)) = bundled::by_name(bundled_name) {
            return Ok(Self::new(
                name,
                header,
                Sessions::Memory(sessions.into_iter()),
            ));
        }
        let input: Box<dyn Read + Send> = if name == "-" {
            Box::new(io::stdin())
        } else {
            Box::new(open(name)?)
        };
        let reader = TraceReader::open(input)
            .map_err(refused)
            .with_context(|| cannot_use(name))
            .map_err(Failure::bad_input)?;
        let header = reader.header().clone();
        Ok(Self::new(name, header, Sessions::File(Box::new(reader))))
    }

    fn new(name: &str, header: Header, sessions: Sessions) -> Self {
        Self {
            name: name.to_owned(),
            header,
            sessions,
            ids: Ids::new(),
            number: 0,
        }
    }

    /// Hands every session to `each`. Bad ones end it, or are counted, as `on_bad` says.
    ///
    /// # Errors
    /// Bad input: the first bad session with its line; one that ends the file in any case; or a trace
    /// without a good session. And what `each` says.
    pub fn each(
        mut self,
        on_bad: OnBad,
        mut each: impl FnMut(Session) -> Result<(), Failure>,
    ) -> Result<Dropped, Failure> {
        let mut dropped = Dropped::default();
        let mut good = 0_u64;
        while let Some(session) = self.next() {
            match session {
                Ok(session) => {
                    good += 1;
                    each(session)?;
                }
                Err(bad) if on_bad == OnBad::Skip && bad.is_of_one_session() => dropped.note(&bad),
                Err(bad) => {
                    let hint = if bad.is_of_one_session() {
                        "\nhint: `--on-bad-session skip` leaves such sessions out and counts them"
                    } else {
                        ""
                    };
                    let error = anyhow!("{bad}{hint}").context(cannot_use(&self.name));
                    return Err(Failure::bad_input(error));
                }
            }
        }
        if good == 0 {
            let why = dropped.because.first().map_or("", String::as_str);
            return Err(Failure::bad_input(
                anyhow!("no session of it can be read; the first: {why}")
                    .context(cannot_use(&self.name)),
            ));
        }
        Ok(dropped)
    }
}

impl Iterator for Input {
    type Item = Result<Session, BadSession>;

    fn next(&mut self) -> Option<Self::Item> {
        let session = match &mut self.sessions {
            Sessions::Memory(sessions) => return sessions.next().map(Ok),
            Sessions::Made(sessions) => return sessions.next().map(Ok),
            Sessions::File(reader) => reader.next()?,
        };
        self.number += 1;
        Some(match session {
            Ok(session) if self.ids.insert(&session.id) => Ok(session),
            Ok(session) => Err(BadSession::TakenId {
                number: self.number,
                id: session.id.to_string(),
            }),
            Err(error) => Err(BadSession::Line(error)),
        })
    }
}

fn cannot_use(name: &str) -> String {
    format!("cannot use workload `{name}`")
}

fn open(name: &str) -> Result<File, Failure> {
    let path = Path::new(name);
    let opened = File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        Ok(file)
    });
    opened.map_err(|error| {
        let names = bundled::NAMES.iter().copied().chain(["bundled"]);
        let known: Vec<String> = names.clone().map(|n| format!("`{n}`")).collect();
        let names = names.chain(PRESETS.iter().map(|(name, _)| *name));
        let hint = if error.kind() == io::ErrorKind::IsADirectory {
            "\nhint: `orrery trace import` makes a trace of a folder of recordings".to_owned()
        } else {
            did_you_mean(nearest(name, names))
        };
        Failure::bad_input(anyhow::Error::new(error).context(format!(
            "cannot open workload `{name}`: no bundled workload ({}), no preset of the \
             generator (`orrery workloads list`), and no file that can be opened{hint}",
            known.join(", ")
        )))
    })
}

fn refused(error: TraceError) -> anyhow::Error {
    match error {
        TraceError::NotATrace => anyhow!(
            "{error}\nhint: recordings of agents must be imported into the trace format first: \
             `orrery trace import`"
        ),
        other => other.into(),
    }
}
