//! JDBC URLs of every driver: what is read, what is printed, what is refused.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use ha_migrate::Dialect;
use ha_migrate::jdbc::{Driver, JdbcUrl, Refusal, Tls};
use proptest::prelude::*;

fn url(text: &str) -> JdbcUrl {
    JdbcUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A URL, its hosts, its database, its target (without `jdbc:`), and its parameters.
type Case = (&'static str, &'static str, Option<&'static str>, &'static str, &'static [(&'static str, &'static str)]);

const CASES: &[Case] = &[
    ("jdbc:postgresql:orders", "localhost:5432", Some("orders"), "postgresql:orders", &[]),
    ("jdbc:postgresql:/", "localhost:5432", None, "postgresql:/", &[]),
    ("jdbc:postgresql://db1/orders", "db1:5432", Some("orders"), "postgresql://db1/orders", &[]),
    ("jdbc:postgresql:///orders", "localhost:5432", Some("orders"), "postgresql:///orders", &[]),
    ("jdbc:postgresql://db1", "db1:5432", None, "postgresql://db1", &[]),
    (
        "jdbc:postgresql://[::1]:6000,db2,[fe80::2%25eth0]/my%20db?a=%26b&c&targetServerType=primary&d=x+y",
        "[::1]:6000 db2:5432 [fe80::2%25eth0]:5432",
        Some("my db"),
        "postgresql://[::1]:6000,db2,[fe80::2%25eth0]/my%20db",
        &[("a", "&b"), ("c", ""), ("targetServerType", "primary"), ("d", "x y")],
    ),
    (
        "jdbc:mysql://db1:3307,db2/orders?useSSL=false",
        "db1:3307 db2:3306",
        Some("orders"),
        "mysql://db1:3307,db2/orders",
        &[("useSSL", "false")],
    ),
    ("jdbc:mysql://db1", "db1:3306", None, "mysql://db1", &[]),
    ("jdbc:mysql:///?a=b", "localhost:3306", None, "mysql:///", &[("a", "b")]),
    (
        "jdbc:mysql:replication://u:p@[db1,[::1]:3307,address=(host=db3)(port=1)(type=replica)]/o",
        "db1:3306 [::1]:3307 db3:1",
        Some("o"),
        "mysql:replication://db1,[::1]:3307,db3:1/o",
        &[],
    ),
    (
        "jdbc:mysql://(host=db1,port=3309,user=u),(host=db2)/o",
        "db1:3309 db2:3306",
        Some("o"),
        "mysql://db1:3309,db2/o",
        &[],
    ),
    ("jdbc:mysql+srv://cluster/o", "cluster:3306", Some("o"), "mysql+srv://cluster/o", &[]),
    (
        "jdbc:mariadb:sequential://db1,address=(host=db2)(port=3307)/o?localSocket=/run/x",
        "db1:3306 db2:3307",
        Some("o"),
        "mariadb:sequential://db1,db2:3307/o",
        &[("localSocket", "/run/x")],
    ),
    ("jdbc:sqlite::memory:", "", Some(":memory:"), "sqlite::memory:", &[]),
    ("jdbc:sqlite:", "", Some(":memory:"), "sqlite:", &[]),
    (
        "jdbc:sqlite:/var/lib/a b.db?foreign_keys=on&x=%31",
        "",
        Some("/var/lib/a b.db"),
        "sqlite:/var/lib/a b.db",
        &[("foreign_keys", "on"), ("x", "1")],
    ),
    ("jdbc:sqlite:file:a.db?mode=ro", "", Some("file:a.db"), "sqlite:file:a.db", &[("mode", "ro")]),
    (
        "jdbc:h2:async:./repository/database/WSO2;DB_CLOSE_ON_EXIT=FALSE;LOCK_TIMEOUT=60000",
        "",
        Some("async:./repository/database/WSO2"),
        "h2:async:./repository/database/WSO2",
        &[("DB_CLOSE_ON_EXIT", "FALSE"), ("LOCK_TIMEOUT", "60000")],
    ),
    (r"jdbc:h2:mem:a;A=b\;c;D=e", "", Some("mem:a"), "h2:mem:a", &[("A", "b;c"), ("D", "e")]),
    ("jdbc:h2:tcp://db1:9000/~/o;A=b", "db1:9000", Some("~/o"), "h2:tcp://db1:9000/~/o", &[("A", "b")]),
    ("jdbc:oracle:thin:@db1:1522:ORCL", "db1:1522", Some("ORCL"), "oracle:thin:@db1:1522:ORCL", &[]),
    ("jdbc:oracle:thin:@[::1]:1522:ORCL", "[::1]:1522", Some("ORCL"), "oracle:thin:@[::1]:1522:ORCL", &[]),
    ("jdbc:oracle:thin:u/p@db1:1522/svc", "db1:1522", Some("svc"), "oracle:thin:@db1:1522/svc", &[]),
    ("jdbc:oracle:oci:@//db1/svc:dedicated/inst", "db1:1521", Some("svc"), "oracle:oci:@//db1/svc:dedicated/inst", &[]),
    (
        "jdbc:oracle:thin:@tcps://db1:2484/svc?wallet_location=/w",
        "db1:2484",
        Some("svc"),
        "oracle:thin:@tcps://db1:2484/svc",
        &[("wallet_location", "/w")],
    ),
    ("jdbc:oracle:thin:@ORDERS_TNS", "", Some("ORDERS_TNS"), "oracle:thin:@ORDERS_TNS", &[]),
    (
        "jdbc:oracle:thin:@(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST=a)(PORT=1))(ADDRESS=(host=b))(CONNECT_DATA=(SERVICE_NAME=s)))",
        "a:1 b:1521",
        Some("s"),
        "oracle:thin:@(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST=a)(PORT=1))(ADDRESS=(host=b))(CONNECT_DATA=(SERVICE_NAME=s)))",
        &[],
    ),
    (
        "jdbc:sqlserver://db1\\inst:1444;databaseName=o;SendStringParametersAsUnicode=false;x={a;b}}c}",
        "db1:1444",
        Some("o"),
        "sqlserver://db1\\inst:1444;databaseName=o",
        &[("databaseName", "o"), ("SendStringParametersAsUnicode", "false"), ("x", "a;b}c")],
    ),
    (
        "jdbc:sqlserver://;serverName=db2;portNumber=5;",
        "db2:5",
        None,
        "sqlserver://",
        &[("serverName", "db2"), ("portNumber", "5")],
    ),
    ("jdbc:jtds:sqlserver://db1:5/o;instance=i", "db1:5", Some("o"), "jtds:sqlserver://db1:5/o", &[("instance", "i")]),
    (
        "jdbc:db2://db1:50001/O:progressiveStreaming=2;currentSchema=X;",
        "db1:50001",
        Some("O"),
        "db2://db1:50001/O",
        &[("progressiveStreaming", "2"), ("currentSchema", "X")],
    ),
    ("jdbc:db2:LOCAL", "", Some("LOCAL"), "db2:LOCAL", &[]),
    (
        "jdbc:informix-sqli://db1:9/o:INFORMIXSERVER=s;A=b",
        "db1:9",
        Some("o"),
        "informix-sqli://db1:9/o",
        &[("INFORMIXSERVER", "s"), ("A", "b")],
    ),
    ("jdbc:derby:orders;create=true", "", Some("orders"), "derby:orders", &[("create", "true")]),
    ("jdbc:derby://db1/orders;create=true", "db1:1527", Some("orders"), "derby://db1/orders", &[("create", "true")]),
];

#[test]
fn each_drivers_urls_are_read() {
    for (text, hosts, database, target, parameters) in CASES {
        let url = url(text);
        let found: Vec<String> = url.hosts().iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), *hosts, "{text}");
        assert_eq!(url.database(), *database, "{text}");
        assert_eq!(url.target(), format!("jdbc:{target}"), "{text}");
        let found: Vec<(&str, &str)> = url.parameters().iter().map(|found| (found.name(), found.value())).collect();
        assert_eq!(found, *parameters, "{text}");
        assert_eq!(url.printed_with_secrets(), *text);
    }
    assert_eq!(url("jdbc:sqlserver://a\\inst:1").hosts()[0].instance.as_deref(), Some("inst"));
    assert_eq!(
        url("jdbc:mariadb://address=(host=a)(type=replica),b/").writer().map(ToString::to_string).as_deref(),
        Some("b:3306")
    );
}

