//! `orrery doctor`: what this machine has, and which executors can run on it.
//!
//! Why: "no GPU" has many causes (no driver, a library that the loader does not see, a binary built
//! without the feature), and each has another remedy.
//! Limits: Linux; elsewhere what cannot be read is `n/a`.

pub mod args;
mod cpu;
mod gpu;

use serde::Serialize;

use crate::cli::Format;
use crate::failure::Failure;
use crate::output;
use args::DoctorArgs;
use cpu::Cpu;
use gpu::Cuda;

/// One executor, and whether it can run here.
#[derive(Debug, Serialize)]
struct Executor {
    name: &'static str,
    runs: bool,
    /// Why not, or what to know.
    note: String,
}

#[derive(Debug, Serialize)]
struct Findings {
    cpu: Cpu,
    cuda: Cuda,
    executors: Vec<Executor>,
}

/// `orrery doctor`
///
/// # Panics
/// If strings and numbers are no JSON, which they are.
///
/// # Errors
/// If stdout refuses the text.
pub fn doctor(args: &DoctorArgs) -> Result<(), Failure> {
    let cpu = cpu::look();
    let cuda = gpu::look();
    let executors = vec![
        Executor {
            name: "candle",
            runs: true,
            note: "the reference: slow".into(),
        },
        Executor {
            name: "cpu",
            runs: true,
            note: cpu.kernels(),
        },
        Executor {
            name: "cuda",
            runs: cuda.lacks().is_none(),
            note: cuda
                .lacks()
                .unwrap_or_else(|| "compute capability 8.0 and up".into()),
        },
    ];
    let findings = Findings {
        cpu,
        cuda,
        executors,
    };
    match args.format {
        Format::Json => output::data(&format!(
            "{}\n",
            serde_json::to_string_pretty(&findings).map_err(Failure::bad_input)?
        )),
        Format::Csv => output::data(&csv(&rows(&findings))),
        Format::Table => output::data(&table(&rows(&findings))),
    }
}

/// (what, what was found).
fn rows(findings: &Findings) -> Vec<(String, String)> {
    let mut rows = findings.cpu.rows();
    rows.extend(findings.cuda.rows());
    for executor in &findings.executors {
        let runs = if executor.runs {
            "runs"
        } else {
            "does not run"
        };
        rows.push((
            format!("executor {}", executor.name),
            format!("{runs}: {}", executor.note),
        ));
    }
    rows
}

fn table(rows: &[(String, String)]) -> String {
    let mut table = output::table(&["what", "found"]);
    for (what, found) in rows {
        table.add_row([what, found]);
    }
    format!("{}\n", table.trim_fmt())
}

fn csv(rows: &[(String, String)]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for (what, found) in [("what".to_owned(), "found".to_owned())].iter().chain(rows) {
        writer
            .write_record([what, found])
            .expect("memory takes every record");
    }
    String::from_utf8(writer.into_inner().expect("memory has no end")).expect("text in, text out")
}
