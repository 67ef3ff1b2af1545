use std::fmt::Write as _;

use super::Plan;
use crate::topology::Topology;

impl Plan {
    /// Renders the plan as plain text, one line a step.
    pub fn to_text(&self, topology: &Topology) -> String {
        let mut text = String::new();
        let (digest, goal) = (self.digest(), self.goal_message());
        let _ = writeln!(
            text,
            "plan {}: {} {}{}, {} stages, {} steps",
            digest.short(),
            self.procedure,
            self.cluster,
            if goal.is_empty() { goal } else { format!(" to {goal}") },
            self.stages.len(),
            self.steps(),
        );
        if let Some(scripts) = self.facts.schema_change.as_ref().filter(|_| self.goal.schema.is_some()) {
            let _ = writeln!(text, "  migration scripts: {}", scripts.verdict);
        }
        for (number, stage) in self.stages.iter().enumerate() {
            if number == self.point_of_no_return {
                let _ = writeln!(text, "  -- point of no return: from here on forward only --");
            }
            let nodes: Vec<&str> = stage.nodes.iter().map(|node| topology.node(*node).name.as_str()).collect();
            let nodes = if nodes.is_empty() { String::new() } else { format!(" [{}]", nodes.join(", ")) };
            let _ = writeln!(text, "  {}. {}{nodes}", number + 1, stage.name);
            for (index, step) in stage.steps.iter().enumerate() {
                if let Some(approval) = self.approval_at(number, index) {
                    let _ = writeln!(text, "     -- {} --", approval.message());
                }
                let what = step.action.what(&self.facts);
                let _ = writeln!(text, "     {}.{} {what}, at most {:?}", number + 1, index + 1, step.deadline);
            }
        }
        text
    }

    /// Says what all members have at the end.
    pub fn goal_message(&self) -> String {
        let release = self.goal.release.map(|release| format!("release {}", self.facts.releases.name(release)));
        let generation = self.goal.generation.map(|id| format!("generation {}", self.facts.generations.sequence(id)));
        let schema = self.goal.schema.map(|schema| format!("schema {schema}"));
        let route = self.facts.service.as_ref().map(|service| &service.route);
        let exposure = self.goal.exposure.zip(route).map(|(exposure, route)| format!("route {route} {exposure}"));
        [release, generation, schema, exposure].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}
