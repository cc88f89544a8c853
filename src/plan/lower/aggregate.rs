//! GROUP BY, with and without windows.
//!
//! Arguments, filters and computed keys become columns of a projection in front; the operator's output is keys and
//! results, and whatever the query computes from them stands in a projection behind.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::AggregateFunction as AggregateExpr;
use datafusion::logical_expr::{Aggregate, Expr};

use super::build::Facts;
use super::relational::{push_once, slot_of, uses_virtual, window_fields};
use super::{Lowering, Rows, Slot, Window, WindowColumn, identify};
use crate::error::{Error, Result};
use crate::plan::errors::visible;
use crate::plan::stream::{
    AggregateCall, AggregateFunction, Changelog, Distribution, Emit, EventTime, NodeIndex, Op, WindowKind,
};
use crate::types::SqlType;

/// One group key of the query.
enum Key {
    Window(WindowColumn),
    /// Index among the operator's keys.
    Plain(usize),
}

/// What the operator reads.
struct Inputs {
    node: NodeIndex,
    keys: Vec<usize>,
    calls: Vec<AggregateCall>,
    /// The results' fields.
    results: Vec<Field>,
    /// For each aggregate of the query the call that computes it: equal ones are computed once.
    places: Vec<usize>,
    window: Option<Window>,
}

