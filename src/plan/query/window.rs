//! Window table functions: TUMBLE in Flink's form, `TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))`, and
//! in the short one, `tumble(orders, ts, INTERVAL '1 minute')`; an offset may follow. They become a node of the logical
//! plan that appends window_start, window_end and window_time.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::sql::sqlparser::ast::{
    self, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, SetExpr, Spanned,
    TableAlias, TableFactor,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::settle::fold;
use super::typing::{literal_as, unknown};
use crate::error::{Error, SqlState};
use crate::plan::errors::through;
use crate::plan::stream::WindowSpec;
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
    pub window: WindowSpec,
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
    fn try_new(input: LogicalPlan, time: Expr, window: WindowSpec, position: Option<usize>) -> Result<Self> {
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
        Ok(WindowNode { input, time, window, position, schema })
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
        vec![self.time.clone()]
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        [WINDOW_START, WINDOW_END, WINDOW_TIME].map(String::from).into()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Window: {:?} of {}", self.window, self.time)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (exprs.into_iter().next(), inputs.into_iter().next()) {
            // A rewrite of expressions may have given the column an alias; it stays the column.
            (Some(time), Some(input)) => WindowNode::try_new(input, time.unalias(), self.window, self.position),
            _ => Err(through(Error::internal("a window node lost its input"))),
        }
    }

    fn necessary_children_exprs(&self, outputs: &[usize]) -> Option<Vec<Vec<usize>>> {
        let Expr::Column(time) = &self.time else { return None };
        let width = self.input.schema().fields().len();
        let mut needed: Vec<usize> = outputs.iter().copied().filter(|o| *o < width).collect();
        needed.push(self.input.schema().maybe_index_of_column(time)?);
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

    fn position(&self, span: Span) -> Option<usize> {
        (span.start.line > 0).then(|| Places::new(&self.text).position(span.start))
    }

    fn plan(
        &self,
        call: Call,
        alias: Option<TableAlias>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let here = |error: Error| through(place(error, self.position(call.span)));
        match call.name.as_str() {
            "tumble" => {}
            "hop" | "cumulate" | "session" => {
                let name = call.name.to_uppercase();
                return Err(here(Error::unsupported(
                    format!("window function {name} is not supported yet"),
                    "TUMBLE is: TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)).",
                )));
            }
            other => {
                let error = Error::new(SqlState::UndefinedFunction, format!("table function {other} does not exist"));
                let near = nearest(other, ["tumble"]).map(|n| format!("Perhaps you meant the function \"{n}\"."));
                return Err(here(
                    error.with_hint(near.unwrap_or_else(|| "The table function known is TUMBLE.".into())),
                ));
            }
        }
        let arguments = Arguments::read(call.args).map_err(here)?;
        let input = context.plan(arguments.table)?;
        let time = context.sql_to_expr(ast::Expr::Identifier(arguments.time.clone()), input.schema())?;
        let Expr::Column(column) = time else { return Err(here(usage("the second argument is not a column"))) };
        let qualified = input.schema().columns_with_unqualified_name(&column.name).into_iter().next();
        let time = Expr::Column(qualified.unwrap_or(column));
        let size = interval(context, arguments.size, "size").map_err(here)?;
        let offset = arguments.offset.map(|o| interval(context, o, "offset")).transpose().map_err(here)?.unwrap_or(0);
        if size <= 0 {
            let error = Error::new(SqlState::InvalidParameterValue, "the size of a window must be positive");
            return Err(here(error));
        }
        if let Some(unit) = input_unit(&input, &time).filter(|unit| size % unit != 0 || offset % unit != 0) {
            return Err(here(finer_than_its_time(unit)));
        }
        let window = WindowSpec::Tumble { size, offset: offset.rem_euclid(size) };
        let node = WindowNode::try_new(input, time, window, self.position(call.span))?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
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

struct Call {
    name: String,
    args: Vec<FunctionArg>,
    span: Span,
}

impl Call {
    fn of(function: Function, span: Span) -> Result<Call, Error> {
        let name = last_name(&function.name);
        match function.args {
            FunctionArguments::List(list) => Ok(Call { name, args: list.args, span }),
            FunctionArguments::Subquery(query) => {
                let arg = FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Subquery(query)));
                Ok(Call { name, args: vec![arg], span })
            }
            FunctionArguments::None => Err(usage("it has no arguments")),
        }
    }
}

