//! What the demonstration does with two sites, whatever they are made of.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use examples::Fallible;
use examples::cluster::get;
use ha_backends::Backends;
use ha_core::topology::Topology;
use ha_lab::fake_carbon::CarbonHome;
use serde_json::Value;
use tokio::time::{Instant, sleep};

pub(crate) const SITES: [&str; 2] = ["north", "south"];
/// Two a site, north first.
pub(crate) const SERVERS: [&str; 4] = ["n1", "n2", "s1", "s2"];

#[async_trait]
pub(crate) trait TwoSites: Send + Sync {
    fn folder(&self) -> &Path;

    /// Where consumers come in.
    fn address(&self) -> SocketAddr;

    /// The servers, in the order of [`SERVERS`].
    fn homes(&self) -> &[CarbonHome];

    /// The cluster's file, as a user writes it.
    fn toml(&self) -> String;

    fn connect(&self, topology: &Topology) -> Fallible<Backends>;

    /// Loses north with all that is in it.
    async fn lose_north(&mut self) -> Fallible<()>;

    /// What is tried with north while the other site replaces it.
    async fn meanwhile(&mut self, event: &Value) -> Fallible<()>;

    /// Lets north come back by itself, as it went, and waits until it answers: its machines, its balancer, its database, its servers.
    async fn wake_north(&mut self) -> Fallible<()>;

    /// Tells whether the database of north takes a write of somebody who insists on it.
    async fn north_takes_a_write(&self) -> Fallible<bool>;

    /// Reads the numbers of all orders that the database of north has.
    async fn orders_in_north(&self) -> Fallible<Vec<String>>;

    /// Ends who has written inside north all the time, and returns each attempt: when, and whether it was taken. Nothing, where
    /// nobody is there.
    async fn written_inside(&mut self) -> Fallible<Vec<(u64, bool)>>;

    /// Changes the files of the services in north, and waits until all servers of both sites have them: returns how long that took.
    /// Nothing, where files are not shared.
    async fn share(&self, set: u64) -> Fallible<Option<Duration>>;

    /// Returns the number of the set of files that each server has whole; empty where files are not shared.
    fn sets(&self) -> Vec<Option<u64>>;
}

/// An order that a server has answered for.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) at_ms: u64,
    pub(crate) epoch: u64,
    pub(crate) site: String,
    pub(crate) id: String,
}

/// Reads what the servers have answered: time, site epoch, site, and number of each order.
pub(crate) fn answered(homes: &[CarbonHome]) -> Fallible<Vec<Answered>> {
    let mut all = Vec::new();
    for home in homes {
        let text = match std::fs::read_to_string(home.path().join("answered")) {
            Ok(text) => text,
            // It has never answered one.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        // A server that is killed may leave half of its last line: it was not answered.
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let words: Vec<&str> = line.trim_end().split(' ').collect();
            let [at, epoch, site, id] = words[..] else {
                return Err(format!("{} has noted {line:?}", home.path().display()).into());
            };
            all.push(Answered { at_ms: at.parse()?, epoch: epoch.parse()?, site: site.into(), id: id.into() });
        }
    }
    Ok(all)
}

/// Waits until all of these answer.
pub(crate) async fn until_served(addresses: impl IntoIterator<Item = SocketAddr>) -> Fallible<()> {
    let until = Instant::now() + Duration::from_secs(30);
    for address in addresses {
        while get(address, "/services/Version").await.is_none() {
            if Instant::now() >= until {
                return Err(format!("{address} did not answer in 30 s").into());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// What both kinds of sites say in the cluster's file before the sites. No front waits longer for an answer than the policy says.
pub(crate) fn head(switch: &str) -> String {
    format!(
        "[cluster]\nname = \"two-sites\"\n[policy]\ndrain_deadline = \"20s\"\nready_deadline = \"30s\"\n\
         stop_deadline = \"30s\"\ncommand_deadline = \"30s\"\nmigrate_deadline = \"60s\"\nsoak = \"1s\"\n\
         lease_ttl = \"4s\"\nlost_after = \"1s\"\nlongest_request = \"2s\"\n[switch]\n{switch}"
    )
}

/// One site with its pool and its balancer; of fence, replica and balancer what belongs into their tables.
pub(crate) fn site(name: &str, role: &str, fence: &str, replica: &str, balancer: &str) -> String {
    format!(
        "[[site]]\nname = \"{name}\"\nrole = \"{role}\"\n[site.fence]\n{fence}[site.replica]\n{replica}\
         [[pool]]\nname = \"esb-{name}\"\nbackend = \"esb\"\nserve = 2\npeak_load = 1000\nsite = \"{name}\"\n\
         balancers = [\"lb-{name}\"]\n[[balancer]]\nname = \"lb-{name}\"\n{balancer}"
    )
}

/// One server of a site.
pub(crate) fn node(place: usize, host: &str, home: &CarbonHome) -> String {
    let name = SERVERS[place];
    let named = format!("name = \"{name}\"\n");
    let node = examples::cluster::node_toml(name, false, host, home);
    node.replacen(&named, &format!("{named}site = \"{}\"\n", SITES[place / 2]), 1)
}
