//! Rows on their way out: joined, repeated as often as they are there, in chunks.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use crate::change::{ChangeBatch, Watermark};
use crate::error::Result;
use crate::operator::CHUNK_ROWS;

/// Rows to be emitted, each some number of times.
pub struct Output {
    rows: RecordBatch,
    /// For each row the watermark it is behind of, if any row is.
    judges: Option<Vec<i64>>,
    /// Row, and how often it is still to be emitted.
    picks: Vec<(u32, i64)>,
    next: usize,
}

impl Output {
    pub fn new(rows: RecordBatch, judges: Vec<i64>, picks: Vec<(u32, i64)>) -> Self {
        let judges = Some(judges).filter(|judges| judges.iter().any(|judge| *judge != Watermark::NONE.0));
        Output { rows, judges, picks, next: 0 }
    }

    pub fn next_chunk(&mut self) -> Result<Option<ChangeBatch>> {
        let mut picked: Vec<u32> = Vec::new();
        while let Some((row, times)) = self.picks.get_mut(self.next) {
            let room = (CHUNK_ROWS - picked.len()) as i64;
            let now = (*times).clamp(0, room);
            picked.resize(picked.len() + now as usize, *row);
            *times -= now;
            if *times > 0 {
                break;
            }
            self.next += 1;
        }
        if picked.is_empty() {
            return Ok(None);
        }
        let judges = self.judges.as_ref().map(|judges| {
            picked.iter().map(|row| judges.get(*row as usize).copied().unwrap_or(Watermark::NONE.0)).collect()
        });
        let all = picked.len() == self.rows.num_rows() && picked.iter().zip(0..).all(|(row, at)| *row == at);
        let rows = if all { self.rows.clone() } else { take_record_batch(&self.rows, &UInt32Array::from(picked))? };
        ChangeBatch::append_only(rows).with_judges(judges).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, Int64Array};

    use super::*;

    #[test]
    fn rows_are_repeated_in_bounded_chunks() {
        let rows: Int64Array = (0..3).map(Some).collect();
        let rows = RecordBatch::try_from_iter([("v", Arc::new(rows) as arrow::array::ArrayRef)]).unwrap();
        let many = 2 * CHUNK_ROWS as i64 + 5;
        let mut output = Output::new(rows, vec![i64::MIN, 7, i64::MIN], vec![(2, 1), (1, many), (0, 0)]);
        let mut seen = Vec::new();
        while let Some(chunk) = output.next_chunk().unwrap() {
            assert!(chunk.num_rows() <= CHUNK_ROWS);
            assert_eq!(chunk.column(0).null_count(), 0);
            seen.push((chunk.num_rows(), chunk.judge(chunk.num_rows() - 1)));
        }
        assert_eq!(seen, [(CHUNK_ROWS, Watermark(7)), (CHUNK_ROWS, Watermark(7)), (6, Watermark(7))]);
    }
}
