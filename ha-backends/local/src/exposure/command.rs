use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::{
    Applied, ErrorKind, ExposeRoute, Exposure, HideRoute, ObserveExposure, Ran, RouteOn, RunCommand, StepError,
};
use ha_core::state::{LeaseEpoch, Route, RouteKey, ServiceRoute};
use ha_core::telemetry::call_span;
use ha_core::topology::{Component, Settings};
use tracing::Instrument;

use crate::ConfigError;
use crate::host::pass;
use crate::runner::{self, done, told, whole};

/// The commands of this machine that expose services: a gateway's own tool, or a script around one.
///
/// Each gets the route in `HA_ROUTE_KEY` and `HA_ROUTE_VALUE`, and runs in `home`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommandExposureConfig {
    /// The folder in which the commands run, and which keeps the highest lease epoch. One exposure, one folder.
    pub home: PathBuf,
    /// Prints one line a balancer instance: its name, where the key leads there, and where it would lead after a restart; `-` for
    /// nowhere. The third word may be missing, where both are the same. It changes nothing.
    pub show: Vec<String>,
    /// Leads the key to the value on every instance, durably.
    pub expose: Vec<String>,
    /// Takes the key away on every instance, durably.
    pub hide: Vec<String>,
    /// How long each of the commands may take. Default 15 s.
    pub command_deadline: Duration,
}

impl CommandExposureConfig {
    /// Describes the commands, with default limits.
    pub fn new(home: impl Into<PathBuf>, show: Vec<String>, expose: Vec<String>, hide: Vec<String>) -> Self {
        Self { home: home.into(), show, expose, hide, command_deadline: Duration::from_secs(15) }
    }

    /// Reads the settings `home`, `show`, `expose`, `hide`, and optionally `command_deadline`.
    ///
    /// # Errors
    /// [`ConfigError`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, ConfigError> {
        let mut settings = Settings::of(component);
        let home = settings.absolute_path("home");
        let (show, expose, hide) = (settings.argv("show"), settings.argv("expose"), settings.argv("hide"));
        let deadline = settings.duration("command_deadline", Duration::from_secs(15));
        let read =
            (|| Ok(Self { home: home?, show: show?, expose: expose?, hide: hide?, command_deadline: deadline? }))();
        settings.finish(read)
    }
}

/// Exposes services by commands of this machine.
///
/// `show` must end with exit code 0; anything else says that nothing could be read. `expose` and `hide` end with 0 when it is so;
/// with 3 when they refuse and have changed nothing; with anything else nobody can tell. They are run only where `show` says that
/// something is to be changed, that the key leads nowhere else and that every instance answers, and `show` is asked again behind
/// them.
///
/// # Examples
///
/// ```
/// use ha_core::backend::ObserveExposure;
/// use ha_core::state::RouteKey;
/// use ha_local::{CommandExposure, CommandExposureConfig};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
/// let config = CommandExposureConfig::new("/", words("echo gateway esb"), words("true"), words("true"));
/// let seen = CommandExposure::new(config).route(&RouteKey::new("/orders")?).await?;
/// assert_eq!((seen[0].instance.as_str(), seen[0].value.as_deref()), ("gateway", Some("esb")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct CommandExposure {
    config: CommandExposureConfig,
}

/// What `show` prints for a key that leads nowhere.
const NOWHERE: &str = "-";
const BACKEND: &str = "command";

impl CommandExposure {
    /// Exposes as `config` says. Nothing is touched yet.
    pub fn new(config: CommandExposureConfig) -> Self {
        Self { config }
    }

    async fn run(
        &self,
        operation: &'static str,
        argv: &[String],
        (key, value): (&RouteKey, &str),
        deadline: Duration,
    ) -> Result<Ran, StepError> {
        let command = RunCommand::new(argv.to_vec(), deadline.min(self.config.command_deadline))
            .with_env("HA_ROUTE_KEY", key.as_str())
            .with_env("HA_ROUTE_VALUE", value);
        runner::run(&self.config.home, operation, command).await
    }

    async fn show(&self, operation: &'static str, key: &RouteKey) -> Result<Vec<RouteOn>, StepError> {
        let error = |kind, context: String| {
            StepError::new(kind, operation, key.as_str()).with_context(context).without_effect()
        };
        let ran = self.run(operation, &self.config.show, (key, ""), self.config.command_deadline).await;
        let ran = ran.map_err(StepError::without_effect)?;
        let ran = whole("show", ran, |what| error(ErrorKind::Protocol, what))?;
        if !ran.is_success() {
            return Err(error(ErrorKind::Unreachable, told("show", &ran)));
        }
        read(&ran.stdout).map_err(|what| error(ErrorKind::Protocol, format!("show printed {what}")))
    }

