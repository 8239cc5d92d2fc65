//! The corpora of the fuzz targets in `fuzz/`: each input is replayed, and the seeds are what the
//! encoders of this version make. The corpora of codecs that are not public are replayed beside those.
//!
//! `cargo test --test corpora -- --ignored` writes the seeds.

#![allow(clippy::unwrap_used, missing_docs)]

mod seeds;

#[path = "../support/corpus.rs"]
mod corpus;
#[path = "../../fuzz/src/targets.rs"]
#[allow(
    unreachable_pub,
    reason = "the workspace of the fuzz targets makes them public"
)]
mod targets;

use std::fs;

use seeds::{Seed, seeds};

/// A target, with the name of its corpus.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 8] = [
    ("classic", targets::classic),
    ("classic_reply", targets::classic_reply),
    ("framed", targets::framed),
    ("framed_reply", targets::framed_reply),
    ("hello", targets::hello),
    ("resp", targets::resp),
    ("resp_reply", targets::resp_reply),
    ("tokens_file", targets::tokens_file),
];

#[test]
fn each_input_of_a_corpus_is_read() {
    for (name, target) in TARGETS {
        corpus::replay(name, target);
    }
}

#[test]
fn the_seeds_are_what_the_encoders_make() {
    for Seed {
        target,
        name,
        bytes,
    } in seeds()
    {
        let path = corpus::folder(target).join(name);
        let found = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(found, bytes, "{} is not up to date", path.display());
    }
}

/// What a seed is for is only reached if it is read without an error.
#[test]
fn the_seeds_of_the_dialects_are_messages() {
    use globalcounter::protocol::{classic, framed, resp};
    for Seed {
        target,
        name,
        bytes,
    } in seeds()
    {
        let is_message = match target {
            "classic" => classic::decode_request(&bytes, 1024).is_ok(),
            "classic_reply" => classic::decode_reply(&bytes).is_some(),
            "framed" => matches!(framed::decode_request(&bytes, 1024), Ok(Some(_))),
            "framed_reply" => matches!(framed::decode_reply(&bytes), Ok(Some(_))),
            "resp_reply" => matches!(resp::decode_reply(&bytes), Ok(Some(_))),
            "tokens_file" => {
                let text = std::str::from_utf8(&bytes).unwrap();
                globalcounter::access::parse_tokens(text).is_ok() != name.starts_with("mistakes")
            }
            _ => continue,
        };
        assert!(is_message, "{target}/{name}");
    }
}

#[test]
#[ignore = "writes the seeds"]
fn write_the_seeds() {
    for Seed {
        target,
        name,
        bytes,
    } in seeds()
    {
        let folder = corpus::folder(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
    }
}
