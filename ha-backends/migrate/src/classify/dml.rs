//! What reads and writes rows: by the parser, which resolves aliases and conditions.

use sqlparser::ast;

use super::bounds::bounds;
use super::functions::HARMLESS;
use super::names::fold;
use super::scan::{Draft, Scan, is_word};
use super::tokens::Tok;
use super::{Change, Kind, ObjectKind, ObjectName};
use crate::Dialect;

impl Scan<'_> {
    pub(super) fn rows(mut self, head: &str, begin: usize) -> Option<Draft> {
        match head {
            "INSERT" | "REPLACE" if !self.sees("WITH") => self.insert(),
            "COPY" => self.copy(),
            _ => {
                let parsed = self.tokens.parse(self.dialect, begin)?;
                let mut rows = Rows { dialect: self.dialect, draft: Draft::of(Kind::Query), ctes: Vec::new() };
                rows.statement(&parsed)?;
                let reads = matches!(rows.draft.0.kind, Kind::Query);
                if reads { self.query(rows.draft) } else { Some(rows.draft) }
            }
        }
    }

    /// INSERT INTO t ...: of any length, so not parsed.
    fn insert(&mut self) -> Option<Draft> {
        if self.take("OR") {
            self.keyword()?;
        }
        self.skip_any(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "OVERWRITE"]);
        // Oracle: INSERT ALL INTO a ... INTO b ...
        if self.take("ALL") || self.take("FIRST") {
            let mut draft = Draft::of(Kind::Dml);
            while !self.done() {
                if self.take("INTO") {
                    draft = draft.writing(self.name(ObjectKind::Table)?);
                } else {
                    self.at += 1;
                }
            }
            return (!draft.0.writes.is_empty()).then_some(draft);
        }
        self.take("INTO");
        let table = self.name(ObjectKind::Table)?;
        self.unknown_call().is_none().then(|| Draft::of(Kind::Dml).writing(table))
    }

    /// COPY t FROM reads rows into a table, COPY t TO writes them out.
    fn copy(&mut self) -> Option<Draft> {
        if self.parenthesis().is_some() {
            return Some(Draft::of(Kind::Query));
        }
        let table = self.name(ObjectKind::Table)?;
        self.parenthesis();
        // a program that the server runs
        if self.rest().iter().any(|tok| is_word(tok, "PROGRAM")) {
            return None;
        }
        if self.take("FROM") {
            Some(Draft::of(Kind::Dml).writing(table))
        } else {
            self.take("TO").then(|| Draft::of(Kind::Query))
        }
    }

    /// A query calls what it likes: only with known functions does it read alone.
    fn query(self, mut draft: Draft) -> Option<Draft> {
        let called = self.calls();
        if called.iter().any(|name| name == "SETVAL" || name == "NEXTVAL") {
            draft.0.kind = Kind::Dml;
        } else if called.iter().any(|name| name == "SET_CONFIG") {
            draft.0.kind = Kind::Setting;
        }
        self.unknown_call().is_none().then_some(draft)
    }

    fn calls(&self) -> Vec<String> {
        let toks = self.rest();
        let mut calls = Vec::new();
        for (at, tok) in toks.iter().enumerate() {
            let Tok::Word(word, quoted) = tok else { continue };
            let called = matches!(toks.get(at + 1), Some(Tok::Mark(mark)) if mark == "(");
            let before = at.checked_sub(1).and_then(|at| toks.get(at));
            // a type of a cast, a column list of an alias or of INSERT INTO t (...)
            let listed = before.is_some_and(|tok| {
                matches!(tok, Tok::Mark(mark) if mark == "::")
                    || is_word(tok, "AS")
                    || is_word(tok, "INTO")
                    || is_word(tok, "WITH")
            });
            if called && !listed {
                calls.push(if *quoted { word.clone() } else { word.to_ascii_uppercase() });
            }
        }
        calls
    }

    /// A function that is called and not known to leave the database as it is.
    fn unknown_call(&self) -> Option<String> {
        self.calls().into_iter().find(|name| !HARMLESS.contains(&name.as_str()))
    }
}

