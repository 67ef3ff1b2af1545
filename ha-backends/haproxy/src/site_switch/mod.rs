mod front;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{Applied, Consumers, ErrorKind, LeadConsumers, ObserveSiteSwitch, SiteSwitch, StepError};
use ha_core::state::LeaseEpoch;
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Name, SettingError, SettingErrors, Settings, Topology};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;

use crate::config::{Endpoint, HaProxyConfig};
use crate::map_on::{MapOn, path_of};
use crate::transport::OpContext;
use front::{Front, Led, SITE};

/// What a front needs to hold consumers: load it with `lua-load`. It lets requests wait while the map says `held`.
pub const HOLD_LUA: &str = include_str!("../ha-hold.lua");

/// Leads consumers to one of the sites by the map of the HAProxys in front of all sites.
///
/// The map has one entry, `site`, whose value is a site's name, `held` or `nowhere`; each site is a backend, by default `site_` and
/// the site's name. What the map says is written into its file first, whole or not at all, and then put in force: a reload keeps
/// it. Held requests wait in the front, kept-alive connections included, and go where the map leads once it does; a hold is done
/// when the backends of all sites have nothing in progress, in older workers too where the master's socket is given. Before 2.5 an
/// older worker does not tell that: as long as there is one, a hold is refused; it is led as the others are. A hold that fails is led
/// back over every front that can be changed.
///
/// # Examples
///
/// The front:
///
/// ```text
/// global
///     setenv HA_SITES_MAP /etc/haproxy/sites.map
///     lua-load /etc/haproxy/ha-hold.lua          # HOLD_LUA
/// frontend front
///     bind :80
///     http-request lua.ha_hold                   # before anything that looks where requests go
///     use_backend site_%[str(site),map(/etc/haproxy/sites.map)]
///     default_backend nowhere
/// backend nowhere
///     http-request deny deny_status 503
/// backend site_north
///     server lb 10.1.0.10:80
/// backend site_south
///     server lb 10.2.0.10:80
/// ```
///
/// ```no_run
/// use ha_core::backend::{Consumers, LeadConsumers, SiteSwitch};
/// use ha_core::state::LeaseEpoch;
/// use ha_core::topology::Name;
/// use ha_haproxy::{HaProxyConfig, HaProxySwitch, MapOn};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let front = MapOn::new("front1", HaProxyConfig::new("/run/haproxy/admin.sock"), "/etc/haproxy/sites.map");
/// let switch = HaProxySwitch::new(vec![front], vec![Name::new("north")?, Name::new("south")?]);
/// switch.lead(LeaseEpoch::new(1), LeadConsumers::new(Consumers::To("south".into()))).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HaProxySwitch {
    fronts: Vec<Front>,
    sites: Vec<Name>,
    /// The backends of the sites.
    pools: Vec<Name>,
    /// One change at a time: each begins with what it reads.
    changing: Mutex<()>,
}

const HELD: &str = "held";
const NOWHERE: &str = "nowhere";
const TARGET: &str = "switch";
/// How often it is looked whether requests are in progress.
const LOOK: Duration = Duration::from_millis(20);
/// How often nothing must be in progress in a row: a request that was let through a moment ago is on its way to its backend.
const LOOKS: u32 = 3;

impl HaProxySwitch {
    /// Drives the maps of these fronts: all that a consumer may come over. Nothing is touched yet.
    pub fn new(fronts: Vec<MapOn>, sites: Vec<Name>) -> Self {
        let pools = sites.iter().filter_map(|site| Name::new(&format!("site_{site}")).ok()).collect();
        Self { fronts: fronts.into_iter().map(Front::new).collect(), sites, pools, changing: Mutex::default() }
    }

    /// Says what the fronts call the backends of the sites, in the order of the sites. Default: `site_` and the site's name.
    #[must_use]
    pub fn with_backends(mut self, pools: Vec<Name>) -> Self {
        self.pools = pools;
        self
    }

