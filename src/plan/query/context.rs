//! What DataFusion's planner asks of its surroundings: relations, functions, types, options.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::TableReference;
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::planner::ParserOptions;

use crate::error::{Error, SqlState};
use crate::plan::errors::through;
use crate::plan::functions::functions;
use crate::plan::relations::{RelationKind, Relations};
use crate::types::schema_of;

use super::types::PostgresTypes;
use super::typing::PostgresOperators;
use super::window::WindowFunctions;

pub struct Context<'a> {
    relations: &'a dyn Relations,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
}

/// The columns of a source or a view as DataFusion sees them.
#[derive(Debug)]
pub struct SourceTable {
    pub name: String,
    schema: SchemaRef,
}

impl TableSource for SourceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

static CONFIG: LazyLock<ConfigOptions> = LazyLock::new(|| {
    let mut options = ConfigOptions::default();
    options.execution.time_zone = Some(crate::types::UTC.into());
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.collect_spans = true;
    options.sql_parser.map_string_types_to_utf8view = true;
    options
});

impl<'a> Context<'a> {
    /// `text`: the statement, for the places of errors.
    pub fn new(relations: &'a dyn Relations, text: &str) -> Self {
        let mut expr_planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(PostgresOperators)];
        expr_planners.extend(SessionStateDefaults::default_expr_planners());
        Context { relations, expr_planners, relation_planners: vec![Arc::new(WindowFunctions::new(text))] }
    }

    pub fn config(&self) -> &ConfigOptions {
        &CONFIG
    }

    pub fn parser_options(&self) -> ParserOptions {
        ParserOptions::from(&CONFIG.sql_parser)
    }
}

fn undefined(name: &str) -> Error {
    Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist"))
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        if name.schema().is_some_and(|schema| schema != "public") {
            return Err(through(undefined(&name.to_string())));
        }
        let relation = self.relations.relation(name.table()).map_err(through)?;
        match relation.kind {
            RelationKind::Source { .. } | RelationKind::View(_) => {
                Ok(Arc::new(SourceTable { name: relation.name, schema: schema_of(&relation.columns) }))
            }
            other => Err(through(Error::new(
                SqlState::WrongObjectType,
                format!("\"{}\" is a {} and cannot be read", relation.name, other.noun()),
            ))),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(PostgresTypes))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        functions().scalar(name)
    }

    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        functions().aggregate(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        functions().window(name)
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &CONFIG
    }

    fn udf_names(&self) -> Vec<String> {
        functions().scalar_names()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        functions().aggregate_names()
    }

    fn udwf_names(&self) -> Vec<String> {
        functions().window_names()
    }
}
