//! A scalar expression over the columns of one input.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::functions::arithmetic::checked;
use super::text::expr::{print, read};
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

    /// The form that evaluates batches of `input`'s schema.
    pub fn compile(&self, input: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(self.physical(input)?)
    }

    pub(super) fn physical(&self, input: &SchemaRef) -> datafusion::error::Result<Arc<dyn PhysicalExpr>> {
        let schema = DFSchema::try_from(Arc::clone(input))?;
        let planned =
            create_physical_expr(&self.0, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
        Ok(planned.transform_up(|expr| checked(expr, input))?.data)
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
