//! What the server tells systemd: that it is ready, that it stops, and that its workers run.

use nix::sys::signal::Signal;

use crate::support::{Supervisor, classic_sum, datagrams, exchange};

const ARGUMENTS: [&str; 5] = ["--in-memory", "--shards", "2", "--tcp", "off"];

#[test]
fn systemd_hears_of_readiness_and_of_the_stop() {
    let mut supervisor = Supervisor::new();
    let udp = supervisor.udp(2);
    let service = supervisor.start(&ARGUMENTS, std::process::Stdio::inherit());
    supervisor.await_notification("STATUS=loading");
    supervisor.await_notification("READY=1");
    let status = supervisor.await_notification("STATUS=");
    assert_eq!(status, format!("STATUS=serving udp://{udp} with 2 shards"));
    assert_eq!(classic_sum(&exchange(&datagrams(udp), b"\x00a")), 1);
    service.signal(Signal::SIGTERM);
    supervisor.await_notification("STOPPING=1");
    supervisor.await_notification("STATUS=finishing");
}

#[test]
fn the_watchdog_is_fed_as_long_as_the_workers_run() {
    let mut supervisor = Supervisor::new();
    supervisor.udp(1);
    supervisor.set("WATCHDOG_USEC", "60000");
    let service = supervisor.start_ready(&ARGUMENTS);
    for _ in 0..5 {
        supervisor.await_notification("WATCHDOG=1");
    }
    service.stop();
}
