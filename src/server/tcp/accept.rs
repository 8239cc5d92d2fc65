//! Accepting connections: one task a worker, on a listener of its own.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing::warn;

use super::connection::Connection;
use super::moved::Moved;
use super::port::TcpPort;
use crate::server::status::Accepting;

/// How long to wait when the process has no more file descriptors. Until one is free every accept
/// fails at once, so without the wait the worker would do nothing else.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// Accepts connections and serves each in a task, until it is dropped.
pub(crate) async fn accept(port: Rc<TcpPort>, listener: TcpListener, accepting: Accepting) {
    // Told at 1, 2, 4, 8, …: a flood of connections must not become a flood of lines.
    let mut refused: u64 = 0;
    let mut failed: u64 = 0;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Some(mut open) = accepting.open() else {
                    refused += 1;
                    if refused.is_power_of_two() {
                        warn!(refused, "closed a connection over --max-connections");
                    }
                    continue;
                };
                open.move_to_fewest();
                if open.worker() == port.worker.id {
                    let connection = Connection::new(Rc::clone(&port), stream, open);
                    port.worker.spawn(connection.serve());
                } else if let Ok(moved) = Moved::accepted(stream, open) {
                    port.move_away(moved);
                }
            }
            Err(error) if is_about_the_peer(&error) => {}
            Err(error) => {
                failed += 1;
                if failed.is_power_of_two() {
                    warn!(failed, %error, "can't accept connections now");
                }
                tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
            }
        }
    }
}

/// A peer that left before it was accepted is no trouble of the listener's.
fn is_about_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Serves the connections that other workers moved here.
pub(crate) async fn take_in(port: Rc<TcpPort>, mut arrivals: mpsc::UnboundedReceiver<Moved>) {
    while let Some(moved) = arrivals.recv().await {
        match Connection::arrive(Rc::clone(&port), moved) {
            Ok(connection) => drop(port.worker.spawn(connection.serve())),
            Err(error) => warn!(%error, "lost a connection that was moved here"),
        }
    }
}
