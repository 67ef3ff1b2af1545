use proptest::prelude::*;

use super::{SplitError, Statement, split};
use crate::Dialect::{self, *};

const ALL: [Dialect; 8] = [Db2, H2, MariaDb, MySql, Oracle, Postgres, Sqlite, SqlServer];

fn texts(dialect: Dialect, script: &str) -> Vec<&str> {
    let statements = split(dialect, script).unwrap_or_else(|error| panic!("{dialect}: {error}\n{script}"));
    statements.into_iter().map(|statement| statement.text).collect()
}

fn error(dialect: Dialect, script: &str) -> SplitError {
    match split(dialect, script) {
        Err(error) => error,
        Ok(statements) => panic!("{dialect} cuts {script:?} into {statements:?}"),
    }
}

#[test]
fn each_construct_is_cut_as_the_client_cuts_it() {
    let all: &[Dialect] = &ALL;
    let my: &[Dialect] = &[MariaDb, MySql];
    let nested: &[Dialect] = &[Db2, H2, Postgres, SqlServer];
    let cases: &[(&[Dialect], &str, &[&str])] = &[
        // Terminators, comments and line ends between statements.
        (all, "", &[]),
        (all, " ;; \r\n ; -- nothing\n/* nothing; */;", &[]),
        (all, "a b;c d", &["a b", "c d"]),
        (all, "\u{feff}a;\r\nb;\r\n", &["a", "b"]),
        (all, "a -- one; two\n b;\nc", &["a -- one; two\n b", "c"]),
        (all, "a -- last word\n;b /* x */ ; c -- end", &["a", "b", "c"]),
        (all, "-- it's\na;/* don't; */b", &["a", "b"]),
        (all, "// it's a comment; of WSO2\na;\n  // another;\nb", &["a", "b"]),
        (all, "é 'ü;' ;ñ", &["é 'ü;'", "ñ"]),
        // Quotes.
        (all, "a 'x;''y;' \"p;\"\"q;\";b", &["a 'x;''y;' \"p;\"\"q;\"", "b"]),
        (my, r#"a 'x\';' "y\";" `p;``q\`;b"#, &[r#"a 'x\';' "y\";" `p;``q\`"#, "b"]),
        (&[Postgres, Oracle, Db2, Sqlite], r"a 'x\';b", &[r"a 'x\'", "b"]),
        (&[Postgres], r"a E'x\';' ,e'\\';b", &[r"a E'x\';' ,e'\\'", "b"]),
        (&[Postgres], "a E'x'\n  'y\\';' ;b", &["a E'x'\n  'y\\';'", "b"]),
        (&[Postgres], r"a nice'x\';b", &[r"a nice'x\'", "b"]),
        (&[Sqlite, H2], "a `p;``q;`;b", &["a `p;``q;`", "b"]),
        (&[SqlServer], "a [p;]]q;];b", &["a [p;]]q;]", "b"]),
        (&[Sqlite], "a [p;];b", &["a [p;]", "b"]),
        (&[Postgres], "a ARRAY[1, 2];b", &["a ARRAY[1, 2]", "b"]),
        (&[Postgres], "a $$x;$y$;$$ $t_1$;$$;$t_1$, $1;b", &["a $$x;$y$;$$ $t_1$;$$;$t_1$, $1", "b"]),
        (&[Postgres], "a x$t$;b y$t$;c", &["a x$t$", "b y$t$", "c"]),
        (
            &[H2],
            "CREATE ALIAS A AS $$ void f() { g(\"'\"); } $$;b",
            &["CREATE ALIAS A AS $$ void f() { g(\"'\"); } $$", "b"],
        ),
        (
            &[Oracle],
            "a q'[x;'y]' nQ'!it's;!' q'(;)' q'{;}' Q'<;>';b",
            &["a q'[x;'y]' nQ'!it's;!' q'(;)' q'{;}' Q'<;>'", "b"],
        ),
        // Comments.
        (nested, "a /* x; /* y; */ z; */ c;b", &["a /* x; /* y; */ z; */ c", "b"]),
        (my, "a /* x; /* y; */ c;b", &["a /* x; /* y; */ c", "b"]),
        (my, "a # it's; x\n c;b", &["a # it's; x\n c", "b"]),
        (my, "a 5--1;b --\tx;y\n c;d--", &["a 5--1", "b --\tx;y\n c", "d"]),
        (&[Postgres], "a #> '{b}';c 1--;\n;d", &["a #> '{b}'", "c 1", "d"]),
        (my, "/*!40101 SET a = ';*/' ; */;/*M!100100 b */;c", &["/*!40101 SET a = ';*/' ; */", "/*M!100100 b */", "c"]),
        (&[H2], "a // it's;\n b;c", &["a // it's;\n b", "c"]),
        (&[Oracle], "REM it's\nremark; that's it\na;b", &["a", "b"]),
        // Delimiters.
        (my, "DELIMITER $$\nCREATE a; END$$\nb$$\ndelimiter ;\nc;d", &["CREATE a; END", "b", "c", "d"]),
        (my, "DELIMITER //\r\na '//'; # //\n//\r\nDELIMITER ;\r\nb;", &["a '//';", "b"]),
        (my, "SELECT delimiter FROM t; b", &["SELECT delimiter FROM t", "b"]),
        (my, "delimiter ;;\na;b;;\nc", &["a;b", "c"]),
        (&[Oracle, Db2], "a (b)\n/\nc 4 / 2\n  / \r\n;d;\n/\n", &["a (b)", "c 4 / 2", "d"]),
        (&[Oracle, Db2], "a '\n/\n' /*\n/\n*/ x\n/", &["a '\n/\n' /*\n/\n*/ x"]),
        (&[SqlServer], "a\nGO\nb 'x\nGO\n'\n go 1 -- c\nGOTO x;go = 1", &["a", "b 'x\nGO\n'", "GOTO x", "go = 1"]),
        (&[Db2], "a;\n--#SET TERMINATOR @\nb;c@\n--#SET TERMINATOR ;\nd;e", &["a", "b;c", "d", "e"]),
        // PostgreSQL: rules in parentheses, bodies, rows.
        (
            &[Postgres],
            "CREATE RULE r AS ON INSERT TO t DO (a; b); c",
            &["CREATE RULE r AS ON INSERT TO t DO (a; b)", "c"],
        ),
        (&[Postgres], "BEGIN; a; END; COMMIT", &["BEGIN", "a", "END", "COMMIT"]),
        (
            &[Postgres],
            "CREATE OR REPLACE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN a THEN b END; c; END; d",
            &["CREATE OR REPLACE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN a THEN b END; c; END", "d"],
        ),
        // SQLite: triggers.
        (
            &[Sqlite],
            "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET b = CASE WHEN c THEN d END; SELECT end; END; x; BEGIN; END",
            &[
                "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET b = CASE WHEN c THEN d END; SELECT end; END",
                "x",
                "BEGIN",
                "END",
            ],
        ),
        // Oracle: PL/SQL to the lone slash.
        (&[Oracle], "BEGIN a; END;\n/\nb;", &["BEGIN a; END;", "b"]),
        (
            &[Oracle],
            "CREATE OR REPLACE EDITIONABLE TRIGGER t BEGIN a; END;\n/\nCREATE TYPE BODY b AS x; END;\n/\nDECLARE c; BEGIN d; END;",
            &[
                "CREATE OR REPLACE EDITIONABLE TRIGGER t BEGIN a; END;",
                "CREATE TYPE BODY b AS x; END;",
                "DECLARE c; BEGIN d; END;",
            ],
        ),
        // SQL Server: batches.
        (
            &[SqlServer],
            "IF a BEGIN b; END ELSE BEGIN c; END; BEGIN TRAN; d; COMMIT; SELECT CASE WHEN 1=1 THEN 2 END; e",
            &[
                "IF a BEGIN b; END ELSE BEGIN c; END",
                "BEGIN TRAN",
                "d",
                "COMMIT",
                "SELECT CASE WHEN 1=1 THEN 2 END",
                "e",
            ],
        ),
        (
            &[SqlServer],
            "BEGIN TRY a; END TRY BEGIN CATCH b; END CATCH; END CONVERSATION @h; c",
            &["BEGIN TRY a; END TRY BEGIN CATCH b; END CATCH", "END CONVERSATION @h", "c"],
        ),
        (
            &[SqlServer],
            "CREATE OR ALTER PROCEDURE p AS a; b;\nGO\nDECLARE @a INT; SET @a = 1;\nEXEC (@a);\nGO\nc;d",
            &["CREATE OR ALTER PROCEDURE p AS a; b;", "DECLARE @a INT; SET @a = 1;\nEXEC (@a);", "c", "d"],
        ),
        (
            &[SqlServer],
            "CREATE PROC p AS BEGIN a; END; DECLARE @end INT; EXEC b;\nc",
            &["CREATE PROC p AS BEGIN a; END", "DECLARE @end INT; EXEC b", "c"],
        ),
        // WSO2: its runner's markers.
        (
            all,
            "a;\n--<![CDATA[Start of Procedure]]>--\nb; c;\nd;\n--<![CDATA[End of Procedure]]>--\ne;",
            &["a", "b; c;\nd", "e"],
        ),
    ];
    for (dialects, script, expected) in cases {
        for dialect in *dialects {
            assert_eq!(texts(*dialect, script), *expected, "{dialect}: {script}");
        }
    }
}

#[test]
fn programs_without_a_delimiter_end_with_their_last_end() {
    let programs = [
        "CREATE PROCEDURE p() BEGIN a; END",
        "CREATE PROCEDURE p() SELECT IF(a, 1, 2)",
        "CREATE PROCEDURE p() BEGIN IF a THEN b; ELSEIF IF(c, 1, 2) THEN d; ELSE e; END IF; f; END",
        "CREATE PROCEDURE p() BEGIN IF((SELECT 1) > 0) THEN b; END IF; END",
        "CREATE PROCEDURE p() IF a THEN b; END IF",
        "CREATE PROCEDURE p() COMMENT 'x' WHILE a DO b; END WHILE",
        "CREATE PROCEDURE p() BEGIN l: LOOP a; LEAVE l; END LOOP l; REPEAT b; UNTIL c END REPEAT; END",
        "CREATE PROCEDURE p() BEGIN CASE a WHEN 1 THEN b; ELSE BEGIN END; END CASE; SELECT CASE WHEN a THEN IF(b, 1, 2) ELSE 3 END; END",
        "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; END; DROP TABLE IF EXISTS t; a; END",
        "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR SQLSTATE '42000' BEGIN END; SET @end = NEW.end, x = NEW.case; a; END",
        "CREATE PROCEDURE p() BEGIN SELECT end, begin FROM t; SELECT REPEAT('x', 3), REPLACE(a, b, c); a; END",
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.b = IF(NEW.c, 1, 2)",
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW IF NEW.b THEN SET NEW.c = 1; END IF",
        "CREATE TRIGGER t AFTER UPDATE ON a FOR EACH ROW BEGIN b; c; END",
        "CREATE FUNCTION f() RETURNS VARCHAR(9) CHARACTER SET utf8 DETERMINISTIC BEGIN RETURN 1; END",
        "CREATE FUNCTION f() RETURNS INT RETURN CASE WHEN a THEN 1 ELSE 2 END",
        "CREATE FUNCTION f RETURNS STRING SONAME 'f.so'",
    ];
    for dialect in [MariaDb, MySql, Db2] {
        for program in programs {
            let script = format!("{program}; SELECT 1; {program};\nSELECT 2");
            assert_eq!(texts(dialect, &script), [program, "SELECT 1", program, "SELECT 2"], "{dialect}");
        }
    }
    for program in [
        "CREATE DEFINER=`r`@`%` PROCEDURE p() BEGIN a; END",
        "CREATE DEFINER = root@localhost TRIGGER t BEFORE DELETE ON a FOR EACH ROW BEGIN a; END",
        "CREATE OR REPLACE DEFINER=CURRENT_USER() FUNCTION f() RETURNS INT BEGIN a; END",
        "CREATE EVENT IF NOT EXISTS e ON SCHEDULE EVERY 1 DAY DO BEGIN a; END",
        "ALTER EVENT e DO BEGIN a; b; END",
    ] {
        assert_eq!(texts(MySql, &format!("{program};x")), [program, "x"]);
    }
    assert_eq!(
        texts(MariaDb, "BEGIN NOT ATOMIC a; END; BEGIN; b; BEGIN WORK; c")[..2],
        ["BEGIN NOT ATOMIC a; END", "BEGIN"]
    );
    let db2 = "BEGIN\n DECLARE CONTINUE HANDLER FOR SQLSTATE '42704'\n BEGIN END;\n a;\nEND";
    assert_eq!(texts(Db2, &format!("{db2}\n/\nb\n/")), [db2, "b"]);
}

#[test]
fn rows_of_a_copy_are_no_statements() {
    let script = "COPY t (a, b) FROM STDIN;\n1\tit's;\n\\.x\n\\.\nCOPY u FROM stdin WITH (FORMAT csv); -- none\r\n\\.\r\nCOPY t TO STDOUT; x";
    let statements = split(Postgres, script).unwrap();
    let found: Vec<_> =
        statements.iter().map(|statement| (statement.text, statement.line, statement.copy_data)).collect();
    assert_eq!(
        found,
        [
            ("COPY t (a, b) FROM STDIN", 1, Some("1\tit's;\n\\.x\n")),
            ("COPY u FROM stdin WITH (FORMAT csv)", 5, Some("")),
            ("COPY t TO STDOUT", 7, None),
            ("x", 7, None)
        ]
    );
}

#[test]
fn a_statement_knows_its_line_and_the_comments_above_it() {
    let script = "-- first\nSELECT 1; -- of one\n\n-- ha:allow HA011 few rows\nUPDATE t\n SET a = 1;";
    let statements = split(Postgres, script).unwrap();
    assert_eq!(statements[0].above, "-- first\n");
    assert_eq!((statements[1].line, statements[1].above), (5, " -- of one\n\n-- ha:allow HA011 few rows\n"));
    assert_eq!(statements[1].offset, script.find("UPDATE").unwrap());
}

#[test]
fn what_is_not_closed_is_refused_with_its_line_and_the_fix() {
    let cases: &[(Dialect, &str, usize, &str)] = &[
        (Postgres, "a;\nb 'c;\nd", 2, "add '"),
        (Postgres, "a \"b", 1, "add \""),
        (Postgres, "\na E'b\\'", 2, "add '"),
        (Postgres, "a;\n$x$ b $$", 2, "add $x$"),
        (Postgres, "a;\n/* /* */", 2, "add */"),
        (Postgres, "a;\nb (c,\nd;\ne;", 2, "add )"),
        (Postgres, "CREATE FUNCTION f()\nBEGIN ATOMIC a;", 2, "add END"),
        (Postgres, "COPY t FROM STDIN;\n1\n2\n", 1, "\\."),
        (Postgres, "a;\nCOPY t FROM STDIN", 2, "the rows"),
        (Postgres, "COPY t FROM STDIN; SELECT 1;\n\\.\n", 1, "next line"),
        (Postgres, "a;\n\\connect b\n", 2, "psql"),
        (MySql, "a `b", 1, "add `"),
        (MySql, "a;\n/*! b", 2, "add */"),
        (MySql, "a;\nCREATE PROCEDURE p()\nBEGIN\nIF a THEN b; END IF;\nSELECT 1;", 3, "add END"),
        (MySql, "DELIMITER\na", 1, "write DELIMITER"),
        (MySql, "DELIMITER '$$'\na", 1, "no quotes"),
        (MySql, "DELIMITER $$ SELECT 1\na", 1, "line of its own"),
        (MySql, "DELIMITER $$\nCREATE PROCEDURE p()\nBEGIN a; END;\nDELIMITER ;\nb;", 4, "line 2"),
        (Oracle, "a q'[b'", 1, "add ]'"),
        (Sqlite, "a;\nCREATE TRIGGER t AFTER INSERT ON a BEGIN b; c;", 2, "add END"),
        (Sqlite, ".mode csv\n", 1, "sqlite3"),
        (SqlServer, "a [b", 1, "add ]"),
        (SqlServer, "a;\nIF b\nBEGIN c;", 3, "add END"),
        (SqlServer, "a\nGO 5", 2, "write the batch"),
        (H2, "a $$ b", 1, "add $$"),
        (Db2, "a;\nBEGIN ATOMIC b;", 2, "add END"),
        (Db2, "-- Start of Procedure\na;", 1, "End of Procedure"),
    ];
    for (dialect, script, line, says) in cases {
        let error = error(*dialect, script);
        assert_eq!(error.line, *line, "{dialect}: {error}: {script}");
        assert!(error.what.contains(says), "{dialect}: {error}: {script}");
    }
}

/// Texts that cost a careless splitter the square of their length.
#[test]
fn hard_input_is_cut_in_linear_time() {
    let pieces = [
        "'",
        "\"",
        "`",
        "[",
        "]",
        "$",
        "$a",
        "$a$",
        "q'[",
        "E'a'\n",
        "E'a'\n'b'\n",
        "/*",
        "*/",
        "/",
        "\n/",
        "/ ",
        "//",
        "\n//",
        "-- ",
        "#",
        "(",
        ")",
        ";",
        "\\",
        ":",
        "BEGIN ",
        "CASE ",
        "END ",
        "END;",
        "IF ",
        "GO ",
        "\nGO",
        "DELIMITER ",
        "delimiter $\n",
        "COPY t FROM STDIN;\n",
        "\n",
        " ",
        "é",
        "/*!",
        "REM ",
        "@",
        "--#SET TERMINATOR ",
    ];
    for dialect in ALL {
        for piece in pieces {
            for head in ["", "CREATE PROCEDURE p() BEGIN ", "DELIMITER $$$$$$$$$$$$$$$b\n", "a /*! "] {
                let script = format!("{head}{}", piece.repeat((64 << 10) / piece.len()));
                let _ = split(dialect, &script);
            }
        }
    }
}

#[test]
fn ten_megabytes_of_hard_input_are_cut() {
    let hard = [
        (Postgres, "", "$a"),
        (Postgres, "", "E'a'\n"),
        (Postgres, "", "(/"),
        (MySql, "", "delimiter "),
        (MySql, "DELIMITER $$$$$$$$$$$$$$$b\n", "$$$$a"),
        (MySql, "CREATE PROCEDURE p() ", "BEGIN "),
        (Oracle, "", "/ \t"),
        (SqlServer, "", "go "),
    ];
    for (dialect, head, piece) in hard {
        let _ = split(dialect, &format!("{head}{}", piece.repeat((10 << 20) / piece.len())));
    }
}

#[test]
fn a_script_of_50_megabytes_is_cut() {
    let one = "INSERT INTO t (a, b) VALUES (1, 'it''s; a row'), (2, 'another'); -- and a comment\n";
    let script = one.repeat((50 << 20) / one.len());
    let statements = split(Postgres, &script).unwrap();
    assert_eq!(statements.len(), (50 << 20) / one.len());
    assert_eq!(statements.last().map(|last| last.line), Some(statements.len()));
}

/// Checks what must be true of every script that is cut.
fn holds(dialect: Dialect, script: &str, statements: &[Statement<'_>]) {
    let mut end = 0;
    for statement in statements {
        assert!(statement.offset >= end, "{statement:?} overlaps the one before it");
        assert_eq!(script.get(statement.offset..statement.offset + statement.text.len()), Some(statement.text));
        assert_eq!(statement.line, 1 + script[..statement.offset].matches('\n').count());
        assert!(!statement.text.is_empty() && statement.text.trim_matches([' ', '\t', '\r', '\n']) == statement.text);
        assert!(script[..statement.offset].ends_with(statement.above));
        let gap = &script[end..statement.offset];
        let is_copy = statements.iter().any(|statement| statement.copy_data.is_some());
        if !is_copy && [Postgres, Sqlite, H2].contains(&dialect) && !gap.contains("of Procedure") {
            assert_eq!(split(dialect, &format!("{gap}\n")).unwrap(), [], "{gap:?} has a statement in {script:?}");
            assert_eq!(texts(dialect, &format!("a;{};", statement.text)), ["a", statement.text]);
        }
        end = statement.offset + statement.text.len();
    }
}

proptest! {
    #[test]
    fn any_text_is_cut_or_refused_without_panic(script in "(?s).{0,200}") {
        for dialect in ALL {
            if let Ok(statements) = split(dialect, &script) {
                holds(dialect, &script, &statements);
            }
        }
    }

    #[test]
    fn text_of_signs_that_matter_is_cut_or_refused_without_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "'", "''", "\"", "`", "[", "]", "$", "$$", "$a$", "q'", "E'", "/*", "*/", "/*!", "/", "//", "--", "-- ", "#", "(", ")", ";", ";;",
            "\\", "\\.", ":", ".", "\n", "\r\n", " ", "\t", "a", "é", "\0", "\u{feff}", "BEGIN", "CASE", "END", "IF", "THEN", "LOOP", "CREATE",
            " PROCEDURE ", " TRIGGER ", "DELIMITER ", "COPY", " FROM ", "STDIN", "GO", "DECLARE", "NOT", "REM", "Start of Procedure", "End of Procedure",
            "--#SET TERMINATOR ",
        ]), 0..40),
    ) {
        let script = pieces.concat();
        for dialect in ALL {
            if let Ok(statements) = split(dialect, &script) {
                holds(dialect, &script, &statements);
            }
        }
    }

    #[test]
    fn statements_that_are_joined_come_apart_again(
        picks in prop::collection::vec((0_usize..8, 0_usize..6), 0..12), dialect in prop::sample::select(ALL.to_vec()),
    ) {
        let statements = [
            "SELECT 'it''s; -- no' , 1",
            "CREATE TABLE \"a;b\" (c int /* d; */, e text DEFAULT ';')",
            "UPDATE t SET a = a / 2 -- half; of it\n WHERE b",
            "x",
            "INSERT INTO t VALUES (';\n', '/* no */', '--')",
            "DROP TABLE IF EXISTS t",
            "SELECT begin_at, end_at, case_no FROM t",
            "SELECT CASE WHEN a THEN 1 ELSE 2 END AS b",
        ];
        let between = [";", ";\n", " ; -- it's; over\n", ";;\r\n\r\n", "\n/* between; */ ; ", ";// \n// it's; WSO2's\n"];
        let script: String = picks.iter().map(|(statement, end)| [statements[*statement], between[*end]].concat()).collect();
        let script = script.replace(";// \n", ";\n");
        let expected: Vec<&str> = picks.iter().map(|(statement, _)| statements[*statement]).collect();
        prop_assert_eq!(texts(dialect, &script), expected);
    }
}
