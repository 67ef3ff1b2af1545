use ha_migrate::lint::{LintInput, LintReport, Policy, Rule, Severity, UpgradeVerdict, Verdict, lint};
use ha_migrate::script::Phase;
use ha_migrate::{Catalog, Dialect};

/// Cuts at lines that end with `;`: these scripts need no more.
fn run(source: &str) -> LintReport {
    let mut statements = Vec::new();
    let mut begin: Option<(usize, usize)> = None;
    let mut offset = 0;
    for (at, line) in source.split_inclusive('\n').enumerate() {
        let code = !line.trim().is_empty() && !line.trim_start().starts_with("--");
        if code && begin.is_none() {
            begin = Some((at + 1, offset));
        }
        offset += line.len();
        if let (true, Some((first, from))) = (line.trim_end().ends_with(';'), begin) {
            statements.push((first, source[from..offset].trim_end().trim_end_matches(';')));
            begin = None;
        }
    }
    let input = LintInput::new(Dialect::Postgres, "V1__x.sql", Phase::Expand, source, statements);
    lint(&[input], &Catalog::new(), &Policy::new())
}

#[test]
fn a_comment_directly_above_a_statement_allows_one_rule_with_its_reason() {
    let report = run("CREATE TABLE a (id int);\n-- ha:allow HA006 ten rows\nCREATE INDEX i ON t (c);\n");
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].severity, Severity::Allowed);
    assert_eq!(report.findings[0].allowed.as_deref(), Some("ten rows"));
    assert_eq!(report.verdict, UpgradeVerdict::ExpandOnly);
}

#[test]
fn it_allows_no_other_rule_and_no_other_statement() {
    let report = run(
        "CREATE TABLE a (id int);\n-- ha:allow HA006 ten rows\nCREATE INDEX i ON t (c);\nCREATE INDEX j ON t (d);\n\
         -- ha:allow HA005 nobody reads it\nDROP TABLE u;\n",
    );
    let told: Vec<_> = report.findings.iter().map(|finding| (finding.rule, finding.line, finding.severity)).collect();
    assert_eq!(
        told,
        [
            (Rule::OfflineIndex, 3, Severity::Allowed),
            (Rule::OfflineIndex, 4, Severity::Error),
            (Rule::Drop, 6, Severity::Allowed),
            (Rule::DataLoss, 6, Severity::Error),
        ]
    );
}

#[test]
fn a_header_allows_for_the_whole_script() {
    let report = run("-- ha:allow HA006 small tables\n\nCREATE INDEX i ON t (c);\nCREATE INDEX j ON t (d);\n");
    assert!(report.findings.iter().all(|finding| finding.severity == Severity::Allowed), "{:#?}", report.findings);
    assert_eq!(report.findings.len(), 2);
}

#[test]
fn without_a_reason_nothing_is_allowed() {
    let report = run("SELECT 1;\n-- ha:allow HA006\nCREATE INDEX i ON t (c);\n");
    let severities: Vec<_> = report.findings.iter().map(|finding| (finding.line, finding.severity)).collect();
    assert_eq!(severities, [(3, Severity::Error), (2, Severity::Error)]);
    assert!(report.findings[1].what.contains("no reason"), "{}", report.findings[1]);
    let report = run("SELECT 1;\n-- ha:allow HA999 because\nCREATE INDEX i ON t (c);\n");
    assert!(report.findings[1].what.contains("no rule"), "{}", report.findings[1]);
}

#[test]
fn text_inside_a_statement_allows_nothing() {
    let report = run("INSERT INTO a VALUES ('\n-- ha:allow HA006 not a comment\n');\nCREATE INDEX i ON t (c);\n");
    assert_eq!(report.findings[0].severity, Severity::Error);
}

#[test]
fn an_allowed_opaque_statement_counts_as_reviewed() {
    let report = run("SELECT 1;\n-- ha:allow HA014 reads only\nDO $$ BEGIN END $$;\n");
    assert_eq!(report.statements[1].verdict, Verdict::Expand);
    assert_eq!(report.verdict, UpgradeVerdict::ExpandOnly);
}
