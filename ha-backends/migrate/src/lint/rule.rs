//! The rules, each with an id that stays.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal,)+) => {
        /// A rule of availability.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Rule {
            /// All rules, in the order of their ids.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The id, such as `HA006`: it never changes.
            pub fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)+
                }
            }
        }
    };
}

rules! {
    /// HA001: a column that must be filled, without a default.
    RequiredColumn = "HA001",
    /// HA002: a default that is computed for each row writes the table anew.
    VolatileDefault = "HA002",
    /// HA003: the type of a column changes.
    TypeChange = "HA003",
    /// HA004: a column or table gets another name.
    Rename = "HA004",
    /// HA005: something that the old version uses is dropped.
    Drop = "HA005",
    /// HA006: an index is built while writers wait.
    OfflineIndex = "HA006",
    /// HA007: CONCURRENTLY inside a transaction, or with IF NOT EXISTS, which passes over an invalid index.
    ConcurrentIndex = "HA007",
    /// HA008: SET NOT NULL reads the table under a lock.
    SetNotNull = "HA008",
    /// HA009: a constraint is checked under a lock.
    Constraint = "HA009",
    /// HA010: a foreign key of a new table locks the table that it refers to.
    ForeignKeyOfNewTable = "HA010",
    /// HA011: an UPDATE or DELETE of unbounded rows.
    UnboundedRows = "HA011",
    /// HA012: data is lost.
    DataLoss = "HA012",
    /// HA013: BEGIN, COMMIT or ROLLBACK inside a script.
    TransactionControl = "HA013",
    /// HA014: what a statement does cannot be told from its text.
    Opaque = "HA014",
    /// HA015: one DROP of several objects, on a database that can stop in the middle of it.
    MultiDrop = "HA015",
    /// HA016: a storage engine without transactions.
    Engine = "HA016",
    /// HA017: statements that need a transaction and such that refuse one, in one script.
    Mixed = "HA017",
    /// HA018: strong locks on two tables or more in one transaction.
    ManyLocks = "HA018",
    /// HA019: LOCK TABLE, VACUUM FULL, CLUSTER and what else stops a table.
    Maintenance = "HA019",
    /// HA020: no ALGORITHM and LOCK clause.
    NoOnlineClause = "HA020",
    /// HA021: a setting that outlives its script.
    Setting = "HA021",
    /// HA022: a column is added while readers prepare `SELECT *`.
    SelectStar = "HA022",
    /// HA023: a SQLite table is rebuilt with foreign keys on.
    Rebuild = "HA023",
    /// HA024: a placeholder is not filled in.
    Placeholder = "HA024",
    /// HA025: a script for another product or version.
    WrongProduct = "HA025",
    /// HA026: a database without session locks.
    NoSessionLock = "HA026",
    /// HA027: an embedded database on a live node.
    Embedded = "HA027",
    /// HA028: nodes disagree about a URL or cache id.
    NodeMismatch = "HA028",
    /// HA029: a name that is too long for the database.
    LongName = "HA029",
    /// HA030: a trigger, or a value that is used before it is committed.
    UseBeforeCommit = "HA030",
}

impl Rule {
    /// Finds a rule by its id; case does not matter.
    pub fn by_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.id().eq_ignore_ascii_case(id))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}
