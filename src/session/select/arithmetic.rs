//! Arithmetic that fails on overflow, where DataFusion's executor wraps.

use std::sync::{Arc, LazyLock};

use arrow::compute::kernels::numeric;
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// An operator on two integers of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operator: Operator,
    name: &'static str,
    signature: Signature,
}

static OPERATORS: LazyLock<Vec<(Operator, Arc<ScalarUDF>)>> = LazyLock::new(|| {
    let operators = [(Operator::Plus, "plus"), (Operator::Minus, "minus"), (Operator::Multiply, "times")];
    let checked = |(operator, name)| {
        let signature = Signature::any(2, Volatility::Immutable);
        (operator, Arc::new(ScalarUDF::new_from_impl(Checked { operator, name, signature })))
    };
    operators.into_iter().map(checked).collect()
});

/// Replaces `+`, `-` and `*` on integers. (Decimals, dates and timestamps are checked by Arrow anyway.)
pub fn check_overflow(plan: LogicalPlan) -> Result<LogicalPlan> {
    let checked = plan.transform_up_with_subqueries(|plan| {
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| check(expr, &schema))?;
            Ok(changed.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(checked.data)
}

fn check(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(binary) = &expr else { return Ok(Transformed::no(expr)) };
    let Some((_, function)) = OPERATORS.iter().find(|(operator, _)| *operator == binary.op) else {
        return Ok(Transformed::no(expr));
    };
    let integer = |ty: &DataType| matches!(ty, DataType::Int16 | DataType::Int32 | DataType::Int64);
    match (binary.left.get_type(schema), binary.right.get_type(schema)) {
        (Ok(left), Ok(right)) if left == right && integer(&left) => {
            let Expr::BinaryExpr(binary) = expr else { return Ok(Transformed::no(expr)) };
            Ok(Transformed::yes(function.call(vec![*binary.left, *binary.right])))
        }
        _ => Ok(Transformed::no(expr)),
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        arguments.first().cloned().ok_or_else(|| DataFusionError::Internal("an operator without operands".into()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let [left, right] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("an operator takes two operands".into()));
        };
        let (left, right) = (left.to_array(rows)?, right.to_array(rows)?);
        let result = match self.operator {
            Operator::Plus => numeric::add(&left, &right),
            Operator::Minus => numeric::sub(&left, &right),
            _ => numeric::mul(&left, &right),
        };
        Ok(ColumnarValue::Array(result?))
    }
}
