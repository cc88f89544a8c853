//! What streaming queries cannot do (yet), told from the syntax tree, which knows its places. Every refusal says what
//! would work instead.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, FunctionArgumentClause, FunctionArguments, GroupByExpr, Query, Select, SetExpr,
    SetOperator, Spanned, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::error::{Error, Result, SqlState};
use crate::plan::functions::CLOCK_FUNCTIONS;
use crate::plan::stream::AggregateFunction;
use crate::sql::places::Places;

/// Refuses a query that streaming cannot run, as far as its syntax tells.
pub fn check(query: &Query, text: &str) -> Result<()> {
    let mut refusals = Refusals { places: Places::new(text), in_window_function: vec![false] };
    match query.visit(&mut refusals) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Refusals<'a> {
    places: Places<'a>,
    /// Whether what is visited stands directly in a window function's arguments (where `TABLE t` is a sub-query).
    in_window_function: Vec<bool>,
}

type Flow = ControlFlow<Box<Error>>;

impl Refusals<'_> {
    fn refuse(&self, span: Span, message: impl Into<String>, hint: &str) -> Flow {
        let error = Error::unsupported(message, hint);
        ControlFlow::Break(Box::new(self.at(error, span)))
    }

    fn at(&self, error: Error, span: Span) -> Error {
        if span.start.line == 0 { error } else { error.at(self.places.position(span.start)) }
    }

    fn query(&self, query: &Query) -> Flow {
        if let Some(with) = &query.with
            && with.recursive
        {
            return self.refuse(with.with_token.0.span, "WITH RECURSIVE is not supported", "Plain WITH is.");
        }
        if let Some(order) = &query.order_by {
            let hint = "A stream has no end to sort at: leave ORDER BY out, and sort when reading a materialized view \
                        with SELECT.";
            return self.refuse(order.span(), "ORDER BY is not supported in a streaming query", hint);
        }
        if query.limit_clause.is_some() || query.fetch.is_some() {
            let span = query.limit_clause.as_ref().map_or_else(Span::empty, Spanned::span);
            let hint = "Leave it out, and limit when reading a materialized view with SELECT.";
            return self.refuse(span, "LIMIT and OFFSET are not supported in a streaming query", hint);
        }
        if !query.locks.is_empty() {
            return self.refuse(Span::empty(), "FOR UPDATE is not supported in a streaming query", "Leave it out.");
        }
        self.body(&query.body)
    }

    fn body(&self, body: &SetExpr) -> Flow {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(_) | SetExpr::Table(_) => ControlFlow::Continue(()),
            SetExpr::SetOperation { op, right, .. } => {
                let hint = match op {
                    SetOperator::Union => {
                        "Give each query its own INSERT into the same sink: AS (INSERT INTO s SELECT ...; INSERT INTO s \
                         SELECT ...)."
                    }
                    _ => "Filter with WHERE instead.",
                };
                self.refuse(right.span(), format!("{op} is not supported in a streaming query yet"), hint)
            }
            SetExpr::Values(_) => {
                let hint = "Read from a source; the generator and file connectors make rows too.";
                self.refuse(body.span(), "VALUES is not supported in a streaming query", hint)
            }
            _ => self.refuse(body.span(), "a streaming query must be a SELECT", "Write a SELECT."),
        }
    }

    fn select(&self, select: &Select) -> Flow {
        if let Some(distinct) = &select.distinct
            && !matches!(distinct, Distinct::All)
        {
            let span = select.select_token.0.span;
            let hint = "GROUP BY the same columns: that gives each distinct row once.";
            return self.refuse(span, "SELECT DISTINCT is not supported in a streaming query yet", hint);
        }
        if select.projection.is_empty() {
            let span = select.select_token.0.span;
            return self.refuse(span, "a streaming query must return a column", "Name one behind SELECT.");
        }
        if select.from.is_empty() {
            let hint = "Name a source in FROM.";
            return self.refuse(select.select_token.0.span, "a streaming query must read from a source", hint);
        }
        if let GroupByExpr::Expressions(exprs, modifiers) = &select.group_by {
            let sets = exprs.iter().find(|e| matches!(e, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_)));
            if sets.is_some() || !modifiers.is_empty() {
                let span = exprs.iter().find_map(|e| known(e.span())).unwrap_or(select.select_token.0.span);
                let hint = "Give each grouping its own INSERT with its own GROUP BY.";
                return self.refuse(span, "GROUPING SETS, CUBE and ROLLUP are not supported yet", hint);
            }
        }
        if let Some(qualify) = &select.qualify {
            return self.refuse(qualify.span(), "QUALIFY is not supported yet", "Filter with WHERE or HAVING.");
        }
        if let Some(window) = select.named_window.first() {
            return self.over(window.span());
        }
        if select.into.is_some() {
            let hint = "Write INSERT INTO sink SELECT ... in a streaming job.";
            return self.refuse(Span::empty(), "SELECT INTO is not supported", hint);
        }
        ControlFlow::Continue(())
    }

    fn over(&self, span: Span) -> Flow {
        let hint = "Use GROUP BY, over a window of event time such as TUMBLE if the state must stay bounded.";
        self.refuse(span, "window functions with OVER are not supported in a streaming query yet", hint)
    }

    fn subquery(&self, span: Span) -> Flow {
        let hint = "Sub-queries can stand in FROM and in WITH.";
        self.refuse(span, "a sub-query in an expression is not supported in a streaming query yet", hint)
    }

    fn function(&self, function: &Function) -> Flow {
        let name = function.name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.to_ascii_lowercase());
        let name = name.unwrap_or_default();
        let span = function.span();
        if function.over.is_some() {
            return self.over(span);
        }
        if CLOCK_FUNCTIONS.contains(&name.as_str()) {
            let hint = "Its value would change with every replay. Use the event-time column, or window_start and \
                        window_end.";
            return self.refuse(span, format!("{name} is not supported in a streaming query"), hint);
        }
        if ["tumble", "hop", "cumulate", "session"].contains(&name.as_str()) && !self.window_arguments() {
            let hint = "Put it into FROM, as in FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP \
                        BY window_start, window_end.";
            let message = format!("window function {} can only stand in FROM", name.to_uppercase());
            return self.refuse(span, message, hint);
        }
        let FunctionArguments::List(list) = &function.args else { return ControlFlow::Continue(()) };
        let aggregate = AggregateFunction::by_name(&name).is_some();
        if list.duplicate_treatment.is_some_and(|d| d.to_string() == "DISTINCT") && aggregate {
            let hint = "Group by the column in a sub-query first, and count its rows.";
            return self.refuse(span, format!("{name}(DISTINCT ...) is not supported yet"), hint);
        }
        let ordered = list.clauses.iter().any(|c| matches!(c, FunctionArgumentClause::OrderBy(_)));
        if ordered || !function.within_group.is_empty() {
            let hint = "count, sum, min, max and avg do not depend on an order: leave it out.";
            return self.refuse(span, format!("{name}(... ORDER BY ...) is not supported yet"), hint);
        }
        ControlFlow::Continue(())
    }

    fn window_arguments(&self) -> bool {
        self.in_window_function.last().copied().unwrap_or(false)
    }
}

