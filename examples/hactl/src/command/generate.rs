//! `schema`, `completion` and `man`: what other programs read.

use std::path::Path;

use crate::cli::definition;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::out::Out;

/// The published schemas: those of the library, and of what only this tool prints.
pub(crate) const SCHEMAS: [(&str, &str); 17] = [
    ("change", include_str!("../../../../ha-core/schema/change.json")),
    ("doctor", include_str!("../../../../ha-core/schema/doctor.json")),
    ("error", include_str!("../../schema/error.json")),
    ("event", include_str!("../../../../ha-core/schema/event.json")),
    ("init", include_str!("../../schema/init.json")),
    ("journal", include_str!("../../schema/journal.json")),
    ("nothing-to-do", include_str!("../../schema/nothing-to-do.json")),
    ("plan", include_str!("../../schema/plan.json")),
    ("prove", include_str!("../../schema/plan.json")),
    ("request", include_str!("../../schema/request.json")),
    ("report", include_str!("../../../../ha-core/schema/report.json")),
    ("run", include_str!("../../schema/run.json")),
    ("runs", include_str!("../../schema/runs.json")),
    ("show", include_str!("../../schema/show.json")),
    ("status", include_str!("../../schema/status.json")),
    ("validate", include_str!("../../schema/validate.json")),
    ("watch", include_str!("../../schema/journal.json")),
];

pub(super) fn schema(out: &Out, name: Option<&str>) -> Result<Exit, Failure> {
    let names = || SCHEMAS.map(|(name, _)| name);
    let Some(name) = name else {
        if out.json {
            return out.value(&names()).map(|()| Exit::Done);
        }
        let list: String = names().iter().map(|name| format!("{name}\n")).collect();
        return out.raw(&list).map(|()| Exit::Done);
    };
    let Some((_, schema)) = SCHEMAS.iter().find(|(known, _)| *known == name) else {
        let next = format!("name one of {}", names().join(", "));
        return Err(Failure::new(Exit::NotFound, format!("there is no schema {name}"), next));
    };
    out.raw(schema).map(|()| Exit::Done)
}

pub(super) fn completion(out: &Out, shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition(), "hactl", &mut script);
    out.raw(&String::from_utf8_lossy(&script)).map(|()| Exit::Done)
}

pub(super) fn man(out: &Out, dir: Option<&Path>) -> Result<Exit, Failure> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(definition()).render(&mut page);
        rendered.map_err(|error| Failure::internal(error.to_string()))?;
        return out.raw(&String::from_utf8_lossy(&page)).map(|()| Exit::Done);
    };
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(definition(), dir));
    written.map_err(|error| Failure::unwritable(dir, &error))?;
    out.line(&format!("the manual pages are in {}: `man {}/hactl.1`", dir.display(), dir.display()))?;
    Ok(Exit::Done)
}
