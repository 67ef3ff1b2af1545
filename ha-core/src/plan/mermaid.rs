use std::fmt::Write as _;

use super::{OnFailure, Plan, Stage, Step};
use crate::action::Order;
use crate::topology::Topology;

impl Plan {
    /// Renders the plan as a Mermaid flowchart, for Markdown and reports: a box a stage, a node a step with its targets and limits,
    /// the point of no return between the stages, and the declared windows as notes. Dotted edges lead back: each says what takes
    /// its step back in a rollback, as far as the step had begun. The same plan gives the same text, and every name is escaped.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod observed { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs")); }
    /// use ha_core::procedure::{PatchRequest, Snapshot, plan};
    ///
    /// # let (topology, state, facts) = observed::cluster()?;
    /// # let patch = PatchRequest::new("2.0", vec!["apply".into()], vec!["restore".into()]).with_beside("1.0");
    /// let planned = plan(&patch, Snapshot::new(&topology, &state, &facts))?;
    /// let diagram = planned.plan().to_mermaid(&topology);
    /// assert!(diagram.starts_with("flowchart TD\n"));
    /// println!("```mermaid\n{diagram}```");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_mermaid(&self, topology: &Topology) -> String {
        let mut text = String::from("flowchart TD\n");
        let goal = self.goal_message();
        let goal = if goal.is_empty() { goal } else { format!(" to {goal}") };
        let begin = escaped(&format!("{} {}{goal}", self.procedure, self.cluster));
        let _ = writeln!(text, "  begin([\"plan {}: {begin}\"])", self.digest().short());
        for (number, stage) in self.stages.iter().enumerate() {
            self.stage_to_mermaid(topology, &mut text, number, stage);
        }
        let _ = writeln!(text, "  reached([\"end: {}\"])", escaped(&self.ends.reached));
        let last = self.edges_forward(&mut text);
        let _ = writeln!(text, "  {last} --> reached");
        self.edges_back(topology, &mut text);
        for (number, window) in self.windows.iter().enumerate() {
            let (what, at_most) = (escaped(&window.what.to_string()), escaped(&format!("{:?}", window.at_most)));
            let _ = writeln!(text, "  window{}>\"declared window: {what}, at most {at_most} each time\"]", number + 1);
            let _ = writeln!(text, "  window{} -.- begin", number + 1);
        }
        text
    }

    fn stage_to_mermaid(&self, topology: &Topology, text: &mut String, number: usize, stage: &Stage) {
        if number == self.point_of_no_return {
            let _ = writeln!(text, "  noreturn{{{{\"point of no return: from here on forward only\"}}}}");
        }
        let _ = writeln!(text, "  subgraph stage{}[\"stage {}: {}\"]", number + 1, number + 1, escaped(&stage.name));
        for (index, step) in stage.steps.iter().enumerate() {
            if let Some(approval) = self.approval_at(number, index) {
                let _ = writeln!(text, "    {}{{{{\"{}\"}}}}", asks(number, index), escaped(&approval.message()));
            }
            let targets: Vec<String> =
                stage.orders(step.action).map(|order| escaped(&order.target_name(topology))).collect();
            let (what, id) = (escaped(&step.action.what(&self.facts)), id(number, index));
            let (on, limits) = (some_of(&targets), limits(step));
            let _ = writeln!(text, "    {id}[\"{}.{} {what}<br/>on {on}<br/>{limits}\"]", number + 1, index + 1);
        }
        if stage.steps.is_empty() {
            let _ = writeln!(text, "    {}[\"nothing to do\"]", id(number, 0));
        }
        text.push_str("  end\n");
    }

    /// Draws step after step, and returns the last one.
    fn edges_forward(&self, text: &mut String) -> String {
        let mut last = String::from("begin");
        let mut go = |text: &mut String, next: String| {
            let _ = writeln!(text, "  {last} --> {next}");
            last = next;
        };
        for (number, stage) in self.stages.iter().enumerate() {
            if number == self.point_of_no_return {
                go(text, "noreturn".into());
            }
            for index in 0..stage.steps.len().max(1) {
                if self.approval_at(number, index).is_some() {
                    go(text, asks(number, index));
                }
                go(text, id(number, index));
            }
        }
        last
    }

    /// Draws the rollback: from each step that is taken back to the one before it, and to the end that it leads to.
    fn edges_back(&self, topology: &Topology, text: &mut String) {
        let mut before: Option<String> = None;
        for (number, stage) in self.stages.iter().enumerate().take(self.point_of_no_return) {
            for (index, step) in stage.steps.iter().enumerate() {
                let undo = self.undo(topology, stage, step);
                if undo.is_empty() {
                    continue;
                }
                if before.is_none() {
                    let _ = writeln!(text, "  back([\"end: {}\"])", escaped(&self.ends.rolled_back));
                }
                let (from, to) = (id(number, index), before.unwrap_or_else(|| "back".into()));
                let _ = writeln!(text, "  {from} -. \"undo: {undo}\" .-> {to}");
                before = Some(from);
            }
        }
    }

    /// Says what takes a step back: its inverse orders, those that do the same to several nodes as one.
    fn undo(&self, topology: &Topology, stage: &Stage, step: &Step) -> String {
        let mut said: Vec<(usize, String, Vec<String>)> = Vec::new();
        for order in stage.orders(step.action) {
            let known_good = order.node().and_then(|node| self.known_good.get(node.index()).copied().flatten());
            for (phase, undone) in order.inverse(known_good).into_iter().enumerate() {
                let (what, target) = (self.said(undone), escaped(&undone.target_name(topology)));
                match said.iter_mut().find(|(at, said, _)| (*at, said.as_str()) == (phase, what.as_str())) {
                    Some((.., targets)) if targets.contains(&target) => {}
                    Some((.., targets)) => targets.push(target),
                    None => said.push((phase, what, vec![target])),
                }
            }
        }
        said.sort_by_key(|(phase, ..)| *phase);
        let each = said.iter().map(|(_, what, targets)| format!("{what} on {}", some_of(targets)));
        each.collect::<Vec<_>>().join(", then ")
    }

    fn said(&self, order: Order) -> String {
        escaped(&order.action().what(&self.facts))
    }
}

