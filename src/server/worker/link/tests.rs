//! Tests of a connection's [`Link`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use super::*;
use crate::protocol::Method;
use crate::server::config::ConnectionLimits;
use crate::server::exchange::{Origin, Requester, WorkerId};

const KEY: ConnectionKey = ConnectionKey {
    index: 0,
    serial: 0,
};

/// A socket that accepts a number of bytes, then none.
#[derive(Default)]
struct Socket {
    room: Cell<usize>,
    written: RefCell<Vec<u8>>,
}

impl ReplySocket for Socket {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.room.get().min(bytes.len());
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room.update(|room| room - taken);
        self.written.borrow_mut().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
}

/// A waker that records that it was called.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Replies that waited for the store, to requests 1 and 2.
fn late_replies() -> [LateReply; 2] {
    [1, 2].map(|number| {
        let origin = Origin {
            worker: WorkerId(0),
            requester: Requester::Connection(KEY),
            method: Method::Count,
            id: RequestId(number),
        };
        (origin, Reply::Count(number.into()))
    })
}

#[test]
fn late_replies_are_written_at_once_if_the_task_only_waits_for_input() {
    for (idle, room, woken) in [
        (true, usize::MAX, false),
        (true, 20, true),
        (true, 0, true),
        (false, usize::MAX, true),
    ] {
        let limits = Rc::new(Limits::new(&ConnectionLimits::default(), Arc::default()));
        let link = Link::new(KEY, &limits);
        let (socket, flag) = (Rc::new(Socket::default()), Arc::new(Flag::default()));
        socket.room.set(room);
        link.set_socket(Some(Rc::clone(&socket) as Rc<dyn ReplySocket>));
        link.set_waker(&Waker::from(Arc::clone(&flag)));
        link.set_idle(idle);
        link.add_in_flight(2);
        link.queue_late_replies(&late_replies(), &Counters::new());
        assert!(link.touch() && !link.touch(), "it is noted once");
        link.pass_on();
        assert!(link.touch(), "the next replies are noted again");

        let mut all = Vec::new();
        for (origin, reply) in late_replies() {
            framed::encode_reply(origin.id, reply, &mut all);
        }
        let written = if idle { room.min(all.len()) } else { 0 };
        assert_eq!(*socket.written.borrow(), all[..written]);
        assert_eq!(link.unsent(), all.len() - written);
        assert_eq!(flag.0.load(Ordering::Relaxed), woken, "{idle} {room}");
        assert_eq!(link.in_flight(), 0);
    }
}
