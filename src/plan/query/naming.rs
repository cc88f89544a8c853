//! Names of output columns, as PostgreSQL's `FigureColname` gives them: `count` for count(*), `?column?` for 1 + 1.
//!
//! DataFusion wants the names of a SELECT list to differ; PostgreSQL does not. Equal names get a mark and a number,
//! which nobody sees: [`super::super::errors`] and the output's schema take it off again.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::common::SchemaError;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Ident, LimitClause, ObjectName, OrderByKind, Query, Select, SelectItem, SetExpr, UnaryOperator,
    Value, Visit, VisitMut, Visitor, VisitorMut,
};

use super::chains;
use super::grouping::list_sets;
use super::rows::without_rows;
use crate::error::{Error, SqlState};
use crate::plan::errors::through;
use crate::plan::functions::array::EQUALS_ANY;
use crate::sql::calls::call;

/// Separates a name from the number that makes it differ. Cannot be typed by accident.
pub const MARK: char = '\u{1}';

/// Plans a query with its columns named, and those of all queries in it.
///
/// What a wildcard gives is not known here. A column beside one keeps its name, so that an outer query can use it; only if
/// that makes a name twice, it gets a mark.
pub fn with_names<T>(query: &Query, functions: Functions, plan: impl Fn(Query) -> DfResult<T>) -> DfResult<T> {
    check_columns(query)?;
    ordered_by_one(query).map_err(through)?;
    let mut query = query.clone();
    list_sets(&mut query).map_err(through)?;
    let named = |beside_wildcards| {
        name_columns(query.clone(), Namer { beside_wildcards, functions, queries: 0 }).map_err(through)
    };
    match plan(named(false)?) {
        Err(error) if repeats_a_name(&error) => plan(named(true)?),
        planned => planned,
    }
}

/// A sub-query that is a value has a column; DataFusion takes that for granted.
fn check_columns(query: &Query) -> DfResult<()> {
    struct NoColumn;
    impl Visitor for NoColumn {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Subquery(query) | Expr::InSubquery { subquery: query, .. } if has_no_column(&query.body) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    match Visit::visit(query, &mut NoColumn) {
        ControlFlow::Break(()) => {
            let error = Error::new(SqlState::SyntaxError, "subquery must return only one column");
            Err(through(error.with_hint("Write SELECT, an expression, and FROM.")))
        }
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn has_no_column(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.projection.is_empty(),
        SetExpr::Query(query) => has_no_column(&query.body),
        SetExpr::SetOperation { left, right, .. } => has_no_column(left) || has_no_column(right),
        _ => false,
    }
}

/// Fails if ORDER BY names a column that a SELECT list gives twice, which differ.
fn ordered_by_one(query: &Query) -> Result<(), Error> {
    let (SetExpr::Select(select), Some(order)) = (query.body.as_ref(), &query.order_by) else { return Ok(()) };
    let OrderByKind::Expressions(by) = &order.kind else { return Ok(()) };
    for ident in by.iter().filter_map(|by| if let Expr::Identifier(ident) = &by.expr { Some(ident) } else { None }) {
        let name = fold(ident);
        let named = select.projection.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if fold(alias) == name => Some(expr),
            SelectItem::UnnamedExpr(expr) if column_name(expr).as_deref() == Some(name.as_str()) => Some(expr),
            _ => None,
        });
        let mut named = named.map(ToString::to_string);
        if let Some(first) = named.next()
            && named.any(|other| other != first)
        {
            let message = format!("ORDER BY \"{name}\" is ambiguous");
            let hint = "Give the columns different names, or order by their places: ORDER BY 1.";
            return Err(Error::new(SqlState::AmbiguousColumn, message).with_hint(hint));
        }
    }
    Ok(())
}

/// Whether DataFusion has found two columns of one name.
pub fn repeats_a_name(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::SchemaError(error, _) => !matches!(error.as_ref(), SchemaError::FieldNotFound { .. }),
        DataFusionError::Plan(message) => message.contains("unique expression names"),
        _ => false,
    }
}

fn name_columns(mut query: Query, mut namer: Namer) -> Result<Query, Error> {
    match VisitMut::visit(&mut query, &mut namer) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(query),
    }
}

/// Whose functions a query may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Functions {
    /// Ours, which operators may stand for.
    Own,
    /// Only DataFusion's: queries of the system catalog.
    DataFusion,
}

struct Namer {
    /// Columns beside a wildcard get a mark.
    beside_wildcards: bool,
    functions: Functions,
    /// How many queries deep.
    queries: usize,
}

