//! `orrery report`: a sweep as one page that can be sent to somebody.
//!
//! What: [`facets`] makes figures of the rows, [`mod@crate::plot`] draws them, [`page`] is the HTML.
//! Why: numbers travel without their setup too easily; here both are in one file.
//! Limits: at most [`FACETS`] figures; a page with thousands of runs is long.

pub mod args;
pub mod facets;
pub mod page;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use serde_json::Value;

use crate::failure::Failure;
use crate::output::note;
use crate::plot::{self, Figure};
use crate::run::directory::Written;
use crate::sweep::folder::whole;
use crate::sweep::summary;
use crate::sweep::table::Runs;
use crate::sweep::{manifests, partial, planned};
use args::ReportArgs;
use page::{Page, prose};

/// Figures on one page.
pub const FACETS: usize = 24;

/// What the simulation leaves out, in general; each part's module says more.
const LIMITS: [&str; 5] = [
    "Simulated, not measured on the hardware: step times come from the cost model named under \
     \"Machines\", whose evidence is given there.",
    "Token contents are not modelled: context is shared by recording, not by chance.",
    "Intervals are Student's t over seeds: they cover the order of sessions and their arrivals, not \
     errors of the model or of the workload.",
    "Where a workload's numbers were drawn or estimated rather than recorded, results depend on what \
     they were drawn from.",
    "Latencies are of completed sessions; those rejected or unfinished count as missed in attainment \
     and goodput.",
];

/// `orrery report`.
///
/// # Errors
/// A [`Failure`] with its exit code: no sweep, runs that are missing, a page that cannot be written.
pub fn command(args: &ReportArgs) -> Result<(), Failure> {
    let (record, names) = planned(&args.folder).map_err(Failure::bad_input)?;
    let runs = args.folder.join("runs");
    let (found, missing) = manifests(&runs, names.iter().map(String::as_str));
    if found.is_empty() {
        return Err(Failure::bad_input(anyhow!(
            "no run of `{}` is finished",
            args.folder.display()
        )));
    }
    let failed = failures(&args.folder, &missing);
    let html = report(&record, &runs, &found, &failed).map_err(partial)?;
    let path = args
        .out
        .clone()
        .unwrap_or_else(|| args.folder.join("report.html"));
    whole(&path, |path| {
        fs::write(path, html).with_context(|| format!("cannot write `{}`", path.display()))
    })
    .map_err(Failure::bad_input)?;
    note(args.quiet, &format!("wrote {}", path.display()));
    if missing.is_empty() {
        return Ok(());
    }
    Err(partial(anyhow!(
        "{} of {} planned runs are missing or failed; the page says which",
        missing.len(),
        names.len()
    )))
}

/// Why each run that is missing is: what was written down, else what is wrong with its directory.
fn failures(folder: &Path, missing: &[(String, anyhow::Error)]) -> Vec<(String, String)> {
    let why = |(name, error): &(String, anyhow::Error)| {
        let path = folder.join("failed").join(format!("{name}.json"));
        let record = fs::read_to_string(path).ok();
        let record = record.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let said = record.and_then(|r| r["error"].as_str().map(str::to_owned));
        (name.clone(), said.unwrap_or_else(|| format!("{error:#}")))
    };
    missing.iter().map(why).collect()
}

