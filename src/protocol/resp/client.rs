//! The options of CLIENT's subcommands, and checks of the names that a client gives itself.

use std::fmt;
use std::net::SocketAddr;

use super::{Arguments, Refusal, number};

/// The longest name of a client or its library, in bytes. It is limited because the server stores
/// it.
const MAX_CLIENT_NAME: usize = 256;

/// The clients that CLIENT LIST lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFilter {
    /// All clients.
    All,
    /// The clients whose ids are the arguments from 3 on.
    Some,
    /// No client: Redis has clients of the given type, this server has not.
    None,
}

/// CLIENT KILL: which clients to disconnect. A client has to match all filters that are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// The id.
    pub id: Option<u64>,
    /// The address of the client.
    pub peer: Option<SocketAddr>,
    /// The address of the server that the client connected to.
    pub local: Option<SocketAddr>,
    /// The least age of the connection, in seconds.
    pub min_age: Option<u64>,
    /// The argument that is the name of the user.
    pub user_at: Option<u16>,
    /// Whether no client can match, because of a type or an address that no client here has.
    pub nobody: bool,
    /// Whether to spare the client that sent the command.
    pub skip_self: bool,
    /// How to reply: OK, or an error if there is no such client. If not, the reply is the number of
    /// clients. True for the old form, CLIENT KILL with only an address.
    pub replies_ok: bool,
}

/// CLIENT REPLY: which replies a connection gets from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replies {
    /// All, beginning with the one to this command.
    On,
    /// None, not even to this command.
    Off,
    /// Not the replies to this command and the next.
    Skip,
}

/// Interprets CLIENT LIST.
pub(super) fn read_list<'a>(
    arguments: &Arguments,
    bytes: &'a [u8],
) -> Result<ClientFilter, Refusal<'a>> {
    let at = |i: usize| arguments.at(i, bytes);
    let option = match arguments.len() {
        2 => return Ok(ClientFilter::All),
        3 => return Err(Refusal::Syntax),
        _ => at(2).to_ascii_uppercase(),
    };
    match (option.as_slice(), arguments.len()) {
        (b"TYPE", 4) => match is_normal(at(3))? {
            true => Ok(ClientFilter::All),
            false => Ok(ClientFilter::None),
        },
        (b"ID", len) if (3..len).all(|i| number(at(i)).is_some()) => Ok(ClientFilter::Some),
        (b"ID", _) => Err(Refusal::ClientId),
        _ => Err(Refusal::Syntax),
    }
}

/// Interprets CLIENT KILL.
pub(super) fn read_kill<'a>(arguments: &Arguments, bytes: &'a [u8]) -> Result<Kill, Refusal<'a>> {
    let at = |i: usize| arguments.at(i, bytes);
    let mut kill = Kill {
        id: None,
        peer: None,
        local: None,
        min_age: None,
        user_at: None,
        nobody: false,
        skip_self: true,
        replies_ok: false,
    };
    if arguments.len() == 3 {
        kill.peer = address(at(2), &mut kill.nobody);
        kill.skip_self = false;
        kill.replies_ok = true;
        return Ok(kill);
    }
    if arguments.len() % 2 == 1 {
        return Err(Refusal::Syntax);
    }
    for i in (2..arguments.len()).step_by(2) {
        let value = at(i + 1);
        match at(i).to_ascii_uppercase().as_slice() {
            b"ID" => match number(value) {
                None | Some(0) => return Err(Refusal::KillId),
                id => kill.id = id,
            },
            b"TYPE" => kill.nobody |= !is_normal(value)?,
            b"ADDR" => kill.peer = address(value, &mut kill.nobody),
            b"LADDR" => kill.local = address(value, &mut kill.nobody),
            b"USER" => match u16::try_from(i + 1) {
                Ok(at) => kill.user_at = Some(at),
                Err(_) => return Err(Refusal::Syntax),
            },
            b"SKIPME" => {
                kill.skip_self = match value.to_ascii_lowercase().as_slice() {
                    b"yes" => true,
                    b"no" => false,
                    _ => return Err(Refusal::Syntax),
                };
            }
            b"MAXAGE" => match number(value) {
                None | Some(0) => return Err(Refusal::KillAge),
                age => kill.min_age = age,
            },
            _ => return Err(Refusal::Syntax),
        }
    }
    Ok(kill)
}

/// Parses an address; no client has one that is not an address.
fn address(text: &[u8], nobody: &mut bool) -> Option<SocketAddr> {
    let address = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok());
    *nobody |= address.is_none();
    address
}

/// Returns whether a client type is the one that all clients of this server have.
fn is_normal(kind: &[u8]) -> Result<bool, Refusal<'_>> {
    match kind.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(true),
        b"master" | b"replica" | b"slave" | b"pubsub" => Ok(false),
        _ => Err(Refusal::ClientType(kind)),
    }
}

/// Interprets the argument of CLIENT REPLY.
pub(super) fn read_replies(mode: &[u8]) -> Result<Replies, Refusal<'static>> {
    match mode.to_ascii_lowercase().as_slice() {
        b"on" => Ok(Replies::On),
        b"off" => Ok(Replies::Off),
        b"skip" => Ok(Replies::Skip),
        _ => Err(Refusal::Syntax),
    }
}

/// Checks an argument that has to be ON or OFF.
pub(super) fn check_switch(state: &[u8]) -> Result<(), Refusal<'static>> {
    match state.to_ascii_lowercase().as_slice() {
        b"on" | b"off" => Ok(()),
        _ => Err(Refusal::Syntax),
    }
}

/// AUTH, or the AUTH of HELLO.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// The user; `None` if only a password was sent.
    pub user: Option<&'a [u8]>,
    /// The password or the token.
    pub password: &'a [u8],
}

/// Does not show the password, nor the user, in whose place a password may stand.
impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth(…)")
    }
}

impl Auth<'_> {
    /// Checks the user of a server where no token is configured. The user `default` may send any
    /// password then, as in Redis.
    ///
    /// # Errors
    ///
    /// Returns the [`Refusal`] that Redis sends without passwords.
    pub fn without_tokens(&self) -> Result<(), Refusal<'static>> {
        match self.user {
            Some(b"default") => Ok(()),
            Some(_) => Err(Refusal::WrongPassword),
            None => Err(Refusal::NoPassword),
        }
    }
}

/// Checks that CLIENT LIST can print a word: printable ASCII without spaces.
pub(super) fn client_word(word: &[u8]) -> Result<&str, Refusal<'_>> {
    match std::str::from_utf8(word) {
        Ok(word)
            if word.len() <= MAX_CLIENT_NAME
                && word.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(word)
        }
        _ => Err(Refusal::ClientName),
    }
}
