//! Flink's queries as ours: what they say otherwise is said in PostgreSQL's words.
//!
//! - Names count with their case: those that are not quoted become quoted.
//! - Functions that PostgreSQL does not have, or has with another meaning, become others (`functions`).
//! - Nulls are the least of all values: ORDER BY says so.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    CaseWhen, DateTimeField, Expr, ExtractSyntax, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, OrderBy, OrderByExpr, OrderByKind, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, Value, VisitMut, VisitorMut,
    WindowType,
};

use crate::error::{Error, Result};

/// Flink's names of the one catalog and its one database.
const PREFIX: [&str; 2] = ["default_catalog", "default_database"];

pub fn rewrite(mut query: Box<Query>) -> Result<Box<Query>> {
    finished(query.visit(&mut Rewriter))?;
    Ok(query)
}

pub fn rewrite_expr(expr: &mut Expr) -> Result<()> {
    finished(expr.visit(&mut Rewriter))
}

fn finished(flow: ControlFlow<Box<Error>>) -> Result<()> {
    match flow {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter;

type Flow = ControlFlow<Box<Error>>;

impl VisitorMut for Rewriter {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> Flow {
        for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            quote_alias(&mut cte.alias);
        }
        body(&mut query.body);
        if let Some(OrderBy { kind: OrderByKind::Expressions(exprs), .. }) = &mut query.order_by {
            exprs.iter_mut().for_each(nulls_are_least);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> Flow {
        relation.0.iter_mut().for_each(quote_part);
        let prefix = relation.0.len().saturating_sub(1);
        let written = relation.0.iter().take(prefix).filter_map(|part| part.as_ident()).map(|i| i.value.as_str());
        if prefix > 0 && written.eq(PREFIX.into_iter().skip(PREFIX.len().saturating_sub(prefix))) {
            relation.0.drain(..prefix);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        match factor {
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => alias.iter_mut().for_each(quote_alias),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        match expr {
            Expr::Identifier(ident) => quote(ident),
            Expr::CompoundIdentifier(parts) => parts.iter_mut().for_each(quote),
            Expr::Function(function) => {
                if let Some(WindowType::WindowSpec(window)) = &mut function.over {
                    window.order_by.iter_mut().for_each(nulls_are_least);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// Behind the arguments, which are rewritten by then.
    fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        if let Expr::Function(function) = expr
            && let Some(other) = renamed(function)
        {
            *expr = other;
        }
        ControlFlow::Continue(())
    }
}

fn quote(ident: &mut Ident) {
    ident.quote_style.get_or_insert('"');
}

fn quote_part(part: &mut ObjectNamePart) {
    if let ObjectNamePart::Identifier(ident) = part {
        quote(ident);
    }
}

fn quote_alias(alias: &mut TableAlias) {
    quote(&mut alias.name);
    alias.columns.iter_mut().for_each(|column| quote(&mut column.name));
}

fn body(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => names_of(select),
        SetExpr::SetOperation { left, right, .. } => {
            self::body(left);
            self::body(right);
        }
        // A query in parentheses is visited as a query.
        _ => {}
    }
}

/// The names in a SELECT that are no expressions.
fn names_of(select: &mut Select) {
    for item in &mut select.projection {
        match item {
            SelectItem::ExprWithAlias { alias, .. } => quote(alias),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                name.0.iter_mut().for_each(quote_part);
            }
            _ => {}
        }
    }
    for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
        if let JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) = &mut join.join_operator
            && let JoinConstraint::Using(names) = constraint
        {
            names.iter_mut().flat_map(|name| &mut name.0).for_each(quote_part);
        }
    }
}

fn nulls_are_least(order: &mut OrderByExpr) {
    let ascending = order.options.asc.unwrap_or(true);
    order.options.nulls_first.get_or_insert(ascending);
}

/// A call in PostgreSQL's words, if those of Flink's are others.
fn renamed(function: &mut Function) -> Option<Expr> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_mut_slice() else { return None };
    let lower = name.value.to_ascii_lowercase();
    if lower == "avg" && function.over.is_none() {
        // Of integers Flink's average is one, too.
        name.value = FLINK_AVG.into();
        return None;
    }
    if lower == "grouping_id" {
        name.value = "grouping".into();
        return None;
    }
    if lower == "listagg" {
        list_as_string(function);
        return None;
    }
    let mut arguments = plain_arguments(function)?.into_iter();
    let field = match lower.as_str() {
        "year" => DateTimeField::Year,
        "quarter" => DateTimeField::Quarter,
        "month" => DateTimeField::Month,
        "week" => DateTimeField::Week(None),
        "dayofyear" => DateTimeField::Doy,
        "dayofmonth" => DateTimeField::Day,
        "hour" => DateTimeField::Hour,
        "minute" => DateTimeField::Minute,
        "second" => DateTimeField::Second,
        "if" => {
            let (condition, result) = (arguments.next()?, arguments.next()?);
            return Some(Expr::Case {
                case_token: AttachedToken::empty(),
                end_token: AttachedToken::empty(),
                operand: None,
                conditions: vec![CaseWhen { condition, result }],
                else_result: arguments.next().map(Box::new),
            });
        }
        _ => return None,
    };
    match (arguments.next(), arguments.next()) {
        (Some(of), None) => Some(Expr::Extract { field, syntax: ExtractSyntax::From, expr: Box::new(of) }),
        _ => None,
    }
}

/// LISTAGG(x) is string_agg(x, ',').
fn list_as_string(function: &mut Function) {
    if let [ObjectNamePart::Identifier(name)] = function.name.0.as_mut_slice() {
        name.value = "string_agg".into();
    }
    if let FunctionArguments::List(list) = &mut function.args
        && list.args.len() == 1
    {
        let comma = Expr::value(Value::SingleQuotedString(",".into()));
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(comma)));
    }
}

/// The average as Flink has it: of integers an integer, cut towards zero.
pub const FLINK_AVG: &str = "flink_avg";

/// The arguments of a call that is nothing but a name and arguments.
fn plain_arguments(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let plain = list.clauses.is_empty() && list.duplicate_treatment.is_none() && function.over.is_none();
    let argument = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().map(argument).collect::<Option<Vec<Expr>>>().filter(|_| plain)
}
