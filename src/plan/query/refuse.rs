//! What streaming queries cannot do (yet), told from the syntax tree, which knows its places. Every refusal says what
//! would work instead.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArgumentClause, FunctionArguments, GroupByExpr, Join, JoinConstraint, JoinOperator,
    LimitClause, Query, Select, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::error::{Error, Result, SqlState};
use crate::plan::functions::CLOCK_FUNCTIONS;
use crate::plan::lower::TOP_N_HINT;
use crate::plan::stream::{AggregateFunction, RankFunction};
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
        self.limit(query)?;
        if !query.locks.is_empty() {
            return self.refuse(Span::empty(), "FOR UPDATE is not supported in a streaming query", "Leave it out.");
        }
        self.body(&query.body)
    }

    fn limit(&self, query: &Query) -> Flow {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            let offset = offset.as_ref().map(|offset| &offset.value);
            for (clause, value) in [("LIMIT", limit.as_ref()), ("OFFSET", offset)] {
                let named = |e: &Expr| matches!(e, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
                let Some(span) = value.and_then(|value| find(value, named)) else { continue };
                let message = format!("argument of {clause} must not contain variables");
                let error = Error::new(SqlState::InvalidColumnReference, message).with_hint("Write a whole number.");
                return ControlFlow::Break(Box::new(self.at(error, span)));
            }
        }
        if let Some(LimitClause::LimitOffset { limit_by, .. }) = &query.limit_clause
            && let Some(by) = limit_by.first()
        {
            let message = "LIMIT BY is not supported in a streaming query";
            return self.refuse(by.span(), message, TOP_N_HINT);
        }
        let Some(fetch) = &query.fetch else { return ControlFlow::Continue(()) };
        let span = fetch.quantity.as_ref().map_or_else(Span::empty, Spanned::span);
        if fetch.with_ties {
            let hint = "Rank the rows: SELECT ... FROM (SELECT *, RANK() OVER (ORDER BY a) AS r FROM t) WHERE r <= 10.";
            return self.refuse(span, "FETCH FIRST ... WITH TIES is not supported in a streaming query", hint);
        }
        if fetch.percent {
            let message = "FETCH FIRST ... PERCENT is not supported in a streaming query";
            return self.refuse(span, message, "Write a number of rows.");
        }
        if matches!(&query.limit_clause, Some(LimitClause::LimitOffset { limit: Some(_), .. })) {
            let error = Error::new(SqlState::SyntaxError, "multiple LIMIT clauses not allowed");
            return ControlFlow::Break(Box::new(self.at(error, span)));
        }
        ControlFlow::Continue(())
    }

    fn body(&self, body: &SetExpr) -> Flow {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(_) | SetExpr::Table(_) => ControlFlow::Continue(()),
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let all = matches!(set_quantifier, SetQuantifier::All | SetQuantifier::AllByName);
                if all && *op != SetOperator::Union {
                    let hint = format!("{op} without ALL is: it gives each row once.");
                    return self.refuse(right.span(), format!("{op} ALL is not supported in a streaming query"), &hint);
                }
                self.body(left)?;
                self.body(right)
            }
            SetExpr::Values(_) => {
                let hint = "Read from a source; the generator and file connectors make rows too.";
                self.refuse(body.span(), "VALUES is not supported in a streaming query", hint)
            }
            _ => self.refuse(body.span(), "a streaming query must be a SELECT", "Write a SELECT."),
        }
    }

    fn select(&self, select: &Select) -> Flow {
        if select.projection.is_empty() {
            let span = select.select_token.0.span;
            return self.refuse(span, "a streaming query must return a column", "Name one behind SELECT.");
        }
        if select.from.is_empty() {
            let hint = "Name a source in FROM.";
            return self.refuse(select.select_token.0.span, "a streaming query must read from a source", hint);
        }
        select.from.iter().flat_map(|from| &from.joins).try_for_each(|join| self.join(join))?;
        if let GroupByExpr::Expressions(exprs, modifiers) = &select.group_by
            && !modifiers.is_empty()
        {
            let span = exprs.iter().find_map(|e| known(e.span())).unwrap_or(select.select_token.0.span);
            let hint = "Write GROUP BY ROLLUP (a, b), or GROUP BY CUBE (a, b).";
            return self.refuse(span, "GROUP BY ... WITH ROLLUP and its like are not supported", hint);
        }
        for (clause, condition) in [("WHERE", &select.selection), ("HAVING", &select.having)] {
            let ranking: fn(&Expr) -> bool = |e| matches!(e, Expr::Function(function) if function.over.is_some());
            let Some(span) = condition.as_ref().and_then(|condition| find(condition, ranking)) else { continue };
            let message = format!("window functions are not allowed in {clause}");
            let error = Error::new(SqlState::WindowingError, message).with_hint(TOP_N_HINT);
            return ControlFlow::Break(Box::new(self.at(error, span)));
        }
        if select.into.is_some() {
            let hint = "Write INSERT INTO sink SELECT ... in a streaming job.";
            return self.refuse(Span::empty(), "SELECT INTO is not supported", hint);
        }
        ControlFlow::Continue(())
    }

    fn join(&self, join: &Join) -> Flow {
        let span = join.relation.span();
        match &join.join_operator {
            // The one column that USING makes of two would be the left one, which is null where the left row is missing.
            JoinOperator::Right(constraint)
            | JoinOperator::RightOuter(constraint)
            | JoinOperator::FullOuter(constraint)
                if matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural) =>
            {
                let hint = "Write ON, and coalesce(l.column, r.column) in the SELECT list.";
                self.refuse(span, "USING and NATURAL are not supported in RIGHT and FULL joins yet", hint)
            }
            JoinOperator::Join(_)
            | JoinOperator::Inner(_)
            | JoinOperator::Left(_)
            | JoinOperator::LeftOuter(_)
            | JoinOperator::Right(_)
            | JoinOperator::RightOuter(_)
            | JoinOperator::FullOuter(_)
            | JoinOperator::CrossJoin(JoinConstraint::None)
            | JoinOperator::LeftSemi(_)
            | JoinOperator::LeftAnti(_)
            | JoinOperator::RightSemi(_)
            | JoinOperator::RightAnti(_) => ControlFlow::Continue(()),
            _ => {
                let hint = "INNER, LEFT, RIGHT, FULL and CROSS JOIN are supported.";
                self.refuse(span, "this kind of join is not supported in a streaming query", hint)
            }
        }
    }

    fn over(&self, name: &str, span: Span) -> Flow {
        let message = format!("{name} with OVER is not supported in a streaming query yet");
        let hint = "GROUP BY gives one row a group, over a window of event time such as TUMBLE if the state must stay \
                    bounded. With OVER, only ROW_NUMBER, RANK and DENSE_RANK are supported, under a condition such as \
                    rn <= 10.";
        self.refuse(span, message, hint)
    }

    fn function(&self, function: &Function) -> Flow {
        let name = function.name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.to_ascii_lowercase());
        let name = name.unwrap_or_default();
        let span = function.span();
        if function.over.is_some() && RankFunction::by_name(&name).is_none() {
            return self.over(&name, span);
        }
        if function.over.is_none() && RankFunction::by_name(&name).is_some() {
            let error = Error::new(SqlState::WindowingError, format!("window function {name} requires an OVER clause"));
            return ControlFlow::Break(Box::new(self.at(error.with_hint(TOP_N_HINT), span)));
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
        let ordered = list.clauses.iter().any(|c| matches!(c, FunctionArgumentClause::OrderBy(_)));
        let takes_order = AggregateFunction::by_name(&name).is_some_and(AggregateFunction::collects);
        if !function.within_group.is_empty() {
            let hint = "string_agg and array_agg take their order among the arguments: string_agg(x, ', ' ORDER BY y).";
            return self.refuse(span, format!("{name}(...) WITHIN GROUP is not supported"), hint);
        }
        if ordered && !takes_order {
            let hint = "Its answer does not depend on an order: leave it out. Those of string_agg and array_agg do.";
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

/// The place of the first part of an expression, but not of its sub-queries, that is wanted.
fn find(expr: &Expr, wanted: fn(&Expr) -> bool) -> Option<Span> {
    expr.visit(&mut Finding { wanted, queries: 0 }).break_value()
}

struct Finding {
    wanted: fn(&Expr) -> bool,
    /// How many sub-queries deep.
    queries: usize,
}

impl Visitor for Finding {
    type Break = Span;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Span> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Span> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Span> {
        match self.queries == 0 && (self.wanted)(expr) {
            true => ControlFlow::Break(expr.span()),
            false => ControlFlow::Continue(()),
        }
    }
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
            TableFactor::NestedJoin { table_with_joins, .. } => {
                table_with_joins.joins.iter().try_for_each(|join| self.join(join))
            }
            TableFactor::Table { .. } | TableFactor::Derived { .. } | TableFactor::TableFunction { .. } => {
                ControlFlow::Continue(())
            }
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
