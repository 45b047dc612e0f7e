//! How a description says that its sessions arrive.
//!
//! Limits: a plan only. Arrival times belong to a run: the crate that simulates turns the plan into
//! times, with its own streams, and a run may choose others.

use super::error::SpecError;
use super::toml_text::Field;

/// When sessions arrive. The meaning of each kind is in `GENERATE.md`.
#[derive(Clone, Debug, PartialEq)]
pub enum ArrivalPlan {
    /// One session every 1 / rate seconds.
    Fixed {
        /// Sessions per second.
        rate_per_s: f64,
    },
    /// A Poisson process.
    Poisson {
        /// Sessions per second.
        rate_per_s: f64,
    },
    /// Gaps with a gamma distribution.
    Gamma {
        /// Sessions per second.
        rate_per_s: f64,
        /// Standard deviation of the gaps / their mean.
        cv: f64,
    },
    /// Several sessions at once.
    Burst {
        /// Sessions per second, over time.
        rate_per_s: f64,
        /// Sessions that arrive together; at least 1.
        size: u32,
    },
    /// A mix of clients.
    Clients {
        /// Name of a mix, or whatever else the caller knows to find one by.
        mix: String,
        /// Mean sessions per second; `None` for the mix's own rate.
        rate_per_s: Option<f64>,
    },
}

const KINDS: &[&str] = &["fixed", "poisson", "gamma", "burst", "clients"];

/// Reads `arrivals = { kind = ..., ... }`.
pub(super) fn arrivals(field: &Field<'_>) -> Result<ArrivalPlan, SpecError> {
    let table = field.table()?;
    let kind = table.need("kind", "how sessions arrive")?;
    let rate = || {
        let field = table.need("rate_per_s", "sessions per second")?;
        field.number(1e-9, 1e9)
    };
    match kind.text()? {
        "fixed" => {
            table.only(&["kind", "rate_per_s"])?;
            Ok(ArrivalPlan::Fixed {
                rate_per_s: rate()?,
            })
        }
        "poisson" => {
            table.only(&["kind", "rate_per_s"])?;
            Ok(ArrivalPlan::Poisson {
                rate_per_s: rate()?,
            })
        }
        "gamma" => {
            table.only(&["kind", "rate_per_s", "cv"])?;
            let cv = table.need("cv", "standard deviation of the gaps / mean")?;
            Ok(ArrivalPlan::Gamma {
                rate_per_s: rate()?,
                cv: cv.number(0.01, 1000.0)?,
            })
        }
        "burst" => {
            table.only(&["kind", "rate_per_s", "size"])?;
            let size = table.need("size", "sessions that arrive together")?;
            let size = size.whole(1, 1_000_000)?;
            Ok(ArrivalPlan::Burst {
                rate_per_s: rate()?,
                size: u32::try_from(size).unwrap_or(u32::MAX),
            })
        }
        "clients" => {
            table.only(&["kind", "rate_per_s", "mix"])?;
            let mix = table.need("mix", "the name of a mix of clients")?;
            let rate = table.get("rate_per_s");
            Ok(ArrivalPlan::Clients {
                mix: mix.text()?.to_owned(),
                rate_per_s: rate.map(|field| field.number(1e-9, 1e9)).transpose()?,
            })
        }
        _ => Err(kind.bad_name(KINDS)),
    }
}
