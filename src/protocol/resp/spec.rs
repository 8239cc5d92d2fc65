//! The types of a row of the table of commands: [`Spec`], and the types of its fields.

use std::ops::Range;

/// A command or subcommand. Each has one row of [`COMMANDS`](super::COMMANDS), in the same order.
#[allow(missing_docs)] // named like the commands
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Verb {
    Incr,
    Get,
    IncrBy,
    Set,
    Ping,
    MGet,
    Del,
    Exists,
    Unlink,
    DbSize,
    Scan,
    Type,
    Info,
    Echo,
    Quit,
    Multi,
    Exec,
    Discard,
    SetNx,
    GetSet,
    GetDel,
    Ttl,
    PTtl,
    ExpireTime,
    PExpireTime,
    Persist,
    StrLen,
    Touch,
    Keys,
    RandomKey,
    Hello,
    Auth,
    Select,
    Reset,
    Role,
    Time,
    Wait,
    Client,
    ClientGetName,
    ClientHelp,
    ClientId,
    ClientInfo,
    ClientKill,
    ClientList,
    ClientNoEvict,
    ClientNoTouch,
    ClientReply,
    ClientSetInfo,
    ClientSetName,
    ClientUnpause,
    Command,
    CommandCount,
    CommandDocs,
    CommandGetKeys,
    CommandHelp,
    CommandInfo,
    CommandList,
    Config,
    ConfigGet,
    ConfigHelp,
    Latency,
    LatencyDoctor,
    LatencyGraph,
    LatencyHelp,
    LatencyHistogram,
    LatencyHistory,
    LatencyLatest,
    LatencyReset,
    Memory,
    MemoryHelp,
    MemoryUsage,
    Object,
    ObjectEncoding,
    ObjectFreq,
    ObjectHelp,
    ObjectIdleTime,
    ObjectRefCount,
    SlowLog,
    SlowLogGet,
    SlowLogHelp,
    SlowLogLen,
    SlowLogReset,
    Asking,
    ReadOnly,
    ReadWrite,
    Cluster,
    ClusterCountFailureReports,
    ClusterCountKeysInSlot,
    ClusterGetKeysInSlot,
    ClusterHelp,
    ClusterInfo,
    ClusterKeySlot,
    ClusterLinks,
    ClusterMyId,
    ClusterMyShardId,
    ClusterNodes,
    ClusterReplicas,
    ClusterShards,
    ClusterSlaves,
    ClusterSlots,
}

impl Verb {
    /// Returns the index of its row in [`COMMANDS`](super::COMMANDS).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns whether it is a command that does nothing without one of its subcommands, or
    /// COMMAND.
    #[must_use]
    pub const fn has_subcommands(self) -> bool {
        matches!(
            self,
            Self::Client
                | Self::Cluster
                | Self::Command
                | Self::Config
                | Self::Latency
                | Self::Memory
                | Self::Object
                | Self::SlowLog
        )
    }
}

/// Which arguments of a command are keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keying {
    /// No argument.
    None,
    /// The first argument after the name.
    First,
    /// The first argument after the names of the command and the subcommand.
    Second,
    /// All arguments after the name.
    All,
}

impl Keying {
    /// Returns which of `arguments` arguments are keys, the name of the command being argument 0.
    #[must_use]
    pub const fn range(self, arguments: usize) -> Range<usize> {
        match self {
            Self::None => 0..0,
            Self::First => 1..2,
            Self::Second => 2..3,
            Self::All => 1..arguments,
        }
    }
}

/// The group that COMMAND DOCS sorts a command into.
#[allow(missing_docs)] // named like the groups
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    String,
    Generic,
    Connection,
    Server,
    Transactions,
    Cluster,
}

impl Group {
    /// Returns its name in COMMAND DOCS.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Generic => "generic",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Transactions => "transactions",
            Self::Cluster => "cluster",
        }
    }
}

/// An argument of a command, for COMMAND DOCS and HELP.
#[derive(Debug, Clone, Copy)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// The type of its value, as COMMAND DOCS names it.
    pub kind: &'static str,
    /// The keyword before it, if it has one.
    pub token: Option<&'static str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
}

pub(super) const fn argument(name: &'static str, kind: &'static str) -> Argument {
    Argument {
        name,
        kind,
        token: None,
        optional: false,
        multiple: false,
    }
}

impl Argument {
    pub(super) const fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    pub(super) const fn multiple(self) -> Self {
        Self {
            multiple: true,
            ..self
        }
    }

    pub(super) const fn token(self, token: &'static str) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }
}

/// The description of a command: a row of [`COMMANDS`](super::COMMANDS).
#[derive(Debug)]
pub struct Spec {
    /// The command.
    pub verb: Verb,
    /// Its name in small letters; a subcommand has the name of its command before it: `client|id`.
    pub name: &'static str,
    /// The number of arguments, including the name. If negative, its absolute value is the minimum.
    pub arity: i32,
    /// Which arguments are keys.
    pub keys: Keying,
    /// Its flags in COMMAND's replies.
    pub flags: &'static [&'static str],
    /// Its group in COMMAND DOCS.
    pub group: Group,
    /// One line on what it does.
    pub summary: &'static str,
    /// The first version of Redis that had it.
    pub since: &'static str,
    /// Its arguments, without the name.
    pub arguments: &'static [Argument],
}

impl Spec {
    /// Returns whether it takes this number of arguments, including the names of the command and of
    /// the subcommand.
    #[must_use]
    pub const fn takes(&self, arguments: usize) -> bool {
        match self.arity {
            least @ ..0 => arguments >= least.unsigned_abs() as usize,
            exactly => arguments == exactly as usize,
        }
    }

    /// Returns the part of the name after the command's, if it is a subcommand.
    #[must_use]
    pub fn subcommand_name(&self) -> Option<&'static str> {
        self.name.split_once('|').map(|(_, name)| name)
    }
}

// Each verb has one row, so comparing verbs is enough.
impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.verb == other.verb
    }
}
