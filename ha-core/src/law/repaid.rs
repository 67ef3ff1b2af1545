use super::derived::no_site_serves;
use super::{Check, Invariant, Law, Violation};
use crate::state::{ClusterState, LoanKind, Process, ServerDomain, Site, Sync, Work};
use crate::topology::NodeIx;

impl Law<'_> {
    /// Checks I11 at an end: no loan is open.
    ///
    /// # Errors
    /// The violation, with every open loan.
    pub fn repaid(&self, state: &ClusterState) -> Check {
        let open = self.open_loans(state);
        if open.is_empty() {
            return Ok(());
        }
        Err(Violation::new(Invariant::Repaid, format!("still open: {}", open.join(", "))))
    }

    /// Lists the open loans, as text. What is seen to be as it was is repaid, whoever did it: a stop that was refused leaves a server
    /// that serves, and no server that is stopped.
    pub fn open_loans(&self, state: &ClusterState) -> Vec<String> {
        let nodes = state
            .nodes()
            .flat_map(|(index, node)| node.loans.iter().map(move |loan| (index, loan)))
            .filter(|(index, loan)| is_out(state, *index, *loan))
            .map(|(index, loan)| format!("{}: {loan}", self.topology.node(index).name));
        let sites = self.topology.sites.iter().zip(&state.sites);
        let sites =
            sites.filter_map(|(site, known)| Some(format!("site {}: {}", site.name, half_way(state, known.site)?)));
        let mut sites: Vec<String> = sites.collect();
        if sites.is_empty() && no_site_serves(state) {
            sites.push(
                "no site serves: none has consumers led to it and takes their writes; lead them to one that does"
                    .into(),
            );
        }
        nodes.chain(self.open_copies(state)).chain(sites).collect()
    }
}

/// Says what is left half-way of leading consumers from one site to another.
fn half_way(state: &ClusterState, site: Site) -> Option<&'static str> {
    match site {
        Site::Held => Some("consumers wait in front of it"),
        Site::Promoted => Some("its database takes writes, and no consumers are led to it"),
        Site::Demoted if no_site_serves(state) => Some("its database takes no writes, and no site serves"),
        Site::Serving | Site::Demoted | Site::Hot | Site::Warm | Site::Cold | Site::Quarantined => None,
    }
}

/// Tells whether what a loan has changed is not seen to be as it was.
fn is_out(state: &ClusterState, index: NodeIx, loan: LoanKind) -> bool {
    let (node, members) = (state.node(index), state.members(index));
    let runs = node.process != Process::Stopped;
    match loan {
        LoanKind::HeldOut => members.iter().any(|member| member.traffic != member.admitted()),
        LoanKind::Stopped => !node.process.is_ready(),
        LoanKind::SpareRunning => runs,
        LoanKind::SpareAdmitted => members.iter().any(|member| !member.is_out()),
        LoanKind::SyncHeld => !matches!(node.sync, Sync::Active | Sync::Running),
        LoanKind::WorkPaused => node.work != Work::On,
        LoanKind::InTestDomain => runs && node.server_domain == ServerDomain::Test,
    }
}
