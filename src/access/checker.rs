//! The thread that checks passwords. argon2id takes tens of milliseconds and megabytes by design, so no
//! worker runs it, and one runs at a time.

use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::thread;

use tracing::error;

use super::attempts::Attempts;
use super::counts::{Counts, Login};
use super::policy::Token;
use super::verdict::{Denied, Verdict};

/// How many passwords may wait: a second of work. A further one is refused, and the peer tries again.
const QUEUE: usize = 32;

/// A password that is being checked.
#[derive(Debug, Clone)]
pub struct Pending(Arc<OnceLock<Verdict>>);

impl Pending {
    /// Returns the result once it is known. The waker that was given with the credentials is woken then.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.0.get().cloned()
    }
}

/// A password to check.
struct Job {
    token: Arc<Token>,
    secret: Vec<u8>,
    address: IpAddr,
    login: Login,
    result: Arc<OnceLock<Verdict>>,
    waker: Waker,
}

impl Job {
    fn run(&self, attempts: &Attempts, counts: &Counts) {
        let verdict = match self.token.has_secret(&self.secret) {
            true => Ok(Arc::clone(&self.token)),
            false => {
                attempts.failed(self.address);
                Err(Denied::Wrong)
            }
        };
        counts.add(self.login, &verdict);
        // Nobody else sets it.
        let _ = self.result.set(verdict);
    }
}

impl Drop for Job {
    /// The peer gets an answer also if the job did not run.
    fn drop(&mut self) {
        self.result.get_or_init(|| Err(Denied::Busy));
        self.waker.wake_by_ref();
    }
}

/// The way to the thread, which starts with the first password.
#[derive(Debug)]
pub(super) struct Checker {
    queue: OnceLock<Option<SyncSender<Job>>>,
    attempts: Arc<Attempts>,
    counts: Arc<Counts>,
}

impl Checker {
    /// Creates the way to a thread that counts what it has checked.
    pub(super) fn new(attempts: Arc<Attempts>, counts: Arc<Counts>) -> Self {
        let queue = OnceLock::new();
        Self {
            queue,
            attempts,
            counts,
        }
    }

    /// Has the password of `token` checked.
    ///
    /// # Errors
    ///
    /// [`Denied::Busy`] if too many wait.
    pub(super) fn check(
        &self,
        login: Login,
        token: &Arc<Token>,
        secret: &[u8],
        address: IpAddr,
        waker: &Waker,
    ) -> Result<Pending, Denied> {
        let (attempts, counts) = (&self.attempts, &self.counts);
        let start = || start(Arc::clone(attempts), Arc::clone(counts));
        let queue = self.queue.get_or_init(start);
        let result = Arc::<OnceLock<Verdict>>::default();
        let job = Job {
            token: Arc::clone(token),
            secret: secret.to_vec(),
            address,
            login,
            result: Arc::clone(&result),
            waker: waker.clone(),
        };
        match queue.as_ref().map(|queue| queue.try_send(job)) {
            Some(Ok(())) => Ok(Pending(result)),
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => {
                Err(Denied::Busy)
            }
        }
    }
}

/// Starts the thread. It ends when the server's guard is dropped.
fn start(attempts: Arc<Attempts>, counts: Arc<Counts>) -> Option<SyncSender<Job>> {
    let (sender, jobs): (_, Receiver<Job>) = sync_channel(QUEUE);
    let thread = thread::Builder::new().name("passwords".to_owned());
    let check = move |job: Job| job.run(&attempts, &counts);
    let spawned = thread.spawn(move || jobs.into_iter().for_each(check));
    if let Err(error) = &spawned {
        error!(%error, "cannot start the thread that checks passwords; all passwords are refused");
    }
    spawned.is_ok().then_some(sender)
}
