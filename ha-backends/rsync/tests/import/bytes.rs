//! Files of any bytes.

use ha_core::topology::Name;
use ha_rsync::import::{CrontabForm, Imported, Rendering, Sources, import};
use proptest::prelude::*;

use super::{CLEAN, COPIED, CRON, LIST, SCRIPT};

fn read(cron: &[u8], script: &[u8], list: &[u8]) -> Imported {
    let sources = Sources::new().with_crontab(CRON, cron).with_script(SCRIPT, script).with_list(LIST, list);
    let imported = import(&sources);
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().count();
    for finding in &imported.findings {
        let last = match finding.file.as_str() {
            CRON => lines(cron),
            SCRIPT => lines(script),
            LIST => lines(list),
            other => panic!("{other} was not given"),
        };
        assert!(finding.line <= last, "{finding} of {last} lines");
        assert!(!finding.to_string().contains('\n'));
    }
    assert_eq!(imported, import(&sources), "the same files, another answer");
    let _ = imported.files_block(&Rendering::new(Name::new("esb1").unwrap()).with_reviewed(true));
    imported
}

/// Pieces that mean something where they are put together.
fn pieces() -> impl Strategy<Value = String> {
    let words = [
        "rsync -a --delete ",
        "/opt/a/ ",
        "h:/b ",
        "$x ",
        "${x} ",
        "$(cat nodes-list.txt) ",
        "`",
        "\"",
        "'",
        "if ",
        "then ",
        "fi\n",
        "while read x; do ",
        "done ",
        "< nodes-list.txt\n",
        "for x in ",
        "do ",
        "case x in ",
        "esac ",
        ";; ",
        "( ",
        ") ",
        "{ ",
        "}\n",
        "f() ",
        "f ",
        "trap ",
        "EXIT\n",
        "mkdir ",
        "/l ",
        "|| ",
        "&& ",
        "| ",
        "& ",
        "; ",
        "\n",
        "# ",
        "* * * * * ",
        "@reboot ",
        "/opt/share/share.sh ",
        "bash ",
        "sh -c ",
        "flock -n /l ",
        "x=",
        "x=$x$x\n",
        "[ -e /h ] ",
        "exit\n",
        "<<E\n",
        "E\n",
        "\\",
        "\r\n",
        "%",
        "set -e\n",
        "$? ",
        "-e 'ssh -o StrictHostKeyChecking=no' ",
        ". /opt/share/share.sh\n",
        "\u{0}",
        "é",
        "[[ ",
        "]] ",
        "((",
        "))",
        "exec 9>/l\n",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_pieces_are_read_and_findings_name_lines_that_are_there(cron in pieces(), script in pieces(), list in pieces()) {
        read(cron.as_bytes(), script.as_bytes(), list.as_bytes());
        read(format!("* * * * * {SCRIPT}\n").as_bytes(), script.as_bytes(), list.as_bytes());
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes, &bytes, &bytes);
        read(CLEAN.cron.as_bytes(), CLEAN.script.as_bytes(), &bytes);
        import(&Sources::new().with_crontab_of(CrontabForm::System, "c", &bytes));
    }

    #[test]
    fn a_script_with_a_part_left_out_is_read(from in 0_usize..800, length in 0_usize..30) {
        for site in [CLEAN, COPIED] {
            let mut script = site.script.as_bytes().to_vec();
            let from = from.min(script.len());
            script.drain(from..(from + length).min(site.script.len()));
            read(site.cron.as_bytes(), &script, site.list.as_bytes());
        }
    }
}

#[test]
fn what_grows_without_end_is_cut() {
    let doubled = format!("x=aaaaaaaaaaaaaaaa\n{}rsync -a $x h:/b\n", "x=$x$x\n".repeat(2000));
    let calls_itself = "/opt/share/share.sh\n".repeat(50);
    let by_shell = "sh /opt/share/share.sh\n".repeat(50);
    let in_itself = "f() { f; f; f; }\nf\n";
    let deep = "{ ".repeat(20_000);
    let nested = format!("{}x{}", "$(".repeat(5000), ")".repeat(5000));
    let loops = format!(
        "{}rsync -a /a/ $a$b$c$d:/x\n",
        "abcd".chars().map(|x| format!("for {x} in $(cat nodes-list.txt); do\n")).collect::<String>()
    );
    for script in [&doubled, &calls_itself, &by_shell, in_itself, &deep, &nested, &loops] {
        let imported =
            read(CLEAN.cron.as_bytes(), script.as_bytes(), "h1\nh2\nh3\nh4\nh5\nh6\nh7\nh8\nh9\n".as_bytes());
        assert!(!imported.findings.is_empty());
    }
    let long = vec![b'x'; (1 << 20) + 1];
    let imported = read(b"", &long, b"");
    assert!(imported.findings[0].what.contains("longer than"), "{:?}", imported.findings);
}
