//! Scans, filters, projections and window functions.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, Extension, Filter, LogicalPlan, Projection, TableScan};

use super::build::{Facts, plain};
use super::computed::source_expr;
use super::top_n::{RankedRows, unbounded};
use super::{Lowering, Rows, Slot, Window, WindowColumn};
use crate::catalog::WatermarkClause;
use crate::connector::place_column;
use crate::error::{Error, Result, SqlState};
use crate::plan::errors::aggregate_in_where;
use crate::plan::functions::clock::{PROCTIME, PROCTIME_TYPE};
use crate::plan::query::late_rows::LateRowsNode;
use crate::plan::query::typing;
use crate::plan::query::window::{WINDOW_END, WINDOW_START, WINDOW_TIME, WindowNode};
use crate::plan::relations::{Relation, RelationKind, ViewOutput};
use crate::plan::stream::{Changelog, Distribution, EventTime, Op, ScanWatermark, WindowKind};
use crate::types::{Column, schema_of};

impl Lowering<'_> {
    pub(super) fn lower(&mut self, plan: &LogicalPlan) -> Result<Rows> {
        if let Some(ranked) = RankedRows::of(plan) {
            return self.ranked_rows(&ranked, true);
        }
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Limit(limit) => self.limit(limit),
            // Without a LIMIT an order says nothing: rows of a result have none.
            LogicalPlan::Sort(sort) => self.lower(&sort.input),
            LogicalPlan::Window(window) => Err(unbounded(window)),
            LogicalPlan::Extension(Extension { node }) => {
                let node = node.as_any();
                if let Some(window) = node.downcast_ref::<WindowNode>() {
                    self.window(window)
                } else if let Some(late) = node.downcast_ref::<LateRowsNode>() {
                    self.late_rows(late)
                } else {
                    Err(unsupported(plan))
                }
            }
            other => Err(unsupported(other)),
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Rows> {
        let name = scan.table_name.table();
        let relation = self.relations.relation(name)?;
        let projection: Vec<usize> = match &scan.projection {
            Some(projection) => projection.clone(),
            None => (0..relation.columns.len()).collect(),
        };
        let wanted = self.wanted.get(name).cloned().unwrap_or_default();
        let (node, columns) = match &relation.kind {
            RelationKind::Source { watermark, changelog: Changelog::Upsert, key } => {
                self.upsert_scan(&relation, watermark.as_ref(), key, wanted)?
            }
            RelationKind::Source { watermark, changelog, .. } => {
                self.source_scan(&relation, watermark.as_ref(), *changelog, wanted)?
            }
            RelationKind::View(output) => self.view_scan(&relation, output, wanted)?,
            _ => return Err(Error::internal(format!("\"{name}\" is nothing that can be scanned"))),
        };
        let place = |column: &usize| columns.iter().position(|c| c == column).map(Slot::Column);
        let slots: Option<Vec<Slot>> = projection.iter().map(place).collect();
        Ok(Rows { node, slots: slots.ok_or_else(lost_column)?, window: None })
    }

    /// The scan's node, and which columns of the source it gives.
    fn source_scan(
        &mut self,
        relation: &Relation,
        watermark: Option<&WatermarkClause>,
        changelog: Changelog,
        mut wanted: BTreeSet<usize>,
    ) -> Result<(usize, Vec<usize>)> {
        let planned = watermark.map(|clause| plan_watermark(&relation.name, &relation.columns, clause)).transpose()?;
        if let Some(watermark) = &planned {
            wanted.extend(&watermark.columns);
        }
        let mut columns = some_column(wanted);
        let mut fields = fields_of(relation, &columns)?;
        if changelog == Changelog::Upsert {
            columns.push(relation.columns.len());
            fields.push(place_column().field());
        }
        let watermark = match planned {
            Some(planned) => {
                let column = columns.iter().position(|c| *c == planned.time).ok_or_else(lost_column)?;
                let event_time = EventTime { column, unit: planned.unit };
                Some(ScanWatermark { event_time, expr: plain(planned.expr)? })
            }
            None => None,
        };
        let facts = Facts { fields, changelog, event_time: watermark.as_ref().map(|w| w.event_time), unique_key: None };
        let op = Op::Scan { source: relation.name.clone(), columns: columns.clone(), watermark };
        Ok((self.builder.add(op, Vec::new(), facts), columns))
    }

    /// The same of a source of upserts, whose messages replace each other by `key`.
    fn upsert_scan(
        &mut self,
        relation: &Relation,
        watermark: Option<&WatermarkClause>,
        key: &[usize],
        mut wanted: BTreeSet<usize>,
    ) -> Result<(usize, Vec<usize>)> {
        wanted.extend(key);
        let (scan, mut columns) = self.source_scan(relation, watermark, Changelog::Upsert, wanted)?;
        let key = key.iter().map(|column| columns.iter().position(|c| c == column));
        let key: Vec<usize> = key.collect::<Option<_>>().ok_or_else(lost_column)?;
        let place = columns.len().saturating_sub(1);
        columns.truncate(place);
        let facts = Facts {
            fields: fields_of(relation, &columns)?,
            changelog: Changelog::Changing,
            event_time: self.builder.node(scan).event_time,
            unique_key: Some(key.clone()),
        };
        let op = Op::Normalize { key: key.clone(), place };
        Ok((self.builder.add(op, vec![(scan, Distribution::Hash(key))], facts), columns))
    }

    /// The same of a materialized view: what is known of its rows stays known of the columns that are read.
    fn view_scan(
        &mut self,
        relation: &Relation,
        output: &ViewOutput,
        wanted: BTreeSet<usize>,
    ) -> Result<(usize, Vec<usize>)> {
        let columns = some_column(wanted);
        let place = |column: usize| columns.iter().position(|c| *c == column);
        let unique_key = output.unique_key.as_ref().and_then(|key| key.iter().map(|c| place(*c)).collect());
        let facts = Facts {
            fields: fields_of(relation, &columns)?,
            changelog: output.changelog,
            event_time: output.event_time.and_then(|time| Some(EventTime { column: place(time.column)?, ..time })),
            unique_key,
        };
        let op = Op::ViewScan { view: relation.name.clone(), columns: columns.clone() };
        Ok((self.builder.add(op, Vec::new(), facts), columns))
    }

    fn filter(&mut self, filter: &Filter) -> Result<Rows> {
        let rows = self.lower(&filter.input)?;
        if has_aggregate(&filter.predicate) {
            return Err(aggregate_in_where());
        }
        self.filtered(rows, &filter.predicate, filter.input.schema())
    }

    /// The rows for which `predicate` is true; `schema` is what it is over.
    pub(super) fn filtered(&mut self, mut rows: Rows, predicate: &Expr, schema: &DFSchema) -> Result<Rows> {
        if uses_virtual(predicate, schema, &rows) {
            rows = self.materialise(rows)?;
        }
        if splits_sessions(predicate, schema, &rows) {
            return Err(Error::unsupported(
                "WHERE behind a SESSION can only read what the SESSION is partitioned by",
                "Filter in front of it: WITH kept AS (SELECT ... WHERE ...) SELECT ... FROM session(TABLE kept ...); or \
                 aggregate some rows only: count(*) FILTER (WHERE ...).",
            ));
        }
        let predicate = self.resolve(predicate, schema, &rows)?;
        if matches!(&predicate, Expr::Literal(ScalarValue::Boolean(Some(true)), _)) {
            return Ok(rows);
        }
        let node = self.builder.filter(rows.node, predicate)?;
        Ok(Rows { node, ..rows })
    }

    /// A projection that computes nothing only moves slots. One that does carries along what the aggregate behind a
    /// window function will need.
    fn projection(&mut self, projection: &Projection) -> Result<Rows> {
        let rows = match RankedRows::of(&projection.input) {
            Some(ranked) => self.ranked_rows(&ranked, projection.expr.iter().any(|e| ranked.reads_rank(e)))?,
            None => self.lower(&projection.input)?,
        };
        self.projected(projection, rows)
    }

    /// [`Lowering::projection`] over the rows of its input.
    pub(super) fn projected(&mut self, projection: &Projection, mut rows: Rows) -> Result<Rows> {
        let schema = projection.input.schema();
        let exprs: Vec<Expr> = projection.expr.iter().map(|e| e.clone().unalias_nested().data).collect();
        if exprs.iter().any(|e| !matches!(e, Expr::Column(_)) && uses_virtual(e, schema, &rows)) {
            rows = self.materialise(rows)?;
        }
        let plain: Option<Vec<Slot>> = exprs.iter().map(|e| slot_of(e, schema, &rows)).collect();
        if let Some(slots) = plain {
            return Ok(Rows { slots, ..rows });
        }
        if exprs.iter().any(reads_clock) {
            rows = self.processing_time(rows, &exprs, schema)?;
        }
        let mut outputs: Vec<(Expr, Field)> = Vec::new();
        let mut slots = Vec::with_capacity(exprs.len());
        for (expr, field) in exprs.iter().zip(projection.schema.fields()) {
            if let Some(slot @ Slot::Virtual(_)) = slot_of(expr, schema, &rows) {
                slots.push(slot);
                continue;
            }
            let expr = self.resolve(expr, schema, &rows)?;
            let (expr, field) = self.builder.output(expr, field.name(), rows.node)?;
            slots.push(Slot::Column(push_once(&mut outputs, expr, field)));
        }
        let window = rows.window.clone().map(|window| self.carry(window, rows.node, &mut outputs));
        self.carry_window_time(rows.node, &mut outputs);
        let node = self.builder.project(rows.node, outputs)?;
        Ok(Rows { node, slots, window })
    }

    /// Appends the tick's time for a projection that computes `exprs`. It is the event time behind, unless the one that
    /// there was goes on.
    fn processing_time(&mut self, rows: Rows, exprs: &[Expr], schema: &DFSchema) -> Result<Rows> {
        let input = self.builder.node(rows.node);
        if input.changelog != Changelog::AppendOnly {
            let hint = "A row that is taken back would have another time than when it came: use PROCTIME() in front of \
                        what changes.";
            let error = Error::unsupported("PROCTIME() over a changing result is not supported", hint);
            return Err(error.with_detail(self.why_it_changes(rows.node)));
        }
        let column = input.schema.fields().len();
        let goes_on =
            |time: &EventTime| exprs.iter().any(|expr| slot_of(expr, schema, &rows) == Some(Slot::Column(time.column)));
        let event_time = input.event_time.filter(goes_on).unwrap_or(EventTime { column, unit: 1 });
        let mut fields: Vec<Field> = input.schema.fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(PROCTIME_TYPE.field(PROCTIME));
        let facts = Facts {
            fields,
            changelog: input.changelog,
            event_time: Some(event_time),
            unique_key: input.unique_key.clone(),
        };
        let node = self.builder.add(Op::ProcessingTime, vec![(rows.node, Distribution::Any)], facts);
        Ok(Rows { node, ..rows })
    }

    /// Makes a projection keep the columns that a window needs, and tells where they are in it.
    fn carry(&self, window: Window, node: usize, outputs: &mut Vec<(Expr, Field)>) -> Window {
        let mut keep = |column: usize| {
            let field = self.builder.schema(node).field(column).clone();
            push_once(outputs, self.builder.column(node, column), field)
        };
        let time = EventTime { column: keep(window.time.column), ..window.time };
        let partition = window.partition.iter().map(|column| keep(*column)).collect();
        Window { time, partition, columns: window.columns.map(|c| c.map(&mut keep)), ..window }
    }

    /// Makes a projection keep window_time where that is the event time: a join of windows goes on with it, though the
    /// query may name the borders alone.
    fn carry_window_time(&self, node: usize, outputs: &mut Vec<(Expr, Field)>) {
        let time = self.builder.node(node).event_time.map(|time| time.column);
        if let Some(column) = time.filter(|column| self.window_column_of(node, *column).is_some()) {
            let field = self.builder.schema(node).field(column).clone();
            push_once(outputs, self.builder.column(node, column), field);
        }
    }

    fn window(&mut self, node: &WindowNode) -> Result<Rows> {
        let (rows, time) = self.timed(&node.input, &node.time, node.position)?;
        let partition = node.partition.iter().map(|column| match slot_of(column, node.input.schema(), &rows) {
            Some(Slot::Column(column)) => Ok(column),
            _ => Err(lost_column()),
        });
        let partition = partition.collect::<Result<Vec<_>>>()?;
        let spec = self.zone.cut(node.window, self.builder.schema(rows.node).field(time.column).data_type());
        let window = Window { spec, partition, position: node.position, time, columns: [None; 3] };
        let mut slots = rows.slots;
        slots.extend(WindowColumn::ALL.map(Slot::Virtual));
        Ok(Rows { node: rows.node, slots, window: Some(window) })
    }

    /// Late rows have no event time: the watermark says nothing about them.
    fn late_rows(&mut self, node: &LateRowsNode) -> Result<Rows> {
        let (rows, time) = self.timed(&node.input, &node.time, node.position)?;
        let input = self.builder.node(rows.node);
        let facts = Facts {
            fields: input.schema.fields().iter().map(|f| f.as_ref().clone()).collect(),
            changelog: input.changelog,
            event_time: None,
            unique_key: input.unique_key.clone(),
        };
        let window = self.zone.cut(node.window, input.schema.field(time.column).data_type());
        let op = Op::LateRows { window, time, lateness: node.lateness };
        let late = self.builder.add(op, vec![(rows.node, Distribution::Any)], facts);
        Ok(Rows { node: late, slots: rows.slots, window: None })
    }

    /// The rows of a window function's table, and their event time, which must be the column that it names.
    fn timed(&mut self, input: &LogicalPlan, time: &Expr, position: Option<usize>) -> Result<(Rows, EventTime)> {
        if let Expr::Column(time) = time
            && let Some(column) = input.schema().maybe_index_of_column(time)
        {
            self.note_time(input, column);
        }
        let rows = self.lower(input)?;
        let rows = self.put_windows(rows)?;
        let here = |error: Error| position.map_or(error.clone(), |p| error.at(p));
        let Some(Slot::Column(column)) = slot_of(time, input.schema(), &rows) else {
            return Err(lost_column());
        };
        let input = self.builder.node(rows.node);
        let field = input.schema.field(column);
        if !matches!(field.data_type(), DataType::Timestamp(..)) {
            let message = format!("column \"{}\" is not a timestamp and cannot be the time of a window", field.name());
            return Err(here(Error::new(SqlState::DatatypeMismatch, message)));
        }
        let Some(time) = input.event_time.filter(|t| t.column == column) else {
            let hint = match input.event_time {
                Some(time) => format!("The event-time column here is {}.", input.schema.field(time.column).name()),
                None => format!(
                    "Declare it in CREATE SOURCE: WATERMARK FOR {0} AS {0} - INTERVAL '5' SECOND. Rows behind an \
                     expression or a GROUP BY without a window have no event time.",
                    field.name()
                ),
            };
            let message = format!("column \"{}\" is not an event-time column", field.name());
            return Err(here(Error::unsupported(message, hint)));
        };
        if input.changelog == Changelog::Changing {
            let hint = match self.first_change(rows.node) {
                Some(Op::Scan { .. }) => {
                    "Use GROUP BY with date_bin() over the column: its groups follow every change."
                }
                _ => {
                    "Put the window in front of the GROUP BY, or make windows of the inner query EMIT ON WINDOW CLOSE."
                }
            };
            let error = Error::unsupported("a window over a changing result is not supported yet", hint);
            return Err(here(error.with_detail(self.why_it_changes(rows.node))));
        }
        Ok((rows, time))
    }

    /// The rows as the window function in front gives them, if an aggregate does not do its work: with its columns, if
    /// any is read, and once for each window that holds them.
    pub(super) fn put_windows(&mut self, rows: Rows) -> Result<Rows> {
        let is_read = rows.slots.iter().any(|slot| matches!(slot, Slot::Virtual(_)));
        let repeats = |window: &Window| !window.spec.is_tumbling();
        let is_put = |window: &Window| window.columns.iter().any(Option::is_some);
        match &rows.window {
            Some(window) if is_read || repeats(window) && !is_put(window) => self.materialise(rows),
            _ => Ok(rows),
        }
    }

    /// Has an operator put the window's columns into the rows.
    pub(super) fn materialise(&mut self, rows: Rows) -> Result<Rows> {
        let Some(window) = rows.window else { return Ok(rows) };
        if let WindowKind::Session { .. } = window.spec.kind {
            let message = "SESSION is only supported under a GROUP BY of its window_start, window_end and PARTITION BY";
            let hint =
                "Which session a row is in is known when the session is: group in a sub-query, filter behind it.";
            let error = Error::unsupported(message, hint);
            return Err(window.position.map_or(error.clone(), |p| error.at(p)));
        }
        let input = self.builder.node(rows.node);
        let width = input.schema.fields().len();
        let mut fields: Vec<Field> = input.schema.fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.extend(window_fields(input.schema.field(window.time.column)));
        let mut unique_key = input.unique_key.clone();
        if !window.spec.is_tumbling() {
            // A row is there once for each of its windows.
            let named_by = WindowColumn::naming(&window.spec).iter().map(|column| width + column.index());
            unique_key.iter_mut().for_each(|key| key.extend(named_by.clone()));
        }
        let facts = Facts { fields, changelog: input.changelog, event_time: input.event_time, unique_key };
        let op = Op::Window { window: window.spec, time: window.time };
        let node = self.builder.add(op, vec![(rows.node, Distribution::Any)], facts);
        let slots = rows.slots.into_iter().map(|slot| match slot {
            Slot::Virtual(column) => Slot::Column(width + column.index()),
            slot => slot,
        });
        let columns = WindowColumn::ALL.map(|c| Some(width + c.index()));
        Ok(Rows { node, slots: slots.collect(), window: Some(Window { columns, ..window }) })
    }

    /// An expression over the logical plan's columns as one over the node's.
    pub(super) fn resolve(&self, expr: &Expr, schema: &DFSchema, rows: &Rows) -> Result<Expr> {
        let resolved = expr.clone().transform_up(|expr| {
            let input = self.builder.node(rows.node);
            if reads_clock_itself(&expr) && input.op == Op::ProcessingTime {
                let last = input.schema.fields().len().saturating_sub(1);
                return Ok(Transformed::yes(self.builder.column(rows.node, last)));
            }
            let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
            match rows.slots.get(schema.index_of_column(column)?) {
                Some(Slot::Column(index)) => Ok(Transformed::yes(self.builder.column(rows.node, *index))),
                _ => Err(crate::plan::errors::through(lost_column())),
            }
        })?;
        Ok(resolved.data.unalias())
    }
}

