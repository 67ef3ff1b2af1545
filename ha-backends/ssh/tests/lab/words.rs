//! Words come through every login shell as they were: H7, H8.

use std::time::Duration;

use ha_core::backend::{Ended, Host, RunCommand};
use ha_lab::SshSpec;

use crate::fixture::{FIRST, drive, install, lab, sh};

/// 428 texts that shells like to take for something else.
fn nasty() -> Vec<String> {
    let specials: Vec<char> = (1..128_u8).map(char::from).filter(|letter| !letter.is_ascii_alphanumeric()).collect();
    let mut words: Vec<String> = (1..128_u8).map(|byte| char::from(byte).to_string()).collect();
    words.extend(specials.iter().map(|special| format!("a{special}b")));
    words.extend(specials.iter().map(|special| format!("{special}{special}")));
    let fixed = [
        "",
        " ",
        "~",
        "~root",
        "$HOME",
        "${HOME}",
        "$(id)",
        "`id`",
        "!!",
        "!$",
        "!:0",
        "^a^b",
        "*",
        "?",
        "[a-z]",
        "{a,b}",
        "a\\",
        "\\n",
        "\\'",
        "'\\''",
        "\"'\"'\"",
        "$'x'",
        "$\"x\"",
        "a;id",
        "a&&id",
        "a||id",
        "a|id",
        "a&",
        ">x",
        "<x",
        "2>&1",
        "<<EOF",
        "#x",
        "-n",
        "-e",
        "--",
        "-rf",
        "%s",
        "%n",
        "\u{7f}",
        "ä",
        "日本",
        "🦀",
        "e\u{301}",
        "\u{202e}x",
        "\u{feff}",
        "a\r\nb",
        "\n",
        "\n\n",
        "a\n",
        "\t",
        "end\\\n",
        "\u{1b}[31m",
        "exit 1",
        "ha_end",
        "}",
        "{",
        "esac",
        "' ; id ; '",
        "\" ; id ; \"",
        "\\\\\\",
        "''''",
        "\"\"\"\"",
    ];
    words.extend(fixed.map(String::from));
    let mut filler = specials.iter().zip(specials.iter().skip(7)).cycle();
    while words.len() < 428 {
        let (one, other) = filler.next().unwrap();
        words.push(format!("{one}x{other}'{}", words.len()));
    }
    words.truncate(428);
    words
}

#[tokio::test]
async fn nasty_words_come_through_every_login_shell_as_they_were() {
    let lab = lab();
    let words = nasty();
    assert_eq!(words.len(), 428);
    for shell in ["/bin/sh", "/usr/bin/bash", "/usr/bin/zsh", "/usr/bin/fish", "/usr/bin/tcsh"] {
        assert!(std::path::Path::new(shell).exists(), "{shell} is missing: install it");
        let name = shell.rsplit('/').next().unwrap();
        let machine = lab.ssh_host_with(name, &SshSpec::new().with_login_shell(shell)).unwrap();
        install(&machine.outside("/srv").unwrap());
        let host = drive(machine.access());
        let show = "for word; do printf %s \"$word\" | od -An -v -tx1 | tr -d ' \\n'; echo; done; \
                    printf %s \"$NASTY\" | od -An -v -tx1 | tr -d ' \\n'";
        let mut argv: Vec<String> = ["/bin/sh", "-c", show, "sh"].map(String::from).to_vec();
        argv.extend(words.clone());
        let all = words.concat();
        let command = RunCommand::new(argv, Duration::from_secs(60)).with_env("NASTY", all.as_str());
        let ran = host.run(FIRST, command).await.unwrap();
        let hex = |word: &String| word.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut wanted: Vec<String> = words.iter().map(hex).collect();
        wanted.push(hex(&all));
        assert_eq!(ran.stdout.split('\n').collect::<Vec<_>>(), wanted, "{shell}");
    }
}

#[tokio::test]
async fn a_noisy_and_slow_login_shell_does_not_pollute_the_output() {
    let lab = lab();
    let noise = "echo welcome; echo warning >&2; sleep 0.3; printf 'no line feed'; false\n";
    let spec = SshSpec::new().with_login_shell("/usr/bin/bash").with_home_file(".bashrc", noise);
    let machine = lab.ssh_host_with("esb1", &spec).unwrap();
    install(&machine.outside("/srv").unwrap());
    let host = drive(machine.access());
    let ran = host.run(FIRST, sh("echo out; echo err >&2; exit 5", Duration::from_secs(30))).await.unwrap();
    assert_eq!((ran.ended, ran.stdout.as_str(), ran.stderr.as_str()), (Ended::Exited(5), "out\n", "err\n"));
}
