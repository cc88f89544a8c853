//! Reads the plans that [`super::plan`] writes, and checks that what was read hangs together.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono_tz::Tz;

use super::expr_reader::read_expr;
use super::lexer::{Lexer, Token};
use super::plan::VERSION;
use super::types::read_type;
use crate::change::key::Direction;
use crate::error::{Error, Result, SqlState};
use crate::plan::Scalar;
use crate::plan::stream::{
    AggregateCall, AggregateFunction, Assigned, Changelog, Distribution, Emit, EventTime, Input, IntervalJoin, JoinKey,
    JoinKind, Keeps, Node, NodeIndex, Op, OperatorId, Output, RankFunction, Ranks, ScanWatermark, SortColumn,
    StreamPlan, Target, WindowKind, WindowSpec, WindowTopN, pair_schema,
};

impl StreamPlan {
    /// Reads what [`StreamPlan::to_text`] wrote, in this version or an earlier one.
    pub fn from_text(text: &str) -> Result<StreamPlan> {
        check_version(text)?;
        let mut reader = Reader { lexer: Lexer::new(text)?, nodes: Vec::new(), by_id: HashMap::new() };
        reader.lexer.words(&["tidemill", "plan"]);
        reader.lexer.integer::<u32>()?;
        while reader.lexer.symbol("#") {
            reader.node()?;
        }
        let mut outputs = Vec::new();
        while reader.lexer.word("output") {
            outputs.push(reader.output()?);
        }
        reader.lexer.require_word("end")?;
        if !reader.lexer.at_end() {
            return Err(reader.lexer.unexpected("the end"));
        }
        let plan = StreamPlan { nodes: reader.nodes, outputs };
        plan.validate()?;
        Ok(plan)
    }

    /// Checks that a plan hangs together: indices within bounds, inputs before their readers, expressions over columns
    /// that exist. What runs a plan relies on it.
    pub fn validate(&self) -> Result<()> {
        for (index, node) in self.nodes.iter().enumerate() {
            let fail = |what: &str| {
                Error::new(
                    SqlState::DataCorrupted,
                    format!("stream plan does not hang together: operator {} {what}", node.id.0),
                )
            };
            let inputs: Vec<&Node> = node
                .inputs
                .iter()
                .filter(|input| input.node < index)
                .filter_map(|input| self.nodes.get(input.node))
                .collect();
            let fits = match node.op {
                Op::Scan { .. } | Op::ViewScan { .. } => inputs.is_empty(),
                Op::Join { .. } | Op::IntervalJoin(_) => inputs.len() == 2,
                Op::Union => !inputs.is_empty(),
                _ => inputs.len() == 1,
            };
            if !fits || node.inputs.len() != inputs.len() {
                return Err(fail("has a wrong number of inputs"));
            }
            let schemas: Vec<&SchemaRef> = inputs.iter().map(|i| &i.schema).collect();
            if !in_bounds(node, &schemas) {
                return Err(fail("refers to a column that does not exist"));
            }
            for (expr, schema) in expressions(node, &schemas) {
                expr.compile(&schema).map_err(|e| fail("cannot compute an expression").with_detail(e.message()))?;
            }
        }
        if self.outputs.iter().any(|o| o.node >= self.nodes.len()) {
            return Err(Error::new(SqlState::DataCorrupted, "stream plan has an output of no operator"));
        }
        Ok(())
    }
}

/// A node's expressions, each with the schema it stands over.
fn expressions<'a>(node: &'a Node, inputs: &[&SchemaRef]) -> Vec<(&'a Scalar, SchemaRef)> {
    match (&node.op, inputs) {
        (Op::Scan { watermark: Some(watermark), .. }, _) => vec![(&watermark.expr, Arc::clone(&node.schema))],
        (Op::Filter { predicate }, [input]) => vec![(predicate, Arc::clone(input))],
        (Op::Project { exprs }, [input]) => exprs.iter().map(|e| (e, Arc::clone(input))).collect(),
        (Op::Join { condition: Some(condition), .. }, [left, right]) => vec![(condition, pair_schema(left, right))],
        (Op::IntervalJoin(IntervalJoin { residual: Some(residual), .. }), [left, right]) => {
            vec![(residual, pair_schema(left, right))]
        }
        _ => Vec::new(),
    }
}

