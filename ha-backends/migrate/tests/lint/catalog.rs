use std::collections::HashMap;

use async_trait::async_trait;
use ha_migrate::catalog::{
    MYSQL_COLUMNS, MYSQL_INDEXES, MYSQL_TABLES, POSTGRES_COLUMNS, POSTGRES_INDEXES, POSTGRES_TABLES, SQLITE_COLUMNS,
    SQLITE_INDEXES, SQLITE_TABLES,
};
use ha_migrate::{Cancel, DbError, DbErrorKind, Dialect, Done, Rows, Session, SessionId, read_catalog};

/// A session that answers what it is told to.
#[derive(Debug)]
struct Answers {
    id: SessionId,
    answers: HashMap<String, Rows>,
}

impl Answers {
    fn new(answers: &[(&str, &[&[&str]])]) -> Self {
        let rows = |rows: &[&[&str]]| {
            rows.iter().map(|row| row.iter().map(|value| Some((*value).to_owned())).collect()).collect()
        };
        let answers = answers.iter().map(|(sql, answer)| ((*sql).to_owned(), rows(answer))).collect();
        Self { id: SessionId { number: 1, began: String::new() }, answers }
    }
}

#[async_trait]
impl Session for Answers {
    fn id(&self) -> &SessionId {
        &self.id
    }

    fn canceller(&self) -> Box<dyn Cancel> {
        unreachable!("nothing is cancelled")
    }

    async fn execute(&mut self, _sql: &str) -> Result<Done, DbError> {
        unreachable!("the catalogue is only read")
    }

    async fn query(&mut self, sql: &str) -> Result<Rows, DbError> {
        self.answers.get(sql).cloned().ok_or_else(|| DbError {
            kind: DbErrorKind::Refused,
            code: String::new(),
            message: format!("not expected: {sql}"),
        })
    }

    async fn copy_in(&mut self, _sql: &str, _rows: &str) -> Result<Done, DbError> {
        unreachable!("the catalogue is only read")
    }
}

#[tokio::test]
async fn estimates_columns_and_indexes_are_read_from_postgresql() {
    let mut session = Answers::new(&[
        (POSTGRES_TABLES, &[&["t", "1000", "8192", ""]]),
        (POSTGRES_COLUMNS, &[&["t", "a", "integer", "0"], &["gone", "a", "integer", "0"]]),
        (POSTGRES_INDEXES, &[&["t", "i", "0"]]),
    ]);
    let catalog = read_catalog(&mut session, Dialect::Postgres).await.unwrap();
    let table = catalog.table("t").unwrap();
    assert_eq!((table.rows, table.bytes, table.engine.as_deref()), (Some(1000), 8192, None));
    assert_eq!(table.column("A").map(|column| (column.data_type.as_str(), column.nullable)), Some(("integer", false)));
    assert!(!table.indexes[0].valid);
    assert_eq!(catalog.tables.len(), 1);
}

#[tokio::test]
async fn engines_are_read_from_mariadb() {
    let mut session = Answers::new(&[
        (MYSQL_TABLES, &[&["T", "7", "16384", "InnoDB"]]),
        (MYSQL_COLUMNS, &[&["T", "a", "varchar(20)", "1"]]),
        (MYSQL_INDEXES, &[&["T", "PRIMARY", "1"]]),
    ]);
    let catalog = read_catalog(&mut session, Dialect::MariaDb).await.unwrap();
    assert_eq!(catalog.table("t").and_then(|table| table.engine.as_deref()), Some("InnoDB"));
}

#[tokio::test]
async fn rows_of_sqlite_are_counted_up_to_a_limit() {
    let mut session = Answers::new(&[
        (SQLITE_TABLES, &[&["a\"b"]]),
        ("SELECT count(*) FROM (SELECT 1 FROM \"a\"\"b\" LIMIT 1000000)", &[&["5"]]),
        (SQLITE_COLUMNS, &[]),
        (SQLITE_INDEXES, &[]),
    ]);
    let catalog = read_catalog(&mut session, Dialect::Sqlite).await.unwrap();
    assert_eq!(catalog.table("a\"b").and_then(|table| table.rows), Some(5));
}

#[tokio::test]
async fn an_answer_of_another_shape_is_an_error() {
    let mut session = Answers::new(&[(POSTGRES_TABLES, &[&["t", "many", "0", ""]])]);
    let error = read_catalog(&mut session, Dialect::Postgres).await.unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (DbErrorKind::Refused, "the catalogue answers \"many\" where a number is due")
    );
    let mut session = Answers::new(&[(POSTGRES_TABLES, &[&["t"]])]);
    assert!(read_catalog(&mut session, Dialect::Postgres).await.is_err());
    let error = read_catalog(&mut Answers::new(&[]), Dialect::Oracle).await.unwrap_err();
    assert!(error.message.contains("Oracle"), "{error}");
}