impl VisitorMut for Namer {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Error>> {
        let (wildcards, outermost) = (self.beside_wildcards, self.queries == 0);
        each_branch(&mut query.body, &mut |select| name_select(select, wildcards, outermost));
        self.queries += 1;
        fetch_as_limit(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Box<Error>> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    /// PostgreSQL's `(row).field` is `row.field`, which DataFusion knows.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        if let Some(parts) = field_path(expr) {
            *expr = Expr::CompoundIdentifier(parts);
        }
        order_by_no_position(expr);
        quote_fields(expr);
        if self.functions == Functions::Own {
            match without_rows(expr) {
                Err(error) => return ControlFlow::Break(Box::new(error)),
                Ok(Some(changed)) => *expr = changed,
                Ok(None) => {}
            }
        }
        let any_or_all = || (self.functions == Functions::Own).then(|| any_or_all(expr)).flatten();
        if let Some(operator) = modulo(expr).or_else(any_or_all) {
            *expr = operator;
        }
        chains::balance(expr);
        ControlFlow::Continue(())
    }
}

/// The SELECTs of a query, which are several under UNION and its like: the first one's names are the query's.
fn each_branch(body: &mut SetExpr, change: &mut impl FnMut(&mut Select)) {
    match body {
        SetExpr::Select(select) => change(select),
        SetExpr::SetOperation { left, right, .. } => {
            each_branch(left, change);
            each_branch(right, change);
        }
        _ => {}
    }
}

/// FETCH FIRST n ROWS ONLY as LIMIT n: DataFusion has only that. Other forms stay, to be refused.
fn fetch_as_limit(query: &mut Query) {
    let limited = matches!(query.limit_clause, Some(LimitClause::LimitOffset { limit: Some(_), .. }));
    let Some(fetch) = query.fetch.take_if(|fetch| !fetch.with_ties && !fetch.percent && !limited) else { return };
    let quantity = fetch.quantity.unwrap_or_else(|| Expr::value(Value::Number("1".into(), false)));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, .. }) => *limit = Some(quantity),
        clause => {
            *clause = Some(LimitClause::LimitOffset { limit: Some(quantity), offset: None, limit_by: Vec::new() });
        }
    }
}

/// Within a call ORDER BY 1 orders by a constant, which says nothing; DataFusion would take it for a position.
fn order_by_no_position(expr: &mut Expr) {
    let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = expr else { return };
    let is_number = |expr: &Expr| matches!(expr, Expr::Value(value) if matches!(value.value, Value::Number(..)));
    list.clauses.retain_mut(|clause| match clause {
        FunctionArgumentClause::OrderBy(order) => {
            order.retain(|by| !is_number(&by.expr));
            !order.is_empty()
        }
        _ => true,
    });
}

/// mod(a, b) as a % b: DataFusion has no function of that name.
fn modulo(expr: &Expr) -> Option<Expr> {
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    match (last_part(&function.name)?.as_str(), list.args.as_slice()) {
        (
            "mod",
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(left)), FunctionArg::Unnamed(FunctionArgExpr::Expr(right))],
        ) => {
            let nested = |e: &Expr| Box::new(Expr::Nested(Box::new(e.clone())));
            Some(Expr::BinaryOp { left: nested(left), op: BinaryOperator::Modulo, right: nested(right) })
        }
        _ => None,
    }
}

/// `x = ANY (array)` and `x <> ALL (array)` as calls of our own function; sub-queries stay what they are.
fn any_or_all(expr: &Expr) -> Option<Expr> {
    let (left, right, negated) = match expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => (left, right, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => (left, right, true),
        _ => return None,
    };
    if matches!(right.as_ref(), Expr::Subquery(_)) {
        return None;
    }
    let call = call(EQUALS_ANY, vec![left.as_ref().clone(), right.as_ref().clone()]);
    Some(if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(call) } } else { call })
}

fn field_path(expr: &Expr) -> Option<Vec<Ident>> {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else { return None };
    let mut parts = match root.as_ref() {
        Expr::Nested(inner) => match inner.as_ref() {
            Expr::Identifier(ident) => vec![ident.clone()],
            Expr::CompoundIdentifier(parts) => parts.clone(),
            _ => return None,
        },
        _ => return None,
    };
    for access in access_chain {
        match access {
            AccessExpr::Dot(Expr::Identifier(field)) => parts.push(field.clone()),
            _ => return None,
        }
    }
    Some(parts)
}

