//! The conformance suites on the fake balancer, and on wrappers around it.

/// What the fake cannot be made to do.
mod the_fake {
    use ha_testkit::conformance::balancer::FakeFixture;

    ha_testkit::load_balancer_conformance!(
        FakeFixture::new(),
        skips = ["fixture: broken after a write", "fixture: late write"]
    );
}
