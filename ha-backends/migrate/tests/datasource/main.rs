//! Configurations of WSO2 servers, as they are written on real ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod deployment;
mod master;
mod nodes;
mod secrets;

use ha_migrate::datasource::{Datasources, Registry, deployment_toml, master_datasources, registry};

/// A `master-datasources.xml` with one datasource per body.
fn master_file(bodies: &[&str]) -> String {
    let datasources: Vec<_> = bodies.iter().map(|body| format!("    <datasource>{body}</datasource>\n")).collect();
    format!(
        "<datasources-configuration xmlns:svns=\"http://org.wso2.securevault/configuration\">\n  <providers>\n    \
         <provider>org.wso2.carbon.ndatasource.rdbms.RDBMSDataSourceReader</provider>\n  </providers>\n  <datasources>\n{}  \
         </datasources>\n</datasources-configuration>\n",
        datasources.concat()
    )
}

/// A datasource of a name, JNDI name and URL, as a body for [`master_file`].
fn body(name: &str, jndi: &str, url: &str) -> String {
    format!(
        "<name>{name}</name><jndiConfig><name>{jndi}</name></jndiConfig><definition type=\"RDBMS\"><configuration><url>{url}</url>\
         <username>wso2</username><password>hunter2</password></configuration></definition>"
    )
}

fn shared(url: &str) -> Datasources {
    let local = body("WSO2_CARBON_DB", "jdbc/WSO2CarbonDB", "jdbc:h2:./repository/database/WSO2CARBON_DB");
    master_datasources(
        "master-datasources.xml",
        &master_file(&[&body("WSO2_SHARED_DB", "jdbc/SHARED_DB", url), &local]),
    )
    .unwrap()
}

fn toml(text: &str) -> Result<Datasources, String> {
    let env = |name: &str| (name == "DB_HOST").then(|| "db7".to_owned());
    deployment_toml("deployment.toml", text, &env).map_err(|error| error.to_string())
}

/// A `registry.xml` whose config path is mounted from a database configuration.
fn mounted(read_only: bool, cache_id: Option<&str>, datasource: &str) -> Registry {
    let cache = cache_id.map(|id| format!("<cacheId>{id}</cacheId>")).unwrap_or_default();
    registry(
        "registry.xml",
        &format!(
            "<?xml version=\"1.0\"?>\n<wso2registry>\n  <currentDBConfig>wso2registry</currentDBConfig>\n  <dbConfig \
             name=\"wso2registry\"><dataSource>jdbc/WSO2CarbonDB</dataSource></dbConfig>\n  <dbConfig \
             name=\"shared\"><dataSource>{datasource}</dataSource></dbConfig>\n  <remoteInstance url=\"https://localhost:9443/registry\">\n    \
             <id>gov</id>{cache}<dbConfig>shared</dbConfig><readOnly>{read_only}</readOnly><enableCache>true</enableCache>\
             <registryRoot>/</registryRoot>\n  </remoteInstance>\n  <mount path=\"/_system/governance\" overwrite=\"true\">\
             <instanceId>gov</instanceId><targetPath>/_system/governance</targetPath></mount>\n</wso2registry>\n"
        ),
    )
    .unwrap()
}
