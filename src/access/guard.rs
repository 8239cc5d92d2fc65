//! The guard of a server, and the access of one peer.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use super::allowance::Allowance;
use super::attempts::Attempts;
use super::checker::{Checker, Pending};
use super::counts::{Counts, Login, LoginCount};
use super::credentials::Credentials;
use super::digest::MAX_SECRET;
use super::grant::Grant;
use super::policy::{Policy, Token};
use super::verdict::{Denied, Verdict};

/// The token that a password without a name belongs to, as in Redis.
const DEFAULT_NAME: &[u8] = b"default";

/// Holds the current policy of a server, and checks credentials. All threads share it.
#[derive(Debug)]
pub struct Guard {
    policy: Mutex<Arc<Policy>>,
    /// Increases with each new policy. A connection compares it once for each read.
    generation: AtomicU64,
    attempts: Arc<Attempts>,
    counts: Arc<Counts>,
    checker: Checker,
}

/// The result of a check, or where it will be.
#[derive(Debug)]
pub enum Check {
    /// The result.
    Done(Verdict),
    /// A password, which takes a while.
    Waits(Pending),
}

impl Guard {
    /// Creates a guard with this policy.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        let (attempts, counts) = (Arc::default(), Arc::default());
        Self {
            policy: Mutex::new(Arc::new(policy)),
            generation: AtomicU64::new(0),
            checker: Checker::new(Arc::clone(&attempts), Arc::clone(&counts)),
            attempts,
            counts,
        }
    }

    /// Replaces the policy. Peers whose tokens are removed or have another secret lose the rights of
    /// these tokens: no request that is read from now on has them. What the holders of a token have used
    /// of its limits still counts.
    pub fn set_policy(&self, mut policy: Policy) {
        let mut current = self.policy.lock();
        policy.continue_from(&current);
        *current = Arc::new(policy);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Returns whether there is a token.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        self.current().1.has_tokens()
    }

    /// Returns whether there is a token with this name.
    #[must_use]
    pub fn has_token(&self, name: &[u8]) -> bool {
        self.current().1.named(name).is_some()
    }

    /// Returns how many tokens and passwords were wrong so far.
    #[must_use]
    pub fn failed_attempts(&self) -> u64 {
        self.attempts.count()
    }

    /// Returns how many attempts to authenticate ended in which way.
    #[must_use]
    pub fn login_counts(&self) -> Vec<LoginCount> {
        self.counts.read()
    }

    /// Returns the policy with its generation.
    fn current(&self) -> (u64, Arc<Policy>) {
        let policy = self.policy.lock();
        (self.generation.load(Ordering::Relaxed), Arc::clone(&policy))
    }

    /// Checks the credentials of a peer. A random token is checked at once. A password is checked by
    /// another thread, which wakes `waker` when the result is there.
    ///
    /// A wrong secret counts as a failure of its address. After too many, passwords from there are not
    /// checked, while the right random token is still accepted: no other peer with this address can
    /// lock its holder out.
    pub fn check(
        &self,
        login: Login,
        credentials: Credentials<'_>,
        address: IpAddr,
        waker: &Waker,
    ) -> Check {
        let check = self.begin_check(login, credentials, address, waker);
        if let Check::Done(verdict) = &check {
            self.counts.add(login, verdict);
        }
        check
    }

    fn begin_check(
        &self,
        login: Login,
        credentials: Credentials<'_>,
        address: IpAddr,
        waker: &Waker,
    ) -> Check {
        let address = address.to_canonical();
        let (_, policy) = self.current();
        let (name, secret) = match credentials {
            Credentials::Named { name, secret } => (name, secret),
            Credentials::Secret(secret) if secret.len() <= MAX_SECRET => {
                if let Some(token) = policy.with_secret(secret) {
                    return Check::Done(Ok(Arc::clone(token)));
                }
                match secret.iter().position(|&byte| byte == b':') {
                    Some(colon) => (&secret[..colon], &secret[colon + 1..]),
                    None => (DEFAULT_NAME, secret),
                }
            }
            Credentials::Secret(secret) => (DEFAULT_NAME, secret),
        };
        let token = policy.named(name).filter(|_| secret.len() <= MAX_SECRET);
        match token {
            Some(token) if token.has_password() => {
                if self.attempts.too_many(address) {
                    return Check::Done(Err(Denied::TooManyFailures));
                }
                match self.checker.check(login, token, secret, address, waker) {
                    Ok(pending) => Check::Waits(pending),
                    Err(denied) => Check::Done(Err(denied)),
                }
            }
            Some(token) if token.has_secret(secret) => Check::Done(Ok(Arc::clone(token))),
            _ => {
                let denied = match self.attempts.too_many(address) {
                    true => Denied::TooManyFailures,
                    false => Denied::Wrong,
                };
                self.attempts.failed(address);
                Check::Done(Err(denied))
            }
        }
    }

    /// Returns the token that a client certificate with this common name stands for, and counts the
    /// attempt. A name that no token has is not counted where certificates stand for no token at all.
    #[must_use]
    pub fn with_certificate(&self, name: &str) -> Option<Arc<Token>> {
        let (_, policy) = self.current();
        let found = policy.with_certificate(name).cloned();
        if policy.has_certificates() {
            let verdict = found.clone().ok_or(Denied::Wrong);
            self.counts.add(Login::Certificate, &verdict);
        }
        found
    }

    /// Returns what peers with this address may do without a token.
    #[must_use]
    pub fn grant_of(&self, address: IpAddr) -> Grant {
        self.current().1.grant_of(address.to_canonical())
    }
}

