//! Window table functions: TUMBLE, HOP, CUMULATE and SESSION in Flink's form, `TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts),
//! INTERVAL '1' MINUTE))`, and in the short one, `tumble(orders, ts, INTERVAL '1 minute')`, with arguments by position or
//! by Flink's names. They become a node of the logical plan that appends window_start, window_end and window_time.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue, TableReference};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::sql::sqlparser::ast::{
    self, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, SetExpr, Spanned,
    TableAlias, TableFactor,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::late_rows::LATE_ROWS;
use super::settle::{fold, settle};
use super::typing::{literal_as, unknown};
use crate::error::{Error, SqlState};
use crate::plan::errors::through;
use crate::plan::stream::WindowKind;
use crate::sql::ast::Length;
use crate::sql::names::nearest;
use crate::sql::places::Places;
use crate::types::SqlType;

pub const WINDOW_START: &str = "window_start";
pub const WINDOW_END: &str = "window_end";
pub const WINDOW_TIME: &str = "window_time";

/// A window function over its input. Output: the input's columns, then window_start, window_end, window_time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WindowNode {
    pub input: LogicalPlan,
    /// The column that DESCRIPTOR names, as an expression over the input.
    pub time: Expr,
    pub window: WindowKind,
    /// SESSION's PARTITION BY, as columns of the input.
    pub partition: Vec<Expr>,
    /// Where the function stands in the statement, if known.
    pub position: Option<usize>,
    schema: DFSchemaRef,
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (&self.input, &self.time).partial_cmp(&(&other.input, &other.time)).filter(|o| o.is_ne() || self == other)
    }
}

impl WindowNode {
    fn try_new(
        input: LogicalPlan,
        time: Expr,
        window: WindowKind,
        partition: Vec<Expr>,
        position: Option<usize>,
    ) -> Result<Self> {
        let Expr::Column(column) = &time else {
            return Err(through(Error::internal("a window's time is not a column")));
        };
        let time_field = Arc::clone(input.schema().qualified_field_from_column(column)?.1);
        let mut fields: Vec<(Option<TableReference>, Arc<Field>)> =
            input.schema().iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        for name in [WINDOW_START, WINDOW_END, WINDOW_TIME] {
            if input.schema().has_column_with_unqualified_name(name) {
                let error =
                    Error::new(SqlState::DuplicateColumn, format!("column \"{name}\" specified more than once"));
                let error = error
                    .with_hint("The window function appends a column of that name; rename its input's in a sub-query.");
                return Err(through(place(error, position)));
            }
            let field = time_field.as_ref().clone().with_name(name).with_nullable(true);
            fields.push((None, Arc::new(field)));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(WindowNode { input, time, window, partition, position, schema })
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "Window"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(&self.time).chain(&self.partition).cloned().collect()
    }

    /// Sessions are of all rows that the function is given: only conditions that take whole keys go below it.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let mut columns: HashSet<String> = [WINDOW_START, WINDOW_END, WINDOW_TIME].map(String::from).into();
        if let WindowKind::Session { .. } = self.window {
            let is_key = |name: &str| self.partition.iter().any(|key| matches!(key, Expr::Column(c) if c.name == name));
            let names = self.input.schema().fields().iter().map(|field| field.name().as_str());
            columns.extend(names.filter(|name| !is_key(name)).map(String::from));
        }
        columns
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Window: {:?} of {}", self.window, self.time)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        // A rewrite of expressions may have given a column an alias; it stays the column.
        let mut columns = exprs.into_iter().map(Expr::unalias);
        match (columns.next(), inputs.into_iter().next()) {
            (Some(time), Some(input)) => {
                WindowNode::try_new(input, time, self.window, columns.collect(), self.position)
            }
            _ => Err(through(Error::internal("a window node lost its input"))),
        }
    }

