use super::Source;
use super::options::OptionReader;
use crate::error::{Error, Result};
use crate::types::Column;
use std::sync::Arc;
pub fn source(_: &[Column], _: &mut OptionReader) -> Result<Arc<dyn Source>> {
    Err(Error::internal("generator"))
}
