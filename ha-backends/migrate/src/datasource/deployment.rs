//! `[database.*]` and `[[datasource]]` of `deployment.toml`.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::infer::{self, Product};
use super::toml_value::File;
use super::{Datasource, DatasourceError, Datasources, Note, Password};

/// Reads the databases of a `deployment.toml`; `file` names it in errors, `env` answers `$env{NAME}`. `$ref{table.key}` is looked
/// up in the file.
///
/// Where there is no `url`, the one that the server infers from `type`, `hostname`, `port` and `name` (Oracle: `sid`) is taken. The
/// pool has the server's defaults: 50 connections, 60 s of waiting, tested on borrow, each 30 s.
///
/// # Errors
/// [`DatasourceError`]: no TOML, an unknown `type`, neither `url` nor what it is inferred from, a reference that leads nowhere, a
/// pool's number that is none.
pub fn deployment_toml(
    file: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Datasources, DatasourceError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = File::open(file, text, env)?;
    let mut found: Vec<(usize, Datasource)> = Vec::new();
    let mut parsed = Datasources::default();
    if let Some(databases) = file.root.get("database") {
        let DeValue::Table(databases) = databases.get_ref() else {
            return Err(file.error(databases.span().start, "database", "is no table: write [database.shared_db]"));
        };
        for (key, value) in databases {
            let DeValue::Table(table) = value.get_ref() else {
                let name = format!("database.{}", key.get_ref());
                return Err(file.error(key.span().start, name, "is no table: write [database.shared_db]"));
            };
            let named = key.get_ref().as_ref();
            let (name, jndi, h2) = match infer::names(named) {
                Some((name, jndi, h2)) => (name.to_owned(), Some(jndi.to_owned()), h2.to_owned()),
                None => (named.to_owned(), None, named.to_ascii_uppercase()),
            };
            let place = Place { path: format!("database.{named}"), offset: key.span().start, name, jndi, h2 };
            found.push((place.offset, database(&file, &place, table, &mut parsed)?));
        }
    }
    if let Some(list) = file.root.get("datasource") {
        let DeValue::Array(list) = list.get_ref() else {
            return Err(file.error(list.span().start, "datasource", "is no list of tables: write [[datasource]]"));
        };
        for value in list {
            let offset = value.span().start;
            let DeValue::Table(table) = value.get_ref() else {
                return Err(file.error(offset, "datasource", "is no table: write [[datasource]]"));
            };
            let id = table
                .get("id")
                .map(|id| file.filled("datasource.id", id))
                .transpose()?
                .ok_or_else(|| file.error(offset, "datasource.id", "is not there: write id = \"WSO2_X_DB\""))?;
            let jndi = Some(format!("jdbc/{id}"));
            let place = Place { path: "datasource".into(), offset, h2: id.clone(), name: id, jndi };
            found.push((offset, database(&file, &place, table, &mut parsed)?));
        }
    }
    found.sort_by_key(|(offset, _)| *offset);
    parsed.datasources = found.into_iter().map(|(_, datasource)| datasource).collect();
    parsed.notes.sort_by_key(|note| note.at.line);
    Ok(parsed)
}

/// Which table is read.
struct Place {
    path: String,
    offset: usize,
    name: String,
    jndi: Option<String>,
    h2: String,
}

/// Keys of a table.
const KEYS: [&str; 15] = [
    "id",
    "type",
    "url",
    "hostname",
    "port",
    "name",
    "sid",
    "username",
    "password",
    "driver",
    "jmx_enable",
    "pool_options",
    "db_props",
    "validationQuery",
    "description",
];

