//! Scripts: an operator, what is pushed into it, and what comes out by the end of each tick.
//!
//! ```text
//! input k:text v:bigint ts:timestamp(3) [changing | upserts]
//! operator aggregate keys=k calls=count(*),sum(v),max(v)?flag
//! push
//! a | 1 | 1000
//! -2 b | null | 2000 @1500
//! tick 3000
//! + a | 1 | 1 | 1
//! late 1
//! tick end
//! error 22003 bigint out of range
//! ```
//!
//! A row starts with its weight, if it is not 1, and ends with its judge, if it has one. Timestamps are numbers of their
//! own unit. `?flag` is FILTER (WHERE flag). An output row's sign is its weight; append-only output has none.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{col, lit};

use super::*;
use crate::change::key::Direction;
use crate::plan::{
    AggregateCall, AggregateFunction, Assigned, Emit, EventTime, Keeps, RankFunction, Ranks, Scalar, SortColumn,
    WindowKind, WindowSpec, WindowTopN,
};

fn sql_type(name: &str) -> SqlType {
    match name {
        "boolean" => SqlType::Boolean,
        "smallint" => SqlType::SmallInt,
        "int" => SqlType::Integer,
        "bigint" => SqlType::BigInt,
        "real" => SqlType::Real,
        "double" => SqlType::Double,
        "numeric(38,0)" => SqlType::Numeric(38, 0),
        "numeric(10,2)" => SqlType::Numeric(10, 2),
        "numeric(38,2)" => SqlType::Numeric(38, 2),
        "text" => SqlType::Text,
        "bytea" => SqlType::Bytea,
        "date" => SqlType::Date,
        "interval" => SqlType::Interval,
        "timestamp(3)" => SqlType::Timestamp(3),
        "timestamp(6)" => SqlType::Timestamp(6),
        "timestamptz(3)" => SqlType::TimestampTz(3),
        other => panic!("no such type in scripts: {other}"),
    }
}

fn function(name: &str) -> AggregateFunction {
    AggregateFunction::by_name(name).unwrap()
}

/// As plans have it.
fn result_type(function: AggregateFunction, of: SqlType) -> SqlType {
    match (function, of) {
        (AggregateFunction::Count, _) => SqlType::BigInt,
        (AggregateFunction::Min | AggregateFunction::Max, of) => of,
        (AggregateFunction::Sum, SqlType::SmallInt | SqlType::Integer) => SqlType::BigInt,
        (AggregateFunction::Sum, SqlType::BigInt) => SqlType::Numeric(38, 0),
        (AggregateFunction::Sum, SqlType::Numeric(_, scale)) => SqlType::Numeric(38, scale),
        (AggregateFunction::Avg, SqlType::Numeric(_, scale)) => SqlType::Numeric(38, scale.max(16)),
        (AggregateFunction::Avg, SqlType::SmallInt | SqlType::Integer | SqlType::BigInt) => SqlType::Numeric(38, 16),
        _ => SqlType::Double,
    }
}

/// A column of cells as they are written in scripts.
fn column(ty: &SqlType, cells: &[&str]) -> ArrayRef {
    let present = cells.iter().map(|c| if *c == "null" { None } else { Some(c.trim_matches('\'')) });
    if let Some(unit) = ty.time_unit_micros() {
        let micros: Int64Array = present.map(|c| c.map(|c| c.parse::<i64>().unwrap() * unit)).collect();
        return cast(&micros, &ty.to_arrow()).unwrap();
    }
    if *ty == SqlType::Bytea {
        return Arc::new(present.map(|c| c.map(str::as_bytes)).collect::<BinaryViewArray>());
    }
    let text: StringArray = present.collect();
    let cells = cast(&text, &ty.to_arrow()).unwrap();
    assert_eq!(cells.null_count(), text.null_count(), "a cell is not of type {ty}");
    cells
}

