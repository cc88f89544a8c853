//! The sink that keeps nothing but a digest of everything.
//!
//! 1. [`digest`]: a hash of each row over all its columns, so that nothing upstream can be optimised away.
//! 2. [`BlackholeSink`] adds the hashes up, each times its row's weight. Addition knows no order: the digest says which
//!    rows came (net of deletions), not when, so two runs with the same answer have the same digest.
//!
//! What does not live here: the rows.

pub mod digest;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;

use self::digest::RowHasher;
use super::options::OptionReader;
use super::{DeliveryError, Part, Sink, SinkWriter, Takes};
use crate::change::ChangeBatch;
use crate::error::Result;
use crate::types::Column;

/// `'connector' = 'blackhole'`; takes no options.
pub fn sink(_columns: &[Column], _primary_key: &[usize], _options: &mut OptionReader) -> Result<Arc<dyn Sink>> {
    Ok(Arc::new(BlackholeSink::default()))
}

/// What came into a blackhole so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer {
    /// Rows as they were delivered: a deletion counts like an insertion.
    pub changes: u64,
    /// Rows net of deletions: the sum of the weights.
    pub rows: i64,
    /// Sum of weight * hash over all rows, modulo 2^64.
    pub digest: u64,
}

impl Answer {
    /// Adds the rows of `batch`.
    ///
    /// # Errors
    /// If a column has a type that no SQL type is made of.
    pub fn add(&mut self, hasher: &mut RowHasher, batch: &ChangeBatch) -> Result<()> {
        let hashes = hasher.hash(batch.rows())?;
        self.changes += hashes.len() as u64;
        let sum = |sum: u64, x: u64| sum.wrapping_add(x);
        match batch.weights() {
            None => {
                self.rows += hashes.len() as i64;
                self.digest = hashes.iter().fold(self.digest, |d, h| sum(d, *h));
            }
            Some(weights) => {
                self.rows += weights.iter().sum::<i64>();
                let weighted = hashes.iter().zip(weights.iter()).map(|(h, w)| h.wrapping_mul(*w as u64));
                self.digest = weighted.fold(self.digest, sum);
            }
        }
        Ok(())
    }
}

/// All jobs that write here add to one answer.
#[derive(Debug, Default)]
pub struct BlackholeSink {
    answer: Arc<Mutex<Answer>>,
}

impl BlackholeSink {
    /// What was delivered so far.
    pub fn answer(&self) -> Answer {
        *self.answer.lock()
    }
}

impl Sink for BlackholeSink {
    fn takes(&self) -> Takes {
        Takes::Changes { key: Vec::new() }
    }

    fn open(&self, _job: &str, _schema: SchemaRef) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(BlackholeWriter { answer: Arc::clone(&self.answer), hasher: RowHasher::default() }))
    }
}

struct BlackholeWriter {
    answer: Arc<Mutex<Answer>>,
    hasher: RowHasher,
}

impl SinkWriter for BlackholeWriter {
    fn deliver(&mut self, part: &Part) -> Result<(), DeliveryError> {
        // A part is added whole or not at all, since one that failed is handed in again.
        let mut answer = Answer::default();
        for batch in &part.batches {
            answer.add(&mut self.hasher, batch).map_err(DeliveryError::Fatal)?;
        }
        let mut shared = self.answer.lock();
        shared.changes += answer.changes;
        shared.rows += answer.rows;
        shared.digest = shared.digest.wrapping_add(answer.digest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::PartId;
    use arrow::array::{Int64Array, RecordBatch, StringViewArray};
    use arrow::datatypes::{DataType, Field, Schema};

    fn batch(rows: &[(i64, &str, i64)]) -> ChangeBatch {
        let schema =
            Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("s", DataType::Utf8View, true)]);
        let keys = Int64Array::from_iter_values(rows.iter().map(|r| r.0));
        let texts = StringViewArray::from_iter_values(rows.iter().map(|r| r.1));
        let rows_of = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(keys), Arc::new(texts)]).expect("a batch");
        ChangeBatch::new(rows_of, Some(rows.iter().map(|r| r.2).collect())).expect("a change")
    }

    fn answer(batches: &[&[(i64, &str, i64)]]) -> Answer {
        let sink = BlackholeSink::default();
        let mut writer = sink.open("job", batch(&[]).schema()).expect("a writer");
        let part = Part { id: PartId { epoch: 1, part: 0 }, batches: batches.iter().map(|b| batch(b)).collect() };
        writer.deliver(&part).expect("delivered");
        sink.answer()
    }

    #[test]
    fn order_and_cuts_do_not_matter_but_rows_do() {
        let whole = answer(&[&[(1, "a", 1), (2, "b", 1), (3, "c", 1)]]);
        assert_eq!(whole, answer(&[&[(3, "c", 1)], &[(2, "b", 1), (1, "a", 1)]]));
        assert_eq!((whole.changes, whole.rows), (3, 3));
        assert_ne!(whole.digest, answer(&[&[(1, "a", 1), (2, "b", 1), (3, "d", 1)]]).digest);
        assert_ne!(whole.digest, answer(&[&[(1, "b", 1), (2, "a", 1), (3, "c", 1)]]).digest);
    }

    #[test]
    fn a_deleted_row_leaves_no_trace() {
        let kept = answer(&[&[(1, "a", 2)]]);
        let net = answer(&[&[(1, "a", 1), (2, "b", 1)], &[(2, "b", -1), (1, "a", 1)]]);
        assert_eq!((kept.rows, kept.digest), (net.rows, net.digest));
        assert_eq!((kept.changes, net.changes), (1, 4));
    }
}
