//! Two sites of two machines with sshd each, an HAProxy and a PostgreSQL on them, an HAProxy on a machine in front, and rsync from
//! north to south. All of it is driven by the backends that are built in, from the cluster's file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use examples::Fallible;
use ha_backends::Backends;
use ha_backends::haproxy::HOLD_LUA;
use ha_core::topology::Topology;
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch, quoted};
use ha_lab::{DatabaseSpec, HaProxyProcess, HaProxySpec, Lab, PostgresServer, ServerSpec, SshMachine};
use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::database::now_ms;
use crate::files::{self, Files};
use crate::sites::{self, SERVERS, SITES, TwoSites, until_served};

const FENCE: &str = include_str!("fence.sh");
/// For all logins: the exchange that OpenSSH 9 prefers costs each side 75 ms of CPU.
const KEX: &str = "Host *\n    KexAlgorithms curve25519-sha256\n";
/// The view says what a copy that takes writes says of itself; the table is the one in which the backend keeps epochs.
const CREATE: &str = "CREATE TABLE orders (seq bigserial PRIMARY KEY, id text NOT NULL UNIQUE, epoch bigint NOT NULL, taken_ms bigint NOT NULL); \
    CREATE TABLE inside (number bigserial PRIMARY KEY); \
    CREATE TABLE ha_site_epoch (epoch bigint PRIMARY KEY, since timestamptz NOT NULL DEFAULT now()); \
    CREATE VIEW site AS SELECT 'primary' AS role, coalesce(max(epoch), 1) AS epoch FROM ha_site_epoch";
/// How long before its power a site loses its line to the other: what it answers then is lost.
const LINE_FIRST: Duration = Duration::from_millis(200);
/// How often somebody inside north writes there, whatever happens around him.
const INSISTS_EVERY: Duration = Duration::from_millis(50);

pub(crate) struct Real {
    // Before the machines that they are in, and these before the lab: fields are dropped in order.
    front: HaProxyProcess,
    balancers: Vec<HaProxyProcess>,
    databases: Vec<Arc<PostgresServer>>,
    /// As the servers; the front's is the last.
    machines: Vec<SshMachine>,
    homes: Vec<CarbonHome>,
    config: PathBuf,
    role: &'static str,
    /// Whether north goes on living while nobody reaches it.
    cut_off: bool,
    insisting: Option<Insisting>,
    files: Option<Files>,
    lab: Lab,
}

/// Somebody inside a site who writes into its database over the socket there.
struct Insisting {
    stop: Arc<AtomicBool>,
    attempts: JoinHandle<Vec<(u64, bool)>>,
}

impl Insisting {
    fn begin(database: Arc<PostgresServer>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let attempts = tokio::spawn(async move {
            let mut attempts = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                let (at, database) = (now_ms(), database.clone());
                let taken = tokio::task::spawn_blocking(move || insist(&database)).await.unwrap_or(false);
                attempts.push((at, taken));
                sleep(INSISTS_EVERY).await;
            }
            attempts
        });
        Self { stop, attempts }
    }
}

/// Tells whether a database takes a write of a session that does all that a session can do for it.
fn insist(database: &PostgresServer) -> bool {
    let sql = "SET default_transaction_read_only = off; INSERT INTO inside DEFAULT VALUES";
    database.sql("postgres", sql).is_ok()
}

