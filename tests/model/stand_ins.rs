//! A lock and a channel on loom's atomics, each with the weakest memory ordering the real one may
//! have.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Stands in for `parking_lot::Mutex`, try-lock only. A failed try is one relaxed load, locking is
/// an acquire, unlocking is a release.
#[derive(Debug)]
pub(crate) struct Mutex<T> {
    locked: AtomicBool,
    /// Never contended: only the thread that set `locked` touches it.
    value: loom::sync::Mutex<T>,
}

pub(crate) struct Guard<'a, T> {
    lock: &'a Mutex<T>,
    value: Option<loom::sync::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            locked: AtomicBool::new(false),
            value: loom::sync::Mutex::new(value),
        }
    }

    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        if self.locked.load(Ordering::Relaxed) {
            return None;
        }
        self.locked
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        Some(Guard {
            lock: self,
            value: Some(self.value.lock().unwrap()),
        })
    }

    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner().unwrap()
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        self.lock.locked.store(false, Ordering::Release);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value.as_ref().unwrap()
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().unwrap()
    }
}

/// Stands in for `crossbeam_channel::bounded` and `unbounded`. A thread that only looks sees a
/// pushed item by a store, and nothing orders that store before later loads of the thread that
/// pushed.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    capacity: usize,
    items: loom::sync::Mutex<VecDeque<T>>,
    pushed: AtomicUsize,
    popped: AtomicUsize,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            items: loom::sync::Mutex::new(VecDeque::new()),
            pushed: AtomicUsize::new(0),
            popped: AtomicUsize::new(0),
        }
    }

    pub(crate) fn unbounded() -> Self {
        Self::new(usize::MAX)
    }

    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut items = self.items.lock().unwrap();
        if items.len() == self.capacity {
            return Err(item);
        }
        items.push_back(item);
        drop(items);
        self.pushed.fetch_add(1, Ordering::Release);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let item = self.items.lock().unwrap().pop_front()?;
        self.popped.fetch_add(1, Ordering::Release);
        Some(item)
    }

    pub(crate) fn len(&self) -> usize {
        let pushed = self.pushed.load(Ordering::Acquire);
        pushed.saturating_sub(self.popped.load(Ordering::Acquire))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
