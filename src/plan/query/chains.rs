//! Long chains of AND and OR become trees.
//!
//! A parser nests `a OR b OR c ...` to the left, as deep as it is long, and DataFusion works out the types of a level from
//! all that are below it: that takes time with the square of the length. Both operators are associative, with nulls too, and
//! the operands keep their order.

use std::mem;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};

/// Shorter chains stay as they are written, which is how EXPLAIN shows them.
const LONG: usize = 64;

/// Balances a chain of one operator that begins here. What is within its operands is balanced in its own time.
pub fn balance(expr: &mut Expr) {
    let Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } = expr else { return };
    let op = op.clone();
    if length(expr, &op) >= LONG {
        let chain = mem::replace(expr, Expr::value(Value::Null));
        *expr = tree(operands(chain, &op), &op);
    }
}

/// Operators on the way down to the left.
fn length(chain: &Expr, op: &BinaryOperator) -> usize {
    let mut length = 0;
    let mut rest = chain;
    while let Expr::BinaryOp { left, op: own, .. } = rest
        && own == op
    {
        length += 1;
        rest = left;
    }
    length
}

fn operands(chain: Expr, op: &BinaryOperator) -> Vec<Expr> {
    let mut operands = Vec::new();
    let mut rest = chain;
    loop {
        match rest {
            Expr::BinaryOp { left, op: own, right } if own == *op => {
                operands.push(*right);
                rest = *left;
            }
            first => {
                operands.push(first);
                operands.reverse();
                return operands;
            }
        }
    }
}

/// Of at least one operand.
fn tree(mut operands: Vec<Expr>, op: &BinaryOperator) -> Expr {
    let right = operands.split_off(operands.len().div_ceil(2));
    match operands.pop() {
        Some(only) if operands.is_empty() && right.is_empty() => only,
        Some(last) => {
            operands.push(last);
            let (left, right) = (Box::new(tree(operands, op)), Box::new(tree(right, op)));
            Expr::BinaryOp { left, op: op.clone(), right }
        }
        None => Expr::value(Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn parsed(text: &str) -> Expr {
        Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap()
    }

    fn depth(expr: &Expr) -> usize {
        match expr {
            Expr::BinaryOp { left, right, .. } => 1 + depth(left).max(depth(right)),
            _ => 0,
        }
    }

    #[test]
    fn long_chains_become_shallow_and_keep_their_order() {
        for op in ["AND", "OR"] {
            let text = (0..1_000).map(|n| format!("c{n}")).collect::<Vec<_>>().join(&format!(" {op} "));
            let mut expr = parsed(&text);
            balance(&mut expr);
            assert_eq!(depth(&expr), 10);
            // Nothing is printed around operands of the same operator.
            assert_eq!(expr.to_string(), text);
        }
    }

    #[test]
    fn short_and_mixed_chains_stay() {
        for text in ["a OR b OR c", "a AND b OR c AND d", "1 + 2 + 3"] {
            let mut expr = parsed(text);
            balance(&mut expr);
            assert_eq!(expr, parsed(text));
        }
    }
}
