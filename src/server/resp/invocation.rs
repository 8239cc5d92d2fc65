//! A command, interpreted, with the bytes that it came in.

use crate::protocol::resp::{Arguments, Command, Spec};

/// A command, interpreted, with the bytes that it came in.
pub(super) struct Invocation<'a> {
    pub(super) spec: &'static Spec,
    pub(super) command: Command<'a>,
    pub(super) arguments: &'a Arguments,
    pub(super) bytes: &'a [u8],
}

impl<'a> Invocation<'a> {
    /// Returns the arguments from `first` on.
    pub(super) fn arguments_from(&self, first: usize) -> impl Iterator<Item = &'a [u8]> {
        let Self {
            arguments, bytes, ..
        } = *self;
        (first..arguments.len()).map(move |i| arguments.at(i, bytes))
    }
}
