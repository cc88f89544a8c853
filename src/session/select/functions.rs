//! Functions that reach into the session.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use parking_lot::Mutex;

use crate::error::{Error, Result, SqlState};
use crate::plan::errors::through;
use crate::session::settings::Settings;

/// `set_config(name, value, is_local)`: SET as a function, as PostgreSQL has it.
#[derive(Debug)]
struct SetConfig {
    settings: Arc<Mutex<Settings>>,
    signature: Signature,
}

pub fn set_config(settings: Arc<Mutex<Settings>>) -> ScalarUDF {
    // Any types: what is no text is refused with PostgreSQL's words when it is called.
    let signature = Signature::new(TypeSignature::Any(3), Volatility::Volatile);
    ScalarUDF::new_from_impl(SetConfig { settings, signature })
}

impl SetConfig {
    fn call(&self, arguments: &[ScalarValue]) -> Result<String> {
        let text = |n: usize| arguments.get(n).and_then(|value| value.try_as_str().flatten());
        let Some(name) = text(0) else {
            let message = "set_config takes the name of a setting as text";
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        };
        if matches!(arguments.get(2), Some(ScalarValue::Boolean(Some(true)))) {
            let hint = "Use SET LOCAL in a transaction block.";
            return Err(Error::unsupported("set_config for a transaction is not supported", hint));
        }
        let mut settings = self.settings.lock();
        settings.set(name, text(1))?;
        settings.show(name)
    }
}

impl ScalarUDFImpl for SetConfig {
    fn name(&self) -> &str {
        "set_config"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let mut shown = Vec::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            let value = |argument: &ColumnarValue| match argument {
                ColumnarValue::Scalar(value) => Ok(value.clone()),
                ColumnarValue::Array(values) => ScalarValue::try_from_array(values, row),
            };
            let arguments = args.args.iter().map(value).collect::<DfResult<Vec<_>>>()?;
            shown.push(ScalarValue::Utf8View(Some(self.call(&arguments).map_err(through)?)));
        }
        match shown.is_empty() {
            true => Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(None))),
            false => Ok(ColumnarValue::Array(ScalarValue::iter_to_array(shown)?)),
        }
    }
}

impl PartialEq for SetConfig {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.settings, &other.settings)
    }
}

impl Eq for SetConfig {}

impl Hash for SetConfig {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.settings).hash(state);
    }
}
