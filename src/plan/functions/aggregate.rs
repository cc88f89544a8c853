//! Aggregate functions with PostgreSQL's result types. For planning only: our own operators compute them.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{not_impl_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use crate::plan::stream::AggregateFunction;
use crate::types::NUMERIC_DEFAULT;

impl AggregateFunction {
    /// The type of the result over arguments of a type; `None` where PostgreSQL has no such function.
    ///
    /// As PostgreSQL: sum(smallint, integer) is bigint, sum(bigint) numeric, avg of integers numeric. Sums and averages
    /// of real are double precision, since they are computed exactly.
    pub fn result_type(self, argument: &DataType) -> Option<DataType> {
        use DataType as D;
        let (precision, scale) = NUMERIC_DEFAULT;
        Some(match (self, argument) {
            (AggregateFunction::Count, _) => D::Int64,
            (AggregateFunction::Min | AggregateFunction::Max, D::Struct(_) | D::List(_)) => return None,
            (AggregateFunction::Min | AggregateFunction::Max, any) => any.clone(),
            (AggregateFunction::Sum, D::Int16 | D::Int32) => D::Int64,
            (AggregateFunction::Sum, D::Int64) => D::Decimal128(precision, 0),
            (AggregateFunction::Sum, D::Decimal128(_, s)) => D::Decimal128(precision, *s),
            (AggregateFunction::Avg, D::Int16 | D::Int32 | D::Int64) => D::Decimal128(precision, scale),
            (AggregateFunction::Avg, D::Decimal128(_, s)) => D::Decimal128(precision, scale.max(*s)),
            (AggregateFunction::Sum | AggregateFunction::Avg, D::Float32 | D::Float64) => D::Float64,
            _ => return None,
        })
    }

    pub fn by_name(name: &str) -> Option<Self> {
        use AggregateFunction as F;
        [F::Count, F::Sum, F::Min, F::Max, F::Avg].into_iter().find(|f| f.to_string() == name)
    }
}

/// sum and avg as the planner sees them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Typed {
    function: AggregateFunction,
    name: &'static str,
    signature: Signature,
}

pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    [(AggregateFunction::Sum, "sum"), (AggregateFunction::Avg, "avg")]
        .into_iter()
        .map(|(function, name)| {
            let signature = Signature::user_defined(Volatility::Immutable);
            Arc::new(AggregateUDF::new_from_impl(Typed { function, name, signature }))
        })
        .collect()
}

impl AggregateUDFImpl for Typed {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [one] if self.function.result_type(one).is_some() => Ok(vec![one.clone()]),
            _ => plan_err!("No function matches the given name and argument types"),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments.first().and_then(|a| self.function.result_type(a)) {
            Some(result) => Ok(result),
            None => plan_err!("No function matches the given name and argument types"),
        }
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("{} is computed by the streaming operators only", self.name)
    }
}
