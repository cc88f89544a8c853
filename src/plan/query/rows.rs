//! Row constructors: `ROW(a, b)`, `(a, b)`. Where two are compared, their fields are, one by one, as PostgreSQL does; elsewhere
//! each is a value.

use arrow::datatypes::DataType;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Expr as Planned;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator,
};

use super::typing::{call, cast, literal_as, unknown};
use crate::error::{Error, Result, SqlState};
use crate::plan::errors::through;
use crate::plan::functions::row::ROW;
use crate::sql::calls;

/// The fields of a row constructor.
fn fields(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Tuple(fields) => Some(fields.clone()),
        Expr::Nested(inner) => fields(inner).filter(|_| matches!(**inner, Expr::Function(_))),
        Expr::Function(function) => {
            let [name] = function.name.0.as_slice() else { return None };
            let ident = name.as_ident().filter(|ident| ident.value.eq_ignore_ascii_case(ROW))?;
            let FunctionArguments::List(list) = &function.args else { return None };
            let argument = |argument: &FunctionArg| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            };
            let quoted = ident.quote_style.is_some();
            if quoted { None } else { list.args.iter().map(argument).collect() }
        }
        _ => None,
    }
}

/// An expression without row constructors at its top, if there are any.
///
/// # Errors
/// 42601 for rows of different length.
pub fn without_rows(expr: &Expr) -> Result<Option<Expr>> {
    Ok(match expr {
        Expr::BinaryOp { left, op, right } => match (fields(left), fields(right)) {
            (Some(left), Some(right)) => comparison(&left, op, &right)?,
            _ => None,
        },
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
            let (Some(left), Some(right)) = (fields(left), fields(right)) else { return Ok(None) };
            same_length(&left, &right)?;
            let pairs =
                left.into_iter().zip(right).map(|(left, right)| (Box::new(nested(left)), Box::new(nested(right))));
            match expr {
                Expr::IsDistinctFrom(..) => {
                    chain(pairs.map(|(left, right)| Expr::IsDistinctFrom(left, right)), BinaryOperator::Or)
                }
                _ => chain(pairs.map(|(left, right)| Expr::IsNotDistinctFrom(left, right)), BinaryOperator::And),
            }
        }
        // Of a row, both say something of all of its fields.
        Expr::IsNull(inner) => {
            let Some(fields) = fields(inner) else { return Ok(None) };
            chain(fields.into_iter().map(|field| Expr::IsNull(Box::new(nested(field)))), BinaryOperator::And)
        }
        Expr::IsNotNull(inner) => {
            let Some(fields) = fields(inner) else { return Ok(None) };
            chain(fields.into_iter().map(|field| Expr::IsNotNull(Box::new(nested(field)))), BinaryOperator::And)
        }
        Expr::InList { expr: inner, list, negated } => {
            let Some(row) = fields(inner) else { return Ok(None) };
            let mut equal = Vec::with_capacity(list.len());
            for item in list {
                let Some(item) = fields(item) else { return Ok(None) };
                equal.extend(comparison(&row, &BinaryOperator::Eq, &item)?);
            }
            let any = chain(equal.into_iter(), BinaryOperator::Or);
            match negated {
                true => any.map(|any| Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(any) }),
                false => any,
            }
        }
        Expr::Tuple(fields) => Some(constructor(fields.clone())),
        _ => None,
    })
}

fn same_length(left: &[Expr], right: &[Expr]) -> Result<()> {
    if left.len() == right.len() {
        return Ok(());
    }
    Err(Error::new(SqlState::SyntaxError, "unequal number of entries in row expressions"))
}

/// The fields' comparison, or nothing if the operator is none.
fn comparison(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Result<Option<Expr>> {
    use BinaryOperator as B;
    let strict = match op {
        B::Eq | B::NotEq => op.clone(),
        B::Lt | B::LtEq => B::Lt,
        B::Gt | B::GtEq => B::Gt,
        _ => return Ok(None),
    };
    same_length(left, right)?;
    let pair = |left: &Expr, op: &B, right: &Expr| binary(nested(left.clone()), op.clone(), nested(right.clone()));
    let mut pairs = left.iter().zip(right);
    Ok(match op {
        B::Eq => chain(pairs.map(|(left, right)| pair(left, op, right)), B::And),
        B::NotEq => chain(pairs.map(|(left, right)| pair(left, op, right)), B::Or),
        _ => {
            // The first fields that differ decide; all but the last one strictly.
            let last = pairs.next_back().map(|(left, right)| pair(left, op, right));
            pairs.rev().fold(last, |behind, (left, right)| {
                let equal = binary(pair(left, &B::Eq, right), B::And, behind?);
                Some(nested(binary(pair(left, &strict, right), B::Or, nested(equal))))
            })
        }
    })
}

fn chain(parts: impl Iterator<Item = Expr>, op: BinaryOperator) -> Option<Expr> {
    parts.reduce(|left, right| binary(left, op.clone(), right)).map(nested)
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn constructor(fields: Vec<Expr>) -> Expr {
    calls::call(ROW, fields)
}

/// Two values of row types with fields of the same types, which a row constructor takes from the other side. `None`: they
/// differ.
///
/// # Errors
/// 42804 for rows of different length.
pub fn of_one_type(
    (left, left_type): (Planned, &DataType),
    (right, right_type): (Planned, &DataType),
) -> DfResult<Option<(Planned, Planned)>> {
    let types = |ty: &DataType| match ty {
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type().clone()).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    let (left_types, right_types) = (types(left_type), types(right_type));
    if left_types.len() != right_types.len() {
        let message = "cannot compare record types with different numbers of columns";
        return Err(through(Error::new(SqlState::DatatypeMismatch, message)));
    }
    Ok(match (left_types == right_types, is_constructor(&left), is_constructor(&right)) {
        (true, _, _) => Some((left, right)),
        (false, _, true) => Some((left, with_types(right, &left_types)?)),
        (false, true, false) => Some((with_types(left, &right_types)?, right)),
        (false, false, false) => None,
    })
}

fn is_constructor(expr: &Planned) -> bool {
    matches!(expr, Planned::ScalarFunction(function) if function.name() == ROW)
}

/// A row constructor with fields of other types.
fn with_types(expr: Planned, types: &[DataType]) -> DfResult<Planned> {
    let Planned::ScalarFunction(function) = expr else { return Ok(expr) };
    let fields = function.args.into_iter().zip(types).map(|(field, ty)| match unknown(&field) {
        Some(text) => literal_as(&text, ty),
        None => Ok(cast(field, ty.clone())),
    });
    call(ROW, fields.collect::<DfResult<_>>()?)
}
