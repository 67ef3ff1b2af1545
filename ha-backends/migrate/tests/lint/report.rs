use ha_migrate::Dialect::{Db2, H2, MariaDb, Postgres, Sqlite};
use ha_migrate::lint::{LintInput, Policy, Rule, Severity, UpgradeVerdict, Verdict, lint};
use ha_migrate::script::Phase;
use ha_migrate::{Catalog, TableStats};

use super::{rules, script};

fn million() -> Catalog {
    Catalog::new().with_table("t", TableStats::new(1_000_000, 100 << 20))
}

#[test]
fn the_stall_is_rows_times_what_a_row_was_measured_to_cost() {
    for (statement, millis, lock) in [
        ("ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid()", 3900, "ACCESS EXCLUSIVE"),
        ("ALTER TABLE t ALTER COLUMN c TYPE bigint", 1700, "ACCESS EXCLUSIVE"),
        ("CREATE INDEX i ON t (c)", 420, "SHARE"),
        ("ALTER TABLE t ALTER COLUMN c SET NOT NULL", 114, "ACCESS EXCLUSIVE"),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (id)", 243, "SHARE ROW EXCLUSIVE"),
        ("ALTER TABLE t ADD UNIQUE (a)", 820, "ACCESS EXCLUSIVE"),
        ("UPDATE t SET a = 1", 11_900, "row locks"),
    ] {
        let report = script(Postgres, Phase::Expand, &[statement], &million());
        let finding = &report.findings[0];
        assert_eq!(finding.stall.and_then(|stall| stall.millis), Some(millis), "{statement}");
        assert_eq!(finding.lock, Some(lock), "{statement}");
    }
}

#[test]
fn a_small_table_is_a_note_and_runs_in_the_expand_phase() {
    let catalog = Catalog::new().with_table("t", TableStats::new(900, 8192));
    for statement in ["CREATE INDEX i ON t (c)", "UPDATE t SET a = 1", "ALTER TABLE t ADD CHECK (a > 0)"] {
        let report = script(Postgres, Phase::Expand, &[statement], &catalog);
        assert_eq!(report.findings[0].severity, Severity::Note, "{statement}");
        assert_eq!(report.statements[0].verdict, Verdict::Expand, "{statement}");
    }
    // what breaks the old version does so with one row
    let report = script(Postgres, Phase::Expand, &["ALTER TABLE t DROP COLUMN c"], &catalog);
    assert_eq!(report.statements[0].verdict, Verdict::Contract);
}

#[test]
fn safe_forms_are_sql() {
    for (dialect, statement, sql) in [
        (Postgres, "create index i on t (c)", "create index CONCURRENTLY i on t (c)"),
        (
            Postgres,
            "CREATE /* INDEX */ UNIQUE INDEX i ON t (c)",
            "CREATE /* INDEX */ UNIQUE INDEX CONCURRENTLY i ON t (c)",
        ),
        (Postgres, "ALTER TABLE t ADD COLUMN c int NOT NULL", "ALTER TABLE t ADD COLUMN c int"),
        (
            Postgres,
            "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u (id)",
            "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u (id) NOT VALID",
        ),
        (Postgres, "ALTER TABLE t ADD CONSTRAINT q UNIQUE (a)", "CREATE UNIQUE INDEX CONCURRENTLY q ON t (a)"),
        (
            Postgres,
            "ALTER TABLE t ALTER c SET NOT NULL",
            "ALTER TABLE t ADD CONSTRAINT t_c_not_null CHECK (c IS NOT NULL) NOT VALID",
        ),
        (Postgres, "REINDEX TABLE s.t", "REINDEX TABLE CONCURRENTLY s.t"),
        (
            Postgres,
            "UPDATE t SET a = 1 WHERE a IS NULL",
            "UPDATE t SET a = 1 WHERE id BETWEEN :from AND :to AND ( a IS NULL)",
        ),
        (
            Postgres,
            "ALTER TABLE t ADD CONSTRAINT q UNIQUE (a) INCLUDE (b) DEFERRABLE",
            "ALTER TABLE t ADD CONSTRAINT q UNIQUE USING INDEX q DEFERRABLE",
        ),
        (
            Postgres,
            "UPDATE t SET a = (SELECT 1 FROM u WHERE b) WHERE a IS NULL OR b > 1",
            "UPDATE t SET a = (SELECT 1 FROM u WHERE b) WHERE id BETWEEN :from AND :to AND ( a IS NULL OR b > 1)",
        ),
        (MariaDb, "ALTER TABLE t ADD c int", "ALTER TABLE t ADD c int, ALGORITHM=INSTANT"),
        (MariaDb, "CREATE INDEX i ON t (c)", "CREATE INDEX i ON t (c) ALGORITHM=INPLACE LOCK=NONE"),
        (MariaDb, "ALTER TABLE t ADD KEY i (c)", "ALTER TABLE t ADD KEY i (c), ALGORITHM=INPLACE, LOCK=NONE"),
        (MariaDb, "drop view if exists `a`, b", "DROP VIEW IF EXISTS a"),
    ] {
        let report = script(dialect, Phase::Expand, &[statement], &Catalog::new());
        let steps: Vec<_> =
            report.findings.iter().flat_map(|finding| &finding.rewrite).map(|step| step.sql.as_str()).collect();
        assert!(steps.contains(&sql), "{statement}\n  expected {sql}\n  is {steps:#?}");
    }
}