/// Also of count(*) alone, where rows must come from some column.
fn some_column(mut wanted: BTreeSet<usize>) -> Vec<usize> {
    if wanted.is_empty() {
        wanted.insert(0);
    }
    wanted.into_iter().collect()
}

fn fields_of(relation: &Relation, columns: &[usize]) -> Result<Vec<Field>> {
    let fields: Option<Vec<Field>> = columns.iter().map(|c| relation.columns.get(*c).map(Column::field)).collect();
    fields.ok_or_else(lost_column)
}

/// window_start, window_end and window_time, of the event time's type.
pub(super) fn window_fields(time: &Field) -> [Field; 3] {
    [WINDOW_START, WINDOW_END, WINDOW_TIME].map(|name| time.clone().with_name(name))
}

/// The slot of a plain column.
pub(super) fn slot_of(expr: &Expr, schema: &DFSchema, rows: &Rows) -> Option<Slot> {
    match expr {
        Expr::Column(column) => rows.slots.get(schema.maybe_index_of_column(column)?).copied(),
        Expr::Alias(alias) => slot_of(&alias.expr, schema, rows),
        _ => None,
    }
}

/// Whether an expression reads a window column that no operator has computed yet.
pub(super) fn uses_virtual(expr: &Expr, schema: &DFSchema, rows: &Rows) -> bool {
    expr.column_refs().into_iter().any(|column| {
        let slot = schema.maybe_index_of_column(column).and_then(|i| rows.slots.get(i));
        matches!(slot, Some(Slot::Virtual(_)))
    })
}

