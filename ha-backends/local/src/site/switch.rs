use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use ha_core::backend::{
    Applied, Consumers, Effect, ErrorKind, LeadConsumers, ObserveSiteSwitch, SiteSwitch, StepError,
};
use ha_core::state::LeaseEpoch;
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Settings, Topology};
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use super::commands::{Asked, Commands};
use super::{BACKEND, DEADLINE, apart};
use crate::ConfigError;

/// The commands of this machine that lead consumers to one of the sites: a DNS provider's tool, a traffic manager's, or a script
/// around one.
///
/// `lead` gets the site's name, `held` or `nowhere` in `HA_CONSUMERS`, and the lease epoch in `HA_EPOCH`. Both run in `home`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommandSwitchConfig {
    /// The folder in which the commands run, and which keeps the highest lease epoch. One switch, one folder.
    pub home: PathBuf,
    /// The names of the sites.
    pub sites: Vec<String>,
    /// Prints where consumers are led: a site's name, `held` or `nowhere`; a line for each of what leads them. It changes nothing.
    pub status: Vec<String>,
    /// Leads consumers there, durably.
    pub lead: Vec<String>,
    /// Whether `lead` can hold consumers: it returns when none of their requests is in progress. Default: it cannot.
    pub holds: bool,
    /// How long consumers may go on to where they were led before: the TTL of a DNS record. A lead is done when it is over, counted
    /// from the end of the command; a hold is, when what they began meanwhile has ended too. Default 0.
    pub ttl: Duration,
    /// How long each of the commands may take. Default 10 min.
    pub command_deadline: Duration,
}

/// What stands for consumers that are held, and for those that are refused.
const HELD: &str = "held";
const NOWHERE: &str = "nowhere";
/// Made when consumers are led elsewhere, and removed when the TTL is over.
const LEADING: &str = ".ha-leading";
/// What is in it while `lead` runs, and when it has ended.
const BEGUN: &str = "lead has begun\n";
const ENDED: &str = "lead has ended\n";
const SWITCH: &str = "switch";

impl CommandSwitchConfig {
    /// Describes the commands, which cannot hold consumers and lead them at once.
    pub fn new(home: impl Into<PathBuf>, sites: Vec<String>, status: Vec<String>, lead: Vec<String>) -> Self {
        Self { home: home.into(), sites, status, lead, holds: false, ttl: Duration::ZERO, command_deadline: DEADLINE }
    }

    /// Says that `lead` can hold consumers.
    #[must_use]
    pub fn holding(mut self) -> Self {
        self.holds = true;
        self
    }

    /// Says how long consumers may go on to where they were led before.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Reads the settings `home`, `status`, `lead`, and optionally `holds`, `ttl` and `command_deadline`.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong; `backend` where a site is called `held` or `nowhere`.
    pub fn from_component(component: &Component, topology: &Topology) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let (home, status, lead) = (settings.absolute_path("home"), settings.argv("status"), settings.argv("lead"));
        let (holds, ttl) = (settings.flag("holds"), settings.duration("ttl", Duration::ZERO));
        let deadline = settings.duration("command_deadline", DEADLINE);
        let sites: Vec<String> = topology.sites().iter().map(|site| site.name.to_string()).collect();
        let named = match sites.iter().find(|site| [HELD, NOWHERE].contains(&site.as_str())) {
            Some(site) => Err(settings.wrong("backend", format!("a site is called {site}: give it another name"))),
            None => Ok(sites),
        };
        let read = (|| {
            let config = Self::new(home?, named?, status?, lead?).with_ttl(ttl?);
            Ok(Self { holds: holds?.unwrap_or(false), command_deadline: deadline?, ..config })
        })();
        settings.finish(read)
    }
}

/// Leads consumers to one of the sites by commands of this machine.
///
/// `status` must end with exit code 0; anything else says that nothing could be read. `lead` ends with 0 when it is so; with 3 when
/// it refuses and has changed nothing; with anything else nobody can tell. It is run only where `status` says that something is to
/// be changed, and `status` is asked again behind it. A hold that does not end well is led back to where consumers were.
///
/// # Examples
///
/// ```
/// use ha_core::backend::{Consumers, ObserveSiteSwitch};
/// use ha_local::{CommandSwitch, CommandSwitchConfig};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
/// let sites = words("north south");
/// let config = CommandSwitchConfig::new("/", sites, words("echo north"), words("false"));
/// assert_eq!(CommandSwitch::new(config).consumers().await?, Consumers::To("north".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct CommandSwitch {
    config: CommandSwitchConfig,
    commands: Commands,
}

