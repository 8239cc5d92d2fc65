pub(crate) mod primitives {
    pub(crate) use crate::stand_ins::{Mutex, Queue};
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}
#[path = "cases.rs"]
pub(crate) mod cases;
#[path = "../../src/server/exchange/sync/inbox.rs"]
pub(crate) mod inbox;
#[path = "../../src/server/exchange/sync/reach.rs"]
pub(crate) mod reach;