fn database(
    file: &File<'_>,
    place: &Place,
    table: &DeTable<'_>,
    parsed: &mut Datasources,
) -> Result<Datasource, DatasourceError> {
    let key = |name: &str| format!("{}.{name}", place.path);
    let filled = |name: &str| table.get(name).map(|value| file.filled(&key(name), value)).transpose();
    let product = match table.get("type") {
        None => None,
        Some(value) => {
            let name = file.filled(&key("type"), value)?;
            let product = Product::of(&name).ok_or_else(|| {
                let what = format!("{name:?} is no type of database: write one of {}", Product::NAMES);
                file.error(value.span().start, key("type"), what)
            })?;
            Some(product)
        }
    };
    let url = match (filled("url")?, product) {
        (Some(url), _) => url,
        (None, Some(product)) => {
            let need = |name: &str| {
                filled(name)?.ok_or_else(|| {
                    let what = "is not there, and no url either: the server infers one from hostname, port and name (Oracle: sid)";
                    file.error(place.offset, key(name), what)
                })
            };
            match product {
                Product::H2 => product.url("", "", &filled("name")?.unwrap_or_else(|| place.h2.clone())),
                Product::Oracle => {
                    let service = match filled("sid")? {
                        Some(sid) => sid,
                        None => filled("name")?.map_or_else(|| need("sid"), Ok)?,
                    };
                    product.url(&need("hostname")?, &need("port")?, &service)
                }
                Product::Db2 | Product::MariaDb | Product::MsSql | Product::MySql | Product::Postgre => {
                    product.url(&need("hostname")?, &need("port")?, &need("name")?)
                }
            }
        }
        (None, None) => {
            let what = format!("is not there: write url, or type ({}) with hostname, port and name", Product::NAMES);
            return Err(file.error(place.offset, key("url"), what));
        }
    };
    // a password's reference is kept, and read when it is needed
    let password = match table.get("password") {
        Some(value) => Password::of(&file.scalar(&key("password"), value)?),
        None => Password::None,
    };
    let product = product.or_else(|| Product::of_url(&url));
    let mut datasource = Datasource {
        name: place.name.clone(),
        jndi: place.jndi.clone(),
        url,
        user: filled("username")?,
        password,
        driver: filled("driver")?,
        pool: infer::defaults(),
        validation_query: product.map(|product| product.validation_query().to_owned()),
        at: file.at(place.offset),
    };
    if let Some(query) = filled("validationQuery")? {
        datasource.validation_query = Some(query);
    }
    if let Some(flag) = filled("jmx_enable")? {
        datasource.pool.other.insert("jmxEnabled".into(), flag);
    }
    if let Some(options) = options(file, table, &key("pool_options"), "pool_options")? {
        for (name, value) in options {
            pool_option(file, place, name, value, &mut datasource, parsed)?;
        }
    }
    if let Some(properties) = options(file, table, &key("db_props"), "db_props")? {
        for (name, value) in properties {
            let text = file.scalar(&format!("{}.db_props.{}", place.path, name.get_ref()), value)?;
            datasource.pool.other.insert(format!("databaseProps.{}", name.get_ref()), text);
        }
    }
    for (name, _) in table {
        if !KEYS.contains(&name.get_ref().as_ref()) {
            let what = format!("{} is not known: the server's template does not read it", key(name.get_ref()));
            parsed.notes.push(Note { at: file.at(name.span().start), what });
        }
    }
    Ok(datasource)
}

fn options<'a, 'i>(
    file: &File<'_>,
    table: &'a DeTable<'i>,
    path: &str,
    name: &str,
) -> Result<Option<&'a DeTable<'i>>, DatasourceError> {
    match table.get(name) {
        None => Ok(None),
        Some(value) => match value.get_ref() {
            DeValue::Table(options) => Ok(Some(options)),
            _ => Err(file.error(value.span().start, path, format!("is no table: write [{path}]"))),
        },
    }
}

/// The options in snake case that the template of `shared_db` knows, and what they become.
const SNAKE: [(&str, &str); 5] = [
    ("max_active", "maxActive"),
    ("max_wait", "maxWait"),
    ("test_on_borrow", "testOnBorrow"),
    ("validation_interval", "validationInterval"),
    ("validation_query", "validationQuery"),
];

fn pool_option(
    file: &File<'_>,
    place: &Place,
    name: &Spanned<impl AsRef<str>>,
    value: &Spanned<DeValue<'_>>,
    datasource: &mut Datasource,
    parsed: &mut Datasources,
) -> Result<(), DatasourceError> {
    let written = name.get_ref().as_ref();
    let path = format!("{}.pool_options.{written}", place.path);
    let text = file.filled(&path, value)?;
    let mapped = SNAKE.iter().find(|(snake, _)| place.path == "database.shared_db" && *snake == written);
    let key = mapped.map_or(written, |(_, camel)| *camel);
    if key == "validationQuery" {
        datasource.validation_query = Some(text);
        return Ok(());
    }
    let mut note = |what: String| parsed.notes.push(Note { at: file.at(name.span().start), what });
    if key.contains('_') {
        note(format!("{path} has no effect: the pool reads camel case, such as maxActive"));
        datasource.pool.other.insert(key.to_owned(), text);
        return Ok(());
    }
    match datasource.pool.set(key, &text) {
        Ok(true) => {}
        Ok(false) => note(format!("{path} is not known: the pool does not read it")),
        Err(what) => {
            return Err(file.error(
                value.span().start,
                path,
                format!("{what}: write the pool's default or leave it out"),
            ));
        }
    }
    Ok(())
}
