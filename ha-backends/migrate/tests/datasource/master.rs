use ha_migrate::SecretRef;
use ha_migrate::datasource::{Password, master_datasources, registry};

use super::{body, master_file};

const FULL: &str = r#"<name>WSO2_SHARED_DB</name>
      <description>The shared database</description>
      <jndiConfig><name>jdbc/SHARED_DB</name></jndiConfig>
      <definition type="RDBMS"><configuration>
        <url>jdbc:mysql://db:3306/shared?useSSL=false&amp;autoReconnect=true</url>
        <username>wso2</username><password svns:secretAlias="Shared.Password">password</password>
        <driverClassName>com.mysql.cj.jdbc.Driver</driverClassName>
        <maxActive>80</maxActive><minIdle>5</minIdle><maxWait>60000</maxWait><maxAge>300000</maxAge>
        <testOnBorrow>true</testOnBorrow><validationQuery>SELECT 1</validationQuery><validationInterval>30000</validationInterval>
        <defaultAutoCommit>false</defaultAutoCommit><rollbackOnReturn>true</rollbackOnReturn><jmxEnabled>false</jmxEnabled>
        <databaseProps><property name="sslMode">REQUIRED</property></databaseProps>
        <notAField>1</notAField>
      </configuration></definition>"#;

#[test]
fn every_field_of_a_datasource_is_read() {
    let parsed = master_datasources("m.xml", &master_file(&[FULL])).unwrap();
    let [one] = parsed.datasources.as_slice() else { panic!("{parsed:?}") };
    assert_eq!((one.name.as_str(), one.jndi.as_deref()), ("WSO2_SHARED_DB", Some("jdbc/SHARED_DB")));
    assert_eq!(one.url, "jdbc:mysql://db:3306/shared?useSSL=false&autoReconnect=true");
    assert_eq!(one.user.as_deref(), Some("wso2"));
    assert_eq!(one.password, Password::Ref(SecretRef::Alias("Shared.Password".into())));
    assert_eq!(one.driver.as_deref(), Some("com.mysql.cj.jdbc.Driver"));
    let pool = &one.pool;
    assert_eq!(
        (pool.max_active, pool.min_idle, pool.max_wait, pool.max_age),
        (Some(80), Some(5), Some(60_000), Some(300_000))
    );
    assert_eq!(
        (pool.test_on_borrow, pool.default_auto_commit, pool.rollback_on_return),
        (Some(true), Some(false), Some(true))
    );
    assert_eq!(pool.other["databaseProps.sslMode"], "REQUIRED");
    assert_eq!(one.validation_query.as_deref(), Some("SELECT 1"));
    assert_eq!(one.at.to_string(), "m.xml:6");
    let [note] = parsed.notes.as_slice() else { panic!("{:?}", parsed.notes) };
    assert!(note.what.starts_with("notAField"), "{note:?}");
    assert_eq!(parsed.find("jdbc/SHARED_DB").map(|found| &found.name), Some(&one.name));
}

#[test]
fn passwords_are_read_as_they_are_given() {
    for (element, expected) in [
        ("<password>hunter2</password>", "Inline(***)"),
        ("<password>$env{DB_PASSWORD}</password>", "Ref(Env(\"DB_PASSWORD\"))"),
        ("<password>$secret{db}</password>", "Ref(Alias(\"db\"))"),
        ("<password encrypted=\"true\">kuv2MubUUveMyv6G</password>", "Ref(Alias(\"X (encrypted)\"))"),
        ("<password></password>", "None"),
        ("", "None"),
    ] {
        let text = format!(
            "<name>X</name><definition type=\"RDBMS\"><configuration><url>jdbc:postgresql:x</url>{element}</configuration></definition>"
        );
        let parsed = master_datasources("m.xml", &master_file(&[&text])).unwrap();
        assert_eq!(format!("{:?}", parsed.datasources[0].password), expected, "{element}");
    }
}

#[test]
fn errors_name_file_line_key_and_fix() {
    let bare = master_file(&[&body("X", "x", "jdbc:mysql://h/d?a=b&c=d")]);
    let number = master_file(&[
        "<name>X</name><definition><configuration><url>u</url>\n<maxActive>many</maxActive></configuration></definition>",
    ]);
    for (text, expected) in [
        (bare.as_str(), "m.xml:6: a bare & is no XML: write `&amp;` for each & of a URL"),
        (
            number.as_str(),
            "m.xml:7: maxActive: the value of X is no whole number: write the pool's default or leave the field out",
        ),
        (
            "<a/>",
            "m.xml:1: a: the root element is another one: master-datasources.xml begins with <datasources-configuration>",
        ),
        (
            "<datasources-configuration><datasources>\n<datasource/></datasources></datasources-configuration>",
            "m.xml:2: name: the datasource has no name: add <name>WSO2_SHARED_DB</name>",
        ),
        (
            &master_file(&["<name>X</name><definition><configuration/></definition>"]),
            "m.xml:6: url: X has no URL: add <url>jdbc:...</url>",
        ),
        (
            "<a><password>hunter2</pass></a>",
            "m.xml:1: this is no well-formed XML at column 21: compare it with the file that the product ships",
        ),
        (
            "<datasources-configuration><p svns:a='1'/></datasources-configuration>",
            "m.xml:1: the prefix svns is not declared: add xmlns:svns=\"http://org.wso2.securevault/configuration\" to the root element",
        ),
        ("<!DOCTYPE a []><a/>", "m.xml:1: a DOCTYPE is not read: remove it"),
    ] {
        assert_eq!(master_datasources("m.xml", text).unwrap_err().to_string(), expected);
    }
}

#[test]
fn another_kind_of_datasource_is_a_note() {
    let text = master_file(&["<name>L</name><definition type=\"LDAP\"><configuration/></definition>"]);
    let parsed = master_datasources("m.xml", &text).unwrap();
    assert!(parsed.datasources.is_empty());
    assert!(parsed.notes[0].what.contains("LDAP"), "{:?}", parsed.notes);
}

#[test]
fn a_byte_order_mark_and_comments_are_passed_over() {
    let text = format!("\u{feff}{}", master_file(&[&body("X", "x", "jdbc:<!-- c -->postgresql:x")]));
    assert_eq!(master_datasources("m.xml", &text).unwrap().datasources[0].url, "jdbc:postgresql:x");
}

#[test]
fn mounts_of_a_registry_are_read() {
    let registry_file = super::mounted(true, Some("u@jdbc:postgresql://h/d"), "jdbc/SHARED_DB");
    assert_eq!(registry_file.current.as_deref(), Some("wso2registry"));
    assert_eq!(registry_file.configs[1].datasource.as_deref(), Some("jdbc/SHARED_DB"));
    let instance = &registry_file.instances[0];
    assert_eq!((instance.id.as_str(), instance.read_only, instance.enable_cache), ("gov", true, true));
    let mount = &registry_file.mounts[0];
    assert_eq!((mount.path.as_str(), mount.overwrite, mount.instance.as_str()), ("/_system/governance", true, "gov"));
    assert_eq!(mount.at.line, 9);
    let error = registry(
        "r.xml",
        "<wso2registry>\n<remoteInstance><id>a</id><readOnly>maybe</readOnly></remoteInstance></wso2registry>",
    );
    assert_eq!(error.unwrap_err().to_string(), "r.xml:2: readOnly: is neither true nor false: write one of them");
    let error = registry("r.xml", "<wso2registry><mount overwrite='true'/></wso2registry>").unwrap_err().to_string();
    assert_eq!(error, "r.xml:1: path: mount has none: write <mount path=\"...\">");
}
