//! JDBC URLs.
