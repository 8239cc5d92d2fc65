//! A thread that listens to the admin port and tells what has changed. If the server goes away, it
//! tries again until the server is back.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::model::{Change, HotTopic};
use crate::cli::signals;
use crate::cli::watch::admin_port::{AdminPort, Refused, Unreachable};

/// How long to wait before the server is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// How long to wait after the server has ended the stream of seconds, so that one that does nothing else
/// is not asked all the time.
const PAUSE: Duration = Duration::from_millis(100);

/// A server that has told of no second for this long has gone, or has hung.
const SILENCE: Duration = Duration::from_secs(5);

/// The hot topics are asked for after every so many seconds.
const HOT_EVERY: u32 = 2;

/// More hot topics than most terminals have rows.
const HOT: &str = "/api/hot?limit=50";

/// What the thread tells.
#[derive(Debug)]
pub(super) enum Update {
    Model(Change),
    /// SIGTERM or SIGINT asks the process to end.
    Signal,
    /// The admin port refuses the token, so nothing more is asked.
    Refused(Refused),
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct HotTopics {
    topics: Vec<HotTopic>,
}

/// Starts the thread. It ends when nobody receives its updates any more.
///
/// # Errors
///
/// The thread or its runtime cannot be started.
pub(super) fn start(port: AdminPort) -> Result<Receiver<Update>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let (sender, updates) = mpsc::channel();
    let stop = {
        // Signals are caught by the runtime that is entered.
        let _entered = runtime.enter();
        signals::stop()?
    };
    let thread = thread::Builder::new().name("fetch".to_owned());
    thread
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = follow(&port, &sender) => {}
                    _ = stop => {
                        // Without a receiver, the process is ending already.
                        let _ = sender.send(Update::Signal);
                    }
                }
            });
        })
        .context("cannot start a thread")?;
    Ok(updates)
}

/// Why the server is not listened to any more.
enum End {
    /// It ended the stream of seconds, as it does every ten minutes, or it has no seconds yet.
    Ended,
    /// Nobody receives the updates.
    Unwanted,
}

async fn follow(port: &AdminPort, updates: &Sender<Update>) {
    loop {
        match listen(port, updates).await {
            Ok(End::Ended) => sleep(PAUSE).await,
            Ok(End::Unwanted) => return,
            Err(error) => {
                let error = match error.downcast::<Refused>() {
                    Ok(refused) => {
                        let _ = updates.send(Update::Refused(refused));
                        return;
                    }
                    Err(error) => error,
                };
                let reason = match error.downcast_ref::<Unreachable>() {
                    Some(unreachable) => format!("{:#}", unreachable.cause),
                    None => format!("{error:#}"),
                };
                let gone = Change::Gone(reason);
                if updates.send(Update::Model(gone)).is_err() {
                    return;
                }
                sleep(RETRY).await;
            }
        }
    }
}

/// Listens until the stream of seconds ends.
async fn listen(port: &AdminPort, updates: &Sender<Update>) -> Result<End> {
    let tell = |change| updates.send(Update::Model(change)).is_ok();
    let version: Option<Version> = port.get("/version").await?;
    let version = version.map_or_else(String::new, |version| version.version);
    let mut events = port.events("/api/live").await?;
    let mut until_hot = 1;
    let mut quiet = true;
    loop {
        let event = match timeout(SILENCE, events.next()).await {
            Ok(event) => event?,
            // A server that loads its topics has no seconds.
            Err(_) if quiet => return Ok(End::Ended),
            Err(_) => bail!("no figures for {} s", SILENCE.as_secs()),
        };
        let Some(event) = event else {
            return Ok(End::Ended);
        };
        let wanted = match event.name.as_str() {
            "history" => {
                let seconds: Vec<_> = serde_json::from_slice(&event.data)?;
                quiet = seconds.is_empty();
                tell(Change::Reached(version.clone(), seconds))
            }
            "second" => {
                quiet = false;
                tell(Change::Second(serde_json::from_slice(&event.data)?))
            }
            _ => true,
        };
        if !wanted {
            return Ok(End::Unwanted);
        }
        until_hot -= 1;
        if until_hot == 0 {
            until_hot = HOT_EVERY;
            let hot: Option<HotTopics> = port.get(HOT).await?;
            if let Some(hot) = hot
                && !tell(Change::Hot(hot.topics))
            {
                return Ok(End::Unwanted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    use globalcounter::server::{Config, Server};

    use crate::admin::{Admin, Protection};

    /// How long a test waits before it fails.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Waits for a change of which this returns something.
    fn wait<T>(updates: &Receiver<Update>, mut what: impl FnMut(Change) -> Option<T>) -> T {
        loop {
            let update = updates.recv_timeout(PATIENCE).expect("a change");
            if let Update::Model(change) = update
                && let Some(found) = what(change)
            {
                return found;
            }
        }
    }

    #[test]
    fn a_server_is_followed_from_before_it_starts() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address: SocketAddr = free.local_addr().unwrap();
        drop(free);
        let updates = start(AdminPort::at(&address.to_string()).unwrap()).unwrap();
        let reason = wait(&updates, |change| match change {
            Change::Gone(reason) => Some(reason),
            _ => None,
        });
        assert!(reason.contains("refused"), "{reason}");

        // It is loading: there are no seconds.
        let admin = Admin::start(address, Protection::default()).unwrap();
        let (version, seconds) = wait(&updates, |change| match change {
            Change::Reached(version, seconds) => Some((version, seconds.len())),
            _ => None,
        });
        assert_eq!((version.as_str(), seconds), (env!("CARGO_PKG_VERSION"), 0));

        let server = Server::bind(Config {
            tcp: Some((Ipv4Addr::LOCALHOST, 0).into()),
            udp: None,
            ..Config::default()
        });
        admin.watch(server.unwrap().monitor());
        let second = wait(&updates, |change| match change {
            Change::Second(second) => Some(second),
            _ => None,
        });
        assert_eq!(second.durability, "memory");
        wait(&updates, |change| {
            matches!(change, Change::Hot(_)).then_some(())
        });
    }

    #[test]
    fn another_kind_of_server_is_refused() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = other.local_addr().unwrap().to_string();
        let answer = thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = other.accept().unwrap();
            let request = stream.read(&mut [0; 1024]).unwrap();
            assert!(request > 0);
            let reply = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(reply).unwrap();
        });
        let updates = start(AdminPort::at(&address).unwrap()).unwrap();
        let reason = wait(&updates, |change| match change {
            Change::Gone(reason) => Some(reason),
            _ => None,
        });
        answer.join().unwrap();
        assert!(
            reason.contains("404") && reason.contains(&address),
            "{reason}"
        );
    }
}