/// A cell as scripts write it.
fn cell(ty: &SqlType, array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "null".into();
    }
    if let Some(unit) = ty.time_unit_micros() {
        let micros = cast(&cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None)).unwrap(), &DataType::Int64);
        return (micros.unwrap().as_primitive::<Int64Type>().value(row) / unit).to_string();
    }
    if *ty == SqlType::Bytea {
        return String::from_utf8_lossy(array.as_binary_view().value(row)).into();
    }
    let text = ArrayFormatter::try_new(array, &FormatOptions::default()).unwrap().value(row).to_string();
    if text.is_empty() { "''".into() } else { text }
}

fn rows(schema: &SchemaRef, lines: &[&str]) -> ChangeBatch {
    let (mut weights, mut judges, mut cells) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        let (line, judge) =
            line.rsplit_once('@').map_or((*line, i64::MIN), |(l, j)| (l, j.trim().parse::<i64>().unwrap() * 1000));
        let (weight, line) = match line.split_once(' ') {
            Some((w, rest)) if w.starts_with(['-', '+']) && !rest.trim_start().starts_with('|') => {
                let number = if w.len() == 1 { format!("{w}1") } else { w.to_string() };
                (number.parse().unwrap(), rest)
            }
            _ => (1, line),
        };
        weights.push(weight);
        judges.push(judge);
        cells.push(line.split('|').map(str::trim).collect::<Vec<_>>());
    }
    let columns = schema.fields().iter().enumerate().map(|(i, field)| {
        let of: Vec<&str> =
            cells.iter().map(|row| *row.get(i).unwrap_or_else(|| panic!("too few cells: {row:?}"))).collect();
        column(&SqlType::from_field(field), &of)
    });
    let batch = RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap();
    let weights = weights.iter().any(|w| *w != 1).then(|| weights.into());
    let judges = judges.iter().any(|j| *j != i64::MIN).then(|| judges.into());
    ChangeBatch::new(batch, weights).unwrap().with_judges(judges).unwrap()
}

/// Lines of a batch, sorted: those of a tick come in no particular order.
fn lines(batch: &ChangeBatch, changelog: Changelog) -> Vec<String> {
    let schema = batch.schema();
    let mut lines: Vec<String> = (0..batch.num_rows())
        .map(|row| {
            let cells: Vec<String> = schema
                .fields()
                .iter()
                .zip(batch.rows().columns())
                .map(|(field, array)| cell(&SqlType::from_field(field), array, row))
                .collect();
            let sign = match batch.weight(row) {
                _ if changelog == Changelog::AppendOnly => String::new(),
                1 => "+ ".into(),
                -1 => "- ".into(),
                other => format!("{other:+} "),
            };
            format!("{sign}{}", cells.join(" | "))
        })
        .collect();
    lines.sort();
    lines
}

struct Script<'a> {
    input: SchemaRef,
    input_changelog: Changelog,
    operator: Vec<&'a str>,
}

