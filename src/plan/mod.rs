//! From a typed statement to a stream plan.
//!
//! 1. [`relations`]: what planning asks of the catalog.
//! 2. [`query`]: DataFusion plans a query's text over it; types, casts and literals become PostgreSQL's, and what cannot
//!    stream is refused with its place.
//! 3. [`lower`]: the logical plan becomes operators, each with its key, changelog kind, event time and state.
//! 4. [`stream`]: the stream plan itself: what `dataflow/` runs; [`scalar`]: expressions in it, [`named`] when they fail; [`total`]: made so that
//!    failing does not depend on batching; [`value`]: values of a text.
//! 5. [`text`]: its stored form; [`mod@explain`] and [`state`]: what people are told about it; [`errors`]: in whose words;
//!    [`zone`]: what depends on who creates it.
//!
//! What does not live here: running anything. DataFusion gives parsing, planning, optimising and expressions; its
//! `ExecutionPlan` never runs a job.
//!
//! Invariants: a stream plan is settled: every type is one that [`crate::types`] names, no name is looked up again, and
//! nothing in it reads a clock. The same text over the same catalog gives the same plan. Planning recurses as deep as a
//! statement is long: whoever plans gives it a stack of [`STACK_BYTES`].

pub mod errors;
pub mod explain;
pub mod functions;
pub mod lower;
mod named;
pub mod query;
pub mod relations;
pub mod scalar;
pub mod state;
pub mod stream;
pub mod text;
pub mod total;
pub mod value;
pub mod zone;

#[cfg(test)]
mod tests;

pub use explain::{explain, explain_with};
pub use lower::{plan_computed, type_of_computed};
pub use relations::{Relation, RelationKind, Relations};
pub use scalar::Scalar;
pub use state::{StateBound, StateInfo, state_of};
pub use stream::{
    AggregateCall, AggregateFunction, Assigned, Changelog, Distribution, Emit, EventTime, Input, IntervalJoin, JoinKey,
    JoinKind, Keeps, Node, NodeIndex, Op, OperatorId, Output, RankFunction, Ranks, ScanWatermark, SortColumn,
    StreamPlan, Target, WindowKind, WindowSpec, WindowTopN, leaves_out, pair_schema,
};
pub use zone::{InZone, Zone};

use crate::catalog::WatermarkClause;
use crate::error::Result;
use crate::sql::ast::{EmitClause, InsertStatement, Name, Query};
use crate::types::Column;
use query::locate::locate;

/// Plans the INSERTs of a streaming job: one plan, in which each source is read once. `text` is the statement that the
/// places of the syntax tree refer to.
pub fn plan_job(relations: &dyn Relations, text: &str, inserts: &[InsertStatement]) -> Result<StreamPlan> {
    let plans = inserts.iter().map(|i| query::plan_query(relations, text, &i.query)).collect::<Result<Vec<_>>>()?;
    let mut lowering = lower::Lowering::new(relations, &plans)?;
    for (insert, plan) in inserts.iter().zip(&plans) {
        lowering.insert(text, insert, plan).map_err(|e| locate(e, &insert.query, text))?;
    }
    lowering.finish()
}

/// Plans the query of a materialized view. `names` is the view's column list, empty for the query's own names. Returns
/// the view's columns too.
pub fn plan_view(
    relations: &dyn Relations,
    text: &str,
    query: &Query,
    names: &[Name],
    emit: &EmitClause,
) -> Result<(StreamPlan, Vec<Column>)> {
    let plan = query::plan_query(relations, text, query)?;
    let mut lowering = lower::Lowering::new(relations, std::slice::from_ref(&plan))?;
    let columns = lowering.view(text, &plan, names, emit).map_err(|e| locate(e, query, text))?;
    Ok((lowering.finish()?, columns))
}

/// The stack that planning may need: enough for a chain of [`crate::sql::parse::MAX_TOKENS`] at about 6 KB a level.
pub const STACK_BYTES: usize = 128 << 20;

/// Checks the WATERMARK clause of a source about to be created.
pub fn check_watermark(source: &str, columns: &[Column], clause: &WatermarkClause) -> Result<()> {
    lower::plan_watermark(source, columns, clause).map(|_| ())
}
