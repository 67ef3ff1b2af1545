use std::fmt::Write as _;

use super::Plan;
use crate::action::Verb;
use crate::topology::Topology;

impl Plan {
    /// Renders the plan as plain text, one line a step.
    pub fn to_text(&self, topology: &Topology) -> String {
        let mut text = String::new();
        let digest = self.digest();
        let _ = writeln!(
            text,
            "plan {}: {} {} to release {}, {} stages, {} steps",
            digest.short(),
            self.procedure,
            self.cluster,
            self.releases.name(self.to),
            self.stages.len(),
            self.steps(),
        );
        for (number, stage) in self.stages.iter().enumerate() {
            if number == self.point_of_no_return {
                let _ = writeln!(text, "  -- point of no return: from here on forward only --");
            }
            let targets: Vec<&str> = stage.targets.iter().map(|node| topology.node(*node).name.as_str()).collect();
            let _ = writeln!(text, "  {}. {} [{}]", number + 1, stage.name, targets.join(", "));
            for (index, step) in stage.steps.iter().enumerate() {
                let release = match step.verb {
                    Verb::Apply { to } | Verb::Restore { to } => format!(" {}", self.releases.name(to)),
                    Verb::TakeOut
                    | Verb::Stop
                    | Verb::Start
                    | Verb::Gate
                    | Verb::Admit
                    | Verb::StandBy
                    | Verb::Soak => String::new(),
                };
                let _ = writeln!(
                    text,
                    "     {}.{} {}{release}, at most {:?}",
                    number + 1,
                    index + 1,
                    step.verb,
                    step.deadline,
                );
            }
        }
        text
    }
}