fn in_bounds(node: &Node, inputs: &[&SchemaRef]) -> bool {
    let output_width = node.schema.fields().len();
    let width_of = |port: usize| inputs.get(port).map_or(0, |s| s.fields().len());
    let (input, width) = (inputs.first().copied(), width_of(0));
    let within = |columns: &[usize]| columns.iter().all(|c| *c < width);
    let is_time = |schema: Option<&SchemaRef>, time: &EventTime| {
        let field = schema.and_then(|s| s.fields().get(time.column));
        field.is_some_and(|f| matches!(f.data_type(), DataType::Timestamp(..))) && time.unit > 0
    };
    let calls = |calls: &[AggregateCall]| {
        calls.iter().all(|c| {
            !(c.distinct && c.argument.is_none())
                && c.argument.is_none_or(|a| a < width)
                && c.filter.is_none_or(|f| f < width)
                && c.order.iter().all(|by| by.column < width)
        })
    };
    let op = match &node.op {
        Op::Scan { columns, watermark, .. } => {
            columns.len() == output_width
                && watermark.as_ref().is_none_or(|w| is_time(Some(&node.schema), &w.event_time))
        }
        Op::ViewScan { columns, .. } => columns.len() == output_width,
        Op::ProcessingTime => {
            let time = EventTime { column: width, unit: 1 };
            output_width == width + 1 && is_time(Some(&node.schema), &time)
        }
        Op::Filter { .. } => output_width == width,
        Op::Project { exprs } => exprs.len() == output_width,
        Op::Window { time, .. } => output_width == width + 3 && is_time(input, time),
        Op::LateRows { time, .. } => output_width == width && is_time(input, time),
        Op::Expand { columns, keys, sets } => {
            let numbered = !sets.is_empty() && sets.iter().all(|set| *set >= 0) && keys.len() < i64::BITS as usize;
            within(columns) && within(keys) && numbered && output_width == columns.len() + keys.len() + 1
        }
        Op::EarlyFiring { every, time, keys } => {
            *every > 0 && within(keys) && output_width == width && is_time(input, time)
        }
        Op::Aggregate { keys, aggregates, .. } => {
            within(keys) && calls(aggregates) && output_width == keys.len() + aggregates.len()
        }
        Op::WindowAggregate { time, keys, aggregates, assigned, .. } => {
            let is_border = |column: usize| is_time(input, &EventTime { column, unit: time.unit });
            within(keys)
                && assigned.is_none_or(|a| is_border(a.end) && a.start.is_none_or(is_border))
                && calls(aggregates)
                && is_time(input, time)
                && output_width == 3 + keys.len() + aggregates.len()
        }
        Op::Normalize { key, place } => {
            let of_place = input.and_then(|schema| schema.fields().get(*place)).map(|field| field.data_type());
            within(key) && !key.contains(place) && of_place == Some(&DataType::Int64) && output_width + 1 == width
        }
        Op::Upsert { key, latest, .. } => {
            let is_time = |column| is_time(input, &EventTime { column, unit: 1 });
            within(key) && latest.is_none_or(is_time) && output_width == width
        }
        Op::Join { kind, on, .. } => {
            let right = if kind.gives_pairs() { width_of(1) } else { 0 };
            let types = |key: &JoinKey| {
                let ty = |port: usize, at: usize| Some(inputs.get(port)?.fields().get(at)?.data_type());
                ty(0, key.left).is_some() && ty(0, key.left) == ty(1, key.right)
            };
            output_width == width + right && on.iter().all(types)
        }
        Op::Union => inputs.iter().all(|input| {
            let types = input.fields().iter().zip(node.schema.fields());
            input.fields().len() == output_width && types.into_iter().all(|(a, b)| a.data_type() == b.data_type())
        }),
        Op::TopN { partition, order, ranked, .. } => {
            within(partition) && order.iter().all(|o| o.column < width) && output_width == width + usize::from(*ranked)
        }
        Op::WindowTopN(WindowTopN { time, assigned, partition, order, ranked, .. }) => {
            let is_border = |column: usize| is_time(input, &EventTime { column, unit: time.unit });
            within(partition)
                && order.iter().all(|o| o.column < width)
                && [time.column, assigned.end].into_iter().chain(assigned.start).all(is_border)
                && output_width == width + usize::from(*ranked)
        }
        Op::IntervalJoin(join) => {
            let right = inputs.get(1).copied();
            let right_width = right.map_or(0, |s| s.fields().len());
            let left_alone = matches!(join.kind, JoinKind::Semi | JoinKind::Anti);
            is_time(input, &join.left_time)
                && is_time(right, &join.right_time)
                && join.keys.iter().all(|k| k.left < width && k.right < right_width)
                && output_width == width + if left_alone { 0 } else { right_width }
        }
    };
    let distributed = node.inputs.iter().enumerate().all(|(port, i)| match &i.distribution {
        Distribution::Any => true,
        Distribution::Hash(columns) => columns.iter().all(|c| *c < width_of(port)),
    });
    op && distributed
        && node.event_time.as_ref().is_none_or(|t| is_time(Some(&node.schema), t))
        && node.unique_key.iter().flatten().all(|c| *c < output_width)
}

