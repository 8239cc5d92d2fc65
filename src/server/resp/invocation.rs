//! A command, interpreted, and whether it has to wait for the commands before it.

use crate::protocol::resp::{Arguments, Command, Spec, Verb};

/// A command, interpreted, with the bytes that it came in.
pub(super) struct Invocation<'a> {
    pub(super) spec: &'static Spec,
    pub(super) command: Command<'a>,
    pub(super) arguments: &'a Arguments,
    pub(super) bytes: &'a [u8],
}

impl<'a> Invocation<'a> {
    /// Returns an argument.
    pub(super) fn argument(&self, at: usize) -> &'a [u8] {
        self.arguments.at(at, self.bytes)
    }

    /// Returns the arguments from `first` on.
    pub(super) fn arguments_from(&self, first: usize) -> impl Iterator<Item = &'a [u8]> {
        let Self {
            arguments, bytes, ..
        } = *self;
        (first..arguments.len()).map(move |i| arguments.at(i, bytes))
    }
}

/// Returns whether the reply to a command depends on all commands before it on the connection.
pub(super) fn waits_for_all_before(spec: &Spec) -> bool {
    matches!(
        spec.verb,
        Verb::DbSize
            | Verb::Scan
            | Verb::Keys
            | Verb::RandomKey
            | Verb::Info
            | Verb::Hello
            | Verb::Reset
            | Verb::ClusterCountKeysInSlot
            | Verb::ClusterGetKeysInSlot
    )
}