/// What one peer may do: by its address, and by the token that it has shown or that its certificate stands
/// for.
#[derive(Debug, Clone)]
pub struct Access {
    guard: Arc<Guard>,
    /// The generation of the policy that `grant` is from.
    generation: u64,
    address: IpAddr,
    /// The common name of its certificate.
    certificate: Option<String>,
    /// The token that it has shown.
    shown: Option<Arc<Token>>,
    /// The token whose rights it has: the one that it has shown, or else that of its certificate.
    token: Option<Arc<Token>>,
    grant: Arc<Grant>,
    /// What limits the holders of the token; `None` if nothing does.
    allowance: Option<Arc<Allowance>>,
}

impl Access {
    /// Creates the access of a peer without a token.
    #[must_use]
    pub fn new(guard: Arc<Guard>, address: IpAddr) -> Self {
        let mut access = Self {
            guard,
            generation: 0,
            address: address.to_canonical(),
            certificate: None,
            shown: None,
            token: None,
            grant: Arc::default(),
            allowance: None,
        };
        access.update();
        access
    }

    /// Gives the peer the rights of the token that its certificate, with this common name, stands for. It
    /// keeps them until it shows another token.
    #[must_use]
    pub fn with_certificate(mut self, name: String) -> Self {
        let _ = self.guard.with_certificate(&name); // counts it
        self.certificate = Some(name);
        self.update();
        self
    }

    /// Follows a change of the policy, and returns whether there was one. Call it before each read.
    #[inline]
    pub fn refresh(&mut self) -> bool {
        let changed = self.guard.generation.load(Ordering::Acquire) != self.generation;
        if changed {
            self.update();
        }
        changed
    }

    /// Takes the rights from the current policy. A token counts only as long as the policy has it, with
    /// the same secret.
    #[cold]
    fn update(&mut self) {
        let (generation, policy) = self.guard.current();
        self.generation = generation;
        self.shown = self.shown.take().and_then(|held| {
            let current = policy.named(held.name.as_bytes())?;
            (current.digest == held.digest).then(|| Arc::clone(current))
        });
        let certificate = self.certificate.as_deref();
        let certified = certificate.and_then(|name| policy.with_certificate(name));
        self.token = self.shown.as_ref().or(certified).cloned();
        let allowance = |token: &Arc<Token>| policy.allowance(&token.name).cloned();
        self.allowance = self.token.as_ref().and_then(allowance);
        let by_address = policy.grant_of(self.address);
        self.grant = match &self.token {
            Some(token) if by_address.is_empty() => Arc::clone(&token.grant),
            Some(token) => Arc::new(by_address.union(&token.grant)),
            None => Arc::new(by_address),
        };
    }

