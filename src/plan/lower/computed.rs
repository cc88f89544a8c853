//! Expressions of a source's declaration: computed columns, and what they have in common with the WATERMARK clause. Both are
//! kept as text and planned anew wherever they are needed.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column as DfColumn, DFSchema, TableReference};
use datafusion::logical_expr::{Expr, ExprSchemable};

use super::build::{plain, sql_type_of};
use crate::catalog::ComputedColumn;
use crate::error::{Error, Result, SqlState};
use crate::plan::Scalar;
use crate::plan::errors::type_name;
use crate::plan::query::{plan_expr, typing};
use crate::sql::dialect::{Dialect, parser, tokenize};
use crate::types::{Column, SqlType, schema_of};

/// A computed column, planned.
pub struct PlannedColumn {
    /// Over the source's columns, by name, with the column's type.
    pub expr: Scalar,
    /// The declared columns that it reads.
    pub columns: BTreeSet<usize>,
}

/// An expression over the declared columns of the source `name`, by their names, and the columns that it reads.
pub(super) fn source_expr(name: &str, columns: &[Column], text: &str) -> Result<(Expr, BTreeSet<usize>)> {
    let unreadable = |e: &dyn std::fmt::Display| Error::new(SqlState::SyntaxError, e.to_string());
    let tokens = tokenize(text, Dialect::Postgres).map_err(|e| unreadable(&e))?;
    let parsed = parser(tokens).parse_expr().map_err(|e| unreadable(&e))?;
    let qualified = DFSchema::try_from_qualified_schema(TableReference::bare(name), &schema_of(columns))?;
    let expr = plan_expr(text, parsed, &qualified)?;
    let read = expr.column_refs().into_iter().filter_map(|c| qualified.maybe_index_of_column(c)).collect();
    let unqualify = |expr: Expr| match expr {
        Expr::Column(c) => Transformed::yes(Expr::Column(DfColumn::new_unqualified(c.name))),
        other => Transformed::no(other),
    };
    Ok((expr.transform_up(|e| Ok(unqualify(e)))?.data.unalias(), read))
}

/// Plans (and so checks) a computed column of the source `name`.
///
/// # Errors
/// 42P16 if it reads another computed column; 42804 if its value is of a type that the column's cannot hold; what
/// expressions are refused for.
pub fn plan_computed(
    name: &str,
    columns: &[Column],
    computed: &[ComputedColumn],
    wanted: &ComputedColumn,
) -> Result<PlannedColumn> {
    let (expr, read) = source_expr(name, columns, &wanted.expr)?;
    let Some(column) = columns.get(wanted.column) else {
        return Err(Error::internal("a computed column is not there"));
    };
    if let Some(other) = computed.iter().find(|other| read.contains(&other.column)) {
        let other = columns.get(other.column).map_or("", |c| &c.name);
        let message = format!("computed column \"{}\" cannot read \"{other}\", which is computed too", column.name);
        let hint = "Compute it from the columns that the source brings.";
        return Err(Error::new(SqlState::InvalidTableDefinition, message).with_hint(hint));
    }
    let from = expr.get_type(&DFSchema::try_from(schema_of(columns))?)?;
    let to = column.ty.to_arrow();
    if !assignable(&from, &to) {
        let message =
            format!("column \"{}\" is of type {} but its expression is {}", column.name, column.ty, type_name(&from));
        return Err(Error::new(SqlState::DatatypeMismatch, message).with_hint("Cast it, as in CAST(x AS text)."));
    }
    let expr = if from == to { expr } else { typing::cast(expr, to) };
    Ok(PlannedColumn { expr: plain(expr)?, columns: read })
}

fn assignable(from: &DataType, to: &DataType) -> bool {
    from == to
        || from.is_null()
        || from.is_numeric() && to.is_numeric()
        || from.is_string() && to.is_string()
        || matches!((from, to), (DataType::Timestamp(..), DataType::Timestamp(..)))
}

/// The type of an expression over columns of the source `name`.
pub fn type_of_computed(name: &str, columns: &[Column], text: &str) -> Result<SqlType> {
    let (expr, _) = source_expr(name, columns, text)?;
    sql_type_of(&expr, &DFSchema::try_from(schema_of(columns))?)
}
