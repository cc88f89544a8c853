//! Stream plans as text, one line a node:
//!
//! ```text
//! tidemill plan 1
//! #0 scan orders [1, 3] watermark 1/1000 as (ts - '0 months 0 days 5000000000 ns'::interval) -> (customer text, ts timestamp(3)) append_only time 1/1000
//! #1 aggregate keys [0] calls [count()] <- #0 by [0] -> (customer text, count bigint) changing key [0]
//! output #1 sink per_customer
//! end
//! ```
//!
//! `#n` is the operator's id; `time c/u` the event-time column and the microseconds of its unit.

use std::fmt::Write;

use super::expr::{name, print, string};
use super::types::print_type;
use crate::error::{Error, Result};
use crate::plan::Scalar;
use crate::plan::stream::{
    AggregateCall, Assigned, Changelog, Distribution, Emit, EventTime, Input, IntervalJoin, JoinKey, JoinKind, Keeps,
    Node, Op, Ranks, SortColumn, StreamPlan, Target, WindowKind, WindowSpec, WindowTopN,
};
use crate::types::SqlType;

/// The version this code writes. It reads this one and all before it.
pub const VERSION: u32 = 1;

impl StreamPlan {
    /// The stored text.
    ///
    /// # Errors
    /// If the plan holds an expression that has no text; plans that lowering made never do.
    pub fn to_text(&self) -> Result<String> {
        let mut out = format!("tidemill plan {VERSION}\n");
        for node in &self.nodes {
            let inputs = self.inputs_text(node)?;
            let _ = writeln!(
                out,
                "#{} {}{inputs} -> ({}) {}{}{}",
                node.id.0,
                op_text(&node.op)?,
                columns_text(node)?,
                match node.changelog {
                    Changelog::AppendOnly => "append_only",
                    Changelog::Changing => "changing",
                    Changelog::Upsert => "upsert",
                },
                node.event_time.map(|t| format!(" {}", time_text(t))).unwrap_or_default(),
                node.unique_key.as_ref().map(|k| format!(" key {k:?}")).unwrap_or_default(),
            );
        }
        for output in &self.outputs {
            let id = self.nodes.get(output.node).map(|n| n.id.0).ok_or_else(|| missing(output.node))?;
            let target = match &output.target {
                Target::Sink(sink) => format!("sink {}", name(sink)),
                Target::View => "view".into(),
            };
            let _ = writeln!(out, "output #{id} {target}");
        }
        out.push_str("end\n");
        Ok(out)
    }

    fn inputs_text(&self, node: &Node) -> Result<String> {
        let mut out = String::new();
        for (index, Input { node, distribution }) in node.inputs.iter().enumerate() {
            let id = self.nodes.get(*node).map(|n| n.id.0).ok_or_else(|| missing(*node))?;
            let _ = write!(out, "{} #{id}", if index == 0 { " <-" } else { "," });
            if let Distribution::Hash(columns) = distribution {
                let _ = write!(out, " by {columns:?}");
            }
        }
        Ok(out)
    }
}

fn missing(node: usize) -> Error {
    Error::internal(format!("a plan refers to node {node}, which it has not"))
}

fn columns_text(node: &Node) -> Result<String> {
    let columns: Result<Vec<String>> = node
        .schema
        .fields()
        .iter()
        .map(|field| {
            let ty = SqlType::from_field(field);
            if ty.field(field.name()) != **field {
                return Err(Error::internal(format!("column {} has the unsettled type {}", field.name(), field)));
            }
            Ok(format!("{} {}", name(field.name()), print_type(&ty)))
        })
        .collect();
    Ok(columns?.join(", "))
}

fn time_text(time: EventTime) -> String {
    format!("time {}/{}", time.column, time.unit)
}

fn window_text(window: &WindowSpec) -> String {
    let kind = match window.kind {
        WindowKind::Tumble { size, offset } => format!("tumble {size} offset {offset}"),
        WindowKind::Hop { size, slide, offset } => format!("hop {size} slide {slide} offset {offset}"),
        WindowKind::Cumulate { size, step, offset } => format!("cumulate {size} step {step} offset {offset}"),
        WindowKind::Session { gap } => format!("session {gap}"),
    };
    let zone = window.zone.map_or_else(String::new, |zone| format!(" zone {}", name(zone.name())));
    format!("{kind}{zone}")
}

fn assigned_text(assigned: Option<Assigned>) -> String {
    let Some(Assigned { end, start }) = assigned else { return String::new() };
    format!(" assigned {end}{}", start.map(|start| format!(" from {start}")).unwrap_or_default())
}

fn emit_text(emit: Emit, lateness: i64) -> String {
    let emit = match emit {
        Emit::OnClose => "on_close",
        Emit::OnUpdate => "on_update",
    };
    format!("emit {emit}{}", lateness_text(lateness))
}

fn lateness_text(lateness: i64) -> String {
    if lateness == 0 { String::new() } else { format!(" lateness {lateness}") }
}

