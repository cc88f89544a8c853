//! From a query's syntax tree to a settled logical plan.
//!
//! 1. [`refuse`] walks the syntax tree, which still knows its places, and refuses what streaming queries cannot do.
//! 2. [`naming`] gives output columns PostgreSQL's names; [`rows`]: row constructors are compared field by field; [`chains`]
//!    of AND and OR become trees.
//! 3. DataFusion's `SqlToRel` resolves names against a [`context`]; operators get PostgreSQL's types on the way
//!    ([`typing`], [`containers`]), SQL types become Arrow's ([`types`]), and window functions become [`window`] nodes, or
//!    [`late_rows`].
//! 4. [`grouping`] gives every GROUPING SETS columns for keys, [`distinct_on`] says DISTINCT ON by row numbers, [`average`]
//!    Flink's averages by exact ones. [`settle`] gives literals, casts and functions PostgreSQL's meaning and folds
//!    constants, around DataFusion's type coercion; [`zoned`] says by whose clocks, and [`outer`] tells sub-queries
//!    what types the columns around them have by then.
//! 5. Some of DataFusion's optimizer rules, by name: sub-queries become joins ([`subquery`] refuses those that cannot),
//!    filters go down, columns that nobody needs go.
//!
//! What does not live here: stream plans. What comes out is DataFusion's logical plan over our window nodes, with every
//! type settled.

pub mod average;
pub mod chains;
pub mod containers;
pub mod context;
pub mod distinct_on;
pub mod grouping;
pub mod late_rows;
pub mod locate;
pub mod naming;
pub mod outer;
pub mod refuse;
pub mod rows;
pub mod settle;
pub mod subquery;
pub mod types;
pub mod typing;
pub mod window;
pub mod zoned;

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::analyzer::type_coercion::{TypeCoercion, TypeCoercionRewriter};
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion::optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::{Analyzer, Optimizer, OptimizerContext};
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;

use super::errors::{planning_error, through};
use super::functions::functions;
use super::relations::Relations;
use crate::error::{Error, Result};
use context::Context;

/// Plans a query over `relations`. `text` is the statement that the query's places refer to.
pub fn plan_query(relations: &dyn Relations, text: &str, query: &ast::Query) -> Result<LogicalPlan> {
    refuse::check(query, text)?;
    let planned = naming::with_names(query, naming::Functions::Own, |query| logical_plan(relations, text, query));
    planned.map_err(|e| locate::locate(planning_error(e, text), query, text))
}

fn logical_plan(relations: &dyn Relations, text: &str, query: ast::Query) -> DfResult<LogicalPlan> {
    let context = Context::new(relations, text);
    let planner = SqlToRel::new_with_options(&context, context.parser_options());
    let plan = planner.sql_statement_to_plan(ast::Statement::Query(Box::new(query)))?;
    subquery::check(&plan)?;
    let settled = settle::settle_plan(grouping::compute_keys(distinct_on::number_distinct(plan)?)?)?;
    let settled = zoned::in_zone(settled, relations.time_zone())?;
    let plan = average::exact_averages(settled, functions().aggregate("avg"))?;
    let analyzer = Analyzer::with_rules(vec![Arc::new(TypeCoercion::new())]);
    let plan = outer::coerce(plan, |plan| analyzer.execute_and_check(plan, context.config(), |_, _| {}))?;
    let plan = settle::fold_plan(plan)?;
    let plan = optimizer().optimize(plan, &optimizer_context(), |_, _| {}).map_err(subquery::lost)?;
    subquery::check_none_left(&plan)?;
    Ok(plan)
}

/// The rules that run. DataFusion's simplifier is not among the rules: it folds with wrapping arithmetic, and `now()` into a constant. Nor is
/// the one that finds equi-joins: lowering does, and tells `=` from IS NOT DISTINCT FROM pair by pair.
fn optimizer() -> Optimizer {
    Optimizer::with_rules(vec![
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(EliminateCrossJoin::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(OptimizeProjections::new()),
    ])
}

fn optimizer_context() -> OptimizerContext {
    let mut options = ConfigOptions::default();
    // Every scalar sub-query becomes a join: nothing could run one on the side.
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    OptimizerContext::new_with_config_options(Arc::new(options)).with_skip_failing_rules(false)
}

/// Plans an expression over the columns of `schema` (a WATERMARK clause). `text` is what its places refer to.
pub fn plan_expr(text: &str, expr: ast::Expr, schema: &DFSchema) -> Result<Expr> {
    let plan = || -> DfResult<Expr> {
        let context = Context::new(&NoRelations, text);
        let planner = SqlToRel::new_with_options(&context, context.parser_options());
        let expr = planner.sql_to_expr(expr, schema, &mut PlannerContext::new())?;
        if subquery::is_within(&expr)? {
            return Err(through(subquery_in_expression()));
        }
        settle_expr(expr, schema)
    };
    plan().map_err(|e| planning_error(e, text))
}

/// Gives one expression the types that a whole plan's would get.
pub fn settle_expr(expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
    use datafusion::common::tree_node::TreeNode;
    let expr = settle::settle(expr, schema)?;
    let expr = expr.rewrite(&mut TypeCoercionRewriter::new(schema))?.data;
    settle::fold(expr)
}

struct NoRelations;

impl Relations for NoRelations {
    fn relation(&self, _: &str) -> Result<super::relations::Relation> {
        Err(subquery_in_expression())
    }
}

/// Only a sub-query can name a relation there.
fn subquery_in_expression() -> Error {
    Error::unsupported(
        "a computed column and a WATERMARK cannot use a sub-query",
        "They see one row at a time: write a join in the query that reads the source.",
    )
}
