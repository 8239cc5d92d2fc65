//! The fuzz targets. Each takes any bytes, and panics if the code under test does, or if it breaks a
//! rule that the target states. `tests/corpora` calls the same functions with the bytes in `corpus`.

mod cli;
mod targets;

pub use cli::configuration;
pub use globalcounter::store::fuzzing::{checkpoint, log_record};
pub use targets::*;
