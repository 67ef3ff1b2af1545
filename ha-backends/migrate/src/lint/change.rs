//! Each change of a statement to the rules that look at it.

use super::context::Context;
use crate::Change;

pub(super) fn check(context: &mut Context<'_>) {
    let class = context.class;
    for change in &class.changes {
        match change {
            Change::CreateTable { table, engine, references, temporary, from_query, .. } => {
                if !temporary {
                    context.create_table(table, engine.as_deref(), references, *from_query);
                }
            }
            Change::AddColumn { .. } => context.add_column(change),
            Change::DropColumn { table, column } => context.drop_column(table, column),
            Change::RenameColumn { table, from, to, data_type } => {
                context.rename_column(table, from, to, data_type.as_deref());
            }
            Change::RenameTable { from, to } => context.rename_table(from, to),
            Change::AlterType { table, column, data_type, not_null } => {
                context.alter_type(table, column, data_type, *not_null);
            }
            Change::SetNotNull { table, column } => context.set_not_null(table, column),
            Change::ColumnSetting { table, .. } => {
                context.sqlite_refuses(table, "ALTER COLUMN");
            }
            Change::AddConstraint { .. } => context.add_constraint(change),
            Change::ValidateConstraint { .. } => {}
            Change::DropConstraint { table, name } => context.drop_constraint(table, name),
            Change::CreateIndex { table, name, unique, concurrently, if_not_exists } => {
                context.create_index(table, name.as_deref(), *unique, *concurrently, *if_not_exists);
            }
            Change::Drop { kind, object, concurrently, if_exists } => {
                if !(*if_exists && context.is_absent(*kind, object)) {
                    context.drop_object(*kind, object, *concurrently);
                }
            }
            Change::Truncate { table } => context.truncate(table),
            Change::UnboundedUpdate { table, filtered } => context.unbounded(table, *filtered, false),
            Change::UnboundedDelete { table, filtered } => context.unbounded(table, *filtered, true),
            Change::Delete { .. } => {}
            Change::Maintenance { kind, objects } => context.maintenance(*kind, objects),
            Change::Rewrite { table, by } => context.rewrite(table, by),
            Change::CreateTrigger { table } => context.create_trigger(table.as_ref()),
            Change::Partition { table, concurrently, destroys } => context.partition(table, *concurrently, *destroys),
            Change::AddEnumValue { .. } => {}
            Change::Setting { name, local, global, value } => context.setting(name, *local, *global, value),
            Change::Unread { table, clause } => context.unread(table, clause),
        }
    }
    context.online_clause();
    context.writes_to_engines();
}