impl<'a> Script<'a> {
    fn option(&self, name: &str) -> Option<&'a str> {
        self.operator.iter().find_map(|o| o.strip_prefix(name)?.strip_prefix('='))
    }

    fn index(&self, name: &str) -> usize {
        self.input.index_of(name).unwrap()
    }

    fn number(&self, name: &str) -> i64 {
        self.option(name).map_or(0, |n| n.parse().unwrap())
    }

    fn keys(&self) -> Vec<usize> {
        self.option("keys").map_or(Vec::new(), |keys| keys.split(',').map(|k| self.index(k)).collect())
    }

    fn calls(&self) -> (Vec<AggregateCall>, Vec<(String, SqlType)>) {
        let mut types = Vec::new();
        let calls = self.option("calls").unwrap().split(',').map(|text| {
            let (call, filter) = text.split_once('?').map_or((text, None), |(c, f)| (c, Some(f)));
            let (name, argument) = call.strip_suffix(')').unwrap().split_once('(').unwrap();
            let function = function(name);
            let (distinct, argument) = argument.strip_prefix("distinct ").map_or((false, argument), |a| (true, a));
            let argument = (argument != "*").then(|| self.index(argument));
            let of = argument.map_or(SqlType::BigInt, |at| SqlType::from_field(self.input.field(at)));
            types.push((text.to_string(), result_type(function, of)));
            AggregateCall { distinct, filter: filter.map(|f| self.index(f)), ..AggregateCall::new(function, argument) }
        });
        (calls.collect(), types)
    }

    fn window(&self) -> (WindowSpec, EventTime) {
        let column = self.index(self.option("time").unwrap());
        let unit = SqlType::from_field(self.input.field(column)).time_unit_micros().unwrap();
        let [size, slide, step, offset, gap] =
            ["size", "slide", "step", "offset", "gap"].map(|name| self.number(name) * unit);
        let kind = match (slide, step, gap) {
            (0, 0, 0) => WindowKind::Tumble { size, offset },
            (slide, 0, 0) => WindowKind::Hop { size, slide, offset },
            (0, step, 0) => WindowKind::Cumulate { size, step, offset },
            _ => WindowKind::Session { gap },
        };
        (kind.into(), EventTime { column, unit })
    }

    fn emit(&self) -> Emit {
        if self.option("emit") == Some("update") { Emit::OnUpdate } else { Emit::OnClose }
    }

    /// `partition=k order=v:desc,t ranks=row_number:1:3 ranked`
    fn top_n(&self) -> Op {
        let partition = self.option("partition").map_or(Vec::new(), |key| vec![self.index(key)]);
        let order = self.option("order").map_or(Vec::new(), |order| order.split(',').collect());
        let sort = |text: &str| {
            let descending = text.ends_with(":desc");
            let column = self.index(text.split(':').next().unwrap());
            SortColumn { column, direction: Direction { descending, nulls_first: descending } }
        };
        let ranks: Vec<&str> = self.option("ranks").unwrap().split(':').collect();
        let function = RankFunction::by_name(ranks[0]).unwrap();
        let ranks = Ranks { function, first: ranks[1].parse().unwrap(), last: ranks[2].parse().unwrap() };
        let ranked = self.operator.contains(&"ranked");
        Op::TopN { partition, order: order.into_iter().map(sort).collect(), ranks, ranked, at_once: false }
    }

    /// The operator, the schema of its output and its kind of changelog.
    fn plan(&self) -> (Op, SchemaRef, Changelog) {
        let column = |at: &usize| (self.input.field(*at).name().clone(), SqlType::from_field(self.input.field(*at)));
        let input: Vec<_> = (0..self.input.fields().len()).map(|at| column(&at)).collect();
        let window_columns = || {
            let ty = SqlType::from_field(self.input.field(self.window().1.column));
            ["window_start", "window_end", "window_time"].map(|n| (n.to_string(), ty.clone()))
        };
        let (op, columns, changelog) = match self.operator[0] {
            "filter" => {
                let predicate = Scalar::new(col(self.option("column").unwrap()).gt(lit(self.number("above"))));
                (Op::Filter { predicate }, input, self.input_changelog)
            }
            "project" => {
                let names: Vec<&str> = self.option("columns").unwrap().split(',').collect();
                let exprs = names.iter().map(|n| Scalar::new(col(*n))).collect();
                (Op::Project { exprs }, names.iter().map(|n| column(&self.index(n))).collect(), self.input_changelog)
            }
            "window" => {
                let (window, time) = self.window();
                let columns = input.into_iter().chain(window_columns()).collect();
                (Op::Window { window, time }, columns, self.input_changelog)
            }
            "late_rows" => {
                let (window, time) = self.window();
                let lateness = self.number("lateness") * time.unit;
                (Op::LateRows { window, time, lateness }, input, self.input_changelog)
            }
            "expand" => {
                let list = |name: &str| self.option(name).map_or(Vec::new(), |list| list.split(',').collect());
                let indices = |name: &str| list(name).iter().map(|n| self.index(n)).collect::<Vec<usize>>();
                let (columns, keys) = (indices("columns"), indices("keys"));
                let sets = list("sets").iter().map(|set| set.parse().unwrap()).collect();
                let set = ("set".to_string(), SqlType::BigInt);
                let output = columns.iter().map(column).chain(keys.iter().map(|at| {
                    let (name, ty) = column(at);
                    (format!("{name}_key"), ty)
                }));
                let output = output.chain([set]).collect();
                (Op::Expand { columns, keys, sets }, output, self.input_changelog)
            }
            "early_firing" => {
                let (_, time) = self.window();
                let every = self.number("every") * time.unit;
                (Op::EarlyFiring { every, time, keys: self.keys() }, input, Changelog::Changing)
            }
            "aggregate" => {
                let (aggregates, types) = self.calls();
                let columns = self.keys().iter().map(column).chain(types).collect();
                (Op::Aggregate { keys: self.keys(), aggregates, at_once: false }, columns, Changelog::Changing)
            }
            "window_aggregate" => {
                let (aggregates, types) = self.calls();
                let (window, time) = self.window();
                let columns = window_columns().into_iter().chain(self.keys().iter().map(column)).chain(types).collect();
                let (emit, lateness) = (self.emit(), self.number("lateness") * time.unit);
                let appends = emit == Emit::OnClose && lateness == 0;
                let changelog = if appends { Changelog::AppendOnly } else { Changelog::Changing };
                let assigned = self.option("assigned").map(|name| Assigned { end: self.index(name), start: None });
                let keys = self.keys();
                let op = Op::WindowAggregate { window, time, keys, aggregates, emit, lateness, assigned };
                (op, columns, changelog)
            }
            "upsert" => {
                let keeps = match self.option("keeps") {
                    Some("shown") => Keeps::Shown,
                    Some("all") => Keeps::All,
                    _ => Keeps::Nothing,
                };
                let with_before = self.operator.contains(&"with_before");
                let latest = self.option("latest").map(|name| self.index(name));
                let changelog = if with_before { Changelog::Changing } else { Changelog::Upsert };
                (Op::Upsert { key: self.keys(), keeps, latest, with_before }, input, changelog)
            }
            "normalize" => {
                let place = self.index(self.option("place").unwrap());
                let columns = input.into_iter().enumerate().filter(|(at, _)| *at != place).map(|(_, column)| column);
                (Op::Normalize { key: self.keys(), place }, columns.collect(), Changelog::Changing)
            }
            "top_n" => {
                let op = self.top_n();
                let ranked = self.operator.contains(&"ranked").then(|| ("rank".to_string(), SqlType::BigInt));
                (op, input.into_iter().chain(ranked).collect(), Changelog::Changing)
            }
            "window_top_n" => {
                let (window, time) = self.window();
                let Op::TopN { partition, order, ranks, ranked, .. } = self.top_n() else { panic!("no Top-N") };
                let (emit, lateness) = (self.emit(), self.number("lateness") * time.unit);
                let appends = emit == Emit::OnClose && lateness == 0;
                let assigned = Assigned { end: self.index(self.option("assigned").unwrap()), start: None };
                let rank = ranked.then(|| ("rank".to_string(), SqlType::BigInt));
                let top_n = WindowTopN { window, time, assigned, partition, order, ranks, ranked, emit, lateness };
                let changelog = if appends { Changelog::AppendOnly } else { Changelog::Changing };
                (Op::WindowTopN(top_n), input.into_iter().chain(rank).collect(), changelog)
            }
            other => panic!("no such operator in scripts: {other}"),
        };
        let columns: Vec<(&str, SqlType)> =
            columns.iter().map(|(n, t): &(String, SqlType)| (n.as_str(), t.clone())).collect();
        (op, schema(&columns), changelog)
    }
}

