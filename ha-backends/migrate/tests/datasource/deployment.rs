use ha_migrate::SecretRef;
use ha_migrate::datasource::Password;

use super::toml;

#[test]
fn urls_are_inferred_as_the_server_does() {
    for (kind, more, url, query) in [
        ("mysql", "name = 'n'", "jdbc:mysql://h:1/n", "SELECT 1"),
        ("mariadb", "name = 'n'", "jdbc:mariadb://h:1/n", "SELECT 1"),
        ("oracle", "sid = 's'", "jdbc:oracle:thin:@h:1/s", "SELECT 1 FROM DUAL"),
        ("oracle", "name = 'n'", "jdbc:oracle:thin:@h:1/n", "SELECT 1 FROM DUAL"),
        ("mssql", "name = 'n'", "jdbc:sqlserver://h:1;databaseName=n;SendStringParametersAsUnicode=false", "SELECT 1"),
        ("db2", "name = 'n'", "jdbc:db2://h:1/n:progressiveStreaming=2;", "SELECT 1 FROM sysibm.sysdummy1"),
        ("postgre", "name = 'n'", "jdbc:postgresql://h:1/n", "SELECT 1; COMMIT"),
        (
            "h2",
            "",
            "jdbc:h2:async:./repository/database/WSO2SHARED_DB;DB_CLOSE_ON_EXIT=FALSE;LOCK_TIMEOUT=60000",
            "SELECT 1",
        ),
    ] {
        let text = format!("[database.shared_db]\ntype = '{kind}'\nhostname = 'h'\nport = 1\n{more}\n");
        let parsed = toml(&text).unwrap();
        let one = &parsed.datasources[0];
        assert_eq!((one.url.as_str(), one.validation_query.as_deref()), (url, Some(query)), "{kind}");
        assert_eq!((one.name.as_str(), one.jndi.as_deref()), ("WSO2_SHARED_DB", Some("jdbc/SHARED_DB")));
        assert_eq!(
            (one.pool.max_active, one.pool.max_wait, one.pool.test_on_borrow),
            (Some(50), Some(60_000), Some(true))
        );
        assert_eq!(one.pool.validation_interval, Some(30_000));
    }
}

#[test]
fn all_tables_are_read_in_the_order_of_the_file() {
    let parsed = toml(
        "[[datasource]]\nid = 'CUSTOM'\nurl = 'jdbc:postgresql://h/c'\n\n[database.identity_db]\nurl = 'jdbc:mysql://h/i?a=b&c=d'\n\
         username = 'u'\npassword = '$secret{identity}'\ndriver = 'org.x.Driver'\n\n[database.identity_db.pool_options]\nmaxActive = 80\n\
         max_wait = 5\nunheardOf = 1\n\n[database.shared_db]\nurl = 'jdbc:postgresql://$env{DB_HOST}/s'\n\
         [database.shared_db.pool_options]\nmax_active = 20\n\n[database.mine]\ntype = 'h2'\nextra = 1\n",
    )
    .unwrap();
    let told: Vec<_> =
        parsed.datasources.iter().map(|one| (one.name.as_str(), one.at.line, one.url.as_str())).collect();
    assert_eq!(
        told,
        [
            ("CUSTOM", 1, "jdbc:postgresql://h/c"),
            ("WSO2_IDENTITY_DB", 5, "jdbc:mysql://h/i?a=b&c=d"),
            ("WSO2_SHARED_DB", 16, "jdbc:postgresql://db7/s"),
            ("mine", 21, "jdbc:h2:async:./repository/database/MINE;DB_CLOSE_ON_EXIT=FALSE;LOCK_TIMEOUT=60000"),
        ]
    );
    let identity = &parsed.datasources[1];
    assert_eq!(identity.password, Password::Ref(SecretRef::Alias("identity".into())));
    assert_eq!(identity.driver.as_deref(), Some("org.x.Driver"));
    // snake case has an effect in shared_db only
    assert_eq!((identity.pool.max_active, identity.pool.max_wait), (Some(80), Some(60_000)));
    assert_eq!(parsed.datasources[2].pool.max_active, Some(20));
    let notes: Vec<_> = parsed.notes.iter().map(|note| (note.at.line, note.what.as_str())).collect();
    assert_eq!(
        notes,
        [
            (
                13,
                "database.identity_db.pool_options.max_wait has no effect: the pool reads camel case, such as maxActive"
            ),
            (14, "database.identity_db.pool_options.unheardOf is not known: the pool does not read it"),
            (23, "database.mine.extra is not known: the server's template does not read it"),
        ]
    );
}

#[test]
fn references_of_the_file_are_filled_in() {
    let parsed =
        toml("[database.a]\nurl = 'jdbc:postgresql://$ref{server.host}:5432/x'\n[server]\nhost = '$env{DB_HOST}'\n")
            .unwrap();
    assert_eq!(parsed.datasources[0].url, "jdbc:postgresql://db7:5432/x");
}

#[test]
fn errors_name_file_line_key_and_fix() {
    for (text, expected) in [
        (
            "[database.a]\ntype = 'postgres'",
            "deployment.toml:2: database.a.type: \"postgres\" is no type of database: write one of mysql, mariadb, oracle, mssql, db2, postgre, h2",
        ),
        (
            "[database.a]\nusername = 'u'",
            "deployment.toml:1: database.a.url: is not there: write url, or type (mysql, mariadb, oracle, mssql, db2, postgre, h2) with hostname, port and name",
        ),
        (
            "[database.a]\ntype = 'mysql'\nhostname = 'h'\nname = 'n'",
            "deployment.toml:1: database.a.port: is not there, and no url either: the server infers one from hostname, port and name (Oracle: sid)",
        ),
        (
            "[database.a]\nurl = '$env{NOT_SET}'",
            "deployment.toml:2: database.a.url: the environment variable NOT_SET is not set here: set it for this process too",
        ),
        (
            "[database.a]\nurl = '$ref{x.y}'",
            "deployment.toml:2: database.a.url: $ref{x.y} leads to no value of this file: name table and key",
        ),
        (
            "[database.a]\nurl = '$sys{x}'",
            "deployment.toml:2: database.a.url: $sys{x} is known to the server only: write the value, or $env{NAME}",
        ),
        (
            "[database.a]\nurl = '$ref{database.a.url}'",
            "deployment.toml:2: database.a.url: its references lead to each other without end: write the value",
        ),
        (
            "[database.a]\nurl = 'u'\n[database.a.pool_options]\nmaxActive = 'many'",
            "deployment.toml:4: database.a.pool_options.maxActive: is no whole number: write the pool's default or leave it out",
        ),
        ("[[datasource]]\nurl = 'u'", "deployment.toml:1: datasource.id: is not there: write id = \"WSO2_X_DB\""),
        ("database = 1", "deployment.toml:1: database: is no table: write [database.shared_db]"),
        (
            "[database.a]\npassword = 'hunter2",
            "deployment.toml:2: this is no TOML: look for an open quote or a key that is there twice",
        ),
    ] {
        assert_eq!(toml(text).unwrap_err(), expected);
    }
}
