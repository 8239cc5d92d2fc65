//! The one list of commands: [`COMMANDS`] describes each, for lookup and for COMMAND's replies.

/// A command or subcommand. Each has one row of [`COMMANDS`], in the same order.
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
    Hello,
    Auth,
    Select,
    Client,
    ClientGetName,
    ClientHelp,
    ClientId,
    ClientInfo,
    ClientList,
    ClientSetInfo,
    ClientSetName,
    Command,
    CommandCount,
    CommandDocs,
    CommandHelp,
    CommandInfo,
    CommandList,
    Config,
    ConfigGet,
    ConfigHelp,
}

impl Verb {
    /// Returns the index of its row in [`COMMANDS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns its row of [`COMMANDS`].
    #[must_use]
    pub const fn spec(self) -> &'static Spec {
        &COMMANDS[self.index()]
    }
}

/// Which arguments of a command are keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keying {
    /// No argument.
    None,
    /// The first argument after the name.
    First,
    /// All arguments after the name.
    All,
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

const fn argument(name: &'static str, kind: &'static str) -> Argument {
    Argument {
        name,
        kind,
        token: None,
        optional: false,
        multiple: false,
    }
}

impl Argument {
    const fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    const fn multiple(self) -> Self {
        Self {
            multiple: true,
            ..self
        }
    }

    const fn token(self, token: &'static str) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }
}

const KEY: Argument = argument("key", "key");
const KEYS: Argument = KEY.multiple();
const NAME: Argument = argument("command-name", "string").optional().multiple();

/// The description of a command: a row of [`COMMANDS`].
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

