use std::collections::BTreeMap;

use super::model::Found;

/// Server keywords that take the next word; the others stand alone.
const WITH_VALUE: &str = "\
    addr agent-addr agent-inter agent-port agent-send alpn ca-file cc check-alpn check-pool-conn-name \
    check-proto check-sni ciphers ciphersuites client-sigalgs cookie crl-file crt curves downinter \
    error-limit fall fastinter guid hash-key id idle-ping init-addr init-state inter interface \
    log-bufsize log-proto max-reuse maxconn maxqueue minconn namespace npn observe on-error \
    on-marked-down on-marked-up pool-conn-name pool-low-conn pool-max-conn pool-purge-delay port proto \
    proxy-v2-options redir resolve-net resolve-opts resolve-prefer resolvers rise shard sigalgs \
    slowstart sni socks4 source ssl-max-ver ssl-min-ver tcp-ut track usesrc verify verifyhost weight ws";

/// At most this many names of `server-template` lines are expanded for one backend.
const MAX_EXPANDED: u32 = 4096;

/// One `server` or `server-template` line with what `default-server` lines before it say.
#[derive(Debug)]
pub(super) struct Server<'c> {
    pub(super) at: Found<'c>,
    /// The name, or the prefix of a template.
    pub(super) name: &'c str,
    /// The first and last number of a template.
    range: Option<(u32, u32)>,
    pub(super) address: &'c str,
    params: Params<'c>,
}

/// A parameter of a server, and where it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Param<'c> {
    pub(super) value: &'c str,
    pub(super) at: Found<'c>,
}

type Params<'c> = BTreeMap<&'c str, Param<'c>>;

impl<'c> Server<'c> {
    pub(super) fn param(&self, keyword: &str) -> Option<Param<'c>> {
        self.params.get(keyword).copied()
    }

    pub(super) fn has(&self, keyword: &str) -> bool {
        self.params.contains_key(keyword)
    }

    /// Returns the value of `keyword`, or an empty one.
    pub(super) fn value(&self, keyword: &str) -> &'c str {
        self.param(keyword).map_or("", |param| param.value)
    }

    /// Returns the weight, 1 unless set; `None` where it cannot be read.
    pub(super) fn weight(&self) -> Option<u16> {
        self.param("weight").map_or(Some(1), |param| param.value.parse().ok().filter(|weight| *weight <= 256))
    }

    /// Tells whether it is one server, and no template.
    pub(super) fn is_single(&self) -> bool {
        self.range.is_none()
    }

    /// Lists the names, taking those of templates from `budget`.
    pub(super) fn names(&self, budget: &mut u32) -> Vec<String> {
        let Some((first, last)) = self.range else { return vec![self.name.to_string()] };
        let count = last.saturating_sub(first).saturating_add(1).min(*budget);
        *budget -= count;
        (first..first.saturating_add(count)).map(|number| format!("{}{number}", self.name)).collect()
    }
}

pub(super) fn budget() -> u32 {
    MAX_EXPANDED
}

/// Reads the servers from the lines in force, in order: a `default-server` line counts for those behind it.
pub(super) fn servers<'c>(lines: &[Found<'c>]) -> Vec<Server<'c>> {
    let (mut defaults, mut servers) = (Params::new(), Vec::new());
    for at in lines.iter().copied().filter(|found| !found.line.off) {
        let words = &at.line.words;
        let rest = |from: usize| words.get(from..).unwrap_or_default();
        let (name, address, from, range) = match at.line.word(0) {
            "default-server" => {
                apply(&mut defaults, at, rest(1));
                continue;
            }
            "server" if words.len() > 2 => (at.line.word(1), at.line.word(2), 3, None),
            "server-template" if words.len() > 3 => {
                let Some(range) = range(at.line.word(2)) else { continue };
                (at.line.word(1), at.line.word(3), 4, Some(range))
            }
            _ => continue,
        };
        let mut params = defaults.clone();
        apply(&mut params, at, rest(from));
        servers.push(Server { at, name, range, address, params });
    }
    servers
}

fn apply<'c>(params: &mut Params<'c>, at: Found<'c>, words: &'c [String]) {
    let mut words = words.iter().map(String::as_str);
    while let Some(keyword) = words.next() {
        if keyword == "enabled" {
            params.remove("disabled");
        } else if let Some(off) = keyword.strip_prefix("no-") {
            params.remove(off);
        } else {
            let takes =
                WITH_VALUE.split(' ').any(|word| word == keyword) || keyword.starts_with("set-proxy-v2-tlv-fmt(");
            let value = if takes { words.next().unwrap_or_default() } else { "" };
            params.insert(keyword, Param { value, at });
        }
    }
}

/// Reads `3` (1 to 3) or `2-5`.
fn range(word: &str) -> Option<(u32, u32)> {
    let (first, last) = word.split_once('-').unwrap_or(("1", word));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::super::model::Config;
    use super::*;

    #[test]
    fn servers_take_the_defaults_before_them() {
        let text = "defaults\n default-server check weight 7\nbackend b\n server a 10.0.0.1:1 cookie check no-check\n \
                    default-server disabled\n server b 10.0.0.2:1 weight 300\n server c 10.0.0.3:1 enabled\n \
                    server-template t 2-3 x.example:1\n server-template u 4294967295 x:1\n server-template v 3-2 x:1\n";
        let config = Config::parse(text);
        let proxies = config.proxies();
        let found = &proxies[0].servers;
        let mut budget = 5;
        let shown: Vec<_> = found
            .iter()
            .map(|s| (s.names(&mut budget).join(","), s.has("check"), s.has("disabled"), s.weight()))
            .collect();
        assert_eq!(
            shown,
            [
                ("a".into(), false, false, Some(7)),
                ("b".into(), true, true, None),
                ("c".into(), true, false, Some(7)),
                ("t2,t3".into(), true, true, Some(7)),
                ("u1,u2,u3".into(), true, true, Some(7)),
            ]
        );
        assert_eq!(found[0].value("cookie"), "check");
        assert_eq!(range("0-4294967295"), Some((0, u32::MAX)));
    }
}
