//! Arithmetic that fails on overflow, where DataFusion's executor wraps integers and lets floating-point numbers become
//! infinite, and `||` that fails on what is too long. Plans hold the operators; [`checked`] replaces them when a streaming expression is compiled,
//! [`check_overflow`] in the plan of a SELECT, which DataFusion compiles.

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, Datum};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema};
use arrow::error::ArrowError;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::datum::apply;

use super::define::Defined;
use super::functions;
use super::scalar::{overflow, underflow};
use super::text;
use crate::error::{Error, SqlState};
use crate::plan::errors::{through, type_name};

/// An operator on two numbers of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operator: Operator,
    name: &'static str,
    signature: Signature,
}

static OPERATORS: LazyLock<Vec<(Operator, Arc<ScalarUDF>)>> = LazyLock::new(|| {
    let operators = [
        (Operator::Plus, "plus"),
        (Operator::Minus, "minus"),
        (Operator::Multiply, "times"),
        (Operator::Divide, "divided_by"),
    ];
    let checked = |(operator, name)| {
        let signature = Signature::any(2, Volatility::Immutable);
        (operator, Arc::new(ScalarUDF::new_from_impl(Checked { operator, name, signature })))
    };
    operators.into_iter().map(checked).collect()
});

/// Replaces `||` on texts, and `+`, `-`, `*` and `/` on integers and floating-point numbers. (Decimals, dates and timestamps are checked by
/// Arrow; floating-point division is [`super::scalar::DIVIDE`] already.)
pub fn check_overflow(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| check(expr, schema))
}

/// The operator that was replaced, for whoever shows a plan.
pub fn as_operator(function: ScalarFunction) -> Expr {
    let operator = function.func.inner().downcast_ref::<Checked>().map(|checked| checked.operator);
    match (operator, <[Expr; 2]>::try_from(function.args)) {
        (Some(operator), Ok([left, right])) => {
            let (left, right) = (Box::new(left), Box::new(right));
            Expr::BinaryExpr(datafusion::logical_expr::BinaryExpr::new(left, operator, right))
        }
        (_, Ok(args)) => Expr::ScalarFunction(ScalarFunction { func: function.func, args: args.into() }),
        (_, Err(args)) => Expr::ScalarFunction(ScalarFunction { func: function.func, args }),
    }
}

fn check(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(binary) = &expr else { return Ok(Transformed::no(expr)) };
    let Some(function) = function_of(binary.op) else { return Ok(Transformed::no(expr)) };
    match (type_of(&binary.left, schema), type_of(&binary.right, schema)) {
        (Ok(left), Ok(right)) if left == right && is_checked_here(binary.op, &left) => {
            let Expr::BinaryExpr(binary) = expr else { return Ok(Transformed::no(expr)) };
            Ok(Transformed::yes(function.call(vec![*binary.left, *binary.right])))
        }
        _ => Ok(Transformed::no(expr)),
    }
}

/// That of a chain of calls is that of its last operand: asking all of them at each level takes long.
fn type_of(expr: &Expr, schema: &DFSchema) -> Result<DataType> {
    match as_checked(expr) {
        Some((_, [_, right])) => type_of(right, schema),
        _ => expr.get_type(schema),
    }
}

/// The name of a call as DataFusion gives it, `f(a,b)`. It asks for that of every level of a chain, so it must not take the
/// time of all levels below to make one.
pub(super) fn chain_name(function: &str, args: &[Expr]) -> String {
    let (mut function, mut args) = (function, args);
    let (mut name, mut behind) = (String::new(), Vec::new());
    loop {
        let _ = write!(name, "{function}(");
        let [left, right] = args else {
            let shown = args.iter().map(|arg| arg.schema_name().to_string()).collect::<Vec<_>>();
            let _ = write!(name, "{})", shown.join(","));
            break;
        };
        behind.push(right.schema_name().to_string());
        match left {
            Expr::ScalarFunction(call) if names_chains(call) => (function, args) = (call.name(), &call.args),
            first => {
                let _ = write!(name, "{}", first.schema_name());
                break;
            }
        }
    }
    for right in behind.into_iter().rev() {
        let _ = write!(name, ",{right})");
    }
    name
}

/// Whether [`chain_name`] makes the name of a call.
fn names_chains(call: &ScalarFunction) -> bool {
    let function = call.func.inner();
    function.downcast_ref::<Checked>().is_some() || function.downcast_ref::<Defined>().is_some()
}

