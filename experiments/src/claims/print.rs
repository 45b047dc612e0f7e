//! Claims for people, pages, programs and spreadsheets.

use std::fmt::Write as _;

use comfy_table::ContentArrangement;
use serde::Serialize;

use super::args::ClaimsFormat;
use super::verdict::Verdict;
use super::{Claim, Evidence};
use crate::output;

/// The claims as text for stdout.
///
/// # Errors
/// None in practice: it writes to memory.
pub(super) fn print(
    claims: &[Claim],
    evidence: &Evidence,
    format: ClaimsFormat,
) -> anyhow::Result<String> {
    match format {
        ClaimsFormat::Table => Ok(table(claims, evidence)),
        ClaimsFormat::Markdown => Ok(markdown(claims, evidence)),
        ClaimsFormat::Json => {
            #[derive(Serialize)]
            struct Claims<'a> {
                setting: String,
                claims: &'a [Claim],
            }
            let claims = Claims {
                setting: setting(evidence),
                claims,
            };
            Ok(serde_json::to_string_pretty(&claims)? + "\n")
        }
        ClaimsFormat::Csv => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["id", "claim", "paper", "ours", "verdict", "why"])?;
            for c in claims {
                let verdict = c.verdict.to_string();
                writer.write_record([&c.id, &c.claim, &c.paper, &c.ours, &verdict, &c.why])?;
            }
            Ok(String::from_utf8(writer.into_inner()?)?)
        }
    }
}

/// How much was run.
fn setting(evidence: &Evidence) -> String {
    let runs: usize = evidence.all().iter().map(|r| r.runs.rows.len()).sum();
    format!(
        "{runs} runs, {} sessions each, {} seeds per point; ratios paired by seed, 95 % intervals of \
         Student's t; semantics {}",
        evidence.h100.distinct("sessions").join(", "),
        evidence.h100.distinct("seed").len(),
        crate::SEMANTICS
    )
}

fn counts(claims: &[Claim]) -> String {
    let of = |verdict| claims.iter().filter(|c| c.verdict == verdict).count();
    format!(
        "{} claims: {} hold, {} weaker, {} differ, {} not tested here",
        claims.len(),
        of(Verdict::Holds),
        of(Verdict::Weaker),
        of(Verdict::Differs),
        of(Verdict::NotTested)
    )
}

fn table(claims: &[Claim], evidence: &Evidence) -> String {
    let mut table = output::table(&["id", "claim", "paper", "ours", "verdict"]);
    table
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(150);
    for c in claims {
        table.add_row([&c.id, &c.claim, &c.paper, &c.ours, &c.verdict.to_string()]);
    }
    let mut text = format!("{table}\n\n{}\n{}\n", counts(claims), setting(evidence));
    for c in claims.iter().filter(|c| c.verdict != Verdict::Holds) {
        let _ = writeln!(text, "\n{} ({}): {}", c.id, c.verdict, c.why);
    }
    text
}

fn markdown(claims: &[Claim], evidence: &Evidence) -> String {
    let mut text = format!("{}; {}.\n\n", counts(claims), setting(evidence));
    text.push_str(
        "| id | claim | paper | ours | verdict | why |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    let cell = |text: &str| text.replace('|', "\\|");
    for c in claims {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | **{}** | {} |",
            cell(&c.id),
            cell(&c.claim),
            cell(&c.paper),
            cell(&c.ours),
            c.verdict,
            cell(&c.why)
        );
    }
    text
}
