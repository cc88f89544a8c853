//! ROW_NUMBER, RANK and DENSE_RANK as PostgreSQL types them: bigint, where DataFusion has unsigned numbers. A stream
//! plan runs them as a Top-N.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::functions_window::{rank, row_number};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, WindowUDF, WindowUDFImpl};

pub fn all() -> impl Iterator<Item = Arc<WindowUDF>> {
    [row_number::row_number_udwf(), rank::rank_udwf(), rank::dense_rank_udwf()]
        .into_iter()
        .map(|inner| Arc::new(WindowUDF::new_from_impl(Ranking { inner })))
}

/// DataFusion's function with a bigint result.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Ranking {
    inner: Arc<WindowUDF>,
}

impl WindowUDFImpl for Ranking {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(BigInt(self.inner.partition_evaluator_factory(args)?)))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Int64, true)))
    }
}

#[derive(Debug)]
struct BigInt(Box<dyn PartitionEvaluator>);

impl PartitionEvaluator for BigInt {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        Ok(cast(&self.0.evaluate_all(values, rows)?, &DataType::Int64)?)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        Ok(cast(&self.0.evaluate_all_with_rank(rows, ranks)?, &DataType::Int64)?)
    }

    fn include_rank(&self) -> bool {
        self.0.include_rank()
    }
}
