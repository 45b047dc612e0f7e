//! `orrery trace import`: recordings of agents, made into one trace.
//!
//! What: [`find`] finds the recordings, [`mod@open`] unpacks them, importers read them side by side,
//! [`spool`] keeps the sessions until all are there, [`summary`] says what was read, guessed and left
//! out.
//! Limits: each thread holds one recording's sessions as numbers; a batch of recordings waits for its
//! slowest. Results do not depend on the number of threads.

mod find;
mod open;
mod spool;
mod summary;

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use rayon::prelude::*;
use traces::fill::Fill;
use traces::import::{
    self, IMPORTERS, ImportReport, Imported, Importer, OnBadSession, Openings, Recording,
};
use traces::validate::Ids;
use traces::{Header, Place, TraceError};

use self::find::{Files, Job};
use self::open::Disk;
use self::spool::Spool;
use self::summary::Summary;
use super::args::{ImportArgs, OnBad};
use super::fill::{add_note, seed, words};
use super::output::TraceFile;
use crate::failure::{Exit, Failure, did_you_mean, nearest};
use crate::interrupt::Interrupt;
use crate::output::{data, note};
use crate::progress::Progress;
use crate::run::plan;

/// Recordings read between two looks at the clock and at Ctrl-C, for each thread.
const BATCH: usize = 16;

/// What reading one recording came to.
type Outcome = Result<(Vec<Imported>, ImportReport), TraceError>;

/// Imports everything and writes the trace.
///
/// # Errors
/// Bad input: a path, a format, or a recording that cannot be read. Exit 1 if some files could not be
/// read and others could. An interruption leaves nothing.
pub(super) fn command(args: &ImportArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let format = args.from.as_deref().map(by_name).transpose()?;
    let fill = args.fill.as_deref().map(|text| seed("--fill", text));
    let fill = fill.transpose()?.map(Fill::new);
    if args.out.out.is_none() && args.format == ImportFormat::Json {
        return Err(Failure::bad_input(anyhow!(
            "`--format json` prints the report on stdout, where the trace goes\nhint: write the \
             trace to a file with `-o`"
        )));
    }
    let threads = plan::threads(args.threads.as_deref())?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build()
        .map_err(Failure::bad_input)?;
    pool.install(|| {
        let files = find::find(&args.paths, format)?;
        let mut importing = Importing::new(args, &files)?;
        importing.read(&files, interrupt)?;
        importing.write(args, fill)
    })
}

pub(super) use super::args::ImportFormat;

fn by_name(name: &str) -> Result<&'static Importer, Failure> {
    import::by_name(name).ok_or_else(|| {
        let names = || IMPORTERS.iter().map(|importer| importer.name);
        let known: Vec<String> = names().map(|name| format!("`{name}`")).collect();
        let hint = did_you_mean(nearest(name, names()));
        Failure::bad_input(anyhow!(
            "`--from` is `{name}` (wanted: {}){hint}",
            known.join(", ")
        ))
    })
}

/// An import under way.
struct Importing {
    on_bad: OnBadSession,
    quiet: bool,
    summary: Summary,
    spool: Spool,
    ids: Ids,
    /// The next number to tell sessions of one name apart by.
    taken: BTreeMap<Arc<str>, u64>,
    openings: Option<Openings>,
}

impl Importing {
    fn new(args: &ImportArgs, files: &Files) -> Result<Self, Failure> {
        Ok(Self {
            on_bad: match args.on_bad_session {
                OnBad::Fail => OnBadSession::Fail,
                OnBad::Skip => OnBadSession::Skip,
            },
            quiet: args.out.quiet,
            summary: Summary::of(files),
            spool: Spool::new()?,
            ids: Ids::new(),
            taken: BTreeMap::new(),
            openings: args.dedup.then(Openings::new),
        })
    }

    /// Reads all recordings, in batches, and keeps their sessions in the files' order.
    fn read(&mut self, files: &Files, interrupt: &Interrupt) -> Result<(), Failure> {
        let progress = Progress::of(files.jobs.len() as u64, "files imported", self.quiet);
        let mut share = progress.share();
        let mut done = 0;
        for batch in files.jobs.chunks(BATCH * rayon::current_num_threads()) {
            let outcomes: Vec<Outcome> = batch
                .par_iter()
                .map(|job| {
                    if interrupt.is_set() {
                        return Ok((Vec::new(), ImportReport::default()));
                    }
                    one(job, self.on_bad)
                })
                .collect();
            if interrupt.is_set() {
                return Err(Failure {
                    exit: Exit::Interrupted,
                    error: anyhow!("interrupted after {done} files; nothing is written"),
                });
            }
            for (job, outcome) in batch.iter().zip(outcomes) {
                self.take(job, outcome)?;
            }
            done += batch.len() as u64;
            share.completed(done);
        }
        Ok(())
    }