/// Whether a condition takes rows out of sessions, which are of all rows that the window function was given.
fn splits_sessions(predicate: &Expr, schema: &DFSchema, rows: &Rows) -> bool {
    let Some(window) = &rows.window else { return false };
    matches!(window.spec.kind, WindowKind::Session { .. })
        && predicate.column_refs().into_iter().any(|column| {
            let slot = schema.maybe_index_of_column(column).and_then(|i| rows.slots.get(i));
            !matches!(slot, Some(Slot::Column(at)) if window.partition.contains(at))
        })
}

/// Adds an output column unless it is there already; tells where it is.
pub(super) fn push_once(outputs: &mut Vec<(Expr, Field)>, expr: Expr, field: Field) -> usize {
    let equal =
        |(e, f): &(Expr, Field)| *e == expr && f.data_type() == field.data_type() && f.metadata() == field.metadata();
    match outputs.iter().position(equal) {
        Some(index) => index,
        None => {
            outputs.push((expr, field));
            outputs.len() - 1
        }
    }
}

fn reads_clock(expr: &Expr) -> bool {
    expr.exists(|e| Ok(reads_clock_itself(e))).unwrap_or(false)
}

fn reads_clock_itself(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(function) if function.name() == PROCTIME)
}

fn has_aggregate(expr: &Expr) -> bool {
    expr.exists(|e| Ok(matches!(e, Expr::AggregateFunction(_)))).unwrap_or(false)
}

