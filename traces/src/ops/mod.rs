//! Traces made of traces: drawing a sample, joining several, stretching one.
//!
//! What: [`sample`], [`merge`] and [`scale`], each a function of sessions and plain numbers.
//! Why: a study needs a hundred sessions of ten thousand, two teams' recordings as one load, or the
//! same sessions with tools twice as slow, and must be able to say exactly what was done.
//! Limits: token counts and times only, so no operation can know what a longer session would have
//! said. What is computed is marked [`Evidence::Estimated`](crate::Evidence).

pub mod merge;
pub mod sample;
pub mod scale;