struct Arguments {
    table: TableFactor,
    time: Ident,
    size: ast::Expr,
    offset: Option<ast::Expr>,
}

fn usage(what: &str) -> Error {
    Error::new(SqlState::UndefinedFunction, format!("TUMBLE cannot be called like this: {what}"))
        .with_hint("Write TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)), with an offset as fourth argument if needed.")
}

impl Arguments {
    /// By position, or by Flink's names (DATA, TIMECOL, SIZE, OFFSET).
    fn read(args: Vec<FunctionArg>) -> Result<Arguments, Error> {
        const NAMES: [&str; 4] = ["data", "timecol", "size", "offset"];
        let mut slots: [Option<ast::Expr>; 4] = [None, None, None, None];
        for (index, arg) in args.into_iter().enumerate() {
            let (index, value) = match arg {
                FunctionArg::Unnamed(value) => (index, value),
                FunctionArg::Named { name, arg, .. } => {
                    let name = name.value.to_ascii_lowercase();
                    let index = NAMES.iter().position(|n| *n == name);
                    (index.ok_or_else(|| usage(&format!("it has no argument named {name}")))?, arg)
                }
                FunctionArg::ExprNamed { .. } => return Err(usage("an argument's name is not a name")),
            };
            let FunctionArgExpr::Expr(value) = value else { return Err(usage("an argument is not an expression")) };
            match slots.get_mut(index) {
                Some(slot @ None) => *slot = Some(value),
                Some(Some(_)) => return Err(usage("an argument is given twice")),
                None => return Err(usage("there are more than four arguments")),
            }
        }
        let [table, time, size, offset] = slots;
        Ok(Arguments {
            table: table_argument(table.ok_or_else(|| usage("the table is missing"))?)?,
            time: time_argument(time.ok_or_else(|| usage("the time column is missing"))?)?,
            size: size.ok_or_else(|| usage("the size is missing"))?,
            offset,
        })
    }
}

/// `TABLE t` (which reads as a sub-query `SELECT * FROM t`), a sub-query, or the table's name.
fn table_argument(expr: ast::Expr) -> Result<TableFactor, Error> {
    match expr {
        ast::Expr::Subquery(query) => Ok(derived(query)),
        ast::Expr::Identifier(name) => Ok(table(vec![name])),
        ast::Expr::CompoundIdentifier(parts) => Ok(table(parts)),
        ast::Expr::Nested(inner) => table_argument(*inner),
        _ => Err(usage("the first argument is not a table")),
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
fn time_argument(expr: ast::Expr) -> Result<Ident, Error> {
    match expr {
        ast::Expr::Identifier(name) => Ok(name),
        ast::Expr::CompoundIdentifier(mut parts) => parts.pop().ok_or_else(|| usage("the time column is missing")),
        ast::Expr::Function(function) if last_name(&function.name) == "descriptor" => match function.args {
            FunctionArguments::List(mut list) if list.args.len() == 1 => match list.args.pop() {
                Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(column))) => time_argument(column),
                _ => Err(usage("DESCRIPTOR names one column")),
            },
            _ => Err(usage("DESCRIPTOR names one column")),
        },
        _ => Err(usage("the second argument is not a column")),
    }
}

/// Microseconds of a constant interval without months.
fn interval(context: &mut dyn RelationPlannerContext, expr: ast::Expr, what: &str) -> Result<i64, Error> {
    let shown = expr.to_string();
    let fail =
        |why: &str| Error::new(SqlState::InvalidParameterValue, format!("the {what} of a window {why}: {shown}"));
    let expr = context.sql_to_expr(expr, &DFSchema::empty()).map_err(Error::from)?;
    let expr = match unknown(&expr) {
        Some(text) => literal_as(&text, &SqlType::Interval.to_arrow()).map_err(Error::from)?,
        None => fold(expr).map_err(Error::from)?,
    };
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) = expr else {
        return Err(fail("must be a constant interval").with_hint("For example INTERVAL '1' MINUTE."));
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