    fn necessary_children_exprs(&self, outputs: &[usize]) -> Option<Vec<Vec<usize>>> {
        let Expr::Column(time) = &self.time else { return None };
        let width = self.input.schema().fields().len();
        let mut needed: Vec<usize> = outputs.iter().copied().filter(|o| *o < width).collect();
        needed.push(self.input.schema().maybe_index_of_column(time)?);
        for column in &self.partition {
            let Expr::Column(column) = column else { return None };
            needed.push(self.input.schema().maybe_index_of_column(column)?);
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

/// Recognises window functions in FROM.
#[derive(Debug)]
pub struct WindowFunctions {
    text: String,
}

impl WindowFunctions {
    pub fn new(text: &str) -> Self {
        WindowFunctions { text: text.to_string() }
    }

    pub(super) fn position(&self, span: Span) -> Option<usize> {
        (span.start.line > 0).then(|| Places::new(&self.text).position(span.start))
    }

    fn plan(
        &self,
        call: Call,
        alias: Option<TableAlias>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let plan = match call.name == LATE_ROWS {
            true => self.late_rows(call, context)?,
            false => LogicalPlan::Extension(Extension { node: Arc::new(self.window(call, context)?) }),
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }

    pub(super) fn window(&self, call: Call, context: &mut dyn RelationPlannerContext) -> Result<WindowNode> {
        let here = |error: Error| through(place(error, self.position(call.span)));
        let Some(kind) = Kind::by_name(&call.name) else {
            let name = &call.name;
            let error = Error::new(SqlState::UndefinedFunction, format!("table function {name} does not exist"));
            let near = nearest(name, Kind::ALL.map(Kind::name).into_iter().chain([LATE_ROWS]))
                .map(|n| format!("Perhaps you meant the function \"{n}\"."));
            let hint =
                near.unwrap_or_else(|| "The table functions known are TUMBLE, HOP, CUMULATE and SESSION.".into());
            return Err(here(error.with_hint(hint)));
        };
        let arguments = Arguments::read(kind, call.args).map_err(here)?;
        let input = context.plan(arguments.table)?;
        let mut column = |name: Ident| -> Result<Expr> {
            let Expr::Column(column) = context.sql_to_expr(ast::Expr::Identifier(name), input.schema())? else {
                return Err(here(kind.usage("what should name a column does not")));
            };
            let qualified = input.schema().columns_with_unqualified_name(&column.name).into_iter().next();
            Ok(Expr::Column(qualified.unwrap_or(column)))
        };
        let time = column(arguments.time)?;
        let partition = arguments.partition.into_iter().map(column).collect::<Result<Vec<_>>>()?;
        let mut lengths = Vec::new();
        for (what, length) in kind.lengths().iter().zip(arguments.lengths) {
            let length = constant_interval(context, length, what).map_err(here)?;
            if length <= 0 {
                let message = format!("the {what} of a window must be positive");
                return Err(here(Error::new(SqlState::InvalidParameterValue, message)));
            }
            lengths.push(length);
        }
        let offset =
            arguments.offset.map(|o| constant_interval(context, o, "offset")).transpose().map_err(here)?.unwrap_or(0);
        let finer = |unit: &i64| offset % unit != 0 || lengths.iter().any(|length| length % unit != 0);
        if let Some(unit) = input_unit(&input, &time).filter(finer) {
            return Err(here(finer_than_its_time(unit)));
        }
        let window = kind.window(&lengths, offset).map_err(here)?;
        WindowNode::try_new(input, time, window, partition, self.position(call.span))
    }
}

/// A window function, and how it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

/// Windows that a row may fall into, at most: each is a row of the answer, and what is repeated as often must stay bounded.
const MAX_WINDOWS_A_ROW: i64 = 10_000;

impl Kind {
    const ALL: [Kind; 4] = [Kind::Tumble, Kind::Hop, Kind::Cumulate, Kind::Session];

    fn by_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Tumble => "tumble",
            Kind::Hop => "hop",
            Kind::Cumulate => "cumulate",
            Kind::Session => "session",
        }
    }

    /// The lengths it takes, in Flink's order.
    fn lengths(self) -> &'static [&'static str] {
        match self {
            Kind::Tumble => &["size"],
            Kind::Hop => &["slide", "size"],
            Kind::Cumulate => &["step", "size"],
            Kind::Session => &["gap"],
        }
    }

    fn takes_offset(self) -> bool {
        self != Kind::Session
    }

    /// Flink's names of all its arguments.
    fn arguments(self) -> Vec<&'static str> {
        let offset = self.takes_offset().then_some("offset");
        ["data", "timecol"].into_iter().chain(self.lengths().iter().copied()).chain(offset).collect()
    }

