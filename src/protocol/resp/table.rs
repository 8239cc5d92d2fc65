//! The one list of commands: [`COMMANDS`] describes each, for lookup and for COMMAND's replies.

use super::spec::{Argument, Group, Keying, Spec, Verb, argument};

impl Verb {
    /// Returns its row of [`COMMANDS`].
    #[must_use]
    pub const fn spec(self) -> &'static Spec {
        &COMMANDS[self.index()]
    }
}

impl Spec {
    /// Returns the subcommands of this command.
    pub fn subcommands(&self) -> impl Iterator<Item = &'static Self> {
        let name = self.name;
        COMMANDS
            .iter()
            .filter(move |spec| spec.name.split_once('|').is_some_and(|(of, _)| of == name))
    }
}

const KEY: Argument = argument("key", "key");
const KEYS: Argument = KEY.multiple();
const SUM: Argument = argument("sum", "integer");
const ON_OFF: Argument = argument("on|off", "string");
const EVENT: Argument = argument("event", "string");
const NODE: Argument = argument("node-id", "string");
const SLOT: Argument = argument("slot", "integer");
const NAME: Argument = argument("command-name", "string").optional().multiple();

const READ: &[&str] = &["readonly", "fast"];
const WRITE: &[&str] = &["write", "denyoom", "fast"];
/// The flags of fast commands that remove something, and so need no room.
const TAKE: &[&str] = &["write", "fast"];
const REMOVE: &[&str] = &["write"];
/// The flags of commands that search all topics.
const SEARCH: &[&str] = &["readonly"];
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
        [KEY, SUM,
         argument("nx|xx", "string").optional(),
         argument("get", "pure-token").token("GET").optional(),
         argument("keepttl", "pure-token").token("KEEPTTL").optional()]),
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
    row!(SetNx "setnx" 3 First WRITE String "1.0.0" "Sets the sum of a topic that does not exist." [KEY, SUM]),
    row!(GetSet "getset" 3 First WRITE String "1.0.0" "Sets the sum of a topic as SET does, and returns the sum before."
        [KEY, SUM]),
    row!(GetDel "getdel" 2 First TAKE String "6.2.0" "Deletes a topic and returns its sum." [KEY]),
    row!(Ttl "ttl" 2 First READ Generic "1.0.0" "Returns -1 if the topic exists, since topics do not expire, else -2." [KEY]),
    row!(PTtl "pttl" 2 First READ Generic "2.6.0" "The same as TTL." [KEY]),
    row!(ExpireTime "expiretime" 2 First READ Generic "7.0.0" "The same as TTL." [KEY]),
    row!(PExpireTime "pexpiretime" 2 First READ Generic "7.0.0" "The same as TTL." [KEY]),
    row!(Persist "persist" 2 First TAKE Generic "2.2.0" "Returns 0, since topics do not expire." [KEY]),
    row!(StrLen "strlen" 2 First READ String "2.2.0" "Returns the number of digits of a sum, or 0 if the topic does not exist." [KEY]),
    row!(Touch "touch" -2 All READ Generic "3.2.1" "The same as EXISTS." [KEYS]),
    row!(Keys "keys" 2 None SEARCH Generic "1.0.0" "Returns all topics that match a pattern. Prefer SCAN."
        [argument("pattern", "pattern")]),
    row!(RandomKey "randomkey" 1 None SEARCH Generic "1.0.0" "Returns some topic." []),
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
    row!(Reset "reset" 1 None FAST Connection "6.2.0"
        "Resets the connection: RESP2, no name, no transaction, replies on." []),
    row!(Role "role" 1 None FAST Server "2.8.12" "Returns master, and that there are no replicas." []),
    row!(Time "time" 1 None FAST Server "2.6.0" "Returns the server's time: seconds since 1970, and microseconds." []),
    row!(Wait "wait" 3 None SLOW Generic "3.0.0" "Returns 0 at once, since there are no replicas."
        [argument("numreplicas", "integer"), argument("timeout", "integer")]),
    row!(Client "client" -2 None SLOW Connection "2.4.0" "Commands about connections." []),
    row!(ClientGetName "client|getname" 2 None FAST Connection "2.6.9" "Returns the name of this connection." []),
    row!(ClientHelp "client|help" 2 None FAST Connection "5.0.0" "Lists the subcommands." []),
    row!(ClientId "client|id" 2 None FAST Connection "5.0.0" "Returns the id of this connection." []),
    row!(ClientInfo "client|info" 2 None SLOW Connection "6.2.0" "Describes this connection." []),
    row!(ClientKill "client|kill" -3 None SLOW Connection "2.4.0"
        "Closes connections: the one with this address, or all that match the filters." [
            argument("ip:port", "string").optional(),
            argument("client-id", "integer").token("ID").optional(),
            argument("client-type", "string").token("TYPE").optional(),
            argument("username", "string").token("USER").optional(),
            argument("peer-address", "string").token("ADDR").optional(),
            argument("local-address", "string").token("LADDR").optional(),
            argument("yes|no", "string").token("SKIPME").optional(),
            argument("seconds", "integer").token("MAXAGE").optional()
        ]),
    row!(ClientList "client|list" -2 None SLOW Connection "2.4.0"
        "Describes the connections that use this protocol." [
            argument("client-type", "string").token("TYPE").optional(),
            argument("client-id", "integer").token("ID").optional().multiple()
        ]),
    row!(ClientNoEvict "client|no-evict" 3 None SLOW Connection "7.0.0" "Accepted: no client is evicted anyway." [ON_OFF]),
    row!(ClientNoTouch "client|no-touch" 3 None SLOW Connection "7.2.0" "Accepted: nothing depends on when a topic was last used." [ON_OFF]),
    row!(ClientReply "client|reply" 3 None FAST Connection "3.2.0"
        "Sends no more replies on this connection, or none to the next command, or all again."
        [argument("on|off|skip", "string")]),
    row!(ClientSetInfo "client|setinfo" 4 None FAST Connection "7.2.0"
        "Sets the name or version of the client library of this connection."
        [argument("attribute", "string"), argument("value", "string")]),
    row!(ClientSetName "client|setname" 3 None FAST Connection "2.6.9" "Sets the name of this connection."
        [argument("connection-name", "string")]),
    row!(ClientUnpause "client|unpause" 2 None SLOW Connection "6.2.0" "Accepted: clients are never paused." []),
    row!(Command "command" -1 None SLOW Server "2.8.13" "Describes all commands." []),
    row!(CommandCount "command|count" 2 None SLOW Server "2.8.13" "Returns the number of commands." []),
    row!(CommandDocs "command|docs" -2 None SLOW Server "7.0.0" "Returns documentation for commands." [NAME]),
    row!(CommandGetKeys "command|getkeys" -4 None SLOW Server "2.8.13" "Returns the keys among the arguments of a command."
        [argument("command", "string"), argument("arg", "string").multiple()]),
    row!(CommandHelp "command|help" 2 None SLOW Server "5.0.0" "Lists the subcommands." []),
    row!(CommandInfo "command|info" -2 None SLOW Server "2.8.13" "Describes the given commands, or all." [NAME]),
    row!(CommandList "command|list" 2 None SLOW Server "7.0.0" "Lists the names of all commands." []),
    row!(Config "config" -2 None SLOW Server "2.0.0" "Commands about settings." []),
    row!(ConfigGet "config|get" -3 None SLOW Server "2.0.0" "Returns settings."
        [argument("parameter", "pattern").multiple()]),
    row!(ConfigHelp "config|help" 2 None SLOW Server "5.0.0" "Lists the subcommands." []),
    row!(Latency "latency" -2 None SLOW Server "2.8.13" "Commands about slow events, which are not recorded." []),
    row!(LatencyDoctor "latency|doctor" 2 None SLOW Server "2.8.13" "Returns where to look for latencies." []),
    row!(LatencyGraph "latency|graph" 3 None SLOW Server "2.8.13" "Refused: there are no samples of any event." [EVENT]),
    row!(LatencyHelp "latency|help" 2 None SLOW Server "2.8.13" "Lists the subcommands." []),
    row!(LatencyHistogram "latency|histogram" -2 None SLOW Server "7.0.0" "Returns an empty map." [NAME]),
    row!(LatencyHistory "latency|history" 3 None SLOW Server "2.8.13" "Returns an empty list." [EVENT]),
    row!(LatencyLatest "latency|latest" 2 None SLOW Server "2.8.13" "Returns an empty list." []),
    row!(LatencyReset "latency|reset" -2 None SLOW Server "2.8.13" "Returns 0." [EVENT.optional().multiple()]),
    row!(Memory "memory" -2 None SLOW Server "4.0.0" "Commands about memory." []),
    row!(MemoryHelp "memory|help" 2 None SLOW Server "4.0.0" "Lists the subcommands." []),
    row!(MemoryUsage "memory|usage" -3 Second READ Server "4.0.0" "Returns about how many bytes of memory a topic takes."
        [KEY, argument("count", "integer").token("SAMPLES").optional()]),
    row!(Object "object" -2 None SLOW Generic "2.2.3" "Commands about how topics are stored." []),
    row!(ObjectEncoding "object|encoding" 3 Second READ Generic "2.2.3" "Returns int if the topic exists." [KEY]),
    row!(ObjectFreq "object|freq" 3 Second READ Generic "4.0.0" "Refused: how often a topic is used is not recorded." [KEY]),
    row!(ObjectHelp "object|help" 2 None SLOW Generic "6.2.0" "Lists the subcommands." []),
    row!(ObjectIdleTime "object|idletime" 3 Second READ Generic "2.2.3"
        "Returns 0 if the topic exists: when it was last used is not recorded." [KEY]),
    row!(ObjectRefCount "object|refcount" 3 Second READ Generic "2.2.3" "Returns 1 if the topic exists." [KEY]),
    row!(SlowLog "slowlog" -2 None SLOW Server "2.2.12" "Commands about slow commands, which are not recorded." []),
    row!(SlowLogGet "slowlog|get" -2 None SLOW Server "2.2.12" "Returns an empty list."
        [argument("count", "integer").optional()]),
    row!(SlowLogHelp "slowlog|help" 2 None SLOW Server "6.2.0" "Lists the subcommands." []),
    row!(SlowLogLen "slowlog|len" 2 None SLOW Server "2.2.12" "Returns 0." []),
    row!(SlowLogReset "slowlog|reset" 2 None SLOW Server "2.2.12" "Accepted: there is nothing to reset." []),
    row!(Asking "asking" 1 None FAST Cluster "3.0.0" "Accepted: no node redirects with ASK." []),
    row!(ReadOnly "readonly" 1 None FAST Cluster "3.0.0"
        "Accepted: there are no replicas. The connection gets redirects from now on." []),
    row!(ReadWrite "readwrite" 1 None FAST Cluster "3.0.0" "Accepted: there are no replicas." []),
    row!(Cluster "cluster" -2 None SLOW Cluster "3.0.0" "Commands about the nodes of a cluster." []),
    row!(ClusterCountFailureReports "cluster|count-failure-reports" 3 None SLOW Cluster "3.0.0"
        "Returns 0: nodes do not report each other." [NODE]),
    row!(ClusterCountKeysInSlot "cluster|countkeysinslot" 3 None SLOW Cluster "3.0.0"
        "Returns the number of topics of a slot at this node." [SLOT]),
    row!(ClusterGetKeysInSlot "cluster|getkeysinslot" 4 None SLOW Cluster "3.0.0"
        "Returns some topics of a slot at this node." [SLOT, argument("count", "integer")]),
    row!(ClusterHelp "cluster|help" 2 None SLOW Cluster "5.0.0" "Lists the subcommands." []),
    row!(ClusterInfo "cluster|info" 2 None SLOW Cluster "3.0.0" "Returns how many slots have an owner." []),
    row!(ClusterKeySlot "cluster|keyslot" 3 None SLOW Cluster "3.0.0" "Returns the slot of a topic."
        [argument("key", "string")]),
    row!(ClusterLinks "cluster|links" 2 None SLOW Cluster "7.0.0" "Returns an empty list: there is no cluster bus." []),
    row!(ClusterMyId "cluster|myid" 2 None SLOW Cluster "3.0.0" "Returns the id of this node." []),
    row!(ClusterMyShardId "cluster|myshardid" 2 None SLOW Cluster "7.2.0"
        "Returns the id of this node's shard: the node alone." []),
    row!(ClusterNodes "cluster|nodes" 2 None SLOW Cluster "3.0.0"
        "Describes the nodes and their slots. The connection gets redirects from now on." []),
    row!(ClusterReplicas "cluster|replicas" 3 None SLOW Cluster "5.0.0" "Returns an empty list: there are no replicas." [NODE]),
    row!(ClusterShards "cluster|shards" 2 None SLOW Cluster "7.0.0"
        "Returns the slots of each node. The connection gets redirects from now on." []),
    row!(ClusterSlaves "cluster|slaves" 3 None SLOW Cluster "3.0.0" "The same as CLUSTER REPLICAS." [NODE]),
    row!(ClusterSlots "cluster|slots" 2 None SLOW Cluster "3.0.0"
        "Returns which node owns which slots. The connection gets redirects from now on." []),
];
