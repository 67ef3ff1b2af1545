//! Folders of scripts: order, names, headers, everything that can be wrong with them, and WSO2's layouts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;

use ha_migrate::Dialect;
use ha_migrate::script::{
    Checksums, LoadError, LoadOptions, Note, Phase, Placeholders, ProblemKind, ScriptKind, Scripts, Wso2Layout,
};

fn load(files: &[(&str, &str)]) -> Result<Scripts, LoadError> {
    Scripts::from_memory(files.iter().copied(), &LoadOptions::new())
}

fn problems(files: &[(&str, &str)]) -> Vec<String> {
    load(files).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

fn write(dir: &Path, file: &str, text: impl AsRef<[u8]>) {
    let path = dir.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn files(scripts: &Scripts) -> Vec<&str> {
    scripts.iter().map(|script| script.file.as_str()).collect()
}

#[test]
fn versioned_scripts_run_by_version_and_repeatable_ones_last() {
    let scripts = load(&[
        ("R__b_views.sql", "x"),
        ("V10__j.sql", "x"),
        ("V2__b.sql", "x"),
        ("U2__b.sql", "undo 2"),
        ("V1_1__a.sql", "x"),
        ("contract/V3__c.sql", "x"),
        ("R__a_views.sql", "x"),
        ("B1__all.sql", "x"),
    ])
    .unwrap();
    assert_eq!(
        files(&scripts),
        [
            "B1__all.sql",
            "V1_1__a.sql",
            "V2__b.sql",
            "contract/V3__c.sql",
            "V10__j.sql",
            "R__a_views.sql",
            "R__b_views.sql"
        ]
    );
    assert_eq!(scripts.undo(&"2.0".parse().unwrap()).map(|script| script.text.as_str()), Some("undo 2"));
    assert!(scripts.undo(&"3".parse().unwrap()).is_none());
    assert_eq!(scripts.notes(), [Note::Gap { after: "3".parse().unwrap(), before: "10".parse().unwrap() }]);
    assert_eq!(scripts.notes()[0].to_string(), "no script between version 3 and 10");
}

#[test]
fn the_phase_is_that_of_the_header_or_of_the_innermost_folder() {
    let scripts = load(&[
        ("V1__a.sql", "x"),
        ("V2__b.sql", "-- ha:phase backfill\nx"),
        ("db/contract/V3__c.sql", "x"),
        ("contract/expand/V4__d.sql", "-- ha:phase expand\n-- ha:no-transaction\n-- ha:allow HA006 small table\nx"),
        ("expanded/V5__e.sql", "x"),
    ])
    .unwrap();
    let phases: Vec<_> = scripts.iter().map(|script| script.phase).collect();
    assert_eq!(phases, [Phase::Expand, Phase::Backfill, Phase::Contract, Phase::Expand, Phase::Expand]);
    let last = scripts.iter().nth(3).unwrap();
    assert!(!last.transactional && last.allows[0].rule == "HA006" && last.allows[0].line == 3);
    assert!(scripts.iter().next().unwrap().transactional);
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_the_fix() {
    let told = problems(&[
        ("V1__a.sql", "x"),
        ("V1_0__b.sql", "x"),
        ("R__v.sql", "x"),
        ("more/R__v.sql", "x"),
        ("U7__u.sql", "x"),
        ("V1_desc.sql", "x"),
        ("v1__a.sql", "x"),
        ("contract/V2__c.sql", "-- ha:phase expand\nx"),
        ("V3__d.sql", "-- ha:fase expand\n-- ha:allow HA001\nSELECT '${one}',\n '${two}'"),
        ("V4__nul.sql", "a\nb\0"),
    ]);
    let expected = [
        "U7__u.sql: there is no script of version 7 to undo",
        "V1__a.sql: version 1 is that of V1_0__b.sql, too",
        "V1_desc.sql: not the name of a script: it has no __ before its description; did you mean V1__desc.sql?",
        "V3__d.sql:1: ha:fase is not known: write ha:phase, ha:allow, ha:backfill, ha:verify or ha:no-transaction; did you mean phase?",
        "V3__d.sql:2: ha:allow HA001 has no reason",
        "V3__d.sql:3: the placeholder \"one\" has no value",
        "V3__d.sql:4: the placeholder \"two\" has no value",
        "V4__nul.sql:2: byte 3: a NUL byte",
        "contract/V2__c.sql: its header says expand, its folder contract",
        "more/R__v.sql: its description is that of R__v.sql, too",
        "v1__a.sql: not the name of a script: it does not begin with V, U, R or B; did you mean V1__a.sql?",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told} is not {expected}");
    }
    let error = load(&[("V1__a.sql", "x"), ("V1.sql", "")]).unwrap_err();
    assert!(error.to_string().starts_with("1 problem in the scripts:\n  V1.sql: "), "{error}");
}

#[test]
fn checksums_are_of_the_raw_text_of_a_versioned_and_the_replaced_of_a_repeatable_script() {
    let options = LoadOptions::new().with_placeholders(Placeholders::new().with("t", "orders"));
    let raw = "\u{feff}DROP TABLE ${t};\r\n";
    let scripts = Scripts::from_memory([("V1__a.sql", raw), ("R__a.sql", raw)], &options).unwrap();
    let [versioned, repeatable] = [0, 1].map(|at| scripts.iter().nth(at).unwrap());
    assert_eq!(
        (versioned.text.as_str(), repeatable.text.as_str()),
        ("DROP TABLE orders;\r\n", "DROP TABLE orders;\r\n")
    );
    assert_eq!(versioned.checksums, Checksums::of("DROP TABLE ${t};\n"));
    assert_eq!(repeatable.checksums, Checksums::of("DROP TABLE orders;\n"));
}

#[test]
fn a_folder_is_read_with_the_folders_in_it() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "V1__a.sql", "\u{feff}a");
    write(dir.path(), "release2/expand/V2__b.sql", "b");
    write(dir.path(), "release2/contract/V3__c.sql", "c");
    write(dir.path(), "README.md", b"\xff");
    write(dir.path(), "V9__old.sql.bak", b"\xff");
    write(dir.path(), ".V8__hidden.sql", b"\xff");
    let scripts = Scripts::from_dir(dir.path(), &LoadOptions::new()).unwrap();
    assert_eq!(files(&scripts), ["V1__a.sql", "release2/expand/V2__b.sql", "release2/contract/V3__c.sql"]);
    assert_eq!(scripts.iter().map(|script| script.text.as_str()).collect::<String>(), "abc");
}

