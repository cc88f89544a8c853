//! From a query's syntax tree to rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::catalog::TableFunctionArgs;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{ParamValues, ScalarValue, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::physical_plan::execute_stream;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::Statement;

use super::computing::{Abandoned, interruptible};
use super::explain::explain;
use super::tables::Tables;
use super::{aggregate, no_parameter, parameters};
use crate::error::Result;
use crate::plan::errors::{planning_error, through};
use crate::plan::functions::{SETS, arithmetic, bounded, functions};
use crate::plan::query::average::exact_averages;
use crate::plan::query::grouping;
use crate::plan::query::locate::locate;
use crate::plan::query::naming::{Functions, repeats_a_name, with_names};
use crate::plan::query::types::PostgresTypes;
use crate::plan::query::typing::{PostgresOperators, interval_length};
use crate::plan::query::{outer, settle, subquery, zoned};
use crate::sql::ast::Query;
use crate::sql::flink::query::FLINK_AVG;
use crate::types::SqlType;

/// A query with its types settled, ready to be optimised and run.
pub struct Planned {
    plan: LogicalPlan,
    state: SessionState,
}

impl Planned {
    /// `types` are those of the parameters; without `values` they stay open, and the plan only tells its columns.
    pub fn new(
        tables: &Tables,
        text: &str,
        query: &Query,
        types: &[SqlType],
        values: Option<&[ScalarValue]>,
    ) -> Result<Self> {
        let used = parameters::count(query)?;
        if let Some(values) = values
            && used > values.len()
        {
            return Err(no_parameter(values.len() + 1));
        }
        let types: Vec<Option<FieldRef>> = types.iter().map(|ty| Some(Arc::new(ty.field("parameter")))).collect();
        let plan = || -> DfResult<LogicalPlan> {
            let plan = logical_plan(tables, query, types, None)?;
            let plan = match values {
                Some(values) if used > 0 => plan.replace_params_with_values(&ParamValues::from(values.to_vec()))?,
                _ => plan,
            };
            subquery::check_values(&plan)?;
            let state = tables.state();
            let analyze = |plan| state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {});
            if tables.is_system() {
                return analyze(plan);
            }
            let plan = settle::settle_plan(grouping::compute_keys(plan)?)?;
            let zone = state.config_options().execution.time_zone.as_deref().unwrap_or("UTC");
            let plan = zoned::in_zone(plan, zone)?;
            let plan = outer::coerce(exact_averages(plan, aggregate::by_name("avg"))?, analyze)?;
            check_overflow(order_intervals(settle::fold_plan(plan)?)?)
        };
        let plan = plan().map_err(|e| locate(planning_error(e, text), query, text))?;
        let mut state = tables.state().clone();
        // What now() answers.
        state.mark_start_execution();
        Ok(Planned { plan, state })
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::clone(self.plan.schema().as_arrow()))
    }

    /// The rows; `abandoned` ends their computation.
    pub async fn execute(&self, text: &str, abandoned: &Abandoned) -> Result<SendableRecordBatchStream> {
        let run = async || -> DfResult<SendableRecordBatchStream> {
            let plan = self.optimized()?;
            let plan = self.state.query_planner().create_physical_plan(&plan, &self.state).await?;
            execute_stream(interruptible(plan, abandoned)?, self.state.task_ctx())
        };
        run().await.map_err(|e| planning_error(e, text))
    }

    /// The optimised plan; `verbose`: in DataFusion's own words, and also before optimisation.
    pub fn explain(&self, text: &str, verbose: bool) -> Result<String> {
        let optimized = self.optimized().map_err(|e| planning_error(e, text))?;
        if !verbose {
            return Ok(explain(&optimized));
        }
        Ok(format!("{}\n\noptimized:\n{}", self.plan.display_indent_schema(), optimized.display_indent()))
    }

    fn optimized(&self) -> DfResult<LogicalPlan> {
        let optimize = |state: &SessionState| state.optimizer().optimize(self.plan.clone(), state, |_, _| {});
        match optimize(&self.state) {
            // A rule puts into one list what differs in a cast alone, which DataFusion calls the same: it is left out.
            Err(error) if repeats_a_name(&error) => {
                let mut state = self.state.clone();
                state.config_mut().options_mut().optimizer.skip_failed_rules = true;
                optimize(&state)
            }
            optimized => optimized,
        }
        .map_err(subquery::lost)
    }
}

