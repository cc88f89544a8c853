//! LATE_ROWS(window function [, allowed lateness]): the rows of the function's table that come too late for every window
//! that would hold them. A relation like any other, so late rows can be kept, counted and written to wherever rows can.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::DFSchemaRef;
use datafusion::error::Result;
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::sql::sqlparser::ast::{self, FunctionArg, FunctionArgExpr};

use super::window::{Call, WindowFunctions, WindowNode, constant_interval};
use crate::error::{Error, SqlState};
use crate::plan::errors::through;
use crate::plan::stream::WindowKind;

pub const LATE_ROWS: &str = "late_rows";

/// Output: the input's columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LateRowsNode {
    /// The window function, of which only what it judges by counts.
    pub input: LogicalPlan,
    /// The event time, as a column of the input.
    pub time: Expr,
    pub window: WindowKind,
    /// How long after its last instant a window takes rows, in microseconds.
    pub lateness: i64,
    /// Where the function stands in the statement, if known.
    pub position: Option<usize>,
}

impl PartialOrd for LateRowsNode {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (&self.input, &self.time).partial_cmp(&(&other.input, &other.time)).filter(|o| o.is_ne() || self == other)
    }
}

impl UserDefinedLogicalNodeCore for LateRowsNode {
    fn name(&self) -> &str {
        "LateRows"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![self.time.clone()]
    }

    /// Which rows are late does not depend on what other rows there are.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "LateRows: {:?} of {}", self.window, self.time)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (exprs.into_iter().next().map(Expr::unalias), inputs.into_iter().next()) {
            (Some(time), Some(input)) => Ok(LateRowsNode { input, time, ..self.clone() }),
            _ => Err(through(Error::internal("a node of late rows lost its input"))),
        }
    }

    fn necessary_children_exprs(&self, outputs: &[usize]) -> Option<Vec<Vec<usize>>> {
        let Expr::Column(time) = &self.time else { return None };
        let mut needed = outputs.to_vec();
        needed.push(self.input.schema().maybe_index_of_column(time)?);
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
}

impl WindowFunctions {
    pub(super) fn late_rows(&self, call: Call, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let position = self.position(call.span);
        let here = |error: Error| through(position.map_or(error.clone(), |p| error.at(p)));
        let mut args = call.args.into_iter().map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Ok(value),
            _ => Err(usage()),
        });
        let (window, lateness) = (args.next(), args.next());
        let Some(Ok(ast::Expr::Function(window))) = window else { return Err(here(usage())) };
        if args.next().is_some() {
            return Err(here(usage()));
        }
        let WindowNode { input, time, window, .. } =
            self.window(Call::of(window, call.span).map_err(here)?, context)?;
        if let WindowKind::Session { .. } = window {
            let hint = "Which session a row would join depends on the rows around it. Take a TUMBLE, HOP or CUMULATE.";
            return Err(here(Error::unsupported("LATE_ROWS of a SESSION is not supported", hint)));
        }
        let lateness = match lateness {
            None => 0,
            Some(lateness) => {
                let lateness = lateness.map_err(here)?;
                constant_interval(context, lateness, "allowed lateness").map_err(here)?
            }
        };
        if lateness < 0 {
            let message = "the allowed lateness of a window must not be negative";
            return Err(here(Error::new(SqlState::InvalidParameterValue, message)));
        }
        let node = LateRowsNode { input, time, window, lateness, position };
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }
}

fn usage() -> Error {
    let hint = "Write TABLE(LATE_ROWS(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '1' MINUTE))), with an allowed lateness as \
                second argument if needed.";
    let message = "LATE_ROWS cannot be called like this: its argument is a window function";
    Error::new(SqlState::UndefinedFunction, message).with_hint(hint)
}