    fn window(self, lengths: &[i64], offset: i64) -> Result<WindowKind, Error> {
        let (window, windows) = match (self, lengths) {
            (Kind::Tumble, [size]) => (WindowKind::Tumble { size: *size, offset: offset.rem_euclid(*size) }, 1),
            (Kind::Hop, [slide, size]) => {
                (WindowKind::Hop { size: *size, slide: *slide, offset: offset.rem_euclid(*slide) }, size / slide)
            }
            (Kind::Cumulate, [step, size]) if step > size => {
                let error = Error::new(SqlState::InvalidParameterValue, "the step of a CUMULATE exceeds its size");
                return Err(error.with_hint("The step comes first, then the size."));
            }
            (Kind::Cumulate, [step, size]) => {
                (WindowKind::Cumulate { size: *size, step: *step, offset: offset.rem_euclid(*size) }, size / step)
            }
            (Kind::Session, [gap]) => (WindowKind::Session { gap: *gap }, 1),
            _ => return Err(Error::internal("a window function lost an argument")),
        };
        if windows > MAX_WINDOWS_A_ROW {
            let message = format!("a row would fall into {windows} windows of this {}", self.name().to_uppercase());
            let hint = format!("At most {MAX_WINDOWS_A_ROW} are supported: take a longer {}.", self.lengths()[0]);
            return Err(Error::unsupported(message, hint));
        }
        Ok(window)
    }

    fn usage(self, what: &str) -> Error {
        let name = self.name().to_uppercase();
        let hint = match self {
            Kind::Tumble => {
                "Write TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)), with an offset as fourth argument if \
                 needed."
            }
            Kind::Hop => {
                "Write TABLE(HOP(TABLE t, DESCRIPTOR(ts), slide, size)), with an offset as fifth argument if needed."
            }
            Kind::Cumulate => {
                "Write TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), step, size)), with an offset as fifth argument if needed."
            }
            Kind::Session => "Write TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '5' MINUTE)).",
        };
        Error::new(SqlState::UndefinedFunction, format!("{name} cannot be called like this: {what}")).with_hint(hint)
    }
}

impl RelationPlanner for WindowFunctions {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let span = relation.span();
        match relation {
            TableFactor::TableFunction { expr: ast::Expr::Function(function), alias } => {
                let span = function.span();
                match Call::of(function, span) {
                    Ok(call) => self.plan(call, alias, context),
                    Err(error) => Err(through(place(error, self.position(span)))),
                }
            }
            TableFactor::TableFunction { expr, .. } => {
                let error = Error::new(SqlState::SyntaxError, "TABLE(...) takes a window function");
                let hint =
                    "Write TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)), or the table's name alone.";
                Err(through(place(error.with_hint(hint), self.position(expr.span()))))
            }
            TableFactor::Table { name, alias, args: Some(args), .. } => {
                let call = Call { name: last_name(&name), args: args.args, span };
                self.plan(call, alias, context)
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}

/// Microseconds in one unit of the event-time column; none if it is no timestamp, which is refused elsewhere.
fn input_unit(input: &LogicalPlan, time: &Expr) -> Option<i64> {
    let Expr::Column(column) = time else { return None };
    let (_, field) = input.schema().qualified_field_from_column(column).ok()?;
    SqlType::from_field(field).time_unit_micros()
}

fn finer_than_its_time(unit: i64) -> Error {
    let (name, precision) = if unit == 1 { ("microseconds", 6) } else { ("milliseconds", 3) };
    let message =
        format!("the size and offset of a window must be whole {name}, as its time column is TIMESTAMP({precision})");
    Error::new(SqlState::InvalidParameterValue, message)
        .with_hint("A window's bounds have the type of the column; declare it TIMESTAMP(6) for finer windows.")
}

fn place(error: Error, position: Option<usize>) -> Error {
    match position {
        Some(position) => error.at(position),
        None => error,
    }
}

fn last_name(name: &ObjectName) -> String {
    name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.to_ascii_lowercase()).unwrap_or_default()
}

pub(super) struct Call {
    pub name: String,
    pub args: Vec<FunctionArg>,
    pub span: Span,
}

impl Call {
    pub fn of(function: Function, span: Span) -> Result<Call, Error> {
        let name = last_name(&function.name);
        match function.args {
            FunctionArguments::List(list) => Ok(Call { name, args: list.args, span }),
            FunctionArguments::Subquery(query) => {
                let arg = FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Subquery(query)));
                Ok(Call { name, args: vec![arg], span })
            }
            FunctionArguments::None => {
                let error = format!("table function {name} cannot be called like this: it has no arguments");
                Err(Error::new(SqlState::UndefinedFunction, error))
            }
        }
    }
}

