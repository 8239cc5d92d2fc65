//! The one list of commands: what COMMAND tells of each, and what a command is looked up in.

/// What a command does; each row of [`COMMANDS`] has its own, in the same order.
#[allow(missing_docs)] // their names are the commands'
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
    /// Its place in [`COMMANDS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its row.
    #[must_use]
    pub const fn spec(self) -> &'static Spec {
        &COMMANDS[self.index()]
    }
}

/// Which arguments of a command are keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keying {
    /// None.
    None,
    /// The first after its name.
    First,
    /// All after its name.
    All,
}

/// What a command is about, as COMMAND DOCS sorts them.
#[allow(missing_docs)] // their names are the groups'
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    String,
    Generic,
    Connection,
    Server,
    Transactions,
}

impl Group {
    /// Its name.
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

/// An argument, for those who are shown how to call a command.
#[derive(Debug, Clone, Copy)]
pub struct Argument {
    /// What it is called.
    pub name: &'static str,
    /// Which kind of value it has, in COMMAND DOCS's words.
    pub kind: &'static str,
    /// The word before it, where it has one.
    pub token: Option<&'static str>,
    /// Whether it can be left out.
    pub optional: bool,
    /// Whether there can be several.
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

/// What is known of a command.
#[derive(Debug)]
pub struct Spec {
    /// What it does.
    pub verb: Verb,
    /// Its name, in small letters; a subcommand's has its command's before it, as `client|id`.
    pub name: &'static str,
    /// How many arguments it takes, its name included; at least so many, where negative.
    pub arity: i32,
    /// Which of them are keys.
    pub keys: Keying,
    /// What COMMAND says of it.
    pub flags: &'static [&'static str],
    /// What it is about.
    pub group: Group,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The first version of Redis that had it.
    pub since: &'static str,
    /// Its arguments, its name left out.
    pub arguments: &'static [Argument],
}

impl Spec {
    /// Whether it takes that many arguments, its name and its subcommand's included.
    #[must_use]
    pub const fn takes(&self, arguments: usize) -> bool {
        match self.arity {
            least @ ..0 => arguments >= least.unsigned_abs() as usize,
            exactly => arguments == exactly as usize,
        }
    }

    /// The subcommands of this command.
    pub fn subcommands(&self) -> impl Iterator<Item = &'static Self> {
        let name = self.name;
        COMMANDS
            .iter()
            .filter(move |spec| spec.name.split_once('|').is_some_and(|(of, _)| of == name))
    }

    /// Its own name, where it is a subcommand.
    #[must_use]
    pub fn subcommand_name(&self) -> Option<&'static str> {
        self.name.split_once('|').map(|(_, name)| name)
    }
}

// `&Spec` is compared by its verb.
impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.verb == other.verb
    }
}

const READ: &[&str] = &["readonly", "fast"];
const WRITE: &[&str] = &["write", "denyoom", "fast"];
const REMOVE: &[&str] = &["write"];
const SAID: &[&str] = &["noscript", "loading", "stale", "fast"];
const ASKED: &[&str] = &["noscript", "loading", "stale"];

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

