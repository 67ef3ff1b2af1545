//! State diagrams as Mermaid.

use std::fmt::Debug;

/// A state diagram: states and edges in the order in which they were entered, each once.
#[derive(Debug, Default)]
pub(crate) struct Chart {
    states: Vec<(String, String)>,
    edges: Vec<(String, String, Vec<String>)>,
}

/// Where a diagram begins, and where it ends.
pub(crate) const OUTSIDE: &str = "[*]";

impl Chart {
    /// Enters a state.
    pub(crate) fn state(&mut self, id: &str, label: &str) {
        if !self.states.iter().any(|(known, _)| known == id) {
            self.states.push((id.into(), plain(label)));
        }
    }

    /// Enters an edge; those between the same two states are drawn as one, with all their labels.
    pub(crate) fn edge(&mut self, from: &str, to: &str, label: &str) {
        let label = plain(label);
        match self.edges.iter_mut().find(|(known, there, _)| known == from && there == to) {
            Some((.., labels)) if labels.contains(&label) => {}
            Some((.., labels)) => labels.push(label),
            None => self.edges.push((from.into(), to.into(), vec![label])),
        }
    }

    /// Orders the edges by the states that they come from, in the order in which those were entered.
    pub(crate) fn sort(&mut self) {
        let states = &self.states;
        let place = |from: &String| states.iter().position(|(id, _)| id == from).map_or(0, |place| place + 1);
        self.edges.sort_by_key(|(from, ..)| place(from));
    }

    /// Draws the states and edges, each line indented.
    pub(crate) fn lines(&self, indent: &str) -> String {
        let states = self.states.iter().map(|(id, label)| format!("{indent}state \"{label}\" as {id}\n"));
        let edges = self.edges.iter().map(|(from, to, labels)| match labels.join(" / ") {
            label if label.is_empty() => format!("{indent}{from} --> {to}\n"),
            label => format!("{indent}{from} --> {to} : {label}\n"),
        });
        states.chain(edges).collect()
    }

    /// Draws the whole.
    pub(crate) fn draw(&self) -> String {
        format!("stateDiagram-v2\n{}", self.lines("  "))
    }
}

/// What is drawn here are names of ours: none of them means anything to Mermaid.
fn plain(label: &str) -> String {
    assert!(
        label.chars().all(|letter| letter.is_ascii_alphanumeric() || " ,.-'()".contains(letter)),
        "{label:?} would have to be escaped"
    );
    label.into()
}

/// Draws a machine: every event in every state is given to its transition function, and what that returns is an edge. A refused
/// event has none; one that changes nothing is drawn, since it is allowed.
pub(crate) fn machine<S: Copy + Debug + PartialEq, E: Copy + Debug>(
    begin: Option<S>,
    states: &[S],
    events: &[E],
    on: impl Fn(S, E) -> Option<S>,
) -> Chart {
    let mut chart = Chart::default();
    for state in states {
        chart.state(&id(state), &words(state));
    }
    if let Some(begin) = begin {
        chart.edge(OUTSIDE, &id(&begin), "");
    }
    for state in states {
        for event in events {
            if let Some(next) = on(*state, *event) {
                assert!(states.contains(&next), "{state:?} on {event:?} leads to {next:?}, which is not drawn");
                chart.edge(&id(state), &id(&next), &words(event));
            }
        }
    }
    chart
}

/// `Ready { warm: true }` as `Ready_warm`.
fn id(state: &impl Debug) -> String {
    words(state).replace(", ", "_").replace(' ', "_")
}

/// `Ready { warm: true }` as `ready, warm`, `Draining { in_flight: false }` as `draining, not in flight`, `HostLost` as `host lost`.
pub(crate) fn words(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    let (name, rest) = text.split_once([' ', '(']).unwrap_or((&text, ""));
    let mut said = split(name);
    if let Some((field, yes)) = rest.trim_matches(|letter| "{} ".contains(letter)).split_once(": ") {
        let field = field.replace('_', " ");
        said += &if yes == "true" { format!(", {field}") } else { format!(", not {field}") };
    } else if let Some(payload) = rest.strip_suffix(')') {
        said += &format!(" as {}", split(payload));
    }
    said
}

fn split(name: &str) -> String {
    let mut said = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !said.is_empty() {
            said.push(' ');
        }
        said.push(letter.to_ascii_lowercase());
    }
    said
}
