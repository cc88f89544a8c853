//! Finds the place of an error that DataFusion reports without one, by what the error names.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, OrderByKind, Query, SelectItem, SetExpr, Spanned, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::error::{Error, SqlState};
use crate::sql::places::Places;

use super::subquery::SUBQUERY;

/// Adds a position to an error about a function, a literal or a type that stands in `query`.
pub fn locate(error: Error, query: &Query, text: &str) -> Error {
    if error.position().is_some() {
        return error;
    }
    let Some(wanted) = wanted(&error) else { return error };
    match query.visit(&mut Finder(wanted)) {
        ControlFlow::Break(span) => at(error, span, text),
        ControlFlow::Continue(()) => error,
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
}

fn wanted(error: &Error) -> Option<Wanted> {
    let message = error.message();
    let quoted = || message.rsplit_once(": \"").and_then(|(_, rest)| rest.strip_suffix('"')).map(str::to_string);
    match error.state() {
        SqlState::FeatureNotSupported if message.contains(SUBQUERY) => Some(Wanted::SubQuery),
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

struct Finder(Wanted);

impl Visitor for Finder {
    type Break = Span;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Span> {
        let Wanted::OutputPosition(position) = &self.0 else { return ControlFlow::Continue(()) };
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
        let found = match (&self.0, expr) {
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

fn is_named(function: &datafusion::sql::sqlparser::ast::Function, wanted: impl Fn(&str) -> bool) -> bool {
    let name = function.name.0.last().and_then(|p| p.as_ident());
    name.is_some_and(|ident| wanted(&ident.value.to_ascii_lowercase()))
}
