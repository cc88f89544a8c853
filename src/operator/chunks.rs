//! The batch that was pushed last, handed on in chunks.

use super::CHUNK_ROWS;
use crate::change::ChangeBatch;
use crate::error::{Error, Result};

#[derive(Default)]
pub struct Chunks(Option<ChangeBatch>);

impl Chunks {
    /// # Errors
    /// If the last batch was not pulled yet, which the driver promised.
    pub fn put(&mut self, batch: ChangeBatch) -> Result<()> {
        if self.0.is_some() {
            return Err(Error::internal("a batch was pushed before the last one was pulled"));
        }
        self.0 = Some(batch).filter(|b| !b.is_empty());
        Ok(())
    }

    pub fn next(&mut self) -> Option<ChangeBatch> {
        let batch = self.0.take()?;
        if batch.num_rows() <= CHUNK_ROWS {
            return Some(batch);
        }
        self.0 = Some(batch.slice(CHUNK_ROWS, batch.num_rows() - CHUNK_ROWS));
        Some(batch.slice(0, CHUNK_ROWS))
    }
}
