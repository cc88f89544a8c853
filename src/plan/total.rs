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
    let rewritten = expr.transform_down(|expr| {
        Ok(match &expr {
            Expr::BinaryExpr(b) if is_logic(b.op) && can_fail(&expr, schema) => {
                let op = b.op;
                let (safe, fallible) = operands(expr, op, schema)?;
                done(ordered(safe, fallible, |decided, next| guarded(decided, next, op), op))
            }
            // DataFusion computes coalesce only as the CASE that its simplifier makes of it.
            Expr::ScalarFunction(f) if matches!(f.name(), "coalesce" | "nvl") => {
                let args = f.args.iter().map(|a| make_total(a.clone(), schema)).collect::<Result<_>>()?;
                done(first_not_null(args))
            }
            _ => Transformed::no(expr),
        })
    })?;
    Ok(rewritten.data)
}

/// The same for the condition of a filter, where null is as good as false: which makes the CASE shorter.
pub fn make_total_condition(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    match &expr {
        Expr::BinaryExpr(b) if is_logic(b.op) && can_fail(&expr, schema) => {
            let op = b.op;
            let (safe, fallible) = operands(expr, op, schema)?;
            Ok(ordered(safe, fallible, |decided, next| decisive(decided, next, op), op))
        }
        _ => make_total(expr, schema),
    }
}

fn is_logic(op: Operator) -> bool {
    matches!(op, Operator::And | Operator::Or)
}

/// What is inside was rewritten already.
fn done(expr: Expr) -> Transformed<Expr> {
    Transformed::new(expr, true, TreeNodeRecursion::Jump)
}

/// The operands of a chain of AND or OR: those that cannot fail, and those that can, each in their order.
fn operands(chain: Expr, op: Operator, schema: &DFSchema) -> Result<(Vec<Expr>, Vec<Expr>)> {
    let (mut safe, mut fallible) = (Vec::new(), Vec::new());
    let mut rest = vec![chain];
    while let Some(expr) = rest.pop() {
        match expr {
            Expr::BinaryExpr(b) if b.op == op => rest.extend([*b.right, *b.left]),
            other if can_fail(&other, schema) => fallible.push(make_total(other, schema)?),
            other => safe.push(make_total(other, schema)?),
        }
    }
    Ok((safe, fallible))
}

/// Those that cannot fail first, together; then one by one those that can.
fn ordered(safe: Vec<Expr>, fallible: Vec<Expr>, behind: impl Fn(Expr, Expr) -> Expr, op: Operator) -> Expr {
    let mut rest = fallible.into_iter();
    let first = safe.into_iter().reduce(|left, right| binary(left, op, right)).or_else(|| rest.next());
    let Some(first) = first else { return lit(op == Operator::And) };
    rest.fold(first, behind)
}

/// `decided AND next` as CASE where null counts as false.
fn decisive(decided: Expr, next: Expr, op: Operator) -> Expr {
    let (decided, next) = (Box::new(decided), Box::new(next));
    Expr::Case(match op {
        Operator::And => Case::new(None, vec![(decided, next)], Some(Box::new(lit(false)))),
        _ => Case::new(None, vec![(decided, Box::new(lit(true)))], Some(next)),
    })
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
    "nvl",
    "nullif",
    "starts_with",
    "ends_with",
    "contains",
    "strpos",
    "reverse",
    "left",
    "right",
    "substr",
    "split_part",
    "initcap",
    "ascii",
    "md5",
    "get_field",
    "date_part",
    "floor",
    "ceil",
    "round",
    "round_even",
    "trunc",
    "signum",
    "greatest",
    "least",
    "isnan",
    "to_text",
    "array_length",
    "array_upper",
    "array_lower",
    "array_position",
    "array_get",
    "array_contains_all",
    "array_overlaps",
    "cardinality",
    "equals_any",
    "sort_key",
    "extract_whole",
    "extract_part",
    "time_to_interval",
    "interval_to_time",
    "interval_length",
    "jsonb_get",
    "jsonb_get_text",
    "jsonb_get_path",
    "jsonb_get_path_text",
    "jsonb_extract_path",
    "jsonb_extract_path_text",
    "jsonb_contains",
    "jsonb_exists",
    "jsonb_exists_any",
    "jsonb_exists_all",
    "jsonb_typeof",
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