    /// Reads the settings `sockets` and `masters` (each an absolute path or `host:port`, or a list of them in the order of the
    /// fronts), `map` (the absolute path of the map file, on this machine and in the configuration of every front; `{front}` in it
    /// stands for the front's number, from 1 on), `site_backend` (what the fronts call a site's backend, with `{site}` in it, by
    /// default `site_{site}`), `config_file` (a front's configuration, where this machine has it) and `deadline` (of one command, by
    /// default 2 s).
    ///
    /// # Errors
    /// [`SettingErrors`] with every key that is wrong; `backend` where a site is called `held` or `nowhere`.
    pub fn from_component(component: &Component, topology: &Topology) -> Result<Self, SettingErrors> {
        let mut settings = Settings::of(component);
        let (sockets, masters) = (settings.texts("sockets"), settings.texts("masters"));
        let sockets = sockets.and_then(|texts| settings.keep(endpoints("sockets", &texts)));
        let masters = masters.and_then(|texts| settings.keep(endpoints("masters", &texts)));
        let (map, files) = (settings.required_text("map"), settings.texts("config_file"));
        let (backend, deadline) =
            (settings.text("site_backend"), settings.duration("deadline", Duration::from_secs(2)));
        let sites: Vec<Name> = topology.sites().iter().map(|site| site.name.clone()).collect();
        let read = (|| {
            let (sockets, masters, files, deadline) = (sockets?, masters?, files?, deadline?);
            if let Some(site) = sites.iter().find(|site| [HELD, NOWHERE].contains(&site.as_str())) {
                return Err(settings.wrong("backend", format!("a site is called {site}: give it another name")));
            }
            if sockets.is_empty() {
                return Err(settings.wrong("sockets", "is missing: add it"));
            }
            if !masters.is_empty() && masters.len() != sockets.len() {
                return Err(settings.wrong("masters", "give one for each of sockets"));
            }
            let (map, mut fronts) = (map?, Vec::new());
            for (number, socket) in sockets.into_iter().enumerate() {
                let path = settings.keep(path_of(&map.replace("{front}", &(number + 1).to_string())))?;
                let mut config = HaProxyConfig::at(socket).with_deadline(deadline);
                config.master = masters.get(number).cloned();
                config.config_files = files.iter().map(PathBuf::from).collect();
                fronts.push(MapOn::new(format!("front{}", number + 1), config, path));
            }
            let paths: BTreeSet<&PathBuf> = fronts.iter().map(|on| &on.map).collect();
            if paths.len() < fronts.len() {
                return Err(settings.wrong("map", "give each front a map of its own: put {front} into the path"));
            }
            let template = backend?.unwrap_or_else(|| "site_{site}".into());
            if !template.contains("{site}") {
                return Err(settings.wrong("site_backend", "put {site} into it, which stands for the site's name"));
            }
            let named = |site: &Name| Name::new(&template.replace("{site}", site.as_str()));
            let pools = sites.iter().map(named).collect::<Result<Vec<_>, _>>();
            let pools = pools.map_err(|error| settings.wrong("site_backend", error.to_string()))?;
            Ok(Self::new(fronts, sites.clone()).with_backends(pools))
        })();
        settings.finish(read)
    }

    async fn all(&self, about: OpContext<'_>) -> Result<Vec<(&Front, Led)>, StepError> {
        let mut all = Vec::with_capacity(self.fronts.len());
        for front in &self.fronts {
            all.push((front, front.led(about).await?));
        }
        Ok(all)
    }

    async fn in_progress(&self, about: OpContext<'_>) -> Result<u64, StepError> {
        let mut sum = 0_u64;
        for front in &self.fronts {
            sum = sum.saturating_add(front.in_progress(about, &self.pools).await?);
        }
        Ok(sum)
    }

    /// Counts what is in progress; refuses where there are workers that do not tell that.
    async fn left(&self, about: OpContext<'_>) -> Result<u64, StepError> {
        for front in &self.fronts {
            front.sees_workers(about).await?;
        }
        self.in_progress(about).await
    }