fn known(span: Span) -> Option<Span> {
    (span.start.line > 0).then_some(span)
}

fn is_window_function(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::TableFunction { .. } | TableFactor::Table { args: Some(_), .. })
}

impl Visitor for Refusals<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        self.in_window_function.push(false);
        self.query(query)
    }

    fn post_visit_query(&mut self, _: &Query) -> Flow {
        self.in_window_function.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        if is_window_function(factor) {
            self.in_window_function.push(true);
        }
        match factor {
            TableFactor::Table { version: Some(_), .. } => {
                let hint = "Leave FOR SYSTEM_TIME AS OF out.";
                self.refuse(factor.span(), "FOR SYSTEM_TIME AS OF is not supported yet", hint)
            }
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                self.refuse(factor.span(), "TABLESAMPLE is not supported", "Filter with WHERE.")
            }
            TableFactor::Derived { lateral: true, .. } | TableFactor::Function { .. } => {
                self.refuse(factor.span(), "LATERAL is not supported in a streaming query", "Use a plain sub-query.")
            }
            TableFactor::Table { .. }
            | TableFactor::Derived { .. }
            | TableFactor::TableFunction { .. }
            | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            other => {
                let message = "this kind of FROM item is not supported in a streaming query";
                self.refuse(other.span(), message, "FROM can hold a source, a sub-query, or TUMBLE.")
            }
        }
    }

    fn post_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        if is_window_function(factor) {
            self.in_window_function.pop();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        match expr {
            Expr::Subquery(_) if self.window_arguments() => ControlFlow::Continue(()),
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => self.subquery(expr.span()),
            Expr::Function(function) => self.function(function),
            Expr::SimilarTo { .. } => {
                self.refuse(expr.span(), "SIMILAR TO is not supported", "Use LIKE, or ~ with a regular expression.")
            }
            Expr::AtTimeZone { .. } => {
                let hint = "Timestamps with time zone are kept in UTC; add an interval to shift one.";
                self.refuse(expr.span(), "AT TIME ZONE is not supported yet", hint)
            }
            Expr::Value(value) => match &value.value {
                datafusion::sql::sqlparser::ast::Value::Placeholder(name) => {
                    let error = Error::new(SqlState::UndefinedParameter, format!("there is no parameter {name}"));
                    let error = error.with_hint("A streaming query is stored: write the value itself.");
                    ControlFlow::Break(Box::new(self.at(error, value.span)))
                }
                _ => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}
