use super::parameters::decoded;
use super::{Draft, Driver, Host, Result, refuse};

/// Reads `thin:[user/password]@place` or `oci:...`.
pub(super) fn read<'a>(draft: &mut Draft<'a>, rest: &'a str) -> Result<String> {
    let Some((kind, rest)) = rest.split_once(':').filter(|(kind, _)| ["thin", "oci", "oci8"].contains(kind)) else {
        return refuse("no thin: or oci: behind jdbc:oracle:");
    };
    // No place has an @ in it: whatever is before the last one belongs to user and password.
    let Some((credentials, place)) = rest.rsplit_once('@') else {
        return refuse("no @ before the host: write jdbc:oracle:thin:@//host:1521/service");
    };
    if !credentials.is_empty() {
        draft.credentials(credentials, '/', |text| text.trim_matches('"').into());
    }
    if place.starts_with('(') {
        described(draft, place)?;
    } else {
        let end = place.find('?').unwrap_or(place.len());
        let (place, query) = place.split_at_checked(end).unwrap_or((place, ""));
        draft.query(query, decoded)?;
        placed(draft, place)?;
    }
    let place = draft.text.get(..draft.parameters_at).unwrap_or_default().rsplit('@').next().unwrap_or_default();
    Ok(format!("jdbc:oracle:{kind}:@{place}"))
}

/// Reads `h:p:SID`, `h:p/service`, `//h:p/service:server/instance`, `tcps://...`, or a TNS alias.
fn placed(draft: &mut Draft<'_>, place: &str) -> Result<()> {
    let place = ["tcps:", "tcp:"].iter().find_map(|protocol| place.strip_prefix(protocol)).unwrap_or(place);
    let has_slashes = place.starts_with("//");
    let place = place.strip_prefix("//").unwrap_or(place);
    let (hosts, service) = match place.split_once('/') {
        Some((hosts, service)) => (hosts, Some(service)),
        None => (place, None),
    };
    if service.is_none() && !has_slashes {
        // Behind the brackets of an IPv6 address as well.
        let after = hosts.rfind(']').map_or(0, |at| at + 1);
        let colons: Vec<usize> =
            hosts.char_indices().filter(|(at, sign)| *at >= after && *sign == ':').map(|(at, _)| at).collect();
        return match colons[..] {
            [_, sid] => {
                let (host, sid) = hosts.split_at_checked(sid).unwrap_or((hosts, ""));
                draft.hosts.push(Host::parse(host, Driver::Oracle)?);
                draft.database = sid.strip_prefix(':').map(String::from);
                Ok(())
            }
            [] => {
                draft.database = Some(hosts.into()).filter(|alias: &String| !alias.is_empty());
                if draft.database.is_none() { refuse("nothing behind the @") } else { Ok(()) }
            }
            _ => refuse("a port without a service: write host:1521/service or host:1521:SID"),
        };
    }
    for host in hosts.split(',') {
        draft.hosts.push(Host::parse(host, Driver::Oracle)?);
    }
    let service = service.and_then(|service| service.split([':', '/']).next()).filter(|service| !service.is_empty());
    draft.database = service.map(String::from);
    Ok(())
}

/// Reads the hosts and the service of `(DESCRIPTION=...)`.
fn described(draft: &mut Draft<'_>, text: &str) -> Result<()> {
    if text.matches('(').count() != text.matches(')').count() {
        return refuse("the parentheses of (DESCRIPTION=...) are not closed: count them");
    }
    for part in text.split('(') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.split(')').next().unwrap_or_default().trim();
        match key.trim().to_ascii_uppercase().as_str() {
            "HOST" => draft.hosts.push(Host::new(value, Driver::Oracle)?),
            "PORT" => {
                let port = Host::port(value)?;
                if let Some(host) = draft.hosts.last_mut() {
                    host.port = port;
                }
            }
            "SERVICE_NAME" | "SID" if draft.database.is_none() => draft.database = Some(value.into()),
            _ => {}
        }
    }
    if draft.hosts.is_empty() { refuse("(DESCRIPTION=...) without a (HOST=...)") } else { Ok(()) }
}
