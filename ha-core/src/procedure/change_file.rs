//! Reads a change from TOML, key by key, as the topology is read.

use super::{
    AddNodeRequest, AddServiceRequest, ChangeRequest, DrillRequest, FailBackRequest, HandOverRequest, OutageRequest,
    PatchRequest, RejoinRequest, ReleaseFacts, RetireNodeRequest, SiteLossRequest, UpdateRequest, UpgradeRequest,
};
use crate::state::{Generation, RouteKey, Schema, SchemaRange, ServiceRoute};
use crate::topology::Diagnostic;
use crate::topology::reader::{At, Reader, edit_distance, read_toml};

/// Reads what one procedure asks for; asks for every key of it, whatever is wrong with the others.
type Read = fn(&Reader<'_, '_>) -> Option<ChangeRequest>;

const PROCEDURES: [(&str, Read); 12] = [
    ("patch", |file| patch(file).map(ChangeRequest::Patch)),
    ("update", |file| update(file).map(ChangeRequest::Update)),
    ("add-service", |file| add_service(file).map(ChangeRequest::AddService)),
    ("upgrade", |file| upgrade(file).map(ChangeRequest::Upgrade)),
    ("outage", |file| Some(ChangeRequest::Outage(OutageRequest { lost: required_texts(file, "lost")? }))),
    ("rejoin", |file| rejoin(file).map(ChangeRequest::Rejoin)),
    ("hand-over", |file| hand_over(file).map(ChangeRequest::HandOver)),
    ("add-node", |file| Some(ChangeRequest::AddNode(AddNodeRequest { node: required_text(file, "node")? }))),
    ("retire-node", |file| retire_node(file).map(ChangeRequest::RetireNode)),
    ("site-loss", |file| site_loss(file).map(ChangeRequest::SiteLoss)),
    ("fail-back", |file| fail_back(file).map(ChangeRequest::FailBack)),
    ("drill", |file| Some(ChangeRequest::Drill(DrillRequest { site: required_text(file, "site")? }))),
];

/// Reads a change, or says everything that is wrong with it.
pub(super) fn read(text: &str) -> Result<ChangeRequest, Vec<Diagnostic>> {
    read_toml(text, |file, _| {
        file.require("procedure");
        let asked = file.text("procedure")?;
        let Some((_, read)) = PROCEDURES.iter().find(|(name, _)| *name == asked.value) else {
            let names = PROCEDURES.map(|(name, _)| name);
            let close = names.iter().min_by_key(|name| edit_distance(name, &asked.value));
            let close = close.filter(|name| edit_distance(name, &asked.value) <= name.len().div_ceil(3));
            let fix = match close {
                Some(close) => format!("did you mean {close:?}?"),
                None => format!("give one of {}", names.join(", ")),
            };
            let shown: String = asked.value.chars().take(40).collect();
            file.wrong(asked.line, "procedure", format!("{shown:?} is no procedure"), fix);
            return None;
        };
        let change = read(file);
        file.finish();
        change
    })
}

fn patch(file: &Reader<'_, '_>) -> Option<PatchRequest> {
    let release = required_text(file, "release");
    let (apply, restore) = (required_texts(file, "apply"), required_texts(file, "restore"));
    let facts: Vec<Option<ReleaseFacts>> = file.tables("facts").iter().map(facts_of).collect();
    let test_domain = flag(file, "test_domain", false);
    let facts = facts.into_iter().collect::<Option<Vec<_>>>();
    Some(PatchRequest { release: release?, apply: apply?, restore: restore?, facts: facts?, test_domain })
}

fn facts_of(table: &Reader<'_, '_>) -> Option<ReleaseFacts> {
    let release = required_text(table, "release");
    let beside = texts(table, "beside");
    let schema = table.table("schema").map(|range| {
        let ends = (schema(&range, "first"), schema(&range, "last"));
        range.finish();
        let (first, last) = (ends.0?, ends.1?);
        if first.value > last.value {
            range.wrong(last.line, "last", "comes before first", format!("give {} or a later state", first.value));
            return None;
        }
        Some(SchemaRange { first: first.value, last: last.value })
    });
    table.finish();
    let schema = match schema {
        None => None,
        Some(range) => Some(range?),
    };
    Some(ReleaseFacts { release: release?, beside, schema })
}