/// How many targets of a wave are named.
const NAMED: usize = 4;

/// Names the first targets of a wave, and counts the others.
fn some_of(targets: &[String]) -> String {
    let named = targets.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match targets.len().saturating_sub(NAMED) {
        0 if named.is_empty() => "nothing".into(),
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Says what limits a step; its attempts and what follows a failure only where they are not the default.
fn limits(step: &Step) -> String {
    let mut limits = format!("at most {}", escaped(&format!("{:?}", step.deadline)));
    if step.attempts > 1 {
        let _ = write!(limits, ", {} attempts", step.attempts);
    }
    limits.push_str(match step.on_failure {
        OnFailure::RollBack => "",
        OnFailure::Hold => ", on failure hold",
        OnFailure::Withdraw => ", on failure take this stage back and hold",
    });
    limits
}

fn id(stage: usize, step: usize) -> String {
    format!("step{}x{}", stage + 1, step + 1)
}

/// Names the wait for an approval before a step.
fn asks(stage: usize, step: usize) -> String {
    format!("asks{}x{}", stage + 1, step + 1)
}

/// Makes any text safe inside a quoted Mermaid label: whatever Mermaid, Markdown or HTML would read as more than text becomes an
/// entity, and what cannot be seen a space.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        let is_link = letter == '.' && safe.ends_with("www");
        if is_link || SPECIAL.contains(letter) {
            let _ = write!(safe, "#{};", u32::from(letter));
        } else if letter.is_control() || ('\u{2028}'..='\u{2029}').contains(&letter) {
            safe.push(' ');
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// Ends a label, begins an entity, a comment or a tag, or is markup: Mermaid reads labels as Markdown.
const SPECIAL: &str = "\"#;&<>`\\%$:*_~[]@";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::action::{SchemaAction, ServerAction, TrafficAction};
    use crate::plan::{Degraded, DegradedWindow, Draft, Ends, Goal};
    use crate::state::Schema;
    use crate::topology::Policy;

    /// The cluster of the examples in the documentation, here for the crate's own types.
    #[allow(unreachable_pub, reason = "the documentation's examples use it too")]
    mod observed {
        use crate as ha_core;
        include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/observed.rs"));
    }

    /// Names that mean something to Mermaid, to Markdown or to HTML.
    const NASTY: [&str; 18] = [
        "",
        " ",
        "end",
        "\"]; end",
        "say \"hi\"",
        "[a](b) {c} ((d))",
        "#quot; #35;",
        "%%{init: {}}%%",
        "a --> b",
        "a;b",
        "<script>alert(1)</script>",
        "`markdown`",
        "1. **bold** _it_",
        "https://www.example.com",
        "two\nlines\r\u{2028}",
        "graph subgraph style:#fff;",
        "ünïcode 节点 🚀",
        "$$x$$ \\n &amp; fa:fa-car",
    ];

    fn plan_of(names: &[&str]) -> (Plan, Topology) {
        let (topology, state, mut facts) = observed::cluster().unwrap();
        let release = facts.releases.enter(names[0]).unwrap();
        let all: Vec<_> = topology.nodes().map(|(node, _)| node).collect();
        let policy = Policy::default();
        let mut draft = Draft::new(names[0], &topology, state, facts, Goal::of_release(release));
        draft.ends = Ends::new(names[0], names[names.len() - 1]);
        for (number, name) in names.iter().enumerate() {
            let steps = vec![
                Step::new(TrafficAction::TakeOut, &policy),
                Step::new(ServerAction::Apply { to: release }, &policy).with_attempts(2),
                Step::new(ServerAction::Start, &policy).with_on_failure(OnFailure::Withdraw),
            ];
            draft = draft.with_stage(Stage::new(*name, vec![all[number % all.len()]], steps));
        }
        let contract = Step::new(SchemaAction::Migrate { to: Schema::Contracted }, &policy);
        draft.point_of_no_return = draft.stages.len();
        draft = draft.with_stage(Stage::new("remove", Vec::new(), vec![contract.with_on_failure(OnFailure::Hold)]));
        draft = draft.with_window(DegradedWindow::new(Degraded::ReloadExposure, Duration::from_millis(500)));
        (Plan::from(draft), topology)
    }

    /// Reads a label as Mermaid does.
    fn decoded(label: &str) -> String {
        let mut parts = label.split('#');
        let mut text = parts.next().unwrap_or_default().to_string();
        for part in parts {
            let (number, rest) = part.split_once(';').unwrap();
            text.push(char::from_u32(number.parse().unwrap()).unwrap());
            text.push_str(rest);
        }
        text
    }

    /// Checks one line of a flowchart: a statement that we write, with labels in which nothing is left to be read.
    fn assert_valid(line: &str) {
        let parts: Vec<&str> = line.split('"').collect();
        assert!(matches!(parts.len(), 1 | 3), "one label or none: {line}");
        let bare: String = parts.iter().step_by(2).copied().collect();
        assert!(
            bare.chars().all(|letter| letter.is_ascii_alphanumeric() || " ([{}])>-.".contains(letter)),
            "nothing of a name is outside of a label: {line}"
        );
        if let Some(label) = parts.get(1) {
            let ours = ["subgraph", "noreturn", "begin", "reached", "back([", "undo", "window", "asks"];
            let colons = ours.iter().any(|ours| line.contains(ours));
            let text = label.replace("<br/>", "").replacen(": ", "", usize::from(colons));
            // Mermaid takes no empty label, and reads one that begins as a list does as a list.
            assert!(label.starts_with(|letter: char| letter.is_ascii_alphanumeric()), "{line}");
            assert!(!label.starts_with("1. "), "{line}");
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once('#') {
                assert!(!before.contains(|letter| SPECIAL.contains(letter)), "{line}");
                let (number, after) = after.split_once(';').unwrap();
                assert!(number.parse::<u32>().is_ok(), "{line}");
                rest = after;
            }
            assert!(!rest.contains(|letter| SPECIAL.contains(letter)), "{line}");
        }
    }

    #[test]
    fn a_name_that_means_something_to_mermaid_is_text_and_stays_what_it_is() {
        let (plan, topology) = plan_of(&NASTY);
        let diagram = plan.to_mermaid(&topology);
        diagram.lines().for_each(assert_valid);
        for name in NASTY {
            let shown = decoded(&escaped(name));
            assert_eq!(shown, name.replace(['\n', '\r', '\u{2028}'], " "));
            assert!(diagram.contains(&format!(": {}\"]", escaped(name))), "{name}");
        }
        let opened = diagram.lines().filter(|line| line.starts_with("  subgraph ")).count();
        assert_eq!((opened, diagram.lines().filter(|line| *line == "  end").count()), (19, 19));
    }

    #[test]
    fn every_stage_step_limit_window_and_rollback_is_drawn_and_the_point_of_no_return_once() {
        let (plan, topology) = plan_of(&["first", "second"]);
        let diagram = plan.to_mermaid(&topology);
        let expected = format!(
            r#"flowchart TD
  begin(["plan {}: first orders to release first"])
  subgraph stage1["stage 1: first"]
    step1x1["1.1 take out<br/>on esb1<br/>at most 100s"]
    step1x2["1.2 apply first<br/>on esb1<br/>at most 600s, 2 attempts"]
    step1x3["1.3 start<br/>on esb1<br/>at most 300s, on failure take this stage back and hold"]
  end
"#,
            plan.digest().short()
        );
        assert!(diagram.starts_with(&expected), "{diagram}");
        for line in [
            r#"  noreturn{{"point of no return: from here on forward only"}}"#,
            r#"  back(["end: second"])"#,
            r#"  step1x1 -. "undo: gate on esb1, then admit on esb1" .-> back"#,
            r#"  step1x2 -. "undo: restore 1.0 on esb1" .-> step1x1"#,
            r#"  step2x1 -. "undo: gate on esb2, then admit on esb2" .-> step1x3"#,
            "  step2x3 --> noreturn",
            "  noreturn --> step3x1",
            r#"    step3x1["3.1 bring the schema to contracted<br/>on database<br/>at most 3600s, on failure hold"]"#,
            "  step3x1 --> reached",
            r#"  window1>"declared window: a balancer that loses its runtime state may send requests to a node under change, at most 500ms each time"]"#,
        ] {
            assert_eq!(diagram.lines().filter(|there| *there == line).count(), 1, "{line}\n{diagram}");
        }
        assert_eq!(diagram, plan.to_mermaid(&topology), "the same plan gives the same text");
    }

    #[test]
    fn a_wave_is_one_node_and_taken_back_as_one() {
        let (plan, topology) = plan_of(&["wave"]);
        let mut draft = Draft::from(plan);
        draft.stages[0].nodes = topology.nodes().map(|(node, _)| node).collect();
        let diagram = Plan::from(draft).to_mermaid(&topology);
        for line in [
            r#"    step1x1["1.1 take out<br/>on esb1, esb2, spare1<br/>at most 100s"]"#,
            r#"  step1x1 -. "undo: gate on esb1, esb2, spare1, then admit on esb1, esb2, then stand by on spare1" .-> back"#,
        ] {
            assert!(diagram.lines().any(|there| there == line), "{line}\n{diagram}");
        }
    }

    #[test]
    fn of_a_large_wave_the_first_are_named_and_the_others_counted() {
        let names: Vec<String> = (1..=1000).map(|number| format!("esb{number}")).collect();
        assert_eq!(some_of(&names), "esb1, esb2, esb3, esb4 and 996 more");
        assert_eq!(some_of(&names[..4]), "esb1, esb2, esb3, esb4");
    }

    proptest! {
        #[test]
        fn any_text_is_a_valid_label(text in "\\PC{0,30}|[ -~\n\0]{0,30}") {
            let (plan, topology) = plan_of(&[&text, "x"]);
            plan.to_mermaid(&topology).lines().for_each(assert_valid);
            let shown = |letter: char| if letter.is_control() { ' ' } else { letter };
            let lines = |letter: char| if matches!(letter, '\u{2028}' | '\u{2029}') { ' ' } else { letter };
            prop_assert_eq!(decoded(&escaped(&text)), text.chars().map(shown).map(lines).collect::<String>());
        }
    }
}