    fn take(&mut self, job: &Job, outcome: Outcome) -> Result<(), Failure> {
        let (sessions, report) = match outcome {
            Ok(read) => read,
            Err(error) if self.on_bad == OnBadSession::Skip => {
                let line = format!("{}: {}", job.file.shown, whole(&error));
                self.summary.unreadable.push(line);
                return Ok(());
            }
            Err(error) => {
                let hint = if error.is_of_one_line() {
                    "\nhint: `--on-bad-session skip` leaves such sessions out and counts them"
                } else {
                    ""
                };
                let what = format!(
                    "cannot import `{}` as {}{hint}",
                    job.file.shown, job.importer.name
                );
                return Err(Failure::bad_input(anyhow::Error::new(error).context(what)));
            }
        };
        self.summary.count(job.importer.name, &report);
        let mut sessions = sessions;
        if let Some(openings) = &mut self.openings {
            let before = sessions.len();
            sessions.retain(|imported| !openings.repeats(&imported.session));
            self.summary.repeats += (before - sessions.len()) as u64;
        }
        self.rename(&mut sessions);
        for imported in &sessions {
            self.spool.push(imported)?;
        }
        Ok(())
    }

    /// Gives sessions whose id is taken another, and tells their sub-agents.
    fn rename(&mut self, sessions: &mut [Imported]) {
        let mut renamed: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        for imported in &mut *sessions {
            let id = &mut imported.session.id;
            if self.ids.insert(id) {
                continue;
            }
            let old = Arc::clone(id);
            let next = self.taken.entry(Arc::clone(&old)).or_insert(2);
            loop {
                let candidate = format!("{old}~{next}");
                *next += 1;
                if self.ids.insert(&candidate) {
                    *id = candidate.into();
                    break;
                }
            }
            self.summary.renamed += 1;
            renamed.insert(old, Arc::clone(id));
        }
        for imported in sessions {
            if let Some(parent) = &mut imported.session.parent
                && let Some(new) = renamed.get(parent)
            {
                *parent = Arc::clone(new);
            }
        }
    }

    fn write(mut self, args: &ImportArgs, fill: Option<Fill>) -> Result<(), Failure> {
        if self.spool.len() == 0 {
            self.summary.print(self.quiet);
            return Err(Failure::bad_input(anyhow!(
                "no session to write: {}",
                self.summary.why_nothing()
            )));
        }
        let mut header = Header {
            source: Some(args.source.clone().unwrap_or_else(|| self.summary.source())),
            license: args.license.clone(),
            note: None,
            // No importer keeps them.
            commands: false,
        };
        if let Some(fill) = &fill {
            add_note(&mut header.note, &words(fill));
        }
        let target = args.out.out.as_deref();
        let mut output = TraceFile::create(target, &header)?;
        let mut index = 0;
        let summary = &mut self.summary;
        self.spool.drain(|mut session| {
            if let Some(fill) = &fill {
                summary.filled.absorb(fill.session(&mut session, index));
            }
            index += 1;
            output.write(&session)
        })?;
        self.summary.written = output.finish()?;
        self.summary.print(self.quiet);
        if let Some(target) = target {
            note(self.quiet, &format!("wrote {}", target.display()));
        }
        if args.format == ImportFormat::Json {
            data(&self.summary.json()?)?;
        }
        self.summary.verdict()
    }
}

/// Reads one recording. A panic in it is told as such, and the file named.
fn one(job: &Job, on_bad: OnBadSession) -> Outcome {
    let read = || {
        let failed = |source| TraceError::Read {
            place: Place::Document,
            source,
        };
        let mut input = open::open(&job.file.path).map_err(failed)?;
        let folder = job.file.path.parent().unwrap_or(Path::new(""));
        let mut folder = Disk(folder.to_owned());
        let recording = Recording::new(&job.file.name, &mut input)
            .with_folder(&mut folder)
            .on_bad(on_bad);
        job.importer.read(recording)
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(TraceError::Read {
            place: Place::Document,
            source: io::Error::other("the importer panicked: a bug, please report it"),
        })
    })
}

/// An error with its causes, on one line.
fn whole(error: &TraceError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
