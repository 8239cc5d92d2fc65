//! Reads a whole data directory and verifies it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use globalcounter::store::{self, Finding, StoreError};

use super::topics::Topics;

/// The exit code for a damaged directory.
const DAMAGED: u8 = 3;

/// Prints what the directory contains, and what is damaged.
pub(super) fn run(directory: &Path) -> Result<ExitCode> {
    let mut findings = Vec::new();
    let topics = Topics::load(|found| {
        findings = store::check(directory, found)?;
        Ok(())
    });
    let topics = match topics {
        Err(error @ StoreError::Damaged { .. }) => {
            eprintln!("globalcounter: {error}");
            return Ok(ExitCode::from(DAMAGED));
        }
        topics => topics?,
    };
    let mut first_error = None;
    for Finding { name, found } in findings {
        match found {
            Ok(text) => println!("ok       {name}: {text}"),
            Err(error @ StoreError::Damaged { .. }) => {
                println!("damaged  {name}");
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(error) = first_error {
        eprintln!("globalcounter: {error}");
        return Ok(ExitCode::from(DAMAGED));
    }
    let (count, skipped) = (topics.count(), topics.skipped());
    println!("intact: {count} topics");
    if skipped.topics > 0 {
        println!(
            "a start skips at most {} numbers of {} topics",
            skipped.numbers, skipped.topics
        );
    }
    Ok(ExitCode::SUCCESS)
}
