use super::{Draft, Driver, Result, refuse};

/// What a URL asks of TLS.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Tls {
    /// None.
    Disable,
    /// TLS where the server offers it; nothing is verified.
    Prefer,
    /// TLS or no connection; nothing is verified.
    Require,
    /// TLS, and the server's certificate is of a known authority.
    VerifyCa,
    /// TLS, a known authority, and the certificate names the host.
    VerifyFull,
}

impl Tls {
    /// Reads the driver's parameters; without them, the driver's default.
    pub(super) fn of(driver: Driver, draft: &Draft<'_>) -> Result<Self> {
        let is = |name: &str, default: bool| match draft.parameter(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "yes" | "1" | "") => Ok(true),
            Some("false" | "no" | "0") => Ok(false),
            Some(_) => refuse(format!("{name} is neither true nor false")),
        };
        let mode = |name: &str| draft.parameter(name).map(|mode| mode.to_ascii_lowercase().replace('-', "_"));
        let unknown = |name: &str, known: &str| refuse(format!("{name} is none of {known}"));
        Ok(match driver {
            Driver::Postgres => match mode("sslmode").as_deref() {
                Some("disable") => Self::Disable,
                Some("allow" | "prefer") => Self::Prefer,
                Some("require") => Self::Require,
                Some("verify_ca") => Self::VerifyCa,
                Some("verify_full") => Self::VerifyFull,
                Some(_) => return unknown("sslmode", "disable, allow, prefer, require, verify-ca, verify-full"),
                None if is("ssl", false)? => Self::VerifyFull,
                None => Self::Prefer,
            },
            Driver::MySql => match mode("sslMode").as_deref() {
                Some("disabled") => Self::Disable,
                Some("preferred") => Self::Prefer,
                Some("required") => Self::Require,
                Some("verify_ca") => Self::VerifyCa,
                Some("verify_identity") => Self::VerifyFull,
                Some(_) => return unknown("sslMode", "DISABLED, PREFERRED, REQUIRED, VERIFY_CA, VERIFY_IDENTITY"),
                None if !is("useSSL", true)? => Self::Disable,
                None if is("verifyServerCertificate", false)? => Self::VerifyCa,
                None if is("requireSSL", false)? => Self::Require,
                None => Self::Prefer,
            },
            Driver::MariaDb => match mode("sslMode").as_deref() {
                Some("disable" | "disabled") => Self::Disable,
                Some("trust" | "required") => Self::Require,
                Some("verify_ca") => Self::VerifyCa,
                Some("verify_full" | "verify_identity") => Self::VerifyFull,
                Some(_) => return unknown("sslMode", "disable, trust, verify-ca, verify-full"),
                None if !is("useSsl", false)? => Self::Disable,
                None if is("trustServerCertificate", false)? => Self::Require,
                None if is("disableSslHostnameVerification", false)? => Self::VerifyCa,
                None => Self::VerifyFull,
            },
            Driver::SqlServer => match mode("encrypt").as_deref() {
                Some("false" | "no" | "optional") => Self::Disable,
                Some("strict") => Self::VerifyFull,
                Some("true" | "yes" | "mandatory") | None if is("trustServerCertificate", false)? => Self::Require,
                Some("true" | "yes" | "mandatory") | None => Self::VerifyFull,
                Some(_) => return unknown("encrypt", "true, false, strict"),
            },
            Driver::Jtds => match mode("ssl").as_deref() {
                None | Some("off") => Self::Disable,
                Some("request") => Self::Prefer,
                Some("require") => Self::Require,
                Some("authenticate") => Self::VerifyCa,
                Some(_) => return unknown("ssl", "off, request, require, authenticate"),
            },
            Driver::Db2 | Driver::Informix if is("sslConnection", false)? => Self::VerifyCa,
            Driver::Oracle if is_tcps(draft.text) => Self::VerifyCa,
            Driver::H2 if draft.text.starts_with("jdbc:h2:ssl:") => Self::Require,
            Driver::Db2 | Driver::Derby | Driver::H2 | Driver::Informix | Driver::Oracle | Driver::Sqlite => {
                Self::Disable
            }
        })
    }
}

fn is_tcps(text: &str) -> bool {
    let place = text.rsplit('@').next().unwrap_or_default();
    let place: String = place.chars().filter(|sign| !sign.is_whitespace()).collect::<String>().to_ascii_lowercase();
    place.starts_with("tcps:") || place.contains("(protocol=tcps)")
}
