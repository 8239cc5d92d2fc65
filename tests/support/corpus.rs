//! The corpora of the fuzz targets. Each test that uses a codec replays one.

use std::path::PathBuf;

/// Returns the folder with the corpus of `target`.
pub(crate) fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target]
        .iter()
        .collect()
}

/// Calls `run` with each input of the corpus of `target`, which must not be empty.
pub(crate) fn replay(target: &str, run: impl Fn(&[u8])) {
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder(target)).expect("a corpus") {
        let path = entry.expect("a file").path();
        println!("{}", path.display()); // names the input that fails
        run(&std::fs::read(&path).expect("a file"));
        inputs += 1;
    }
    assert!(inputs > 0, "the corpus of {target} is empty");
}