#[test]
fn the_scheme_alone_decides_the_dialect() {
    for (text, driver, dialect) in [
        ("jdbc:postgresql://h2-prod/oracle?x=jdbc:mysql:", Driver::Postgres, Some(Dialect::Postgres)),
        ("jdbc:mysql://oracle-gw/mariadb", Driver::MySql, Some(Dialect::MySql)),
        ("jdbc:mysql+srv://mssql/db2", Driver::MySql, Some(Dialect::MySql)),
        ("jdbc:mariadb://mysql/postgresql", Driver::MariaDb, Some(Dialect::MariaDb)),
        ("jdbc:sqlite:/h2/mysql.db", Driver::Sqlite, Some(Dialect::Sqlite)),
        ("jdbc:h2:./postgresql;MODE=Oracle", Driver::H2, Some(Dialect::H2)),
        ("jdbc:oracle:thin:@h2:1:db2", Driver::Oracle, Some(Dialect::Oracle)),
        ("jdbc:sqlserver://mysql", Driver::SqlServer, Some(Dialect::SqlServer)),
        ("jdbc:jtds:sqlserver://mysql", Driver::Jtds, Some(Dialect::SqlServer)),
        ("jdbc:db2://oracle/H2", Driver::Db2, Some(Dialect::Db2)),
        ("jdbc:ibmdb://oracle/H2", Driver::Db2, Some(Dialect::Db2)),
        ("jdbc:informix-sqli://mysql/db2", Driver::Informix, None),
        ("jdbc:derby:mysql", Driver::Derby, None),
    ] {
        assert_eq!((url(text).driver(), url(text).dialect()), (driver, dialect), "{text}");
    }
}

