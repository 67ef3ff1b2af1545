use super::RunReport;
use super::build::ReportBuilder;
use crate::law::Law;
use crate::machine::{FoldError, left_behind};
use crate::record::{Entry, Evidence, OutcomeKind, Record, RunId};
use crate::safety::prove;
use crate::topology::Topology;

impl RunReport {
    /// Makes the report of a recorded run from its entries alone, the next day or by another controller.
    ///
    /// Its plans are proven again. What the guard saw is not recorded: `lowest_margin` and `pools` are empty. A run that has not
    /// ended has `ended: false`, and its steps without an outcome are `Unknown`.
    ///
    /// # Errors
    /// [`FoldError`]: the entries are none, are damaged, or are of another topology. `topology` is to be that of the run: its
    /// cluster file of that time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    /// use ha_core::journal::Journal;
    /// use ha_core::record::RunId;
    /// use ha_core::report::RunReport;
    /// use ha_core::topology::Topology;
    ///
    /// async fn report(topology: &Topology, journal: &dyn Journal, run: &RunId) -> Result<RunReport, Box<dyn Error>> {
    ///     Ok(RunReport::from_entries(topology, run, &journal.read(run).await?)?)
    /// }
    /// ```
    pub fn from_entries(topology: &Topology, run: &RunId, entries: &[Entry]) -> Result<Self, FoldError> {
        let first = entries.first().ok_or(FoldError::NoSuchRun)?;
        let Record::Opened { plan } = &first.record else { return Err(FoldError::NotOpened) };
        let mut report = ReportBuilder::new(run, plan, None, &plan.reach.differences(topology));
        let folded = report.take_in(topology, entries, |plan| prove(topology, plan).ok())?;
        for order in report.in_flight() {
            let evidence = Evidence::failed("begun; the journal has no outcome of it");
            report.ended(topology, order, OutcomeKind::Unknown, &evidence, report.since_begun(order));
        }
        let (plan, cluster) = (&folded.plan, &folded.state.cluster);
        let open = Law::new(topology, &plan.facts).open_loans(cluster);
        let message = folded.end.map_or_else(|| NOT_ENDED.into(), |end| end.message(plan.ends()));
        Ok(report.finish(folded.end, message, (open, left_behind(plan, cluster))))
    }
}

const NOT_ENDED: &str = "has not ended: a controller may be at it now; if none is, resume it";
