use ha_migrate::Dialect;
use ha_migrate::jdbc::JdbcUrl;
use ha_migrate::script::{
    Change, Checksums, LoadOptions, Placeholders, Recorded, ScriptName, Scripts, statement_allows,
};
use ha_migrate::split::{decode, split};

const DIALECTS: [Dialect; 8] = [
    Dialect::Db2,
    Dialect::H2,
    Dialect::MariaDb,
    Dialect::MySql,
    Dialect::Oracle,
    Dialect::Postgres,
    Dialect::Sqlite,
    Dialect::SqlServer,
];

/// A script, with its dialect in the first byte: statements are slices of it in its order, with their lines; what is between
/// them has no statement, and a statement by itself is cut into itself.
pub fn migrate_split(data: &[u8]) {
    statements(data);
}

pub(crate) fn statements(data: &[u8]) -> usize {
    let Some((number, bytes)) = data.split_first() else { return 0 };
    let dialect = DIALECTS[usize::from(*number) % DIALECTS.len()];
    let Ok(script) = decode(bytes) else { return 0 };
    let last = script.split('\n').count();
    let found = match split(dialect, script) {
        Ok(found) => found,
        Err(error) => {
            assert!((1..=last).contains(&error.line), "{error} of {last} lines");
            return 0;
        }
    };
    let is_plain = [Dialect::H2, Dialect::Postgres, Dialect::Sqlite].contains(&dialect)
        && !script.contains("of Procedure")
        && found.iter().all(|statement| statement.copy_data.is_none());
    let mut end = 0;
    for statement in &found {
        let text = statement.text;
        assert!(statement.offset >= end && !text.is_empty(), "{statement:?}");
        assert_eq!(script.get(statement.offset..statement.offset + text.len()), Some(text));
        assert_eq!(statement.line, 1 + script[..statement.offset].matches('\n').count());
        if is_plain {
            let gap = &script[end..statement.offset];
            assert_eq!(split(dialect, &format!("{gap}\n")).map(|found| found.len()), Ok(0), "{gap:?} has a statement");
            let alone = format!("a;{text};");
            let again: Vec<_> = split(dialect, &alone).into_iter().flatten().map(|statement| statement.text).collect();
            assert_eq!(again, ["a", text]);
        }
        let _ = statement_allows(statement);
        end = statement.offset + text.len();
    }
    found.len()
}

/// A script file: its name in the first line, its text behind. What is wrong has a line of it; a suggested name is a name; line
/// ends change no checksum.
pub fn migrate_script(data: &[u8]) {
    loads(data);
}

pub(crate) fn loads(data: &[u8]) -> bool {
    let Ok(data) = std::str::from_utf8(data) else { return false };
    let (file, text) = data.split_once('\n').unwrap_or((data, ""));
    if let Err(error) = ScriptName::parse(file)
        && let Some(meant) = error.suggestion
    {
        assert!(ScriptName::parse(&meant).is_ok(), "{meant} is suggested for {file}");
    }
    let last = text.split('\n').count();
    let options = LoadOptions::new().with_placeholders(Placeholders::new().with("t", "orders"));
    let scripts = match Scripts::from_memory([(file, text)], &options) {
        Ok(scripts) => scripts,
        Err(error) => {
            assert!(!error.problems.is_empty());
            assert!(error.problems.iter().all(|problem| problem.line.is_none_or(|line| (1..=last).contains(&line))));
            return false;
        }
    };
    let Some(script) = scripts.iter().next() else { return false };
    let header = ha_migrate::fuzz::header(text).map(|(_, no_transaction, allows)| (!no_transaction, allows));
    assert_eq!(header, Some((script.transactional, script.allows.clone())));
    let sums = Checksums::of(text);
    let unix = text.replace("\r\n", "\n").replace('\r', "\n");
    assert_eq!(Checksums::of(&unix), sums);
    assert_eq!(Checksums::of(&unix.replace('\n', "\r\n")), sums);
    assert_eq!(sums.change(&Recorded::of(&sums), text), Change::None);
    let more = format!("{text}\nDROP");
    assert_ne!(Checksums::of(&more).change(&Recorded::of(&sums), &more), Change::None);
    true
}

/// A JDBC URL: printed as it was read, or with `***` for what is hidden; and nothing of it is in an error.
pub fn migrate_jdbc(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let url = match JdbcUrl::parse(text) {
        Ok(url) => url,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(url.printed_with_secrets(), text);
    let mut rest = text;
    for piece in url.to_string().split("***") {
        let at = rest.find(piece);
        assert!(at.is_some(), "{url} is printed otherwise");
        rest = &rest[at.unwrap_or_default() + piece.len()..];
    }
    assert!(url.hosts().iter().all(|host| !host.name.is_empty() && host.port > 0));
    assert!(url.target().starts_with("jdbc:"));
    let _ = (url.refusals(), url.writer(), url.tls(), url.dialect());
}

/// A configuration file of a WSO2 server, which one in the first byte: what is read is somewhere in the file, can be printed
/// without its passwords, and linted.
pub fn migrate_datasource(data: &[u8]) {
    datasources(data);
}

pub(crate) fn datasources(data: &[u8]) -> usize {
    let Some((which, text)) = data.split_first() else { return 0 };
    match which % 3 {
        0 => ha_migrate::fuzz_datasource::fuzz_master(text),
        1 => ha_migrate::fuzz_datasource::fuzz_deployment(text),
        _ => ha_migrate::fuzz_datasource::fuzz_registry(text),
    }
}

/// A statement, with its dialect in the first byte: what it does, and what the rules say of it. A query writes nothing, and one
/// statement has one verdict.
pub fn migrate_classify(data: &[u8]) {
    ha_migrate::fuzz_datasource::fuzz_classify(data);
}
