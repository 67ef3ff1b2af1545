//! HTTPS to servers that are known: by the fingerprints of their certificates, or by who signed them.

#[cfg(feature = "tls")]
mod pinned;
#[cfg(feature = "tls")]
mod trust;

#[cfg(feature = "tls")]
pub(crate) use trust::{Stream, Trust};

#[cfg(not(feature = "tls"))]
mod without {
    use ha_core::topology::{Reported, Settings};
    use tokio::net::TcpStream;

    pub(crate) type Stream = TcpStream;

    /// There is none: this crate was built without the feature `tls`.
    #[derive(Clone, Debug)]
    pub(crate) enum Trust {}

    impl Trust {
        pub(crate) const MISSING: &str = "https needs the feature tls";

        pub(crate) fn read(settings: &mut Settings<'_>, secure: Option<&str>) -> Result<Option<Self>, Reported> {
            let needs = "https needs the feature tls of ha-probe (the feature tls of ha-backends), which is off";
            let (pins, ca) = (settings.texts("pin"), settings.text("ca"));
            match secure {
                Some(key) => Err(settings.wrong(key, needs)),
                None if pins?.is_empty() && ca?.is_none() => Ok(None),
                None => Err(settings.wrong("url", "pin and ca are for https, and this is http")),
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
