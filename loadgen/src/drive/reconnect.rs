//! `--reconnect`: a connection that is opened again when it ends. Requests that had no reply by then
//! may have been applied, and are not sent again.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use mio::event::Event;
use mio::{Registry, Token};

use super::connection::{Connection, Shared};
use super::in_flight::{InFlight, Pending};
use crate::target::Matching;

/// How long to wait after an attempt to connect that failed: little, compared with a restart.
const BACK_OFF: Duration = Duration::from_millis(20);

const OPENER_ENDED: &str = "the thread that opens connections has ended";

/// How long a connection is tried to be opened.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    /// The run fails if it cannot be opened within this time, also at first.
    For(Duration),
    /// Until the run ends: other servers go on meanwhile. A server may be away at first.
    Endless,
}

/// Opens the connections of one thread to one server again, on a thread of its own: connecting blocks,
/// and other connections go on meanwhile. It opens one connection at a time, so a server that is down
/// gets one attempt per [`BACK_OFF`] from each thread. It ends with the last connection.
pub(super) struct Opener<C> {
    jobs: Sender<Job<C>>,
    patience: Patience,
    /// Whether the server was away when the first of its connections was to be opened.
    is_away: Cell<bool>,
}

/// A connection to open.
struct Job<C> {
    number: usize,
    /// Where its attempts are reported. Nobody receives them if the run has ended.
    attempts: Sender<Attempt<C>>,
}

/// How an attempt to connect ended.
enum Attempt<C> {
    Opened(C),
    /// It is tried again.
    Refused,
    /// The connection ended before it was ready. It is tried again.
    Lost,
    /// It failed, and there is no time left to try again.
    GaveUp(Error),
}

impl<C: Send> Opener<C> {
    /// Starts the thread. It calls `connect` with the number of a connection until that succeeds, as long
    /// as it has `patience`.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        patience: Patience,
        connect: &'scope (impl Fn(usize) -> Result<C> + Sync),
    ) -> Self
    where
        C: 'scope,
    {
        let (jobs, received) = mpsc::channel();
        scope.spawn(move || {
            for job in received {
                open(&job, patience, connect);
            }
        });
        Self {
            jobs,
            patience,
            is_away: Cell::new(false),
        }
    }

    /// Opens connection `number` for the first time. With endless patience, it is returned closed if the
    /// server is away.
    pub(super) fn open(&self, number: usize) -> Result<Reconnecting<C>> {
        let mut connection = Reconnecting {
            number,
            jobs: self.jobs.clone(),
            registration: None,
            open: None,
            attempts: None,
            closed_at: 0,
            nothing: InFlight::new(Matching::InOrder),
        };
        let attempts = connection.request()?;
        while !self.is_away.get() {
            match attempts.recv().context(OPENER_ENDED)? {
                Attempt::Opened(opened) => {
                    connection.open = Some(opened);
                    return Ok(connection);
                }
                Attempt::GaveUp(error) => return Err(error),
                Attempt::Refused | Attempt::Lost => match self.patience {
                    Patience::For(_) => {}
                    Patience::Endless => self.is_away.set(true),
                },
            }
        }
        connection.attempts = Some(attempts);
        Ok(connection)
    }
}

/// Carries out a job.
fn open<C>(job: &Job<C>, patience: Patience, connect: &impl Fn(usize) -> Result<C>) {
    let deadline = match patience {
        Patience::For(time) => Some(Instant::now() + time),
        Patience::Endless => None,
    };
    let is_over = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    loop {
        let attempt = match connect(job.number) {
            Ok(opened) => Attempt::Opened(opened),
            Err(error) if is_over() => Attempt::GaveUp(error),
            Err(error) if kind(&error) == Some(ErrorKind::ConnectionRefused) => Attempt::Refused,
            Err(_) => Attempt::Lost,
        };
        let ended = matches!(attempt, Attempt::Opened(_) | Attempt::GaveUp(_));
        if job.attempts.send(attempt).is_err() || ended {
            return;
        }
        thread::sleep(BACK_OFF);
    }
}

/// A connection that is opened again when it ends.
pub(super) struct Reconnecting<C> {
    number: usize,
    jobs: Sender<Job<C>>,
    registration: Option<(Registry, Token)>,
    /// `None` while it is closed.
    open: Option<C>,
    /// The attempts to open it, while it is closed.
    attempts: Option<Receiver<Attempt<C>>>,
    /// When it was closed.
    closed_at: u64,
    /// What it has in flight while it is closed.
    nothing: InFlight,
}

impl<C> Reconnecting<C> {
    /// Asks for the connection to be opened.
    fn request(&self) -> Result<Receiver<Attempt<C>>> {
        let (attempts, received) = mpsc::channel();
        let number = self.number;
        let sent = self.jobs.send(Job { number, attempts });
        sent.ok().context(OPENER_ENDED)?;
        Ok(received)
    }
}

impl<C: Connection> Reconnecting<C> {
    /// Calls `operation` if the connection is open, and closes it if it has ended.
    fn with_open(
        &mut self,
        shared: &mut Shared,
        operation: impl FnOnce(&mut C, &mut Shared) -> Result<()>,
    ) -> Result<()> {
        let Some(connection) = &mut self.open else {
            return Ok(());
        };
        match operation(connection, shared) {
            Err(error) if has_ended(&error) => {
                let unanswered = connection.in_flight().unanswered();
                shared.tally.connection_lost(unanswered);
                self.open = None;
                self.closed_at = shared.schedule.now();
                self.attempts = Some(self.request()?);
                Ok(())
            }
            result => result,
        }
    }
}