#[test]
fn a_safe_form_has_no_finding_of_its_own() {
    for statement in [
        "CREATE INDEX i ON t (c)",
        "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u (id)",
        "ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0)",
        "ALTER TABLE t ADD CONSTRAINT q UNIQUE (a)",
        "REINDEX TABLE t",
    ] {
        let report = script(Postgres, Phase::Expand, &[statement], &Catalog::new());
        let Verdict::ExpandOnline(safe) = &report.statements[0].verdict else { panic!("{statement}: {report:#?}") };
        assert!(!safe.is_empty());
        for safe in safe {
            let again = script(Postgres, Phase::Expand, &[safe], &Catalog::new());
            assert_eq!(again.findings, [], "{safe}");
        }
    }
}

#[test]
fn a_contract_statement_names_its_phase_unless_it_is_in_it() {
    let report = script(Postgres, Phase::Expand, &["DROP TABLE t"], &Catalog::new());
    assert!(report.findings.iter().all(|finding| finding.belongs == Some(Phase::Contract)));
    assert!(report.findings[0].what.contains("contract phase"), "{}", report.findings[0]);
    let report = script(Postgres, Phase::Contract, &["DROP TABLE t"], &Catalog::new());
    assert!(report.findings.iter().all(|finding| finding.belongs.is_none() && finding.severity == Severity::Note));
    assert!(matches!(report.verdict, UpgradeVerdict::Splittable(_)));
}

#[test]
fn the_verdict_over_all_scripts_is_the_worst() {
    let of = |statements: &[&str]| script(Postgres, Phase::Expand, statements, &Catalog::new()).verdict;
    assert_eq!(of(&["CREATE TABLE n (id int)", "ALTER TABLE t ADD c int"]), UpgradeVerdict::ExpandOnly);
    let UpgradeVerdict::Splittable(reasons) = of(&["ALTER TABLE t ADD c int", "DROP TABLE u"]) else { panic!() };
    assert!(reasons[0].starts_with("V1__x.sql:2: HA005: "), "{reasons:?}");
    let UpgradeVerdict::NeedsWindow(reasons) = of(&["DROP TABLE u", "VACUUM FULL t"]) else { panic!() };
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].contains("HA019"), "{reasons:?}");
    assert!(matches!(of(&["CALL p()"]), UpgradeVerdict::NeedsWindow(_)));
}

