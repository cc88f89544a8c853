//! Finds the place of an error that DataFusion reports without one, by what the error names.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, LimitClause, OrderByKind, Query, SelectItem, SetExpr, Spanned, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::error::{Error, SqlState};
use crate::plan::errors::MAKES_ROWS;
use crate::sql::names::fold;
use crate::sql::places::Places;

use super::subquery::SUBQUERY;

/// Adds a position to an error about a function, a literal or a type that stands in `query`.
pub fn locate(error: Error, query: &Query, text: &str) -> Error {
    if error.position().is_some() {
        return error;
    }
    let Some(wanted) = wanted(&error) else { return error };
    let mut finder = Finder { wanted, clauses: Vec::new() };
    match (query.visit(&mut finder), finder.clauses.as_slice()) {
        (ControlFlow::Break(span), _) => at(error, span, text),
        (ControlFlow::Continue(()), [span]) => at(error, *span, text),
        // Of several it may be any.
        (ControlFlow::Continue(()), _) => error,
    }
}

/// The position of the item at `index` of a query's SELECT list, if each item before it is one column.
pub fn item_position(query: &Query, index: usize, text: &str) -> Option<usize> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let wide = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    if select.projection.iter().take(index + 1).any(wide) {
        return None;
    }
    let span = select.projection.get(index)?.span();
    (span.start.line > 0).then(|| Places::new(text).position(span.start))
}

fn at(error: Error, span: Span, text: &str) -> Error {
    if span.start.line == 0 { error } else { error.at(Places::new(text).position(span.start)) }
}

enum Wanted {
    Function(String),
    AnyAggregate,
    Literal(String),
    Type(String),
    SubQuery,
    /// ORDER BY 7.
    OutputPosition(String),
    /// The second output column of that name.
    SecondOutput(String),
    /// WHERE's or HAVING's condition, LIMIT's or OFFSET's number.
    Clause(String),
}

fn wanted(error: &Error) -> Option<Wanted> {
    let message = error.message();
    let quoted = || message.rsplit_once(": \"").and_then(|(_, rest)| rest.strip_suffix('"')).map(str::to_string);
    match error.state() {
        SqlState::FeatureNotSupported if message.contains(SUBQUERY) => Some(Wanted::SubQuery),
        SqlState::FeatureNotSupported if message.starts_with("unnest ") => Some(Wanted::Function("unnest".into())),
        SqlState::FeatureNotSupported if message.ends_with(MAKES_ROWS) => {
            message.split(' ').next().map(|name| Wanted::Function(name.into()))
        }
        SqlState::DuplicateColumn => message.split('"').nth(1).map(|name| Wanted::SecondOutput(name.into())),
        SqlState::DatatypeMismatch => {
            let clause = message.strip_prefix("argument of ")?.split(' ').next()?;
            Some(Wanted::Clause(clause.into()))
        }
        SqlState::InvalidRowCountInLimitClause | SqlState::InvalidRowCountInResultOffsetClause => {
            message.split(' ').next().map(|clause| Wanted::Clause(clause.into()))
        }
        SqlState::FeatureNotSupported if message.starts_with("type ") => {
            message.split(' ').nth(1).map(|name| Wanted::Type(name.into()))
        }
        SqlState::UndefinedFunction | SqlState::FeatureNotSupported => {
            let kind = ["aggregate ", "window "].into_iter().find_map(|kind| message.strip_prefix(kind));
            let rest = kind.unwrap_or(message);
            let rest = rest.strip_prefix("function ")?;
            let name = rest.split(['(', ' ']).next()?;
            Some(Wanted::Function(name.to_string()))
        }
        SqlState::GroupingError => Some(Wanted::AnyAggregate),
        SqlState::InvalidTextRepresentation | SqlState::InvalidDatetimeFormat | SqlState::DatetimeFieldOverflow => {
            quoted().map(Wanted::Literal)
        }
        SqlState::NumericValueOutOfRange => message
            .contains("out of range for type")
            .then(|| message.split('"').nth(1))?
            .map(|s| Wanted::Literal(s.into())),
        SqlState::InvalidColumnReference => {
            message.split(" position ").nth(1)?.split(' ').next().map(|n| Wanted::OutputPosition(n.into()))
        }
        SqlState::UndefinedObject => {
            let name = message.strip_prefix("type \"")?.split('"').next()?;
            Some(Wanted::Type(name.to_string()))
        }
        _ => None,
    }
}

