//! Every parser against damaged recordings: no panic, no more than the input pays for, and what is
//! accepted is lawful and survives our own format.
//!
//! The corpus is small recordings written by hand, `corpus/<importer>/`, a file each or a folder for
//! sources of several files. `cargo test` runs a bounded number of inputs (`BOLERO_RANDOM_ITERATIONS`
//! sets another). A failure prints the seed that repeats it.

mod corpus;
mod edit;
mod law;

use std::collections::BTreeMap;

use bolero::{ValueGenerator, check};
use traces::import::{IMPORTERS, guess};

use corpus::{Sample, samples};
use edit::{Edit, edited};

/// Inputs of a target in one run of the tests.
const RUNS: usize = 1500;

/// Which sample, and a few edits: with many, hardly one in forty inputs still has a session in it.
fn choices() -> impl ValueGenerator<Output = (u8, Vec<Edit>)> {
    let edits = bolero::produce::<Vec<Edit>>().with().len(1_usize..=4);
    (bolero::produce::<u8>(), edits)
}

macro_rules! targets {
    ($($target:ident: $importer:literal,)*) => {
        $(#[test]
        fn $target() {
            let samples = samples($importer);
            assert!(!samples.is_empty(), "corpus/{} has samples", $importer);
            // Here and not in a function, since the target has its place's name.
            check!().with_generator(choices()).with_iterations(RUNS).for_each(|(which, edits)| {
                let sample = &samples[usize::from(*which) % samples.len()];
                law::holds($importer, &edited(sample, edits));
            });
        })*

        /// No importer goes without a target.
        #[test]
        fn every_importer_has_a_target() {
            let targets = [$($importer),*];
            for importer in IMPORTERS {
                assert!(targets.contains(&importer.name), "{}", importer.name);
            }
        }
    };
}

targets! {
    agentic_mooncake: "agentic-mooncake",
    azure_llm: "azure-llm",
    claude_code: "claude-code",
    codex: "codex",
    inference_lab: "inference-lab",
    mini_swe_agent: "mini-swe-agent",
    mooncake: "mooncake",
    mooncake_exact: "mooncake-exact",
    openhands: "openhands",
    pi: "pi",
    swe_agent: "swe-agent",
    weka: "weka",
}

/// The reader of our own format.
#[test]
fn orrery() {
    let samples = samples("orrery");
    check!()
        .with_generator(choices())
        .with_iterations(RUNS)
        .for_each(|(which, edits)| {
            let sample = &samples[usize::from(*which) % samples.len()];
            law::reader_holds(&edited(sample, edits).main);
        });
}

/// Bytes of no format at all, to every parser.
#[test]
fn anything() {
    check!().with_iterations(RUNS).for_each(|bytes: &[u8]| {
        let sample = Sample {
            name: "file".to_owned(),
            main: bytes.to_vec(),
            beside: BTreeMap::new(),
        };
        for importer in IMPORTERS {
            law::holds(importer.name, &sample);
        }
        law::reader_holds(bytes);
    });
}

/// The samples are what they claim to be, and are read whole.
#[test]
fn the_corpus_is_sound() {
    for importer in IMPORTERS {
        for sample in samples(importer.name) {
            let name = &sample.name;
            let guessed = guess(name, &sample.main).map(|importer| importer.name);
            assert_eq!(guessed, Ok(corpus::folder(importer.name)), "{name}");
            let (sessions, report) = law::holds(importer.name, &sample).expect("a sound sample");
            assert!(
                !sessions.is_empty() && report.dropped == 0,
                "{name}: {report:?}"
            );
        }
    }
    for sample in samples("orrery") {
        assert!(law::reader_holds(&sample.main).is_some(), "{}", sample.name);
    }
}

/// A recording of one format given to the importer of another: refused or lawful, never a panic.
#[test]
fn the_wrong_importer_does_no_harm() {
    for importer in IMPORTERS {
        for other in IMPORTERS {
            for sample in samples(importer.name) {
                law::holds(other.name, &sample);
            }
        }
    }
}
