//! Makes failing independent of batching.
//!
//! DataFusion evaluates the right side of AND and OR for all rows of a batch, or only for some, depending on how many
//! rows the left side decides. `b <> 0 AND a / b > 1` could then divide by zero in one batch and not in another. Here
//! an operand that can fail stands behind those that cannot and is evaluated, by CASE, exactly where these leave the
//! answer open.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Case, Cast};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, lit};

use super::query::typing::binary;

/// The same expression over `schema`, failing on a row or not whatever other rows are evaluated with it.
pub fn make_total(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let can_fail = |expr: &Expr| can_fail(expr, schema);
    let rewritten = expr.transform_up(|expr| {
        Ok(match &expr {
            Expr::BinaryExpr(b)
                if matches!(b.op, Operator::And | Operator::Or) && (can_fail(&b.left) || can_fail(&b.right)) =>
            {
                let op = b.op;
                let mut operands = Vec::new();
                collect(expr, op, &mut operands);
                Transformed::yes(ordered(operands, op, can_fail))
            }
            Expr::ScalarFunction(f) if f.name() == "coalesce" && f.args.iter().skip(1).any(can_fail) => {
                Transformed::yes(first_not_null(f.args.clone()))
            }
            _ => Transformed::no(expr),
        })
    })?;
    Ok(rewritten.data)
}

fn collect(expr: Expr, op: Operator, operands: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryExpr(b) if b.op == op => {
            collect(*b.left, op, operands);
            collect(*b.right, op, operands);
        }
        other => operands.push(other),
    }
}

/// Those that cannot fail first, together; then one by one those that can, in their order.
fn ordered(operands: Vec<Expr>, op: Operator, can_fail: impl Fn(&Expr) -> bool) -> Expr {
    let (fallible, safe): (Vec<Expr>, Vec<Expr>) = operands.into_iter().partition(|e| can_fail(e));
    let mut rest = fallible.into_iter();
    let first = safe.into_iter().reduce(|left, right| binary(left, op, right)).or_else(|| rest.next());
    let Some(first) = first else { return lit(op == Operator::And) };
    rest.fold(first, |decided, next| guarded(decided, next, op))
}

/// `decided AND next` as CASE: `next` is evaluated unless `decided` is false (for OR: true). Where `decided` is null,
/// the answer is null unless `next` decides.
fn guarded(decided: Expr, next: Expr, op: Operator) -> Expr {
    let and = op == Operator::And;
    let null = lit(ScalarValue::Boolean(None));
    let if_null = Expr::Case(Case::new(
        Some(Box::new(next.clone())),
        vec![(Box::new(lit(!and)), Box::new(lit(!and)))],
        Some(Box::new(null)),
    ));
    Expr::Case(Case::new(
        Some(Box::new(decided)),
        vec![(Box::new(lit(and)), Box::new(next)), (Box::new(lit(!and)), Box::new(lit(!and)))],
        Some(Box::new(if_null)),
    ))
}

fn first_not_null(mut args: Vec<Expr>) -> Expr {
    let last = args.pop();
    let branches = args.into_iter().map(|a| (Box::new(Expr::IsNotNull(Box::new(a.clone()))), Box::new(a))).collect();
    Expr::Case(Case::new(None, branches, last.map(Box::new)))
}

/// Functions that return a value (or null) for every argument of their types.
const SAFE_FUNCTIONS: &[&str] = &[
    "lower",
    "upper",
    "btrim",
    "ltrim",
    "rtrim",
    "trim",
    "character_length",
    "octet_length",
    "bit_length",
    "coalesce",
    "nullif",
    "starts_with",
    "ends_with",
    "contains",
    "strpos",
    "reverse",
    "replace",
    "left",
    "right",
    "substr",
    "split_part",
    "concat",
    "concat_ws",
    "initcap",
    "ascii",
    "md5",
    "get_field",
    "date_part",
    "floor",
    "ceil",
    "round",
    "trunc",
    "signum",
    "greatest",
    "least",
    "isnan",
    "to_text",
    "array_length",
    "cardinality",
];

/// Whether evaluating an expression can fail on some row. When in doubt, it can.
pub fn can_fail(expr: &Expr, schema: &DFSchema) -> bool {
    let mut fails = false;
    let visited = expr.apply(|expr| {
        fails |= match expr {
            Expr::BinaryExpr(b) => !matches!(
                b.op,
                Operator::And
                    | Operator::Or
                    | Operator::Eq
                    | Operator::NotEq
                    | Operator::Lt
                    | Operator::LtEq
                    | Operator::Gt
                    | Operator::GtEq
                    | Operator::IsDistinctFrom
                    | Operator::IsNotDistinctFrom
                    | Operator::StringConcat
            ),
            Expr::Cast(cast) => !is_safe_cast(cast, schema),
            Expr::ScalarFunction(f) => !SAFE_FUNCTIONS.contains(&f.name()),
            Expr::Like(like) | Expr::SimilarTo(like) => !matches!(*like.pattern, Expr::Literal(..)),
            Expr::Column(_)
            | Expr::Literal(..)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_)
            | Expr::Between(_)
            | Expr::InList(_)
            | Expr::Case(_)
            | Expr::TryCast(_)
            | Expr::Alias(_) => false,
            _ => true,
        };
        Ok(if fails { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    fails || visited.is_err()
}

/// Everything has a text, and a wider number holds every narrower one.
fn is_safe_cast(cast: &Cast, schema: &DFSchema) -> bool {
    use DataType as D;
    let Ok(from) = cast.expr.get_type(schema) else { return false };
    let to = cast.field.data_type();
    to.is_string()
        || from == *to
        || matches!(
            (&from, to),
            (D::Int16, D::Int32 | D::Int64 | D::Float32 | D::Float64)
                | (D::Int32, D::Int64 | D::Float32 | D::Float64)
                | (D::Int64 | D::Decimal128(..) | D::Float32, D::Float64)
        )
}
