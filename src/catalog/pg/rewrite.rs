//! Queries over the system catalogs, in a form that DataFusion plans.
//!
//! - Names: `pg_class` is `pg_catalog.pg_class`, `pg_catalog.format_type(...)` is `format_type(...)`, `current_user` is a call.
//! - Types: `::pg_catalog.text` is `::text`; `::regclass` and its like are functions, from a name to an object id where
//!   ids are compared, to a name elsewhere.
//! - `OPERATOR(pg_catalog.~)` is `~`, and COLLATE is dropped: there is one collation.
//! - A SELECT from a catalog that never has rows returns none, whatever else it says. As a scalar it is null, as an array
//!   empty. That takes care of the correlated sub-queries which psql asks of policies, publications, defaults and the like.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, BinaryOperator, CharacterLength, DataType, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, JoinOperator, ObjectName, ObjectNamePart, Query, Select,
    SelectItem, SetExpr, SetOperator, TableFactor, TableWithJoins, TimezoneInfo, Value, Visit, VisitMut, Visitor,
    VisitorMut,
};

use super::definition::{self, PG_CATALOG};
use super::{functions, rows};
use crate::sql::calls::{arguments, call};

/// Brings `query` to a form that can be planned over the tables and functions of this module. Queries that use none of
/// them stay as they are.
pub fn rewrite(query: &mut Query) {
    if concerns(query) {
        let _ = VisitMut::visit(query, &mut Rewriter);
    }
}

