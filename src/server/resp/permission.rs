//! What each command needs: docs/security.md has the table. The session is compiled once with this check
//! and once without, so that a server without access control pays nothing for it.

use std::sync::Arc;
use std::task::Waker;

use crate::access::{
    Access, Check, Credentials, Denied, Grant, Login, Meter, Open, Right, Verdict,
};
use crate::protocol::resp::{Arguments, Auth, Command, Refusal, Spec, Verb};

/// The rights of a connection, as far as commands ask for them.
pub(crate) trait Permission {
    /// Whether access is controlled.
    const CHECKS: bool;

    /// Takes room for a command; `spec` is `None` if it does not exist. Returns false if it would be over
    /// a rate. A command of several topics counts as often as it has topics.
    #[inline(always)]
    fn admits(&self, _spec: Option<&Spec>, _arguments: &Arguments) -> bool {
        true
    }

    /// Checks that the connection may call a command.
    ///
    /// # Errors
    ///
    /// Returns NOAUTH or NOPERM as a [`Refusal`].
    fn check<'a>(
        &self,
        spec: &'static Spec,
        command: &Command<'a>,
        arguments: &Arguments,
        bytes: &'a [u8],
    ) -> Result<(), Refusal<'static>>;

    /// Begins to check credentials.
    fn begin_auth(&self, auth: Auth<'_>, waker: &Waker) -> Option<Check>;

    /// Takes the result of checked credentials.
    ///
    /// # Errors
    ///
    /// Returns the [`Refusal`] of AUTH if they are wrong.
    fn end_auth(
        &mut self,
        auth: Auth<'_>,
        verdict: Option<Verdict>,
    ) -> Result<(), Refusal<'static>>;

    /// Makes the connection like one that has not authenticated.
    fn forget(&mut self);

    /// Returns the name of the token whose rights the connection has.
    fn user(&self) -> Option<&str>;

    /// Returns the grant that decides which topics a search returns; `None` if it may return all.
    fn filter(&self) -> Option<Arc<Grant>>;
}

impl Permission for Open {
    const CHECKS: bool = false;

    #[inline(always)]
    fn check<'a>(
        &self,
        _: &'static Spec,
        _: &Command<'a>,
        _: &Arguments,
        _: &'a [u8],
    ) -> Result<(), Refusal<'static>> {
        Ok(())
    }

    fn begin_auth(&self, _: Auth<'_>, _: &Waker) -> Option<Check> {
        None
    }

    fn end_auth(&mut self, auth: Auth<'_>, _: Option<Verdict>) -> Result<(), Refusal<'static>> {
        auth.without_tokens()
    }

    fn forget(&mut self) {}

    fn user(&self) -> Option<&str> {
        None
    }

    fn filter(&self) -> Option<Arc<Grant>> {
        None
    }
}

impl Permission for Access {
    const CHECKS: bool = true;

    /// Most requests are for one topic, with a right on all topics: those need one comparison.
    #[inline(always)]
    fn check<'a>(
        &self,
        spec: &'static Spec,
        command: &Command<'a>,
        arguments: &Arguments,
        bytes: &'a [u8],
    ) -> Result<(), Refusal<'static>> {
        match command {
            Command::Topic { request, .. }
                if self.grant().allows_everywhere(Right::for_op(request.op)) =>
            {
                Ok(())
            }
            _ => check_by_rules(self, spec, command, arguments, bytes),
        }
    }

    fn begin_auth(&self, auth: Auth<'_>, waker: &Waker) -> Option<Check> {
        let credentials = match auth.user {
            Some(name) => Credentials::Named {
                name,
                secret: auth.password,
            },
            None => Credentials::Secret(auth.password),
        };
        Some(Access::check(self, Login::Resp, credentials, waker))
    }

    fn end_auth(&mut self, _: Auth<'_>, verdict: Option<Verdict>) -> Result<(), Refusal<'static>> {
        match verdict {
            Some(Ok(token)) => {
                self.accept(token);
                Ok(())
            }
            Some(Err(Denied::TooManyFailures)) => Err(Refusal::AuthLater(
                "too many failed attempts from this address, try again in a second",
            )),
            Some(Err(Denied::Busy)) => {
                Err(Refusal::AuthLater("too many passwords are being checked"))
            }
            Some(Err(_)) | None => Err(Refusal::WrongPassword),
        }
    }

    fn forget(&mut self) {
        self.forget_token();
    }

    fn user(&self) -> Option<&str> {
        self.name()
    }

    fn filter(&self) -> Option<Arc<Grant>> {
        let all = self.grant().allows_everywhere(Right::Read);
        (!all).then(|| Arc::clone(self.grant()))
    }
}

