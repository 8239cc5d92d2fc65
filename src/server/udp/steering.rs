//! Steering: the kernel computes a classic datagram's owner and gives it to the owner's socket, so
//! that it crosses no cores. Owns the program, in classic BPF, and its test against
//! [`owner`](crate::topic::owner), from whose constants it is built.
//!
//! It is only a hint: whatever arrives anywhere is decoded and taken to its owner. Frames are not
//! steered (a datagram may hold many), nor are runs of datagrams that the kernel coalesced, but for
//! their first.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use libc::sock_filter;
use socket2::Socket;
use thiserror::Error;
use tracing::debug;

use crate::protocol::classic;
use crate::server::net::{sys, udp_group};
use crate::topic::{OWNER_KEY, OWNER_MULTIPLIER, OWNER_WORDS, ShardId, Shards, Topic};

/// How many datagrams a server sends itself before it trusts the program: topics of each length up to
/// beyond the last word that counts, and as many again.
const PROBES: usize = 2 * (4 * OWNER_WORDS + 10);

/// How long a probe may take to arrive. It is there when it is sent; this is for a kernel that loses it.
const PROBE_TIMEOUT: Duration = Duration::from_millis(200);

/// Why datagrams are not steered.
#[derive(Debug, Error)]
pub(crate) enum SteeringError {
    #[error("the kernel does not take the program")]
    Refused(#[source] io::Error),
    #[error("probing it")]
    Probe(#[source] io::Error),
    #[error("a probe of shard {} did not arrive at its socket", .0.number())]
    Astray(ShardId),
}

/// Steers the datagrams of a group of sockets, bound one after another: the `i`-th gets those of shard
/// `i`. Tries it on sockets of its own first, so that no peer's datagram is touched.
///
/// # Errors
///
/// [`SteeringError`]; the kernel goes on to deal datagrams out by the peer's address then.
pub(crate) fn steer(group: &[Socket], shards: Shards) -> Result<(), SteeringError> {
    let Some(first) = group.first() else {
        return Ok(());
    };
    let probing = Probing::new(shards)?;
    for i in 0..PROBES {
        // A number's digits over and over: two of each length.
        let number = format!("{i}");
        let name: String = number.chars().cycle().take(i / 2).collect();
        probing.probe(name.as_bytes())?;
    }
    sys::attach_reuseport_filter(first.as_fd(), &program(shards))
        .map_err(SteeringError::Refused)?;
    debug!("steering classic datagrams to their owners");
    Ok(())
}

/// A steered group of sockets that nobody else knows.
struct Probing {
    group: Vec<UdpSocket>,
    peer: UdpSocket,
    shards: Shards,
}

impl Probing {
    fn new(shards: Shards) -> Result<Self, SteeringError> {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let group = udp_group(anywhere, usize::from(shards.count()));
        let group: Vec<UdpSocket> = group
            .map_err(SteeringError::Probe)?
            .into_iter()
            .map(UdpSocket::from)
            .collect();
        let filter = program(shards);
        let connect = || -> io::Result<UdpSocket> {
            let peer = UdpSocket::bind(anywhere)?;
            peer.connect(group[0].local_addr()?)?;
            for socket in &group {
                socket.set_nonblocking(false)?;
                socket.set_read_timeout(Some(PROBE_TIMEOUT))?;
            }
            Ok(peer)
        };
        let peer = connect().map_err(SteeringError::Probe)?;
        sys::attach_reuseport_filter(group[0].as_fd(), &filter).map_err(SteeringError::Refused)?;
        Ok(Self {
            group,
            peer,
            shards,
        })
    }

    /// Whether a datagram that counts that topic arrives where it should.
    fn probe(&self, name: &[u8]) -> Result<(), SteeringError> {
        let owner = self.shards.owner(Topic::checked_before(name));
        let message = [&[classic::COUNT], name].concat();
        self.peer.send(&message).map_err(SteeringError::Probe)?;
        let mut buffer = [0; 256];
        let arrived = self.group[owner.index()].recv(&mut buffer);
        match arrived {
            Ok(len) if buffer[..len] == message[..len] => Ok(()),
            _ => Err(SteeringError::Astray(owner)),
        }
    }
}

/// The program: [`owner`](crate::topic::owner) of the topic of a classic datagram, as a number of a
/// socket; for any other datagram none, which leaves the choice to the kernel.
///
/// Its offset 0 is the first byte of the datagram, the topic begins at 1. A load beyond the end would
/// end it with socket 0, so each is guarded by the length. While words are taken in, X holds the hash.
fn program(shards: Shards) -> Vec<sock_filter> {
    let mut program = Program::default();
    program.push(LOAD_BYTE, 0);
    program.jump_if_above(u32::from(classic::RESET), "other");
    program.push(LOAD_LEN, 0);
    program.jump_if_below(1 + 4, "short");
    program.push(LOAD_X, OWNER_KEY);
    for word in 0..OWNER_WORDS as u32 {
        let at = 1 + 4 * word;
        if word > 0 {
            program.push(LOAD_LEN, 0);
            program.jump_if_below(at + 4, "last");
        }
        program.push(LOAD_WORD, at);
        program.push(XOR_X, 0);
        program.mix(15);
        program.push(TO_X, 0);
    }

    program.label("last");
    program.push(STORE_X, 0);
    program.push(LOAD_LEN, 0);
    program.push(SUBTRACT, 4);
    program.push(TO_X, 0);
    program.push(LOAD_WORD_AT_X, 0);
    program.push(LOAD_X_STORED, 0);
    program.push(XOR_X, 0);
    program.jump("finish");

    // A topic of under four bytes is its own last word.
    program.label("short");
    program.jump_if_below(1 + 1, "none");
    program.jump_if_below(1 + 2, "one");
    program.jump_if_below(1 + 3, "two");
    program.push(LOAD_BYTE, 3);
    program.push(TO_X, 0);
    program.push(LOAD_HALF, 1);
    program.push(SHIFT_LEFT, 8);
    program.push(OR_X, 0);
    program.jump("short finish");
    program.label("two");
    program.push(LOAD_HALF, 1);
    program.jump("short finish");
    program.label("one");
    program.push(LOAD_BYTE, 1);
    program.jump("short finish");
    program.label("none");
    program.push(LOAD, 0);
    program.label("short finish");
    program.push(XOR, OWNER_KEY);

    program.label("finish");
    program.mix(16);
    program.push(SHIFT_RIGHT, 16);
    program.push(MULTIPLY, u32::from(shards.count()));
    program.push(SHIFT_RIGHT, 16);
    program.push(RETURN_A, 0);

    program.label("other");
    program.push(RETURN, u32::MAX);
    program.finish()
}

// Instructions, as linux/filter.h makes them of class, size, mode and source.
const LOAD: u16 = (libc::BPF_LD | libc::BPF_IMM) as u16;
const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const LOAD_WORD_AT_X: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_IND) as u16;
const LOAD_LEN: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_LEN) as u16;
const LOAD_X: u16 = (libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM) as u16;
const LOAD_X_STORED: u16 = (libc::BPF_LDX | libc::BPF_W | libc::BPF_MEM) as u16;
const STORE_X: u16 = libc::BPF_STX as u16;
const TO_X: u16 = (libc::BPF_MISC | libc::BPF_TAX) as u16;
const XOR: u16 = (libc::BPF_ALU | libc::BPF_XOR | libc::BPF_K) as u16;
const XOR_X: u16 = (libc::BPF_ALU | libc::BPF_XOR | libc::BPF_X) as u16;
const OR_X: u16 = (libc::BPF_ALU | libc::BPF_OR | libc::BPF_X) as u16;
const SUBTRACT: u16 = (libc::BPF_ALU | libc::BPF_SUB | libc::BPF_K) as u16;
const MULTIPLY: u16 = (libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K) as u16;
const SHIFT_LEFT: u16 = (libc::BPF_ALU | libc::BPF_LSH | libc::BPF_K) as u16;
const SHIFT_RIGHT: u16 = (libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const JUMP_ABOVE: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const JUMP_FROM: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// `BPF_RET | BPF_A`.
const RETURN_A: u16 = 0x16;

/// A program in the making: jumps go forward to labels.
#[derive(Default)]
struct Program {
    instructions: Vec<sock_filter>,
    labels: Vec<(&'static str, usize)>,
    jumps: Vec<(usize, &'static str)>,
}

impl Program {
    fn push(&mut self, code: u16, k: u32) {
        self.instructions.push(sock_filter {
            code,
            jt: 0,
            jf: 0,
            k,
        });
    }

    /// Here is where jumps to it go.
    fn label(&mut self, name: &'static str) {
        self.labels.push((name, self.instructions.len()));
    }

    fn jump_with(&mut self, code: u16, k: u32, to: &'static str) {
        self.jumps.push((self.instructions.len(), to));
        self.push(code, k);
    }

    fn jump(&mut self, to: &'static str) {
        self.jump_with(JUMP, 0, to);
    }

    fn jump_if_above(&mut self, k: u32, to: &'static str) {
        self.jump_with(JUMP_ABOVE, k, to);
    }

    fn jump_if_below(&mut self, k: u32, to: &'static str) {
        self.jump_with(JUMP_FROM, k, to);
    }

    /// `h = A * multiplier; A = h ^ (h >> by)`.
    fn mix(&mut self, by: u32) {
        self.push(MULTIPLY, OWNER_MULTIPLIER);
        self.push(TO_X, 0);
        self.push(SHIFT_RIGHT, by);
        self.push(XOR_X, 0);
    }

    /// Fills in the jumps.
    fn finish(mut self) -> Vec<sock_filter> {
        for (at, to) in self.jumps {
            let label = self.labels.iter().find(|(name, _)| *name == to);
            let &(_, target) = label.expect("each jump has its label");
            let distance = target - at - 1;
            let instruction = &mut self.instructions[at];
            match instruction.code {
                JUMP => instruction.k = distance as u32,
                JUMP_ABOVE => instruction.jt = short(distance),
                _ => instruction.jf = short(distance),
            }
        }
        self.instructions
    }
}

/// How far a conditional jump goes.
fn short(distance: usize) -> u8 {
    u8::try_from(distance).expect("a program of under 256 instructions")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's choice is `owner()`, for any topic and number of shards.
    #[test]
    fn the_kernel_chooses_the_owner() {
        let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for count in [2, 3, 4, 5, 8, 16, 33, 64] {
            let shards = Shards::new(count).unwrap();
            let probing = match Probing::new(shards) {
                Ok(probing) => probing,
                Err(error) => {
                    println!("skipped: {error}: {:?}", std::error::Error::source(&error));
                    return;
                }
            };
            for i in 0..100_000 / 8 {
                let len = if i < 200 { i / 2 } else { next() as usize % 90 };
                let name: String = (0..len)
                    .map(|_| char::from(b' ' + (next() % 95) as u8))
                    .collect();
                if let Err(error) = probing.probe(name.as_bytes()) {
                    panic!("{name:?}, {count} shards: {error}");
                }
            }
        }
    }

    #[test]
    fn the_program_is_short_enough_for_the_kernel() {
        const BPF_MAXINSNS: usize = 4_096;
        let program = program(Shards::new(256).unwrap());
        println!("{} instructions", program.len());
        assert!(program.len() < BPF_MAXINSNS);
    }
}