/// Whether a query speaks of system catalogs at all, or in forms that only PostgreSQL has.
fn concerns(query: &Query) -> bool {
    struct Finder;
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            let system = |part: &ObjectNamePart| {
                let name = part.as_ident().map(|i| i.value.to_lowercase()).unwrap_or_default();
                name.starts_with("pg_") || name == definition::INFORMATION_SCHEMA
            };
            if relation.0.iter().any(system) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let found = match expr {
                Expr::Function(f) => {
                    is_system_schema(f.name.0.first()) || last_name(&f.name).is_some_and(|n| functions::exists(&n))
                }
                Expr::Identifier(name) => is_session_word(name),
                Expr::Cast { data_type, .. } => reg_type(data_type).is_some() || plain_type(data_type).is_some(),
                Expr::Collate { .. } => true,
                Expr::BinaryOp { op: BinaryOperator::PGCustomBinaryOperator(_), .. } => true,
                _ => false,
            };
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    Visit::visit(query, &mut Finder).is_break()
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut()
            && select_yields_nothing(select)
        {
            empty(select);
            (query.order_by, query.limit_clause, query.fetch) = (None, None, None);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        // A branch of a UNION.
        if select_yields_nothing(select) {
            empty(select);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        let first = relation.0.first().and_then(ObjectNamePart::as_ident).cloned();
        if let ([_], Some(name)) = (relation.0.as_slice(), first) {
            let folded = name.value.to_lowercase();
            if name.quote_style.is_none()
                && folded.starts_with("pg_")
                && definition::table(PG_CATALOG, &folded).is_some()
            {
                relation.0.insert(0, ObjectNamePart::Identifier(Ident::new(PG_CATALOG)));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } = factor {
            strip_schema(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        simplify(expr);
        match expr {
            Expr::BinaryOp { left, op, right } => {
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                    && let Some(plain) = parts.last().and_then(|o| operator(o))
                {
                    *op = plain;
                }
                if is_comparison(op) {
                    as_object_id(left);
                    as_object_id(right);
                }
            }
            Expr::InList { expr, list, .. } => {
                as_object_id(expr);
                list.iter_mut().for_each(as_object_id);
            }
            Expr::Function(function) => {
                strip_schema(&mut function.name);
                if matches!(function.args, FunctionArguments::None) {
                    function.args = arguments(Vec::new());
                }
                for argument in argument_expressions(function) {
                    as_object_id(argument);
                }
            }
            Expr::Cast { expr: inner, data_type, .. } => {
                if let Some(plain) = plain_type(data_type) {
                    *data_type = plain;
                }
                if matches!(data_type, DataType::BigInt(_) | DataType::Integer(_) | DataType::Int(_)) {
                    as_object_id(inner);
                }
            }
            _ => {}
        }
        if let Expr::Cast { expr: inner, data_type, .. } = expr
            && let Some(kind) = reg_type(data_type)
        {
            *expr = call(&format!("{kind}_name"), vec![std::mem::replace(inner, null())]);
        }
        ControlFlow::Continue(())
    }
}

/// Replaces what has a simpler equal.
fn simplify(expr: &mut Expr) {
    let simpler = match expr {
        Expr::Collate { expr, .. } => std::mem::replace(expr.as_mut(), null()),
        Expr::Subquery(query) if query_yields_nothing(query) => null(),
        Expr::Exists { subquery, negated } if query_yields_nothing(subquery) => {
            Expr::Value(Value::Boolean(*negated).into())
        }
        Expr::Function(function) => match (&function.args, last_name(&function.name).as_deref()) {
            (FunctionArguments::Subquery(query), Some("array")) if query_yields_nothing(query) => empty_texts(),
            (FunctionArguments::Subquery(query), Some("array")) => {
                Expr::Subquery(aggregated(query.clone(), "array_agg"))
            }
            // There is one schema to search. DataFusion's generate_series wants to know how far it goes.
            (_, Some("array_upper")) if calls(function, "current_schemas") => {
                Expr::Value(Value::Number("1".into(), false).into())
            }
            _ => return,
        },
        // DataFusion wants to be told that a correlated sub-query has one row; a look-up in a catalog has.
        Expr::Subquery(query) => Expr::Subquery(aggregated(query.clone(), "max")),
        Expr::Identifier(name) if is_session_word(name) => call(&name.value.to_lowercase(), Vec::new()),
        Expr::Case { operand: Some(operand), conditions, .. } => {
            let says_table = conditions.first().is_some_and(|c| c.result.to_string() == "'table'");
            match operand.as_ref() {
                // psql's column "Type": it knows no sources, sinks and jobs.
                Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                    [relation, column] if says_table && column.value == "relkind" => {
                        let oid = Expr::CompoundIdentifier(vec![relation.clone(), Ident::new("oid")]);
                        call("tidemill_relation_kind", vec![oid])
                    }
                    _ => return,
                },
                _ => return,
            }
        }
        _ => return,
    };
    *expr = simpler;
    // What came out may itself be of that kind.
    if matches!(expr, Expr::Collate { .. }) {
        simplify(expr);
    }
}

/// `x::regclass` where object ids are compared or taken.
fn as_object_id(expr: &mut Expr) {
    match expr {
        Expr::Nested(inner) => as_object_id(inner),
        Expr::Cast { expr: inner, data_type, .. } => {
            // Functions have no rows of their own: columns that name one hold its name.
            let what = |kind| if kind == "regproc" { "regproc_name".into() } else { format!("{kind}_oid") };
            if let Some(kind) = reg_type(data_type) {
                *expr = call(&what(kind), vec![std::mem::replace(inner, null())]);
            }
        }
        _ => {}
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator as B;
    matches!(op, B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq)
}

/// The operator of `OPERATOR(schema.symbol)`.
fn operator(symbol: &str) -> Option<BinaryOperator> {
    use BinaryOperator as B;
    Some(match symbol {
        "~" => B::PGRegexMatch,
        "!~" => B::PGRegexNotMatch,
        "~*" => B::PGRegexIMatch,
        "!~*" => B::PGRegexNotIMatch,
        "=" => B::Eq,
        "<>" => B::NotEq,
        "<" => B::Lt,
        "<=" => B::LtEq,
        ">" => B::Gt,
        ">=" => B::GtEq,
        "||" => B::StringConcat,
        "+" => B::Plus,
        "-" => B::Minus,
        _ => return None,
    })
}

/// "regclass" and its like, if the type is one.
fn reg_type(ty: &DataType) -> Option<&'static str> {
    const KINDS: [&str; 5] = ["regclass", "regtype", "regnamespace", "regrole", "regproc"];
    match ty {
        DataType::Regclass => Some("regclass"),
        DataType::Custom(name, _) => {
            let name = last_name(name)?;
            let name = if name == "regprocedure" { "regproc".to_string() } else { name };
            KINDS.into_iter().find(|k| *k == name)
        }
        _ => None,
    }
}

/// The plain type for one that is named as in `pg_catalog`; `None` if it is plain already.
fn plain_type(ty: &DataType) -> Option<DataType> {
    match ty {
        DataType::Array(ArrayElemTypeDef::SquareBracket(item, n)) => {
            plain_type(item).map(|item| DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(item), *n)))
        }
        DataType::Custom(name, modifiers) => {
            let length = || modifiers.first().and_then(|m| m.parse().ok());
            Some(match last_name(name)?.as_str() {
                "bool" => DataType::Boolean,
                "int2" => DataType::SmallInt(None),
                "int4" => DataType::Integer(None),
                "int8" | "oid" | "xid" | "cid" => DataType::BigInt(None),
                "float4" => DataType::Real,
                "float8" => DataType::DoublePrecision,
                "numeric" => DataType::Numeric(ExactNumberInfo::None),
                "text" | "name" | "char" | "bpchar" | "cstring" | "unknown" => DataType::Text,
                "varchar" => {
                    DataType::Varchar(length().map(|length| CharacterLength::IntegerLength { length, unit: None }))
                }
                "date" => DataType::Date,
                "timestamp" => DataType::Timestamp(None, TimezoneInfo::None),
                "timestamptz" => DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
                _ => return None,
            })
        }
        _ => None,
    }
}

fn last_name(name: &ObjectName) -> Option<String> {
    name.0.last()?.as_ident().map(|i| i.value.to_lowercase())
}

fn is_system_schema(part: Option<&ObjectNamePart>) -> bool {
    part.and_then(ObjectNamePart::as_ident)
        .is_some_and(|i| i.value.eq_ignore_ascii_case(PG_CATALOG) || i.value == definition::INFORMATION_SCHEMA)
}

fn strip_schema(name: &mut ObjectName) {
    if name.0.len() == 2 && is_system_schema(name.0.first()) {
        name.0.remove(0);
    }
}

/// Words that PostgreSQL reads as calls though they have no parentheses, where the parser does not.
fn is_session_word(name: &Ident) -> bool {
    name.quote_style.is_none()
        && ["current_schema", "current_role", "current_catalog", "current_user", "session_user", "user"]
            .iter()
            .any(|w| name.value.eq_ignore_ascii_case(w))
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

fn empty_texts() -> Expr {
    Expr::Array(Array { elem: Vec::new(), named: true })
}

fn argument_expressions(function: &mut Function) -> impl Iterator<Item = &mut Expr> {
    let list = match &mut function.args {
        FunctionArguments::List(list) => Some(list.args.iter_mut()),
        _ => None,
    };
    list.into_iter().flatten().filter_map(|a| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e),
        _ => None,
    })
}

