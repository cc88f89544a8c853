//! GROUPING SETS, ROLLUP and CUBE: from text to one list of sets.
//!
//! 1. [`list_sets`]: before planning, what GROUP BY says becomes one GROUPING SETS, as PostgreSQL defines it: elements beside
//!    each other are multiplied out, ROLLUP and CUBE spelled out.
//! 2. [`compute_keys`]: after planning, computed keys become columns of a projection in front, since the rules that follow
//!    rename what they change, and a list of sets has no name to keep.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Expr as DfExpr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Query, Select, SelectItem, SetExpr,
    Value, VisitMut, VisitorMut,
};

use crate::error::{Error, Result, SqlState};

/// PostgreSQL's limit: each row is aggregated once for each set.
const MAX_SETS: usize = 4096;

type Sets = Vec<Vec<Expr>>;

/// Spells out the sets of every GROUP BY of a query.
///
/// # Errors
/// `54001` if there are too many, `42P10` for a position that is none.
pub fn list_sets(query: &mut Query) -> Result<()> {
    match query.visit(&mut Lister) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Lister;

impl VisitorMut for Lister {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Error>> {
        match lists(&mut query.body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Box::new(error)),
        }
    }
}

fn lists(body: &mut SetExpr) -> Result<()> {
    match body {
        SetExpr::Select(select) => list(select),
        SetExpr::SetOperation { left, right, .. } => {
            lists(left)?;
            lists(right)
        }
        _ => Ok(()),
    }
}

fn list(select: &mut Select) -> Result<()> {
    let GroupByExpr::Expressions(elements, _) = &mut select.group_by else { return Ok(()) };
    if !elements.iter().any(is_several) {
        return Ok(());
    }
    let mut all: Sets = vec![Vec::new()];
    for element in elements.iter() {
        all = multiplied(&all, &sets_of(element)?)?;
    }
    for key in all.iter_mut().flatten() {
        if let Some(item) = item_at(key, &select.projection)? {
            *key = item;
        }
    }
    all.iter_mut().for_each(|set| {
        let mut seen: Vec<Expr> = Vec::with_capacity(set.len());
        set.retain(|key| {
            !seen.contains(key) && {
                seen.push(key.clone());
                true
            }
        });
    });
    *elements = vec![Expr::GroupingSets(all)];
    Ok(())
}

/// Whether an element of GROUP BY stands for other than one column.
fn is_several(element: &Expr) -> bool {
    match element {
        Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_) => true,
        Expr::Tuple(columns) => columns.is_empty(),
        _ => false,
    }
}

fn sets_of(element: &Expr) -> Result<Sets> {
    Ok(match element {
        Expr::GroupingSets(sets) => {
            let mut all = Vec::new();
            for set in sets {
                match set.as_slice() {
                    [one] => all.extend(sets_of(&nested(one).unwrap_or_else(|| one.clone()))?),
                    columns => all.push(columns.to_vec()),
                }
            }
            all
        }
        Expr::Rollup(elements) => {
            (0..=elements.len()).rev().map(|length| elements.iter().take(length).flatten().cloned().collect()).collect()
        }
        Expr::Cube(elements) => {
            let mut all: Sets = vec![Vec::new()];
            for element in elements {
                all = multiplied(&all, &[element.clone(), Vec::new()])?;
            }
            all
        }
        Expr::Tuple(columns) => vec![columns.clone()],
        one => vec![vec![one.clone()]],
    })
}

/// ROLLUP and CUBE within GROUPING SETS, which the parser takes for functions.
fn nested(call: &Expr) -> Option<Expr> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = call else { return None };
    let [part] = name.0.as_slice() else { return None };
    let element = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Tuple(columns))) => Some(columns.clone()),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Nested(one))) => Some(vec![one.as_ref().clone()]),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(one)) => Some(vec![one.clone()]),
        _ => None,
    };
    let elements = list.args.iter().map(element).collect::<Option<Sets>>()?;
    match part.as_ident()?.value.to_ascii_lowercase().as_str() {
        "rollup" => Some(Expr::Rollup(elements)),
        "cube" => Some(Expr::Cube(elements)),
        _ => None,
    }
}

/// Each set of one list beside each of another.
fn multiplied(left: &[Vec<Expr>], right: &[Vec<Expr>]) -> Result<Sets> {
    if left.len().saturating_mul(right.len()) > MAX_SETS {
        let message = format!("too many grouping sets present (maximum {MAX_SETS})");
        return Err(Error::new(SqlState::StatementTooComplex, message)
            .with_hint("Name the sets that are needed in GROUPING SETS."));
    }
    Ok(left.iter().flat_map(|a| right.iter().map(move |b| a.iter().chain(b).cloned().collect())).collect())
}

/// The item of the SELECT list that a number stands for.
fn item_at(key: &Expr, items: &[SelectItem]) -> Result<Option<Expr>> {
    let Expr::Value(value) = key else { return Ok(None) };
    let Value::Number(number, _) = &value.value else { return Ok(None) };
    let position = number.parse::<usize>().ok().and_then(|position| position.checked_sub(1));
    match position.and_then(|position| items.get(position)) {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => Ok(Some(expr.clone())),
        _ => {
            let message = format!("GROUP BY position {number} is not in select list");
            Err(Error::new(SqlState::InvalidColumnReference, message).with_hint("Name the column."))
        }
    }
}

/// Puts the computed keys of every list of sets into columns.
pub fn compute_keys(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let computed = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Aggregate(aggregate) if matches!(aggregate.group_expr.as_slice(), [DfExpr::GroupingSet(_)]) => {
            Ok(Transformed::yes(over_columns(aggregate)?))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(computed.data)
}

fn over_columns(aggregate: Aggregate) -> DfResult<LogicalPlan> {
    let computed: Vec<DfExpr> = grouping_set_to_exprlist(&aggregate.group_expr)?
        .into_iter()
        .filter(|key| !matches!(key, DfExpr::Column(_)))
        .cloned()
        .collect();
    if computed.is_empty() {
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    let name = |key: &DfExpr| key.schema_name().to_string();
    let columns = aggregate.input.schema().columns().into_iter().map(DfExpr::Column);
    let input = LogicalPlanBuilder::from(Arc::clone(&aggregate.input))
        .project(columns.chain(computed.iter().map(|key| key.clone().alias(name(key)))))?
        .build()?;
    let as_column = |expr: DfExpr| {
        expr.transform_down(|expr| {
            Ok(match computed.contains(&expr) {
                true => Transformed::yes(DfExpr::Column(Column::from_name(name(&expr)))),
                false => Transformed::no(expr),
            })
        })
        .map(|expr| expr.data)
    };
    let groups = aggregate.group_expr.into_iter().map(as_column).collect::<DfResult<_>>()?;
    let names = NamePreserver::new_for_projection();
    let calls = aggregate.aggr_expr.into_iter().map(|call| {
        let name = names.save(&call);
        Ok(name.restore(as_column(call)?))
    });
    let calls = calls.collect::<DfResult<_>>()?;
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), groups, calls)?))
}
