//! A way from a node to a member of etcd that can hold back what the node sends, and let it through later.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Two pieces that were held back arrive at least this far apart: a request is then on its way before
/// what the node sent much later, as that it gave the request up.
const PACE: Duration = Duration::from_millis(5);

/// A relay. Its threads end with the connections, which end with the member or the node.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Default)]
struct State {
    holds: bool,
    /// How many pieces wait.
    held: usize,
    ended: bool,
}

impl Relay {
    /// Starts a relay at this address, on any port.
    pub(crate) fn start(ip: Ipv4Addr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Gate::default());
        let shared = Arc::clone(&gate);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.state.lock().unwrap().ended {
                    return;
                }
                let Ok(server) = TcpStream::connect(target) else {
                    continue; // the member does not run now
                };
                let (from_client, to_client) = (client.try_clone().unwrap(), client);
                let (from_server, to_server) = (server.try_clone().unwrap(), server);
                let gate = Arc::clone(&shared);
                thread::spawn(move || carry(from_client, to_server, Some(&gate)));
                thread::spawn(move || carry(from_server, to_client, None));
            }
        });
        Self { address, gate }
    }

    /// Holds back what the node sends from now on.
    pub(crate) fn hold(&self) {
        self.gate.state.lock().unwrap().holds = true;
    }

    /// Returns how many pieces are held back.
    pub(crate) fn held(&self) -> usize {
        self.gate.state.lock().unwrap().held
    }

    /// Lets everything through, in its order.
    pub(crate) fn release(&self) {
        self.gate.state.lock().unwrap().holds = false;
        self.gate.opened.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.gate.state.lock().unwrap().ended = true;
        self.release();
        // The listener's thread looks when somebody connects.
        let _ = TcpStream::connect(self.address);
    }
}

/// Carries bytes one way. The gate may hold back each piece that is read; further ones are read and wait
/// behind it, so that the sender notices nothing.
fn carry(mut from: TcpStream, mut to: TcpStream, gate: Option<&Gate>) {
    let (sender, pieces) = std::sync::mpsc::channel::<(Vec<u8>, bool)>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(len) = from.read(&mut buffer)
                && len > 0
            {
                let held = gate.is_some_and(Gate::enter);
                if sender.send((buffer[..len].to_vec(), held)).is_err() {
                    return;
                }
            }
        });
        for (piece, held) in pieces {
            if held {
                gate.iter().for_each(|gate| gate.pass());
                thread::sleep(PACE);
            }
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        // The reader ends too.
        let _ = to.shutdown(Shutdown::Both);
    });
}

impl Gate {
    /// Returns whether a piece has to wait, and counts it.
    fn enter(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.held += usize::from(state.holds);
        state.holds
    }

    /// Waits until the gate is open.
    fn pass(&self) {
        let state = self.state.lock().unwrap();
        let mut state = self.opened.wait_while(state, |state| state.holds).unwrap();
        state.held -= 1;
    }
}
