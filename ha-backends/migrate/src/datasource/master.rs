//! `master-datasources.xml`.

use roxmltree::Node;

use super::xml::{File, child, child_text, elements, text};
use super::{Datasource, DatasourceError, Datasources, Note, Password, Pool};
use crate::SecretRef;

/// Reads a `master-datasources.xml`; `file` names it in errors.
///
/// Datasources of another type than RDBMS are notes, and so are fields that WSO2's reader does not know.
///
/// # Errors
/// [`DatasourceError`]: no well-formed XML (a bare `&` of a URL is told as such), another root element, a datasource without name
/// or URL, a pool's number that is none.
pub fn master_datasources(file: &str, text: &str) -> Result<Datasources, DatasourceError> {
    let file = File::open(file, text)?;
    let root = file.document.root_element();
    if root.tag_name().name() != "datasources-configuration" {
        let what = "the root element is another one: master-datasources.xml begins with <datasources-configuration>";
        return Err(file.error(root, root.tag_name().name(), what));
    }
    let mut parsed = Datasources::default();
    for list in elements(root).filter(|node| node.tag_name().name() == "datasources") {
        for node in elements(list) {
            if node.tag_name().name() == "datasource" {
                datasource(&file, node, &mut parsed)?;
            } else {
                note(&file, node, &mut parsed, "is not known here");
            }
        }
    }
    Ok(parsed)
}

fn note(file: &File<'_>, node: Node<'_, '_>, parsed: &mut Datasources, what: &str) {
    let what = format!("{} {what}", node.tag_name().name());
    parsed.notes.push(Note { at: file.at(node), what });
}

fn datasource(file: &File<'_>, node: Node<'_, '_>, parsed: &mut Datasources) -> Result<(), DatasourceError> {
    let name = child_text(node, "name")
        .ok_or_else(|| file.error(node, "name", "the datasource has no name: add <name>WSO2_SHARED_DB</name>"))?;
    let Some(definition) = child(node, "definition") else {
        return Err(file.error(
            node,
            "definition",
            format!("{name} has no definition: add <definition type=\"RDBMS\">"),
        ));
    };
    let kind = definition.attribute("type").unwrap_or("RDBMS");
    if kind != "RDBMS" {
        let what = format!("{name} is a datasource of type {kind} and no database");
        parsed.notes.push(Note { at: file.at(definition), what });
        return Ok(());
    }
    let Some(configuration) = child(definition, "configuration") else {
        return Err(file.error(
            definition,
            "configuration",
            format!("{name} has no configuration: add one with a <url>"),
        ));
    };
    for other in elements(node) {
        if !["name", "description", "jndiConfig", "definition"].contains(&other.tag_name().name()) {
            note(file, other, parsed, &format!("of {name} is not read by the server"));
        }
    }
    let jndi = child(node, "jndiConfig").and_then(|jndi| child_text(jndi, "name"));
    let mut datasource = Datasource {
        name,
        jndi,
        url: String::new(),
        user: None,
        password: Password::None,
        driver: None,
        pool: Pool::default(),
        validation_query: None,
        at: file.at(node),
    };
    for field in elements(configuration) {
        self::field(file, field, &mut datasource, parsed)?;
    }
    if datasource.url.is_empty() && !datasource.pool.other.contains_key("dataSourceClassName") {
        let what = format!("{} has no URL: add <url>jdbc:...</url>", datasource.name);
        return Err(file.error(configuration, "url", what));
    }
    parsed.datasources.push(datasource);
    Ok(())
}

fn field(
    file: &File<'_>,
    node: Node<'_, '_>,
    datasource: &mut Datasource,
    parsed: &mut Datasources,
) -> Result<(), DatasourceError> {
    let key = node.tag_name().name();
    let value = text(node);
    match key {
        "url" => datasource.url = value,
        "username" => datasource.user = Some(value),
        "password" => {
            // WSO2 writes svns:secretAlias; any namespace is taken
            let alias = node
                .attributes()
                .find(|attribute| attribute.name() == "secretAlias")
                .map(|attribute| attribute.value());
            let encrypted =
                node.attributes().any(|attribute| attribute.name() == "encrypted" && attribute.value() == "true");
            datasource.password = match alias {
                Some(alias) => Password::Ref(SecretRef::Alias(alias.to_owned())),
                None if encrypted => Password::Ref(SecretRef::Alias(format!("{} (encrypted)", datasource.name))),
                None => Password::of(&value),
            };
        }
        "driverClassName" => datasource.driver = Some(value),
        "validationQuery" => datasource.validation_query = Some(value),
        "dataSourceProps" | "databaseProps" => {
            for property in elements(node) {
                if let Some(name) = property.attribute("name") {
                    datasource.pool.other.insert(format!("{key}.{name}"), text(property));
                }
            }
        }
        _ => match datasource.pool.set(key, &value) {
            Ok(true) => {}
            Ok(false) => {
                note(file, node, parsed, &format!("of {} is not known: the pool does not read it", datasource.name))
            }
            Err(what) => {
                let what =
                    format!("the value of {} {what}: write the pool's default or leave the field out", datasource.name);
                return Err(file.error(node, key, what));
            }
        },
    }
    Ok(())
}
