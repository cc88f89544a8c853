//! Arguments that are numbers, whatever their width: what sums and variances read row by row.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};

use crate::error::{Error, Result};

/// Smallint, integer or bigint.
pub enum IntegerView<'a> {
    Small(&'a [i16]),
    Integer(&'a [i32]),
    Big(&'a [i64]),
}

impl<'a> IntegerView<'a> {
    /// # Errors
    /// If the argument is of another type than its plan promised.
    pub fn of(argument: &'a ArrayRef) -> Result<Self> {
        Ok(match argument.data_type() {
            DataType::Int16 => IntegerView::Small(argument.as_primitive::<Int16Type>().values()),
            DataType::Int32 => IntegerView::Integer(argument.as_primitive::<Int32Type>().values()),
            DataType::Int64 => IntegerView::Big(argument.as_primitive::<Int64Type>().values()),
            _ => return Err(changed_type()),
        })
    }

    #[inline]
    pub fn get(&self, row: usize) -> i64 {
        let value = match self {
            IntegerView::Small(values) => values.get(row).map(|v| i64::from(*v)),
            IntegerView::Integer(values) => values.get(row).map(|v| i64::from(*v)),
            IntegerView::Big(values) => values.get(row).copied(),
        };
        value.unwrap_or_default()
    }
}

/// Real or double precision.
pub enum FloatView<'a> {
    Real(&'a [f32]),
    Double(&'a [f64]),
}

impl<'a> FloatView<'a> {
    /// # Errors
    /// If the argument is of another type than its plan promised.
    pub fn of(argument: &'a ArrayRef) -> Result<Self> {
        match argument.data_type() {
            DataType::Float32 => Ok(FloatView::Real(argument.as_primitive::<Float32Type>().values())),
            DataType::Float64 => Ok(FloatView::Double(argument.as_primitive::<Float64Type>().values())),
            _ => Err(changed_type()),
        }
    }

    #[inline]
    pub fn get(&self, row: usize) -> f64 {
        let value = match self {
            FloatView::Real(values) => values.get(row).map(|v| f64::from(*v)),
            FloatView::Double(values) => values.get(row).copied(),
        };
        value.unwrap_or_default()
    }
}

fn changed_type() -> Error {
    Error::internal("an aggregate's argument changed its type")
}
