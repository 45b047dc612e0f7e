//! From measurements to coefficients of the closed forms.
//!
//! What: [`fit_steps`] fits them to a log of steps; [`fit_requests`] scales them to a log of requests.
//! Why: an engine that is at hand is better evidence than a table of another one.
//! Limits: closed forms only, with their own errors. A log of requests shows each request's times and not
//! the steps, so it can tell two numbers, how long prefill and how long decode takes, and no more.

mod nnls;
mod requests;
mod steps;

pub use requests::{RequestFit, fit_requests};
pub use steps::{FitError, FitErrors, Kind, MeasuredStep, StepFit, fit_steps};
