//! Maintenance: what rebuilds, locks or measures tables and changes no definition.

use super::scan::{Draft, Scan};
use super::{Change, Kind, MaintenanceKind, ObjectKind};
use crate::Dialect;

impl Scan<'_> {
    pub(super) fn maintenance(mut self, head: &str) -> Option<Draft> {
        match head {
            "VACUUM" => self.vacuum(),
            "CLUSTER" => {
                self.parenthesis();
                self.take("VERBOSE");
                let all = self.done();
                self.named(MaintenanceKind::Cluster, ObjectKind::Table).map(|draft| draft.outside_transaction_if(all))
            }
            "REINDEX" => self.reindex(),
            "REFRESH" => self.refresh(),
            "OPTIMIZE" | "REPAIR" => {
                self.skip_any(&["NO_WRITE_TO_BINLOG", "LOCAL"]);
                (self.take("TABLE") || self.take("TABLES")).then_some(())?;
                self.named(MaintenanceKind::Optimize, ObjectKind::Table)
            }
            "LOCK" => self.lock(),
            "FLUSH" => {
                let locks = self
                    .rest()
                    .iter()
                    .any(|tok| super::scan::is_word(tok, "LOCK") || super::scan::is_word(tok, "EXPORT"));
                let kind = if locks { MaintenanceKind::LockTable } else { MaintenanceKind::Online };
                Some(Draft::of(Kind::Ddl).change(Change::Maintenance { kind, objects: Vec::new() }))
            }
            "UNLOCK" => Some(Draft::of(Kind::Transaction)),
            "REORG" => {
                let kind = if self.take("INDEX") { ObjectKind::Index } else { ObjectKind::Table };
                let _ = self.take("TABLE") || self.take("INDEXES");
                self.named(MaintenanceKind::Reorg, kind)
            }
            "ANALYZE" => {
                self.parenthesis();
                self.skip_any(&["VERBOSE", "NO_WRITE_TO_BINLOG", "LOCAL", "TABLE"]);
                self.named(MaintenanceKind::Online, ObjectKind::Table)
            }
            "CHECK" => {
                // MySQL: CHECK TABLE reads the table under a read lock
                self.take("TABLE").then_some(())?;
                self.named(MaintenanceKind::Online, ObjectKind::Table)
            }
            _ => Some(Draft::of(Kind::Setting)),
        }
    }

    fn vacuum(mut self) -> Option<Draft> {
        let mut full = self.dialect == Dialect::Sqlite;
        if let Some(options) = self.parenthesis() {
            full |=
                self.tokens.toks.get(options).unwrap_or_default().iter().any(|tok| super::scan::is_word(tok, "FULL"));
        }
        full |= self.take("FULL");
        self.skip_any(&["FREEZE", "VERBOSE", "ANALYZE"]);
        let kind = if full { MaintenanceKind::VacuumFull } else { MaintenanceKind::Online };
        self.named(kind, ObjectKind::Table).map(Draft::outside_transaction)
    }

    fn reindex(mut self) -> Option<Draft> {
        let mut concurrently = false;
        if let Some(options) = self.parenthesis() {
            concurrently = self
                .tokens
                .toks
                .get(options)
                .unwrap_or_default()
                .iter()
                .any(|tok| super::scan::is_word(tok, "CONCURRENTLY"));
        }
        let level = if self.dialect == Dialect::Sqlite { String::new() } else { self.keyword()? };
        concurrently |= self.take("CONCURRENTLY");
        let kind = match level.as_str() {
            "INDEX" => ObjectKind::Index,
            "SCHEMA" | "DATABASE" | "SYSTEM" => ObjectKind::Schema,
            _ => ObjectKind::Table,
        };
        let maintenance = if concurrently { MaintenanceKind::Online } else { MaintenanceKind::Reindex };
        let mut draft = self.named(maintenance, kind)?;
        if concurrently || kind == ObjectKind::Schema {
            draft = draft.outside_transaction();
        }
        draft.0.concurrent_index = concurrently;
        if concurrently && let Some(Change::Maintenance { objects, .. }) = draft.0.changes.first() {
            draft.0.objects = objects.clone();
        }
        Some(draft)
    }

    fn refresh(mut self) -> Option<Draft> {
        self.take_all(&["MATERIALIZED", "VIEW"]).then_some(())?;
        let concurrently = self.take("CONCURRENTLY");
        let view = self.name(ObjectKind::View)?;
        let kind = if concurrently { MaintenanceKind::Online } else { MaintenanceKind::Refresh };
        Some(Draft::ddl().writing(view.clone()).change(Change::Maintenance { kind, objects: vec![view] }))
    }

    fn lock(mut self) -> Option<Draft> {
        let _ = self.take("TABLE") || self.take("TABLES");
        let mut objects = Vec::new();
        loop {
            self.take("ONLY");
            objects.push(self.name(ObjectKind::Table)?);
            self.take_mark("*");
            // MySQL: an alias and a mode a table
            while !self.done() && !self.sees_mark(",") && !self.sees("IN") && !self.sees("NOWAIT") {
                self.at += 1;
            }
            if !self.take_mark(",") {
                break;
            }
        }
        let mut draft = Draft::of(Kind::Transaction);
        self.online(&mut draft);
        Some(draft.change(Change::Maintenance { kind: MaintenanceKind::LockTable, objects }))
    }

    /// The names that follow, to the end; what follows them is of no matter here.
    fn named(mut self, kind: MaintenanceKind, object: ObjectKind) -> Option<Draft> {
        let mut objects = Vec::new();
        while !self.done() {
            objects.push(self.name(object)?);
            self.parenthesis();
            if !self.take_mark(",") {
                break;
            }
        }
        Some(Draft::ddl().change(Change::Maintenance { kind, objects }))
    }
}
