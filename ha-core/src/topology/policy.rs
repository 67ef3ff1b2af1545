use std::time::Duration;

use super::{AfterLoss, ApprovalPoint, OnDrainDeadline, OnNoApproval, Permille, Policy};

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            drain_deadline: seconds(60),
            on_drain_deadline: OnDrainDeadline::RollBack,
            longest_request: seconds(60),
            persistence_grace: seconds(2),
            canary: None,
            canary_watch: seconds(10),
            ready_deadline: seconds(300),
            stop_deadline: seconds(300),
            command_deadline: seconds(600),
            migrate_deadline: seconds(3_600),
            soak: seconds(10),
            lease_ttl: seconds(30),
            lost_after: seconds(2),
            after_loss: AfterLoss::Hold,
            approve: Vec::new(),
            approvers: Vec::new(),
            approve_within: seconds(3_600),
            on_no_approval: OnNoApproval::RollBack,
        }
    }
}

impl Policy {
    /// Sets how long requests in flight may take to end, and with it how long the longest request takes.
    #[must_use]
    pub fn with_drain_deadline(mut self, deadline: Duration) -> Self {
        (self.drain_deadline, self.longest_request) = (deadline, deadline);
        self
    }

    /// Sets what happens at the drain deadline.
    #[must_use]
    pub fn with_on_drain_deadline(mut self, then: OnDrainDeadline) -> Self {
        self.on_drain_deadline = then;
        self
    }

    /// Sets how long the longest request takes, where it is not the drain deadline.
    #[must_use]
    pub fn with_longest_request(mut self, longest: Duration) -> Self {
        self.longest_request = longest;
        self
    }

    /// Sets how long clients bound to a node keep it once it drains.
    #[must_use]
    pub fn with_persistence_grace(mut self, grace: Duration) -> Self {
        self.persistence_grace = grace;
        self
    }

    /// Sets the share of its weight that a node gets first when it comes back, and how long that is watched.
    #[must_use]
    pub fn with_canary(mut self, share: Permille, watch: Duration) -> Self {
        (self.canary, self.canary_watch) = (Some(share), watch);
        self
    }

    /// Sets how long a started server may take to be ready.
    #[must_use]
    pub fn with_ready_deadline(mut self, deadline: Duration) -> Self {
        self.ready_deadline = deadline;
        self
    }

    /// Sets how long a stopped server may take to be gone.
    #[must_use]
    pub fn with_stop_deadline(mut self, deadline: Duration) -> Self {
        self.stop_deadline = deadline;
        self
    }

    /// Sets how long a command of a change may take.
    #[must_use]
    pub fn with_command_deadline(mut self, deadline: Duration) -> Self {
        self.command_deadline = deadline;
        self
    }

    /// Sets how long one phase of a database's migration may take.
    #[must_use]
    pub fn with_migrate_deadline(mut self, deadline: Duration) -> Self {
        self.migrate_deadline = deadline;
        self
    }

    /// Sets how long a changed node carries traffic before the next one is touched; 0 skips the soak.
    #[must_use]
    pub fn with_soak(mut self, soak: Duration) -> Self {
        self.soak = soak;
        self
    }

    /// Sets how long the lease lasts unless renewed. At least 3 s.
    #[must_use]
    pub fn with_lease_ttl(mut self, ttl: Duration) -> Self {
        self.lease_ttl = ttl;
        self
    }

    /// Sets how long a node that should serve must look dead before it counts as lost.
    #[must_use]
    pub fn with_lost_after(mut self, after: Duration) -> Self {
        self.lost_after = after;
        self
    }

    /// Sets what becomes of a change that meets a loss, where not enough is left to finish or undo it under the law.
    #[must_use]
    pub fn with_after_loss(mut self, after_loss: AfterLoss) -> Self {
        self.after_loss = after_loss;
        self
    }

    /// Sets where a run waits for an approval, and who may give it; nobody named: whoever can write to the store.
    #[must_use]
    pub fn with_approvals(
        mut self,
        points: impl IntoIterator<Item = ApprovalPoint>,
        approvers: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.approve = points.into_iter().collect();
        self.approvers = approvers.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how long a run waits for an approval, and what follows then.
    #[must_use]
    pub fn with_approve_within(mut self, within: Duration, then: OnNoApproval) -> Self {
        (self.approve_within, self.on_no_approval) = (within, then);
        self
    }
}
