//! The commands of Redis that this server refuses by name, each with its reason.

/// The reason of every command that would lower a sum.
pub(super) const ONLY_UP: &str = "ERR counters only go up";

/// The reason of every command that would let a topic expire.
pub(super) const NO_EXPIRY: &str = "ERR topics do not expire";

/// Reasons, as error texts, and the names of the commands that they refuse.
const REASONS: &[(&str, &[&str])] = &[
    (ONLY_UP, &["decr", "decrby"]),
    (
        NO_EXPIRY,
        &[
            "expire",
            "expireat",
            "getex",
            "pexpire",
            "pexpireat",
            "psetex",
            "setex",
        ],
    ),
    (
        "ERR not supported: sums are whole numbers",
        &["incrbyfloat"],
    ),
    (
        "ERR not supported: a sum is a number, not text or bits",
        &[
            "append",
            "bitcount",
            "bitfield",
            "bitfield_ro",
            "bitop",
            "bitpos",
            "getbit",
            "getrange",
            "lcs",
            "setbit",
            "setrange",
            "substr",
        ],
    ),
    (
        "ERR not supported: topics cannot be set together in one step; send a SET for each",
        &["mset", "msetnx"],
    ),
    (
        "ERR not supported: a sum cannot be moved or copied to another topic",
        &[
            "copy", "dump", "migrate", "move", "rename", "renamenx", "restore", "sort", "sort_ro",
        ],
    ),
    (
        "ERR not supported: topics are deleted one by one, with DEL",
        &["flushall", "flushdb", "swapdb"],
    ),
    (
        "ERR transactions are not supported: send the command without WATCH",
        &["unwatch", "watch"],
    ),
    (
        "ERR not supported: scripts and functions",
        &[
            "eval",
            "eval_ro",
            "evalsha",
            "evalsha_ro",
            "fcall",
            "fcall_ro",
            "function",
            "script",
        ],
    ),
    (
        "ERR not supported: publish and subscribe",
        &[
            "psubscribe",
            "publish",
            "pubsub",
            "punsubscribe",
            "spublish",
            "ssubscribe",
            "subscribe",
            "sunsubscribe",
            "unsubscribe",
        ],
    ),
    (
        "ERR not supported: replication",
        &[
            "failover",
            "psync",
            "replconf",
            "replicaof",
            "slaveof",
            "sync",
            "waitaof",
        ],
    ),
    (
        "ERR not supported: a server with --data-dir stores topics by itself",
        &["bgrewriteaof", "bgsave", "lastsave", "save"],
    ),
    (
        "ERR not supported: the server is not controlled over this protocol",
        &["acl", "debug", "lolwut", "module", "monitor", "shutdown"],
    ),
    (
        "ERR not supported: the only type is the counter",
        &[
            "blmove",
            "blmpop",
            "blpop",
            "brpop",
            "brpoplpush",
            "bzmpop",
            "bzpopmax",
            "bzpopmin",
            "geoadd",
            "geodist",
            "geohash",
            "geopos",
            "georadius",
            "georadius_ro",
            "georadiusbymember",
            "georadiusbymember_ro",
            "geosearch",
            "geosearchstore",
            "hdel",
            "hexists",
            "hget",
            "hgetall",
            "hincrby",
            "hincrbyfloat",
            "hkeys",
            "hlen",
            "hmget",
            "hmset",
            "hrandfield",
            "hscan",
            "hset",
            "hsetnx",
            "hstrlen",
            "hvals",
            "lindex",
            "linsert",
            "llen",
            "lmove",
            "lmpop",
            "lpop",
            "lpos",
            "lpush",
            "lpushx",
            "lrange",
            "lrem",
            "lset",
            "ltrim",
            "pfadd",
            "pfcount",
            "pfdebug",
            "pfmerge",
            "rpop",
            "rpoplpush",
            "rpush",
            "rpushx",
            "sadd",
            "scard",
            "sdiff",
            "sdiffstore",
            "sinter",
            "sintercard",
            "sinterstore",
            "sismember",
            "smembers",
            "smismember",
            "smove",
            "spop",
            "srandmember",
            "srem",
            "sscan",
            "sunion",
            "sunionstore",
            "xack",
            "xadd",
            "xautoclaim",
            "xclaim",
            "xdel",
            "xgroup",
            "xinfo",
            "xlen",
            "xpending",
            "xrange",
            "xread",
            "xreadgroup",
            "xrevrange",
            "xsetid",
            "xtrim",
            "zadd",
            "zcard",
            "zcount",
            "zdiff",
            "zdiffstore",
            "zincrby",
            "zinter",
            "zintercard",
            "zinterstore",
            "zlexcount",
            "zmpop",
            "zmscore",
            "zpopmax",
            "zpopmin",
            "zrandmember",
            "zrange",
            "zrangebylex",
            "zrangebyscore",
            "zrangestore",
            "zrank",
            "zrem",
            "zremrangebylex",
            "zremrangebyrank",
            "zremrangebyscore",
            "zrevrange",
            "zrevrangebylex",
            "zrevrangebyscore",
            "zrevrank",
            "zscan",
            "zscore",
            "zunion",
            "zunionstore",
        ],
    ),
];

/// The subcommands of CLUSTER with which an administrator of Redis changes a cluster.
const CLUSTER_CHANGES: &[&str] = &[
    "addslots",
    "addslotsrange",
    "bumpepoch",
    "delslots",
    "delslotsrange",
    "failover",
    "flushslots",
    "forget",
    "meet",
    "replicate",
    "reset",
    "saveconfig",
    "set-config-epoch",
    "setslot",
];

/// Returns whether a subcommand of CLUSTER, in capitals or small letters, would change a cluster of
/// Redis.
pub(super) fn changes_cluster(name: &[u8]) -> bool {
    CLUSTER_CHANGES
        .iter()
        .any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// Returns the error text for a command of Redis that is refused by name, in capitals or small
/// letters.
pub(super) fn reason(name: &[u8]) -> Option<&'static str> {
    let refuses = |names: &&[&str]| {
        names
            .iter()
            .any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    };
    REASONS
        .iter()
        .find(|(_, names)| refuses(names))
        .map(|&(reason, _)| reason)
}