fn report(
    record: &Value,
    folder: &Path,
    manifests: &[Value],
    failed: &[(String, String)],
) -> anyhow::Result<String> {
    let runs = Runs::of(manifests);
    let name = record["name"].as_str().unwrap_or("sweep");
    let mut page = Page::default();
    page.heading(1, &format!("Sweep {name}"));
    page.paragraph(&format!(
        "{} runs, {} sessions offered in all, semantics version {}. BLAKE3 of runs.csv: {}.",
        runs.rows.len(),
        total(&runs, "offered"),
        prose(&record["semantics"]),
        blake3::hash(runs.csv()?.as_bytes()).to_hex()
    ));
    if !failed.is_empty() {
        page.warning(&format!(
            "{} planned runs are missing: they are in no number below.",
            failed.len()
        ));
    }
    page.heading(2, "Setup");
    setup(&mut page, record, manifests);
    page.heading(2, "Results");
    let (header, rows, texts) = summary::grid(&runs);
    page.table(&header, &rows, texts);
    page.paragraph(summary::LEGEND);
    page.heading(2, "Figures");
    figures(&mut page, &runs)?;
    page.heading(2, "Limits");
    page.list(&LIMITS.map(str::to_owned));
    page.heading(2, "Definitions");
    let definitions = manifests[0]["definitions"].as_object();
    let pairs = definitions.into_iter().flatten();
    let pairs: Vec<(String, String)> = pairs.map(|(k, v)| (k.clone(), prose(v))).collect();
    page.facts(&pairs);
    if !failed.is_empty() {
        page.heading(2, "Missing runs");
        page.facts(failed);
    }
    page.heading(2, "Runs");
    let mut rows: Vec<Vec<String>> = Vec::new();
    for name in manifests.iter().map(|manifest| prose(&manifest["name"])) {
        let digest = Written::of(&folder.join(&name), "manifest.json")?.blake3;
        rows.push(vec![name, digest]);
    }
    rows.sort();
    page.folded("Every run, with the BLAKE3 of its manifest", |page| {
        page.table(&["run".to_owned(), "manifest.json".to_owned()], &rows, 2);
    });
    Ok(page.document(&format!("Orrery: sweep {name}")))
}

fn total(runs: &Runs, column: &str) -> u64 {
    let values = runs.rows.iter().filter_map(|row| row.get(column)?.as_u64());
    values.sum()
}

/// Axes, workloads and machines, each told once.
fn setup(page: &mut Page, record: &Value, manifests: &[Value]) {
    let axes = record["axes"].as_array().into_iter().flatten();
    let axes: Vec<(String, String)> = axes
        .map(|axis| {
            let values = axis["values"].as_array().into_iter().flatten();
            let values: Vec<String> = values.map(prose).collect();
            (prose(&axis["key"]), values.join(", "))
        })
        .collect();
    page.heading(3, "Axes, as written");
    page.facts(&axes);
    let mut workloads: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut machines: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for manifest in manifests {
        let workload = &manifest["workload"];
        let facts = || {
            let keys = ["source", "license", "note", "sessions_in_file", "blake3"];
            let mut facts: Vec<(String, String)> = keys
                .iter()
                .map(|key| ((*key).to_owned(), prose(&workload[*key])))
                .collect();
            let numbers = prose(&workload["numbers_in_file"]);
            facts.push(("numbers by evidence".to_owned(), numbers));
            facts
        };
        workloads
            .entry(prose(&workload["name"]))
            .or_insert_with(facts);
        let machine = &manifest["config"]["machine"];
        let evidence = || {
            let evidence = manifest["hardware_evidence"].as_object();
            let pairs = evidence.into_iter().flatten();
            pairs.map(|(k, v)| (k.clone(), prose(v))).collect()
        };
        let name = format!("{} on {}", prose(&machine["model"]), prose(&machine["gpu"]));
        machines.entry(name).or_insert_with(evidence);
    }
    page.heading(3, "Workloads");
    for (name, facts) in workloads {
        page.folded(&name, |page| page.facts(&facts));
    }
    page.heading(3, "Machines");
    for (name, facts) in machines {
        page.folded(&name, |page| page.facts(&facts));
    }
}

fn figures(page: &mut Page, runs: &Runs) -> anyhow::Result<()> {
    let facets = facets::facets(runs);
    if facets.len() > FACETS {
        page.paragraph(&format!(
            "The first {FACETS} of {} combinations; runs.csv has all.",
            facets.len()
        ));
    }
    for facet in facets.iter().take(FACETS) {
        let title = if facet.title.is_empty() {
            "All runs"
        } else {
            &facet.title
        };
        page.heading(3, title);
        let label = format!("Latency, goodput and attainment over the rate: {title}");
        // The heading above it is its title.
        let figure = Figure {
            title: String::new(),
            caption: Vec::new(),
            columns: 2,
            panels: facet.panels.clone(),
        };
        page.figure(&plot::svg(&figure)?, &label);
    }
    page.paragraph("Bars are 95 % intervals over seeds.");
    Ok(())
}