#[test]
fn users_and_secrets_are_read_and_never_printed() {
    for (text, user, printed) in [
        ("jdbc:mysql://us3r:s3cret@a/b?x=1", "us3r", "jdbc:mysql://***@a/b?x=1"),
        ("jdbc:mysql://us3r:s3c%72et@a,us3r:s3cret@b/", "us3r", "jdbc:mysql://***@a,***@b/"),
        ("jdbc:mysql://(host=a,user=us3r,password=s3cret)/b", "us3r", "jdbc:mysql://(host=a,user=***,password=***)/b"),
        ("jdbc:postgresql://a/b?user=us3r&password=s3cret", "us3r", "jdbc:postgresql://a/b?user=***&password=***"),
        (
            "jdbc:postgresql:b?user=us3r&PassWord=s3cret&sslpassword=s3cret",
            "us3r",
            "jdbc:postgresql:b?user=***&PassWord=***&sslpassword=***",
        ),
        ("jdbc:oracle:thin:us3r/s3cret@a:1:B", "us3r", "jdbc:oracle:thin:***@a:1:B"),
        ("jdbc:oracle:thin:us3r/\"s3cret\"@//a/b", "us3r", "jdbc:oracle:thin:***@//a/b"),
        ("jdbc:sqlserver://a;user=us3r;password={s3cret};b=c", "us3r", "jdbc:sqlserver://a;user=***;password=***;b=c"),
        ("jdbc:sqlserver://a;UID=us3r;PWD=s3cret", "us3r", "jdbc:sqlserver://a;UID=***;PWD=***"),
        ("jdbc:db2://a/B:user=us3r;password=s3cret;", "us3r", "jdbc:db2://a/B:user=***;password=***;"),
        (
            "jdbc:h2:./a;USER=us3r;PASSWORD=s3cret;INIT=SET PASSWORD 's3cret'",
            "us3r",
            "jdbc:h2:./a;USER=***;PASSWORD=***;INIT=***",
        ),
        ("jdbc:derby:a;user=us3r;password=s3cret", "us3r", "jdbc:derby:a;user=***;password=***"),
        (
            "jdbc:mariadb://a/b?user=us3r&password=s3cret&trustStorePassword=s3cret",
            "us3r",
            "jdbc:mariadb://a/b?user=***&password=***&trustStorePassword=***",
        ),
    ] {
        let url = url(text);
        assert_eq!(url.user(), Some(user), "{text}");
        assert_eq!(url.password().map(|password| password.expose()), Some("s3cret"), "{text}");
        assert_eq!(url.to_string(), printed);
        assert!(
            format!("{url:?}").contains(printed.trim_end_matches('"')) && !format!("{url:#?}").contains("s3c"),
            "{url:?}"
        );
        assert!(!url.target().contains("s3c") && !url.target().contains("us3r"), "{}", url.target());
    }
}