    /// Returns what the peer may do.
    #[inline]
    #[must_use]
    pub fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }

    /// Returns what limits the requests of the holders of the peer's token; `None` if nothing does.
    pub(crate) fn rate(&self) -> Option<&Arc<Allowance>> {
        self.allowance
            .as_ref()
            .filter(|allowance| allowance.rate() > 0)
    }

    /// Returns what limits the topics that the holders of the peer's token create; `None` if nothing
    /// does.
    pub(crate) fn maker(&self) -> Option<&Arc<Allowance>> {
        self.allowance
            .as_ref()
            .filter(|allowance| allowance.limits_topics())
    }

    /// Returns the name of the token whose rights the peer has.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.name.as_str())
    }

    /// Checks the credentials of this peer: see [`Guard::check`].
    #[must_use]
    pub fn check(&self, login: Login, credentials: Credentials<'_>, waker: &Waker) -> Check {
        self.guard.check(login, credentials, self.address, waker)
    }

    /// Gives the peer the rights of a token that was checked.
    pub fn accept(&mut self, token: Arc<Token>) {
        self.shown = Some(token);
        self.update(); // the policy may have changed since the check began
    }

    /// Takes the rights of the token that it has shown away from the peer.
    pub fn forget_token(&mut self) {
        self.shown = None;
        self.update();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::task::Wake;

    use super::*;
    use crate::access::{Digest, Right, Rule, TokenLimits};

    struct Woken(Mutex<Sender<()>>);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            let _ = self.0.lock().send(());
        }
    }

    fn token(name: &str, digest: Digest, rights: &str) -> Token {
        let rule = Rule {
            rights: rights.parse().unwrap(),
            prefixes: Vec::new(),
        };
        Token {
            name: name.to_owned(),
            digest: Some(digest),
            certificate: None,
            grant: Arc::new(Grant::new([rule])),
            limits: TokenLimits::default(),
        }
    }

    fn tokens() -> Vec<Token> {
        let password = |text: &[u8]| Digest::of_password(text, &[1; 16]).unwrap();
        vec![
            token("random", Digest::of_token(b"0123456789abcdef"), "count"),
            token("default", password(b"open"), "read"),
            token("alice", password(b"sesame"), "reset"),
        ]
    }

    fn address() -> IpAddr {
        IpAddr::from([10, 0, 0, 1])
    }

    /// Checks credentials, and waits if they have to be computed.
    fn verdict(guard: &Guard, credentials: Credentials<'_>) -> Result<String, Denied> {
        let (sender, woken) = channel();
        let waker = Waker::from(Arc::new(Woken(Mutex::new(sender))));
        let verdict = match guard.check(Login::Resp, credentials, address(), &waker) {
            Check::Done(verdict) => verdict,
            Check::Waits(pending) => {
                woken.recv().unwrap();
                pending
                    .verdict()
                    .expect("it is there when the waker is woken")
            }
        };
        verdict.map(|token| token.name.clone())
    }

    fn named<'a>(name: &'a str, secret: &'a str) -> Credentials<'a> {
        Credentials::Named {
            name: name.as_bytes(),
            secret: secret.as_bytes(),
        }
    }

    #[test]
    fn tokens_and_passwords_are_found_with_and_without_their_names() {
        let guard = Guard::new(Policy::new(tokens(), Vec::new()));
        let long = "x".repeat(MAX_SECRET + 1);
        for (credentials, expected) in [
            (Credentials::Secret(b"0123456789abcdef"), Ok("random")),
            (Credentials::Secret(b"alice:sesame"), Ok("alice")),
            (Credentials::Secret(b"open"), Ok("default")),
            (Credentials::Secret(b"sesame"), Err(Denied::Wrong)),
            (named("random", "0123456789abcdef"), Ok("random")),
            (named("alice", "sesame"), Ok("alice")),
            (named("alice", "0123456789abcdef"), Err(Denied::Wrong)),
            (named("alice", &long), Err(Denied::Wrong)),
            (named("bob", "sesame"), Err(Denied::Wrong)),
        ] {
            let found = verdict(&guard, credentials);
            assert_eq!(found.as_deref(), expected.as_ref().map(|name| *name));
        }
        assert_eq!(guard.failed_attempts(), 4);
        let counts = guard.login_counts();
        let count = |result| {
            let mut counts = counts.iter();
            let found = counts.find(|count| count.dialect == "resp" && count.result == result);
            found.unwrap().attempts
        };
        let all = ["accepted", "wrong", "limited", "busy"].map(count);
        assert_eq!(all, [5, 4, 0, 0]);
        assert_eq!(counts.iter().map(|count| count.attempts).sum::<u64>(), 9);
    }

    #[test]
    fn failures_slow_an_address_but_lock_no_random_token_out() {
        let guard = Guard::new(Policy::new(tokens(), Vec::new()));
        let refused = (0..1_000).find_map(|_| {
            let denied = verdict(&guard, named("bob", "guess")).unwrap_err();
            (denied == Denied::TooManyFailures).then_some(())
        });
        assert!(refused.is_some());
        assert_eq!(
            verdict(&guard, named("alice", "sesame")),
            Err(Denied::TooManyFailures)
        );
        assert_eq!(
            verdict(&guard, Credentials::Secret(b"0123456789abcdef")).unwrap(),
            "random"
        );
    }

    #[test]
    fn a_new_policy_changes_the_rights_of_peers_that_have_a_token() {
        let allow = |range: &str| vec![range.parse().unwrap()];
        let guard = Arc::new(Guard::new(Policy::new(tokens(), allow("10.0.0.0/8=read"))));
        let mut access = Access::new(Arc::clone(&guard), "::ffff:10.0.0.1".parse().unwrap());
        assert!(access.grant().allows(Right::Read, b"a") && access.name().is_none());
        access.accept(Arc::new(tokens().remove(0)));
        assert!(
            access.grant().allows(Right::Count, b"a") && access.grant().allows(Right::Read, b"a")
        );
        assert_eq!(access.name(), Some("random"));

        let mut changed = tokens();
        changed[0].grant = token("", Digest::of_token(b""), "advance").grant;
        guard.set_policy(Policy::new(changed, Vec::new()));
        assert!(
            access.grant().allows(Right::Count, b"a"),
            "until the next read"
        );
        access.refresh();
        assert!(access.grant().allows(Right::Advance, b"a"));
        assert!(
            !access.grant().allows(Right::Count, b"a") && !access.grant().allows(Right::Read, b"a")
        );

        let mut other_secret = tokens();
        other_secret[0].digest = Some(Digest::of_token(b"fedcba9876543210"));
        guard.set_policy(Policy::new(other_secret, Vec::new()));
        access.refresh();
        assert!(access.grant().is_empty() && access.name().is_none());

        access.accept(Arc::new(tokens().remove(0)));
        assert!(
            access.grant().is_empty(),
            "checked before the secret changed"
        );
    }

    #[test]
    fn what_a_token_has_used_outlives_a_change_of_the_policy() {
        let limited = |max_topics| {
            let mut tokens = tokens();
            tokens[0].limits.max_topics = Some(max_topics);
            Policy::new(tokens, Vec::new())
        };
        let guard = Arc::new(Guard::new(limited(1)));
        let mut access = Access::new(Arc::clone(&guard), address());
        assert!(access.maker().is_none(), "no token was shown");
        access.accept(Arc::new(tokens().remove(0)));
        let take = |access: &Access| access.maker().unwrap().take_topic();
        assert!(take(&access) && !take(&access) && access.rate().is_none());
        guard.set_policy(limited(2));
        access.refresh();
        assert!(take(&access) && !take(&access));
        guard.set_policy(limited(0));
        access.refresh();
        assert!(access.maker().is_none());
    }

    #[test]
    fn a_certificate_has_the_rights_of_its_token_until_another_is_shown() {
        let with_certificate = |name: &str| {
            let mut tokens = tokens();
            tokens[0].certificate = Some(name.to_owned());
            tokens[0].digest = None;
            Policy::new(tokens, Vec::new())
        };
        let guard = Arc::new(Guard::new(with_certificate("a client")));
        let access = |name: &str| {
            let access = Access::new(Arc::clone(&guard), address());
            access.with_certificate(name.to_owned())
        };
        let mut client = access("a client");
        assert_eq!(client.name(), Some("random"));
        assert!(client.grant().allows(Right::Count, b"a"));
        let mut other = access("random");
        assert!(other.name().is_none() && other.grant().is_empty());
        assert_eq!(
            verdict(&guard, named("random", "0123456789abcdef")),
            Err(Denied::Wrong),
            "it has no secret"
        );

        client.accept(Arc::new(tokens().remove(1)));
        assert_eq!(client.name(), Some("default"));
        assert!(!client.grant().allows(Right::Count, b"a"));
        client.forget_token();
        assert_eq!(client.name(), Some("random"));

        guard.set_policy(with_certificate("another client"));
        assert!(client.refresh() && client.name().is_none() && client.grant().is_empty());
        guard.set_policy(with_certificate("random"));
        assert!(other.refresh() && other.grant().allows(Right::Count, b"a"));
        let counts = guard.login_counts();
        let mut of_tls = counts.iter().filter(|count| count.dialect == "tls");
        let attempts = [0; 2].map(|_| of_tls.next().unwrap().attempts);
        assert_eq!(attempts, [1, 1]);
    }
}
