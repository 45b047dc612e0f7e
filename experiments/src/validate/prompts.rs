//! Reading the prompts' tokens.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde::Deserialize;
use sim::fidelity::{Request, share_openings};
use units::BlockSize;

use crate::failure::Failure;

#[derive(Debug, Deserialize)]
struct Line {
    input_tok_ids: Vec<u32>,
}

/// Gives the requests the openings that their prompts share.
///
/// # Errors
/// Bad input: no file, no JSON, or prompts that are not those of the requests.
pub(super) fn share(file: &Path, requests: &mut [Request], size: BlockSize) -> Result<(), Failure> {
    read(file, requests, size)
        .with_context(|| format!("`{}`", file.display()))
        .map_err(Failure::bad_input)
}

fn read(file: &Path, requests: &mut [Request], size: BlockSize) -> Result<(), anyhow::Error> {
    let text = std::fs::read_to_string(file).context("cannot read")?;
    let mut prompts = Vec::new();
    for (at, line) in text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty())
    {
        let line: Line = serde_json::from_str(line).with_context(|| format!("line {}", at + 1))?;
        prompts.push(line.input_tok_ids);
    }
    if prompts.len() < requests.len() {
        return Err(anyhow!(
            "{} prompts for {} requests",
            prompts.len(),
            requests.len()
        ));
    }
    prompts.truncate(requests.len());
    for (at, (prompt, request)) in prompts.iter().zip(requests.iter()).enumerate() {
        if prompt.len() as u64 != request.input.get() {
            return Err(anyhow!(
                "prompt {} has {} tokens, and request `{}` was recorded with {}",
                at + 1,
                prompt.len(),
                request.id,
                request.input.get()
            ));
        }
    }
    let openings = share_openings(&prompts, size);
    for (request, shared) in requests.iter_mut().zip(openings) {
        request.shared = shared;
    }
    Ok(())
}
