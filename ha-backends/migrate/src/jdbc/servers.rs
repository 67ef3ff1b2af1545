//! Databases whose properties are behind `;` or `:`: SQL Server, Db2, Informix.

use super::parameters::{Parameter, is_secret};
use super::{Draft, Driver, Host, Result, refuse};

/// Reads `//host\instance:port;a=b`, and jTDS's `//host:port/database;a=b`.
pub(super) fn sqlserver<'a>(draft: &mut Draft<'a>, driver: Driver, rest: &'a str) -> Result<String> {
    let Some(rest) = rest.strip_prefix("//") else { return refuse("no // before the host") };
    let (place, properties) = rest.split_at_checked(rest.find(';').unwrap_or(rest.len())).unwrap_or((rest, ""));
    draft.braced_properties(properties)?;
    let (place, database) = match place.split_once('/') {
        Some((place, database)) if driver == Driver::Jtds => (place, Some(database)),
        _ => (place, None),
    };
    let (name, instance) = match place.split_once('\\') {
        Some((name, instance)) => (name, Some(instance)),
        None => (place, None),
    };
    // `host\instance:port`
    let (instance, port) = match instance.and_then(|instance| instance.split_once(':')) {
        Some((instance, port)) => (Some(instance), Some(Host::port(port)?)),
        None => (instance, None),
    };
    let mut host = Host::parse(name, driver)?;
    if name.is_empty() {
        let server = draft.parameter("serverName").or_else(|| draft.parameter("server")).unwrap_or_default();
        host = Host::new(server, driver)?;
    }
    let written_port = draft.parameter("portNumber").or_else(|| draft.parameter("port"));
    if let Some(port) = written_port.filter(|_| !place.contains(':')) {
        host.port = Host::port(port)?;
    }
    host.port = port.unwrap_or(host.port);
    let instance = instance.or_else(|| draft.parameter("instanceName")).or_else(|| draft.parameter("instance"));
    host.instance = instance.map(String::from);
    draft.hosts.push(host);
    let named = draft.parameter("databaseName").or_else(|| draft.parameter("database"));
    draft.database = database.filter(|database| !database.is_empty()).or(named).map(String::from);
    let target = draft.text.get(..draft.parameters_at).unwrap_or_default();
    // The database is a property, and a part of the target all the same.
    Ok(match &draft.database {
        Some(name) if database.is_none_or(str::is_empty) => format!("{target};databaseName={name}"),
        Some(_) | None => target.into(),
    })
}

/// Reads `//host:port/database:a=b;c=d;` or `database:a=b;`.
pub(super) fn db2<'a>(draft: &mut Draft<'a>, driver: Driver, rest: &'a str) -> Result<String> {
    let (hosts, database) = match rest.strip_prefix("//") {
        Some(rest) => {
            let Some((hosts, database)) = rest.split_once('/') else { return refuse("no /database behind the host") };
            (Some(hosts), database)
        }
        None => (None, rest),
    };
    for host in hosts.into_iter().flat_map(|hosts| hosts.split(',')) {
        draft.hosts.push(Host::parse(host, driver)?);
    }
    let (database, properties) = match database.split_once(':') {
        Some((name, properties)) => (name, Some(properties)),
        None => (database, None),
    };
    if database.contains([';', '=']) {
        return refuse("properties without a : before them: write /database:property=value;");
    }
    if let Some(properties) = properties {
        draft.parameters_at = draft.text.len().saturating_sub(properties.len() + 1);
        properties.split(';').for_each(|part| draft.property(part));
    }
    draft.database = Some(database.into()).filter(|name: &String| !name.is_empty());
    Ok(draft.text.get(..draft.parameters_at).unwrap_or_default().into())
}

impl<'a> Draft<'a> {
    fn property(&mut self, part: &'a str) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if is_secret(name.trim()) {
            self.hide(value);
        }
        if !name.trim().is_empty() {
            self.parameters.push(Parameter::new(name.trim(), value));
        }
    }
}
