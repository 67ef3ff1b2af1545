//! What a hold must not take for nothing, and what becomes of the fronts when it fails: on real fronts, and on one that says what no
//! real one can be made to say.

use std::sync::Mutex;

use ha_lab::{ScriptedAnswer, ScriptedSocket};
use tempfile::TempDir;

use super::*;

/// A front that answers as HAProxy does.
struct Fake {
    admin: ScriptedSocket,
    master: ScriptedSocket,
    dir: TempDir,
}

#[derive(Clone, Copy)]
struct Says {
    version: &'static str,
    /// The workers that a reload has left behind.
    older: &'static str,
    /// What the backend has, and its servers have not.
    unassigned: u64,
    map: &'static str,
}

const STAT: &str = "pxname,svname,cookie,bck,tracked,scur,qcur,stot,econ,eresp,hrsp_5xx,check_status,check_health,check_rise,\
                    check_fall,srv_icur,priv_idle_cur,used_conn_cur";
const ALONE: Says = Says { version: "2.6.12", older: "", unassigned: 0, map: "site north\n" };

fn fake(says: Says) -> Fake {
    let dir = tempfile::tempdir().unwrap();
    let led = || Mutex::new(says.map.split_whitespace().nth(1).unwrap().to_string());
    let (led, led_by_older) = (led(), led());
    fs::write(dir.path().join("sites.map"), says.map).unwrap();
    let answer = move |command: &str| match command.split_whitespace().collect::<Vec<_>>()[..] {
        ["show", "info"] => {
            format!("Name: HAProxy\nVersion: {}\nPid: 7\nUptime_sec: 5\nStopping: 0\n\n", says.version)
        }
        ["show", "map", _] => format!("0x1 site {}\n\n", led.lock().unwrap()),
        ["show", "ha-hold"] => "ha-hold 1\n".into(),
        ["show", "stat", pool, "6", "-1"] => {
            let unassigned = if pool == "site_north" { says.unassigned } else { 0 };
            format!(
                "# {STAT},\n{pool},lb,,0,,0,0,0,0,0,0,,,,,0,0,0,\n{pool},BACKEND,,0,,{unassigned},0,0,0,0,0,,,,,,,,\n\n"
            )
        }
        ["set", "map", _, "site", to] => {
            *led.lock().unwrap() = to.into();
            "\n".into()
        }
        ["set", "severity-output", _] => "\n".into(),
        _ => format!("[3]: Unknown command {command:?}.\n\n"),
    };
    let script = move |line: &str| ScriptedAnswer::text(line.split(';').map(&answer).collect::<String>());
    let admin = ScriptedSocket::on_unix(dir.path().join("admin.sock"), script).unwrap();
    let proc = move |line: &str| {
        ScriptedAnswer::text(match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["show", "proc"] => format!(
                "#<PID> <type> <reloads> <uptime> <version>\n1 master 0 0d00h00m10s {version}\n# workers\n\
                 7 worker 0 0d00h00m10s {version}\n# old workers\n{}# programs\n\n",
                says.older,
                version = says.version,
            ),
            // As an older worker of 2.4 answers: without its proxies.
            [_, "show", "stat", ..] => format!("# {STAT},\n\n"),
            [_, "set", "map", _, "site", to] => {
                *led_by_older.lock().unwrap() = to.into();
                "\n".into()
            }
            _ => format!("0x1 site {}\n\n", led_by_older.lock().unwrap()),
        })
    };
    let master = ScriptedSocket::on_unix(dir.path().join("master.sock"), proc).unwrap();
    Fake { admin, master, dir }
}

impl Fake {
    fn on(&self) -> MapOn {
        let config = HaProxyConfig::new(self.dir.path().join("admin.sock"));
        let config = config.with_master(Endpoint::Unix(self.dir.path().join("master.sock")));
        MapOn::new("front", config, self.dir.path().join("sites.map"))
    }

    fn switch(&self) -> HaProxySwitch {
        HaProxySwitch::new(vec![self.on()], sites())
    }

    fn written(&self) -> String {
        fs::read_to_string(self.dir.path().join("sites.map")).unwrap()
    }
}

