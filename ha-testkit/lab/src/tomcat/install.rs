use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::reaper::Reaper;
use super::{TomcatHome, TomcatRelease};
use crate::database::{output, program};
use crate::fake_carbon::{Relaunch, quoted, script};

const SELFTEST: &str = include_str!("pages/selftest.jsp");
const VERSION: &str = include_str!("pages/version.jsp");

/// What Debian's instances have is changed so: the old text, the new one.
const SERVER: [(&str, &str); 4] = [
    // Without bindOnInit the port is open before anything is deployed, and open on while the server stops.
    (r#"protocol="HTTP/1.1""#, r#"address="127.0.0.1" bindOnInit="false" protocol="HTTP/1.1""#),
    (r#"unpackWARs="true""#, r#"unpackWARs="false" backgroundProcessorDelay="1""#),
    (
        r#"prefix="localhost_access_log" suffix=".txt""#,
        r#"prefix="requests" suffix=".log" rotatable="false" buffered="false""#,
    ),
    (r#"pattern="%h %l %u %t &quot;%r&quot; %s %b""#, r#"pattern="S %{x-request-id}i""#),
];

/// No page here uses a tag library: looking for them in all jars takes two seconds of a start.
const CONTEXT: [(&str, &str); 1] =
    [("<Context>", "<Context><JarScanner scanClassPath=\"false\" scanBootstrapClassPath=\"false\"/>")];

pub(super) fn install(
    path: &Path,
    [port, control]: [u16; 2],
    package: &Path,
    release: &TomcatRelease,
    relaunch: &Relaunch,
) -> io::Result<TomcatHome> {
    // The packages are two: the server, and what makes private instances of it.
    if !Path::new("/usr/share/tomcat10/bin/startup.sh").is_file() {
        return Err(not_installed("tomcat10"));
    }
    let create = program("tomcat10-instance-create", "tomcat10-user")?;
    let ports = [port, control].map(|port| port.to_string());
    let mut created = Command::new(create);
    created.args(["-p", &ports[0], "-c", &ports[1]]).arg(path).stdin(Stdio::null());
    output(&mut created)?;
    edit(&path.join("conf/server.xml"), &SERVER)?;
    edit(&path.join("conf/context.xml"), &CONTEXT)?;
    let setenv = path.join("bin/setenv.sh");
    let settings = fs::read_to_string(&setenv)?;
    fs::write(&setenv, format!("{settings}{SETENV}"))?;
    script(&path.join("bin/patch.sh"), &patch_script(path, package.parent().unwrap_or(package)))?;
    let installed = Command::new(path.join("bin/patch.sh")).arg("apply").env("HA_RELEASE", &release.name).output()?;
    if !installed.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&installed.stderr).into_owned()));
    }
    write_context(path, None)?;
    Ok(TomcatHome { path: path.to_path_buf(), port, _reaper: Arc::new(Reaper::start(relaunch, path)?) })
}

/// Small, and quick to start. `-Dha.server` is for the server alone: what is in JAVA_OPTS, `shutdown.sh` has too.
const SETENV: &str = r#"
CATALINA_PID="$CATALINA_BASE/tomcat.pid"
JAVA_OPTS="$JAVA_OPTS -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
CATALINA_OPTS="-Xms48m -Xmx160m -Dha.server=$CATALINA_BASE -Dha.release=$(cat "$CATALINA_BASE/version.txt")"
"#;

/// Replaces each text, which must be there.
fn edit(file: &Path, changes: &[(&str, &str)]) -> io::Result<()> {
    let mut text = fs::read_to_string(file)?;
    for (old, new) in changes {
        if !text.contains(old) {
            let what = format!("{}: there is no {old}: is this Debian's tomcat10?", file.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        // In comments it does no harm.
        text = text.replace(old, new);
    }
    fs::write(file, text)
}

/// Serves the console at `/`, with a data source where there is a database.
pub(super) fn write_context(home: &Path, postgres: Option<&str>) -> io::Result<()> {
    let resource = postgres.map_or_else(String::new, |url| {
        format!(
            "<Resource name=\"jdbc/orders\" auth=\"Container\" type=\"javax.sql.DataSource\" \
             driverClassName=\"org.postgresql.Driver\" maxTotal=\"8\" url=\"{}\"/>",
            url.replace('&', "&amp;")
        )
    });
    let folder = home.join("conf/Catalina/localhost");
    fs::create_dir_all(&folder)?;
    let context = format!("<Context docBase=\"{}\">{resource}</Context>\n", home.join("console").display());
    fs::write(folder.join("ROOT.xml"), context)
}

/// Writes the pages of a release, and which path each has.
pub(super) fn write_release(folder: &Path, release: &TomcatRelease) -> io::Result<()> {
    fs::create_dir_all(folder.join("WEB-INF"))?;
    let own = [("services/Version", VERSION), ("selftest", SELFTEST)];
    let more = release.pages.iter().map(|(path, jsp)| (path.as_str(), jsp.as_str()));
    let mut web = String::from(
        "<web-app xmlns=\"https://jakarta.ee/xml/ns/jakartaee\" version=\"6.0\" metadata-complete=\"true\">\n",
    );
    for (number, (path, jsp)) in own.into_iter().chain(more).enumerate() {
        fs::write(folder.join(format!("page{number}.jsp")), jsp)?;
        web.push_str(&format!(
            "<servlet><servlet-name>{path}</servlet-name><jsp-file>/page{number}.jsp</jsp-file>\
             <load-on-startup>1</load-on-startup></servlet>\n\
             <servlet-mapping><servlet-name>{path}</servlet-name><url-pattern>/{path}</url-pattern></servlet-mapping>\n"
        ));
    }
    fs::write(folder.join("WEB-INF/web.xml"), format!("{web}</web-app>\n"))
}

/// Compiled pages go with the release: they would be taken for those of another one whose files have the same times.
fn patch_script(home: &Path, packages: &Path) -> String {
    format!(
        r#"#!/bin/sh
# apply|restore: installs the release in HA_RELEASE. version.txt is written last.
set -eu
cd {home}
case "$1" in
apply | restore) ;;
*)
    echo "Usage: patch.sh apply|restore" >&2
    exit 2
    ;;
esac
package={packages}/"$HA_RELEASE"
[ -d "$package" ] || {{
    echo "patch: there is no package of $HA_RELEASE" >&2
    exit 3
}}
rm -rf console.new
cp -a "$package" console.new
rm -rf console work/Catalina
mv console.new console
echo "$HA_RELEASE" > .version.txt.new
mv .version.txt.new version.txt
"#,
        home = quoted(&home.to_string_lossy()),
        packages = quoted(&packages.to_string_lossy()),
    )
}

/// Tells whether the server answers with its release.
pub(super) fn answers(port: u16) -> bool {
    let ask = || -> io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /services/Version HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

pub(super) fn not_installed(package: &str) -> io::Error {
    crate::database::not_installed(package, package)
}
