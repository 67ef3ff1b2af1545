//! The conformance suites on the fake balancer, and on wrappers around it.

/// The fake itself.
mod the_fake {
    use ha_testkit::conformance::balancer::FakeFixture;

    ha_testkit::conformance!(balancer, FakeFixture::new());
}

/// Its members.
mod rows_of_the_fake {
    use ha_testkit::conformance::membership::FakeMembershipFixture;

    ha_testkit::conformance!(membership, FakeMembershipFixture::new());
}

/// What people ask of runs, in memory.
mod requests_in_memory {
    use ha_testkit::conformance::requests::MemoryFixture;

    ha_testkit::conformance!(requests, MemoryFixture::new());
}

/// Wrappers conform when nothing is planned.
mod a_faulty_balancer_without_faults {
    use std::sync::Arc;

    use ha_testkit::conformance::balancer::{FakeFixture, Layered};
    use ha_testkit::faulty::FaultyBalancer;

    ha_testkit::conformance!(
        balancer,
        Layered::new(FakeFixture::new(), "FaultyBalancer", |inner| Arc::new(FaultyBalancer::new(inner)))
    );
}

mod a_slow_balancer {
    use std::sync::Arc;
    use std::time::Duration;

    use ha_testkit::conformance::balancer::{FakeFixture, Layered};
    use ha_testkit::faulty::FaultyBalancer;

    const SLOW: Duration = Duration::from_millis(3);

    ha_testkit::conformance!(
        balancer,
        Layered::new(FakeFixture::new(), "a slow FaultyBalancer", |inner| {
            Arc::new(FaultyBalancer::new(inner).with_delay(SLOW))
        })
    );
}

/// The forwards of `Arc`.
mod a_balancer_behind_a_pointer {
    use std::sync::Arc;

    use ha_testkit::conformance::balancer::{FakeFixture, Layered};

    ha_testkit::conformance!(
        balancer,
        Layered::new(FakeFixture::new(), "Arc<dyn LoadBalancer>", |inner| Arc::new(inner))
    );
}

/// Probes of the simulated world do not hang, and answer no nonsense.
mod the_fake_probe {
    use ha_testkit::conformance::probe::FakeProbeFixture;

    ha_testkit::conformance!(
        probe,
        FakeProbeFixture::new(),
        skips = [
            "fixture: hung",
            "fixture: hung test",
            "fixture: endless",
            "fixture: dribbled",
            "fixture: garbage",
            "fixture: broken",
            "fixture: nameless",
            "fixture: open questions",
        ]
    );
}

/// The fake host on a machine in memory.
mod the_fake_host {
    use ha_testkit::conformance::host::FakeHostFixture;

    ha_testkit::conformance!(host, FakeHostFixture::new(), skips = ["fixture: pid file"]);
}

/// The simulated world's own host: a server, and nothing else.
mod the_bare_fake_host {
    use ha_testkit::conformance::host::FakeHostFixture;

    ha_testkit::conformance!(
        host,
        FakeHostFixture::bare(),
        skips = ["fixture: commands", "fixture: files", "fixture: hung", "fixture: pid file", "fixture: uninstalled"]
    );
}

/// The file sync of the simulated world.
mod the_fake_file_sync {
    use ha_testkit::conformance::files::FakeFilesFixture;

    ha_testkit::conformance!(files, FakeFilesFixture::new());
}

/// Routes on the balancers of the simulated world.
mod the_fake_exposure {
    use ha_testkit::conformance::exposure::FakeExposureFixture;

    ha_testkit::conformance!(exposure, FakeExposureFixture::new());
}

mod a_faulty_exposure_without_faults {
    use std::sync::Arc;

    use ha_testkit::conformance::exposure::FakeExposureFixture;
    use ha_testkit::faulty::FaultyExposure;

    ha_testkit::conformance!(
        exposure,
        FakeExposureFixture::new().with_wrapper(|inner| Arc::new(FaultyExposure::new(inner)))
    );
}

/// What installs on a node of the simulated world.
mod the_fake_workload {
    use ha_testkit::conformance::workload::FakeWorkloadFixture;

    ha_testkit::conformance!(workload, FakeWorkloadFixture::new());
}

mod the_fake_provisioner {
    use ha_testkit::conformance::provisioner::FakeProvisionerFixture;

