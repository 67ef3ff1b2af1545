//! One site of the catalogue: servers, HAProxy, load, and the two ways in which it is patched.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ha_backends::connect;
use ha_backends::haproxy::{Endpoint, HaProxy, HaProxyConfig};
use ha_core::backend::{Admin, LoadBalancer, MemberRef, ObserveBalancer};
use ha_core::engine::rotate;
use ha_core::machine::rotation::{Goal, Outcome, Place, RotationPolicy};
use ha_core::procedure::PatchRequest;
use ha_core::record::{End, RunId};
use ha_core::state::LeaseEpoch;
use ha_core::topology::{Name, Topology};
use ha_lab::fake_carbon::{CarbonConfig, CarbonHome, Relaunch};
use ha_lab::load::{Class, Load, RunningLoad, Saturate};
use ha_lab::{HaProxyProcess, Lab};
use tokio::task::{JoinHandle, block_in_place, spawn_blocking};
use tokio::time::sleep;

use super::row::{Clients, Expect, Meanwhile, Ports, Result as Came, Row};

/// How long one configuration may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// What the lab's configurations all lack, on purpose: nothing is hidden by a second try.
const ACCEPTED: [&str; 5] = ["redispatch", "retries", "no-check", "tcp-check", "hard-stop-after"];

/// A row whose site runs.
struct Site {
    homes: Vec<CarbonHome>,
    lb: Arc<HaProxyProcess>,
    text: String,
    /// Ends the agent.
    _agent: Agent,
    _lab: Lab,
}

/// Answers an agent check with always the same words.
struct Agent(Arc<AtomicBool>);

impl Agent {
    fn start(listener: TcpListener, says: &'static str) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let stop = ended.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let _ = stream.and_then(|mut stream| stream.write_all(format!("{says}\n").as_bytes()));
            }
        });
        Self(ended)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The next check ends the thread; there may be none, and then the test's process does.
        self.0.store(true, Ordering::SeqCst);
    }
}

type Fallible<T> = Result<T, String>;