struct Arguments {
    table: TableFactor,
    partition: Vec<Ident>,
    time: Ident,
    lengths: Vec<ast::Expr>,
    offset: Option<ast::Expr>,
}

impl Arguments {
    /// By position, or by Flink's names.
    fn read(kind: Kind, args: Vec<FunctionArg>) -> Result<Arguments, Error> {
        let names = kind.arguments();
        let mut slots: Vec<Option<ast::Expr>> = vec![None; names.len()];
        for (index, arg) in args.into_iter().enumerate() {
            let (index, value) = match arg {
                FunctionArg::Unnamed(value) => (index, value),
                FunctionArg::Named { name, arg, .. } => {
                    let name = name.value.to_ascii_lowercase();
                    let index = names.iter().position(|n| *n == name);
                    (index.ok_or_else(|| kind.usage(&format!("it has no argument named {name}")))?, arg)
                }
                FunctionArg::ExprNamed { .. } => return Err(kind.usage("an argument's name is not a name")),
            };
            let FunctionArgExpr::Expr(value) = value else {
                return Err(kind.usage("an argument is not an expression"));
            };
            match slots.get_mut(index) {
                Some(slot @ None) => *slot = Some(value),
                Some(Some(_)) => return Err(kind.usage("an argument is given twice")),
                None => return Err(kind.usage(&format!("there are more than {} arguments", NUMBERS[names.len()]))),
            }
        }
        let mut slots = slots.into_iter();
        let mut next = |what: &str| slots.next().flatten().ok_or_else(|| kind.usage(&format!("the {what} is missing")));
        let (table, partition) = table_argument(kind, next("table")?)?;
        let time = time_argument(kind, next("time column")?)?;
        let lengths = kind.lengths().iter().map(|what| next(what)).collect::<Result<Vec<_>, Error>>()?;
        Ok(Arguments { table, partition, time, lengths, offset: slots.next().flatten() })
    }
}

const NUMBERS: [&str; 6] = ["no", "one", "two", "three", "four", "five"];

/// `TABLE t [PARTITION BY k]` (which reads as a sub-query `SELECT * FROM t [DISTRIBUTE BY k]`), a sub-query, or the
/// table's name.
fn table_argument(kind: Kind, expr: ast::Expr) -> Result<(TableFactor, Vec<Ident>), Error> {
    match expr {
        ast::Expr::Subquery(mut query) => {
            let mut partition = Vec::new();
            if let SetExpr::Select(select) = query.body.as_mut() {
                for column in std::mem::take(&mut select.distribute_by) {
                    partition.push(time_argument(kind, column)?);
                }
            }
            if !partition.is_empty() && kind != Kind::Session {
                let message = format!("PARTITION BY is not supported in {}", kind.name().to_uppercase());
                let hint = "Its windows are the same for all rows: leave it out, and GROUP BY the columns.";
                return Err(Error::unsupported(message, hint));
            }
            Ok((derived(query), partition))
        }
        ast::Expr::Identifier(name) => Ok((table(vec![name]), Vec::new())),
        ast::Expr::CompoundIdentifier(parts) => Ok((table(parts), Vec::new())),
        ast::Expr::Nested(inner) => table_argument(kind, *inner),
        _ => Err(kind.usage("the first argument is not a table")),
    }
}