    /// Returns what all of them say; an error where they do not agree, or say what is no site.
    fn agreed(&self, about: OpContext<'_>, all: &[(&Front, Led)]) -> Result<Consumers, StepError> {
        let conflict = |context: String| {
            StepError::new(ErrorKind::Conflict, about.operation, about.target).with_context(context).without_effect()
        };
        let mut said: Option<&str> = None;
        for (front, led) in all {
            for value in led.said() {
                let name = front.name();
                let Some(value) = value.as_deref() else {
                    let what = format!("{name} has no entry {SITE}, in force, in its file or in an older worker");
                    return Err(conflict(what));
                };
                if *said.get_or_insert(value) != value {
                    let other = said.unwrap_or_default();
                    return Err(conflict(format!("one says {other}, and {name} says {value}")));
                }
            }
        }
        match said {
            Some(HELD) => Ok(Consumers::Held),
            Some(NOWHERE) => Ok(Consumers::Nowhere),
            Some(site) if self.sites.iter().any(|known| known.as_str() == site) => Ok(Consumers::To(site.into())),
            Some(other) => Err(conflict(format!("they are led to {other}, which is no site"))),
            None => Err(conflict("there is no front".into())),
        }
    }

    async fn bring_all(&self, about: OpContext<'_>, to: &str) -> Result<(), StepError> {
        for (front, led) in self.all(about).await? {
            front.bring(about, &led, to).await?;
        }
        self.all(about).await?.iter().try_for_each(|(front, led)| front.has(about, led, to))
    }

