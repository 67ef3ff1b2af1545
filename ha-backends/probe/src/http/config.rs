use std::fmt;

use ha_core::topology::{Component, Reported, Setting, SettingError, SettingErrors, Settings};
use hyper::StatusCode;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};

use super::url::Url;
use crate::command::Limits;
use crate::ports::Ports;
use crate::tls::Trust;

/// What an HTTP probe asks a node directly.
#[derive(Clone)]
pub struct HttpProbeConfig {
    pub(super) url: Url,
    pub(super) test_url: Option<Url>,
    pub(super) test_expect: String,
    pub(super) expect_status: Vec<StatusCode>,
    pub(super) host: Option<HeaderValue>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) identity: Identity,
    pub(super) trust: Option<Trust>,
    pub(super) ports: Ports,
    pub(super) limits: Limits,
}

/// Where an answer names the release.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    FirstLine,
    Header(HeaderName),
    Json(String),
}

impl HttpProbeConfig {
    /// Reads the settings, which the crate's page lists. Reads the file that `ca` names.
    ///
    /// # Errors
    /// [`SettingErrors`] with every key that is wrong.
    pub fn from_component(component: &Component) -> Result<Self, SettingErrors> {
        let mut settings = Settings::of(component);
        let url = settings.required_text("url").and_then(|url| settings.keep(Url::parse("url", &url)));
        let test_url = settings.text("test_url");
        let test_url = test_url.and_then(|url| settings.keep(url.map(|url| Url::parse("test_url", &url)).transpose()));
        let host = settings.text("host");
        let host = host.and_then(|host| settings.keep(host.map(|host| host_of(&host)).transpose()));
        let is_secure = |url: Option<&Url>| url.is_some_and(|url| url.secure);
        let secure = match (&url, &test_url) {
            // Whether pin and ca fit cannot be told then.
            (Err(_), _) | (_, Err(_)) => None,
            (Ok(url), _) if is_secure(Some(url)) => Some("url"),
            (_, Ok(url)) => is_secure(url.as_ref()).then_some("test_url"),
        };
        let trust = if url.is_ok() && test_url.is_ok() {
            Trust::read(&mut settings, secure)
        } else {
            settings.texts("pin").and(settings.text("ca")).map(|_| None)
        };
        let test_expect = settings.text("test_expect");
        let expect_status = statuses(component, &mut settings);
        let headers = settings.texts("headers").and_then(|lines| settings.keep(headers(&lines)));
        let identity = identity(&mut settings);
        let (ports, limits) = (Ports::read(&mut settings), Limits::read(&mut settings));
        let read = (|| {
            Ok(Self {
                url: url?,
                test_url: test_url?,
                test_expect: test_expect?.unwrap_or_default(),
                expect_status: expect_status?,
                host: host?,
                headers: headers?,
                identity: identity?,
                trust: trust?,
                ports: ports?,
                limits: limits?,
            })
        })();
        settings.finish(read)
    }
}

impl fmt::Debug for HttpProbeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<String> = self.headers.iter().map(|(name, _)| format!("{name}: ***")).collect();
        f.debug_struct("HttpProbeConfig")
            .field("url", &self.url)
            .field("test_url", &self.test_url)
            .field("test_expect", &self.test_expect)
            .field("expect_status", &self.expect_status)
            .field("host", &self.host)
            .field("headers", &headers)
            .field("identity", &self.identity)
            .field("trust", &self.trust)
            .field("ports", &self.ports)
            .field("limits", &self.limits)
            .finish()
    }
}

fn host_of(text: &str) -> Result<HeaderValue, SettingError> {
    let wrong = || SettingError::new("host", "is no name of a host");
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
    if plain { HeaderValue::from_str(text).map_err(|_| wrong()) } else { Err(wrong()) }
}

fn statuses(component: &Component, settings: &mut Settings<'_>) -> Result<Vec<StatusCode>, Reported> {
    const KEY: &str = "expect_status";
    let wrong = || SettingError::new(KEY, "give a status from 200 to 599, or a list of them");
    let given = match component.settings.get(KEY) {
        Some(Setting::Integer(_)) => {
            settings.integer(KEY, 200, 599)?.map(|status| status.to_string()).into_iter().collect()
        }
        Some(_) | None => settings.texts(KEY)?,
    };
    if given.is_empty() {
        return Ok(vec![StatusCode::OK]);
    }
    let read = |text: &String| {
        let status = text.parse::<StatusCode>().map_err(|_| wrong())?;
        if (200..600).contains(&status.as_u16()) { Ok(status) } else { Err(wrong()) }
    };
    settings.keep(given.iter().map(read).collect())
}

fn headers(lines: &[String]) -> Result<Vec<(HeaderName, HeaderValue)>, SettingError> {
    // The line itself is not shown: it may hold a secret.
    let wrong = |message: &str| SettingError::new("headers", message);
    let read = |line: &String| {
        let no_header = || wrong("one of them is no header: give \"name: value\"");
        let (name, value) = line.split_once(':').ok_or_else(no_header)?;
        let name: HeaderName = name.trim().parse().map_err(|_| no_header())?;
        let mut value: HeaderValue = value.trim().parse().map_err(|_| no_header())?;
        if name == HOST {
            return Err(wrong("give the host in the setting host"));
        }
        if [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name) {
            return Err(wrong(&format!("{name} is set by the probe")));
        }
        value.set_sensitive(true);
        Ok((name, value))
    };
    lines.iter().map(read).collect()
}

fn identity(settings: &mut Settings<'_>) -> Result<Identity, Reported> {
    let (header, json) = (settings.text("release_header"), settings.text("release_json"));
    let read = identity_of(header?, json?);
    settings.keep(read)
}

fn identity_of(header: Option<String>, json: Option<String>) -> Result<Identity, SettingError> {
    match (header, json) {
        (None, None) => Ok(Identity::FirstLine),
        (Some(name), None) => match name.parse() {
            Ok(name) => Ok(Identity::Header(name)),
            Err(_) => Err(SettingError::new("release_header", "is no name of a header")),
        },
        (None, Some(pointer)) if pointer.starts_with('/') => Ok(Identity::Json(pointer)),
        (None, Some(_)) => Err(SettingError::new("release_json", "is no JSON pointer: give one like /version")),
        (Some(_), Some(_)) => Err(SettingError::new("release_json", "give it or release_header, not both")),
    }
}
