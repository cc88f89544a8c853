//! The batch that was pushed last, handed on in chunks.

use super::CHUNK_ROWS;
use crate::change::ChangeBatch;
use crate::error::{Error, Result};
use crate::plan::functions::bounded;

#[derive(Default)]
pub struct Chunks {
    rest: Option<ChangeBatch>,
    /// Parts of a chunk that was too much at once, the next one last.
    parts: Vec<ChangeBatch>,
}

impl Chunks {
    /// # Errors
    /// If the last batch was not pulled yet, which the driver promised.
    pub fn put(&mut self, batch: ChangeBatch) -> Result<()> {
        if self.rest.is_some() || !self.parts.is_empty() {
            return Err(Error::internal("a batch was pushed before the last one was pulled"));
        }
        self.rest = Some(batch).filter(|b| !b.is_empty());
        Ok(())
    }

    /// The next chunk through `work`, in smaller parts if its rows would make too much at once. `None`: there is none.
    pub fn each<T>(&mut self, work: impl Fn(&ChangeBatch) -> Result<T>) -> Option<Result<T>> {
        loop {
            let chunk = self.next()?;
            match work(&chunk) {
                Err(error) if chunk.num_rows() > 1 && bounded::is_too_much(&error) => {
                    let half = chunk.num_rows() / 2;
                    self.parts.push(chunk.slice(half, chunk.num_rows() - half));
                    self.parts.push(chunk.slice(0, half));
                }
                done => return Some(done),
            }
        }
    }

    pub fn next(&mut self) -> Option<ChangeBatch> {
        if let Some(part) = self.parts.pop() {
            return Some(part);
        }
        let batch = self.rest.take()?;
        if batch.num_rows() <= CHUNK_ROWS {
            return Some(batch);
        }
        self.rest = Some(batch.slice(CHUNK_ROWS, batch.num_rows() - CHUNK_ROWS));
        Some(batch.slice(0, CHUNK_ROWS))
    }
}