    /// Brings the route to a state, behind the fence.
    async fn change(
        &self,
        epoch: LeaseEpoch,
        operation: &'static str,
        route: ServiceRoute,
        (to, deadline): (Route, Duration),
    ) -> Result<Applied, StepError> {
        let argv = if to == Route::Exposed { &self.config.expose } else { &self.config.hide };
        let target = route.to_string();
        let fail = |kind, context: String| StepError::new(kind, operation, target.as_str()).with_context(context);
        let _fence = pass(&self.config.home, epoch, operation, self.config.command_deadline).await?;
        let seen = self.show(operation, &route.key).await?;
        for on in &seen {
            let elsewhere = |value: &&String| value.as_str() != route.value.as_str();
            let (now, later) = (on.value.as_ref(), on.after_restart.as_ref());
            if let Some(value) = now.filter(elsewhere).or(later.filter(elsewhere)) {
                let context = format!("{} leads to {value} on {}", route.key, on.instance);
                return Err(fail(ErrorKind::Conflict, context).without_effect());
            }
        }
        if Route::seen(&route, &seen) == to {
            return Ok(Applied::AlreadySo);
        }
        if deadline.is_zero() {
            return Err(fail(ErrorKind::Timeout, "no time was left to change anything".into()).without_effect());
        }
        let ran = self.run(operation, argv, (&route.key, route.value.as_str()), deadline).await?;
        done(operation, &ran, |what| fail(ErrorKind::Conflict, what))?;
        let seen = self.show(operation, &route.key).await.map_err(|error| {
            fail(ErrorKind::Conflict, "it was changed, and could not be read back".into()).caused_by(error)
        })?;
        let found = Route::seen(&route, &seen);
        if found == to {
            return Ok(Applied::Applied);
        }
        Err(fail(ErrorKind::Conflict, format!("{operation} ended well, and show says that the route is {found}")))
    }

    /// The same in a task of its own: a dropped future does not cut it.
    async fn change_apart(
        &self,
        epoch: LeaseEpoch,
        operation: &'static str,
        route: ServiceRoute,
        to: (Route, Duration),
    ) -> Result<Applied, StepError> {
        let (exposure, target) = (self.clone(), route.to_string());
        let span = call_span(BACKEND, operation, &target);
        let task = tokio::spawn(async move { exposure.change(epoch, operation, route, to).await }.instrument(span));
        task.await.unwrap_or_else(|error| Err(StepError::new(ErrorKind::Protocol, operation, target).caused_by(error)))
    }
}

/// Reads what `show` printed.
fn read(printed: &str) -> Result<Vec<RouteOn>, String> {
    let leads = |word: &str| (word != NOWHERE).then(|| word.to_string());
    let line = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [instance, now] => Ok(RouteOn::new(instance, leads(now))),
        [instance, now, later] => Ok(RouteOn::new(instance, leads(now)).with_after_restart(leads(later))),
        _ => Err(format!("{line:?}, and not an instance, where the key leads, and where after a restart")),
    };
    let seen = printed.lines().filter(|line| !line.trim().is_empty()).map(line).collect::<Result<Vec<_>, _>>()?;
    if seen.is_empty() { Err("no instance".into()) } else { Ok(seen) }
}

#[async_trait]
impl ObserveExposure for CommandExposure {
    async fn route(&self, key: &RouteKey) -> Result<Vec<RouteOn>, StepError> {
        self.show("route", key).instrument(call_span(BACKEND, "route", key)).await
    }
}

#[async_trait]
impl Exposure for CommandExposure {
    async fn expose(&self, epoch: LeaseEpoch, request: ExposeRoute) -> Result<Applied, StepError> {
        self.change_apart(epoch, "expose", request.route, (Route::Exposed, request.deadline)).await
    }

    async fn hide(&self, epoch: LeaseEpoch, request: HideRoute) -> Result<Applied, StepError> {
        self.change_apart(epoch, "hide", request.route, (Route::Dark, request.deadline)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_an_instance_and_where_the_key_leads_there() {
        let esb = || Some("esb".to_string());
        let expected = vec![
            RouteOn::new("lb1", esb()),
            RouteOn::new("lb2", None),
            RouteOn::new("lb3", esb()).with_after_restart(None),
            RouteOn::new("lb4", None).with_after_restart(esb()),
        ];
        assert_eq!(read("lb1 esb\n\n lb2 -\nlb3 esb -\nlb4\t- esb\n"), Ok(expected));
        for wrong in ["", "\n", "lb1", "lb1 esb esb esb", "lb1 esb\nerror"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