    /// Waits until nothing is in progress in any site; `false` where something is at the deadline.
    async fn empty(&self, about: OpContext<'_>, until: Instant) -> Result<bool, StepError> {
        let mut looks = 0;
        loop {
            looks = if self.in_progress(about).await? == 0 { looks + 1 } else { 0 };
            // A reload may have left workers behind meanwhile.
            if looks >= LOOKS && self.left(about).await? == 0 {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            sleep(LOOK).await;
        }
    }

    /// Where consumers were led before, as it is read from a map: only what can be led to is put into a command.
    fn site(&self, about: OpContext<'_>, value: &str) -> Result<String, StepError> {
        if value == NOWHERE || self.sites.iter().any(|site| site.as_str() == value) {
            return Ok(value.into());
        }
        let context = format!("a map says {value:?}, which is no site: let it say one, or {NOWHERE}");
        Err(StepError::new(ErrorKind::Conflict, about.operation, about.target).with_context(context))
    }

    /// Reads where consumers were led before they were held, of the first front that still knows it.
    async fn before(&self, about: OpContext<'_>) -> Result<String, StepError> {
        let mut failed = None;
        for front in &self.fronts {
            match front.before(about).await {
                Ok(Some(before)) => return self.site(about, &before),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| {
            let context = "where consumers were led before is in no map's file";
            StepError::new(ErrorKind::Conflict, about.operation, about.target).with_context(context)
        }))
    }

    /// Leads consumers back over every front that can be changed; the error is the first one's.
    async fn bring_back(&self, about: OpContext<'_>, to: &str) -> Result<(), StepError> {
        let mut failed = None;
        for front in &self.fronts {
            let brought = async {
                // Of a front that does not answer, what a restart brings is all that can be changed.
                front.write(about, to).await?;
                let led = front.led(about).await?;
                front.bring(about, &led, to).await?;
                front.has(about, &front.led(about).await?, to)
            };
            if let Err(error) = brought.await {
                failed = failed.or(Some(error));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn hold(&self, about: OpContext<'_>, all: &[(&Front, Led)], until: Instant) -> Result<(), StepError> {
        // Where they are led back to is written down first: the next controller finds it, whatever becomes of this one.
        let now = all.iter().filter_map(|(_, led)| led.running.clone()).find(|now| now != HELD);
        let now = now.map(|now| self.site(about, &now)).transpose().map_err(StepError::without_effect)?;
        for (front, _) in all {
            if let Some(now) = &now {
                front.write_before(about, now).await.map_err(StepError::without_effect)?;
            }
        }
        let held = match self.bring_all(about, HELD).await {
            Ok(()) => self.empty(about, until).await,
            Err(error) => Err(error),
        };
        let fail = |kind, context: String| StepError::new(kind, about.operation, about.target).with_context(context);
        let failed = match held {
            Ok(true) => return Ok(()),
            Ok(false) => fail(ErrorKind::Timeout, "requests were still in progress at the deadline".into()),
            Err(error) => error,
        };
        // They must not wait for what does not come.
        let back = async {
            let before = match now {
                Some(now) => now,
                None => self.before(about).await?,
            };
            self.bring_back(about, &before).await.map(|()| before)
        };
        match back.await {
            Ok(before) => {
                let context = format!("they could not be held, and are led to {before} again: {failed}");
                Err(fail(failed.kind(), context).caused_by(failed).without_effect())
            }
            Err(back) => {
                let context = format!("they could not be held, nor led back everywhere: {back}");
                Err(fail(failed.kind(), context).caused_by(failed))
            }
        }
    }

    async fn change(&self, about: OpContext<'_>, request: &LeadConsumers) -> Result<Applied, StepError> {
        let until = Instant::now() + request.deadline;
        let fail = |kind, context: String| StepError::new(kind, about.operation, about.target).with_context(context);
        let to = match &request.to {
            Consumers::To(site) if !self.sites.iter().any(|known| known.as_str() == site) => {
                return Err(fail(ErrorKind::NotFound, format!("there is no site {site}")).without_effect());
            }
            Consumers::To(site) => site.as_str(),
            Consumers::Held => HELD,
            Consumers::Nowhere => NOWHERE,
            _ => return Err(fail(ErrorKind::Unsupported, "this is not known here".into()).without_effect()),
        };
        let Ok(_one_at_a_time) = timeout_at(until, self.changing.lock()).await else {
            let context = "another change of this switch did not end before the deadline";
            return Err(fail(ErrorKind::Timeout, context.into()).without_effect());
        };
        // All of them are read, with the backends of the sites, before the first is changed.
        let all = self.all(about).await?;
        let in_progress = if to == HELD { self.left(about).await? } else { self.in_progress(about).await? };
        if all.iter().all(|(_, led)| led.is(to)) && (to != HELD || in_progress == 0) {
            return Ok(Applied::AlreadySo);
        }
        if Instant::now() >= until {
            return Err(fail(ErrorKind::Timeout, "no time was left to change anything".into()).without_effect());
        }
        if to != HELD {
            // Whatever fails now, something may have been changed.
            let unknown = |error: StepError| {
                fail(error.kind(), "it was being changed: read where consumers are led".into()).caused_by(error)
            };
            return self.bring_all(about, to).await.map(|()| Applied::Applied).map_err(unknown);
        }
        for front in &self.fronts {
            front.can_hold(about).await?;
        }
        self.hold(about, &all, until).await.map(|()| Applied::Applied)
    }
}

fn endpoints(key: &'static str, texts: &[String]) -> Result<Vec<Endpoint>, SettingError> {
    let wrong = || SettingError::new(key, "give the absolute path of a unix socket, or host:port, or a list of them");
    let clean = |text: &&String| !text.split('/').any(|part| part == "..");
    texts.iter().map(|text| Some(text).filter(clean).and_then(|text| Endpoint::parse(text)).ok_or_else(wrong)).collect()
}

#[async_trait]
impl ObserveSiteSwitch for HaProxySwitch {
    async fn consumers(&self) -> Result<Consumers, StepError> {
        let about = OpContext { operation: "consumers", target: TARGET };
        async {
            let led = self.agreed(about, &self.all(about).await?)?;
            let left = if led == Consumers::Held { self.left(about).await? } else { 0 };
            if left > 0 {
                let context = format!("consumers are held, and {left} requests are in progress");
                let error = StepError::new(ErrorKind::Conflict, about.operation, about.target);
                return Err(error.with_context(context).without_effect());
            }
            Ok(led)
        }
        .instrument(call_span(crate::NAME, "consumers", TARGET))
        .await
    }
}

#[async_trait]
impl SiteSwitch for HaProxySwitch {
    async fn lead(&self, _lease: LeaseEpoch, request: LeadConsumers) -> Result<Applied, StepError> {
        let about = OpContext { operation: "lead", target: TARGET };
        self.change(about, &request).instrument(call_span(crate::NAME, "lead", TARGET)).await
    }
}
