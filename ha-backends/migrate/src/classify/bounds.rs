//! Whether a condition names its rows.

use sqlparser::ast;

/// Whether a condition names its rows: a column equal to a value, in a list, or between two values.
pub(super) fn bounds(condition: &ast::Expr) -> bool {
    use ast::BinaryOperator as Op;
    use ast::Expr as E;
    match condition {
        E::Nested(inner) => bounds(inner),
        E::BinaryOp { left, op: Op::And, right } => {
            bounds(left) || bounds(right) || (is_range(left) && is_range(right))
        }
        E::BinaryOp { left, op: Op::Or, right } => bounds(left) && bounds(right),
        E::BinaryOp { left, op: Op::Eq, right } => {
            (is_column(left) && is_value(right)) || (is_value(left) && is_column(right))
        }
        E::In { expr, target: ast::InTarget::List(list), negated: false, .. } => {
            is_column(expr) && list.iter().all(is_value)
        }
        E::Between { expr, negated: false, low, high } => is_column(expr) && is_value(low) && is_value(high),
        E::In { target: ast::InTarget::Subquery(subquery), negated: false, .. } => {
            subquery.limit_clause.is_some() || subquery.fetch.is_some()
        }
        _ => false,
    }
}

fn is_range(condition: &ast::Expr) -> bool {
    use ast::BinaryOperator as Op;
    matches!(condition, ast::Expr::BinaryOp { left, op: Op::Lt | Op::LtEq | Op::Gt | Op::GtEq, right }
        if is_column(left) && is_value(right) || is_value(left) && is_column(right))
}

fn is_column(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_))
}

fn is_value(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Value(_) | ast::Expr::TypedString(_) => true,
        ast::Expr::UnaryOp { expr, .. } | ast::Expr::Cast { expr, .. } | ast::Expr::Nested(expr) => is_value(expr),
        // a sub-query with one value
        ast::Expr::Subquery(_) => true,
        _ => false,
    }
}
