use ha_core::law::Law;
use ha_core::machine::{Decision, Folded, decide, fold, refusal};
use ha_core::record::{Entry, Mode, OutcomeKind};

use crate::cluster::Cluster;

/// A journal: lines of entries behind one that opens a run. A line `/record/opened/plan/start/layout [0]` changes that
/// opening entry by JSON pointer. An entry that is read is written as it was; a journal that folds can be gone on with.
pub fn journal_entry(data: &[u8]) {
    goes_on(data);
}

pub(crate) fn goes_on(data: &[u8]) -> bool {
    let (Ok(text), Some(cluster)) = (std::str::from_utf8(data), Cluster::get()) else { return false };
    let (mut opened, mut entries) = (cluster.opened.clone(), Vec::new());
    for line in text.lines().take(64) {
        if let Some((pointer, value)) = line.split_once(' ').filter(|_| line.starts_with('/')) {
            if let (Some(place), Ok(value)) = (opened.pointer_mut(pointer), serde_json::from_str(value)) {
                *place = value;
            }
        } else if let Ok(entry) = serde_json::from_str::<Entry>(line) {
            let written = serde_json::to_string(&entry).unwrap_or_default();
            assert_eq!(serde_json::from_str::<Entry>(&written).ok().as_ref(), Some(&entry), "it is read otherwise");
            entries.push(entry);
        }
    }
    let _ = fold(&cluster.topology, &entries);
    let Ok(opened) = serde_json::from_value::<Entry>(opened) else { return false };
    entries.insert(0, opened);
    let _ = fold(&cluster.topology, &entries);
    entries.iter_mut().zip(0..).for_each(|(entry, number)| entry.sequence = number);
    let Ok(folded) = fold(&cluster.topology, &entries) else { return false };
    assert_eq!(Some(folded.epoch), entries.iter().map(|entry| entry.epoch).max());
    go_on(cluster, folded);
    entries.len() > 1
}

/// Goes on with the run as a controller would that takes it over: everything works from now on.
fn go_on(cluster: &Cluster, folded: Folded) {
    let Folded { plan, mut state, .. } = folded;
    state.mark_unknown();
    let law = Law::new(&cluster.topology, plan.facts());
    let _ = refusal(&cluster.topology, &plan, &state);
    for _ in 0..64 {
        match decide(&cluster.topology, &plan, &state) {
            Decision::Act(order) => {
                state.begin_order(law, order);
                if state.resolve(law, order, OutcomeKind::Done).is_err() {
                    return;
                }
            }
            Decision::Look(order) => {
                let truth = if state.is_done(law, order) { OutcomeKind::Done } else { OutcomeKind::NotDone };
                if state.resolve(law, order, truth).is_err() {
                    return;
                }
            }
            Decision::Move(to, turn) => state.enter(to, turn),
            Decision::Await => return,
            Decision::End(end) => state.cursor.mode = Mode::Ended(end),
        }
        if matches!(state.cursor.mode, Mode::Ended(_)) {
            return;
        }
    }
}