fn parse_input(words: &str) -> (SchemaRef, Changelog) {
    let (words, changelog) = match words.strip_suffix(" changing") {
        Some(words) => (words, Changelog::Changing),
        None => match words.strip_suffix(" upserts") {
            Some(words) => (words, Changelog::Upsert),
            None => (words, Changelog::AppendOnly),
        },
    };
    let columns: Vec<_> = words.split(' ').map(|w| w.split_once(':').unwrap()).map(|(n, t)| (n, sql_type(t))).collect();
    (schema(&columns), changelog)
}

fn run(file: &str, text: &str, way: Way) {
    let blocks = split_into_directives(text);
    let mut script: Option<Script<'_>> = None;
    let mut harness: Option<(Harness, Changelog)> = None;
    let mut out = Vec::new();
    let mut failed: Option<crate::error::Error> = None;
    for (at, directive, body) in blocks {
        let place = format!("{file}:{at} ({way:?})");
        let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        if word != "error" {
            assert!(failed.is_none(), "{place}: before it: {failed:?}");
        }
        match word {
            "input" => {
                let (input, input_changelog) = parse_input(rest);
                script = Some(Script { input, input_changelog, operator: Vec::new() });
            }
            "operator" => {
                let script = script.as_mut().unwrap();
                script.operator = rest.split(' ').collect();
                let (op, output, changelog) = script.plan();
                out.clear();
                harness = match Harness::new(op, (&script.input, script.input_changelog), (&output, changelog), way) {
                    Ok(harness) => Some((harness, changelog)),
                    Err(e) => {
                        failed = Some(e);
                        None
                    }
                };
            }
            "push" => {
                let (harness, _) = harness.as_mut().unwrap();
                let batch = rows(&script.as_ref().unwrap().input, &body);
                failed = harness.push(&batch, &mut out).err();
            }
            "tick" => {
                let (harness, changelog) = harness.as_mut().unwrap();
                let watermark = match rest {
                    "" => Watermark::NONE,
                    "end" => Watermark::END,
                    ms => Watermark(ms.parse::<i64>().unwrap() * 1000),
                };
                failed = harness.end_tick(watermark, &mut out).err();
                let given = harness.together(&std::mem::take(&mut out));
                let mut want: Vec<String> = body.iter().map(|l| l.to_string()).collect();
                want.sort();
                assert_eq!(lines(&given, *changelog), want, "{place}");
            }
            "late" => assert_eq!(harness.as_ref().unwrap().0.late_rows().to_string(), rest, "{place}"),
            "error" => {
                let error = failed.take().unwrap_or_else(|| panic!("{place}: nothing failed"));
                assert_eq!(format!("{} {}", error.state().code(), error.message()), rest, "{place}");
                harness = None;
                out.clear();
            }
            other => panic!("{place}: no such directive: {other}"),
        }
    }
    assert!(failed.is_none(), "{file}: {failed:?}");
}

/// Line number, directive and the rows below it.
fn split_into_directives(text: &str) -> Vec<(usize, &str, Vec<&str>)> {
    let mut blocks: Vec<(usize, &str, Vec<&str>)> = Vec::new();
    let directives = ["input", "operator", "push", "tick", "late", "error"];
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let first = line.split(' ').next().unwrap_or("");
        if line.is_empty() || line.starts_with('#') {
        } else if directives.contains(&first) {
            blocks.push((number + 1, line, Vec::new()));
        } else {
            blocks.last_mut().unwrap().2.push(line);
        }
    }
    blocks
}

macro_rules! scripts {
    ($($name:ident,)*) => {
        $(#[test]
        fn $name() {
            let file = concat!(stringify!($name), ".txt");
            let text = include_str!(concat!("../testdata/", stringify!($name), ".txt"));
            WAYS.into_iter().for_each(|way| run(file, text, way));
        })*
    };
}

scripts! { filter, project, window, aggregate, aggregate_keyless, aggregate_types, window_aggregate, window_aggregate_update,
window_aggregate_late, sliding_aggregate, session_aggregate, top_n, window_top_n, upsert, normalize, early_firing, late_rows, expand, }