async fn hold(switch: &HaProxySwitch) -> Result<Applied, StepError> {
    switch.lead(EPOCH, LeadConsumers::new(Consumers::Held).with_deadline(Duration::from_millis(400))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_waits_for_a_request_that_no_server_was_chosen_for_yet() {
    let front = fake(Says { unassigned: 1, ..ALONE });
    let gave_up = hold(&front.switch()).await.unwrap_err();
    assert_eq!((gave_up.kind(), gave_up.effect()), (ErrorKind::Timeout, Effect::None), "{gave_up}");
    assert_eq!(front.switch().consumers().await.unwrap(), to("north"));
    assert_eq!(lead(&fake(ALONE).switch(), Consumers::Held).await.unwrap(), Applied::Applied);
}

/// As a controller leaves it that died between the first front and the second: no file says where consumers were led before.
#[tokio::test(flavor = "multi_thread")]
async fn where_consumers_are_led_back_to_is_told_by_a_front_that_does_not_hold_yet() {
    let fronts = [fake(Says { unassigned: 1, map: "site held\n", ..ALONE }), fake(ALONE)];
    let switch = HaProxySwitch::new(fronts.iter().map(Fake::on).collect(), sites());
    let gave_up = hold(&switch).await.unwrap_err();
    assert_eq!((gave_up.kind(), gave_up.effect()), (ErrorKind::Timeout, Effect::None), "{gave_up}");
    assert_eq!(switch.consumers().await.unwrap(), to("north"));
}

/// Before 2.5 an older worker that is asked lists none of its servers.
#[tokio::test(flavor = "multi_thread")]
async fn older_workers_that_do_not_tell_what_they_do_are_not_taken_for_idle() {
    let older = "5 worker 1 0d00h00m20s 2.4.0\n";
    let front = fake(Says { version: "2.4.0", older, ..ALONE });
    let refused = hold(&front.switch()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Unsupported, Effect::None), "{refused}");
    assert!(refused.to_string().contains("[5]"), "{refused}");
    assert_eq!(front.written(), "site north\n");
    assert_eq!(
        lead(&fake(Says { version: "2.4.0", ..ALONE }).switch(), Consumers::Held).await.unwrap(),
        Applied::Applied
    );
}

/// Of such a worker the figures alone are not told: its map leads those who are still connected to it.
#[tokio::test(flavor = "multi_thread")]
async fn older_workers_that_do_not_tell_what_they_do_are_led_whatever_was_asked_before() {
    let older = "5 worker 1 0d00h00m20s 2.4.0\n";
    for is_version_known in [false, true] {
        let front = fake(Says { version: "2.4.0", older, ..ALONE });
        let switch = front.switch();
        if is_version_known {
            hold(&switch).await.unwrap_err();
        }
        assert_eq!(lead(&switch, to("south")).await.unwrap(), Applied::Applied);
        let asked = front.master.lines();
        assert!(asked.iter().any(|line| line.starts_with("@!5 set map")), "{is_version_known}: {asked:?}");
        assert_eq!(switch.consumers().await.unwrap(), to("south"));
    }
}

/// What is read from a map is somebody's text: only a site's name becomes part of a command.
#[tokio::test(flavor = "multi_thread")]
async fn a_map_that_leads_to_what_is_no_site_is_not_led_back_to() {
    let front = fake(Says { unassigned: 1, map: "site held\nbefore east;shutdown\n", ..ALONE });
    let failed = hold(&front.switch()).await.unwrap_err();
    assert_eq!((failed.kind(), failed.effect()), (ErrorKind::Timeout, Effect::Unknown), "{failed}");
    assert!(failed.to_string().contains("east;shutdown"), "{failed}");
    let front_of_nobody = fake(Says { map: "site east;shutdown\n", ..ALONE });
    let refused = hold(&front_of_nobody.switch()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Conflict, Effect::None), "{refused}");
    for front in [front, front_of_nobody] {
        let asked = front.admin.lines();
        assert!(!asked.iter().any(|line| line.contains("shutdown")), "{asked:?}");
    }
}

/// A request in progress keeps the hold waiting while one of the fronts is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_front_that_is_lost_in_a_hold_does_not_keep_the_others_held() {
    let origins = Origins::start(&sites()).await.unwrap();
    let port = |site: usize| origins.address(&sites()[site]).unwrap().port();
    let fronts = Fronts::start(Lab::open(Relaunch::test().unwrap()).unwrap(), port(0), port(1)).unwrap();
    // The one that is asked first.
    let request = origins.hold(fronts.addresses()[1], &sites()[0]).await.unwrap();
    let switch = Arc::new(fronts.switch());
    let holding = switch.clone();
    let holding = tokio::spawn(async move { lead(&holding, Consumers::Held).await });
    while ask(fronts.addresses()[1]).await.unwrap() != Some(Consumers::Held) {
        sleep(Duration::from_millis(10)).await;
    }
    fronts.processes[0].kill();
    let failed = holding.await.unwrap().unwrap_err();
    assert_eq!(failed.effect(), Effect::Unknown, "{failed}");
    assert_eq!(ask(fronts.addresses()[1]).await.unwrap(), Some(to("north")));
    assert!(request.release().await.unwrap());
    fronts.processes[0].restart().unwrap();
    assert_eq!(switch.consumers().await.unwrap(), to("north"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_waits_for_another_one_ends_at_its_own_deadline() {
    let front = fake(Says { unassigned: 1, ..ALONE });
    let switch = Arc::new(front.switch());
    let holding = switch.clone();
    let holding = tokio::spawn(async move { lead(&holding, Consumers::Held).await });
    while !front.written().contains("site held") {
        sleep(Duration::from_millis(10)).await;
    }
    let short = LeadConsumers::new(to("south")).with_deadline(Duration::from_millis(100));
    let late = timeout(Duration::from_secs(15), switch.lead(EPOCH, short)).await.unwrap().unwrap_err();
    assert_eq!((late.kind(), late.effect()), (ErrorKind::Timeout, Effect::None), "{late}");
    assert!(!holding.is_finished());
    holding.abort();
}