/// Every command, those that are asked for most first.
#[rustfmt::skip] // a row a command
pub const COMMANDS: &[Spec] = &[
    row!(Incr "incr" 2 First WRITE String "1.0.0" "Adds one to a topic and returns its sum." [KEY]),
    row!(Get "get" 2 First READ String "1.0.0" "Returns a topic's sum, without counting." [KEY]),
    row!(IncrBy "incrby" 3 First WRITE String "1.0.0"
        "Adds a number to a topic and returns its sum: the caller owns the last so many numbers."
        [KEY, argument("increment", "integer")]),
    row!(Set "set" -3 First WRITE String "1.0.0"
        "Resets a topic, to 0, or raises its sum; never lowers it."
        [KEY, argument("sum", "integer")]),
    row!(Ping "ping" -1 None SAID Connection "1.0.0" "Answers, with the message if there is one."
        [argument("message", "string").optional()]),
    row!(MGet "mget" -2 All READ String "1.0.0" "Returns the sums of topics." [KEYS]),
    row!(Del "del" -2 All REMOVE Generic "1.0.0" "Deletes topics; they begin anew." [KEYS]),
    row!(Exists "exists" -2 All READ Generic "1.0.0" "Returns how many of the topics exist." [KEYS]),
    row!(Unlink "unlink" -2 All REMOVE Generic "4.0.0" "The same as DEL." [KEYS]),
    row!(DbSize "dbsize" 1 None READ Server "1.0.0" "Returns how many topics there are." []),
    row!(Scan "scan" -2 None READ Generic "2.8.0" "Returns some topics, and where to go on." [
        argument("cursor", "integer"),
        argument("pattern", "pattern").token("MATCH").optional(),
        argument("count", "integer").token("COUNT").optional(),
        argument("type", "string").token("TYPE").optional()
    ]),
    row!(Type "type" 2 First READ Generic "1.0.0" "Returns string where the topic exists, else none." [KEY]),
    row!(Info "info" -1 None ASKED Server "1.0.0" "Returns what the server knows of itself."
        [argument("section", "string").optional().multiple()]),
    row!(Echo "echo" 2 None SAID Connection "1.0.0" "Returns the message." [argument("message", "string")]),
    row!(Quit "quit" -1 None SAID Connection "1.0.0" "Closes the connection." []),
    row!(Multi "multi" 1 None SAID Transactions "1.2.0"
        "Begins a transaction, which is refused: each command in it, and EXEC." []),
    row!(Exec "exec" 1 None SAID Transactions "1.2.0" "Ends a transaction, of which nothing was done." []),
    row!(Discard "discard" 1 None SAID Transactions "2.0.0" "Ends a transaction, of which nothing was done." []),
    row!(Hello "hello" -1 None SAID Connection "6.0.0" "Chooses the protocol's version." [
        argument("protover", "integer").optional(),
        argument("username-password", "string").token("AUTH").optional(),
        argument("clientname", "string").token("SETNAME").optional()
    ]),
    row!(Auth "auth" -2 None SAID Connection "1.0.0" "Says who asks; nobody has to." [
        argument("username", "string").optional(),
        argument("password", "string")
    ]),
    row!(Select "select" 2 None SAID Connection "1.0.0" "Takes database 0: there is no other."
        [argument("index", "integer")]),
    row!(Client "client" -2 None ASKED Connection "2.4.0" "Commands about connections." []),
    row!(ClientGetName "client|getname" 2 None SAID Connection "2.6.9" "Returns the connection's name." []),
    row!(ClientHelp "client|help" 2 None SAID Connection "5.0.0" "Lists the subcommands." []),
    row!(ClientId "client|id" 2 None SAID Connection "5.0.0" "Returns the connection's number." []),
    row!(ClientInfo "client|info" 2 None ASKED Connection "6.2.0" "Describes this connection." []),
    row!(ClientList "client|list" -2 None ASKED Connection "2.4.0"
        "Describes the connections that speak this protocol." [
            argument("client-type", "string").token("TYPE").optional(),
            argument("client-id", "integer").token("ID").optional().multiple()
        ]),
    row!(ClientSetInfo "client|setinfo" 4 None SAID Connection "7.2.0"
        "Says which library, and which version of it, has the connection."
        [argument("attribute", "string"), argument("value", "string")]),
    row!(ClientSetName "client|setname" 3 None SAID Connection "2.6.9" "Names the connection."
        [argument("connection-name", "string")]),
    row!(Command "command" -1 None ASKED Server "2.8.13" "Describes all commands." []),
    row!(CommandCount "command|count" 2 None ASKED Server "2.8.13" "Returns how many commands there are." []),
    row!(CommandDocs "command|docs" -2 None ASKED Server "7.0.0" "Explains commands." [NAME]),
    row!(CommandHelp "command|help" 2 None ASKED Server "5.0.0" "Lists the subcommands." []),
    row!(CommandInfo "command|info" -2 None ASKED Server "2.8.13" "Describes some commands." [NAME]),
    row!(CommandList "command|list" 2 None ASKED Server "7.0.0" "Names all commands." []),
    row!(Config "config" -2 None ASKED Server "2.0.0" "Commands about settings." []),
    row!(ConfigGet "config|get" -3 None ASKED Server "2.0.0" "Returns settings."
        [argument("parameter", "pattern").multiple()]),
    row!(ConfigHelp "config|help" 2 None ASKED Server "5.0.0" "Lists the subcommands." []),
];
