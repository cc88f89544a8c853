//! GROUP BY, with and without windows.
//!
//! Arguments, filters and computed keys become columns of a projection in front; the operator's output is keys and
//! results, and whatever the query computes from them stands in a projection behind.

use std::collections::BTreeSet;

use arrow::datatypes::Field;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::AggregateFunction as AggregateExpr;
use datafusion::logical_expr::{Aggregate, Expr};

use super::build::Facts;
use super::grouping_sets::{Grouping, grouping_call};
use super::relational::{push_once, slot_of, uses_virtual, window_fields};
use super::{Lowering, Rows, Slot, Window, WindowColumn, identify};
use crate::error::{Error, Result};
use crate::plan::errors::visible;
use crate::plan::stream::{AggregateCall, Changelog, Distribution, Emit, EventTime, NodeIndex, Op, WindowKind};

/// One group key of the query.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key {
    Window(WindowColumn),
    /// Index among the operator's keys.
    Plain(usize),
}

/// What the operator reads.
#[derive(Clone)]
pub(super) struct Inputs {
    pub node: NodeIndex,
    pub keys: Vec<usize>,
    pub calls: Vec<AggregateCall>,
    /// The results' fields.
    pub results: Vec<Field>,
    /// For each aggregate of the query the call that computes it: equal ones are computed once.
    pub places: Vec<usize>,
    /// If rows are grouped by window.
    pub window: Option<Window>,
}