/// ORDER BY an interval is by its length: Arrow compares months first, then days.
fn order_intervals(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let ordered = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Sort(mut sort) = plan else { return Ok(Transformed::no(plan)) };
        for by in &mut sort.expr {
            if matches!(by.expr.get_type(sort.input.schema())?, DataType::Interval(_)) {
                by.expr = interval_length(std::mem::take(&mut by.expr))?;
            }
        }
        Ok(Transformed::yes(LogicalPlan::Sort(sort)))
    })?;
    Ok(ordered.data)
}

/// Arithmetic in all expressions of a plan, sub-queries' too, fails on overflow.
fn check_overflow(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let checked = plan.transform_up_with_subqueries(|plan| {
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = arithmetic::check_overflow(expr, &schema)?;
            Ok(changed.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(checked.data)
}

/// The plan as DataFusion's planner makes it, before types are settled.
pub fn logical_plan(
    tables: &Tables,
    query: &Query,
    types: Vec<Option<FieldRef>>,
    inference: Option<Arc<parameters::Inference>>,
) -> DfResult<LogicalPlan> {
    let context = Context::new(tables, inference);
    let planner = SqlToRel::new_with_options(&context, ParserOptions::from(&context.options().sql_parser));
    let functions = if tables.is_system() { Functions::DataFusion } else { Functions::Own };
    with_names(query, functions, |query| {
        let mut planner_context = PlannerContext::new().with_prepare_param_data_types(types.clone());
        planner.sql_statement_to_plan_with_context(Statement::Query(Box::new(query)), &mut planner_context)
    })
}

/// What DataFusion's planner asks of its surroundings.
struct Context<'a> {
    tables: &'a Tables,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
}

impl<'a> Context<'a> {
    fn new(tables: &'a Tables, inference: Option<Arc<parameters::Inference>>) -> Self {
        let mut expr_planners: Vec<Arc<dyn ExprPlanner>> = Vec::new();
        expr_planners.extend(inference.map(|inference| inference as Arc<dyn ExprPlanner>));
        if !tables.is_system() {
            expr_planners.push(Arc::new(PostgresOperators));
        }
        expr_planners.extend(tables.state().expr_planners().iter().cloned());
        Context { tables, expr_planners }
    }
}

/// `pg_catalog.f` is `f`.
fn plain(name: &str) -> &str {
    name.strip_prefix("pg_catalog.").unwrap_or(name)
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        let missing = || through(crate::error::Error::internal(format!("relation \"{name}\" was not resolved")));
        self.tables.source(name.clone()).ok_or_else(missing)
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> DfResult<Arc<dyn TableSource>> {
        let Some(function) = self.tables.state().table_functions().get(plain(name)) else {
            return datafusion::common::plan_err!("Invalid function '{name}'");
        };
        let args = args.into_iter().map(settle::fold).collect::<DfResult<Vec<_>>>()?;
        let args = TableFunctionArgs::new(&args, self.tables.state());
        let provider = function.create_table_provider_with_args(args)?;
        Ok(datafusion::catalog::default_table_source::provider_as_source(provider))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> DfResult<Arc<dyn TableSource>> {
        let table = datafusion::datasource::cte_worktable::CteWorkTable::new(name, schema);
        Ok(datafusion::catalog::default_table_source::provider_as_source(Arc::new(table)))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        if self.tables.is_system() { None } else { Some(Arc::new(PostgresTypes)) }
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let name = plain(name);
        let default = || {
            let function = self.tables.state().scalar_functions().get(name).cloned();
            function.filter(|function| !SETS.contains(&function.name())).map(bounded::bounded)
        };
        let own = || if self.tables.is_system() { default() } else { functions().scalar(name) };
        self.tables.function(name).or_else(own).or_else(default)
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let name = plain(name);
        let own = if self.tables.is_system() { None } else { aggregate::by_name(name) };
        let own = own.or_else(|| (name == FLINK_AVG).then(|| functions().aggregate(name)).flatten());
        own.or_else(|| self.tables.state().aggregate_functions().get(name).cloned())
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        let name = plain(name);
        functions().window(name).or_else(|| self.tables.state().window_functions().get(name).cloned())
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.tables.state().config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        functions().scalar_names()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.tables.state().aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.tables.state().window_functions().keys().cloned().collect()
    }
}
