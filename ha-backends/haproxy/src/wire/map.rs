use std::path::Path;

use ha_core::state::RouteKey;
use ha_core::topology::Name;

use super::Malformed;

/// Asks for every entry of a map; the map is called as HAProxy's configuration names its file.
pub(crate) fn show_map(map: &Path) -> String {
    format!("show map {}", map.display())
}

/// Adds an entry, whether the key is there or not.
pub(crate) fn add_map(map: &Path, key: &RouteKey, value: &Name) -> String {
    format!("add map {} {key} {value}", map.display())
}

/// Brings a key to a value, where it is known whether the key is there.
pub(crate) fn put_map(map: &Path, key: &str, value: &str, known: bool) -> String {
    let verb = if known { "set" } else { "add" };
    format!("{verb} map {} {key} {value}", map.display())
}

/// Takes every entry of a key away.
pub(crate) fn del_map(map: &Path, key: &RouteKey) -> String {
    format!("del map {} {key}", map.display())
}

/// Reads the entries of a map, each a key and a value, in their order. A key may be there twice.
pub(crate) fn parse_map(answer: &str) -> Result<Vec<(String, String)>, Malformed> {
    // An empty line ends the answer. Where it is missing, entries are missing too, or a value is cut off.
    let entries = match answer {
        "\n" => "",
        _ => answer.strip_suffix("\n\n").ok_or_else(|| Malformed("the answer to show map is cut off".into()))?,
    };
    let entry = |line: &str| {
        let mut words = line.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some(id), Some(key), Some(value)) if id.starts_with("0x") && !key.is_empty() => {
                Ok((key.to_string(), value.to_string()))
            }
            _ => Err(Malformed(format!("a line of show map is {line:?}, and not an id, a key and a value"))),
        }
    };
    entries.lines().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn the_entries_of_a_map_are_read_in_their_order() {
        for (answer, expected) in [
            ("\n", entries(&[])),
            ("0x55fa5c453f80 /old legacy\n\n", entries(&[("/old", "legacy")])),
            (
                "0x55fa5c453f80 /old legacy\n0x55fa5c624900 /orders esb\n0x7f7d880468b0 /orders esb\n\n",
                entries(&[("/old", "legacy"), ("/orders", "esb"), ("/orders", "esb")]),
            ),
            ("0x1 api.example.com a value of words\n\n", entries(&[("api.example.com", "a value of words")])),
            ("0x1 /empty \n\n", entries(&[("/empty", "")])),
        ] {
            assert_eq!(parse_map(answer), Ok(expected), "{answer:?}");
        }
    }

    #[test]
    fn what_is_no_map_is_malformed() {
        for answer in
            ["", "0x1 /a esb", "0x1 /a esb\n", "0x1 /a\n\n", "/a esb\n\n", "0x1  esb\n\n", "0x1 /a b\n\n0x2 /c d\n\n"]
        {
            assert!(parse_map(answer).is_err(), "{answer:?}");
        }
    }

    #[test]
    fn the_beginning_of_an_answer_never_reads_as_a_map() {
        let answer = "0x55fa5c453f80 /old legacy\n0x55fa5c624900 /orders esb\n\n";
        for cut in 0..answer.len() {
            assert!(parse_map(&answer[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_change_is_one_command() {
        let (map, key) = (Path::new("/etc/haproxy/services.map"), RouteKey::new("/orders").unwrap());
        let value = Name::new("esb").unwrap();
        assert_eq!(show_map(map), "show map /etc/haproxy/services.map");
        assert_eq!(add_map(map, &key, &value), "add map /etc/haproxy/services.map /orders esb");
        assert_eq!(del_map(map, &key), "del map /etc/haproxy/services.map /orders");
    }
}
