use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use ha_core::backend::Probe;
use ha_core::topology::Setting;
use ha_testkit::conformance::Breach;
use ha_testkit::conformance::probe::{Ability, ProbeFixture, ProbeSubject, Stance};

use crate::server::{Door, State, serve};
use crate::{DEADLINE, component, text};

/// HTTP and HTTPS servers.
pub(crate) struct Web {
    name: &'static str,
    scheme: &'static str,
    json: bool,
    pub(crate) settings: Vec<(&'static str, Setting)>,
}

impl Web {
    pub(crate) fn plain() -> Self {
        Self { name: "http", scheme: "http", json: false, settings: vec![("test_expect", text("ok"))] }
    }

    pub(crate) fn json() -> Self {
        let settings = vec![("release_json", text("/version"))];
        Self { name: "http with a release in JSON", scheme: "http", json: true, settings }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn pinned() -> Self {
        use crate::certificates::{OTHER, SERVER};
        // As while certificates roll over.
        let pins = Setting::List(vec![OTHER.fingerprint.clone(), SERVER.fingerprint.clone()]);
        Self { name: "https with pins", scheme: "https", json: false, settings: vec![("pin", pins)] }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn signed() -> Self {
        let ca = text(crate::certificates::SERVER.path().display());
        Self { name: "https with a ca", scheme: "https", json: false, settings: vec![("ca", ca)] }
    }

    pub(crate) async fn subject(&self, release: &str, more: Vec<(&str, Setting)>) -> Result<WebSubject, Breach> {
        let state = Arc::new(State { json: self.json, ..State::default() });
        let serving = state.clone();
        let door = if self.scheme == "https" {
            secure(serving).await?
        } else {
            Door::open(Arc::new(move |stream| Box::pin(serve(serving.clone(), stream)))).await?
        };
        let url = |path: &str| text(format!("{}://{}{path}", self.scheme, door.address));
        let mut settings = vec![("url", url("/ready")), ("test_url", url("/test"))];
        settings.extend(self.settings.iter().cloned());
        settings.extend(more);
        let probe = ha_probe::from_component(&component("http", settings));
        let probe = probe.map_err(|error| Breach::new(error.to_string()))?;
        let subject = WebSubject { probe, state, door };
        subject.set_stance(Stance::Serving, release).await?;
        Ok(subject)
    }
}

#[cfg(feature = "tls")]
async fn secure(state: Arc<State>) -> Result<Door, Breach> {
    let acceptor = crate::certificates::SERVER.acceptor();
    let accepted = move |stream| {
        let (acceptor, state) = (acceptor.clone(), state.clone());
        Box::pin(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(state, stream).await;
            }
        }) as _
    };
    Door::open(Arc::new(accepted)).await
}

#[cfg(not(feature = "tls"))]
async fn secure(_state: Arc<State>) -> Result<Door, Breach> {
    Err(Breach::new("the feature tls is off"))
}

#[async_trait]
impl ProbeFixture for Web {
    fn name(&self) -> String {
        self.name.into()
    }

    fn can(&self, ability: Ability) -> bool {
        ability != Ability::Stance(Stance::Unreachable)
    }

    async fn fresh(&self, release: &str) -> Result<Box<dyn ProbeSubject>, Breach> {
        Ok(Box::new(self.subject(release, Vec::new()).await?))
    }
}

pub(crate) struct WebSubject {
    pub(crate) probe: Arc<dyn Probe>,
    pub(crate) state: Arc<State>,
    door: Door,
}

#[async_trait]
impl ProbeSubject for WebSubject {
    fn probe(&self) -> Arc<dyn Probe> {
        self.probe.clone()
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn set_stance(&self, stance: Stance, release: &str) -> Result<(), Breach> {
        *self.state.stance.lock().unwrap() = Some((stance, release.to_string()));
        self.door.set(stance != Stance::Closed).await
    }

    async fn open(&self) -> Result<usize, Breach> {
        Ok(self.state.open.load(Ordering::SeqCst))
    }
}
