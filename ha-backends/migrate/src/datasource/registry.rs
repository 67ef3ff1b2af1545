//! `registry.xml`: which database holds which part of the registry.

use std::fmt;

use roxmltree::Node;

use super::xml::{File, child_text, elements};
use super::{DatasourceError, Location};
use crate::secret::redact;

/// The mounts of a node's registry.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Registry {
    /// The name of the database configuration of the local registry.
    pub current: Option<String>,
    /// The database configurations.
    pub configs: Vec<DbConfig>,
    /// The instances that are mounted from.
    pub instances: Vec<RemoteInstance>,
    /// The mounts.
    pub mounts: Vec<Mount>,
}

/// A `dbConfig`: a name for a datasource.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DbConfig {
    /// Its name.
    pub name: String,
    /// The JNDI name of the datasource.
    pub datasource: Option<String>,
    /// Where it is written.
    pub at: Location,
}

/// A `remoteInstance`. Its `Debug` prints no password of the cache id.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct RemoteInstance {
    /// Its id.
    pub id: String,
    /// What nodes of one cache have in common, character for character. The server's default is `user@url`.
    pub cache_id: Option<String>,
    /// The name of the database configuration.
    pub db_config: Option<String>,
    /// Whether this node only reads. The server's default is `false`.
    pub read_only: bool,
    /// Whether it is cached. The server's default is `true`.
    pub enable_cache: bool,
    /// The root in the database.
    pub registry_root: Option<String>,
    /// Where it is written.
    pub at: Location,
}

impl fmt::Debug for RemoteInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, cache_id, db_config, read_only, enable_cache, registry_root, at } = self;
        f.debug_struct("RemoteInstance")
            .field("id", id)
            .field("cache_id", &cache_id.as_deref().map(redact))
            .field("db_config", db_config)
            .field("read_only", read_only)
            .field("enable_cache", enable_cache)
            .field("registry_root", registry_root)
            .field("at", at)
            .finish()
    }
}

/// A `mount`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Mount {
    /// The path at which it appears, such as `/_system/config`.
    pub path: String,
    /// Whether it takes the place of what is there.
    pub overwrite: bool,
    /// The instance.
    pub instance: String,
    /// The path in the instance.
    pub target: Option<String>,
    /// Where it is written.
    pub at: Location,
}

/// Reads a `registry.xml`; `file` names it in errors.
///
/// # Errors
/// [`DatasourceError`]: no well-formed XML, another root element, an instance, mount or database configuration without its name, a
/// flag that is neither true nor false.
pub fn registry(file: &str, text: &str) -> Result<Registry, DatasourceError> {
    let file = File::open(file, text)?;
    let root = file.document.root_element();
    if root.tag_name().name() != "wso2registry" {
        let what = "the root element is another one: registry.xml begins with <wso2registry>";
        return Err(file.error(root, root.tag_name().name(), what));
    }
    let mut registry = Registry { current: child_text(root, "currentDBConfig"), ..Registry::default() };
    for node in elements(root) {
        match node.tag_name().name() {
            "dbConfig" => registry.configs.push(DbConfig {
                name: required(
                    &file,
                    node,
                    node.attribute("name").map(str::to_owned),
                    "name",
                    "<dbConfig name=\"...\">",
                )?,
                datasource: child_text(node, "dataSource"),
                at: file.at(node),
            }),
            "remoteInstance" => registry.instances.push(RemoteInstance {
                id: required(&file, node, child_text(node, "id"), "id", "<id>...</id>")?,
                cache_id: child_text(node, "cacheId"),
                db_config: child_text(node, "dbConfig"),
                read_only: flag(&file, node, child_text(node, "readOnly"), "readOnly", false)?,
                enable_cache: flag(&file, node, child_text(node, "enableCache"), "enableCache", true)?,
                registry_root: child_text(node, "registryRoot"),
                at: file.at(node),
            }),
            "mount" => registry.mounts.push(Mount {
                path: required(&file, node, node.attribute("path").map(str::to_owned), "path", "<mount path=\"...\">")?,
                // `virtual` and other words are no yes
                overwrite: node.attribute("overwrite").is_some_and(|value| value.trim().eq_ignore_ascii_case("true")),
                instance: required(
                    &file,
                    node,
                    child_text(node, "instanceId"),
                    "instanceId",
                    "<instanceId>...</instanceId>",
                )?,
                target: child_text(node, "targetPath"),
                at: file.at(node),
            }),
            _ => {}
        }
    }
    Ok(registry)
}

fn required(
    file: &File<'_>,
    node: Node<'_, '_>,
    value: Option<String>,
    key: &str,
    fix: &str,
) -> Result<String, DatasourceError> {
    value
        .filter(|value| !value.trim().is_empty())
        .ok_or_else(|| file.error(node, key, format!("{} has none: write {fix}", node.tag_name().name())))
}

fn flag(
    file: &File<'_>,
    node: Node<'_, '_>,
    value: Option<String>,
    key: &str,
    default: bool,
) -> Result<bool, DatasourceError> {
    match value.map(|value| value.to_ascii_lowercase()).as_deref() {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(file.error(node, key, "is neither true nor false: write one of them")),
    }
}
