//! MULTI, EXEC and DISCARD: which commands are part of a transaction, and so refused.

use crate::protocol::resp::{Refusal, Spec, Verb};

/// The state of a connection's transaction. Transactions are refused, because a shard cannot hold back
/// other clients while another shard counts. A client that tries one must be able to tell that none of
/// its commands was applied.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    begun: bool,
}

impl Transaction {
    /// Notes that the command `spec` comes next.
    ///
    /// # Errors
    ///
    /// Returns a [`Refusal`] if `spec` is part of a transaction, or ends one.
    pub(super) fn note(&mut self, spec: &'static Spec) -> Result<(), Refusal<'static>> {
        let verb = spec.verb;
        if !self.begun && !matches!(verb, Verb::Multi | Verb::Exec | Verb::Discard) {
            return Ok(());
        }
        match (verb, self.begun) {
            (Verb::Multi, false) => self.begun = true,
            (Verb::Multi, true) => return Err(Refusal::Nested),
            (Verb::Exec | Verb::Discard, false) => return Err(Refusal::NoTransaction(spec)),
            (Verb::Exec, true) => {
                self.begun = false;
                return Err(Refusal::Aborted);
            }
            (Verb::Discard | Verb::Reset, true) => self.begun = false,
            (Verb::Quit, _) | (_, false) => {}
            (_, true) => return Err(Refusal::Transaction),
        }
        Ok(())
    }
}
