//! sum and avg with PostgreSQL's result types, computed by DataFusion's: what goes in is cast so that what comes out is
//! what the streaming operators give.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};

use crate::plan::stream::AggregateFunction;

/// Digits that DataFusion's avg adds to a decimal's scale.
const AVG_ADDS: i8 = 4;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Typed {
    function: AggregateFunction,
    name: &'static str,
    computes: Arc<AggregateUDF>,
    signature: Signature,
}

static SUM: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| typed(AggregateFunction::Sum, "sum", sum_udaf()));
static AVG: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| typed(AggregateFunction::Avg, "avg", avg_udaf()));

fn typed(function: AggregateFunction, name: &'static str, computes: Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(Typed { function, name, computes, signature }))
}

/// The aggregates that are not DataFusion's own here.
pub fn by_name(name: &str) -> Option<Arc<AggregateUDF>> {
    match name {
        "sum" => Some(Arc::clone(&SUM)),
        "avg" | "mean" => Some(Arc::clone(&AVG)),
        _ => None,
    }
}

impl AggregateUDFImpl for Typed {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let result = match arguments {
            [one] => self.function.result_type(one),
            _ => None,
        };
        Ok(vec![match (self.function, result) {
            (AggregateFunction::Avg, Some(DataType::Decimal128(precision, scale))) => {
                DataType::Decimal128(precision, scale - AVG_ADDS)
            }
            (_, Some(result)) => result,
            (_, None) => return plan_err!("No function matches the given name and argument types"),
        }])
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.computes.return_type(arguments)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.computes.accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.computes.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.computes.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.computes.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.computes.create_sliding_accumulator(args)
    }
}