#[test]
fn what_is_no_url_is_refused_without_printing_it() {
    for (text, says) in [
        ("", "jdbc:"),
        ("postgresql://a/b", "jdbc:"),
        ("jdbc:postgresql", "driver"),
        ("jdbc:hsqldb:mem:s3cret", "known are postgresql"),
        ("JDBC:postgresql:b", "jdbc:"),
        (" jdbc:postgresql:b", "blanks"),
        ("jdbc:postgresql:b\n", "blanks"),
        ("jdbc:postgresql:b\nc", "control character"),
        ("jdbc:postgresql://s3cret:s3cret@a/b", "?user="),
        ("jdbc:postgresql://a:99999/b", "65535"),
        ("jdbc:postgresql://a:0/b", "65535"),
        ("jdbc:postgresql://::1/b", "[address]"),
        ("jdbc:postgresql://[::1/b", "add ]"),
        ("jdbc:postgresql://a/b?sslmode=s3cret", "verify-full"),
        ("jdbc:mysql:a", "//"),
        ("jdbc:mysql:nomode://a", "mode"),
        ("jdbc:mysql://root:s3cret/x@a/b", "65535"),
        ("jdbc:mysql://root:12/s3cret@a/b", "%40"),
        ("jdbc:mysql://root:12?s3cret@a/b", "%40"),
        ("jdbc:mysql://address=host/b", "address=(host"),
        ("jdbc:mysql://a/?useSSL=s3cret", "neither true nor false"),
        ("jdbc:sqlserver:a", "//"),
        ("jdbc:sqlserver://a;password={s3cret", "add }"),
        ("jdbc:sqlserver://a;password=x;s3cret", "without a value"),
        ("jdbc:jtds:sybase://a", "sqlserver"),
        ("jdbc:oracle:thin:a:1:b", "@"),
        ("jdbc:oracle:kprb:@a", "thin:"),
        ("jdbc:oracle:thin:@a:1", "SID"),
        ("jdbc:oracle:thin:@(DESCRIPTION=(HOST=a)", "count them"),
        ("jdbc:oracle:thin:@(DESCRIPTION=)", "HOST"),
        ("jdbc:db2://a", "/database"),
        ("jdbc:db2://a/B;user=s3cret", "/database:property"),
        ("jdbc:h2:tcp:a", "//"),
    ] {
        let error = JdbcUrl::parse(text).unwrap_err();
        assert!(error.to_string().contains(says), "{text:?}: {error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

#[test]
fn urls_that_no_migration_can_use_are_refused_with_the_fix() {
    let refusals = |text: &str| {
        let mut refusals = url(text).refusals();
        // Which drivers are built in is not what this is about.
        refusals.retain(|refusal| {
            !matches!(
                refusal,
                Refusal::NoDriver { driver: Driver::Postgres | Driver::MySql | Driver::MariaDb | Driver::Sqlite, .. }
            )
        });
        refusals
    };
    for (text, expected) in [
        ("jdbc:postgresql://a/b", None),
        ("jdbc:postgresql://a,b/c", Some(Refusal::PrimaryNotAsked)),
        ("jdbc:postgresql://a,b/c?targetServerType=any", Some(Refusal::PrimaryNotAsked)),
        ("jdbc:postgresql://a,b/c?targetServerType=primary", None),
        ("jdbc:postgresql://a,b/c?targetServerType=master", None),
        ("jdbc:postgresql://a/c?targetServerType=preferSecondary", Some(Refusal::ReplicaAsked)),
        ("jdbc:mysql://a,b/c", None),
        ("jdbc:mysql:loadbalance://a/c", None),
        ("jdbc:mysql:loadbalance://a,b/c", Some(Refusal::WriterUnknown)),
        ("jdbc:mysql+srv:loadbalance://a/c", Some(Refusal::HostsUnknown)),
        ("jdbc:mysql:replication://a,b/c", None),
        ("jdbc:mariadb:load-balance-read://a,b/c", Some(Refusal::WriterUnknown)),
        ("jdbc:mariadb:sequential://a,b/c", None),
        ("jdbc:mariadb://address=(host=a)(type=replica)/c", Some(Refusal::OnlyReplicas)),
        ("jdbc:sqlite:a.db", None),
    ] {
        assert_eq!(refusals(text), Vec::from_iter(expected), "{text}");
    }
    let h2 = refusals("jdbc:h2:./a");
    assert!(matches!(h2[..], [Refusal::OneProcess, Refusal::NoDriver { driver: Driver::H2, .. }]), "{h2:?}");
    for (text, driver) in [
        ("jdbc:h2:tcp://a/b", Driver::H2),
        ("jdbc:oracle:thin:@a:1:b", Driver::Oracle),
        ("jdbc:sqlserver://a", Driver::SqlServer),
        ("jdbc:jtds:sqlserver://a", Driver::Jtds),
        ("jdbc:db2://a/b", Driver::Db2),
        ("jdbc:informix-sqli://a/b", Driver::Informix),
        ("jdbc:derby:a", Driver::Derby),
    ] {
        let [Refusal::NoDriver { driver: found, .. }] = refusals(text)[..] else {
            panic!("{text}: {:?}", refusals(text))
        };
        assert_eq!(found, driver);
        let told = url(text).refusals()[0].to_string();
        assert!(told.contains("no driver for") && told.contains("client"), "{told}");
    }
}

#[test]
fn tls_is_what_the_drivers_parameters_ask_for() {
    for (text, tls) in [
        ("jdbc:postgresql:b", Tls::Prefer),
        ("jdbc:postgresql:b?sslmode=disable", Tls::Disable),
        ("jdbc:postgresql:b?sslmode=verify-ca&ssl=true", Tls::VerifyCa),
        ("jdbc:postgresql:b?ssl=true", Tls::VerifyFull),
        ("jdbc:mysql://a", Tls::Prefer),
        ("jdbc:mysql://a/?useSSL=false", Tls::Disable),
        ("jdbc:mysql://a/?useSSL=true&requireSSL=true", Tls::Require),
        ("jdbc:mysql://a/?sslMode=VERIFY_IDENTITY&useSSL=false", Tls::VerifyFull),
        ("jdbc:mariadb://a", Tls::Disable),
        ("jdbc:mariadb://a/?useSsl=true", Tls::VerifyFull),
        ("jdbc:mariadb://a/?sslMode=trust", Tls::Require),
        ("jdbc:sqlserver://a", Tls::VerifyFull),
        ("jdbc:sqlserver://a;encrypt=true;trustServerCertificate=true", Tls::Require),
        ("jdbc:sqlserver://a;encrypt=false", Tls::Disable),
        ("jdbc:jtds:sqlserver://a;ssl=request", Tls::Prefer),
        ("jdbc:oracle:thin:@tcps://a/b", Tls::VerifyCa),
        ("jdbc:oracle:thin:@(DESCRIPTION=(ADDRESS=(PROTOCOL = tcps)(HOST=a)))", Tls::VerifyCa),
        ("jdbc:oracle:thin:@a:1:b", Tls::Disable),
        ("jdbc:db2://a/B:sslConnection=true;", Tls::VerifyCa),
        ("jdbc:h2:ssl://a/b", Tls::Require),
        ("jdbc:sqlite:a", Tls::Disable),
    ] {
        assert_eq!(url(text).tls(), tls, "{text}");
    }
}

/// What must be true of every URL that is read.
fn holds(text: &str) {
    let Ok(url) = JdbcUrl::parse(text) else { return };
    assert_eq!(url.printed_with_secrets(), text);
    assert_eq!(JdbcUrl::parse(url.printed_with_secrets()).as_ref(), Ok(&url));
    assert!(url.target().starts_with("jdbc:") && url.hosts().iter().all(|host| !host.name.is_empty()));
    let _ = (url.refusals(), url.writer(), url.tls());
    // Hidden parts aside, what is printed is what was read, piece by piece.
    let printed = url.to_string();
    let mut rest = text;
    for piece in printed.split("***") {
        let Some(at) = rest.find(piece) else { panic!("{printed} is not of {text}") };
        rest = &rest[at + piece.len()..];
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,40}", driver in prop::sample::select(vec![
        "", "postgresql:", "postgresql://", "mysql://", "mysql:loadbalance://", "mysql+srv://", "mariadb:sequential://", "sqlite:", "h2:", "h2:tcp://",
        "oracle:thin:", "oracle:thin:@", "oracle:thin:@(", "sqlserver://", "jtds:sqlserver://", "db2://", "db2:", "informix-sqli://", "derby:",
    ])) {
        holds(&format!("jdbc:{driver}{text}"));
    }

    #[test]
    fn any_signs_of_urls_are_read_or_refused(
        driver in prop::sample::select(vec!["postgresql", "mysql", "mariadb", "sqlite", "h2", "oracle:thin", "sqlserver", "jtds:sqlserver", "db2", "derby"]),
        pieces in prop::collection::vec(prop::sample::select(vec![
            "//", "/", ":", "@", ",", ";", "?", "&", "=", "(", ")", "[", "]", "{", "}", "\\", "%", "%41", "a", "é", "::1", "1", "host", "port", "user",
            "password", "address=", "***", " ",
        ]), 0..16),
    ) {
        holds(&format!("jdbc:{driver}:{}", pieces.concat()));
    }

    #[test]
    fn parts_that_are_put_together_are_found_again(
        hosts in prop::collection::vec(("[a-z][a-z0-9-]{0,8}", prop::option::of(1_u16..)), 1..4),
        database in "[a-z_]{1,8}",
        parameters in prop::collection::vec(("[a-zA-Z]{3,8}", "[a-z0-9]{0,8}"), 0..4),
        driver in prop::sample::select(vec![("postgresql", 5432), ("mysql", 3306), ("mariadb", 3306)]),
    ) {
        prop_assume!(parameters.iter().all(|(name, _)| !name.to_lowercase().contains("ssl")));
        let place = |(name, port): &(String, Option<u16>)| port.map_or(name.clone(), |port| format!("{name}:{port}"));
        let place = hosts.iter().map(place).collect::<Vec<_>>().join(",");
        let query: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let target = format!("jdbc:{}://{place}/{database}", driver.0);
        let url = url(&format!("{target}?{}", query.join("&")));
        prop_assert_eq!(url.target(), target);
        prop_assert_eq!(url.database(), Some(database.as_str()));
        let found: Vec<_> = url.parameters().iter().map(|one| (one.name().to_string(), one.value().to_string())).collect();
        prop_assert_eq!(found, parameters);
        let found: Vec<_> = url.hosts().iter().map(|host| (host.name.clone(), host.port)).collect();
        let expected: Vec<_> = hosts.into_iter().map(|(name, port)| (name, port.unwrap_or(driver.1))).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_secret_is_printed_wherever_it_is(
        secret in "[a-z0-9%+!$~_.-]{6,20}", before in "[a-z0-9]{1,6}", form in 0_usize..8,
    ) {
        // Blanks, so that no name of the URL has it by chance.
        let secret = format!("Qz{secret}");
        let text = match form {
            0 => format!("jdbc:mysql://{before}:{secret}@db/x?useSSL=false"),
            1 => format!("jdbc:postgresql://db/x?user={before}&password={secret}"),
            2 => format!("jdbc:oracle:thin:{before}/{secret}@db:1:x"),
            3 => format!("jdbc:sqlserver://db;user={before};password={secret};x=y"),
            4 => format!("jdbc:db2://db/X:user={before};password={secret};"),
            5 => format!("jdbc:h2:./x;PASSWORD={secret}"),
            6 => format!("jdbc:mariadb://(host=db,password={secret})/x"),
            _ => format!("jdbc:mysql://db/x?keyStorePassword={secret}&accessToken={secret}"),
        };
        let url = url(&text);
        for printed in [url.to_string(), format!("{url:?}"), url.target().to_string(), format!("{:?}", url.parameters())] {
            prop_assert!(!printed.contains(&secret), "{}", printed);
        }
        holds(&text);
    }
}
