//! What Linux says about this process, under `/proc/self`.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::io;

use nix::unistd::{SysconfVar, sysconf};

/// The use that a process makes of the system. What cannot be read is `None`.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// Time on processors, in seconds.
    pub(super) cpu_seconds: Option<f64>,
    /// Resident memory, in bytes.
    pub(super) resident_bytes: Option<u64>,
    /// Virtual memory, in bytes.
    pub(super) virtual_bytes: Option<u64>,
    /// When the process started, in seconds since 1970.
    pub(super) start_seconds: Option<f64>,
    pub(super) threads: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) max_files: Option<u64>,
}

/// Reads what the system says now.
pub(super) fn read() -> Process {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes = |name| Some(field(&status, name)? * 1024);
    let ticks = ticks_per_second();
    Process {
        cpu_seconds: stat_field(&stat, 14)
            .zip(stat_field(&stat, 15))
            .zip(ticks)
            .map(|((user, system), ticks)| (user + system) as f64 / ticks),
        resident_bytes: kibibytes("VmRSS:"),
        virtual_bytes: kibibytes("VmSize:"),
        start_seconds: stat_field(&stat, 22)
            .zip(ticks)
            .zip(boot_time())
            .map(|((start, ticks), boot)| boot as f64 + start as f64 / ticks),
        threads: field(&status, "Threads:"),
        open_files: open_files(),
        max_files: nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
            .ok()
            .map(|(soft, _)| soft),
    }
}

/// Returns the number of open files and sockets. Since Linux 6.2 it is the size of the directory, so that
/// they need not be listed: a server has tens of thousands.
fn open_files() -> Option<u64> {
    let directory = "/proc/self/fd";
    let size = fs::metadata(directory).ok()?.len();
    if size > 0 {
        return Some(size);
    }
    let listed = fs::read_dir(directory).ok()?;
    Some(listed.count() as u64)
}

/// Returns the time that each worker's thread spent on processors, in seconds, by the worker's number.
pub(super) fn workers_cpu_seconds() -> BTreeMap<usize, f64> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let worker = |task: io::Result<DirEntry>| {
        let task = task.ok()?.path();
        let name = fs::read_to_string(task.join("comm")).ok()?;
        let number = name.trim_end().strip_prefix("worker-")?.parse().ok()?;
        // The first number is the time on processors, in nanoseconds.
        let times = fs::read_to_string(task.join("schedstat")).ok()?;
        let nanoseconds: u64 = times.split(' ').next()?.parse().ok()?;
        Some((number, nanoseconds as f64 / 1e9))
    };
    tasks.filter_map(worker).collect()
}

/// Returns a field of `/proc/self/stat`, counted from 1 as in proc(5). The second is the name in
/// parentheses, which may contain spaces.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let field = after_name.split_whitespace().nth(number - 3)?;
    field.parse().ok()
}

/// Returns the first number of the line that begins with `name`.
fn field(lines: &str, name: &str) -> Option<u64> {
    let line = lines.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns when the system booted, in seconds since 1970.
fn boot_time() -> Option<u64> {
    field(&fs::read_to_string("/proc/stat").ok()?, "btime")
}

fn ticks_per_second() -> Option<f64> {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok()??;
    Some(ticks as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_read_of_this_process() {
        let process = read();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 100_000));
        assert!(process.virtual_bytes > process.resident_bytes);
        assert!(process.threads.is_some_and(|threads| threads >= 1));
        assert!(process.open_files.is_some_and(|files| files >= 3));
        assert!(process.max_files > process.open_files);
        assert!(process.cpu_seconds.is_some_and(|seconds| seconds >= 0.0));
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs_f64();
        let start = process.start_seconds.expect("a start");
        assert!(start <= now + 2.0 && start > now - 3_600.0, "{start} {now}");
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_is_skipped() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 111 222";
        assert_eq!(stat_field(stat, 14), Some(111));
        assert_eq!(stat_field(stat, 15), Some(222));
    }
}
