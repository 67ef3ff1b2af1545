//! What the release 5.0.0 asks of the database: its amounts are called totals.
//!
//! Expand: the new column, kept in step with the old one by triggers, so that either release reads what the other writes.
//! Backfill: the rows that were there. Contract: the triggers and the old column.

use std::path::Path;

use super::Kind;
use crate::Fallible;

/// The table as the old release made it.
const BASE: &str = "CREATE TABLE orders (id BIGINT PRIMARY KEY, amount INTEGER);\n";

const POSTGRES: [&str; 2] = [
    "ALTER TABLE orders ADD COLUMN total INTEGER;
CREATE FUNCTION orders_in_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.total IS NULL THEN NEW.total := NEW.amount; END IF;
    IF NEW.amount IS NULL THEN NEW.amount := NEW.total; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER orders_in_step BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION orders_in_step();
",
    "DROP TRIGGER orders_in_step ON orders;
DROP FUNCTION orders_in_step();
ALTER TABLE orders DROP COLUMN amount;
",
];

const MARIADB: [&str; 2] = [
    "ALTER TABLE orders ADD COLUMN total INTEGER, ALGORITHM=INSTANT;
CREATE TRIGGER orders_in_step BEFORE INSERT ON orders FOR EACH ROW
    SET NEW.total = COALESCE(NEW.total, NEW.amount), NEW.amount = COALESCE(NEW.amount, NEW.total);
",
    "DROP TRIGGER orders_in_step;
ALTER TABLE orders DROP COLUMN amount, ALGORITHM=INSTANT;
",
];

const SQLITE: [&str; 2] = [
    "ALTER TABLE orders ADD COLUMN total INTEGER;
CREATE TRIGGER orders_total AFTER INSERT ON orders WHEN NEW.total IS NULL
    BEGIN UPDATE orders SET total = NEW.amount WHERE id = NEW.id; END;
CREATE TRIGGER orders_amount AFTER INSERT ON orders WHEN NEW.amount IS NULL
    BEGIN UPDATE orders SET amount = NEW.total WHERE id = NEW.id; END;
",
    "DROP TRIGGER orders_total;
DROP TRIGGER orders_amount;
ALTER TABLE orders DROP COLUMN amount;
",
];

const BACKFILL: &str = "-- ha:backfill table=orders key=id batch=1000
UPDATE orders SET total = amount WHERE id BETWEEN :from AND :to AND total IS NULL;
-- ha:verify
SELECT count(*) FROM orders WHERE total IS NULL;
";

/// Writes what the old release came with.
///
/// # Errors
/// What the file system says.
pub fn write_base(folder: &Path) -> Fallible<()> {
    std::fs::create_dir_all(folder)?;
    Ok(std::fs::write(folder.join("V1__orders.sql"), BASE)?)
}

/// Adds what the new release comes with. Marked `breaking`, what removes the old column is to be run before the old release is gone.
///
/// # Errors
/// What the file system says.
pub fn write_upgrade(folder: &Path, kind: Kind, breaking: bool) -> Fallible<()> {
    let [expand, contract] = of(kind);
    let last = if breaking { "expand" } else { "contract" };
    for (phase, name, text) in [
        ("expand", "V2__add_total.sql", expand),
        ("backfill", "V3__fill_total.sql", BACKFILL),
        (last, "V4__drop_amount.sql", contract),
    ] {
        std::fs::create_dir_all(folder.join(phase))?;
        std::fs::write(folder.join(phase).join(name), text)?;
    }
    Ok(())
}

fn of(kind: Kind) -> [&'static str; 2] {
    match kind {
        Kind::Sqlite => SQLITE,
        Kind::Postgres => POSTGRES,
        Kind::MariaDb => MARIADB,
    }
}
