//! The SELECT list, computed over as many rows at once as its columns leave room for.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use crate::error::Result;
use crate::plan::errors::through;
use crate::plan::functions::bounded;

/// A projection that cuts batches which would become too large.
#[derive(Debug)]
struct Projecting {
    /// What DataFusion planned: its columns and properties are this one's.
    planned: Arc<dyn ExecutionPlan>,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
}

/// The node, cutting batches if it is a projection that computes anything.
pub fn cutting(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else { return plan };
    let exprs: Vec<_> = projection.expr().iter().map(|column| Arc::clone(&column.expr)).collect();
    match exprs.iter().all(|expr| expr.is::<Column>()) {
        true => plan,
        false => Arc::new(Projecting { planned: plan, exprs }),
    }
}

impl DisplayAs for Projecting {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        self.planned.fmt_as(format, f)
    }
}

impl ExecutionPlan for Projecting {
    fn name(&self) -> &str {
        self.planned.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.planned.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.planned.children()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        self.planned.apply_expressions(visit)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        Ok(cutting(Arc::clone(&self.planned).replace_children(children, options)?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let Some(input) = self.children().first().map(|input| input.execute(partition, context)) else {
            return Err(DataFusionError::Internal("a projection without an input".into()));
        };
        let schema = self.planned.schema();
        let cut = Cut { input: input?, waiting: Vec::new(), exprs: self.exprs.clone(), schema: Arc::clone(&schema) };
        let batches = futures::stream::unfold(cut, |mut cut| async move { cut.next().await.map(|b| (b, cut)) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

struct Cut {
    input: SendableRecordBatchStream,
    /// Parts of a batch, the last one next.
    waiting: Vec<RecordBatch>,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl Cut {
    async fn next(&mut self) -> Option<DfResult<RecordBatch>> {
        loop {
            let batch = match self.waiting.pop() {
                Some(part) => part,
                None => match self.input.next().await? {
                    Ok(batch) => batch,
                    Err(error) => return Some(Err(error)),
                },
            };
            match self.project(&batch) {
                Err(error) if batch.num_rows() > 1 && bounded::is_too_much(&error) => {
                    let half = batch.num_rows() / 2;
                    self.waiting.push(batch.slice(half, batch.num_rows() - half));
                    self.waiting.push(batch.slice(0, half));
                }
                projected => return Some(projected.map_err(through)),
            }
        }
    }

    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = bounded::evaluate(&self.exprs, batch)?;
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &rows)?)
    }
}
