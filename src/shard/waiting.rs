//! The waiting requests of all topics of a shard. Each topic has a [`Queue`] of its own, but all
//! queues share one block of memory, so that a topic whose first request waits allocates nothing.
//! Knows no topic.

use slab::Slab;

use crate::protocol::Op;

/// Ends a queue.
const NONE: u32 = u32::MAX;

/// The waiting requests of a shard. `W` says where the reply to a request goes.
#[derive(Debug)]
pub(super) struct Waiting<W> {
    requests: Slab<Node<W>>,
}

#[derive(Debug)]
struct Node<W> {
    op: Op,
    waiter: W,
    /// The index of the request behind this one, or [`NONE`].
    next: u32,
}

/// The waiting requests of one topic, in order: the ends of a list in [`Waiting`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Queue {
    first: u32,
    last: u32,
}

impl Queue {
    /// A queue without requests.
    pub(super) const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };

    /// Returns whether no request waits.
    pub(super) fn is_empty(self) -> bool {
        self.first == NONE
    }
}

impl<W> Waiting<W> {
    /// Creates an empty list.
    pub(super) fn new() -> Self {
        Self {
            requests: Slab::new(),
        }
    }

    /// Returns the number of requests in all queues.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Appends a request to `queue`. The shard's limit keeps the indexes far below 2^32.
    pub(super) fn push(&mut self, queue: &mut Queue, op: Op, waiter: W) {
        let next = NONE;
        let index = self.requests.insert(Node { op, waiter, next }) as u32;
        if queue.is_empty() {
            queue.first = index;
        } else {
            self.requests[queue.last as usize].next = index;
        }
        queue.last = index;
    }

    /// Removes the first request of `queue` and returns where its reply goes.
    pub(super) fn pop(&mut self, queue: &mut Queue) -> Option<W> {
        let Node { waiter, next, .. } = self.requests.try_remove(queue.first as usize)?;
        queue.first = next;
        Some(waiter)
    }

    /// Returns the operation of the first request of `queue`.
    pub(super) fn first(&self, queue: Queue) -> Option<Op> {
        self.ops(queue).next()
    }

    /// Returns the operations of the requests of `queue`, in order.
    pub(super) fn ops(&self, queue: Queue) -> impl Iterator<Item = Op> {
        let mut at = queue.first;
        std::iter::from_fn(move || {
            let node = self.requests.get(at as usize)?;
            at = node.next;
            Some(node.op)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_keep_their_order_and_share_the_memory() {
        let mut waiting = Waiting::new();
        let mut queues = [Queue::EMPTY; 3];
        for round in 0..10 {
            for i in 0..300 {
                let add = Op::Incr(std::num::NonZeroU64::new(i + 1).unwrap());
                waiting.push(&mut queues[i as usize % 3], add, (round, i));
            }
            assert_eq!(waiting.len(), 300);
            for (number, queue) in queues.iter_mut().enumerate() {
                assert_eq!(waiting.ops(*queue).count(), 100);
                let first = std::num::NonZeroU64::new(number as u64 + 1).unwrap();
                assert_eq!(waiting.first(*queue), Some(Op::Incr(first)));
                let popped: Vec<_> = std::iter::from_fn(|| waiting.pop(queue)).collect();
                let expected = (0..100).map(|i| (round, i * 3 + number as u64));
                assert!(popped.into_iter().eq(expected));
                assert!(queue.is_empty() && waiting.first(*queue).is_none());
            }
            assert_eq!(waiting.len(), 0);
        }
        assert_eq!(waiting.requests.capacity(), 512, "slots are used again");
    }
}
