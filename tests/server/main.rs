//! The server, tested from outside. Most tests embed it; those that need a process of its own start
//! the real binary. All use ports that the system chooses.
//!
//! - `classic`: clients of the original kind, which speak the classic dialect
//! - `order`: sums are 1 to n and in real-time order, under load
//! - `frames`: the framed dialect: every method, test vectors, pipelines, datagrams of many frames,
//!   HELLO
//! - `bad_input`: every error of the protocol over each transport; random bytes
//! - `peers`: thousands of connections; idle, slow and disappearing peers
//! - `limits`: each limit on connections is reached once
//! - `floods`: thousands of peers that each use as much as they can; the long ones run with `--ignored`
//! - `moving`: connections that move to another worker
//! - `node_settings`: the settings of a node of a cluster
//! - `nodes`: connections of other nodes of a cluster
//! - `forwards`: requests for topics of other nodes
//! - `tls`: TLS: both versions, records cut anywhere, slow peers, moves, client certificates, ends
//! - `tls_client`: the library's clients and the command over TLS
//! - `tls_files`: certificates in files: mistakes in them, and their replacement in a running server
//! - `tls_offer`: every version, cipher suite, group and signature scheme is tried
//! - `tls_programs`: redis-cli, openssl and Python's redis package over TLS
//! - `lifecycle`: binding, stopping, signals, CPU use of an idle server
//! - `client`: the library's clients, also against servers that fail
//! - `cluster_client`: the library's clients of a cluster, against two nodes
//! - `command`: the command line
//! - `configuration`: defaults, file, environment and flags; `--check`; the documentation of the keys
//! - `reload`: SIGHUP
//! - `logging`: log lines that peers can provoke
//! - `manual`: manual pages and completion scripts
//! - `redis_clients`: existing Redis clients, unchanged
//! - `redis_cluster`: commands of Redis Cluster, and its clients, unchanged
//! - `access`: rights, tokens, passwords and address ranges
//! - `resp`: the Redis protocol, byte for byte
//! - `resp_model`: the Redis protocol, compared with a model
//! - `resp_set`: SET with conditions, GETDEL and what clients ask about topics
//! - `resp_clients`: CLIENT KILL, CLIENT REPLY and RESET
//! - `scan`: SCAN over the wire
//! - `keys`: KEYS and RANDOMKEY over the wire
//! - `steering`: the kernel delivers classic datagrams to the owners of their topics
//! - `admin`: metrics and health over HTTP
//! - `admin_tls`: the admin port over TLS
//! - `page`: the page of the admin port, in a browser
//! - `watch`: `stats` and `top`
//! - `demo`: a server with a load in one process
//! - `monitoring`: the dashboard and the alerts
//! - `activation`: sockets that outlive the server; restarts refuse and lose nothing
//! - `notifications`: what systemd is told
//! - `operations`: docs/operations.md explains each warning and error
//! - `rates`: requests a second, topics of a token, datagrams a turn, errors to a source of datagrams
//! - `files`: permissions of files
//! - `secrets`: no output has a token, a password, a digest or a key
//! - `token_floods`: floods of wrong tokens and of new topics, beside a client that behaves
//! - `startup`: warnings about limits of the machine
//! - `stopping`: a stop serves the connections that the kernel has accepted
//! - `durable`: topics survive restarts and kills of the real binary
//! - `data`: a data directory is checked and backed up
//! - `stores`: slow and failing stores
//! - `disks`: full and read-only disks
//! - `readme`: the README's examples and flags

#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod activation;
mod admin;
mod admin_tls;
mod bad_input;
mod classic;
mod client;
mod cluster_client;
mod command;
mod configuration;
mod data;
mod demo;
mod disks;
mod durable;
mod files;
mod floods;
mod forwards;
mod frames;
mod keys;
mod lifecycle;
mod limits;
mod logging;
mod manual;
mod monitoring;
mod moving;
mod node_settings;
mod nodes;
mod notifications;
mod operations;
mod order;
mod page;
mod peers;
mod rates;
mod readme;
mod redis_clients;
mod redis_cluster;
mod reload;
mod resp;
mod resp_clients;
mod resp_model;
mod resp_set;
mod scan;
mod secrets;
mod startup;
mod steering;
mod stopping;
mod stores;
mod tls;
mod tls_client;
mod tls_files;
mod tls_offer;
mod tls_programs;
mod token_floods;
mod watch;

#[path = "../support/mod.rs"]
mod support;