impl Real {
    /// Starts it: north serves, south is warm or hot. With `cut_off` north will be lost by its links alone.
    pub(crate) async fn start(hot: bool, cut_off: bool) -> Fallible<Self> {
        let lab = Lab::open(Relaunch::program()?)?;
        let names = SERVERS.iter().chain(&["front"]);
        let machines: Vec<SshMachine> = names.map(|name| lab.ssh_machine(name)).collect::<Result<_, _>>()?;
        let config = lab.ssh_config(machines.iter().map(SshMachine::access))?;
        std::fs::write(&config, format!("{}{KEX}", std::fs::read_to_string(&config)?))?;
        let install = |(name, machine): (&&str, &SshMachine)| {
            let server = CarbonConfig::new(0, "4.2.0").listening_on(machine.address());
            lab.carbon(&format!("{name}-home"), server)
        };
        let homes: Vec<CarbonHome> = SERVERS.iter().zip(&machines).map(install).collect::<Result<_, _>>()?;
        let databases = databases(&lab, &machines)?;
        for (place, home) in homes.iter().enumerate() {
            let site = place / 2;
            let (address, port) = (databases[site].address(), databases[site].port());
            let url = format!("jdbc:postgresql://{address}:{port}/postgres?user=postgres");
            std::fs::write(home.path().join("database"), url)?;
            std::fs::write(home.path().join("site"), SITES[site])?;
        }
        let mut balancers = Vec::new();
        for (site, name) in SITES.iter().enumerate() {
            let row = |place: usize| {
                let row = ServerSpec::new(SERVERS[place], homes[place].port()).at(machines[place].address());
                if site == 0 || hot { row } else { row.held_out() }
            };
            // Without its own timeout a check fails that is not answered within the interval: this machine is busy.
            let spec = HaProxySpec::new("esb", vec![row(2 * site), row(2 * site + 1)])
                .with_backend_line("timeout check 2s")
                .with_tcp_admin()
                .inside(machines[2 * site].inside());
            balancers.push(lab.haproxy(&format!("lb-{name}"), &spec)?);
        }
        let front = front(&lab, &balancers, &machines[4])?;
        let folder = lab.path().join("fences");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("fence.sh"), FENCE)?;
        SITES.iter().try_for_each(|site| std::fs::create_dir(folder.join(site)))?;
        let (role, databases) = (if hot { "hot" } else { "warm" }, databases.into_iter().map(Arc::new).collect());
        let (insisting, files) = (None, None);
        let mut real =
            Self { front, balancers, databases, machines, homes, config, role, cut_off, insisting, files, lab };
        let served = if hot { 4 } else { 2 };
        for place in 0..served {
            real.start_server(place).await?;
        }
        let each = real.homes[..served].iter().map(CarbonHome::address);
        until_served(each.chain([real.front.address()])).await?;
        let topology = Topology::from_toml_str(&real.toml())?;
        real.files = Some(Files::start(&real.config, &real.homes, &topology).await?);
        Ok(real)
    }

    /// Starts a server as its machine does when it boots: what a killed one has left says nothing.
    async fn start_server(&self, place: usize) -> Fallible<()> {
        let home = quoted(&self.homes[place].path().to_string_lossy());
        self.on(place, &format!("cd {home} && rm -f wso2carbon.pid && bin/wso2server.sh start")).await
    }

    /// Runs a line of shell on a machine.
    async fn on(&self, place: usize, line: &str) -> Fallible<()> {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(&self.config).args([SERVERS[place], line]).stdin(Stdio::null()).kill_on_drop(true);
        let ended = command.status().await?;
        if ended.success() { Ok(()) } else { Err(format!("on {}: {line}: {ended}", SERVERS[place]).into()) }
    }

    fn set_links_of_north(&self, plugged: bool) -> Fallible<()> {
        for machine in &self.machines[..2] {
            if plugged { machine.restore_link()? } else { machine.cut_link()? }
        }
        Ok(())
    }
}

/// Starts the two databases, south following north.
fn databases(lab: &Lab, machines: &[SshMachine]) -> Fallible<Vec<PostgresServer>> {
    let spec = |machine: &SshMachine| {
        let spec = DatabaseSpec::default().durable().supervised().inside(machine.inside());
        let spec =
            spec.with_setting("wal_level=replica").with_setting("max_wal_senders=4").with_setting("wal_keep_size=64MB");
        // A standby looks for what it lacks every so often, not every 5 s; and one that does not answer is not waited for a minute.
        spec.with_setting("wal_retrieve_retry_interval=100ms").with_setting("wal_sender_timeout=2s")
    };
    let north = lab.postgres("north-database", &spec(&machines[1]))?;
    north.sql("postgres", CREATE)?;
    let south = lab.postgres_standby("south-database", &north, &spec(&machines[3]))?;
    Ok(vec![north, south])
}

/// Starts what leads consumers to one of the sites.
fn front(lab: &Lab, balancers: &[HaProxyProcess], machine: &SshMachine) -> Fallible<HaProxyProcess> {
    let (map, script) = (lab.path().join("sites.map"), lab.path().join("ha-hold.lua"));
    std::fs::write(&map, "site north\n")?;
    std::fs::write(&script, HOLD_LUA)?;
    let spec = HaProxySpec::new("nowhere", Vec::new())
        .without_checks()
        .with_tcp_admin()
        .inside(machine.inside())
        .with_backend_line("http-request deny deny_status 503")
        .with_global_line(format!("setenv HA_SITES_MAP {}", map.display()))
        .with_global_line(format!("lua-load {}", script.display()))
        .with_frontend_line("http-request lua.ha_hold")
        .with_frontend_line(format!("use_backend site_%[str(site),map({})]", map.display()));
    let section = |(site, balancer): (&&str, &HaProxyProcess)| {
        let address = balancer.address();
        format!("backend site_{site}\n    timeout connect 1s\n    timeout server 2s\n    server lb {address}")
    };
    let spec = SITES.iter().zip(balancers).map(section).fold(spec, HaProxySpec::with_section);
    Ok(lab.haproxy("front-balancer", &spec)?)
}

#[async_trait]
impl TwoSites for Real {
    fn folder(&self) -> &Path {
        self.lab.path()
    }

    fn address(&self) -> SocketAddr {
        self.front.address()
    }

    fn homes(&self) -> &[CarbonHome] {
        &self.homes
    }

    fn connect(&self, topology: &Topology) -> Fallible<Backends> {
        Ok(ha_backends::connect(topology)?)
    }

    /// The line between the databases goes, and then its machines lose their power with all that runs on them; or they lose their links
    /// only: then it goes on by itself.
    async fn lose_north(&mut self) -> Fallible<()> {
        if self.cut_off {
            self.insisting = Some(Insisting::begin(self.databases[0].clone()));
            return self.set_links_of_north(false);
        }
        let to_south = self.machines[3].address();
        let rules = format!(
            "table inet line {{ chain out {{ type filter hook output priority 0; ip daddr {to_south} drop; }}; }}"
        );
        self.on(1, &format!("echo '{rules}' | nft -f -")).await?;
        sleep(LINE_FIRST).await;
        self.balancers[0].kill();
        self.databases[0].kill();
        for machine in &self.machines[..2] {
            machine.power_off()?;
        }
        Ok(())
    }

