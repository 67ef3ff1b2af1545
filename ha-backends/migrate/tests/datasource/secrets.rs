use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use ha_migrate::datasource::{NodeConfig, Password, lint_nodes, master_datasources};
use ha_migrate::{LONGEST, Secret, SecretRef};
use proptest::prelude::*;

use super::{master_file, mounted, toml};

fn command(words: &[&str]) -> SecretRef {
    SecretRef::Command(words.iter().map(|word| (*word).to_owned()).collect())
}

async fn read(reference: SecretRef) -> Result<String, String> {
    reference.read().await.map(|secret| secret.expose().to_owned()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_password_is_read_from_environment_file_and_command() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all("hünter2\r\nsecond\n".as_bytes()).unwrap();
    assert_eq!(read(SecretRef::File(file.path().into())).await.as_deref(), Ok("hünter2"));
    // PATH is always set
    assert!(read(SecretRef::Env("PATH".into())).await.is_ok());
    assert_eq!(read(command(&["printf", "hunter2\\n"])).await.as_deref(), Ok("hunter2"));
    // no shell: the argument is an argument
    assert_eq!(read(command(&["echo", "$HOME; id"])).await.as_deref(), Ok("$HOME; id"));
    // inner lines belong to it
    assert_eq!(read(command(&["printf", "a\\nb\\n"])).await.as_deref(), Ok("a\nb"));
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_with_the_fix() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("empty"), "\n").unwrap();
    std::fs::write(path("long"), "x".repeat(LONGEST + 1)).unwrap();
    std::fs::write(path("bytes"), [0xff, 0xfe]).unwrap();
    for (reference, expected) in [
        (SecretRef::Env("HA_TEST_NOT_SET".into()), "is not set: set it to the password"),
        (SecretRef::File(path("none")), "cannot be read"),
        (SecretRef::File(path("empty")), "empty first line"),
        (SecretRef::File(path("long")), "more than 4096 bytes"),
        (SecretRef::File(path("bytes")), "no UTF-8"),
        (SecretRef::File(directory.path().into()), "is a directory"),
        (command(&[]), "is empty"),
        (command(&["ha-test-no-such-program"]), "cannot be run"),
        (command(&["false"]), "exit code 1"),
        (command(&["true"]), "prints nothing"),
        (command(&["sh", "-c", "kill -9 $$"]), "ended by a signal"),
        (command(&["yes", "hunter2"]), "more than 4096 bytes and was killed"),
        (SecretRef::Alias("db".into()), "give it by environment, file or command"),
    ] {
        let error = read(reference.clone()).await.unwrap_err();
        assert!(error.contains(expected), "{reference:?}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_command_that_does_not_end_is_killed_with_all_that_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("hang");
    let pids = directory.path().join("pids");
    std::fs::write(
        &script,
        format!("#!/bin/sh\nsleep 600 &\necho $! > {0}.new\nmv {0}.new {0}\nwait\n", pids.display()),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let reference = command(&[&script.display().to_string()]);
    let read = tokio::spawn(async move { reference.read().await });
    let child = loop {
        match std::fs::read_to_string(&pids) {
            Ok(text) => break text.trim().to_owned(),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
        }
    };
    // the caller gives up
    read.abort();
    assert!(read.await.unwrap_err().is_cancelled());
    loop {
        let status = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let state = status.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
        if state.is_none_or(|state| state == 'Z' || state == 'X') {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_password_of_a_datasource_is_read_where_it_says() {
    assert_eq!(Password::None.read().await, Ok(None));
    assert_eq!(Password::Inline(Secret::new("a")).read().await, Ok(Some(Secret::new("a"))));
    let parsed = toml("[database.a]\nurl = 'u'\npassword = '$secret{db}'").unwrap();
    let datasource = parsed.datasources[0].clone();
    assert!(datasource.password.read().await.is_err());
    let datasource = datasource.with_password(command(&["echo", "b"]));
    assert_eq!(datasource.password.read().await, Ok(Some(Secret::new("b"))));
}

/// Text that is no password of these tests must not be hidden by chance: this one is in no key and no URL.
const SECRET: &str = "Hunter2Hunter2";

#[test]
fn no_debug_output_holds_a_password() {
    let urls = [
        format!("jdbc:postgresql://h/d?user=u&amp;password={SECRET}"),
        format!("jdbc:mysql://u:{SECRET}@h/d"),
        format!("jdbc:oracle:thin:u/{SECRET}@h:1521:S"),
        format!("jdbc:sqlserver://h;password={{{SECRET};}};user=u"),
        format!("jdbc:db2://h/d:user=u;password={SECRET};"),
        format!("jdbc:mysql://address=(host=h)(password={SECRET})/d"),
    ];
    let mut shown = String::new();
    for url in &urls {
        let text = master_file(&[&format!(
            "<name>X</name><definition><configuration><url>{url}</url><password>{SECRET}</password>\
             <connectionProperties>a=b;password={SECRET}</connectionProperties><databaseProps><property name=\"password\">{SECRET}\
             </property></databaseProps></configuration></definition>"
        )]);
        let parsed = master_datasources("m.xml", &text).unwrap();
        let other = super::shared("jdbc:postgresql://other/d");
        let mut second = other.datasources.clone();
        second[0].name = "X".into();
        let registry = mounted(false, Some(&format!("u@{url}")), "X");
        let nodes = [
            NodeConfig::new("a", &parsed.datasources).with_registry(&registry),
            NodeConfig::new("b", &second).with_registry(&registry),
        ];
        shown.push_str(&format!("{parsed:?} {parsed:#?} {registry:?} {:?}", lint_nodes(&nodes)));
        shown.push_str(&parsed.datasources[0].shown_url());
    }
    let inline = toml(&format!(
        "[database.a]\nurl='jdbc:postgresql:x'\npassword='{SECRET}'\n[database.a.db_props]\npassword='{SECRET}'"
    ));
    shown.push_str(&format!("{inline:?} {:?}", Secret::new(SECRET)));
    for broken in [format!("[database.a]\npassword='{SECRET}"), format!("[database.a]\npassword=['{SECRET}']\nurl='u'")]
    {
        shown.push_str(&toml(&broken).unwrap_err());
    }
    let broken = format!("<datasources-configuration><password>{SECRET}</x>");
    shown.push_str(&master_datasources("m.xml", &broken).unwrap_err().to_string());
    assert!(!shown.contains(SECRET), "{shown}");
    assert!(shown.contains("***"));
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,300}") {
        let _ = master_datasources("m.xml", &text);
        let _ = ha_migrate::datasource::registry("r.xml", &text);
        let _ = toml(&text);
        let parsed = master_datasources("m.xml", &master_file(&[&super::body("X", "x", "URL")])).unwrap();
        let mut datasource = parsed.datasources[0].clone();
        datasource.url = text;
        let _ = format!("{datasource:?}");
    }

    #[test]
    fn any_toml_value_is_read_without_a_panic(key in "[a-z_]{1,12}", value in "[a-z0-9$'\"{}\\[\\]. ]{0,40}") {
        let _ = toml(&format!("[database.shared_db]\ntype = 'mysql'\n{key} = {value}\n"));
        let _ = toml(&format!("[database.shared_db]\nurl = '{}'\n", value.replace('\'', "")));
    }

    #[test]
    fn a_password_behind_a_key_is_hidden(password in "[A-Za-z0-9!%^*]{6,20}") {
        let mut datasource = super::shared("jdbc:postgresql://h/d").datasources[0].clone();
        prop_assume!(!format!("{datasource:?}").contains(&password));
        for url in [format!("jdbc:postgresql://h/d?password={password}&a=b"), format!("jdbc:mysql://u:{password}@h/d")] {
            datasource.url = url;
            let shown = format!("{datasource:?}");
            prop_assert!(!shown.contains(&password));
        }
    }
}
