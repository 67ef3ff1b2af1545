//! HTTPS to servers that are known: by the fingerprints of their certificates, or by who signed them.

#[cfg(feature = "tls")]
mod pinned;
#[cfg(feature = "tls")]
mod trust;

#[cfg(feature = "tls")]
pub(crate) use trust::{Stream, Trust};

#[cfg(not(feature = "tls"))]
mod without {
    use ha_core::topology::{SettingError, Settings};
    use tokio::net::TcpStream;

    pub(crate) type Stream = TcpStream;

    /// There is none: this crate was built without the feature `tls`.
    #[derive(Clone, Debug)]
    pub(crate) enum Trust {}

    impl Trust {
        pub(crate) const MISSING: &str = "https needs the feature tls";

        pub(crate) fn read(settings: &mut Settings<'_>, secure: Option<&str>) -> Result<Option<Self>, SettingError> {
            let needs = "https needs the feature tls of ha-probe (the feature tls of ha-backends), which is off";
            match secure {
                Some(key) => Err(SettingError::new(key, needs)),
                None if settings.texts("pin")?.is_empty() && settings.text("ca")?.is_none() => Ok(None),
                None => Err(SettingError::new("url", "pin and ca are for https, and this is http")),
            }
        }

        #[expect(clippy::unused_async, reason = "as with the feature")]
        pub(crate) async fn connect(&self, _name: &str, _stream: TcpStream) -> Result<Stream, String> {
            match *self {}
        }
    }
}
#[cfg(not(feature = "tls"))]
pub(crate) use without::{Stream, Trust};