impl CommandSwitch {
    /// Leads consumers as `config` says. Nothing is touched yet.
    pub fn new(config: CommandSwitchConfig) -> Self {
        let commands = Commands { home: config.home.clone(), site: SWITCH.into(), deadline: config.command_deadline };
        Self { config, commands }
    }

    /// Reads what `status` says, whatever the TTL.
    async fn status(&self, operation: &'static str) -> Result<Led, StepError> {
        self.commands.read(operation, &self.config.status, |printed| read(printed, &self.config.sites)).await
    }

    /// Returns how long consumers may still go on to where they were led before.
    fn left_of_ttl(&self) -> Duration {
        if self.config.ttl.is_zero() {
            return Duration::ZERO;
        }
        let began = std::fs::metadata(self.leading()).and_then(|found| found.modified());
        // A clock that was set back, or a file that cannot be read, is as if it had just been made.
        let since = |began: SystemTime| SystemTime::now().duration_since(began).unwrap_or_default();
        // A lead that was broken off may have changed the record as late as its command may end.
        let late = if self.is_broken_off() { self.config.command_deadline } else { Duration::ZERO };
        match began {
            Ok(began) => self.config.ttl.saturating_add(late).saturating_sub(since(began)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Duration::ZERO,
            Err(_) => self.config.ttl,
        }
    }

    /// Tells whether a lead began of which nobody knows when it ended.
    fn is_broken_off(&self) -> bool {
        std::fs::read_to_string(self.leading()).is_ok_and(|text| text == BEGUN)
    }

    /// Keeps for whoever asks next how far a lead is.
    fn mark(&self, how_far: &str) -> Result<(), StepError> {
        std::fs::write(self.leading(), how_far).map_err(|error| {
            let context = format!("{} cannot be written: {error}", self.leading().display());
            self.commands.error(ErrorKind::Denied, "lead", context)
        })
    }

    fn leading(&self) -> PathBuf {
        Path::new(&self.config.home).join(LEADING)
    }

    /// Runs `lead`, and holds what `status` says behind it against what was asked for.
    async fn act(&self, lease: LeaseEpoch, to: &Consumers, until: Instant) -> Result<(), StepError> {
        let word = match to {
            Consumers::To(site) => site.as_str(),
            Consumers::Held => HELD,
            _ => NOWHERE,
        };
        let env = vec![("HA_CONSUMERS", word.to_string()), ("HA_EPOCH", lease.to_string())];
        let asked = Asked { operation: "lead", argv: &self.config.lead, env };
        self.commands.act(asked, until).await?;
        let found = self.status("lead").await.map_err(|error| self.commands.changed("lead", error))?;
        if found == Led::All(to.clone()) {
            return Ok(());
        }
        let context = format!("lead ended well, and status says that consumers are {found:?}");
        Err(self.commands.error(ErrorKind::Conflict, "lead", context))
    }

    /// Changes the record; the TTL begins when the last answer with the old one may have been given.
    async fn record(&self, lease: LeaseEpoch, to: &Consumers, until: Instant) -> Result<(), StepError> {
        // From before the change on: whoever asks in between, or after a crash, is told that it is not over.
        let over = self.left_of_ttl().is_zero();
        self.mark(BEGUN).map_err(StepError::without_effect)?;
        let acted = self.act(lease, to, until).await;
        if over && acted.as_ref().is_err_and(|error| error.effect() == Effect::None) {
            let _ = std::fs::remove_file(self.leading());
            return acted;
        }
        let marked = self.mark(ENDED);
        acted.and(marked)
    }

    /// Leads consumers there, and waits until nobody goes on to where they were led before.
    async fn bring(&self, lease: LeaseEpoch, to: &Consumers, is_so: bool, until: Instant) -> Result<(), StepError> {
        if !is_so {
            self.record(lease, to, until - self.config.ttl).await?;
        } else if self.is_broken_off() {
            self.mark(ENDED)?;
        }
        sleep(self.left_of_ttl()).await;
        let _ = std::fs::remove_file(self.leading());
        Ok(())
    }

    async fn hold(&self, lease: LeaseEpoch, before: Led, until: Instant) -> Result<Applied, StepError> {
        let is_so = before == Led::All(Consumers::Held);
        let held = async {
            self.bring(lease, &Consumers::Held, is_so, until).await?;
            // Who went on for the TTL may have begun requests.
            let now = self.status("lead").await.map_err(|error| self.commands.changed("lead", error))?;
            if now == Led::All(Consumers::Held) {
                return Ok(());
            }
            self.act(lease, &Consumers::Held, until).await.map_err(|error| {
                let context = "lead had been run before this failed: read where consumers are led";
                self.commands.error(error.kind(), "lead", context).caused_by(error)
            })
        };
        let Err(error) = held.await else { return Ok(Applied::Applied) };
        let Led::All(before @ Consumers::To(_)) = before else { return Err(error) };
        if error.effect() == Effect::None {
            return Err(error);
        }
        // They must not wait for what does not come.
        match self.record(lease, &before, Instant::now() + self.config.command_deadline).await {
            Ok(()) => {
                let context = format!("they could not be held, and are {before} again");
                let error = self.commands.error(error.kind(), "lead", context).caused_by(error);
                // For the TTL some may still be held.
                Err(if self.config.ttl.is_zero() { error.without_effect() } else { error })
            }
            Err(back) => {
                let context = format!("they could not be held, nor led back: {back}");
                Err(self.commands.error(error.kind(), "lead", context).caused_by(error))
            }
        }
    }

    async fn led(&self, lease: LeaseEpoch, request: LeadConsumers) -> Result<Applied, StepError> {
        let until = Instant::now() + request.deadline;
        let refuse = |kind, context: String| Err(self.commands.error(kind, "lead", context).without_effect());
        match &request.to {
            Consumers::To(site) if !self.config.sites.contains(site) => {
                return refuse(ErrorKind::NotFound, format!("there is no site {site}"));
            }
            Consumers::Held if !self.config.holds => {
                return refuse(ErrorKind::Unsupported, "these commands cannot hold consumers".into());
            }
            _ => {}
        }
        let _held = self.commands.pass(lease, "lead", until).await?;
        let before = self.status("lead").await?;
        let is_so = before == Led::All(request.to.clone());
        if is_so && self.left_of_ttl().is_zero() {
            return Ok(Applied::AlreadySo);
        }
        if Instant::now() + self.config.ttl >= until {
            let context = format!("the TTL of {:?} does not fit into the deadline", self.config.ttl);
            return refuse(ErrorKind::Timeout, context);
        }
        if request.to == Consumers::Held {
            return self.hold(lease, before, until).await;
        }
        self.bring(lease, &request.to, is_so, until).await.map(|()| Applied::Applied)
    }
}

/// What `status` says.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Led {
    All(Consumers),
    InTwoMinds(String),
}