/// The version is looked at before anything else: a newer text may not even have these tokens.
fn check_version(text: &str) -> Result<()> {
    let first = text.lines().next().unwrap_or_default();
    let version = first.strip_prefix("tidemill plan ").and_then(|v| v.trim().parse::<u32>().ok());
    match version {
        Some(version) if (1..=VERSION).contains(&version) => Ok(()),
        Some(version) => Err(Error::new(
            SqlState::DataCorrupted,
            format!("stored plan has version {version}; this Tidemill reads versions up to {VERSION}"),
        )
        .with_hint("It was written by a newer Tidemill: run that one, or create the job or view again.")),
        None => Err(Error::new(SqlState::DataCorrupted, "stored plan is damaged: it does not begin with its version")
            .with_hint("Create the job or view again from its statement.")),
    }
}

fn sort_columns(lexer: &mut Lexer<'_>) -> Result<Vec<SortColumn>> {
    lexer.list("[", "]", |lexer| {
        let column = lexer.integer()?;
        let descending = lexer.word("desc");
        if !descending {
            lexer.require_word("asc")?;
        }
        let nulls_first = lexer.word("nulls_first");
        if !nulls_first {
            lexer.require_word("nulls_last")?;
        }
        Ok(SortColumn { column, direction: Direction { descending, nulls_first } })
    })
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    nodes: Vec<Node>,
    by_id: HashMap<u32, NodeIndex>,
}