#[test]
fn files_that_cannot_be_used_are_told_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "V1__latin.sql", b"-- a\n-- caf\xe9\n");
    write(dir.path(), "V2__utf16.sql", b"\xff\xfea\0");
    write(dir.path(), "V3__big.sql", vec![b' '; 2000]);
    write(dir.path(), "V4__end.SQL", "x");
    std::os::unix::fs::symlink("nowhere", dir.path().join("V5__link.sql")).unwrap();
    std::os::unix::fs::symlink(".", dir.path().join("circle")).unwrap();
    let error = Scripts::from_dir(dir.path(), &LoadOptions::new().with_limit(1000)).unwrap_err();
    let told = |file: &str| error.problems.iter().find(|problem| problem.file == file).unwrap();
    assert_eq!(told("V1__latin.sql").line, Some(2));
    assert!(told("V1__latin.sql").to_string().contains("byte 11: byte 0xE9 is not UTF-8"));
    assert!(matches!(&told("V2__utf16.sql").kind, ProblemKind::Encoding(error) if error.what.contains("UTF-16")));
    assert_eq!(told("V3__big.sql").kind, ProblemKind::TooLarge { bytes: 2000, limit: 1000 });
    assert!(told("V4__end.SQL").to_string().contains("did you mean V4__end.sql?"));
    assert!(matches!(told("V5__link.sql").kind, ProblemKind::Io(_)));
    assert!(error.problems.iter().any(|problem| problem.to_string().contains("folders deep")));
    let missing = Scripts::from_dir(&dir.path().join("missing"), &LoadOptions::new()).unwrap_err();
    assert!(matches!(missing.problems[..], [ref problem] if problem.file.ends_with("missing")));
    let large = Scripts::from_memory([("V1__a.sql", "x".repeat(11))], &LoadOptions::new().with_limit(10)).unwrap_err();
    assert_eq!(large.problems[0].kind, ProblemKind::TooLarge { bytes: 11, limit: 10 });
}

