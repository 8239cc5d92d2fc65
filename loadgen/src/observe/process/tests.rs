use std::net::{TcpListener, UdpSocket};

use super::*;

#[test]
fn the_process_behind_a_port_is_found() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = std::process::id() as i32;
    let at_tcp = Process::listening_at(tcp.local_addr().unwrap(), false).unwrap();
    assert_eq!(at_tcp.pid(), own);
    let port = udp.local_addr().unwrap().port();
    let at_udp = Process::listening_at(([127, 0, 0, 1], port).into(), true).unwrap();
    assert_eq!(at_udp.pid(), own);
    drop(tcp);
    assert!(at_tcp.usage().unwrap().resident > 100_000);
    assert!(Process::with_pid(i32::MAX).is_err());
}

/// The CPU time of threads that have ended still counts.
#[test]
fn processor_time_never_goes_back() {
    let own = Process::with_pid(std::process::id() as i32).unwrap();
    let before = own.usage().unwrap().processor;
    let busy = std::thread::spawn(move || {
        while own.usage().unwrap().processor < before + Duration::from_millis(30) {}
        own
    });
    let own = busy.join().unwrap();
    let usage = own.usage().unwrap();
    let after = usage.processor;
    assert!(
        after >= before + Duration::from_millis(30),
        "{before:?} to {after:?}"
    );
    let since = own.usage().unwrap().since(&usage);
    assert!(since.processor < after, "{since:?}");
    assert!(since.user <= own.usage().unwrap().user, "{since:?}");
}