fn schema(range: &Reader<'_, '_>, key: &'static str) -> Option<At<Schema>> {
    const STATES: [Schema; 6] = [
        Schema::Base,
        Schema::Expanding,
        Schema::Expanded,
        Schema::Backfilled,
        Schema::Contracting,
        Schema::Contracted,
    ];
    range.require(key);
    let text = range.text(key)?;
    let found = STATES.into_iter().find(|state| state.to_string() == text.value);
    if found.is_none() {
        let fix = format!("give one of {}", STATES.map(|state| state.to_string()).join(", "));
        range.wrong(text.line, key, format!("{:?} is no state of a schema", text.value), fix);
    }
    found.map(|value| At { value, line: text.line })
}

fn upgrade(file: &Reader<'_, '_>) -> Option<UpgradeRequest> {
    let (contract, window) = (flag(file, "contract", true), file.duration("window"));
    Some(UpgradeRequest { change: patch(file)?, contract, window: window.map(|window| window.value) })
}

/// The new set of shared files, and how it is deployed.
fn deployment(file: &Reader<'_, '_>) -> Option<(Generation, Vec<String>, bool)> {
    let generation = file.required_table("generation").and_then(|table| {
        table.require("sequence");
        let (sequence, digest) = (table.count("sequence"), required_text(&table, "digest"));
        table.finish();
        Some(Generation::new(sequence?.value, digest?))
    });
    let deploy = required_texts(file, "deploy");
    file.require("compatible");
    let compatible = file.flag("compatible");
    Some((generation?, deploy?, compatible?.value))
}

fn update(file: &Reader<'_, '_>) -> Option<UpdateRequest> {
    let (generation, deploy, compatible) = deployment(file)?;
    Some(UpdateRequest { generation, deploy, compatible })
}

fn add_service(file: &Reader<'_, '_>) -> Option<AddServiceRequest> {
    let deployment = deployment(file);
    let route = file.required_table("route").and_then(|table| {
        table.require("key");
        let key = filled(&table, "key").and_then(|text| match RouteKey::new(text.value) {
            Ok(key) => Some(key),
            Err(error) => {
                table.wrong(text.line, "key", error.to_string(), "give a path prefix as \"/orders\", or a host");
                None
            }
        });
        table.require("value");
        let value = table.name("value");
        table.finish();
        Some(ServiceRoute::new(key?, value?.value))
    });
    let (generation, deploy, compatible) = deployment?;
    Some(AddServiceRequest { generation, deploy, route: route?, compatible })
}

fn rejoin(file: &Reader<'_, '_>) -> Option<RejoinRequest> {
    let (node, apply, restore) = (required_text(file, "node"), texts(file, "apply"), texts(file, "restore"));
    Some(RejoinRequest { node: node?, apply, restore })
}

fn hand_over(file: &Reader<'_, '_>) -> Option<HandOverRequest> {
    let (to, taken_over_by) = (required_text(file, "to"), text(file, "taken_over_by"));
    Some(HandOverRequest { to: to?, taken_over_by })
}

fn retire_node(file: &Reader<'_, '_>) -> Option<RetireNodeRequest> {
    let node = required_text(file, "node");
    let (writer, work, remove) = (text(file, "writer"), text(file, "work"), flag(file, "remove", false));
    Some(RetireNodeRequest { node: node?, writer, work, remove })
}

fn site_loss(file: &Reader<'_, '_>) -> Option<SiteLossRequest> {
    let (lost, to) = (required_text(file, "lost"), text(file, "to"));
    let (fenced_by, window_accepted_by) = (text(file, "fenced_by"), text(file, "window_accepted_by"));
    Some(SiteLossRequest { lost: lost?, to, fenced_by, window_accepted_by })
}

fn fail_back(file: &Reader<'_, '_>) -> Option<FailBackRequest> {
    let (to, discarded_by) = (required_text(file, "to"), text(file, "discarded_by"));
    let (apply, restore, deploy) = (texts(file, "apply"), texts(file, "restore"), texts(file, "deploy"));
    Some(FailBackRequest { to: to?, discarded_by, apply, restore, deploy })
}

/// Returns a text that has to be there, and to say something.
fn required_text(table: &Reader<'_, '_>, key: &'static str) -> Option<String> {
    table.require(key);
    text(table, key)
}

/// Returns a text that has to say something where it is there.
fn text(table: &Reader<'_, '_>, key: &'static str) -> Option<String> {
    filled(table, key).map(|read| read.value)
}

fn filled(table: &Reader<'_, '_>, key: &'static str) -> Option<At<String>> {
    let read = table.text(key)?;
    if read.value.trim().is_empty() {
        table.wrong(read.line, key, "is empty", format!("give {key} a value, or remove it where it is not required"));
        return None;
    }
    Some(read)
}