/// A sub-query that only names a table keeps the table's name, so that its columns can be qualified by it.
fn derived(query: Box<Query>) -> TableFactor {
    if let SetExpr::Select(select) = query.body.as_ref()
        && let [ast::SelectItem::Wildcard(_)] = select.projection.as_slice()
        && let [from] = select.from.as_slice()
        && from.joins.is_empty()
        && let TableFactor::Table { name, alias: None, args: None, .. } = &from.relation
        && select.selection.is_none()
        && query.with.is_none()
    {
        return table(name.0.iter().filter_map(|p| p.as_ident().cloned()).collect());
    }
    TableFactor::Derived { lateral: false, subquery: query, alias: None, sample: None }
}

fn table(parts: Vec<Ident>) -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(parts),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// DESCRIPTOR(ts), or the column's name alone.
fn time_argument(kind: Kind, expr: ast::Expr) -> Result<Ident, Error> {
    let one = || kind.usage("DESCRIPTOR names one column");
    match expr {
        ast::Expr::Identifier(name) => Ok(name),
        ast::Expr::CompoundIdentifier(mut parts) => parts.pop().ok_or_else(|| kind.usage("the time column is missing")),
        ast::Expr::Function(function) if last_name(&function.name) == "descriptor" => match function.args {
            FunctionArguments::List(mut list) if list.args.len() == 1 => match list.args.pop() {
                Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(column))) => time_argument(kind, column),
                _ => Err(one()),
            },
            _ => Err(one()),
        },
        _ => Err(kind.usage("the second argument is not a column")),
    }
}

/// Microseconds of an ALLOWED LATENESS. `text` is what its place refers to.
pub fn lateness(text: &str, lateness: &Length) -> Result<i64, Error> {
    clause_length(text, lateness, "allowed lateness", 0, "the allowed lateness of a window must not be negative")
}

/// Microseconds of an EMIT EVERY.
pub fn every(text: &str, every: &Length) -> Result<i64, Error> {
    clause_length(text, every, "early firing", 1, "the interval of EMIT EVERY must be positive")
}

fn clause_length(text: &str, length: &Length, what: &str, least: i64, refusal: &str) -> Result<i64, Error> {
    let shown = length.interval.to_string();
    let expr = super::plan_expr(text, length.interval.as_ref().clone(), &DFSchema::empty());
    let micros = expr.and_then(|expr| micros(expr, what, &shown)).and_then(|micros| match micros >= least {
        true => Ok(micros),
        false => Err(Error::new(SqlState::InvalidParameterValue, refusal)),
    });
    micros.map_err(|e| if e.position().is_some() { e } else { e.at(length.position) })
}

/// Microseconds of a constant interval without months.
pub(super) fn constant_interval(
    context: &mut dyn RelationPlannerContext,
    expr: ast::Expr,
    what: &str,
) -> Result<i64, Error> {
    let shown = expr.to_string();
    let planned = context.sql_to_expr(expr, &DFSchema::empty()).map_err(|e| match e.find_root() {
        DataFusionError::SchemaError(..) => not_constant(what, &shown),
        _ => Error::from(e),
    })?;
    micros(planned, what, &shown)
}

/// It names a column, or is something else than an interval.
fn not_constant(what: &str, shown: &str) -> Error {
    let message = format!("the {what} of a window must be a constant interval: {shown}");
    Error::new(SqlState::InvalidParameterValue, message).with_hint("For example INTERVAL '1' MINUTE.")
}

fn micros(expr: Expr, what: &str, shown: &str) -> Result<i64, Error> {
    let fail =
        |why: &str| Error::new(SqlState::InvalidParameterValue, format!("the {what} of a window {why}: {shown}"));
    let expr = match unknown(&expr) {
        Some(text) => literal_as(&text, &SqlType::Interval.to_arrow()).map_err(Error::from)?,
        None => settle(expr, &DFSchema::empty()).and_then(fold).map_err(Error::from)?,
    };
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) = expr else {
        return Err(not_constant(what, shown));
    };
    if value.months != 0 {
        return Err(
            fail("cannot be given in months").with_hint("Months differ in length; give days, as in INTERVAL '30' DAY.")
        );
    }
    let days = i128::from(value.days) * 86_400_000_000_000;
    let nanos = days + i128::from(value.nanoseconds);
    if nanos % 1_000 != 0 {
        return Err(fail("must be whole microseconds"));
    }
    i64::try_from(nanos / 1_000).map_err(|_| fail("is too large"))
}
