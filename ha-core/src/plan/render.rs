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
            "plan {}: {} {} to {}, {} stages, {} steps",
            digest.short(),
            self.procedure,
            self.cluster,
            self.goal_words(),
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
                    Verb::Apply { to } | Verb::Restore { to } => format!(" {}", self.facts.releases.name(to)),
                    Verb::Deploy { to } => format!(" generation {}", self.facts.generations.sequence(to)),
                    _ => String::new(),
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

    /// Says in words what all members have at the end.
    pub fn goal_words(&self) -> String {
        let release = self.goal.release.map(|release| format!("release {}", self.facts.releases.name(release)));
        let generation = self.goal.generation.map(|id| format!("generation {}", self.facts.generations.sequence(id)));
        let schema = self.goal.schema.map(|schema| format!("schema {schema}"));
        [release, generation, schema].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}
