//! A scalar expression over the columns of one input.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{self, Expr, ExprSchemable, Operator};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::functions::arithmetic::checked;
use super::named::Named;
use super::text::expr::{print, read, readable};
use crate::clock::MICROS_PER_DAY;
use crate::error::Result;

/// An expression whose columns are named as in its input's schema (unqualified) and whose types are all settled: no
/// coercion happens after planning.
///
/// Whether it fails on a row depends on that row alone (see [`super::total`]), and arithmetic fails instead of wrapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar(Expr);

impl Scalar {
    pub fn new(expr: Expr) -> Self {
        Scalar(expr)
    }

    /// The column of that name.
    pub fn column(name: &str) -> Self {
        Scalar(Expr::Column(Column::new_unqualified(name)))
    }

    /// Reads the text that `Display` writes.
    pub fn parse(text: &str) -> Result<Self> {
        read(text).map(Scalar)
    }

    pub fn expr(&self) -> &Expr {
        &self.0
    }

    /// The type of the value over rows of `input`.
    pub fn data_type(&self, input: &SchemaRef) -> Result<DataType> {
        let schema = DFSchema::try_from(Arc::clone(input))?;
        Ok(self.0.get_type(&schema)?)
    }

    /// The column that the expression is, if it is nothing else.
    pub fn as_column(&self) -> Option<&str> {
        match &self.0 {
            Expr::Column(column) => Some(&column.name),
            _ => None,
        }
    }

    /// The form that evaluates batches of `input`'s schema; its errors name the expression.
    pub fn compile(&self, input: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
        let compiled = self.physical(input)?;
        match self.0 {
            Expr::Column(_) | Expr::Literal(..) => Ok(compiled),
            _ => Ok(Named::wrap(compiled, readable(&self.0))),
        }
    }

    pub(super) fn physical(&self, input: &SchemaRef) -> datafusion::error::Result<Arc<dyn PhysicalExpr>> {
        let schema = DFSchema::try_from(Arc::clone(input))?;
        let exact = self.0.clone().transform_up(|expr| Ok(exact_interval(expr, &schema)))?.data;
        let planned =
            create_physical_expr(&exact, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
        Ok(planned.transform_up(|expr| checked(expr, input))?.data)
    }
}

/// `timestamp ± INTERVAL` without months is a sum of microseconds. Arrow's kernels for intervals go through the calendar for
/// every row, which takes ten times as long. (With a time zone, a day is not always 24 hours.)
fn exact_interval(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::BinaryExpr(logical_expr::BinaryExpr { left, op: op @ (Operator::Plus | Operator::Minus), right }) = &expr
    else {
        return Transformed::no(expr);
    };
    let Ok(DataType::Timestamp(TimeUnit::Microsecond, zone)) = left.get_type(schema) else {
        return Transformed::no(expr);
    };
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), metadata) = right.as_ref() else {
        return Transformed::no(expr);
    };
    let whole = interval.months == 0 && interval.nanoseconds % 1000 == 0 && (interval.days == 0 || zone.is_none());
    let days = i64::from(interval.days).checked_mul(MICROS_PER_DAY);
    match days.and_then(|days| days.checked_add(interval.nanoseconds / 1000)).filter(|_| whole) {
        Some(micros) => {
            let duration = Expr::Literal(ScalarValue::DurationMicrosecond(Some(micros)), metadata.clone());
            let sum = logical_expr::BinaryExpr::new(left.clone(), *op, Box::new(duration));
            Transformed::yes(Expr::BinaryExpr(sum))
        }
        None => Transformed::no(expr),
    }
}

/// The text that stored plans hold.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match print(&self.0) {
            Ok(text) => f.write_str(&text),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}
