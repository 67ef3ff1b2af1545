//! TLS: as strong as asked for, never weaker.

use std::path::{Path, PathBuf};
use std::process::Command;

use ha_lab::DatabaseSpec;
use ha_migrate::{Connect, DbErrorKind, SessionRole, Tls};

use crate::world::{OnMariaDb, OnPostgres, World, value};

/// A CA and a certificate of `localhost` by it, readable by the server's user.
struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    fn make(user: &str) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let script = "umask 022; chmod 755 .; \
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=lab-ca \
                -keyout ca.key -out ca.pem && \
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout key.pem -out csr.pem && \
            printf 'subjectAltName=DNS:localhost' > ext && \
            openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out cert.pem && \
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=other-ca \
                -keyout other.key -out other.pem && chmod 600 key.pem";
        let made = Command::new("sh").args(["-c", script]).current_dir(dir.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // Only root can give it away, and only root must: anybody else runs the server as himself.
        let _ = Command::new("chown").arg(user).arg(dir.path().join("key.pem")).output().unwrap();
        Self { dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Opens by a wish, and asks the server whether the session is encrypted.
async fn encrypted(connect: &dyn Connect, asked: &str) -> Result<bool, ha_migrate::DbError> {
    let mut session = connect.open(SessionRole::Migrator).await?;
    let told = value(session.as_mut(), asked).await?.unwrap_or_default();
    Ok(told == "t" || told.starts_with("TLS"))
}

async fn check(
    files: &Certificates,
    asked: &str,
    any_name: Option<bool>,
    connect: impl Fn(&str, Tls) -> Box<dyn Connect>,
) {
    let (ca, other): (PathBuf, PathBuf) = (files.file("ca.pem"), files.file("other.pem"));
    let none = Path::new("/nowhere/ca.pem").to_path_buf();
    for (host, tls, outcome) in [
        ("localhost", Tls::Off, Some(false)),
        ("localhost", Tls::Encrypt, Some(true)),
        ("127.0.0.1", Tls::Encrypt, Some(true)),
        ("localhost", Tls::VerifyCa(ca.clone()), Some(true)),
        ("127.0.0.1", Tls::VerifyCa(ca.clone()), any_name),
        ("localhost", Tls::VerifyFull(ca.clone()), Some(true)),
        // Another name than the certificate's, another CA, no file.
        ("127.0.0.1", Tls::VerifyFull(ca), None),
        ("localhost", Tls::VerifyCa(other.clone()), None),
        ("localhost", Tls::VerifyFull(other), None),
        ("localhost", Tls::VerifyFull(none), None),
    ] {
        let wish = format!("{host} {tls:?}");
        match (encrypted(connect(host, tls).as_ref(), asked).await, outcome) {
            (Ok(told), Some(expected)) => assert_eq!(told, expected, "{wish}"),
            (Err(error), None) => assert_eq!(error.kind, DbErrorKind::Refused, "{wish}: {error}"),
            (answer, _) => panic!("{wish}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn postgresql_is_encrypted_as_asked() {
    let files = Certificates::make("postgres");
    let spec = DatabaseSpec::default()
        .with_setting("ssl=on")
        .with_setting(format!("ssl_cert_file={}", files.file("cert.pem").display()))
        .with_setting(format!("ssl_key_file={}", files.file("key.pem").display()));
    let world = OnPostgres::with(&spec);
    check(&files, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", Some(true), |host, tls| {
        Box::new(ha_migrate::Postgres::new(host, world.server.port(), &world.database, "postgres").with_tls(tls))
    })
    .await;
    let clear = OnPostgres::start();
    let error =
        clear.over_tcp(clear.server.port()).with_tls(Tls::Encrypt).open(SessionRole::Migrator).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Refused, "a server without TLS: {error}");
    // A cancel goes the same way.
    let connect = world.over_tcp(world.server.port()).with_tls(Tls::Encrypt);
    let mut session = connect.open(SessionRole::Migrator).await.unwrap();
    let cancel = session.canceller();
    let mut running = std::pin::pin!(session.query(OnPostgres::ENDLESS));
    let error = loop {
        tokio::select! {
            ended = &mut running => break ended.unwrap_err(),
            () = tokio::time::sleep(std::time::Duration::from_millis(50)) => cancel.cancel().await.unwrap(),
        }
    };
    assert_eq!(error.kind, DbErrorKind::Cancelled, "{error}");
}

#[tokio::test]
async fn mariadb_is_encrypted_as_asked() {
    let files = Certificates::make("mysql");
    let spec = DatabaseSpec::default()
        .with_setting(format!("ssl-cert={}", files.file("cert.pem").display()))
        .with_setting(format!("ssl-key={}", files.file("key.pem").display()));
    let world = OnMariaDb::with(&spec);
    let asked = "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'SSL_VERSION'";
    check(&files, asked, None, |host, tls| {
        Box::new(ha_migrate::MySql::new(host, world.server.port(), &world.database, "root").with_tls(tls))
    })
    .await;
    let clear = OnMariaDb::start();
    let error =
        clear.over_tcp(clear.server.port()).with_tls(Tls::Encrypt).open(SessionRole::Migrator).await.unwrap_err();
    assert_eq!(error.kind, DbErrorKind::Refused, "a server without TLS: {error}");
}

#[tokio::test]
async fn tls_over_a_unix_socket_is_refused_before_anything_is_sent() {
    let postgres = ha_migrate::Postgres::on_socket("/nowhere", 5432, "d", "u").with_tls(Tls::Encrypt);
    let mysql = ha_migrate::MySql::on_socket("/nowhere/s", "d", "u").with_tls(Tls::Encrypt);
    let both: [&dyn Connect; 2] = [&postgres, &mysql];
    for connect in both {
        let error = connect.open(SessionRole::Migrator).await.unwrap_err();
        assert_eq!(error.kind, DbErrorKind::Refused, "{error}");
    }
}
