//! The article's bullets, to the letter: file sharing off, deploy on the passive node and test it there, traffic to it and
//! away from the active one, file sharing on again so that the active node gets the set.
//!
//! Each bullet goes well. Then the node that serves is lost before the active one is tested, and the standby is let in.

use std::net::SocketAddr;
use std::time::Duration;

use examples::cluster::{Cluster, NAMES, Schedule, get};
use examples::{Fallible, Show};
use ha_backends::connect;
use ha_core::backend::{Admin, MemberRef, SetAdmin};
use ha_core::state::LeaseEpoch;
use ha_core::topology::Name;
use ha_lab::load::RunningLoad;
use tokio::time::{Instant, sleep};

pub(crate) async fn run(cluster: &Cluster, schedule: Schedule, show: &Show, load: &RunningLoad) -> Fallible<Schedule> {
    let backends = connect(&cluster.topology()?)?;
    let (_, balancer) = backends.balancers.first().ok_or("there is no balancer")?;
    let set = async |name: &str, admin: Admin| -> Fallible<()> {
        let member = MemberRef::new(Name::new("esb")?, Name::new(name)?);
        balancer.set_admin(LeaseEpoch::new(1), SetAdmin::new(member, admin)).await?;
        Ok(())
    };
    let [active, passive, standby] = cluster.homes() else { return Err("there are not three nodes".into()) };

    show.line("literal: the file sharing is disabled");
    drop(schedule);
    show.line("literal: set 2 is deployed on the passive node and tested there");
    cluster.make_set(2)?;
    cluster.deploy(passive, 2).await?;
    let address = SocketAddr::from(([127, 0, 0, 1], passive.port()));
    get(address, "/selftest").await.ok_or("set 2 fails its test on the passive node")?;
    show.line("literal: traffic into the passive node, and away from the active one");
    set("esb2", Admin::Ready).await?;
    set("esb1", Admin::Maint).await?;
    sleep(Duration::from_secs(1)).await;
    show.line("literal: the file sharing is enabled, the active node gets the set");
    let schedule = cluster.share().await?;
    let until = Instant::now() + Duration::from_secs(20);
    while Cluster::set_of(active) != 2 || Cluster::set_of(standby) != 2 {
        if Instant::now() >= until {
            return Err("the set did not reach the other nodes in 20 s".into());
        }
        show.tick(&load.snapshot());
        sleep(Duration::from_millis(50)).await;
    }
    let keeping = NAMES.iter().zip(cluster.homes()).filter(|(_, home)| Cluster::set_of(home) == 1).count();
    show.line(&format!("           nodes that still have set 1: {keeping}"));
    show.line("now the node that serves is killed with -9, before the active one is tested; the others are let in");
    passive.kill()?;
    sleep(Duration::from_secs(1)).await;
    set("esb1", Admin::Ready).await?;
    sleep(Duration::from_secs(2)).await;
    Ok(schedule)
}