impl Lowering<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Rows> {
        let mut rows = self.lower(&aggregate.input)?;
        let schema = aggregate.input.schema();
        let grouping = Grouping::of(aggregate)?;
        let calls = aggregate.aggr_expr.iter().filter(|call| grouping_call(call).is_none());
        let calls: Vec<&AggregateExpr> = calls.map(aggregate_of).collect::<Result<_>>()?;
        let inner = calls.iter().flat_map(|c| {
            let order = c.params.order_by.iter().map(|sort| &sort.expr);
            c.params.args.iter().chain(c.params.filter.as_deref()).chain(order)
        });
        let computed = grouping.keys.iter().copied().filter(|e| slot_of(e, schema, &rows).is_none());
        if inner.chain(computed).any(|e| uses_virtual(e, schema, &rows)) {
            rows = self.materialise(rows)?;
        }
        let by_window = grouping.is_by_window(|e| window_column(slot_of(e, schema, &rows), &rows));
        if by_window && let Some(window) = &rows.window {
            self.check_session(window, &grouping, schema, &rows)?;
        } else {
            rows = self.put_windows(rows)?;
        }
        let (keys, inputs) = self.inputs(&grouping, by_window, &calls, (schema, &rows))?;
        let groups = match &grouping.sets {
            None => self.group(&keys, inputs)?,
            Some(sets) => self.group_by_sets(keys.clone(), inputs, sets)?,
        };
        self.grouping_calls(aggregate, &grouping, &keys, groups)
    }

    /// One group for each value of the keys.
    pub(super) fn group(&mut self, keys: &[Key], inputs: Inputs) -> Result<Rows> {
        match &inputs.window {
            Some(window) => {
                check_keys(keys, window)?;
                self.window_aggregate(keys, inputs)
            }
            None => self.plain_aggregate(keys, inputs),
        }
    }

    /// Puts keys, arguments and filters into columns: those of the rows themselves if nothing is computed, else those of
    /// a projection.
    fn inputs(
        &mut self,
        grouping: &Grouping<'_>,
        by_window: bool,
        calls: &[&AggregateExpr],
        (schema, rows): (&DFSchema, &Rows),
    ) -> Result<(Vec<Key>, Inputs)> {
        let mut outputs: Vec<(Expr, Field)> = Vec::new();
        let mut keys = Vec::new();
        let mut key_columns = Vec::new();
        for expr in &grouping.keys {
            if by_window && let Some(column) = window_column(slot_of(expr, schema, rows), rows) {
                keys.push(Key::Window(column));
                continue;
            }
            let column = self.input(expr, key_name(expr), schema, rows, &mut outputs)?;
            let known = key_columns.iter().position(|k| *k == column);
            keys.push(Key::Plain(known.unwrap_or_else(|| {
                key_columns.push(column);
                key_columns.len() - 1
            })));
        }
        let mut inputs = Inputs {
            node: rows.node,
            keys: key_columns,
            calls: Vec::new(),
            results: Vec::new(),
            places: Vec::new(),
            window: rows.window.clone().filter(|_| by_window),
        };
        for call in calls {
            let (call, field) = self.call(call, schema, rows, &mut outputs)?;
            let known = inputs.calls.iter().position(|c| *c == call);
            inputs.places.push(known.unwrap_or(inputs.calls.len()));
            if known.is_none() {
                inputs.calls.push(call);
                inputs.results.push(field);
            }
        }
        self.place_inputs(&mut inputs, outputs)?;
        Ok((keys, inputs))
    }

    /// Decides where the columns of `outputs`, to which `inputs` refers by index, come from.
    fn place_inputs(&mut self, inputs: &mut Inputs, mut outputs: Vec<(Expr, Field)>) -> Result<()> {
        let schema = self.builder.schema(inputs.node);
        let direct: Option<Vec<usize>> = outputs
            .iter()
            .map(|(expr, _)| match expr {
                Expr::Column(column) => schema.index_of(&column.name).ok(),
                _ => None,
            })
            .collect();
        if let Some(places) = direct {
            let place = |column: &mut usize| *column = places.get(*column).copied().unwrap_or_default();
            inputs.keys.iter_mut().for_each(place);
            inputs.calls.iter_mut().flat_map(AggregateCall::columns_mut).for_each(place);
            return Ok(());
        }
        if let Some(window) = &mut inputs.window {
            let field = self.builder.schema(inputs.node).field(window.time.column).clone();
            let time = self.builder.column(inputs.node, window.time.column);
            window.time = EventTime { column: push_once(&mut outputs, time, field), ..window.time };
            let [start, end, _] = &mut window.columns;
            let start = start.iter_mut().filter(|_| window.spec.shares_borders());
            for column in start.chain(end) {
                let field = self.builder.schema(inputs.node).field(*column).clone();
                *column = push_once(&mut outputs, self.builder.column(inputs.node, *column), field);
            }
        }
        inputs.node = self.builder.project(inputs.node, outputs)?;
        Ok(())
    }

    /// The index in `outputs` of an expression that the operator reads.
    pub(super) fn input(
        &self,
        expr: &Expr,
        name: &str,
        schema: &DFSchema,
        rows: &Rows,
        outputs: &mut Vec<(Expr, Field)>,
    ) -> Result<usize> {
        let expr = self.resolve(expr, schema, rows)?;
        let name = match &expr {
            Expr::Column(column) => column.name.clone(),
            _ => name.to_string(),
        };
        let (expr, field) = self.builder.output(expr, visible(&name), rows.node)?;
        Ok(push_once(outputs, expr, field))
    }

    /// Sessions are those of their PARTITION BY: groups must be the same.
    fn check_session(&self, window: &Window, grouping: &Grouping<'_>, schema: &DFSchema, rows: &Rows) -> Result<()> {
        let WindowKind::Session { .. } = window.spec.kind else { return Ok(()) };
        let here = |error: Error| window.position.map_or(error.clone(), |p| error.at(p));
        if self.every.is_some() {
            let hint = "A session that grows is another one. Use EMIT ON UPDATE, or EMIT ON WINDOW CLOSE.";
            return Err(here(Error::unsupported("EMIT EVERY over a SESSION is not supported", hint)));
        }
        if self.lateness > 0 {
            let hint = "A late row may join sessions that were closed. Delay the source's WATERMARK instead.";
            return Err(here(Error::unsupported("ALLOWED LATENESS of a SESSION is not supported", hint)));
        }
        let slots = grouping.keys.iter().map(|expr| slot_of(expr, schema, rows));
        let keys = slots.filter(|slot| window_column(*slot, rows).is_none());
        let keys: Option<BTreeSet<usize>> =
            keys.map(|s| if let Some(Slot::Column(c)) = s { Some(c) } else { None }).collect();
        if keys == Some(window.partition.iter().copied().collect()) && grouping.keeps_all_keys() {
            return Ok(());
        }
        let message = "GROUP BY over SESSION must name exactly the columns of its PARTITION BY, besides the window";
        let hint = "Sessions are found within each partition: SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), gap) with \
                    GROUP BY k, window_start, window_end.";
        Err(here(Error::unsupported(message, hint)))
    }

    fn plain_aggregate(&mut self, keys: &[Key], inputs: Inputs) -> Result<Rows> {
        let schema = self.builder.schema(inputs.node);
        let mut fields: Vec<Field> = inputs.keys.iter().map(|k| schema.field(*k).clone()).collect();
        let width = fields.len();
        fields.extend(inputs.results);
        // DISTINCT: what is there stays, if nothing is taken back.
        let distinct = inputs.calls.is_empty() && width > 0;
        let at_once = inputs.keys.iter().any(|key| self.builder.at_once(inputs.node, *key).is_some());
        let changelog = match self.builder.node(inputs.node).changelog {
            Changelog::AppendOnly if distinct || at_once => Changelog::AppendOnly,
            _ => Changelog::Changing,
        };
        let facts = Facts { changelog, event_time: None, unique_key: Some((0..width).collect()), fields };
        let distribution = Distribution::Hash(inputs.keys.clone());
        let op = Op::Aggregate { keys: inputs.keys, aggregates: inputs.calls, at_once };
        let node = self.builder.add(op, vec![(inputs.node, distribution)], facts);
        let slots = keys.iter().map(|key| match key {
            Key::Plain(index) => Slot::Column(*index),
            Key::Window(column) => Slot::Virtual(*column),
        });
        let slots = slots.chain(inputs.places.iter().map(|p| Slot::Column(width + p))).collect();
        Ok(Rows { node, slots, window: None })
    }

    fn window_aggregate(&mut self, keys: &[Key], inputs: Inputs) -> Result<Rows> {
        let Some(window) = inputs.window else { return Err(Error::internal("a window was lost")) };
        let input = self.builder.node(inputs.node);
        let time_field = input.schema.field(window.time.column);
        let mut fields: Vec<Field> = window_fields(time_field).into();
        fields.extend(inputs.keys.iter().map(|k| input.schema.field(*k).clone()));
        let first_result = fields.len();
        fields.extend(inputs.results);
        let changelog = match self.emit {
            Emit::OnClose if self.lateness == 0 => Changelog::AppendOnly,
            Emit::OnClose | Emit::OnUpdate => Changelog::Changing,
        };
        let named_by = WindowColumn::naming(&window.spec).iter().map(|column| column.index());
        let unique_key: Vec<usize> = named_by.chain(3..first_result).collect();
        let event_time = EventTime { column: WindowColumn::Time.index(), unit: window.time.unit };
        let facts = || Facts {
            fields: fields.clone(),
            changelog,
            event_time: Some(event_time),
            unique_key: Some(unique_key.clone()),
        };
        let distribution = Distribution::Hash(inputs.keys.clone());
        let op = Op::WindowAggregate {
            window: window.spec,
            time: window.time,
            keys: inputs.keys,
            aggregates: inputs.calls,
            emit: self.emit,
            lateness: self.lateness,
            assigned: window.assigned(),
        };
        let mut node = self.builder.add(op, vec![(inputs.node, distribution)], facts());
        if let Some(every) = self.every {
            let keys = (3..first_result).collect();
            node = self.early_firing(node, every, event_time, keys, Distribution::Any, facts());
        }
        self.has_window = true;
        let slots = keys.iter().map(|key| match key {
            Key::Plain(index) => Slot::Column(3 + index),
            Key::Window(column) => Slot::Column(column.index()),
        });
        let slots = slots.chain(inputs.places.iter().map(|p| Slot::Column(first_result + p))).collect();
        Ok(Rows { node, slots, window: None })
    }

    /// Behind what answers open windows at every tick: lets that out every `every` microseconds. `keys` name a group, or a
    /// partition, besides its last instant; they come from `node` by `distribution`. `facts` are those of `node`.
    pub(super) fn early_firing(
        &mut self,
        node: NodeIndex,
        every: i64,
        time: EventTime,
        keys: Vec<usize>,
        distribution: Distribution,
        facts: Facts,
    ) -> NodeIndex {
        self.builder.add(Op::EarlyFiring { every, time, keys }, vec![(node, distribution)], facts)
    }
}