/// Checks a command in any case.
#[inline(never)]
fn check_by_rules<'a>(
    access: &Access,
    spec: &'static Spec,
    command: &Command<'a>,
    arguments: &Arguments,
    bytes: &'a [u8],
) -> Result<(), Refusal<'static>> {
    let grant = access.grant();
    let (allowed, has_right) = match command {
        Command::Topic { request, .. } => {
            let right = Right::for_op(request.op);
            let allowed = grant.allows(right, request.topic.as_bytes());
            (allowed, allowed || grant.allows_somewhere(right))
        }
        Command::EachKey(each) => {
            let right = Right::for_op(each.op);
            let mut keys = spec.keys.range(arguments.len());
            let allowed = keys.all(|i| grant.allows(right, arguments.at(i, bytes)));
            (allowed, allowed || grant.allows_somewhere(right))
        }
        // They return only the topics that may be read.
        Command::Scan(_) | Command::Keys(_) | Command::SlotKeys(_) => {
            let allowed = grant.allows_somewhere(Right::Read);
            (allowed, allowed)
        }
        _ => {
            let allowed = match spec.verb {
                Verb::RandomKey | Verb::DbSize => grant.allows_everywhere(Right::Read),
                Verb::Info => {
                    grant.allows_everywhere(Right::Read) || grant.allows_somewhere(Right::Admin)
                }
                Verb::ConfigGet | Verb::ClientList | Verb::ClientKill => {
                    grant.allows_somewhere(Right::Admin)
                }
                // They show the addresses of nodes.
                Verb::ClusterInfo
                | Verb::ClusterNodes
                | Verb::ClusterReplicas
                | Verb::ClusterShards
                | Verb::ClusterSlaves
                | Verb::ClusterSlots => !grant.is_empty(),
                // They concern only the connection, or return the same to everybody.
                _ => true,
            };
            (allowed, allowed)
        }
    };
    match (allowed, has_right) {
        (true, _) => Ok(()),
        (false, true) => Err(Refusal::NoKey),
        (false, false) if grant.is_empty() && access.name().is_none() => Err(Refusal::NoAuth),
        (false, false) => Err(Refusal::NoCommand(spec)),
    }
}

/// The rights of a connection whose commands are limited by rates.
#[derive(Debug)]
pub(crate) struct Limited<'a> {
    /// `None` if every peer may do everything.
    access: Option<&'a mut Access>,
    meter: &'a Meter<'a>,
}

impl<'a> Limited<'a> {
    pub(crate) fn new(access: Option<&'a mut Access>, meter: &'a Meter<'a>) -> Self {
        Self { access, meter }
    }
}

impl Permission for Limited<'_> {
    const CHECKS: bool = true;

    fn admits(&self, spec: Option<&Spec>, arguments: &Arguments) -> bool {
        let topics = spec.map_or(0, |spec| spec.keys.range(arguments.len()).len());
        self.meter.take(topics.max(1) as u64)
    }

    fn check<'a>(
        &self,
        spec: &'static Spec,
        command: &Command<'a>,
        arguments: &Arguments,
        bytes: &'a [u8],
    ) -> Result<(), Refusal<'static>> {
        match &self.access {
            Some(access) => Permission::check(&**access, spec, command, arguments, bytes),
            None => Ok(()),
        }
    }

    fn begin_auth(&self, auth: Auth<'_>, waker: &Waker) -> Option<Check> {
        self.access.as_ref()?.begin_auth(auth, waker)
    }

    fn end_auth(
        &mut self,
        auth: Auth<'_>,
        verdict: Option<Verdict>,
    ) -> Result<(), Refusal<'static>> {
        match &mut self.access {
            Some(access) => access.end_auth(auth, verdict),
            None => Open.end_auth(auth, verdict),
        }
    }

    fn forget(&mut self) {
        if let Some(access) = &mut self.access {
            access.forget();
        }
    }

    fn user(&self) -> Option<&str> {
        self.access.as_ref()?.user()
    }

    fn filter(&self) -> Option<Arc<Grant>> {
        self.access.as_ref()?.filter()
    }
}
