//! A whole run over ssh whose controller dies in the middle of a patch: the next one finds the command.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Admin, Applied, BalancerCapabilities, CloseSessions, Closed, ConfigFinding, ErrorKind, Expectations, Health,
    Instance, LoadBalancer, Member, MemberCheck, MemberRef, MemberSnapshot, ObserveBalancer, Probe, Quiescence, Ready,
    SetAdmin, SetWeight, StepError, look_by_parts,
};
use ha_core::engine::{Engine, RunError};
use ha_core::journal::MemoryStore;
use ha_core::procedure::PatchRequest;
use ha_core::record::End;
use ha_core::state::{LeaseEpoch, MemberKind};
use ha_core::topology::{Name, Topology};
use ha_lab::SshHost;

use crate::fixture::{drive, install, lab, lines};

/// A balancer that does as it is told.
#[derive(Debug)]
struct Obedient(Mutex<BTreeMap<String, Admin>>);

impl Obedient {
    fn describe(name: &str, admin: Admin) -> Member {
        let health = if admin == Admin::Maint { Health::Paused } else { Health::Up };
        let kind = if name == "esb1" { MemberKind::Primary } else { MemberKind::Backup };
        Member::new(admin, health, kind)
    }

    fn unsupported<T>(operation: &'static str) -> Result<T, StepError> {
        Err(StepError::new(ErrorKind::Unsupported, operation, "obedient").without_effect())
    }
}

#[async_trait]
impl ObserveBalancer for Obedient {
    fn capabilities(&self) -> BalancerCapabilities {
        BalancerCapabilities::none().with_idle_connections(true).with_older_generations(true)
    }

    async fn identify(&self) -> Result<Instance, StepError> {
        Ok(Instance::new("obedient", 1))
    }

    async fn member(&self, member: &MemberRef) -> Result<Member, StepError> {
        let name = member.member.as_str();
        Ok(Self::describe(name, self.0.lock().unwrap()[name]))
    }

    async fn look(&self, member: &MemberRef) -> Result<MemberSnapshot, StepError> {
        look_by_parts(self, member).await
    }

    async fn members(&self, _: &Name) -> Result<Vec<(Name, Member)>, StepError> {
        let members = self.0.lock().unwrap();
        Ok(members.iter().map(|(name, admin)| (Name::new(name).unwrap(), Self::describe(name, *admin))).collect())
    }

    async fn config_findings(&self, _: &Expectations) -> Result<Vec<ConfigFinding>, StepError> {
        Ok(Vec::new())
    }

    async fn check_of(&self, _: &MemberRef) -> Result<MemberCheck, StepError> {
        Self::unsupported("check of")
    }

    async fn quiescence(&self, _: &MemberRef) -> Result<Quiescence, StepError> {
        Ok(Quiescence::new(0, 0, 0, 0).with_generation(1))
    }
}

#[async_trait]
impl LoadBalancer for Obedient {
    async fn set_admin(&self, _: LeaseEpoch, request: SetAdmin) -> Result<Applied, StepError> {
        self.0.lock().unwrap().insert(request.member.member.to_string(), request.admin);
        Ok(Applied::Applied)
    }

    async fn set_weight(&self, _: LeaseEpoch, _: SetWeight) -> Result<Applied, StepError> {
        Self::unsupported("set_weight")
    }

    async fn close_sessions(&self, _: LeaseEpoch, _: CloseSessions) -> Result<Closed, StepError> {
        Self::unsupported("close_sessions")
    }
}

/// Looks at the server past ssh: it leaves a file while it serves.
#[derive(Debug)]
struct Look(PathBuf);

#[async_trait]
impl Probe for Look {
    async fn ready(&self) -> Result<Ready, StepError> {
        Ok(match std::fs::read_to_string(self.0.join("running")) {
            Ok(release) if !release.is_empty() => Ready::Yes { release: release.trim().into() },
            _ => Ready::Closed,
        })
    }