#[test]
fn rules_of_the_whole_script_fire() {
    let told = |dialect, statements: &[&str]| rules(&script(dialect, Phase::Contract, statements, &million()));
    assert_eq!(told(Postgres, &["ALTER TABLE a ADD c int", "ALTER TABLE b ADD c int"]), "HA018");
    assert_eq!(told(Postgres, &["ALTER TABLE a ADD c int", "CREATE INDEX CONCURRENTLY i ON a (c)"]), "HA017");
    assert_eq!(told(Postgres, &["ALTER TYPE m ADD VALUE 'x'", "INSERT INTO t VALUES ('x')"]), "HA030");
    assert_eq!(told(H2, &["CREATE TABLE n (id int)"]), "HA026 HA027");
    assert_eq!(told(Db2, &["CREATE TABLE n (id int)"]), "HA026");
    let rebuild =
        ["CREATE TABLE n (id int)", "INSERT INTO n SELECT id FROM t", "DROP TABLE t", "ALTER TABLE n RENAME TO t"];
    assert_eq!(told(Sqlite, &rebuild), "HA005 HA012 HA023");
    let input = LintInput::new(Postgres, "V1__x.sql", Phase::Expand, "", [(1, "CREATE INDEX CONCURRENTLY i ON t (c)")]);
    let report = lint(&[input.with_transaction(true)], &million(), &Policy::new());
    assert_eq!(rules(&report), "HA007");
    let input = LintInput::new(MariaDb, "V1__x.sql", Phase::Expand, "", [(1, "SELECT 1")]);
    assert_eq!(rules(&lint(&[input], &million(), &Policy::new().with_product(Postgres))), "HA025");
}

#[test]
fn the_catalogue_sharpens_the_rules() {
    let mut catalog = Catalog::new()
        .with_table("t", TableStats::new(1_000_000, 0).with_column("c", "varchar(20)", true))
        .with_table("a", TableStats::new(10, 0).with_engine("Aria"));
    let told = |catalog: &Catalog, dialect, statement| rules(&script(dialect, Phase::Expand, &[statement], catalog));
    assert_eq!(told(&catalog, MariaDb, "ALTER TABLE t MODIFY c varchar(50)"), "");
    assert_eq!(told(&catalog, MariaDb, "ALTER TABLE t MODIFY c varchar(10)"), "HA003");
    assert_eq!(told(&catalog, MariaDb, "ALTER TABLE t MODIFY c varchar(20) NOT NULL"), "HA008");
    assert_eq!(told(&catalog, MariaDb, "INSERT INTO a VALUES (1)"), "HA016");
    assert_eq!(told(&catalog, Postgres, "ALTER TABLE t ADD d int"), "");
    // a table that is not there is not missed
    assert_eq!(told(&catalog, Postgres, "DROP TABLE IF EXISTS n"), "");
    assert_eq!(told(&catalog, Postgres, "DROP TABLE IF EXISTS t"), "HA005 HA012");
    // one that was never analysed may be large
    catalog.tables.insert("n".into(), TableStats::default());
    assert_eq!(
        script(Postgres, Phase::Expand, &["CREATE INDEX i ON n (c)"], &catalog).findings[0].severity,
        Severity::Error
    );
    catalog.select_star = true;
    assert_eq!(told(&catalog, Postgres, "ALTER TABLE t ADD d int"), "HA022");
}

#[test]
fn a_report_is_json() {
    let report = script(Postgres, Phase::Expand, &["CREATE INDEX i ON t (c)"], &million());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["findings"][0]["rule"], "HA006");
    assert_eq!(json["findings"][0]["severity"], "error");
    assert_eq!(json["findings"][0]["stall"]["millis"], 420);
    assert_eq!(json["findings"][0]["rewrite"][0]["phase"], "expand");
    assert_eq!(json["statements"][0]["verdict"], "expand_online");
    assert_eq!(json["verdict"]["upgrade"], "splittable");
}

#[test]
fn every_rule_has_an_id_of_its_own_in_order() {
    let ids: Vec<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
    let expected: Vec<_> = (1..=30).map(|number| format!("HA{number:03}")).collect();
    assert_eq!(ids, expected);
    assert!(Rule::ALL.iter().all(|rule| Rule::by_id(rule.id()) == Some(*rule)));
}

#[test]
fn ten_thousand_statements_are_linted() {
    let texts: Vec<_> = (0..10_000).map(|at| format!("ALTER TABLE t{at} ADD COLUMN c int NOT NULL")).collect();
    let statements: Vec<_> = texts.iter().map(String::as_str).collect();
    let report = script(Postgres, Phase::Expand, &statements, &Catalog::new());
    assert_eq!(report.findings.iter().filter(|finding| finding.rule == Rule::RequiredColumn).count(), 10_000);
}