#[test]
fn wso2s_schema_is_the_file_of_the_dialect_by_its_whole_name() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["h2", "mysql", "mysql5.7", "mysql_cluster", "oracle", "oracle_rac", "mssql", "db2", "postgresql"] {
        write(dir.path(), &format!("{file}.sql"), file);
    }
    let version = || "5.10.0".parse().unwrap();
    for (dialect, plain, cluster) in [
        (Dialect::MySql, "mysql5.7", "mysql_cluster"),
        (Dialect::MariaDb, "mysql5.7", "mysql5.7"),
        (Dialect::Oracle, "oracle", "oracle_rac"),
        (Dialect::SqlServer, "mssql", "mssql"),
        (Dialect::Db2, "db2", "db2"),
        (Dialect::H2, "h2", "h2"),
        (Dialect::Postgres, "postgresql", "postgresql"),
    ] {
        for (layout, text) in [(Wso2Layout::new(dialect), plain), (Wso2Layout::new(dialect).with_cluster(), cluster)] {
            let script = layout.schema(dir.path(), version(), &LoadOptions::new()).unwrap();
            assert_eq!((script.text.as_str(), &script.kind), (text, &ScriptKind::Baseline(version())), "{dialect}");
        }
    }
    let error = Wso2Layout::new(Dialect::Sqlite).schema(dir.path(), version(), &LoadOptions::new()).unwrap_err();
    assert!(error.to_string().contains("no file for this database"), "{error}");
}

#[test]
fn wso2s_steps_are_in_the_order_of_version_step_and_schema() {
    let dir = tempfile::tempdir().unwrap();
    for (folder, databases) in [
        ("5.9.0/dbscripts/step1/identity", &["postgresql", "mysql"][..]),
        ("5.10.0/dbscripts/step10/um", &["postgresql+9.5", "postgresql"]),
        ("5.10.0/dbscripts/step2/um", &["postgresql"]),
        ("5.10.0/dbscripts/step2/identity", &["postgresql"]),
        ("5.11.0/dbscripts/step1/consent", &["mysql"]),
        ("5.0.0-SP1/dbscripts/step1/identity", &["postgresql"]),
        ("5.12.0/dbscripts/step1/identity", &["postgresql"]),
    ] {
        for database in databases {
            write(dir.path(), &format!("{folder}/{database}.sql"), format!("{folder} {database}"));
        }
    }
    write(dir.path(), "migration-config.yaml", "x");
    write(dir.path(), "5.9.0/data/x.txt", "x");
    let layout = Wso2Layout::new(Dialect::Postgres);
    let all = layout.steps(dir.path(), &LoadOptions::new()).unwrap();
    let order: Vec<_> = all.steps.iter().map(|step| step.script.text.as_str()).collect();
    assert_eq!(
        order,
        [
            "5.0.0-SP1/dbscripts/step1/identity postgresql",
            "5.9.0/dbscripts/step1/identity postgresql",
            "5.10.0/dbscripts/step2/identity postgresql",
            "5.10.0/dbscripts/step2/um postgresql",
            "5.10.0/dbscripts/step10/um postgresql+9.5",
            "5.12.0/dbscripts/step1/identity postgresql",
        ]
    );
    let kinds: Vec<_> =
        all.steps.iter().filter_map(|step| step.script.kind.version()).map(ToString::to_string).collect();
    assert_eq!(kinds, ["5.0.0.1.1", "5.9.0.0.1", "5.10.0.0.2", "5.10.0.0.2", "5.10.0.0.10", "5.12.0.0.1"]);
    assert_eq!(all.steps[3].schema, "um");
    let [Note::NoFileForDialect { folder, found }] = &all.notes[..] else { panic!("{:?}", all.notes) };
    assert_eq!((folder.as_str(), &found[..]), ("5.11.0/dbscripts/step1/consent", &["mysql.sql".to_string()][..]));

    let layout = layout.with_versions("5.9.0".parse().unwrap(), "5.11.0".parse().unwrap());
    let some = layout.steps(dir.path(), &LoadOptions::new()).unwrap();
    assert!(some.steps.iter().all(|step| step.version == "5.10.0".parse().unwrap()) && some.steps.len() == 3);
}
