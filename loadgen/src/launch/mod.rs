//! Starts servers as processes, and stops them and removes their files however the program ends. Knows
//! nothing of loads and measurements.

mod process;
mod server;

pub(crate) use process::{
    Folder, Running, free_port, start_announcing, start_listening, stop_all_on_signals,
};
pub(crate) use server::{Storage, find_own, in_path, start_own};
