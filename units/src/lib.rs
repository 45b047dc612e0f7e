//! The quantities of LLM serving, as types that cannot be mistaken for one another.
//!
//! What: instants and spans of integer time, token, block and byte counts, and the ids of sessions
//! and blocks.
//! Why: two `u64`s that mean different things must not be interchangeable, and sums of integers
//! neither drift nor depend on their order, so the same input gives the same bytes.
//! Limits: time is 64-bit nanoseconds (584 years). Arithmetic is checked in every build: passing a
//! limit is a panic that names the quantity, never a wrapped number.

mod amount;
mod id;
mod ratio;
mod time;

pub use amount::{BlockSize, Blocks, Bytes, Tokens};
pub use id::{BlockId, GroupId, SessionId};
pub use ratio::ceil_share;
pub use time::{Nanos, NotASpan, Time};