impl Reader<'_> {
    fn node(&mut self) -> Result<()> {
        let id: u32 = self.lexer.integer()?;
        let op = self.op()?;
        let mut inputs = Vec::new();
        if self.lexer.symbol("<-") {
            inputs.push(self.input()?);
            while self.lexer.symbol(",") {
                inputs.push(self.input()?);
            }
        }
        self.lexer.require("->")?;
        let fields = self.lexer.list("(", ")", |lexer| {
            let name = lexer.name()?;
            Ok(read_type(lexer)?.field(&name))
        })?;
        let changelog = if self.lexer.word("append_only") {
            Changelog::AppendOnly
        } else if self.lexer.word("upsert") {
            Changelog::Upsert
        } else {
            self.lexer.require_word("changing")?;
            Changelog::Changing
        };
        let event_time = if self.lexer.peek() == Some(&Token::Word("time".into())) { Some(self.time()?) } else { None };
        let unique_key = if self.lexer.word("key") { Some(self.columns()?) } else { None };
        if self.by_id.insert(id, self.nodes.len()).is_some() {
            return Err(self.lexer.error("an operator is given twice"));
        }
        let schema = Arc::new(Schema::new(fields));
        self.nodes.push(Node { id: OperatorId(id), op, inputs, schema, changelog, event_time, unique_key });
        Ok(())
    }

    fn input(&mut self) -> Result<Input> {
        let node = self.reference()?;
        let distribution = if self.lexer.word("by") { Distribution::Hash(self.columns()?) } else { Distribution::Any };
        Ok(Input { node, distribution })
    }

    fn reference(&mut self) -> Result<NodeIndex> {
        self.lexer.require("#")?;
        let mark = self.lexer.mark();
        let id: u32 = self.lexer.integer()?;
        self.by_id.get(&id).copied().ok_or_else(|| {
            self.lexer.reset(mark);
            self.lexer.error("no such operator before it")
        })
    }

    fn columns(&mut self) -> Result<Vec<usize>> {
        self.lexer.list("[", "]", |lexer| lexer.integer())
    }

    fn time(&mut self) -> Result<EventTime> {
        self.lexer.require_word("time")?;
        self.event_time()
    }

    fn event_time(&mut self) -> Result<EventTime> {
        let column = self.lexer.integer()?;
        self.lexer.require("/")?;
        Ok(EventTime { column, unit: self.lexer.integer()? })
    }

    fn window(&mut self) -> Result<WindowSpec> {
        let kind = if self.lexer.word("session") {
            WindowKind::Session { gap: self.length()? }
        } else if self.lexer.word("hop") {
            let size = self.length()?;
            self.lexer.require_word("slide")?;
            WindowKind::Hop { size, slide: self.length()?, offset: self.offset()? }
        } else if self.lexer.word("cumulate") {
            let size = self.length()?;
            self.lexer.require_word("step")?;
            WindowKind::Cumulate { size, step: self.length()?, offset: self.offset()? }
        } else {
            self.lexer.require_word("tumble")?;
            WindowKind::Tumble { size: self.length()?, offset: self.offset()? }
        };
        Ok(WindowSpec { kind, zone: self.zone()? })
    }

    fn assigned(&mut self) -> Result<Option<Assigned>> {
        if !self.lexer.word("assigned") {
            return Ok(None);
        }
        let end = self.lexer.integer()?;
        let start = if self.lexer.word("from") { Some(self.lexer.integer()?) } else { None };
        Ok(Some(Assigned { end, start }))
    }

    fn length(&mut self) -> Result<i64> {
        let length: i64 = self.lexer.integer()?;
        if length <= 0 {
            return Err(self.lexer.error("a window without size"));
        }
        Ok(length)
    }

    fn zone(&mut self) -> Result<Option<Tz>> {
        if !self.lexer.word("zone") {
            return Ok(None);
        }
        let mark = self.lexer.mark();
        match self.lexer.name()?.parse() {
            Ok(zone) => Ok(Some(zone)),
            Err(_) => {
                self.lexer.reset(mark);
                Err(self.lexer.error("no such time zone"))
            }
        }
    }

    fn lateness(&mut self) -> Result<i64> {
        if self.lexer.word("lateness") { self.length() } else { Ok(0) }
    }

    fn offset(&mut self) -> Result<i64> {
        self.lexer.require_word("offset")?;
        self.lexer.integer()
    }

    fn op(&mut self) -> Result<Op> {
        let lexer = &mut self.lexer;
        if lexer.word("scan") {
            let source = lexer.name()?;
            let columns = self.columns()?;
            let watermark = if self.lexer.word("watermark") {
                let event_time = self.event_time()?;
                self.lexer.require_word("as")?;
                Some(ScanWatermark { event_time, expr: Scalar::new(read_expr(&mut self.lexer)?) })
            } else {
                None
            };
            return Ok(Op::Scan { source, columns, watermark });
        }
        if lexer.word("view_scan") {
            let view = lexer.name()?;
            return Ok(Op::ViewScan { view, columns: self.columns()? });
        }
        if lexer.word("filter") {
            return Ok(Op::Filter { predicate: Scalar::new(read_expr(lexer)?) });
        }
        if lexer.word("project") {
            return Ok(Op::Project { exprs: lexer.list("[", "]", |lexer| read_expr(lexer).map(Scalar::new))? });
        }
        if lexer.word("window") {
            return Ok(Op::Window { window: self.window()?, time: self.time()? });
        }
        if lexer.word("late_rows") {
            return Ok(Op::LateRows { window: self.window()?, time: self.time()?, lateness: self.lateness()? });
        }
        if lexer.word("expand") {
            lexer.require_word("columns")?;
            let (columns, keys) = (self.columns()?, self.keys()?);
            self.lexer.require_word("sets")?;
            return Ok(Op::Expand { columns, keys, sets: self.lexer.list("[", "]", |lexer| lexer.integer())? });
        }
        if lexer.word("early_firing") {
            lexer.require_word("every")?;
            let every = self.length()?;
            return Ok(Op::EarlyFiring { every, time: self.time()?, keys: self.keys()? });
        }
        if lexer.word("aggregate") {
            let (keys, aggregates) = (self.keys()?, self.calls()?);
            return Ok(Op::Aggregate { keys, aggregates, at_once: self.lexer.word("at_once") });
        }
        if lexer.word("join") {
            return self.join();
        }
        if lexer.word("union") {
            return Ok(Op::Union);
        }
        if lexer.word("processing_time") {
            return Ok(Op::ProcessingTime);
        }
        if lexer.word("window_aggregate") {
            let (window, time) = (self.window()?, self.time()?);
            let (keys, aggregates) = (self.keys()?, self.calls()?);
            let emit = self.emit()?;
            let lateness = self.lateness()?;
            let assigned = self.assigned()?;
            return Ok(Op::WindowAggregate { window, time, keys, aggregates, emit, lateness, assigned });
        }
        if lexer.word("normalize") {
            lexer.require_word("key")?;
            let key = self.columns()?;
            self.lexer.require_word("place")?;
            return Ok(Op::Normalize { key, place: self.lexer.integer()? });
        }
        if lexer.word("upsert") {
            lexer.require_word("key")?;
            let key = self.columns()?;
            let keeps = self.keeps()?;
            let latest = if self.lexer.word("latest") { Some(self.lexer.integer()?) } else { None };
            return Ok(Op::Upsert { key, keeps, latest, with_before: self.lexer.word("with_before") });
        }
        if lexer.word("top_n") {
            let (ranks, partition, order, ranked) = self.ranking()?;
            return Ok(Op::TopN { partition, order, ranks, ranked, at_once: self.lexer.word("at_once") });
        }
        if lexer.word("window_top_n") {
            let (window, time) = (self.window()?, self.time()?);
            let (ranks, partition, order, ranked) = self.ranking()?;
            let (emit, lateness) = (self.emit()?, self.lateness()?);
            let Some(assigned) = self.assigned()? else { return Err(self.lexer.unexpected("\"assigned\"")) };
            let top_n = WindowTopN { window, time, assigned, partition, order, ranks, ranked, emit, lateness };
            return Ok(Op::WindowTopN(top_n));
        }
        if lexer.word("interval_join") {
            return Ok(Op::IntervalJoin(self.interval_join()?));
        }
        Err(lexer.unexpected("an operator"))
    }

    fn keeps(&mut self) -> Result<Keeps> {
        self.lexer.require_word("keeps")?;
        for (word, keeps) in [("nothing", Keeps::Nothing), ("shown", Keeps::Shown), ("all", Keeps::All)] {
            if self.lexer.word(word) {
                return Ok(keeps);
            }
        }
        Err(self.lexer.unexpected("what is kept"))
    }

    fn join(&mut self) -> Result<Op> {
        let (kind, on) = (self.join_kind()?, self.join_keys()?);
        let condition =
            if self.lexer.word("condition") { Some(Scalar::new(read_expr(&mut self.lexer)?)) } else { None };
        Ok(Op::Join { kind, on, condition, at_once: self.lexer.word("at_once") })
    }

    fn interval_join(&mut self) -> Result<IntervalJoin> {
        let kind = self.join_kind()?;
        let left_time = self.time()?;
        self.lexer.require_word("within")?;
        let lower = self.lexer.integer()?;
        self.lexer.require_word("to")?;
        let upper = self.lexer.integer()?;
        self.lexer.require_word("of")?;
        let right_time = self.time()?;
        let keys = self.join_keys()?;
        let residual = if self.lexer.word("where") { Some(Scalar::new(read_expr(&mut self.lexer)?)) } else { None };
        Ok(IntervalJoin { kind, left_time, right_time, lower, upper, keys, residual })
    }

    fn join_kind(&mut self) -> Result<JoinKind> {
        let kind = JoinKind::ALL.into_iter().find(|kind| self.lexer.word(&kind.to_string()));
        kind.ok_or_else(|| self.lexer.unexpected("a kind of join"))
    }

    fn join_keys(&mut self) -> Result<Vec<JoinKey>> {
        self.lexer.require_word("on")?;
        self.lexer.list("[", "]", |lexer| {
            let left = lexer.integer()?;
            let null_safe = lexer.word("is");
            if !null_safe {
                lexer.require("=")?;
            }
            Ok(JoinKey { left, right: lexer.integer()?, null_safe })
        })
    }

    fn ranking(&mut self) -> Result<(Ranks, Vec<usize>, Vec<SortColumn>, bool)> {
        let mark = self.lexer.mark();
        let Some(function) = RankFunction::by_name(&self.lexer.name()?) else {
            self.lexer.reset(mark);
            return Err(self.lexer.error("no such way of ranking"));
        };
        let first = self.lexer.integer()?;
        self.lexer.require_word("to")?;
        let ranks = Ranks { function, first, last: self.lexer.integer()? };
        if ranks.first < 1 {
            return Err(self.lexer.error("a rank below 1"));
        }
        self.lexer.require_word("partition")?;
        let partition = self.columns()?;
        self.lexer.require_word("order")?;
        let order = sort_columns(&mut self.lexer)?;
        Ok((ranks, partition, order, self.lexer.word("ranked")))
    }

    fn keys(&mut self) -> Result<Vec<usize>> {
        self.lexer.require_word("keys")?;
        self.columns()
    }

    fn calls(&mut self) -> Result<Vec<AggregateCall>> {
        self.lexer.require_word("calls")?;
        self.lexer.list("[", "]", |lexer| {
            let mark = lexer.mark();
            let Some(function) = AggregateFunction::by_name(&lexer.name()?) else {
                lexer.reset(mark);
                return Err(lexer.error("no such aggregate function"));
            };
            lexer.require("(")?;
            let distinct = lexer.word("distinct");
            let argument = if lexer.peek() == Some(&Token::Symbol(")")) { None } else { Some(lexer.integer()?) };
            let separator = if lexer.word("separator") { Some(lexer.text()?) } else { None };
            let order = if lexer.word("order") { sort_columns(lexer)? } else { Vec::new() };
            lexer.require(")")?;
            let filter = if lexer.word("filter") { Some(lexer.integer()?) } else { None };
            Ok(AggregateCall { function, argument, distinct, filter, order, separator })
        })
    }

    fn emit(&mut self) -> Result<Emit> {
        self.lexer.require_word("emit")?;
        if self.lexer.word("on_close") {
            return Ok(Emit::OnClose);
        }
        self.lexer.require_word("on_update")?;
        Ok(Emit::OnUpdate)
    }

    fn output(&mut self) -> Result<Output> {
        let node = self.reference()?;
        let target = if self.lexer.word("view") {
            Target::View
        } else {
            self.lexer.require_word("sink")?;
            Target::Sink(self.lexer.name()?)
        };
        Ok(Output { node, target })
    }
}