/// Whether the first argument is a call of `name`.
fn calls(function: &Function, name: &str) -> bool {
    let FunctionArguments::List(list) = &function.args else { return false };
    match list.args.first() {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(inner)))) => {
            last_name(&inner.name).is_some_and(|inner| inner == name)
        }
        _ => false,
    }
}

/// `SELECT x FROM ...` as `SELECT aggregate(x) FROM ...`; a query of another form as it is.
fn aggregated(mut query: Box<Query>, aggregate: &str) -> Box<Query> {
    if let SetExpr::Select(select) = query.body.as_mut()
        && let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
            &mut select.projection[..]
        && !aggregates(item)
        && query.limit_clause.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty())
    {
        *item = call(aggregate, vec![std::mem::replace(item, null())]);
        query.order_by = None;
    }
    query
}

fn query_yields_nothing(query: &Query) -> bool {
    fn body_yields_nothing(body: &SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => select_yields_nothing(select),
            SetExpr::Query(query) => query_yields_nothing(query),
            SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } => {
                body_yields_nothing(left) && body_yields_nothing(right)
            }
            SetExpr::SetOperation { left, .. } => body_yields_nothing(left),
            _ => false,
        }
    }
    query.with.is_none() && body_yields_nothing(&query.body)
}

/// Whether an inner part of FROM never has a row, and nothing makes a row of none.
fn select_yields_nothing(select: &Select) -> bool {
    let grouped = matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if !exprs.is_empty());
    let plain = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => grouped || !aggregates(e),
        _ => false,
    };
    select.from.iter().any(yields_nothing) && select.projection.iter().all(plain)
}

