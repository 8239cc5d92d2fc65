//! The steering program, in classic BPF: the owner of a classic datagram's topic, computed by the
//! kernel as [`owner`](crate::topic::owner) computes it, from the same constants.

use libc::sock_filter;

use crate::protocol::classic;
use crate::topic::{OWNER_KEY, OWNER_MULTIPLIER, OWNER_WORDS, Shards};

/// Returns the program for a server with these shards. For a classic datagram it returns the number
/// of the owner's socket. For any other datagram it returns no valid number, which leaves the
/// choice to the kernel.
///
/// Offset 0 is the first byte of the datagram, so the topic begins at offset 1. A load beyond the
/// end of the datagram would end the program with 0, the number of a socket; so the program checks
/// the length before each load. While the words are hashed, register X holds the hash.
pub(super) fn program(shards: Shards) -> Vec<sock_filter> {
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

    // A topic of fewer than four bytes is its own last word.
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

/// Returns a program that leaves the choice to the kernel for every datagram.
pub(super) fn leave_to_kernel() -> Vec<sock_filter> {
    let mut program = Program::default();
    program.push(RETURN, u32::MAX);
    program.finish()
}

// Instruction codes, composed of class, size, mode and source as in linux/filter.h.
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

/// A program under construction. Jumps go forward to labels.
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

    /// Defines the target of jumps to `name`.
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

    /// Appends `h = A * multiplier; A = h ^ (h >> by)`.
    fn mix(&mut self, by: u32) {
        self.push(MULTIPLY, OWNER_MULTIPLIER);
        self.push(TO_X, 0);
        self.push(SHIFT_RIGHT, by);
        self.push(XOR_X, 0);
    }

    /// Fills in the distances of the jumps.
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

/// Converts the distance of a conditional jump.
fn short(distance: usize) -> u8 {
    u8::try_from(distance).expect("a program of under 256 instructions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_short_enough_for_the_kernel() {
        const BPF_MAXINSNS: usize = 4_096;
        let program = program(Shards::new(256).unwrap());
        println!("{} instructions", program.len());
        assert!(program.len() < BPF_MAXINSNS);
    }
}