    ha_testkit::conformance!(provisioner, FakeProvisionerFixture::new());
}

/// The artifact store of the simulated world.
mod the_fake_artifact_store {
    use ha_testkit::conformance::artifacts::FakeArtifactsFixture;

    ha_testkit::conformance!(artifacts, FakeArtifactsFixture::new());
}

/// A wrapper conforms when nothing is planned.
mod a_faulty_artifact_store_without_faults {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use ha_core::backend::{ArtifactStore, PutArtifact};
    use ha_core::state::{Generation, LeaseEpoch};
    use ha_core::topology::Name;
    use ha_testkit::conformance::Breach;
    use ha_testkit::conformance::artifacts::{
        ArtifactsAbility, ArtifactsFixture, ArtifactsSubject, Built, FakeArtifactsFixture,
    };
    use ha_testkit::faulty::FaultyArtifacts;

    struct Wrapped;

    struct WrappedSubject(Box<dyn ArtifactsSubject>);

    #[async_trait]
    impl ArtifactsFixture for Wrapped {
        fn name(&self) -> String {
            "FaultyArtifacts".into()
        }

        fn can(&self, ability: ArtifactsAbility) -> bool {
            FakeArtifactsFixture.can(ability)
        }

        async fn fresh(&self, nodes: &[Name]) -> Result<Box<dyn ArtifactsSubject>, Breach> {
            Ok(Box::new(WrappedSubject(FakeArtifactsFixture.fresh(nodes).await?)))
        }
    }

    #[async_trait]
    impl ArtifactsSubject for WrappedSubject {
        fn store(&self) -> Arc<dyn ArtifactStore> {
            Arc::new(FaultyArtifacts::new(self.0.store()))
        }

        fn another(&self) -> Arc<dyn ArtifactStore> {
            Arc::new(FaultyArtifacts::new(self.0.another()))
        }

        async fn build(&self, what: Built, number: u64) -> Result<(String, Generation), Breach> {
            self.0.build(what, number).await
        }

        async fn change(&self, source: &str) -> Result<(), Breach> {
            self.0.change(source).await
        }

        async fn truth(&self, node: &Name, place: &str, set: &Generation) -> Result<Option<bool>, Breach> {
            self.0.truth(node, place, set).await
        }

        async fn flip(&self, set: &Generation) -> Result<(), Breach> {
            self.0.flip(set).await
        }

        async fn fill(&self, full: bool) -> Result<(), Breach> {
            self.0.fill(full).await
        }

        async fn put_killed(&self, epoch: LeaseEpoch, request: PutArtifact, after: Duration) -> Result<(), Breach> {
            self.0.put_killed(epoch, request, after).await
        }
    }

    ha_testkit::conformance!(artifacts, Wrapped);
}

/// The shared database of the simulated world.
mod the_fake_database {
    use ha_testkit::conformance::database::FakeDatabaseFixture;

    ha_testkit::conformance!(database, FakeDatabaseFixture::new());
}

/// And its clone.
mod the_clone_of_the_fake_database {
    use ha_testkit::conformance::clone::FakeCloneFixture;

    ha_testkit::conformance!(clone, FakeCloneFixture::new());
}

mod a_faulty_database_without_faults {
    use std::sync::Arc;

    use ha_testkit::conformance::database::FakeDatabaseFixture;
    use ha_testkit::faulty::FaultyDatabase;

    ha_testkit::conformance!(
        database,
        FakeDatabaseFixture::new().with_wrapper(|inner| Arc::new(FaultyDatabase::new(inner)))
    );
}

/// What leads the clients of the simulated world to one of its sites.
mod the_fake_site_switch {
    use ha_testkit::conformance::site_switch::FakeSwitchFixture;

    ha_testkit::conformance!(site_switch, FakeSwitchFixture::new());
}

/// A site's fence in the simulated world.
mod the_fake_fence {
    use ha_testkit::conformance::fence::FakeFenceFixture;

    ha_testkit::conformance!(fence, FakeFenceFixture::new());
}

/// A site's copy of the database in the simulated world.
mod the_fake_replica {
    use ha_testkit::conformance::replica::FakeReplicaFixture;

    ha_testkit::conformance!(replica, FakeReplicaFixture::new());
}
