/// A call that a fault can be planned for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Operation {
    /// `LoadBalancer::set_admin`; the name is the balancer's.
    SetAdmin,
    /// `ObserveBalancer::member`; the name is the balancer's.
    Member,
    /// `ObserveBalancer::quiescence`; the name is the balancer's.
    Quiescence,
    /// `Host::start`; the name is the node's.
    Start,
    /// `Host::stop`; the name is the node's.
    Stop,
    /// `Host::run`; the name is the node's.
    Run,
    /// `Probe::test`; the name is the node's.
    Test,
    /// `FileSync::hold`, `release` and `hand_writer`; the name is the node's.
    Share,
    /// `Database::migrate`; the name is `database`.
    Migrate,
    /// `Workload::quiesce` and `resume`; the name is the node's.
    Work,
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// It is refused and changes nothing.
    Refused,
    /// Nobody listens: it changes nothing.
    Unreachable,
    /// It changes nothing, and nobody can tell.
    LostBefore,
    /// It happens, and nobody can tell.
    LostAfter,
    /// It happens, and the connection breaks.
    Broken,
    /// It happens a second later, when it has long been given up: a frozen server carries out what it finds as it wakes.
    /// Writes of balancers only; elsewhere as `LostBefore`.
    Late,
    /// It answers well and does nothing.
    Lies,
    /// It happens in half.
    Half,
}