/// The fields of any other expression as texts, which DataFusion takes for names: `(ROW(1, 2)).f1`.
fn quote_fields(expr: &mut Expr) {
    let Expr::CompoundFieldAccess { access_chain, .. } = expr else { return };
    for access in access_chain {
        if let AccessExpr::Dot(Expr::Identifier(field)) = access {
            *access = AccessExpr::Dot(Expr::value(Value::SingleQuotedString(fold(field))));
        }
    }
}

/// `outermost`: nobody but the client sees the names, so that two columns may be called the same by whoever wrote the query.
fn name_select(select: &mut Select, beside_wildcards: bool, outermost: bool) {
    let is_wildcard = |i: &SelectItem| matches!(i, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let wildcard = beside_wildcards && select.projection.iter().any(is_wildcard);
    let mut taken: HashSet<String> = HashSet::new();
    for item in &mut select.projection {
        match item {
            SelectItem::ExprWithAlias { alias, .. } => {
                let name = fold(alias);
                // In a sub-query a second one of that name is DataFusion's to refuse.
                if !taken.insert(name.clone()) && outermost {
                    *alias = Ident::with_quote('"', unused(&name, &mut taken));
                }
            }
            SelectItem::UnnamedExpr(expr) => {
                let name = column_name(expr).unwrap_or_else(|| "?column?".into());
                let column = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
                let first = taken.insert(name.clone());
                if matches!(expr, Expr::Identifier(_)) && first && !wildcard {
                    continue;
                }
                let alias = if first && !(column && wildcard) { name } else { unused(&name, &mut taken) };
                let expr = std::mem::replace(expr, Expr::Value(Value::Null.into()));
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) };
            }
            _ => {}
        }
    }
}

fn unused(name: &str, taken: &mut HashSet<String>) -> String {
    let mut number = 1;
    loop {
        let candidate = format!("{name}{MARK}{number}");
        if taken.insert(candidate.clone()) {
            return candidate;
        }
        number += 1;
    }
}

fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

fn column_name(expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::Identifier(ident) => fold(ident),
        Expr::CompoundIdentifier(parts) => fold(parts.last()?),
        Expr::Subquery(query) => return first_column(query),
        Expr::Exists { .. } => "exists".into(),
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last()? {
            AccessExpr::Dot(field) => return column_name(field),
            AccessExpr::Subscript(_) => return None,
        },
        Expr::Nested(inner) => return column_name(inner),
        Expr::Function(function) => last_part(&function.name)?,
        Expr::Cast { expr, data_type, .. } => match column_name(expr) {
            Some(name) => name,
            None => super::types::sql_type(data_type).map(|t| internal_type_name(&t)).ok()?,
        },
        Expr::Tuple(_) => "row".into(),
        Expr::Case { else_result, .. } => else_result.as_deref().and_then(column_name).unwrap_or_else(|| "case".into()),
        Expr::Extract { .. } => "extract".into(),
        Expr::Substring { .. } => "substring".into(),
        Expr::Trim { .. } => "btrim".into(),
        Expr::Position { .. } => "position".into(),
        Expr::Ceil { .. } => "ceil".into(),
        Expr::Floor { .. } => "floor".into(),
        Expr::Overlay { .. } => "overlay".into(),
        Expr::AtTimeZone { .. } => "timezone".into(),
        Expr::Interval(_) => "interval".into(),
        Expr::Array(_) => "array".into(),
        Expr::TypedString(typed) => super::types::sql_type(&typed.data_type).map(|t| internal_type_name(&t)).ok()?,
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => "bool".into(),
        _ => return None,
    })
}

/// A sub-query that stands for a value is named as its one column is.
fn first_column(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.first()? {
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        SelectItem::UnnamedExpr(expr) => column_name(expr),
        _ => None,
    }
}

fn last_part(name: &ObjectName) -> Option<String> {
    name.0.last()?.as_ident().map(fold)
}

/// PostgreSQL names a column that is a bare cast after the type's internal name.
fn internal_type_name(ty: &crate::types::SqlType) -> String {
    use crate::types::SqlType as T;
    match ty {
        T::Boolean => "bool",
        T::SmallInt => "int2",
        T::Integer => "int4",
        T::BigInt => "int8",
        T::Real => "float4",
        T::Double => "float8",
        T::Numeric(..) => "numeric",
        T::Text => "text",
        T::Varchar(_) => "varchar",
        T::Bytea => "bytea",
        T::Date => "date",
        T::Timestamp(_) => "timestamp",
        T::TimestampTz(_) => "timestamptz",
        T::Time(_) => "time",
        T::Interval => "interval",
        T::Uuid => "uuid",
        T::Jsonb => "jsonb",
        T::Row(_) => "row",
        T::Array(_) => "array",
    }
    .into()
}