impl Lowering<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Rows> {
        let mut rows = self.lower(&aggregate.input)?;
        let schema = aggregate.input.schema();
        let calls: Vec<&AggregateExpr> = aggregate.aggr_expr.iter().map(aggregate_of).collect::<Result<_>>()?;
        let inner = calls.iter().flat_map(|c| c.params.args.iter().chain(c.params.filter.as_deref()));
        let computed = aggregate.group_expr.iter().filter(|e| slot_of(e, schema, &rows).is_none());
        if inner.chain(computed).any(|e| uses_virtual(e, schema, &rows)) {
            rows = self.materialise(rows)?;
        }
        let by_window = aggregate.group_expr.iter().any(|e| window_column(slot_of(e, schema, &rows), &rows).is_some());
        if !by_window {
            rows = self.put_windows(rows)?;
        }
        let (keys, inputs) = self.inputs(aggregate, &calls, schema, &rows)?;
        if keys.iter().any(|k| matches!(k, Key::Window(_)))
            && let Some(window) = &rows.window
        {
            check_keys(&keys, window)?;
            self.check_session(window, aggregate, &rows)?;
            self.window_aggregate(&keys, inputs)
        } else {
            self.plain_aggregate(&keys, inputs)
        }
    }

    /// Puts keys, arguments and filters into columns: those of the rows themselves if nothing is computed, else those of
    /// a projection.
    fn inputs(
        &mut self,
        aggregate: &Aggregate,
        calls: &[&AggregateExpr],
        schema: &DFSchema,
        rows: &Rows,
    ) -> Result<(Vec<Key>, Inputs)> {
        let mut outputs: Vec<(Expr, Field)> = Vec::new();
        let mut keys = Vec::new();
        let mut key_columns = Vec::new();
        for (index, expr) in aggregate.group_expr.iter().enumerate() {
            // The aggregate's schema has a key that is named twice once.
            if aggregate.group_expr.iter().take(index).any(|earlier| earlier == expr) {
                continue;
            }
            if let Expr::GroupingSet(_) = expr {
                let hint = "Give each grouping its own INSERT with its own GROUP BY.";
                return Err(Error::unsupported("GROUPING SETS are not supported yet", hint));
            }
            if let Some(column) = window_column(slot_of(expr, schema, rows), rows) {
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
        let by_window = keys.iter().any(|key| matches!(key, Key::Window(_)));
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
            let columns = inputs.calls.iter_mut().flat_map(|c| c.argument.iter_mut().chain(c.filter.iter_mut()));
            columns.for_each(place);
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
    fn input(
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

    fn call(
        &self,
        call: &AggregateExpr,
        schema: &DFSchema,
        rows: &Rows,
        outputs: &mut Vec<(Expr, Field)>,
    ) -> Result<(AggregateCall, Field)> {
        let name = call.func.name();
        let Some(function) = AggregateFunction::by_name(name) else {
            return Err(Error::unsupported(
                format!("aggregate function {name} is not supported in a streaming query yet"),
                "count, sum, min, max, avg, bool_and, bool_or, stddev and variance are, each with FILTER.",
            ));
        };
        let argument = match call.params.args.as_slice() {
            [one] if call.params.distinct || !counts_rows(function, one) => {
                Some(self.input(one, &format!("{name}_argument"), schema, rows, outputs)?)
            }
            [] | [_] => None,
            _ => {
                let hint = "Count the columns one by one.";
                return Err(Error::unsupported(format!("{name} of several columns is not supported yet"), hint));
            }
        };
        let filter = match &call.params.filter {
            Some(filter) => Some(self.input(filter, &format!("{name}_filter"), schema, rows, outputs)?),
            None => None,
        };
        let argument_field = argument.and_then(|a| outputs.get(a)).map(|(_, field)| field);
        let ty = result_type(function, argument_field)?;
        // Of equal values one is as great, and as true, as all.
        let distinct = call.params.distinct && !function.ignores_repetition();
        if let Some(field) = argument_field.filter(|_| distinct)
            && matches!(field.data_type(), DataType::Struct(_) | DataType::List(_))
        {
            let message = format!("{name}(DISTINCT {}) is not supported", SqlType::from_field(field));
            return Err(Error::unsupported(message, "Name a field of the value, or cast it to TEXT."));
        }
        Ok((AggregateCall { function, argument, distinct, filter }, ty.field(name)))
    }

    /// Sessions are those of their PARTITION BY: groups must be the same.
    fn check_session(&self, window: &Window, aggregate: &Aggregate, rows: &Rows) -> Result<()> {
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
        let schema = aggregate.input.schema();
        let slots = aggregate.group_expr.iter().map(|expr| slot_of(expr, schema, rows));
        let keys = slots.filter(|slot| window_column(*slot, rows).is_none());
        let keys: Option<BTreeSet<usize>> =
            keys.map(|s| if let Some(Slot::Column(c)) = s { Some(c) } else { None }).collect();
        if keys == Some(window.partition.iter().copied().collect()) {
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
        let changelog = match self.builder.node(inputs.node).changelog {
            Changelog::AppendOnly if distinct => Changelog::AppendOnly,
            _ => Changelog::Changing,
        };
        let facts = Facts { changelog, event_time: None, unique_key: Some((0..width).collect()), fields };
        let distribution = Distribution::Hash(inputs.keys.clone());
        let op = Op::Aggregate { keys: inputs.keys, aggregates: inputs.calls };
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
            node = self.early_firing(node, every, event_time, (3..first_result).collect(), facts());
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
    /// partition, besides its last instant; `facts` are those of `node`.
    pub(super) fn early_firing(
        &mut self,
        node: NodeIndex,
        every: i64,
        time: EventTime,
        keys: Vec<usize>,
        facts: Facts,
    ) -> NodeIndex {
        self.builder.add(Op::EarlyFiring { every, time, keys }, vec![(node, Distribution::Any)], facts)
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

/// count(*), and count of anything that is never null.
fn counts_rows(function: AggregateFunction, argument: &Expr) -> bool {
    function == AggregateFunction::Count && matches!(argument, Expr::Literal(value, _) if !value.is_null())
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

fn result_type(function: AggregateFunction, argument: Option<&Field>) -> Result<SqlType> {
    // min and max keep a declared precision or length.
    if let (AggregateFunction::Min | AggregateFunction::Max, Some(field)) = (function, argument)
        && function.result_type(field.data_type()).is_some()
    {
        return Ok(SqlType::from_field(field));
    }
    let ty = argument.map_or(DataType::Null, |field| field.data_type().clone());
    match function.result_type(&ty) {
        Some(result) => Ok(SqlType::from_arrow(&result)),
        None => {
            let message = format!("function {function}({}) does not exist", crate::plan::errors::type_name(&ty));
            Err(Error::new(crate::error::SqlState::UndefinedFunction, message))
        }
    }
}
