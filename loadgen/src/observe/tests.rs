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
