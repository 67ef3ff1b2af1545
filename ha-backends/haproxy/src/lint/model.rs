use std::collections::HashSet;

use super::server::{Server, servers};
use super::words::{Line, first_condition, lines};

/// The first word of every section; what none of these rules reads is only there to end the section before.
const SECTIONS: &str = "acme backend cache crt-store defaults fcgi-app frontend global http-errors listen log-forward \
    log-profile mailers namespace_list peers program resolvers ring traces userlist";

/// One section with its own lines.
#[derive(Debug)]
pub(super) struct Section {
    header: Line,
    own: Vec<Line>,
}

/// A setting, and where it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'c> {
    pub(super) section: &'c Section,
    pub(super) line: &'c Line,
}

/// A whole file.
#[derive(Debug)]
pub(super) struct Config {
    sections: Vec<Section>,
    /// The line of the first `.if`.
    pub(super) first_condition: Option<usize>,
}

/// A frontend, backend or listen section with what it inherits.
#[derive(Debug)]
pub(super) struct Proxy<'c> {
    pub(super) section: &'c Section,
    /// The lines in force: those of the `defaults` sections first, then its own.
    lines: Vec<Found<'c>>,
    pub(super) servers: Vec<Server<'c>>,
}

/// Where requests may go to; a name with a variable may be any.
#[derive(Debug)]
pub(super) struct Targets<'c> {
    names: HashSet<&'c str>,
    any: bool,
}

impl Section {
    pub(super) fn kind(&self) -> &str {
        self.header.word(0)
    }

    pub(super) fn name(&self) -> &str {
        match self.header.word(1) {
            "from" if self.kind() == "defaults" => "",
            name => name,
        }
    }

    /// Returns what a reader calls it: `backend esb`.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.kind(), self.name()).trim_end().to_string()
    }

    pub(super) fn header(&self) -> Found<'_> {
        Found { section: self, line: &self.header }
    }
}

impl Config {
    pub(super) fn parse(text: &str) -> Self {
        let mut sections: Vec<Section> = Vec::new();
        for line in lines(text) {
            if !line.off && SECTIONS.split(' ').any(|word| word == line.word(0)) {
                sections.push(Section { header: line, own: Vec::new() });
            } else if let Some(section) = sections.last_mut() {
                section.own.push(line);
            }
        }
        Self { sections, first_condition: first_condition(text) }
    }

    pub(super) fn section(&self, kind: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind() == kind)
    }

    /// Lists what the global sections say under `words`, in the order of the lines.
    pub(super) fn global<'c>(&'c self, words: &'c [&str]) -> impl Iterator<Item = Found<'c>> {
        let globals = self.sections.iter().filter(|section| section.kind() == "global");
        let lines = globals.flat_map(|section| section.own.iter().map(move |line| Found { section, line }));
        lines.filter(move |found| !found.line.off && found.line.starts_with(words))
    }

    /// Lists the frontend, backend and listen sections.
    pub(super) fn proxies(&self) -> Vec<Proxy<'_>> {
        let is_proxy = |section: &Section| ["backend", "frontend", "listen"].contains(&section.kind());
        let all = self.sections.iter().enumerate().filter(|(_, section)| is_proxy(section));
        all.map(|(index, section)| {
            let lines = self.lines_in_force(index);
            Proxy { section, servers: servers(&lines), lines }
        })
        .collect()
    }

    /// Collects a section's lines behind those it inherits.
    ///
    /// A proxy without `from` takes the last `defaults` section before it; a `defaults` section without `from` starts anew.
    fn lines_in_force(&self, index: usize) -> Vec<Found<'_>> {
        let mut chain = Vec::new();
        let mut next = Some(index);
        while let Some((index, section)) = next.and_then(|index| Some((index, self.sections.get(index)?))) {
            chain.push(section);
            let defaults = |named: Option<&str>| {
                let wanted =
                    |section: &Section| section.kind() == "defaults" && named.is_none_or(|name| section.name() == name);
                self.sections.iter().take(index).rposition(wanted)
            };
            next = match (section.header.after("from"), section.kind()) {
                (Some(name), _) => defaults(Some(name)),
                (None, "defaults") => None,
                (None, _) => defaults(None),
            };
        }
        let mut all = Vec::new();
        for section in chain.into_iter().rev() {
            all.extend(section.own.iter().map(|line| Found { section, line }));
        }
        all
    }
}

impl<'c> Proxy<'c> {
    /// Lists the lines in force that start with `words`.
    pub(super) fn all(&self, words: &[&str]) -> impl Iterator<Item = Found<'c>> {
        self.lines.iter().filter(move |found| found.line.starts_with(words)).copied()
    }

    /// Returns the setting in force: the last one, unless it is switched off again.
    pub(super) fn last(&self, words: &[&str]) -> Option<Found<'c>> {
        self.all(words).last().filter(|found| !found.line.off)
    }

    /// Returns the last option of `names` that is on.
    pub(super) fn last_option(&self, names: &[&str]) -> Option<Found<'c>> {
        self.all(&["option"]).filter(|found| !found.line.off && names.contains(&found.line.word(1))).last()
    }

    pub(super) fn is_http(&self) -> bool {
        self.last(&["mode"]).is_some_and(|found| found.line.word(1) == "http")
    }

    /// Collects the backends that requests may go to from here.
    pub(super) fn targets(&self) -> Targets<'c> {
        let found = self.all(&["use_backend"]).chain(self.last(&["default_backend"]));
        let mut names: HashSet<&str> = found.map(|found| found.line.word(1)).collect();
        if self.section.kind() == "listen" {
            names.insert(self.section.name());
        }
        let any = names.iter().any(|name| name.contains("%[") || name.contains('$'));
        Targets { names, any }
    }
}

impl Targets<'_> {
    pub(super) fn contains(&self, pool: &str) -> bool {
        self.any || self.names.contains(pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
defaults one
  mode http
  option redispatch
defaults two from one
  timeout server 5s
  no option redispatch
defaults
  mode tcp
backend a
  option redispatch 1
backend b from two
frontend f from one
  use_backend %[path]
";

    #[test]
    fn a_proxy_inherits_from_the_section_it_names_or_from_the_last_one() {
        let config = Config::parse(TEXT);
        let proxies = config.proxies();
        let word = |proxy: &Proxy<'_>, words: &[&str]| {
            proxy.last(words).map(|found| (found.line.number, found.section.title()))
        };
        assert_eq!(word(&proxies[0], &["option", "redispatch"]), Some((10, "backend a".into())));
        assert_eq!(word(&proxies[0], &["timeout", "server"]), None);
        assert!(!proxies[0].is_http());
        assert_eq!(word(&proxies[1], &["option", "redispatch"]), None);
        assert_eq!(word(&proxies[1], &["timeout", "server"]), Some((5, "defaults two".into())));
        assert!(proxies[1].is_http());
        assert!(proxies[2].targets().contains("a") && !proxies[0].targets().contains("a"));
    }
}
