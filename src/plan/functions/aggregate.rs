//! Aggregate functions with PostgreSQL's result types. For planning only: our own operators compute them.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{not_impl_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use super::results::list_of;
use crate::plan::stream::AggregateFunction;
use crate::sql::flink::query::FLINK_AVG;
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
            (AggregateFunction::Count | AggregateFunction::ApproxCountDistinct, _) => D::Int64,
            // PostgreSQL has none of uuid and jsonb.
            (
                AggregateFunction::Min | AggregateFunction::Max,
                D::Struct(_) | D::List(_) | D::FixedSizeBinary(_) | D::LargeBinary,
            ) => return None,
            (AggregateFunction::Min | AggregateFunction::Max, any) => any.clone(),
            (AggregateFunction::Sum, D::Int16 | D::Int32) => D::Int64,
            (AggregateFunction::Sum, D::Int64) => D::Decimal128(precision, 0),
            (AggregateFunction::Sum, D::Decimal128(_, s)) => D::Decimal128(precision, *s),
            (AggregateFunction::Sum, D::Float32 | D::Float64) => D::Float64,
            (AggregateFunction::Sum, _) => return None,
            (AggregateFunction::BoolAnd | AggregateFunction::BoolOr, D::Boolean) => D::Boolean,
            (AggregateFunction::BoolAnd | AggregateFunction::BoolOr, _) => return None,
            (AggregateFunction::StringAgg, D::Utf8View | D::Utf8 | D::LargeUtf8) => D::Utf8View,
            (AggregateFunction::StringAgg, _) => return None,
            (AggregateFunction::ArrayAgg, D::Null) => return None,
            (AggregateFunction::ArrayAgg, any) => list_of(any),
            // Averages, variances and standard deviations.
            (_, D::Int16 | D::Int32 | D::Int64) => D::Decimal128(precision, scale),
            (_, D::Decimal128(_, s)) => D::Decimal128(precision, scale.max(*s)),
            (_, D::Float32 | D::Float64) => D::Float64,
            _ => return None,
        })
    }

    /// By its name in SQL or one of its other names there.
    pub fn by_name(name: &str) -> Option<Self> {
        AggregateFunction::ALL.into_iter().find(|f| f.to_string() == name || f.aliases().contains(&name))
    }

    /// Other names in SQL.
    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            AggregateFunction::Avg => &["mean"],
            AggregateFunction::ApproxCountDistinct => &["approx_distinct"],
            AggregateFunction::BoolAnd => &["every"],
            AggregateFunction::StddevSamp => &["stddev"],
            AggregateFunction::VarSamp => &["variance"],
            _ => &[],
        }
    }

    /// Whether the answer holds all values, in an order.
    pub fn collects(self) -> bool {
        matches!(self, AggregateFunction::StringAgg | AggregateFunction::ArrayAgg)
    }

    /// Whether a value that comes again changes nothing, so that DISTINCT does neither.
    pub fn ignores_repetition(self) -> bool {
        use AggregateFunction as F;
        matches!(self, F::Min | F::Max | F::BoolAnd | F::BoolOr | F::ApproxCountDistinct)
    }

    /// Those whose types, or whose answers, are not DataFusion's.
    pub fn typed() -> impl Iterator<Item = Self> {
        use AggregateFunction as F;
        AggregateFunction::ALL.into_iter().filter(|f| !matches!(f, F::Count | F::Min | F::Max))
    }
}

/// An aggregate function as the planner sees it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Typed {
    function: AggregateFunction,
    name: String,
    aliases: Vec<String>,
    /// Of integers it is one: an average as Flink has it, which no plan keeps ([`crate::plan::query::average`]).
    whole: bool,
    signature: Signature,
}

pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    let typed = |function: AggregateFunction| {
        let aliases = function.aliases().iter().map(|alias| (*alias).to_string()).collect();
        let signature = Signature::user_defined(Volatility::Immutable);
        let name = function.to_string();
        AggregateUDF::new_from_impl(Typed { function, name, aliases, whole: false, signature })
    };
    let whole = AggregateUDF::new_from_impl(Typed {
        function: AggregateFunction::Avg,
        name: FLINK_AVG.into(),
        aliases: Vec::new(),
        whole: true,
        signature: Signature::user_defined(Volatility::Immutable),
    });
    AggregateFunction::typed().map(typed).chain([whole]).map(Arc::new).collect()
}

impl AggregateUDFImpl for Typed {
    fn name(&self) -> &str {
        &self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [one, separator] if self.function == AggregateFunction::StringAgg => {
                let text = |ty: &DataType| ty.is_null() || self.function.result_type(ty).is_some();
                if !text(one) || !text(separator) {
                    return plan_err!("No function matches the given name and argument types");
                }
                Ok(vec![DataType::Utf8View, DataType::Utf8View])
            }
            [one] if self.function != AggregateFunction::StringAgg && self.function.result_type(one).is_some() => {
                Ok(vec![one.clone()])
            }
            _ => plan_err!("No function matches the given name and argument types"),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments.first().and_then(|a| self.function.result_type(a)) {
            Some(result) => Ok(arguments.first().filter(|a| self.whole && a.is_integer()).cloned().unwrap_or(result)),
            None => plan_err!("No function matches the given name and argument types"),
        }
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        not_impl_err!("{} is computed by the streaming operators only", self.name)
    }
}
