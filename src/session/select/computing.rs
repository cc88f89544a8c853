//! A query's rows, computed on threads of their own as somebody takes them, and no longer than somebody waits for them.

use std::fmt::{self, Display, Formatter};
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, HashJoinExecBuilder, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use futures::{FutureExt, Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};

use super::projecting::cutting;
use crate::error::{Error, SqlState};
use crate::plan::errors::through;

/// Whether nobody waits for a query's rows any more.
#[derive(Debug, Clone, Default)]
pub struct Abandoned(Arc<AtomicBool>);

impl Abandoned {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> DfResult<()> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(through(Error::new(SqlState::QueryCanceled, "nobody waits for this query"))),
            false => Ok(()),
        }
    }
}

/// Rows of a query. Each batch is computed when it is asked for; dropped meanwhile, the computation is left to its thread,
/// which lets go of it where it next yields or looks.
pub struct Computing {
    schema: SchemaRef,
    threads: Handle,
    abandoned: Abandoned,
    state: State,
}

enum State {
    Idle(SendableRecordBatchStream),
    Running(JoinHandle<(Option<DfResult<RecordBatch>>, SendableRecordBatchStream)>),
    Over,
}

impl Computing {
    /// `abandoned` is what the query's plan looks at ([`interruptible`]).
    pub fn start(rows: SendableRecordBatchStream, threads: &Handle, abandoned: Abandoned) -> SendableRecordBatchStream {
        Box::pin(Computing { schema: rows.schema(), threads: threads.clone(), abandoned, state: State::Idle(rows) })
    }
}

impl Stream for Computing {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let State::Idle(_) = self.state
            && let State::Idle(mut rows) = std::mem::replace(&mut self.state, State::Over)
        {
            let next = async move { (rows.next().await, rows) };
            self.state = State::Running(self.threads.spawn(next));
        }
        let State::Running(running) = &mut self.state else { return Poll::Ready(None) };
        let computed = ready!(running.poll_unpin(context));
        self.state = State::Over;
        Poll::Ready(match computed {
            Ok((Some(Ok(batch)), rows)) => {
                self.state = State::Idle(rows);
                Some(Ok(batch))
            }
            Ok((end, _)) => end,
            Err(error) => Some(Err(through(broken(&error)))),
        })
    }
}

/// Why a thread did not come to the end of a batch.
fn broken(error: &JoinError) -> Error {
    match error.is_cancelled() {
        true => Error::new(SqlState::AdminShutdown, "the server is shutting down"),
        false => Error::internal("computing this query failed"),
    }
}

impl RecordBatchStream for Computing {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Drop for Computing {
    fn drop(&mut self) {
        self.abandoned.set();
        if let State::Running(running) = &self.state {
            running.abort();
        }
    }
}

/// A plan that lets go, and whose projections take no more memory than they may. DataFusion's operators yield to other tasks as they read their inputs. A join makes many rows of
/// few, and whoever counts them would go on for hours without once being seen to be canceled: so joins yield with what
/// they emit. And one whose condition no pair meets emits nothing: so the condition looks.
pub fn interruptible(plan: Arc<dyn ExecutionPlan>, abandoned: &Abandoned) -> DfResult<Arc<dyn ExecutionPlan>> {
    let yielding = plan.transform_up(|plan| {
        if plan.children().len() < 2 {
            return Ok(Transformed::yes(cutting(plan)));
        }
        let plan = looking(plan, abandoned)?;
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(yielding.data)
}

fn looking(plan: Arc<dyn ExecutionPlan>, abandoned: &Abandoned) -> DfResult<Arc<dyn ExecutionPlan>> {
    let filter = |filter: &JoinFilter| {
        let condition = Arc::new(Looking { inner: Arc::clone(filter.expression()), abandoned: abandoned.clone() });
        Some(JoinFilter::new(condition, filter.column_indices().to_vec(), Arc::clone(filter.schema())))
    };
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>()
        && let Some(condition) = join.filter()
    {
        return Ok(Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(filter(condition)).build()?));
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && let Some(condition) = join.filter()
    {
        return HashJoinExecBuilder::from(join).with_filter(filter(condition)).build_exec();
    }
    Ok(plan)
}

/// A condition that fails once nobody waits for its answer.
#[derive(Debug)]
struct Looking {
    inner: Arc<dyn PhysicalExpr>,
    abandoned: Abandoned,
}

impl PartialEq for Looking {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Looking {}

impl Hash for Looking {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Display for Looking {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Looking {
    fn data_type(&self, input: &Schema) -> DfResult<DataType> {
        self.inner.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> DfResult<bool> {
        self.inner.nullable(input)
    }

    fn return_field(&self, input: &Schema) -> DfResult<FieldRef> {
        self.inner.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        self.abandoned.check()?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> DfResult<Arc<dyn PhysicalExpr>> {
        let inner = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Looking { inner, abandoned: self.abandoned.clone() }))
    }

    fn fmt_sql(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