/// Which window columns a GROUP BY must name: those that tell windows apart, and both of them where it helps to see it.
fn check_keys(keys: &[Key], window: &Window) -> Result<()> {
    let has = |column| keys.iter().any(|key| matches!(key, Key::Window(named) if *named == column));
    let (name, why) = match window.spec.kind {
        WindowKind::Tumble { .. } => return Ok(()),
        WindowKind::Hop { .. } if identify(&window.spec, has) => return Ok(()),
        WindowKind::Hop { .. } => {
            ("HOP in a time zone", "Where clocks jump, windows may begin at one instant, or end at one")
        }
        WindowKind::Cumulate { .. } => ("CUMULATE", "Windows of a CUMULATE share their start"),
        WindowKind::Session { .. } => ("SESSION", "A session has no fixed length"),
    };
    if has(WindowColumn::Start) && (has(WindowColumn::End) || has(WindowColumn::Time)) {
        return Ok(());
    }
    let message = format!("GROUP BY over {name} must name window_start and window_end");
    let hint = format!("{why}: write GROUP BY window_start, window_end and the other keys.");
    let error = Error::unsupported(message, hint);
    Err(window.position.map_or(error.clone(), |p| error.at(p)))
}

fn aggregate_of(expr: &Expr) -> Result<&AggregateExpr> {
    match expr {
        Expr::Alias(alias) => aggregate_of(&alias.expr),
        Expr::AggregateFunction(call) => Ok(call),
        other => Err(Error::internal(format!("{other} is not an aggregate"))),
    }
}

/// What a computed key is called inside: people see it in EXPLAIN.
pub(super) fn key_name(expr: &Expr) -> &str {
    match expr {
        Expr::Alias(alias) => key_name(&alias.expr),
        Expr::Column(column) => &column.name,
        Expr::ScalarFunction(function) => function.name(),
        Expr::Cast(cast) => key_name(&cast.expr),
        _ => "key",
    }
}

/// The window column that a slot is, whether an operator has computed it or not.
pub(super) fn window_column(slot: Option<Slot>, rows: &Rows) -> Option<WindowColumn> {
    match slot? {
        Slot::Virtual(column) => Some(column),
        Slot::Unread => None,
        Slot::Column(index) => {
            let window = rows.window.as_ref()?;
            WindowColumn::ALL.into_iter().find(|c| window.columns[c.index()] == Some(index))
        }
    }
}
