//! Networks: each process has one of its own where the test may make it, with a link for each kind of
//! peer, so that they can be cut one by one.
//!
//! The test's own thread is in a network with three bridges. Each network lives as long as a process in
//! it, or as a holder whose input is a pipe from the test: when the test ends, however it ends, the
//! networks go with it. Nothing has a name outside.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

/// How many nodes, and members of etcd, a cluster has.
pub(crate) const SIZE: usize = 3;

/// The ports of nodes, and of members of etcd for clients and for each other, in networks of their own.
const NODE_PORT: u16 = 9999;
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// The third byte of the addresses on each bridge.
const NODES: u8 = 0;
const ETCD: u8 = 1;
const PEERS: u8 = 2;
const CLIENTS: u8 = 3;

/// The last byte of the test's own addresses.
const TEST: u8 = 254;

/// A link that can be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Of a node to etcd.
    Etcd(usize),
    /// Of a node to the other nodes.
    Peers(usize),
    /// Of a node to its clients.
    Clients(usize),
    /// Of a member of etcd to everybody.
    Member(usize),
}

/// The networks of a cluster.
pub(crate) enum Network {
    /// Each process has its own: nodes, then members.
    Separate { holders: Vec<Holder>, left: File },
    /// All share loopback.
    Shared(Vec<Ports>),
}

/// The ports of a node and of a member, where all share loopback.
pub(crate) struct Ports {
    node: u16,
    /// Of the member for clients and for the other members.
    clients: u16,
    peers: u16,
}

/// Keeps a network while no process runs in it. Dropping it ends the holder.
pub(crate) struct Holder(Child);

impl Network {
    /// Makes networks for a cluster. The calling thread, and those that it starts from now on, are in one
    /// of them.
    pub(crate) fn new() -> Self {
        // The thread returns to this one.
        let left = File::open("/proc/thread-self/ns/net");
        if let Ok(left) = left
            && unshare(CloneFlags::CLONE_NEWNET).is_ok()
        {
            return Self::separate(left);
        }
        println!("no network namespaces: faults that need links of their own are left out");
        let ports = (0..SIZE).map(|_| Ports {
            node: free_port(),
            clients: free_port(),
            peers: free_port(),
        });
        Self::Shared(ports.collect())
    }

    fn separate(left: File) -> Self {
        let mut script = "link set lo up\n".to_owned();
        for (bridge, byte) in [("etcd", ETCD), ("peers", PEERS), ("clients", CLIENTS)] {
            script += &format!("link add name {bridge} type bridge\nlink set {bridge} up\n");
            script += &format!("addr add {}/24 dev {bridge}\n", address(byte, TEST));
        }
        let holders: Vec<Holder> = (0..2 * SIZE).map(|_| Holder::start()).collect();
        for (at, holder) in holders.iter().enumerate() {
            let process = holder.0.id();
            for link in links(at) {
                let (name, bridge) = (link.name(), link.bridge());
                script += &format!(
                    "link add name {name} type veth peer name {bridge} netns {process}\n\
                     link set {name} master {bridge} up\n"
                );
            }
        }
        for node in 0..SIZE {
            let via = address(CLIENTS, host(node));
            script += &format!("route add {}/32 via {via}\n", address(NODES, host(node)));
        }
        configure(Command::new("ip"), &script);
        for (at, holder) in holders.iter().enumerate() {
            let mut script = "link set lo up\n".to_owned();
            for link in links(at) {
                let bridge = link.bridge();
                script += &format!(
                    "addr add {}/24 dev {bridge}\nlink set {bridge} up\n",
                    address(link.byte(), host(at))
                );
            }
            if at < SIZE {
                script += &format!("addr add {}/32 dev lo\n", address(NODES, host(at)));
                for other in (0..SIZE).filter(|&other| other != at) {
                    let (node, via) = (address(NODES, host(other)), address(PEERS, host(other)));
                    script += &format!("route add {node}/32 via {via}\n");
                }
            }
            let mut command = Command::new("nsenter");
            command.arg(holder.namespace()).arg("ip");
            configure(command, &script);
        }
        Self::Separate { holders, left }
    }