impl<C: Connection> Connection for Reconnecting<C> {
    fn register(&mut self, registry: &Registry, token: Token) -> Result<()> {
        self.registration = Some((registry.try_clone()?, token));
        match &mut self.open {
            Some(connection) => connection.register(registry, token),
            None => Ok(()),
        }
    }

    fn in_flight(&self) -> &InFlight {
        match &self.open {
            Some(connection) => connection.in_flight(),
            None => &self.nothing,
        }
    }

    fn limit(&self) -> usize {
        self.open.as_ref().map_or(0, Connection::limit)
    }

    fn is_open(&self) -> bool {
        self.open.is_some()
    }

    fn queue(&mut self, pending: Pending, topic: &[u8], shared: &mut Shared) -> Result<()> {
        self.with_open(shared, |connection, shared| {
            connection.queue(pending, topic, shared)
        })
    }

    fn flush(&mut self, shared: &mut Shared) -> Result<()> {
        self.with_open(shared, C::flush)
    }

    fn ready(&mut self, event: &Event, shared: &mut Shared) -> Result<()> {
        self.with_open(shared, |connection, shared| connection.ready(event, shared))
    }

    fn expire(&mut self, before: u64, shared: &mut Shared) -> Result<()> {
        self.with_open(shared, |connection, shared| {
            connection.expire(before, shared)
        })
    }

    fn reopen(&mut self, shared: &mut Shared) -> Result<bool> {
        let Some(attempts) = &self.attempts else {
            return Ok(false);
        };
        shared.tally.failure(self.closed_at);
        while let Ok(attempt) = attempts.try_recv() {
            match attempt {
                Attempt::Refused => shared.tally.refused_connections(1),
                Attempt::Lost => shared.tally.connection_lost([].into_iter()),
                Attempt::GaveUp(error) => {
                    return Err(error.context("a connection ended and could not be opened again"));
                }
                Attempt::Opened(mut connection) => {
                    if let Some((registry, token)) = &self.registration {
                        connection.register(registry, *token)?;
                    }
                    shared.tally.reconnected();
                    self.open = Some(connection);
                    self.attempts = None;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Returns whether an error says that a connection has ended, as opposed to what the server sent on
/// it.
fn has_ended(error: &Error) -> bool {
    matches!(
        kind(error),
        Some(
            ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::NotConnected
                | ErrorKind::BrokenPipe
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::TimedOut
                | ErrorKind::UnexpectedEof
        )
    )
}

fn kind(error: &Error) -> Option<ErrorKind> {
    error.downcast_ref::<io::Error>().map(io::Error::kind)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const PATIENCE: Patience = Patience::For(Duration::from_secs(60));

    /// Returns what is reported when the connection is opened by `connect`, which gets the number of
    /// the attempt.
    fn attempts(patience: Patience, connect: impl Fn(usize) -> Result<u32> + Sync) -> Vec<String> {
        let tries = AtomicUsize::new(0);
        let (attempts, received) = mpsc::channel();
        let number = 7;
        open(&Job { number, attempts }, patience, &|connection| {
            assert_eq!(connection, number);
            connect(tries.fetch_add(1, Ordering::Relaxed))
        });
        let names = received.into_iter().map(|attempt| match attempt {
            Attempt::Opened(connection) => format!("opened {connection}"),
            Attempt::Refused => "refused".to_owned(),
            Attempt::Lost => "lost".to_owned(),
            Attempt::GaveUp(error) => format!("gave up: {error}"),
        });
        names.collect()
    }

    fn failed(kind: ErrorKind) -> Result<u32> {
        Err(io::Error::from(kind)).context("connecting")
    }

    #[test]
    fn attempts_are_repeated_until_one_succeeds() {
        let reported = attempts(PATIENCE, |attempt| match attempt {
            0 | 1 => failed(ErrorKind::ConnectionRefused),
            2 => failed(ErrorKind::ConnectionReset),
            _ => Ok(42),
        });
        assert_eq!(reported, ["refused", "refused", "lost", "opened 42"]);
    }

    #[test]
    fn the_last_error_is_reported_when_the_time_is_over() {
        let refused = |_| failed(ErrorKind::ConnectionRefused);
        let none = Patience::For(Duration::ZERO);
        assert_eq!(attempts(none, refused), ["gave up: connecting"]);
    }

    #[test]
    fn a_server_that_is_away_at_first_gets_its_connections_later() {
        let is_there = AtomicUsize::new(0);
        let connect = |number| match is_there.load(Ordering::Acquire) {
            0 => failed(ErrorKind::ConnectionRefused),
            _ => Ok(number as u32),
        };
        thread::scope(|scope| {
            let opener = Opener::start(scope, Patience::Endless, &connect);
            let connections = [3, 4].map(|number| opener.open(number).unwrap());
            is_there.store(1, Ordering::Release);
            for connection in connections {
                assert!(connection.open.is_none());
                let attempts = connection.attempts.as_ref().unwrap().iter();
                let opened = attempts.filter_map(|attempt| match attempt {
                    Attempt::Opened(number) => Some(number),
                    _ => None,
                });
                // Nothing follows the attempt that succeeded.
                assert_eq!(opened.collect::<Vec<_>>(), [connection.number as u32]);
            }
        });
    }

    #[test]
    fn nothing_is_tried_again_when_nobody_waits() {
        let (attempts, received) = mpsc::channel();
        drop(received);
        let tries = AtomicUsize::new(0);
        open(
            &Job {
                number: 0,
                attempts,
            },
            PATIENCE,
            &|_| {
                tries.fetch_add(1, Ordering::Relaxed);
                failed(ErrorKind::ConnectionRefused)
            },
        );
        assert_eq!(tries.into_inner(), 1);
    }
}
