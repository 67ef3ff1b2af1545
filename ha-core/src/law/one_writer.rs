use super::{Check, Invariant, Law, Violation};
use crate::state::{ClusterState, WriterEpoch};

impl Law<'_> {
    /// Checks I3: at most one node may write shared files, and its epoch is the highest that any host has seen. Two that
    /// write delete each other's files.
    ///
    /// # Errors
    /// The violation, with the nodes.
    pub fn one_writer(&self, state: &ClusterState) -> Check {
        let mut writers = state.nodes().filter(|(_, node)| node.writer > WriterEpoch::default());
        let Some((first, holder)) = writers.next() else { return Ok(()) };
        let name = |index| &self.topology.node(index).name;
        if let Some((second, _)) = writers.next() {
            let facts = format!("{} and {} may both write shared files", name(first), name(second));
            return Err(Violation::new(Invariant::OneWriter, facts));
        }
        if holder.writer < state.writer_epoch {
            let facts = format!(
                "{} may write with epoch {}, and epoch {} was seen already",
                name(first),
                holder.writer.number(),
                state.writer_epoch.number()
            );
            return Err(Violation::new(Invariant::OneWriter, facts));
        }
        Ok(())
    }
}