    /// Returns the subcommands of this command.
    pub fn subcommands(&self) -> impl Iterator<Item = &'static Self> {
        let name = self.name;
        COMMANDS
            .iter()
            .filter(move |spec| spec.name.split_once('|').is_some_and(|(of, _)| of == name))
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

const READ: &[&str] = &["readonly", "fast"];
const WRITE: &[&str] = &["write", "denyoom", "fast"];
const REMOVE: &[&str] = &["write"];
/// The flags of fast commands without keys.
const FAST: &[&str] = &["noscript", "loading", "stale", "fast"];
/// The flags of other commands without keys.
const SLOW: &[&str] = &["noscript", "loading", "stale"];

macro_rules! row {
    ($verb:ident $name:literal $arity:literal $keys:ident $flags:ident $group:ident $since:literal
     $summary:literal [$($argument:expr),*]) => {
        Spec {
            verb: Verb::$verb,
            name: $name,
            arity: $arity,
            keys: Keying::$keys,
            flags: $flags,
            group: Group::$group,
            summary: $summary,
            since: $since,
            arguments: &[$($argument),*],
        }
    };
}

/// All commands, the most frequent first.
#[rustfmt::skip] // one line a row
pub const COMMANDS: &[Spec] = &[
    row!(Incr "incr" 2 First WRITE String "1.0.0" "Adds one to a topic and returns its sum." [KEY]),
    row!(Get "get" 2 First READ String "1.0.0" "Returns the sum of a topic without counting." [KEY]),
    row!(IncrBy "incrby" 3 First WRITE String "1.0.0"
        "Adds an increment n to a topic and returns its sum: the caller owns the last n numbers."
        [KEY, argument("increment", "integer")]),
    row!(Set "set" -3 First WRITE String "1.0.0"
        "Resets a topic if the sum is 0, else raises the topic to the sum; never lowers it."
        [KEY, argument("sum", "integer")]),
    row!(Ping "ping" -1 None FAST Connection "1.0.0" "Returns PONG, or the message if one is given."
        [argument("message", "string").optional()]),
    row!(MGet "mget" -2 All READ String "1.0.0" "Returns the sums of topics." [KEYS]),
    row!(Del "del" -2 All REMOVE Generic "1.0.0" "Deletes topics; the next count of each starts at 1." [KEYS]),
    row!(Exists "exists" -2 All READ Generic "1.0.0" "Returns how many of the given topics exist." [KEYS]),
    row!(Unlink "unlink" -2 All REMOVE Generic "4.0.0" "The same as DEL." [KEYS]),
    row!(DbSize "dbsize" 1 None READ Server "1.0.0" "Returns the number of topics." []),
    row!(Scan "scan" -2 None READ Generic "2.8.0" "Returns some topics and the cursor for the next call." [
        argument("cursor", "integer"),
        argument("pattern", "pattern").token("MATCH").optional(),
        argument("count", "integer").token("COUNT").optional(),
        argument("type", "string").token("TYPE").optional()
    ]),
    row!(Type "type" 2 First READ Generic "1.0.0" "Returns string if the topic exists, else none." [KEY]),
    row!(Info "info" -1 None SLOW Server "1.0.0" "Returns information and statistics about the server."
        [argument("section", "string").optional().multiple()]),
    row!(Echo "echo" 2 None FAST Connection "1.0.0" "Returns the message." [argument("message", "string")]),
    row!(Quit "quit" -1 None FAST Connection "1.0.0" "Closes the connection." []),
    row!(Multi "multi" 1 None FAST Transactions "1.2.0"
        "Starts a transaction. Transactions are not supported: its commands and EXEC are refused." []),
    row!(Exec "exec" 1 None FAST Transactions "1.2.0" "Ends a transaction with an error; none of its commands was applied." []),
    row!(Discard "discard" 1 None FAST Transactions "2.0.0" "Ends a transaction; none of its commands was applied." []),
    row!(Hello "hello" -1 None FAST Connection "6.0.0" "Selects the version of the protocol." [
        argument("protover", "integer").optional(),
        argument("username-password", "string").token("AUTH").optional(),
        argument("clientname", "string").token("SETNAME").optional()
    ]),
    row!(Auth "auth" -2 None FAST Connection "1.0.0" "Authenticates the connection: optional, since no password is configured." [
        argument("username", "string").optional(),
        argument("password", "string")
    ]),
    row!(Select "select" 2 None FAST Connection "1.0.0" "Selects a database; only database 0 exists."
        [argument("index", "integer")]),
    row!(Client "client" -2 None SLOW Connection "2.4.0" "Commands about connections." []),
    row!(ClientGetName "client|getname" 2 None FAST Connection "2.6.9" "Returns the name of this connection." []),
    row!(ClientHelp "client|help" 2 None FAST Connection "5.0.0" "Lists the subcommands." []),
    row!(ClientId "client|id" 2 None FAST Connection "5.0.0" "Returns the id of this connection." []),
    row!(ClientInfo "client|info" 2 None SLOW Connection "6.2.0" "Describes this connection." []),
    row!(ClientList "client|list" -2 None SLOW Connection "2.4.0"
        "Describes the connections that use this protocol." [
            argument("client-type", "string").token("TYPE").optional(),
            argument("client-id", "integer").token("ID").optional().multiple()
        ]),
    row!(ClientSetInfo "client|setinfo" 4 None FAST Connection "7.2.0"
        "Sets the name or version of the client library of this connection."
        [argument("attribute", "string"), argument("value", "string")]),
    row!(ClientSetName "client|setname" 3 None FAST Connection "2.6.9" "Sets the name of this connection."
        [argument("connection-name", "string")]),
    row!(Command "command" -1 None SLOW Server "2.8.13" "Describes all commands." []),
    row!(CommandCount "command|count" 2 None SLOW Server "2.8.13" "Returns the number of commands." []),
    row!(CommandDocs "command|docs" -2 None SLOW Server "7.0.0" "Returns documentation for commands." [NAME]),
    row!(CommandHelp "command|help" 2 None SLOW Server "5.0.0" "Lists the subcommands." []),
    row!(CommandInfo "command|info" -2 None SLOW Server "2.8.13" "Describes the given commands, or all." [NAME]),
    row!(CommandList "command|list" 2 None SLOW Server "7.0.0" "Lists the names of all commands." []),
    row!(Config "config" -2 None SLOW Server "2.0.0" "Commands about settings." []),
    row!(ConfigGet "config|get" -3 None SLOW Server "2.0.0" "Returns settings."
        [argument("parameter", "pattern").multiple()]),
    row!(ConfigHelp "config|help" 2 None SLOW Server "5.0.0" "Lists the subcommands." []),
];