fn lost_column() -> Error {
    Error::internal("a column was lost while the query was planned")
}

/// What the syntax tree did not tell.
fn unsupported(plan: &LogicalPlan) -> Error {
    let shown = plan.display().to_string();
    let shown = shown.split(':').next().unwrap_or_default().to_lowercase();
    Error::unsupported(
        format!("{shown} is not supported in a streaming query yet"),
        "Streaming queries can filter, compute, join, unite and group; windows are TUMBLE, HOP, CUMULATE and SESSION.",
    )
}

/// A WATERMARK clause, planned.
pub struct PlannedWatermark {
    /// Index of the event-time column.
    pub time: usize,
    /// Microseconds in one unit of its type.
    pub unit: i64,
    /// Over the source's columns, by name.
    pub expr: Expr,
    /// The columns that it reads, and the event-time column.
    pub columns: Vec<usize>,
}

/// Plans (and so checks) the WATERMARK clause of the source `name` with `columns`.
pub fn plan_watermark(name: &str, columns: &[Column], clause: &WatermarkClause) -> Result<PlannedWatermark> {
    let Some(column) = columns.get(clause.column) else { return Err(lost_column()) };
    let Some(unit) = column.ty.time_unit_micros() else {
        let message = format!("the event-time column \"{}\" must be a timestamp, not {}", column.name, column.ty);
        return Err(Error::new(SqlState::DatatypeMismatch, message));
    };
    let (expr, mut all) = source_expr(name, columns, &clause.expr)?;
    let unqualified = DFSchema::try_from(schema_of(columns))?;
    let ty = datafusion::logical_expr::ExprSchemable::get_type(&expr, &unqualified)?;
    let wanted = column.ty.to_arrow();
    if !matches!(ty, DataType::Timestamp(..)) {
        let ty = crate::plan::errors::type_name(&ty);
        let message = format!("the watermark of \"{}\" must be a timestamp, not {ty}", column.name);
        let hint = format!("For example: WATERMARK FOR {0} AS {0} - INTERVAL '5' SECOND.", column.name);
        return Err(Error::new(SqlState::DatatypeMismatch, message).with_hint(hint));
    }
    let expr = if ty == wanted { expr } else { typing::cast(expr, wanted) };
    plain(expr.clone())?;
    all.insert(clause.column);
    Ok(PlannedWatermark { time: clause.column, unit, expr, columns: all.into_iter().collect() })
}
