//! A scalar expression over the columns of one input.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::DFSchema;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use crate::error::Result;

/// An expression whose columns are named as in its input's schema (unqualified) and whose types are all settled: no
/// coercion happens after planning.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar(Expr);

impl Scalar {
    pub fn new(expr: Expr) -> Self {
        Scalar(expr)
    }

    pub fn expr(&self) -> &Expr {
        &self.0
    }

    /// The form that evaluates batches of `input`'s schema.
    pub fn compile(&self, input: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>> {
        let schema = DFSchema::try_from(Arc::clone(input))?;
        Ok(create_physical_expr(&self.0, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?)
    }
}
