use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::copy::Copy;
use super::field::{Field, Piece};
use super::finding::{Place, Rule};
use super::lists::Source;
use super::model::{Edge, End};
use super::rules::Out;
use super::text::Text;
use super::trace::{Act, AroundKind, At, Trace};

/// More destinations than this are not read.
const MOST: usize = 4096;

/// A call of rsync, and what it copies where.
#[derive(Debug)]
pub(super) struct Call {
    /// Its place among the acts.
    pub(super) act: usize,
    pub(super) at: At,
    pub(super) copy: Copy,
    pub(super) edges: Vec<Edge>,
}

/// What a loop is at, and the line of the list that it is from.
#[derive(Clone, Debug)]
struct Item {
    text: String,
    listed: Option<At>,
}

/// The lists that were given, by the numbers of their files.
pub(super) struct Lists<'t> {
    pub(super) texts: &'t [Text],
    pub(super) lists: &'t [usize],
    /// Those that a loop has read.
    pub(super) read: BTreeSet<usize>,
}

/// Finds what a run copies.
pub(super) fn calls(trace: &Trace, lists: &mut Lists<'_>, out: &mut Out<'_>) -> Vec<Call> {
    let mut calls = Vec::new();
    for (number, act) in trace.copies() {
        let copy = Copy::parse(&act.fields[1..]);
        if copy.is_dry {
            continue;
        }
        let edges = edges(trace, act, &copy, lists, out);
        calls.push(Call { act: number, at: act.at, copy, edges });
    }
    calls
}

fn edges(trace: &Trace, act: &Act, copy: &Copy, lists: &mut Lists<'_>, out: &mut Out<'_>) -> Vec<Edge> {
    let unclear = copy.unclear.clone().or_else(|| copy.ends.iter().find_map(Field::unknown));
    if let Some(unknown) = unclear {
        out.add(Rule::NotUnderstood, act.at, format!("what {unknown} is"));
        return Vec::new();
    }
    let Some((destination, sources)) = copy.ends.split_last().filter(|(_, sources)| !sources.is_empty()) else {
        out.add(Rule::NotUnderstood, act.at, "a copy without a source and a destination");
        return Vec::new();
    };
    let mut rounds = vec![BTreeMap::new()];
    for block in Act::loops(&copy.ends) {
        let items = items(trace, block, lists, out);
        if rounds.len().saturating_mul(items.len()) > MOST {
            out.add(Rule::NotUnderstood, act.at, format!("more than {MOST} destinations"));
            return Vec::new();
        }
        let with = |round: &BTreeMap<usize, Item>, item: &Item| {
            let mut round = round.clone();
            round.insert(block, item.clone());
            round
        };
        rounds = rounds.iter().flat_map(|round| items.iter().map(move |item| with(round, item))).collect();
    }
    let rsh = rsh(act, copy, out);
    let (mut edges, mut seen) = (Vec::new(), BTreeSet::new());
    for round in rounds {
        let listed = round.values().find_map(|item| item.listed);
        for source in sources {
            let Some(ends) = ends(act, source, destination, &round, listed, out) else { continue };
            let edge = Edge { rsh: rsh.clone(), ..edge(act, copy, ends, listed, out) };
            if seen.insert((edge.source.clone(), edge.destination.host.clone(), edge.target())) {
                edges.push(edge);
            } else {
                let what = format!("{} is named twice: its files are copied twice a run", shown(&edge.destination));
                out.add(Rule::DestinationTwice, listed.unwrap_or(act.at), what);
            }
        }
    }
    edges
}

fn edge(act: &Act, copy: &Copy, (source, destination): (End, End), listed: Option<At>, out: &Out<'_>) -> Edge {
    let number = |field: &Option<Field>| field.as_ref()?.text()?.parse::<u32>().ok();
    Edge {
        at: out.place(act.at),
        listed_at: listed.map(|at| out.place(at)),
        source,
        destination,
        excludes: copy.excludes.iter().map(Field::shown).collect(),
        rsh: Vec::new(),
        options: copy.options.clone(),
        deletes: copy.deletes,
        max_delete: number(&copy.max_delete),
        timeout: number(&copy.timeout)
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.into())),
    }
}

fn rsh(act: &Act, copy: &Copy, out: &mut Out<'_>) -> Vec<String> {
    let Some(field) = copy.rsh.as_ref().or(act.rsh.as_ref()) else { return Vec::new() };
    Copy::rsh_words(field).unwrap_or_else(|| {
        out.add(Rule::NotUnderstood, act.at, format!("the remote shell {}", field.shown()));
        Vec::new()
    })
}