fn as_checked(expr: &Expr) -> Option<(&Checked, &[Expr])> {
    let Expr::ScalarFunction(call) = expr else { return None };
    Some((call.func.inner().downcast_ref::<Checked>()?, &call.args))
}

/// The compiled expression, if it is arithmetic or `||`, so that it fails on overflow.
pub fn checked(expr: Arc<dyn PhysicalExpr>, input: &Schema) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    let Some(binary) = expr.downcast_ref::<BinaryExpr>() else { return Ok(Transformed::no(expr)) };
    let Some(function) = function_of(*binary.op()) else { return Ok(Transformed::no(expr)) };
    let (left, right) = (binary.left().data_type(input)?, binary.right().data_type(input)?);
    if left != right || !is_checked_here(*binary.op(), &left) {
        return Ok(Transformed::yes(Arc::new(binary.clone().with_fail_on_overflow(true))));
    }
    let operands = vec![Arc::clone(binary.left()), Arc::clone(binary.right())];
    let result = Arc::new(Field::new(function.name(), left, true));
    let call = ScalarFunctionExpr::new(function.name(), Arc::clone(&function), operands, result, Arc::clone(&CONFIG));
    Ok(Transformed::yes(Arc::new(call)))
}

static CONFIG: LazyLock<Arc<ConfigOptions>> = LazyLock::new(Arc::default);

/// The function that computes an operator instead of DataFusion's kernel.
fn function_of(op: Operator) -> Option<Arc<ScalarUDF>> {
    match op {
        Operator::StringConcat => functions().scalar(text::JOIN),
        _ => OPERATORS.iter().find(|(operator, _)| *operator == op).map(|(_, function)| Arc::clone(function)),
    }
}

fn is_checked_here(op: Operator, ty: &DataType) -> bool {
    match op {
        Operator::StringConcat => *ty == DataType::Utf8View,
        _ => matches!(ty, DataType::Int16 | DataType::Int32 | DataType::Int64) || ty.is_floating(),
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(chain_name(self.name, args))
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        arguments.first().cloned().ok_or_else(|| DataFusionError::Internal("an operator without operands".into()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("an operator takes two operands".into()));
        };
        let ty = left.data_type();
        let compute = |left: &dyn Datum, right: &dyn Datum| self.compute(left, right);
        let result = apply(left, right, compute).map_err(|e| out_of_range(e, &ty))?;
        let operands =
            || Ok::<_, DataFusionError>((left.to_array(args.number_rows)?, right.to_array(args.number_rows)?));
        match &ty {
            DataType::Float32 => self.check_floats::<Float32Type>(&result, operands, |v| v.is_finite())?,
            DataType::Float64 => self.check_floats::<Float64Type>(&result, operands, |v| v.is_finite())?,
            _ => {}
        }
        Ok(result)
    }
}

impl Checked {
    fn compute(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self.operator {
            Operator::Plus => numeric::add(left, right),
            Operator::Minus => numeric::sub(left, right),
            Operator::Multiply => numeric::mul(left, right),
            _ => numeric::div(left, right),
        }
    }

    /// Fails where finite operands gave an infinite result, or factors that are not zero a product of zero.
    fn check_floats<T: ArrowPrimitiveType>(
        &self,
        result: &ColumnarValue,
        operands: impl Fn() -> Result<(ArrayRef, ArrayRef)>,
        finite: impl Fn(T::Native) -> bool,
    ) -> Result<()> {
        let results = result.to_array(1)?;
        let results = results.as_primitive::<T>();
        let vanishes = |value: T::Native| self.operator == Operator::Multiply && value.is_zero();
        // Most batches have nothing to be looked at twice.
        if results.values().iter().all(|value| finite(*value) && !vanishes(*value)) {
            return Ok(());
        }
        let (left, right) = operands()?;
        let pairs = left.as_primitive::<T>().iter().zip(right.as_primitive::<T>().iter());
        for (result, pair) in results.iter().zip(pairs) {
            let (Some(result), (Some(left), Some(right))) = (result, pair) else { continue };
            if !finite(result) && finite(left) && finite(right) {
                return Err(through(overflow()));
            }
            if vanishes(result) && !left.is_zero() && !right.is_zero() {
                return Err(through(underflow()));
            }
        }
        Ok(())
    }
}

fn out_of_range(error: DataFusionError, ty: &DataType) -> DataFusionError {
    match &error {
        DataFusionError::ArrowError(inner, _) if matches!(**inner, ArrowError::ArithmeticOverflow(_)) => {
            through(Error::new(SqlState::NumericValueOutOfRange, format!("{} out of range", type_name(ty))))
        }
        _ => error,
    }
}