fn op_text(op: &Op) -> Result<String> {
    Ok(match op {
        Op::Scan { source, columns, watermark } => {
            let watermark = match watermark {
                Some(w) => {
                    let EventTime { column, unit } = w.event_time;
                    format!(" watermark {column}/{unit} as {}", print(w.expr.expr())?)
                }
                None => String::new(),
            };
            format!("scan {} {columns:?}{watermark}", name(source))
        }
        Op::ViewScan { view, columns } => format!("view_scan {} {columns:?}", name(view)),
        Op::Filter { predicate } => format!("filter {}", print(predicate.expr())?),
        Op::Project { exprs } => {
            let exprs: Result<Vec<String>> = exprs.iter().map(|e: &Scalar| print(e.expr())).collect();
            format!("project [{}]", exprs?.join(", "))
        }
        Op::Window { window, time } => format!("window {} {}", window_text(window), time_text(*time)),
        Op::LateRows { window, time, lateness } => {
            format!("late_rows {} {}{}", window_text(window), time_text(*time), lateness_text(*lateness))
        }
        Op::Expand { columns, keys, sets } => format!("expand columns {columns:?} keys {keys:?} sets {sets:?}"),
        Op::EarlyFiring { every, time, keys } => {
            format!("early_firing every {every} {} keys {keys:?}", time_text(*time))
        }
        Op::Aggregate { keys, aggregates, at_once } => {
            format!("aggregate keys {keys:?} {}{}", calls_text(aggregates), at_once_text(*at_once))
        }
        Op::WindowAggregate { window, time, keys, aggregates, emit, lateness, assigned } => format!(
            "window_aggregate {} {} keys {keys:?} {} {}{}",
            window_text(window),
            time_text(*time),
            calls_text(aggregates),
            emit_text(*emit, *lateness),
            assigned_text(*assigned),
        ),
        Op::Normalize { key, place } => format!("normalize key {key:?} place {place}"),
        Op::Upsert { key, keeps, latest, with_before } => format!(
            "upsert key {key:?} keeps {}{}{}",
            match keeps {
                Keeps::Nothing => "nothing",
                Keeps::Shown => "shown",
                Keeps::All => "all",
            },
            latest.map(|column| format!(" latest {column}")).unwrap_or_default(),
            if *with_before { " with_before" } else { "" },
        ),
        Op::Join { kind, on, condition, at_once } => {
            format!("{}{}", join_text(*kind, on, condition.as_ref())?, at_once_text(*at_once))
        }
        Op::Union => "union".into(),
        Op::ProcessingTime => "processing_time".into(),
        Op::TopN { partition, order, ranks, ranked, at_once } => {
            let ranking = ranking_text(*ranks, partition, order, *ranked);
            format!("top_n {ranking}{}", at_once_text(*at_once))
        }
        Op::WindowTopN(top_n) => {
            let WindowTopN { window, time, assigned, partition, order, ranks, ranked, emit, lateness } = top_n;
            format!(
                "window_top_n {} {} {} {}{}",
                window_text(window),
                time_text(*time),
                ranking_text(*ranks, partition, order, *ranked),
                emit_text(*emit, *lateness),
                assigned_text(Some(*assigned)),
            )
        }
        Op::IntervalJoin(join) => interval_join_text(join)?,
    })
}

fn at_once_text(at_once: bool) -> &'static str {
    if at_once { " at_once" } else { "" }
}

fn join_text(kind: JoinKind, on: &[JoinKey], condition: Option<&Scalar>) -> Result<String> {
    let condition = match condition {
        Some(condition) => format!(" condition {}", print(condition.expr())?),
        None => String::new(),
    };
    Ok(format!("join {kind} {}{condition}", join_keys_text(on)))
}

fn ranking_text(ranks: Ranks, partition: &[usize], order: &[SortColumn], ranked: bool) -> String {
    let Ranks { function, first, last } = ranks;
    let order = order.iter().map(sort_text).collect::<Vec<_>>().join(", ");
    let ranked = if ranked { " ranked" } else { "" };
    format!("{} {first} to {last} partition {partition:?} order [{order}]{ranked}", function.name())
}

fn sort_text(sort: &SortColumn) -> String {
    let direction = if sort.direction.descending { "desc" } else { "asc" };
    let nulls = if sort.direction.nulls_first { "nulls_first" } else { "nulls_last" };
    format!("{} {direction} {nulls}", sort.column)
}

fn interval_join_text(join: &IntervalJoin) -> Result<String> {
    let IntervalJoin { kind, left_time, right_time, lower, upper, keys, residual } = join;
    let residual = match residual {
        Some(residual) => format!(" where {}", print(residual.expr())?),
        None => String::new(),
    };
    let (left_time, right_time) = (time_text(*left_time), time_text(*right_time));
    let keys = join_keys_text(keys);
    Ok(format!("interval_join {kind} {left_time} within {lower} to {upper} of {right_time} {keys}{residual}"))
}

fn join_keys_text(keys: &[JoinKey]) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|key| format!("{} {} {}", key.left, if key.null_safe { "is" } else { "=" }, key.right))
        .collect();
    format!("on [{}]", keys.join(", "))
}

fn calls_text(calls: &[AggregateCall]) -> String {
    let calls: Vec<String> = calls
        .iter()
        .map(|call| {
            let argument = call.argument.map(|a| a.to_string()).unwrap_or_default();
            let filter = call.filter.map(|f| format!(" filter {f}")).unwrap_or_default();
            let distinct = if call.distinct { "distinct " } else { "" };
            let separator = call.separator.as_ref().map(|s| format!(" separator {}", string(s))).unwrap_or_default();
            let order = match call.order.as_slice() {
                [] => String::new(),
                order => format!(" order [{}]", order.iter().map(sort_text).collect::<Vec<_>>().join(", ")),
            };
            format!("{}({distinct}{argument}{separator}{order}){filter}", call.function)
        })
        .collect();
    format!("calls [{}]", calls.join(", "))
}
