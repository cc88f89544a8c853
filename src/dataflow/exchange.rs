//! The exchange: which shard a row goes to. Equal keys meet on the shard that owns their key group.

use arrow::array::UInt32Array;

use crate::change::ChangeBatch;
use crate::change::key::{key_group, shard_of};
use crate::error::Result;

use super::shard::Outbound;
use super::stages::Route;

/// Splits batches by key. Belongs to one sending shard.
pub struct Router {
    shard: usize,
    shards: usize,
    /// Row numbers for each receiving shard; kept to save allocations.
    rows: Vec<Vec<u32>>,
    hashes: Vec<u64>,
}

impl Router {
    /// For the sender on `shard` of `shards`.
    pub fn new(shard: usize, shards: usize) -> Self {
        Router { shard, shards, rows: vec![Vec::new(); shards], hashes: Vec::new() }
    }

    /// Appends to `out` what each receiver gets of `batch`, in order of the receivers.
    pub fn route(&mut self, route: &Route, batch: &ChangeBatch, out: &mut Vec<Outbound>) -> Result<()> {
        let send = |shard: usize, batch: ChangeBatch| {
            let bytes = batch.bytes();
            Outbound { route: route.clone(), shard, batch, bytes }
        };
        let Some(columns) = &route.key else {
            out.push(send(self.shard, batch.clone()));
            return Ok(());
        };
        if self.shards == 1 {
            out.push(send(0, batch.clone()));
            return Ok(());
        }
        batch.keys(columns)?.hash_into(&mut self.hashes);
        self.rows.iter_mut().for_each(Vec::clear);
        for (row, hash) in (0u32..).zip(&self.hashes) {
            if let Some(rows) = self.rows.get_mut(shard_of(key_group(*hash), self.shards)) {
                rows.push(row);
            }
        }
        for (shard, rows) in self.rows.iter().enumerate() {
            if rows.len() == batch.num_rows() {
                out.push(send(shard, batch.clone()));
            } else if !rows.is_empty() {
                out.push(send(shard, batch.take(&UInt32Array::from(rows.clone()))?));
            }
        }
        Ok(())
    }
}
