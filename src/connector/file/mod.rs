use super::options::OptionReader;
use super::{Sink, Source};
use crate::error::{Error, Result};
use crate::types::Column;
use std::sync::Arc;
pub fn source(_: &[Column], _: &mut OptionReader) -> Result<Arc<dyn Source>> {
    Err(Error::internal("file"))
}
pub fn sink(_: &[Column], _: &[usize], _: &mut OptionReader) -> Result<Arc<dyn Sink>> {
    Err(Error::internal("file"))
}