fn told(what: &'static str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// Runs a row to its end. Errors are what was not as expected.
pub(crate) async fn run(row: &Row) -> Fallible<Came> {
    let given = row.clone();
    let site = spawn_blocking(move || Site::start(&given)).await.unwrap()?;
    site.until_seen(row).await?;
    let load = site.load(row);
    a_while(&load, 60).await;
    let outcome = match row.expect {
        Expect::Held => site.held(row, &load).await.map(|()| String::new()),
        Expect::Patched(words) => {
            site.refused_by_rotation(words).await?;
            site.patched(row).await.map(|()| String::new())
        }
        Expect::Refused(words) => site.refused(words).await,
        Expect::RefusedByBoth(rotation, plan) => {
            site.refused_by_rotation(rotation).await?;
            site.refused(plan).await
        }
    };
    a_while(&load, 60).await;
    let report = load.stop().await;
    let message = outcome.map_err(|why| format!("{why}; {:?}", report.counts))?;
    if report.counts.failures() > 0 {
        return Err(format!("requests failed: {:?}", report.counts));
    }
    let sent = report.counts.sent;
    Ok(if message.is_empty() { Came::Held { sent } } else { Came::Refused { sent, message } })
}

/// Lets the load run for a while; nothing is concluded from the time.
async fn a_while(load: &RunningLoad, requests: u64) {
    let sent = load.snapshot().sent;
    for _ in 0..1_000 {
        if load.snapshot().sent >= sent + requests {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

impl Site {
    fn start(row: &Row) -> Fallible<Self> {
        let io = told("the lab");
        let lab = Lab::open(Relaunch::test().map_err(&io)?).map_err(&io)?;
        let homes = ["esb1", "esb2", "spare1"].map(|name| lab.carbon(name, CarbonConfig::fast("1")));
        let homes: Vec<CarbonHome> = homes.into_iter().collect::<Result<_, _>>().map_err(&io)?;
        for home in &homes[..2] {
            home.start().map_err(&io)?;
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(&io)?;
        let agent = listener.local_addr().map_err(&io)?.port();
        let (esb1, esb2, spare1) = (homes[0].port(), homes[1].port(), homes[2].port());
        let nobody = lab.free_port().map_err(&io)?;
        let spec = (row.spec)(Ports { esb1, esb2, spare1, agent, nobody });
        let agent = Agent::start(listener, row.agent);
        let lb = Arc::new(lab.haproxy("lb1", &spec).map_err(&io)?);
        let text = topology(row, &lb, &homes);
        Ok(Self { homes, lb, text, _agent: agent, _lab: lab })
    }

    fn driver(&self) -> HaProxy {
        let config = HaProxyConfig::new(self.lb.socket())
            .with_deadline(Duration::from_secs(2))
            .with_config_file(self.lb.config_file());
        HaProxy::new(match self.lb.master_socket() {
            Some(path) => config.with_master(Endpoint::Unix(path.into())),
            None => config,
        })
    }

    /// Waits until HAProxy has seen the servers as the row has them.
    async fn until_seen(&self, row: &Row) -> Fallible<()> {
        let driver = self.driver();
        let is_up = |says: &str| says.contains("up");
        for name in ["esb1", "esb2"] {
            let wanted = match row.expect {
                Expect::Held => Some(true),
                // It is there for what it says of the other server.
                _ if !is_up(row.agent) => Some(name == "esb1"),
                Expect::Refused(_) | Expect::Patched(_) | Expect::RefusedByBoth(..) => None,
            };
            let Some(wanted) = wanted else { continue };
            for tries in 0.. {
                let found = driver.member(&member("esb", name)).await;
                if found.as_ref().is_ok_and(|found| found.is_usable() == wanted) {
                    break;
                }
                if tries >= 1_500 {
                    return Err(format!("{name} is not as it should be: {found:?}"));
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    fn load(&self, row: &Row) -> RunningLoad {
        let address = self.lb.address();
        let busy = |clients| {
            Saturate::new(address)
                .with_clients(clients)
                .with_class(Class::new("/orders?ms=20", "orders ", 20))
                .with_class(Class::new("/orders?ms=200", "orders ", 1))
        };
        let mixed = || {
            Load::new(address, 80)
                .with_class(Class::new("/orders", "orders ", 30))
                .with_class(Class::new("/orders", "orders ", 6).closing())
                .with_class(Class::new("/orders?ms=30", "orders ", 6).as_post("<order/>"))
                .with_class(Class::new("/orders?ms=700", "orders ", 3))
                .with_class(Class::new("/stream?ms=500", "stream ", 3))
                .with_class(Class::new("/echo", "echo ", 2).upgraded_for(Duration::from_millis(500)))
        };
        match row.clients {
            Clients::Mixed => mixed().start(),
            Clients::Long => mixed().with_class(Class::new("/stream?ms=1800", "stream ", 6)).start(),
            Clients::Closing => {
                Load::new(address, 80).with_class(Class::new("/orders?ms=20", "orders ", 1).closing()).start()
            }
            Clients::Busy(clients) => busy(clients).start(),
            Clients::WithCookies(clients) => busy(clients).with_cookies().start(),
        }
        .unwrap()
    }

    /// Takes each server out, restarts it and puts it back; then patches all.
    async fn held(&self, row: &Row, load: &RunningLoad) -> Fallible<()> {
        let pools: Vec<&str> = ["esb"].into_iter().chain(row.pools.iter().copied()).collect();
        for (home, name) in self.homes.iter().zip(["esb1", "esb2"]) {
            let disturbance = self.disturb(row.meanwhile, name);
            let out = self.rotate(&pools, name, Goal::Out, row).await;
            over(disturbance).await?;
            if !matches!(out, Outcome::Reached { drain: Some(_) }) {
                return Err(format!("{name} was not taken out: {out:?}"));
            }
            block_in_place(|| home.kill().and_then(|_| home.start())).map_err(told("a restart"))?;
            let back = self.rotate(&pools, name, Goal::Back, row).await;
            if !matches!(back, Outcome::Reached { .. }) {
                return Err(format!("{name} was not put back: {back:?}"));
            }
            a_while(load, 40).await;
        }
        self.patched(row).await
    }

    async fn patched(&self, row: &Row) -> Fallible<()> {
        let disturbance = self.disturb(row.meanwhile, "esb1");
        let end = self.patch().await?;
        over(disturbance).await?;
        match end.as_deref() {
            Ok("all-new") => Ok(()),
            Ok(end) => Err(format!("the patch ended as {end}")),
            Err(refused) => Err(format!("the patch was refused: {refused}")),
        }
    }

    async fn rotate(&self, pools: &[&str], name: &str, goal: Goal, row: &Row) -> Outcome {
        let driver: Arc<dyn LoadBalancer> = Arc::new(self.driver());
        let places: Vec<_> = pools.iter().map(|pool| (driver.clone(), Place::new(member(pool, name)))).collect();
        let canary = row.canary.map(|_| {
            ha_core::machine::rotation::Canary::new(ha_core::topology::Permille::new(100), Duration::from_millis(500))
        });
        let policy = RotationPolicy::new(Duration::from_secs(20))
            .with_longest_request(Duration::from_secs(2))
            .with_persistence_grace(Duration::from_millis(300))
            .with_canary(canary);
        rotate(LeaseEpoch::new(1), &places, goal, policy).await
    }

    /// Does what somebody else does as soon as the server is not ready any more.
    fn disturb(&self, meanwhile: Meanwhile, name: &'static str) -> Option<JoinHandle<Fallible<()>>> {
        if meanwhile == Meanwhile::Nothing {
            return None;
        }
        let (lb, driver) = (self.lb.clone(), self.driver());
        Some(tokio::spawn(async move {
            for tries in 0.. {
                let found = driver.member(&member("esb", name)).await;
                if !found.is_ok_and(|found| found.admin == Admin::Ready) {
                    break;
                }
                if tries > 12_000 {
                    return Err(format!("{name} was ready all through: nothing was disturbed"));
                }
                sleep(Duration::from_millis(5)).await;
            }
            let disturbed = spawn_blocking(move || match meanwhile {
                Meanwhile::Nothing => Ok(()),
                Meanwhile::Reload => lb.reload(),
                Meanwhile::ReloadWithStateFile => lb.save_state().and_then(|()| lb.reload()),
                Meanwhile::SomebodyReadies => lb.ask(&format!("set server esb/{name} state ready")).map(|_| ()),
            });
            disturbed.await.unwrap().map_err(told("what somebody else does"))
        }))
    }

    /// Patches the whole cluster with the engine; returns how the run ended, or why it was refused.
    async fn patch(&self) -> Fallible<Result<String, String>> {
        let topology = Topology::from_toml_str(&self.text).map_err(|error| error.to_string())?;
        let backends = connect(&topology).map_err(|error| error.to_string())?;
        let engine = backends.engine(topology).build().map_err(|error| error.to_string())?;
        let argv = |verb: &str| vec!["bin/patch.sh".to_string(), verb.to_string()];
        let request = PatchRequest::new("2", argv("apply"), argv("restore")).with_beside("1");
        let planned = match engine.plan(&request).await {
            Ok(planned) => planned,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let handle = engine.run(RunId::new("patch"), planned).await.map_err(|error| error.to_string())?;
        let report = handle.wait().await.map_err(|error| error.to_string())?;
        Ok(Ok(match report.end {
            End::AllNew => "all-new".into(),
            end => format!("{end:?}: {}\n{report:#?}", report.end_message),
        }))
    }

    /// Plans, and expects a refusal with these words.
    async fn refused(&self, words: &str) -> Fallible<String> {
        let before = self.lb.ask("show servers state").map_err(told("the socket"))?;
        let message = match self.patch().await? {
            Ok(end) => return Err(format!("not refused: it ended as {end}")),
            Err(message) => message,
        };
        let admin = |table: &str| -> Vec<String> {
            let lines = table.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            lines.filter(|line| line.len() > 7).map(|line| line[1..7].join(" ")).collect()
        };
        let after = self.lb.ask("show servers state").map_err(told("the socket"))?;
        if admin(&before) != admin(&after) {
            return Err(format!("something was changed: {before}\n{after}"));
        }
        match message.lines().find(|line| line.contains(words)) {
            Some(line) => Ok(line.trim().to_string()),
            None => Err(format!("refused without {words:?}: {message}")),
        }
    }

    async fn refused_by_rotation(&self, words: &str) -> Fallible<()> {
        let config = HaProxyConfig::new(self.lb.socket());
        let driver: Arc<dyn LoadBalancer> = Arc::new(HaProxy::new(config));
        let places = [(driver, Place::new(member("esb", "esb1")))];
        let policy = RotationPolicy::new(Duration::from_secs(10)).with_longest_request(Duration::from_secs(1));
        match rotate(LeaseEpoch::new(1), &places, Goal::Out, policy).await {
            Outcome::Restored { why, .. } if why.contains(words) => Ok(()),
            outcome => Err(format!("the rotation did not refuse with {words:?}: {outcome:?}")),
        }
    }
}

async fn over(disturbance: Option<JoinHandle<Fallible<()>>>) -> Fallible<()> {
    match disturbance {
        Some(task) => task.await.unwrap(),
        None => Ok(()),
    }
}

fn member(pool: &str, name: &str) -> MemberRef {
    MemberRef::new(Name::new(pool).unwrap(), Name::new(name).unwrap())
}

fn topology(row: &Row, lb: &HaProxyProcess, homes: &[CarbonHome]) -> String {
    let canary = row.canary.map_or_else(String::new, |share| format!("canary = {share}\ncanary_watch = \"500ms\"\n"));
    let mut text = format!(
        "[cluster]\nname = \"catalogue\"\n\n[policy]\ndrain_deadline = \"20s\"\nlongest_request = \"2s\"\n\
         persistence_grace = \"300ms\"\nready_deadline = \"30s\"\nstop_deadline = \"30s\"\ncommand_deadline = \"30s\"\n\
         soak = \"200ms\"\nlease_ttl = \"10s\"\n{canary}"
    );
    for pool in ["esb"].iter().chain(row.pools) {
        text.push_str(&format!("\n[[pool]]\nname = \"{pool}\"\nserve = 2\npeak_load = 1000\n"));
    }
    let rules: Vec<String> = ACCEPTED.iter().chain(row.accept).map(|rule| format!("\"{rule}\"")).collect();
    text.push_str(&format!(
        "\n[[balancer]]\nname = \"lb1\"\nbackend = \"haproxy\"\nsocket = \"{}\"\nconfig_file = \"{}\"\naccept = [{}]\n",
        lb.socket().display(),
        lb.config_file().display(),
        rules.join(", ")
    ));
    if let Some(master) = lb.master_socket() {
        text.push_str(&format!("master = \"{}\"\n", master.display()));
    }
    for (home, name) in homes.iter().zip(["esb1", "esb2", "spare1"]) {
        let (path, identity, port) = (home.path().display(), home.identity(), home.port());
        let spare = name == "spare1";
        text.push_str(&format!(
            "\n[[node]]\nname = \"{name}\"\ncapacity = 1000\nspare = {spare}\n[node.host]\nbackend = \"local\"\nhome = \
             \"{path}\"\nstart = [\"bin/wso2server.sh\", \"start\"]\nstop = [\"bin/wso2server.sh\", \"stop\"]\nversion = \
             [\"bin/wso2server.sh\", \"version\"]\npid_file = \"wso2carbon.pid\"\nidentity = \"{identity}\"\n[node.probe]\n\
             backend = \"http\"\nurl = \"http://127.0.0.1:{port}/services/Version\"\n\
             test_url = \"http://127.0.0.1:{port}/selftest\"\ntest_expect = \"ok\"\n"
        ));
    }
    text
}
