use super::parameters::form_decoded;
use super::{Draft, Driver, Host, Result, refuse};

/// Reads `//host:port,host/database?a=b` or `database?a=b`.
pub(super) fn read<'a>(draft: &mut Draft<'a>, rest: &'a str) -> Result<String> {
    let end = rest.find('?').unwrap_or(rest.len());
    let (place, query) = rest.split_at_checked(end).unwrap_or((rest, ""));
    draft.query(query, form_decoded)?;
    let database = match place.strip_prefix("//") {
        Some(place) => {
            let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
            if hosts.contains('@') {
                return refuse("PostgreSQL's URLs have no user before @: write ?user=...&password=...");
            }
            for host in hosts.split(',') {
                draft.hosts.push(Host::parse(host, Driver::Postgres)?);
            }
            database
        }
        None => {
            draft.hosts.push(Host::new("", Driver::Postgres)?);
            place.strip_prefix('/').unwrap_or(place)
        }
    };
    if database.contains('@') || database.contains('/') {
        return refuse(
            "a database with / or @: write them as %2F and %40; a user is written as ?user=...&password=...",
        );
    }
    draft.database = Some(form_decoded(database)).filter(|database| !database.is_empty());
    Ok(draft.text.get(..draft.parameters_at).unwrap_or_default().into())
}
