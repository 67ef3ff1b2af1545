use ha_core::topology::SettingError;
use hyper::Uri;

/// A URL, in the parts that a request needs.
#[derive(Clone)]
pub(super) struct Url {
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// The host and the port as they were given.
    pub(super) authority: String,
    pub(super) path: String,
    /// What errors and `Debug` show: a query may hold secrets.
    pub(super) shown: String,
}

impl Url {
    pub(super) fn parse(key: &str, text: &str) -> Result<Self, SettingError> {
        let wrong = |message: &str| SettingError::new(key, message);
        let no_url = "is no URL: give http://host:port/path, or https://";
        let uri: Uri = text.parse().map_err(|_| wrong(no_url))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(wrong(no_url)) };
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong(no_url)),
        };
        if authority.as_str().contains('@') {
            return Err(wrong("has a user in it: give credentials in headers"));
        }
        let host = authority.host().trim_matches(['[', ']']);
        // The parser leaves out a port that is no number of one.
        let after_host = authority.as_str().rsplit(']').next().unwrap_or_default();
        if after_host.contains(':') && authority.port().is_none() {
            return Err(wrong("has a port that is none: give one from 1 to 65535"));
        }
        if host.is_empty() || (authority.port().is_some() && authority.port_u16().is_none_or(|port| port == 0)) {
            return Err(wrong(no_url));
        }
        Ok(Self {
            secure,
            host: host.into(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.as_str().into(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).into(),
            shown: format!("{scheme}://{authority}{}{}", uri.path(), if uri.query().is_some() { "?***" } else { "" }),
        })
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_a_host_and_no_user() {
        let url = Url::parse("url", "http://[::1]:8280/health?key=s3cret").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", 8280, "/health?key=s3cret"));
        assert_eq!(format!("{url:?}"), "http://[::1]:8280/health?***");
        assert_eq!(Url::parse("url", "https://esb1").unwrap().port, 443);
        for wrong in
            ["esb1", "esb1:8280/health", "ftp://esb1/", "http://me:s3cret@esb1/", "http:///x", "", "http://a:0/"]
        {
            let error = Url::parse("url", wrong).unwrap_err().to_string();
            assert!(error.contains("setting url") && !error.contains("s3cret"), "{error}");
        }
    }
}