/// Reads the two ends of a copy in one round of its loops.
fn ends(
    act: &Act,
    source: &Field,
    destination: &Field,
    round: &BTreeMap<usize, Item>,
    listed: Option<At>,
    out: &mut Out<'_>,
) -> Option<(End, End)> {
    let (from, to) = (said(source, round), said(destination, round));
    let is_listed = listed.is_some();
    let at = listed.unwrap_or(act.at);
    let rule = if is_listed { Rule::ListLine } else { Rule::NotUnderstood };
    let (Some(source), Some(destination)) = (End::parse(&from), End::parse(&to)) else {
        let wrong = if End::parse(&to).is_none() { to } else { from };
        out.add(rule, at, format!("{wrong:?} is no path, and no user@host:path over ssh"));
        return None;
    };
    match (&source.host, &destination.host) {
        (None, None) if is_listed => {
            out.add(rule, at, format!("{to:?} names no host: the files go into a folder of this machine"));
            return None;
        }
        (None, None) => {
            let what = format!("{from} is copied to {to}, and both are paths of one machine");
            out.add(Rule::LocalCopy, at, what);
        }
        (Some(_), Some(_)) => {
            out.add(Rule::NotUnderstood, act.at, "a copy between two other machines");
            return None;
        }
        (Some(host), None) => {
            out.add(Rule::Pull, act.at, format!("the files are fetched from {host}"));
        }
        (None, Some(host)) if out.is_own_host(host) => {
            let what =
                format!("{host} is the machine that the files come from: with --delete it may empty its own tree");
            out.add(Rule::DestinationOwnHost, at, what);
        }
        (None, Some(_)) => {}
    }
    Some((source, destination))
}

/// Returns the text of a field in one round of its loops.
fn said(field: &Field, round: &BTreeMap<usize, Item>) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) | Piece::Output(text) | Piece::Unknown(text) => text.clone(),
        Piece::Loop { block, word, of } => {
            let text = round.get(block).map_or("", |item| item.text.as_str());
            let mut rest = text.trim();
            for _ in 0..*word {
                let cut = rest.find(char::is_whitespace).unwrap_or(rest.len());
                rest = rest[cut..].trim_start();
            }
            let is_last = word + 1 == *of;
            let end = if is_last { rest.len() } else { rest.find(char::is_whitespace).unwrap_or(rest.len()) };
            rest[..end].to_string()
        }
    };
    field.pieces.iter().map(piece).collect()
}

/// Lists what a loop goes over.
fn items(trace: &Trace, block: usize, lists: &mut Lists<'_>, out: &mut Out<'_>) -> Vec<Item> {
    let around = &trace.blocks[block];
    let AroundKind::Loop { source, .. } = &around.kind else { return Vec::new() };
    let (path, by_word, skips_comments) = match source {
        Source::Items(items) => return items.iter().map(|text| Item { text: text.clone(), listed: None }).collect(),
        Source::Unknown(shown) => {
            out.add(Rule::NotUnderstood, around.at, format!("what the loop goes over: {shown}"));
            return Vec::new();
        }
        Source::File { path, by_word, skips_comments } => (path, *by_word, *skips_comments),
    };
    let Some(number) = lists.lists.iter().copied().find(|number| lists.texts[*number].is_at(path)) else {
        out.add(Rule::ListNotGiven, around.at, format!("the destinations are in {path}"));
        return Vec::new();
    };
    lists.read.insert(number);
    let mut items = Vec::new();
    for (line, text) in lists.texts[number].lines() {
        let (text, at) = (text.trim(), (number, line));
        if text.starts_with('#') {
            if !skips_comments {
                out.add(Rule::ListLine, at, "the loop takes the comment for a destination");
            }
        } else if by_word {
            items.extend(text.split_whitespace().map(|word| Item { text: word.into(), listed: Some(at) }));
        } else if !text.is_empty() {
            items.push(Item { text: text.into(), listed: Some(at) });
        }
    }
    items
}

/// Checks a list that no script reads which was given.
pub(super) fn check_alone(list: &Text, number: usize, out: &mut Out<'_>) {
    let mut seen = BTreeSet::new();
    for (line, text) in list.lines() {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let remote = |text: &str| End::parse(text).filter(|end| end.host.is_some());
        match remote(text).or_else(|| remote(&format!("{text}:/"))) {
            None => out.add(Rule::ListLine, (number, line), format!("{text:?} is no destination")),
            Some(end) if !seen.insert((end.host.clone(), end.path.clone())) => {
                out.add(Rule::DestinationTwice, (number, line), format!("{text} is named twice"));
            }
            Some(_) => {}
        }
    }
}

pub(super) fn shown(end: &End) -> String {
    let user = end.user.as_ref().map_or(String::new(), |user| format!("{user}@"));
    let host = end.host.as_ref().map_or(String::new(), |host| format!("{host}:"));
    format!("{user}{host}{}", end.path)
}

/// The place of an edge, for messages: the line of its list, or that of the call.
pub(super) fn place(edge: &Edge) -> &Place {
    edge.listed_at.as_ref().unwrap_or(&edge.at)
}
