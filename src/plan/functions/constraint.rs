//! What declared columns demand of the values that are put into them.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray};

use super::define::{Call, Definition, Form, Parameter as P};
use super::results::boolean;
use crate::error::Result;
use crate::types::null_violation;

/// `check_not_null(relation, name, column, name, column, ...)`: true, or an error where a column has a null.
pub const CHECK_NOT_NULL: &str = "check_not_null";

pub const DEFINITIONS: &[Definition] =
    &[Definition { name: CHECK_NOT_NULL, forms: &[Form::variadic(&[P::Text, P::Any], boolean, check_not_null)] }];

fn check_not_null(call: Call<'_>) -> Result<Arc<dyn Array>> {
    let relation = call.texts(0)?;
    for name in (1..call.count()).step_by(2) {
        let column = call.column(name + 1)?;
        if let Some(row) = (0..call.rows).find(|row| column.is_null(*row)) {
            return Err(null_violation(call.texts(name)?.value(row), relation.value(row)));
        }
    }
    Ok(Arc::new(BooleanArray::from(vec![true; call.rows])))
}
