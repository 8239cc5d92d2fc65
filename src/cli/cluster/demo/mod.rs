//! `globalcounter cluster demo`: etcd and three nodes as processes of this machine, and a small load, to
//! look at what happens when one of them dies.
//!
//! - [`process`]: a process whose lines are printed behind its name
//! - [`etcd`]: the process of etcd
//! - [`node`]: the processes of the nodes
//! - [`directory`]: where etcd stores the cluster

mod directory;
mod etcd;
mod node;
mod process;

use std::io::{self, Write};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::time::sleep;

use crate::cli::demo::Load;
use crate::cli::signals;
use directory::Directory;
use etcd::Etcd;
use node::Node;
use process::LOOK_PERIOD;

/// The names of the nodes.
const NODES: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Args)]
#[command(
    after_help = "It needs the program `etcd` (Debian: apt-get install etcd-server). Everything \
    listens on free ports of loopback. The cluster is stored in a temporary directory, which is removed \
    at the end. Ctrl-C stops all of it."
)]
pub(in crate::cli) struct Arguments {}

/// Runs the demo until SIGTERM or SIGINT.
///
/// # Errors
///
/// etcd is not installed, or it or a node does not start; or all nodes have ended.
pub(super) async fn run(_: &Arguments) -> Result<()> {
    let stop = signals::stop()?;
    let directory = Directory::create()?;
    // Nodes are dropped before etcd, and etcd before its directory.
    let etcd = Etcd::start(&directory)?;
    let mut demo = Demo {
        etcd,
        nodes: Vec::new(),
    };
    tokio::select! {
        result = demo.run() => result?,
        _ = stop => {}
    }
    demo.stop().await;
    Ok(())
}

/// The processes of a demo. Dropping it kills them.
struct Demo {
    nodes: Vec<Node>,
    etcd: Etcd,
}

impl Demo {
    /// Starts the nodes and the load. Ends when a process that is needed has ended.
    async fn run(&mut self) -> Result<()> {
        self.etcd.wait_until_ready().await?;
        let url = self.etcd.url();
        for name in NODES {
            self.nodes.push(Node::start(name, &url)?);
        }
        for node in &mut self.nodes {
            node.wait_until_ready().await?;
        }
        print(&introduction(&url, &self.nodes)?)?;
        let urls = self.nodes.iter().filter_map(Node::url);
        let mut load = Load::start(urls.collect());
        let ended = self.wait_until_ended(&url).await;
        load.stop().await;
        ended
    }

    /// Tells how to start a node again when it has ended. Returns when nothing is left to look at.
    async fn wait_until_ended(&mut self, url: &str) -> Result<()> {
        loop {
            for node in &mut self.nodes {
                if let Some(status) = node.process.has_just_ended()? {
                    print(&format!(
                        "\nnode {} has ended ({status}). Start it again:\n  {}\n\n",
                        node.name(),
                        node.command_line(url)
                    ))?;
                }
            }
            if let Some(status) = self.etcd.process.has_just_ended()? {
                bail!("etcd has ended ({status})");
            }
            if self.nodes.iter().all(|node| node.process.has_ended()) {
                bail!("all nodes have ended");
            }
            sleep(LOOK_PERIOD).await;
        }
    }

    /// Stops the nodes, which hand over or give up their ranges, and then etcd.
    async fn stop(mut self) {
        for node in &mut self.nodes {
            node.process.terminate();
        }
        for node in &mut self.nodes {
            node.process.wait().await;
        }
        self.etcd.process.terminate();
        self.etcd.process.wait().await;
    }
}

/// Tells what runs, where to look, and what to try.
fn introduction(url: &str, nodes: &[Node]) -> Result<String> {
    let mut text =
        "\nA demo of a cluster: etcd and three nodes on this machine, and clients of a shop that count \
        its\norders, visits and tickets on all of them, a few thousand requests a second.\n\n\
        node  process  address          page\n"
            .to_owned();
    for node in nodes {
        let (tcp, page) = node.addresses().context("a node has no address")?;
        text += &format!(
            "{:<4}  {:<7}  {tcp:<15}  {page}\n",
            node.name(),
            node.process.id()
        );
    }
    let [first, .., last] = nodes else {
        bail!("a cluster has several nodes");
    };
    let server = first.url().context("a node has no address")?;
    text += &format!(
        "\n\
        kill one and watch              kill -9 {}\n\
        see who owns what               globalcounter cluster status --watch --cluster {url}\n\
        move a node's ranges away       globalcounter cluster drain --cluster {url} {}\n\
        and back                        globalcounter cluster rebalance --cluster {url}\n\
        count an order yourself         globalcounter count --server {server} orders\n\n\
        Ctrl-C stops all. Lines of a log begin with the name of its process.\n\n",
        last.process.id(),
        first.name()
    );
    Ok(text)
}

fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
}