/// Reads what `status` printed.
fn read(printed: &str, sites: &[String]) -> Result<Led, String> {
    let mut led: Vec<Consumers> = Vec::new();
    for line in printed.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let to = match line {
            HELD => Consumers::Held,
            NOWHERE => Consumers::Nowhere,
            site if sites.iter().any(|known| known == site) => Consumers::To(site.into()),
            other => return Err(format!("{other:?}, and not a site, {HELD} or {NOWHERE}")),
        };
        if !led.contains(&to) {
            led.push(to);
        }
    }
    match led.len() {
        0 => Err("nothing".into()),
        1 => Ok(Led::All(led.remove(0))),
        _ => Ok(Led::InTwoMinds(led.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "))),
    }
}

#[async_trait]
impl ObserveSiteSwitch for CommandSwitch {
    async fn consumers(&self) -> Result<Consumers, StepError> {
        let conflict = |context| Err(self.commands.error(ErrorKind::Conflict, "consumers", context).without_effect());
        async {
            match self.status("consumers").await? {
                Led::InTwoMinds(both) => conflict(format!("consumers are {both}")),
                Led::All(to) => match self.left_of_ttl() {
                    Duration::ZERO => Ok(to),
                    left => conflict(format!("consumers are {to}, and may go on as before for {left:?}")),
                },
            }
        }
        .instrument(call_span(BACKEND, "consumers", SWITCH))
        .await
    }
}

#[async_trait]
impl SiteSwitch for CommandSwitch {
    async fn lead(&self, lease: LeaseEpoch, request: LeadConsumers) -> Result<Applied, StepError> {
        let switch = self.clone();
        apart(BACKEND, ("lead", SWITCH.into()), async move { switch.led(lease, request).await }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_a_site_or_says_that_consumers_are_held_or_refused() {
        let sites = ["north", "south"].map(String::from);
        let read = |printed| read(printed, &sites);
        assert_eq!(read("north\n"), Ok(Led::All(Consumers::To("north".into()))));
        assert_eq!(read("held\nheld\n"), Ok(Led::All(Consumers::Held)));
        assert_eq!(read(" nowhere "), Ok(Led::All(Consumers::Nowhere)));
        assert_eq!(read("north\nsouth"), Ok(Led::InTwoMinds("led to north and led to south".into())));
        for wrong in ["", "\n", "east", "north south", "North", "held\neast", "north\0"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