struct Finder {
    wanted: Wanted,
    /// Of all queries what may be meant.
    clauses: Vec<Span>,
}

impl Visitor for Finder {
    type Break = Span;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Span> {
        self.clauses.extend(match &self.wanted {
            Wanted::SecondOutput(name) => second_output(query, name),
            Wanted::Clause(clause) => condition(query, clause),
            _ => None,
        });
        let Wanted::OutputPosition(position) = &self.wanted else { return ControlFlow::Continue(()) };
        let sorted = match query.order_by.as_ref().map(|order| &order.kind) {
            Some(OrderByKind::Expressions(items)) => items.iter().map(|item| &item.expr).collect(),
            _ => Vec::new(),
        };
        let grouped = match query.body.as_ref() {
            SetExpr::Select(select) => match &select.group_by {
                GroupByExpr::Expressions(items, _) => items.iter().collect(),
                GroupByExpr::All(_) => Vec::new(),
            },
            _ => Vec::new(),
        };
        let found = sorted.into_iter().chain(grouped).find(|expr| expr.to_string() == *position);
        found.map_or(ControlFlow::Continue(()), |expr| ControlFlow::Break(expr.span()))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Span> {
        let found = match (&self.wanted, expr) {
            (Wanted::Function(name), Expr::Function(function)) => is_named(function, |n| n == name),
            (Wanted::AnyAggregate, Expr::Function(function)) => {
                is_named(function, |n| crate::plan::functions::functions().aggregate(n).is_some())
            }
            (Wanted::Literal(text), Expr::Value(value)) => match &value.value {
                datafusion::sql::sqlparser::ast::Value::SingleQuotedString(s) => s == text,
                _ => false,
            },
            (Wanted::Literal(text), Expr::TypedString(typed)) => {
                typed.value.value.clone().into_string().is_some_and(|s| s == *text)
            }
            (Wanted::Type(name), Expr::Cast { data_type, .. }) => data_type.to_string().eq_ignore_ascii_case(name),
            (Wanted::SubQuery, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. }) => true,
            _ => false,
        };
        match found {
            true => ControlFlow::Break(expr.span()),
            false => ControlFlow::Continue(()),
        }
    }
}

fn second_output(query: &Query, name: &str) -> Option<Span> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let same = select.projection.iter().filter(|item| {
        let ident = match item {
            SelectItem::ExprWithAlias { alias, .. } => alias,
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => ident,
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(idents)) => return idents.last().is_some_and(is(name)),
            _ => return false,
        };
        is(name)(ident)
    });
    same.map(Spanned::span).nth(1)
}

fn is(name: &str) -> impl Fn(&Ident) -> bool {
    move |ident| ident.value == name || (ident.quote_style.is_none() && fold(&ident.value) == name)
}

fn condition(query: &Query, clause: &str) -> Option<Span> {
    let expr = match (clause, query.body.as_ref(), &query.limit_clause) {
        ("WHERE", SetExpr::Select(select), _) => select.selection.as_ref(),
        ("HAVING", SetExpr::Select(select), _) => select.having.as_ref(),
        ("LIMIT", _, Some(LimitClause::LimitOffset { limit, .. })) => limit.as_ref(),
        ("OFFSET", _, Some(LimitClause::LimitOffset { offset: Some(offset), .. })) => Some(&offset.value),
        _ => None,
    };
    expr.map(Spanned::span).filter(|span| span.start.line > 0)
}

fn is_named(function: &datafusion::sql::sqlparser::ast::Function, wanted: impl Fn(&str) -> bool) -> bool {
    let name = function.name.0.last().and_then(|p| p.as_ident());
    name.is_some_and(|ident| wanted(&ident.value.to_ascii_lowercase()))
}