fn yields_nothing(from: &TableWithJoins) -> bool {
    let mut nothing = factor_yields_nothing(&from.relation);
    for join in &from.joins {
        use JoinOperator as J;
        nothing = match join.join_operator {
            J::Join(_) | J::Inner(_) | J::CrossJoin(_) => nothing || factor_yields_nothing(&join.relation),
            J::Left(_) | J::LeftOuter(_) => nothing,
            _ => return false,
        };
    }
    nothing
}

fn factor_yields_nothing(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Table { name, args: None, .. } => {
            let parts: Vec<_> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(|i| i.value.as_str()).collect();
            match parts.as_slice() {
                [table] => table.starts_with("pg_") && rows::always_empty(table),
                [PG_CATALOG, table] => rows::always_empty(table),
                _ => false,
            }
        }
        // Arrays in the system catalogs (options, privileges) are null, so nothing comes out of them.
        TableFactor::Table { args: Some(args), name, .. } => {
            let column = |a: &FunctionArg| {
                matches!(
                    a,
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(_) | Expr::Identifier(_)))
                )
            };
            last_name(name).as_deref() == Some("unnest") && args.args.iter().all(column)
        }
        TableFactor::UNNEST { array_exprs, .. } => {
            array_exprs.iter().all(|e| matches!(e, Expr::CompoundIdentifier(_) | Expr::Identifier(_)))
        }
        TableFactor::NestedJoin { table_with_joins, .. } => yields_nothing(table_with_joins),
        TableFactor::Derived { subquery, .. } => query_yields_nothing(subquery),
        _ => false,
    }
}

fn aggregates(expr: &Expr) -> bool {
    const AGGREGATES: [&str; 10] =
        ["count", "sum", "min", "max", "avg", "array_agg", "string_agg", "bool_and", "bool_or", "every"];
    /// An aggregate within a sub-query is not one of this SELECT.
    #[derive(Default)]
    struct Finder {
        depth: usize,
    }
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let aggregate = |f: &Function| last_name(&f.name).is_some_and(|n| AGGREGATES.contains(&n.as_str()));
            match expr {
                Expr::Function(f) if self.depth == 0 && aggregate(f) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(expr, &mut Finder::default()).is_break()
}

/// Makes a SELECT return its columns' names and no row.
fn empty(select: &mut Select) {
    let mut taken = HashSet::new();
    for item in &mut select.projection {
        let mut name = column_name(item);
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        *item = SelectItem::ExprWithAlias { expr: null(), alias: Ident::with_quote('"', name) };
    }
    select.from.clear();
    select.distinct = None;
    select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    select.having = None;
    select.selection = Some(Expr::Value(Value::Boolean(false).into()));
}

/// The name PostgreSQL gives a column.
fn column_name(item: &SelectItem) -> String {
    fn of(expr: &Expr) -> Option<String> {
        match expr {
            Expr::Identifier(name) => Some(name.value.clone()),
            Expr::CompoundIdentifier(parts) => parts.last().map(|p| p.value.clone()),
            Expr::Function(function) => last_name(&function.name),
            Expr::Nested(inner) | Expr::Cast { expr: inner, .. } | Expr::Collate { expr: inner, .. } => of(inner),
            Expr::Case { .. } => Some("case".to_string()),
            Expr::Exists { .. } => Some("exists".to_string()),
            _ => None,
        }
    }
    match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
        SelectItem::UnnamedExpr(expr) => of(expr).unwrap_or_else(|| "?column?".to_string()),
        _ => "?column?".to_string(),
    }
}
