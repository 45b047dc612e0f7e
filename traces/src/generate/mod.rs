//! Synthetic workloads: sessions drawn from a description.
//!
//! What: [`Spec::from_toml`] reads a description (`GENERATE.md` is its schema), [`preset`] has those
//! that come with the program, [`Spec::session`] draws one session, and [`achieved`] holds a sample
//! against the statistics that the description wants.
//! Why: recordings are few, and a published workload is often known by its statistics alone. Every
//! number drawn here says so ([`crate::Evidence::Drawn`]).
//! Limits: sessions do not depend on each other, and have no arrival times: those belong to a run. A
//! description may say which arrivals it is meant for ([`ArrivalPlan`]).

mod arrivals;
mod dist;
mod draw;
mod error;
mod file;
mod mixture;
mod parse_draw;
mod preset;
mod session;
mod spec;
mod target;
mod toml_text;

pub use arrivals::ArrivalPlan;
pub use dist::Dist;
pub use draw::Draw;
pub use error::SpecError;
pub use mixture::Mixture;
pub use preset::{PRESETS, preset};
pub use spec::{Build, CALLS_LIMIT, Class, Pause, Spec, TURNS_LIMIT, Tool};
pub use target::{Achieved, Quantity, Statistic, Target, achieved, achieved_with_ideals};
