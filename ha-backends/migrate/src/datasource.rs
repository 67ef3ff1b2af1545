//! Datasources of WSO2 servers.