    async fn test(&self) -> Result<Box<str>, StepError> {
        match self.ready().await? {
            Ready::Yes { release } => Ok(release),
            _ => Err(StepError::new(ErrorKind::Conflict, "test", "server").without_effect()),
        }
    }

    async fn missing(&self) -> Result<Vec<String>, StepError> {
        Ok(Vec::new())
    }
}

const NAMES: [&str; 3] = ["esb1", "esb2", "spare1"];

fn topology() -> Topology {
    let mut text = String::from(
        "[cluster]\nname = \"orders\"\n[policy]\npeak_load = 100\nsoak = \"200ms\"\nlease_ttl = \"4s\"\n\
         [pool]\nname = \"esb\"\nserve = 1\n[[balancer]]\nname = \"lb1\"\nbackend = \"x\"\n",
    );
    for name in NAMES {
        text.push_str(&format!(
            "[[node]]\nname = \"{name}\"\ncapacity = 100\nspare = {}\nhost = {{ backend = \"ssh\" }}\n\
             probe = {{ backend = \"x\" }}\n",
            name == "spare1"
        ));
    }
    Topology::from_toml_str(&text).unwrap()
}

fn controller(machines: &[SshHost], homes: &[PathBuf], balancer: &Arc<Obedient>, store: &Arc<MemoryStore>) -> Engine {
    let mut builder = Engine::builder(topology()).with_balancer("lb1", balancer.clone());
    for ((name, machine), home) in NAMES.iter().zip(machines).zip(homes) {
        builder = builder.with_host(*name, Arc::new(drive(machine.access())));
        builder = builder.with_probe(*name, Arc::new(Look(home.clone())));
    }
    builder.with_store(store.clone(), store.clone()).build().unwrap()
}

#[test]
fn a_controller_killed_in_the_middle_of_a_patch_is_replaced_by_one_that_waits_for_the_command() {
    let lab = lab();
    let machines: Vec<SshHost> = NAMES.map(|name| lab.ssh_host(name).unwrap()).into();
    let homes: Vec<PathBuf> = machines.iter().map(|machine| install(&machine.outside("/srv").unwrap())).collect();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let admins = [("esb1", Admin::Ready), ("esb2", Admin::Ready), ("spare1", Admin::Maint)];
    let balancer = Arc::new(Obedient(Mutex::new(admins.map(|(name, admin)| (name.into(), admin)).into())));
    let store = Arc::new(MemoryStore::new());
    let request = {
        let argv = |verb: &str| vec!["bin/server.sh".into(), verb.into()];
        PatchRequest::new("4.2.1", argv("patch"), argv("patch")).with_beside("4.2.0")
    };
    let first = runtime();
    first.block_on(async {
        for machine in &machines[..2] {
            let host = drive(machine.access());
            let production = ha_core::state::ServerDomain::Production;
            ha_core::backend::Host::start(&host, LeaseEpoch::new(0), production).await.unwrap();
        }
        while !homes[..2].iter().all(|home| lines(home.join("running")) == 1) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let engine = controller(&machines, &homes, &balancer, &store);
        let planned = engine.plan(&request).await.unwrap();
        let run = engine.run("patch-1".into(), planned).await.unwrap();
        while !homes.iter().any(|home| lines(home.join("begun")) > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(run);
    });
    first.shutdown_background();
    let report = runtime().block_on(async {
        let engine = controller(&machines, &homes, &balancer, &store);
        loop {
            match engine.resume("patch-1".into()).await {
                Ok(run) => break run.wait().await.unwrap(),
                Err(error) => assert!(matches!(error, RunError::Lease(_)), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    assert_eq!((report.end, report.open.len()), (End::AllNew, 0), "{report}");
    for home in &homes[..2] {
        assert_eq!((lines(home.join("begun")), lines(home.join("patched"))), (1, 1), "{report}");
    }
    assert_eq!(std::fs::read_to_string(homes[0].join("running")).unwrap(), "4.2.1\n");
}
