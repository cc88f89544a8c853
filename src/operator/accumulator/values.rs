//! All values of a slot, in order, each with how often it came: what MIN and MAX with retraction, DISTINCT, and string_agg and
//! array_agg keep.

use super::domain::Domain;
use crate::change::bytes::{Reader, put_varint};
use crate::error::Result;
use crate::operator::multiset::Multiset;

/// The values, and what they own elsewhere.
pub struct ValuesCell<D: Domain> {
    values: Multiset<D::Value>,
    owned_bytes: usize,
}

impl<D: Domain> Default for ValuesCell<D> {
    fn default() -> Self {
        ValuesCell { values: Multiset::default(), owned_bytes: 0 }
    }
}

impl<D: Domain> ValuesCell<D> {
    /// Gives how often the value is there now.
    pub fn add(&mut self, value: D::Ref<'_>, weight: i64) -> i64 {
        let before = self.values.len();
        let mut bytes = 0;
        let now = self.values.add(
            weight,
            |kept| D::compare(kept, value),
            || {
                let kept = D::keep(value);
                bytes = D::heap_bytes(&kept);
                kept
            },
        );
        if self.values.len() > before {
            self.owned_bytes += bytes;
        } else if self.values.len() < before {
            self.owned_bytes = self.owned_bytes.saturating_sub(D::heap_bytes(&D::keep(value)));
        }
        now
    }

    pub fn add_all(&mut self, other: &Self) {
        other.iter().for_each(|(value, count)| {
            self.add(D::lend(value), count);
        });
    }

    pub fn take_all(&mut self, other: &Self) {
        other.iter().for_each(|(value, count)| {
            self.add(D::lend(value), count.wrapping_neg());
        });
    }

    /// In ascending order, with their counts; a count may be negative for a while.
    pub fn iter(&self) -> impl Iterator<Item = (&D::Value, i64)> {
        self.values.iter()
    }

    /// The least or greatest value that is there.
    pub fn extremum(&self, max: bool) -> Option<&D::Value> {
        self.values.extremum(max)
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.values.len() as u64);
        for (value, count) in self.values.iter() {
            D::encode(value, out);
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let mut cell = ValuesCell::default();
        for _ in 0..reader.length()? {
            let value = D::decode(reader)?;
            cell.add(D::lend(&value), reader.i64()?);
        }
        Ok(cell)
    }

    /// Bytes owned elsewhere.
    pub fn heap_bytes(&self) -> usize {
        self.values.bytes() + self.owned_bytes
    }
}