    /// The links of a site that was only cut off come back once it is fenced, and its database starts as it went; they go again when
    /// the other database takes writes, and come back when consumers are led on.
    async fn meanwhile(&mut self, event: &Value) -> Fallible<()> {
        if !self.cut_off || event["event"] != "step-ended" {
            return Ok(());
        }
        match event["action"].as_str().unwrap_or("") {
            "fence" => {
                self.set_links_of_north(true)?;
                Ok(self.databases[0].restart()?)
            }
            "promote" => self.set_links_of_north(false),
            "lead consumers" => self.set_links_of_north(true),
            _ => Ok(()),
        }
    }

    async fn wake_north(&mut self) -> Fallible<()> {
        if !self.cut_off {
            for machine in &self.machines[..2] {
                machine.power_on()?;
            }
            self.databases[0].restart()?;
            self.balancers[0].restart()?;
            for place in 0..2 {
                self.start_server(place).await?;
                if let Some(files) = &mut self.files {
                    files.start_timer(place, &self.homes)?;
                }
            }
        }
        let balancer = self.balancers[0].address();
        until_served(self.homes[..2].iter().map(CarbonHome::address).chain([balancer])).await
    }

    async fn north_takes_a_write(&self) -> Fallible<bool> {
        // It must answer: what is dead proves nothing.
        self.databases[0].sql("postgres", "SELECT 1")?;
        Ok(insist(&self.databases[0]))
    }

    async fn orders_in_north(&self) -> Fallible<Vec<String>> {
        let ids = self.databases[0].sql("postgres", "SELECT id FROM orders")?;
        Ok(ids.lines().map(String::from).collect())
    }

    async fn written_inside(&mut self) -> Fallible<Vec<(u64, bool)>> {
        let Some(insisting) = self.insisting.take() else { return Ok(Vec::new()) };
        insisting.stop.store(true, Ordering::SeqCst);
        Ok(insisting.attempts.await?)
    }

    async fn share(&self, set: u64) -> Fallible<Option<Duration>> {
        files::share(&self.homes, set).await.map(Some)
    }

    fn sets(&self) -> Vec<Option<u64>> {
        files::sets(&self.homes)
    }

    fn toml(&self) -> String {
        let admin =
            |process: &HaProxyProcess| process.tcp_admin().map_or_else(String::new, |address| address.to_string());
        let map = self.lab.path().join("sites.map");
        let switch =
            format!("backend = \"haproxy\"\nsockets = [\"{}\"]\nmap = \"{}\"\n", admin(&self.front), map.display());
        let mut text = sites::head(&switch) + &files::toml(&self.config);
        let fences = self.lab.path().join("fences");
        for (index, site) in SITES.iter().enumerate() {
            let role = if index == 0 { "serving" } else { self.role };
            let database = &self.databases[index];
            let mut argv = vec!["/bin/sh".to_string(), fences.join("fence.sh").display().to_string(), String::new()];
            argv.extend([&database.data(), &self.config].map(|path| path.display().to_string()));
            argv.extend(self.machines[index * 2..index * 2 + 2].iter().map(|machine| machine.address().to_string()));
            let mut verb = |verb: &str| {
                argv[2] = verb.into();
                format!("{verb} = {}\n", list(&argv))
            };
            let fence = format!(
                "backend = \"command\"\nhome = \"{}\"\nlevel = \"database\"\n{}{}{}",
                fences.join(site).display(),
                verb("status"),
                verb("fence"),
                verb("lift")
            );
            let replica = format!(
                "backend = \"postgres\"\nurl = \"jdbc:postgresql://{}:{}/postgres?user=postgres\"\nconninfo = \"{}\"\nrestart = {}\nrebuild = {}\n",
                database.address(),
                database.port(),
                database.conninfo(),
                list(&database.restart_command()),
                list(&database.rebuild_command())
            );
            let balancer = format!(
                "backend = \"haproxy\"\nsocket = \"{}\"\ndeadline = \"500ms\"\n",
                admin(&self.balancers[index])
            );
            text.push_str(&sites::site(site, role, &fence, &replica, &balancer));
        }
        // Before every step each server is looked at, those of a lost site too: they must not be waited for long.
        for (place, home) in self.homes.iter().enumerate() {
            let (host, config) = (SERVERS[place], self.config.display());
            text.push_str(&sites::node(
                place,
                &format!(
                    "backend = \"ssh\"\nhost = \"{host}\"\nssh_config = \"{config}\"\nconnect_deadline = \"1s\"\nread_deadline = \"1s\"\n"
                ),
                home,
            ));
        }
        text
    }
}

/// A list of words in TOML.
fn list(argv: &[String]) -> String {
    serde_json::to_string(argv).unwrap_or_default()
}
