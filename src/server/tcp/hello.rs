//! HELLO of a framed connection: the check of its token, then its reply, here or at the worker of the
//! shard that it names.

use std::mem;
use std::task::Waker;

use super::connection::{Connection, Phase, Step};
use super::moved::{PendingHello, Resume};
use crate::access::{Check, Credentials, Denied, Login, Right, Verdict};
use crate::protocol::ErrorCode;
use crate::protocol::framed::{self, Answer, RequestId};

impl Connection {
    /// Checks the token of a HELLO, if it has one, and answers.
    pub(super) fn check_hello(&mut self, hello: PendingHello, token: &[u8]) {
        let check = match &self.access {
            Some(access) if !token.is_empty() => {
                // The task's poll has set it.
                let waker = self
                    .registered
                    .link
                    .waker()
                    .unwrap_or(Waker::noop().clone());
                access.check(Login::Framed, Credentials::Secret(token), &waker)
            }
            _ => return self.answer_hello(hello),
        };
        match check {
            Check::Done(verdict) => self.decide_hello(hello, verdict),
            Check::Waits(check) => self.phase = Phase::CheckingHello { hello, check },
        }
    }

    /// Continues when the password of a HELLO may have been checked.
    pub(super) fn finish_hello(&mut self) -> Step {
        match mem::replace(&mut self.phase, Phase::Framed) {
            Phase::CheckingHello { hello, check } => match check.verdict() {
                Some(verdict) => self.decide_hello(hello, verdict),
                None => {
                    self.phase = Phase::CheckingHello { hello, check };
                    return Step::Wait;
                }
            },
            other => self.phase = other,
        }
        Step::Again
    }

    fn decide_hello(&mut self, hello: PendingHello, verdict: Verdict) {
        let denied = match (verdict, &mut self.access) {
            (Ok(token), Some(access)) => {
                access.accept(token);
                return self.answer_hello(hello);
            }
            (Err(Denied::TooManyFailures | Denied::Busy), _) => ErrorCode::Busy,
            (Err(_), _) | (Ok(_), None) => ErrorCode::Denied,
        };
        self.refuse_hello(hello, denied);
    }

    fn refuse_hello(&mut self, hello: PendingHello, error: ErrorCode) {
        let reply = self.registered.worker().intake.refuse(error);
        self.append_answer(hello.id, &Answer::Reply(reply));
    }

    fn answer_hello(&mut self, hello: PendingHello) {
        if hello.node {
            if !self.may_be_node() {
                return self.refuse_hello(hello, ErrorCode::Denied);
            }
            self.registered.link.set_node();
        }
        match hello.to {
            None => {
                let reply = self.registered.worker().intake.hello();
                self.append_answer(hello.id, &Answer::Hello(reply));
            }
            Some(to) if to == self.registered.worker().id => self.stay_here(hello.id),
            Some(to) => {
                let resume = Resume::Hello(hello.id);
                self.phase = Phase::Moving { to, resume };
            }
        }
    }

    /// Returns whether the peer may be a node of the cluster.
    pub(super) fn may_be_node(&self) -> bool {
        let access = self.access.as_ref();
        access.is_none_or(|access| access.grant().allows_everywhere(Right::Node))
    }

    /// Appends an answer, and goes on with the frames behind the HELLO.
    fn append_answer(&mut self, id: RequestId, answer: &Answer<'_>) {
        let mut reply = Vec::new();
        framed::encode_answer(id, answer, &mut reply);
        self.registered.link.append(&reply);
        self.phase = Phase::Framed;
        self.unserved = true;
    }
}