    /// Returns whether links can be cut.
    pub(crate) fn has_links(&self) -> bool {
        matches!(self, Self::Separate { .. })
    }

    /// Returns the address at which a node is to listen, for TCP and for UDP.
    pub(crate) fn node(&self, node: usize) -> SocketAddr {
        match self {
            Self::Separate { .. } => (address(NODES, host(node)), NODE_PORT).into(),
            Self::Shared(ports) => (Ipv4Addr::LOCALHOST, ports[node].node).into(),
        }
    }

    /// Returns the addresses of a member of etcd, for clients and for the other members.
    pub(crate) fn member(&self, member: usize) -> (SocketAddr, SocketAddr) {
        let (ip, (clients, peers)) = match self {
            Self::Separate { .. } => (address(ETCD, host(SIZE + member)), (CLIENT_PORT, PEER_PORT)),
            Self::Shared(ports) => {
                let Ports { clients, peers, .. } = ports[member];
                (Ipv4Addr::LOCALHOST, (clients, peers))
            }
        };
        ((ip, clients).into(), (ip, peers).into())
    }

    /// Returns an address of the test itself that nodes reach over their link to etcd.
    pub(crate) fn beside_etcd(&self) -> Ipv4Addr {
        match self {
            Self::Separate { .. } => address(ETCD, TEST),
            Self::Shared(_) => Ipv4Addr::LOCALHOST,
        }
    }

    /// Returns a command that runs `program` where a node is.
    pub(crate) fn at_node(&self, node: usize, program: &str) -> Command {
        self.at(node, program)
    }

    /// Returns a command that runs `program` where a member of etcd is.
    pub(crate) fn at_member(&self, member: usize, program: &str) -> Command {
        self.at(SIZE + member, program)
    }

    fn at(&self, at: usize, program: &str) -> Command {
        match self {
            // It becomes the program, and so has its process id.
            Self::Separate { holders, .. } => {
                let mut command = Command::new("nsenter");
                command.args([&holders[at].namespace(), "--", program]);
                command
            }
            Self::Shared(_) => Command::new(program),
        }
    }

    /// Cuts a link: packets are lost in both directions, and nobody is told.
    pub(crate) fn cut(&self, link: Link) {
        self.set(link, "down");
    }

    /// Heals a link.
    pub(crate) fn heal(&self, link: Link) {
        self.set(link, "up");
    }

    fn set(&self, link: Link, state: &str) {
        assert!(self.has_links(), "nothing can be cut on loopback");
        // The other end keeps its routes.
        configure(
            Command::new("ip"),
            &format!("link set {} {state}\n", link.name()),
        );
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Self::Separate { left, .. } = self {
            let _ = setns(&*left, CloneFlags::CLONE_NEWNET);
        }
    }
}

impl Holder {
    fn start() -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "\n", "a network is made");
        Self(child)
    }

    fn namespace(&self) -> String {
        format!("--net=/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Link {
    fn name(self) -> String {
        match self {
            Self::Etcd(node) => format!("etcd-{node}"),
            Self::Peers(node) => format!("peers-{node}"),
            Self::Clients(node) => format!("clients-{node}"),
            Self::Member(member) => format!("member-{member}"),
        }
    }

    fn bridge(self) -> &'static str {
        match self {
            Self::Etcd(_) | Self::Member(_) => "etcd",
            Self::Peers(_) => "peers",
            Self::Clients(_) => "clients",
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Etcd(_) | Self::Member(_) => ETCD,
            Self::Peers(_) => PEERS,
            Self::Clients(_) => CLIENTS,
        }
    }
}

/// Returns the links of a network: first come those of the nodes.
fn links(at: usize) -> Vec<Link> {
    match at.checked_sub(SIZE) {
        None => vec![Link::Etcd(at), Link::Peers(at), Link::Clients(at)],
        Some(member) => vec![Link::Member(member)],
    }
}

/// The last byte of a network's addresses.
fn host(at: usize) -> u8 {
    at as u8 + 1
}

fn address(byte: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, byte, host)
}

/// Runs `ip` with a script.
fn configure(mut command: Command, script: &str) {
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success(), "{script}");
}

/// Returns a port that is free for TCP and for UDP.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
}