/// Walks what the parser read.
struct Rows {
    dialect: Dialect,
    draft: Draft,
    ctes: Vec<String>,
}

impl Rows {
    fn write(&mut self, table: ObjectName) {
        self.draft.0.kind = Kind::Dml;
        if !self.draft.0.writes.contains(&table) {
            self.draft.0.writes.push(table);
        }
    }

    fn statement(&mut self, statement: &ast::Statement) -> Option<()> {
        use ast::Statement as S;
        match statement {
            S::Query(query) => self.query(query),
            S::Insert(insert) => {
                let ast::TableObject::TableName(name) = &insert.table else { return None };
                let table = self.name(name)?;
                self.write(table);
                insert.source.as_ref().map_or(Some(()), |query| self.query(query))
            }
            S::Update(update) => self.update(update),
            S::Delete(delete) => self.delete(delete),
            S::Merge(merge) => {
                let (table, _) = self.factor(&merge.table)?;
                self.write(table);
                Some(())
            }
            _ => None,
        }
    }

    fn query(&mut self, query: &ast::Query) -> Option<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.ctes.push(cte.alias.name.value.to_ascii_lowercase());
            self.query(&cte.query)?;
        }
        self.set(&query.body)
    }

    fn set(&mut self, body: &ast::SetExpr) -> Option<()> {
        use ast::SetExpr as E;
        match body {
            E::Select(select) => {
                // SELECT ... INTO t creates a table
                if let Some(into) = &select.into {
                    let table = self.select_into(&into.targets)?;
                    self.draft.0.kind = Kind::Ddl;
                    self.draft.0.objects.push(table.clone());
                    self.draft.0.writes.push(table.clone());
                    self.draft.0.changes.push(Change::CreateTable {
                        table,
                        if_not_exists: false,
                        temporary: into.temporary,
                        from_query: true,
                        or_replace: false,
                        engine: None,
                        references: Vec::new(),
                    });
                }
                Some(())
            }
            E::Query(query) => self.query(query),
            E::SetOperation { left, right, .. } => {
                self.set(left)?;
                self.set(right)
            }
            E::Values(_) | E::Table(_) => Some(()),
            E::Insert(statement) | E::Update(statement) | E::Delete(statement) | E::Merge(statement) => {
                self.statement(statement)
            }
        }
    }

    fn update(&mut self, update: &ast::Update) -> Option<()> {
        let mut tables = self.tables(std::slice::from_ref(&update.table));
        let target = tables.first().cloned()?;
        let mut from = Vec::new();
        if let Some(ast::UpdateTableFromKind::BeforeSet(more) | ast::UpdateTableFromKind::AfterSet(more)) = &update.from
        {
            from = self.tables(more);
        }
        let mut written = Vec::new();
        if tables.len() > 1 {
            // several tables: those whose alias is assigned, or all of them where a column has none
            for assignment in &update.assignments {
                let columns = match &assignment.target {
                    ast::AssignmentTarget::ColumnName(name) => std::slice::from_ref(name),
                    ast::AssignmentTarget::Tuple(names) => names.as_slice(),
                };
                for column in columns {
                    match self.prefix(column).and_then(|prefix| find(&tables, &prefix)) {
                        Some(table) => written.push(table),
                        None => written.extend(tables.iter().map(|(table, _)| table.clone())),
                    }
                }
            }
        } else {
            // SQL Server: UPDATE alias SET ... FROM table alias
            written.push(find(&from, &target.0.name).unwrap_or(target.0));
        }
        let bounded = update.limit.is_some() || update.selection.as_ref().is_some_and(bounds);
        for table in written {
            let change = Change::UnboundedUpdate { table: table.clone(), filtered: update.selection.is_some() };
            if !bounded && !self.draft.0.changes.contains(&change) {
                self.draft.0.changes.push(change);
            }
            self.write(table);
        }
        tables.clear();
        Some(())
    }

    fn delete(&mut self, delete: &ast::Delete) -> Option<()> {
        let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
        let mut sources = self.tables(from);
        let listed = delete.tables.len();
        if let Some(using) = &delete.using {
            let using = self.tables(using);
            // MySQL: DELETE FROM a USING a JOIN b
            for (table, _) in &mut sources {
                if let Some(real) = find(&using, &table.name) {
                    *table = real;
                }
            }
        }
        let mut written = Vec::new();
        for name in &delete.tables {
            let name = self.name(name)?;
            written.push(find(&sources, &name.name).unwrap_or(name));
        }
        if listed == 0 {
            // without a list the first table is the one
            let all = if delete.using.is_some() { sources } else { sources.into_iter().take(1).collect() };
            written.extend(all.into_iter().map(|(table, _)| table));
        }
        if written.is_empty() {
            return None;
        }
        let bounded = delete.limit.is_some() || delete.selection.as_ref().is_some_and(bounds);
        for table in written {
            self.draft.0.changes.push(if bounded {
                Change::Delete { table: table.clone() }
            } else {
                Change::UnboundedDelete { table: table.clone(), filtered: delete.selection.is_some() }
            });
            self.write(table);
        }
        Some(())
    }

    /// The tables of a FROM list with their aliases; sub-queries are none.
    fn tables(&self, from: &[ast::TableWithJoins]) -> Vec<(ObjectName, Option<String>)> {
        let mut tables = Vec::new();
        for one in from {
            tables.extend(self.factor(&one.relation));
            tables.extend(one.joins.iter().filter_map(|join| self.factor(&join.relation)));
        }
        tables
    }

    fn factor(&self, factor: &ast::TableFactor) -> Option<(ObjectName, Option<String>)> {
        let ast::TableFactor::Table { name, alias, .. } = factor else { return None };
        Some((self.name(name)?, alias.as_ref().map(|alias| alias.name.value.clone())))
    }

    fn name(&self, name: &ast::ObjectName) -> Option<ObjectName> {
        let mut parts = name.0.iter().rev().map(|part| match part {
            ast::ObjectNamePart::Identifier(ident) => {
                Some(fold(self.dialect, &ident.value, ident.quote_style.is_some()))
            }
            ast::ObjectNamePart::Function(_) => None,
        });
        let last = parts.next()??;
        Some(ObjectName { kind: ObjectKind::Table, name: last, schema: parts.next().flatten(), table: None })
    }

    /// The table of SELECT INTO; none for a variable or a file.
    fn select_into(&self, targets: &[ast::Expr]) -> Option<ObjectName> {
        if matches!(self.dialect, Dialect::MariaDb | Dialect::MySql | Dialect::Oracle) {
            return None;
        }
        let idents = match targets {
            [ast::Expr::Identifier(ident)] => std::slice::from_ref(ident),
            [ast::Expr::CompoundIdentifier(idents)] => idents.as_slice(),
            _ => return None,
        };
        let mut parts = idents.iter().rev().map(|ident| fold(self.dialect, &ident.value, ident.quote_style.is_some()));
        Some(ObjectName { kind: ObjectKind::Table, name: parts.next()?, schema: parts.next(), table: None })
    }

    /// The alias before an assigned column.
    fn prefix(&self, column: &ast::ObjectName) -> Option<String> {
        self.name(column)?.schema
    }
}

/// The table of an alias, or of its own name.
fn find(tables: &[(ObjectName, Option<String>)], name: &str) -> Option<ObjectName> {
    let by_alias =
        tables.iter().find(|(_, alias)| alias.as_ref().is_some_and(|alias| alias.eq_ignore_ascii_case(name)));
    let found = by_alias.or_else(|| tables.iter().find(|(table, _)| table.name.eq_ignore_ascii_case(name)));
    found.map(|(table, _)| table.clone())
}
