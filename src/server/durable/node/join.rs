//! Joins a cluster.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::warn;

use super::ranges::Ranges;
use super::steps::to_all;
use crate::cluster::Event;
use crate::etcd::{Ceilings, Client, Description, Driver, Events};
use crate::server::cluster::{Credentials, Membership, Owners};
use crate::server::config::{BindError, ClusterConfig};
use crate::server::durable::load::Durable;
use crate::server::exchange::{RangeStep, Shared};
use crate::server::net::load_for_peers;
use crate::store::{EtcdStore, Loads};

/// How long a node that stops may hand over its ranges. Then it stops all the same: the others take over
/// when its lease has ended.
const LEAVE_LIMIT: Duration = Duration::from_secs(30);

/// Joins the cluster, as the node that advertises an address. From now on it takes ranges; their requests
/// are answered once workers run. When `leave` turns true, it hands its ranges over, and sets `stop`.
///
/// # Errors
///
/// The cluster cannot be joined.
pub(crate) fn join(
    config: &ClusterConfig,
    shared: &Arc<Shared>,
    advertised: &Arc<str>,
    leave: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
) -> Result<Durable, BindError> {
    let name = config.name(advertised);
    let started = SystemTime::now().duration_since(UNIX_EPOCH);
    let description = Description {
        name: name.clone(),
        address: Arc::clone(advertised),
        started: started.unwrap_or_default().as_secs(),
    };
    let token = config.node_token.as_ref();
    let token = token.map_or_else(Vec::new, |token| token.as_str().into());
    let tls = config.node_tls.as_ref().map(load_for_peers).transpose()?;
    let credentials = Credentials::new(token, tls.map(Arc::new));
    let forward_timeout = config.forward_timeout;
    let client = Client::new(config.etcd.clone());
    let ceilings = Ceilings::new(client);
    let inside: Arc<OnceLock<Inside>> = Arc::default();
    let (address, set_inside) = (Arc::clone(advertised), Arc::clone(&inside));
    let (of_driver, with_shared) = (ceilings.clone(), Arc::clone(shared));
    let ranges = move |events: Events, ranges: u16| {
        let owners = Owners::new(ranges, name, address);
        let shards = with_shared.shards();
        let membership = Membership::new(owners, shards, credentials, forward_timeout);
        let membership = Arc::new(membership);
        // Before the first message for a shard.
        with_shared.join(Arc::clone(&membership));
        let loads = Arc::new(Loads::new(ranges));
        // Nobody else sets it.
        let _ = set_inside.set(Inside {
            runtime: Handle::current(),
            loads: Arc::clone(&loads),
            events: events.clone(),
        });
        tokio::spawn(leave_when_told(leave, events.clone(), stop.clone()));
        Ranges::new(with_shared, membership, events, of_driver, loads, stop)
    };
    let driver = Driver::start(config.etcd.clone(), description, config.lease, ranges)?;
    let inside = inside.get().expect("the driver has started");
    let (events, of_failed) = (inside.events.clone(), Arc::clone(shared));
    let failed = move |range, load, epoch| {
        if let Some(membership) = of_failed.membership() {
            membership.ranges.commit_failed();
        }
        to_all(&of_failed, || RangeStep::Fail(range, load));
        events.send(Event::RangeFailed(range, epoch));
    };
    let store = EtcdStore::new(
        ceilings,
        inside.runtime.clone(),
        Arc::clone(&inside.loads),
        Box::new(failed),
    );
    Ok(Durable {
        store: Box::new(store),
        loaded: None,
        driver: Some(driver),
    })
}

/// What the driver's thread gives to the store.
#[derive(Debug)]
struct Inside {
    runtime: Handle,
    loads: Arc<Loads>,
    events: Events,
}

/// Lets the node leave, and stops the server if that takes too long.
async fn leave_when_told(
    mut leave: watch::Receiver<bool>,
    events: Events,
    stop: watch::Sender<bool>,
) {
    if leave.wait_for(|&leave| leave).await.is_err() {
        return; // the server was dropped
    }
    events.send(Event::Leave);
    tokio::time::sleep(LEAVE_LIMIT).await;
    warn!(
        "could not hand over all ranges of topics within {} s: the other nodes take them when the lease \
         of this node has ended",
        LEAVE_LIMIT.as_secs()
    );
    stop.send_replace(true);
}
