//! Parameters `$1`, `$2`, ...: how many there are, and of which types.
//!
//! As in PostgreSQL a parameter's type is what the client says, else what it is cast to, else the type of what it stands
//! beside in an operator, else text.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::DFSchema;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr as DfExpr, ExprSchemable};
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, LimitClause, Value, Visit, VisitMut, Visitor, VisitorMut};
use parking_lot::Mutex;

use super::no_parameter;
use super::planning::logical_plan;
use super::tables::Tables;
use crate::error::{Error, Result, SqlState};
use crate::plan::query::types::sql_type;
use crate::sql::ast::Query;
use crate::types::SqlType;

/// PostgreSQL's limit: the protocol counts parameters in 16 bits.
const MAX_PARAMETERS: usize = 65_535;

/// The highest parameter that the query names.
///
/// # Errors
/// 42P02 for $0 and what is no number.
pub fn count(query: &Query) -> Result<usize> {
    struct Highest(usize);
    impl Visitor for Highest {
        type Break = Error;
        fn pre_visit_value(&mut self, value: &datafusion::sql::sqlparser::ast::ValueWithSpan) -> ControlFlow<Error> {
            if let Value::Placeholder(name) = &value.value {
                match number(name) {
                    Some(n) => self.0 = self.0.max(n),
                    None => return ControlFlow::Break(unknown(name)),
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut highest = Highest(0);
    match query.visit(&mut highest) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(highest.0),
    }
}

fn unknown(name: &str) -> Error {
    match name.strip_prefix('$').and_then(|digits| digits.parse().ok()) {
        Some(n) => no_parameter(n),
        None => Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{name}\""))
            .with_hint("Parameters are written $1, $2, ...."),
    }
}

fn number(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse().ok().filter(|n| (1..=MAX_PARAMETERS).contains(n))
}

/// The types of all parameters; `given` are those that the client names.
pub fn infer(tables: &Tables, text: &str, query: &Query, given: &[Option<SqlType>]) -> Result<Vec<SqlType>> {
    let count = count(query)?.max(given.len());
    let mut types: Vec<Option<SqlType>> = given.to_vec();
    types.resize(count, None);
    if types.contains(&None) {
        let mut query = query.clone();
        let mut arrays = Vec::new();
        let _ = VisitMut::visit(&mut query, &mut Contexts { types: &mut types, arrays: &mut arrays });
        let inference = Arc::new(Inference { types: Mutex::new(vec![None; count]) });
        // Null stands for "not known yet". Whatever fails here fails again, and is told, once the types are known.
        let fields = types.iter().map(|ty| {
            let ty = ty.as_ref().map_or(DataType::Null, SqlType::to_arrow);
            Some(Arc::new(Field::new("parameter", ty, true)) as FieldRef)
        });
        if let Err(error) = logical_plan(tables, &query, fields.collect(), Some(Arc::clone(&inference))) {
            tracing::debug!("types of parameters in \"{text}\": {}", error.strip_backtrace());
        }
        let found = inference.types.lock();
        for (index, (ty, found)) in types.iter_mut().zip(found.iter()).enumerate() {
            let found = || match arrays.contains(&index) {
                true => Some(SqlType::Array(Box::new(found.clone()?))),
                false => found.clone(),
            };
            *ty = ty.take().or_else(found);
        }
    }
    Ok(types.into_iter().map(|ty| ty.unwrap_or(SqlType::Text)).collect())
}

/// What the syntax alone tells; and it spells BETWEEN, IN and ANY as comparisons, which [`Inference`] understands.
struct Contexts<'a> {
    types: &'a mut Vec<Option<SqlType>>,
    /// Parameters that are arrays of what they are compared with.
    arrays: &'a mut Vec<usize>,
}

impl Contexts<'_> {
    fn note(&mut self, expr: &Expr, ty: SqlType) {
        if let Some(slot) = parameter(expr).and_then(|n| self.types.get_mut(n)) {
            slot.get_or_insert(ty);
        }
    }
}

/// The index of the parameter that the expression is.
fn parameter(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => number(name).map(|n| n - 1),
            _ => None,
        },
        Expr::Nested(inner) => parameter(inner),
        _ => None,
    }
}

impl VisitorMut for Contexts<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            limit.iter().for_each(|limit| self.note(limit, SqlType::BigInt));
            offset.iter().for_each(|offset| self.note(&offset.value, SqlType::BigInt));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { expr: inner, data_type, .. } => {
                if let Ok(ty) = sql_type(data_type) {
                    self.note(inner, ty);
                }
            }
            Expr::Like { expr: inner, pattern, .. } | Expr::ILike { expr: inner, pattern, .. } => {
                self.note(inner, SqlType::Text);
                self.note(pattern, SqlType::Text);
            }
            Expr::Between { expr: inner, low, high, .. } => {
                let low = compare(inner, BinaryOperator::GtEq, low);
                *expr = both(low, compare(inner, BinaryOperator::LtEq, high));
            }
            Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => {
                if let Some(index) = parameter(right) {
                    self.arrays.push(index);
                    *expr = compare(left, BinaryOperator::Eq, right);
                }
            }
            Expr::InList { expr: inner, list, .. } => {
                let equal = list.iter().map(|item| compare(inner, BinaryOperator::Eq, item));
                if let Some(all) = equal.reduce(both) {
                    *expr = all;
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn compare(left: &Expr, op: BinaryOperator, right: &Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left.clone()), op, right: Box::new(right.clone()) }
}

fn both(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

/// Sees the operators of a query as they are planned, and notes what stands beside a parameter of unknown type.
#[derive(Debug)]
pub struct Inference {
    types: Mutex<Vec<Option<SqlType>>>,
}

impl ExprPlanner for Inference {
    fn plan_binary_op(&self, mut raw: RawBinaryExpr, schema: &DFSchema) -> DfResult<PlannerResult<RawBinaryExpr>> {
        if let Some(ty) = beside(&raw.left, &raw.right, &raw.op, schema) {
            self.note(&mut raw.left, ty);
        }
        if let Some(ty) = beside(&raw.right, &raw.left, &raw.op, schema) {
            self.note(&mut raw.right, ty);
        }
        Ok(PlannerResult::Original(raw))
    }
}

impl Inference {
    fn note(&self, expr: &mut DfExpr, ty: DataType) {
        let DfExpr::Placeholder(Placeholder { id, field }) = expr else { return };
        let mut types = self.types.lock();
        let Some(slot) = number(id).and_then(|n| types.get_mut(n - 1)) else { return };
        let ty = slot.get_or_insert_with(|| SqlType::from_arrow(&ty)).to_arrow();
        *field = Some(Arc::new(Field::new("parameter", ty, true)));
    }
}

/// The type that a parameter of unknown type takes beside `other`.
fn beside(parameter: &DfExpr, other: &DfExpr, op: &BinaryOperator, schema: &DFSchema) -> Option<DataType> {
    let DfExpr::Placeholder(Placeholder { field, .. }) = parameter else { return None };
    if field.as_ref().is_some_and(|field| !field.data_type().is_null()) {
        return None;
    }
    if matches!(op, BinaryOperator::And | BinaryOperator::Or) {
        return Some(DataType::Boolean);
    }
    let ty = other.get_type(schema).ok().filter(|ty| !ty.is_null())?;
    match (op, &ty) {
        // As in PostgreSQL: what is added to a timestamp is an interval.
        (BinaryOperator::Plus | BinaryOperator::Minus, DataType::Timestamp(..)) => Some(SqlType::Interval.to_arrow()),
        // An integer literal says little: whole numbers are what drivers send as bigint.
        _ => Some(ty),
    }
}
