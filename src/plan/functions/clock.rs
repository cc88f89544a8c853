//! PROCTIME(). A stream plan has an operator for it; elsewhere there are no ticks that it could be of.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::error::Error;
use crate::plan::errors::through;
use crate::types::SqlType;

pub const PROCTIME: &str = "proctime";

/// Microseconds, as the clock has them.
pub const PROCTIME_TYPE: SqlType = SqlType::TimestampTz(6);

#[derive(Debug, PartialEq, Eq, Hash)]
struct ProcTime {
    signature: Signature,
}

pub(super) fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    let signature = Signature::nullary(Volatility::Volatile);
    std::iter::once(Arc::new(ScalarUDF::new_from_impl(ProcTime { signature })))
}

impl ScalarUDFImpl for ProcTime {
    fn name(&self) -> &str {
        PROCTIME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(PROCTIME_TYPE.to_arrow())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let hint = "Use it in a view or a job, or now() in a SELECT.";
        Err(through(Error::unsupported("PROCTIME() has no value outside a streaming query", hint)))
    }
}
