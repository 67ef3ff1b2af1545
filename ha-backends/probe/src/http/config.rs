use std::fmt;

use ha_core::topology::{Component, Setting, SettingError, Settings};
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
    /// [`SettingError`] with the key.
    pub fn from_component(component: &Component) -> Result<Self, SettingError> {
        let mut settings = Settings::of(component);
        let url = Url::parse("url", &settings.required_text("url")?)?;
        let test_url = settings.text("test_url")?.map(|url| Url::parse("test_url", &url)).transpose()?;
        let host = settings.text("host")?.map(|host| host_of(&host)).transpose()?;
        let secure =
            if url.secure { Some("url") } else { test_url.as_ref().filter(|url| url.secure).map(|_| "test_url") };
        let config = Self {
            trust: Trust::read(&mut settings, secure)?,
            test_expect: settings.text("test_expect")?.unwrap_or_default(),
            expect_status: statuses(component, &mut settings)?,
            headers: headers(&settings.texts("headers")?)?,
            identity: identity(&mut settings)?,
            ports: Ports::read(&mut settings)?,
            limits: Limits::read(&mut settings)?,
            url,
            test_url,
            host,
        };
        settings.finish()?;
        Ok(config)
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

fn statuses(component: &Component, settings: &mut Settings<'_>) -> Result<Vec<StatusCode>, SettingError> {
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
    given.iter().map(read).collect()
}

fn headers(lines: &[String]) -> Result<Vec<(HeaderName, HeaderValue)>, SettingError> {
    // The line itself is not shown: it may hold a secret.
    let wrong = |words: &str| SettingError::new("headers", words);
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

fn identity(settings: &mut Settings<'_>) -> Result<Identity, SettingError> {
    let header = settings.text("release_header")?;
    match (header, settings.text("release_json")?) {
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
