//! Operators that look into jsonb values and arrays: each is a call of a function of ours.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::planner::RawBinaryExpr;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::settle::settle;
use super::typing::{is_list, is_literal_error, literal_as, operand_type, settled_call, unknown};
use crate::plan::errors::{no_operator, through};
use crate::plan::functions::{array, jsonb, jsonb_edit};

/// The functions that an operator stands for: on jsonb, and on arrays.
pub struct ContainerOperator {
    of_jsonb: Option<&'static str>,
    of_arrays: Option<&'static str>,
    /// The functions take the sides the other way round.
    swap: bool,
}

pub fn operator(op: &BinaryOperator) -> Option<ContainerOperator> {
    let (of_jsonb, of_arrays, swap) = match op {
        BinaryOperator::Arrow => (Some(jsonb::GET), None, false),
        BinaryOperator::LongArrow => (Some(jsonb::GET_TEXT), None, false),
        BinaryOperator::HashArrow => (Some(jsonb::GET_PATH), None, false),
        BinaryOperator::HashLongArrow => (Some(jsonb::GET_PATH_TEXT), None, false),
        BinaryOperator::HashMinus => (Some(jsonb_edit::DELETE_PATH), None, false),
        BinaryOperator::AtArrow => (Some(jsonb::CONTAINS), Some(array::CONTAINS), false),
        BinaryOperator::ArrowAt => (Some(jsonb::CONTAINS), Some(array::CONTAINS), true),
        BinaryOperator::PGOverlap => (None, Some(array::OVERLAPS), false),
        BinaryOperator::Question => (Some(jsonb::EXISTS), None, false),
        BinaryOperator::QuestionPipe => (Some(jsonb::EXISTS_ANY), None, false),
        BinaryOperator::QuestionAnd => (Some(jsonb::EXISTS_ALL), None, false),
        _ => return None,
    };
    Some(ContainerOperator { of_jsonb, of_arrays, swap })
}

impl ContainerOperator {
    /// # Errors
    /// `42883` where PostgreSQL has no such operator on these types.
    pub fn plan(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<Expr> {
        let RawBinaryExpr { op, left, right } = raw;
        let (left, right) = (settle(left, schema)?, settle(right, schema)?);
        let (left_type, right_type) = (left.get_type(schema)?, right.get_type(schema)?);
        let missing =
            no_operator(&operand_type(&left, &left_type), &op.to_string(), &operand_type(&right, &right_type));
        let (first, second) = if self.swap { (right, left) } else { (left, right) };
        let (first_type, second_type) = if self.swap { (right_type, left_type) } else { (left_type, right_type) };
        // An unknown literal beside an array is one of its kind.
        let (first, second) = match (unknown(&first), unknown(&second)) {
            (Some(text), None) if is_list(&second_type) => (literal_as(&text, &second_type)?, second),
            (None, Some(text)) if is_list(&first_type) => (first, literal_as(&text, &first_type)?),
            _ => (first, second),
        };
        let arrays = is_list(&first.get_type(schema)?);
        let function = if arrays { self.of_arrays } else { self.of_jsonb };
        let fits = match arrays {
            true => first.get_type(schema)? == second.get_type(schema)?,
            false => first_type == DataType::LargeBinary || unknown(&first).is_some(),
        };
        match function.filter(|_| fits) {
            Some(function) => settled_call(function, vec![first, second], schema)
                .map_err(|e| if is_literal_error(&e) { e } else { through(missing) }),
            None => Err(through(missing)),
        }
    }
}
