//! From a node of the stream plan to the operator that runs it in one shard.

use arrow::datatypes::SchemaRef;

use super::Operator;
use super::aggregate::Aggregate;
use super::early_firing::EarlyFiring;
use super::expand::Expand;
use super::filter::Filter;
use super::group::Calls;
use super::interval_join::IntervalJoin;
use super::join::join;
use super::late_rows::LateRows;
use super::normalize::Normalize;
use super::processing_time::ProcessingTime;
use super::project::Project;
use super::session_aggregate::{SessionAggregate, SessionWindows};
use super::slices::Slices;
use super::sliding_aggregate::SlidingAggregate;
use super::top_n::{Plan, top_n};
use super::union::Union;
use super::upsert::{Upsert, UpsertPlan};
use super::window::Window;
use super::window_aggregate::{WindowAggregate, Windows};
use super::window_top_n::WindowTopN;
use crate::change::key::KeyCodec;
use crate::error::{Error, Result};
use crate::plan::{Changelog, Node, Op, WindowKind};
use crate::state::{StateContext, TableId};

/// Columns of a window aggregate's output in front of its keys: window_start, window_end, window_time.
const WINDOW_COLUMNS: usize = 3;

/// The operator of `node`, given the schema and the changelog kind of each of its inputs, in one shard.
///
/// # Errors
/// If the node reads a source (that is no operator), or its plan names columns or types that are not there.
pub fn build(
    node: &Node,
    input_schemas: &[SchemaRef],
    input_changelogs: &[Changelog],
    state: &StateContext,
) -> Result<Box<dyn Operator>> {
    let (Some(input), Some(changelog)) = (input_schemas.first(), input_changelogs.first()) else {
        return Err(Error::internal("a node without inputs is no operator"));
    };
    let table = TableId { operator: node.id, table: 0 };
    Ok(match &node.op {
        Op::Filter { predicate } => Box::new(Filter::new(predicate.compile(input)?)),
        Op::Project { exprs } => {
            let exprs = exprs.iter().map(|e| e.compile(input)).collect::<Result<_>>()?;
            Box::new(Project::new(exprs, &node.schema))
        }
        Op::Window { window, time } => Box::new(Window::new(Slices::new(window)?, *time, &node.schema)),
        Op::LateRows { window, time, lateness } => Box::new(LateRows::new(Slices::new(window)?, *time, *lateness)),
        Op::Expand { columns, keys, sets } => Box::new(Expand::new(columns, keys, sets, &node.schema)),
        Op::EarlyFiring { every, time, keys } => {
            Box::new(EarlyFiring::new(table, *every, *time, keys, &node.schema, state)?)
        }
        Op::Aggregate { keys, aggregates, at_once } => {
            let calls = Calls::new(aggregates, input, *changelog, &node.schema, keys.len())?;
            let output = (&node.schema, node.changelog);
            Box::new(Aggregate::new(table, (keys, *at_once), &calls, input, output, state)?)
        }
        Op::WindowAggregate { window, time, keys, aggregates, emit, lateness, assigned } => {
            let calls = Calls::new(aggregates, input, *changelog, &node.schema, WINDOW_COLUMNS + keys.len())?;
            if let WindowKind::Session { gap } = window.kind {
                let windows = SessionWindows { gap, time: *time, emit: *emit };
                let input = (input, *changelog);
                let sessions = SessionAggregate::new(table, windows, keys, &calls, input, &node.schema, state)?;
                return Ok(Box::new(sessions));
            }
            let slices = Slices::new(window)?;
            let windows = Windows { slices, time: *time, emit: *emit, lateness: *lateness, assigned: *assigned };
            if windows.slide() {
                Box::new(SlidingAggregate::new(table, windows, keys, &calls, input, &node.schema, state)?)
            } else {
                Box::new(WindowAggregate::new(table, windows, keys, &calls, input, &node.schema, state)?)
            }
        }
        Op::Upsert { key, keeps, latest, with_before } => {
            let plan = UpsertPlan { key, keeps: *keeps, latest: *latest, with_before: *with_before };
            Box::new(Upsert::new(table, &plan, &node.schema, state)?)
        }
        Op::Normalize { key, place } => Box::new(Normalize::new(table, (key, *place), input, &node.schema, state)?),
        Op::Join { kind, on, condition, at_once } => {
            let ([left, right], [left_changes, right_changes]) = (input_schemas, input_changelogs) else {
                return Err(Error::internal("a join has two inputs"));
            };
            let inputs = [(left, *left_changes), (right, *right_changes)];
            join(table, (*kind, &on[..], condition.as_ref(), *at_once), inputs, (&node.schema, node.changelog), state)?
        }
        Op::Union => Box::new(Union::new(&node.schema)),
        Op::ProcessingTime => {
            let column = node.schema.fields().len().checked_sub(1);
            Box::new(ProcessingTime::new(&node.schema, node.event_time.map(|time| time.column) == column))
        }
        Op::TopN { partition, order, ranks, ranked, at_once } => {
            let (ranks, ranked, at_once) = (*ranks, *ranked, *at_once);
            let plan = Plan { partition, order, ranks, ranked, at_once, changelog: *changelog };
            top_n(table, &plan, input, &node.schema, state)?
        }
        Op::WindowTopN(plan) => Box::new(WindowTopN::new(table, plan, input, &node.schema, state)?),
        Op::Scan { .. } | Op::ViewScan { .. } => return Err(Error::internal("a scan is no operator")),
        Op::IntervalJoin(join) => Box::new(IntervalJoin::new(join, node, input_schemas, state)?),
    })
}

/// The codec of these columns of a schema.
pub(super) fn key_codec(keys: &[usize], schema: &SchemaRef) -> Result<KeyCodec> {
    let types = keys.iter().map(|at| schema.fields().get(*at).map(|f| f.data_type())).collect::<Option<Vec<_>>>();
    KeyCodec::new(types.ok_or_else(|| Error::internal("a plan names a key column that is not there"))?)
}
