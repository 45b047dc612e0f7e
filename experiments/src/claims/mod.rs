//! `orrery claims`: every number that the paper prints, held against ours.
//!
//! What: `latency` (figures 7, 8, 10), `load` (2, 3A, 3B, 6, 9), `parts` (13 and what cannot be
//! tested here) make a [`Claim`] of each; [`verdict`] has the rules, [`drivers`] say what makes the
//! difference where there is one, with a command that shows it. The runs are those of
//! `orrery figure`, in the same folder.
//! Why: a reproduction that lists only what came out is an advertisement. No claim is left out.
//! Limits: the paper's loads are described by a few means; ours meet those, and are not the same
//! sessions. Its hardware, a real GPU, is a cost model here.

pub mod args;
pub mod drivers;
mod latency;
mod load;
mod parts;
pub mod point;
mod print;
pub mod verdict;

use anyhow::anyhow;
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::figure::recipe::Recipe;
use crate::figure::recipes::RECIPES;
use crate::figure::results::{How, Results, compute};
use crate::interrupt::Interrupt;
use crate::output::data;
use args::ClaimsArgs;
use verdict::Verdict;

/// A number or statement of the paper, and what became of it here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// Figure and a word: `7.mean-range`.
    pub id: String,
    /// What the paper says.
    pub claim: String,
    /// Its number.
    pub paper: String,
    /// Ours, with interval; `n/a` where there is none.
    pub ours: String,
    /// What is said of it.
    pub verdict: Verdict,
    /// By which rule, and what drives a difference.
    pub why: String,
}

impl Claim {
    /// A claim that nothing here can measure.
    fn not_tested(id: &str, claim: &str, paper: &str, why: &str) -> Self {
        Self {
            id: id.to_owned(),
            claim: claim.to_owned(),
            paper: paper.to_owned(),
            ours: "n/a".to_owned(),
            verdict: Verdict::NotTested,
            why: why.to_owned(),
        }
    }
}

/// The runs that the claims are judged by.
#[derive(Debug)]
pub struct Evidence {
    /// Throughput and goodput over load.
    pub load: Results,
    /// One overloaded point.
    pub overload: Results,
    /// Sessions alone.
    pub alone: Results,
    /// Qwen on H100.
    pub h100: Results,
    /// GPT-OSS on H100.
    pub second_model: Results,
    /// Qwen on H200.
    pub h200: Results,
    /// Without one part.
    pub ablation: Results,
}

/// `orrery claims`.
///
/// # Errors
/// A [`Failure`] with its exit code: bad input, a failed run, an interruption.
pub fn command(args: &ClaimsArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let pool = args.runs.work.pool()?;
    let how = crate::figure::how(&args.runs, &pool, interrupt)?;
    let evidence = evidence(&how)?;
    let claims = claims(&evidence).map_err(crate::sweep::partial)?;
    let failed = evidence.failed();
    data(&print::print(&claims, &evidence, args.format).map_err(crate::sweep::partial)?)?;
    if failed > 0 {
        return Err(Failure {
            exit: Exit::Partial,
            error: anyhow!(
                "{failed} runs failed; the claims are judged without them\nhint: `{}` says why",
                args.runs.out.join("failed").display()
            ),
        });
    }
    Ok(())
}

fn evidence(how: &How<'_>) -> Result<Evidence, Failure> {
    let part = |name: &str| -> (&Recipe, usize) {
        let recipe = RECIPES.iter().find(|r| r.name == name);
        (recipe.expect("it is in the list"), 0)
    };
    let results = compute(&["6", "2", "3a", "7", "8", "10", "13"].map(part), how)?;
    let [alone, load, overload, h100, second_model, h200, ablation] =
        <[Results; 7]>::try_from(results).expect("results of every part");
    Ok(Evidence {
        load,
        overload,
        alone,
        h100,
        second_model,
        h200,
        ablation,
    })
}

impl Evidence {
    fn all(&self) -> [&Results; 7] {
        [
            &self.load,
            &self.overload,
            &self.alone,
            &self.h100,
            &self.second_model,
            &self.h200,
            &self.ablation,
        ]
    }

    fn failed(&self) -> usize {
        self.all().iter().map(|results| results.failed.len()).sum()
    }
}

/// Every claim, in the order of the paper's figures.
///
/// # Errors
/// A table of a run that cannot be read.
pub fn claims(evidence: &Evidence) -> anyhow::Result<Vec<Claim>> {
    let mut claims = load::over_load(&evidence.load);
    claims.extend(load::overloaded(&evidence.overload)?);
    claims.extend(load::regimes(&evidence.alone)?);
    claims.extend(latency::h100(&evidence.h100));
    claims.extend(latency::second_model(&evidence.second_model));
    claims.extend(load::goodput(&evidence.h100));
    claims.extend(latency::h200(&evidence.h200));
    claims.extend(parts::not_here());
    claims.extend(parts::ablation(&evidence.ablation));
    Ok(drivers::explained(claims))
}