fn required_texts(table: &Reader<'_, '_>, key: &'static str) -> Option<Vec<String>> {
    table.require(key);
    let read = table.texts(key)?;
    if read.value.is_empty() {
        table.wrong(read.line, key, "is empty", format!("list at least one word in {key}"));
        return None;
    }
    Some(words(table, key, read))
}

fn texts(table: &Reader<'_, '_>, key: &'static str) -> Vec<String> {
    table.texts(key).map_or_else(Vec::new, |read| words(table, key, read))
}

/// Returns the words of a list, each of which has to say something.
fn words(table: &Reader<'_, '_>, key: &'static str, read: At<Vec<At<String>>>) -> Vec<String> {
    for word in read.value.iter().filter(|word| word.value.trim().is_empty()) {
        table.wrong(word.line, key, "has an empty word", format!("give each word of {key} a value, or remove it"));
    }
    read.value.into_iter().map(|word| word.value).collect()
}

fn flag(table: &Reader<'_, '_>, key: &'static str, default: bool) -> bool {
    table.flag(key).map_or(default, |flag| flag.value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topology::Name;

    fn script(what: &str) -> Vec<String> {
        vec!["bin/patch.sh".into(), what.into()]
    }

    const PATCH: &str = r#"procedure = "patch"
release = "4.2.1"
apply = ["bin/patch.sh", "apply"]
restore = ["bin/patch.sh", "restore"]
"#;

    #[test]
    fn each_procedure_is_read_with_the_keys_of_its_request() {
        let patch = PatchRequest::new("4.2.1", script("apply"), script("restore"));
        let old = ReleaseFacts::new("4.2.0").with_beside("4.1").with_schema(SchemaRange::OLD);
        let with_facts = patch.clone().with_facts(old).in_test_domain_first();
        let facts = "test_domain = true\n[[facts]]\nrelease = \"4.2.0\"\nbeside = [\"4.1\"]\n\
                     schema = { first = \"base\", last = \"backfilled\" }\n";
        let upgrade = UpgradeRequest::new(with_facts.clone()).without_contract();
        let upgrade = upgrade.with_window(std::time::Duration::from_secs(60));
        let generation = Generation::new(42, "9f86d081");
        let deploy = vec!["bin/deploy.sh".to_string()];
        let set = "deploy = [\"bin/deploy.sh\"]\ncompatible = true\n\
                   generation = { sequence = 42, digest = \"9f86d081\" }\n";
        let route = ServiceRoute::new(RouteKey::new("/orders").unwrap(), Name::new("esb").unwrap());
        let cases = [
            (PATCH.to_string(), ChangeRequest::Patch(patch)),
            (format!("{PATCH}{facts}"), ChangeRequest::Patch(with_facts)),
            (
                format!("{}contract = false\nwindow = \"60s\"\n{facts}", PATCH.replace("\"patch\"", "\"upgrade\"")),
                ChangeRequest::Upgrade(upgrade),
            ),
            (
                format!("procedure = \"update\"\n{set}"),
                ChangeRequest::Update(UpdateRequest::new(generation.clone(), deploy.clone())),
            ),
            (
                format!("procedure = \"add-service\"\n{set}route = {{ key = \"/orders\", value = \"esb\" }}\n"),
                ChangeRequest::AddService(AddServiceRequest::new(generation, deploy, route)),
            ),
            (
                "procedure = \"outage\"\nlost = [\"esb1\", \"esb2\"]\n".into(),
                ChangeRequest::Outage(OutageRequest::of_all(["esb1", "esb2"])),
            ),
            (
                PATCH.replace("release = \"4.2.1\"", "node = \"esb1\"").replace("\"patch\"", "\"rejoin\""),
                ChangeRequest::Rejoin(RejoinRequest::of("esb1").with_change(script("apply"), script("restore"))),
            ),
            (
                "procedure = \"hand-over\"\nto = \"esb2\"\ntaken_over_by = \"jane\"\n".into(),
                ChangeRequest::HandOver(HandOverRequest::to("esb2").taking_over("jane")),
            ),
            ("procedure = \"add-node\"\nnode = \"esb3\"\n".into(), ChangeRequest::AddNode(AddNodeRequest::of("esb3"))),
            (
                "procedure = \"retire-node\"\nnode = \"esb1\"\nwriter = \"esb2\"\nwork = \"esb3\"\nremove = true\n"
                    .into(),
                ChangeRequest::RetireNode(
                    RetireNodeRequest::of("esb1").with_writer("esb2").with_work("esb3").and_remove(),
                ),
            ),
            (
                "procedure = \"site-loss\"\nlost = \"north\"\nto = \"south\"\nfenced_by = \"jo\"\n\
                 window_accepted_by = \"jo\"\n"
                    .into(),
                ChangeRequest::SiteLoss(
                    SiteLossRequest::of("north").to("south").with_fenced_by("jo").with_window_accepted_by("jo"),
                ),
            ),
            (
                "procedure = \"fail-back\"\nto = \"north\"\ndiscarded_by = \"jo\"\n".into(),
                ChangeRequest::FailBack(FailBackRequest::to("north").with_discarded_by("jo")),
            ),
            ("procedure = \"drill\"\nsite = \"south\"\n".into(), ChangeRequest::Drill(DrillRequest::of("south"))),
        ];
        for (text, expected) in &cases {
            let read = ChangeRequest::from_toml_str(text);
            assert_eq!(read.as_ref(), Ok(expected), "{text}");
        }
        let read: std::collections::BTreeSet<_> = cases.iter().map(|(_, change)| change.name()).collect();
        assert_eq!(read.len(), PROCEDURES.len(), "each procedure is among the cases");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_its_key_and_what_to_do() {
        let cases = [
            ("", 0, "procedure", "add procedure"),
            ("procedure = \"patc\"\n", 1, "procedure", "did you mean \"patch\"?"),
            ("procedure = \"x\"\n", 1, "procedure", "give one of patch, update, "),
            ("procedure = \"drill\"\nsites = \"south\"\n", 2, "sites", "did you mean site?"),
            ("procedure = \"drill\"\nsite = \"south\"\ncolour = 1\n", 3, "colour", "known here: procedure, site"),
            ("procedure = \"drill\"\nsite = \" \"\n", 2, "site", "give site a value"),
            ("procedure = \"drill\"\nsite = 1\n", 2, "site", "give a string"),
            ("procedure = \"outage\"\nlost = []\n", 2, "lost", "list at least one"),
            ("procedure = \"outage\"\nlost = [\n\"esb1\",\n\" \"]\n", 4, "lost", "give each word"),
            ("procedure = \"rejoin\"\napply = [\"\"]\n", 2, "apply", "give each word"),
            ("procedure = \"update\"\ndeploy = [\"\"]\n", 2, "deploy", "give each word"),
            ("procedure = \"update\"\ngeneration = { sequence = 0 }\n", 2, "generation.sequence", "from 1"),
            ("procedure = \"upgrade\"\nwindow = \"soon\"\n", 2, "window", "give a duration"),
            (
                "procedure = \"patch\"\n[[facts]]\nrelease = \"1\"\nschema = { first = \"x\" }\n",
                4,
                "facts[0].schema.first",
                "give one of base",
            ),
            (
                "procedure = \"patch\"\n[[facts]]\nrelease = \"1\"\n[facts.schema]\nfirst = \"expanded\"\nlast = \"base\"\n",
                6,
                "facts[0].schema.last",
                "give expanded or a later state",
            ),
            ("procedure = \"add-service\"\n[route]\nvalue = \"esb\"\nkey = \"a;b\"\n", 4, "route.key", "give a path"),
            ("procedure = \"drill\n", 1, "", "correct the TOML"),
        ];
        for (text, line, key, fix) in cases {
            let error = ChangeRequest::from_toml_str(text).unwrap_err();
            let is_it = |found: &&Diagnostic| found.line == line && found.key == key && found.fix.contains(fix);
            assert!(error.diagnostics().iter().any(|found| is_it(&found)), "{text}: {error}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let error = ChangeRequest::from_toml_str("procedure = \"patch\"\nrelaese = \"1\"\napply = 1\n").unwrap_err();
        let keys: Vec<&str> = error.diagnostics().iter().map(|found| found.key.as_str()).collect();
        assert_eq!(keys, ["restore", "relaese", "apply"], "that release is missing follows from its other name");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[\\[\\]a-z_=\"0-9.\n ]{0,200}", cut in 0_usize..PATCH.len()) {
            let _ = ChangeRequest::from_toml_str(&text);
            let _ = ChangeRequest::from_toml_str(&format!("procedure = \"patch\"\n{text}"));
            let _ = ChangeRequest::from_toml_str(&PATCH[..cut]);
        }
    }
}
