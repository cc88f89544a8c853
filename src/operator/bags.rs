//! Rows kept by key: for each slot a bag of rows with weights, ordered by their bytes. What rows look like is the
//! operator's matter: a join keeps encoded rows; an interval join puts their time in front, Top-N their sort key, both
//! encoded so that bytes order as values do (see [`crate::change::key`]).

use super::multiset::Multiset;
use crate::change::bytes::{Reader, corrupt, put_bytes, put_varint};
use crate::error::Result;
use crate::state::Values;

/// Version of an encoded bag.
const BAG_VERSION: u8 = 1;

#[derive(Default)]
pub struct Bags {
    bags: Vec<Multiset<Box<[u8]>>>,
    /// Bytes of rows and of their places.
    held: usize,
}

impl Bags {
    /// Adds a row `weight` times (negative: takes it out as often).
    pub fn add(&mut self, slot: u32, row: &[u8], weight: i64) {
        let Some(bag) = self.bags.get_mut(slot as usize) else { return };
        let (places, rows) = (bag.bytes(), bag.len());
        bag.add(weight, |kept| kept.as_ref().cmp(row), || row.into());
        self.held = (self.held + bag.bytes()).saturating_sub(places);
        match bag.len().cmp(&rows) {
            std::cmp::Ordering::Greater => self.held += row.len(),
            std::cmp::Ordering::Less => self.held = self.held.saturating_sub(row.len()),
            std::cmp::Ordering::Equal => {}
        }
    }

    /// How often a row is there.
    pub fn weight(&self, slot: u32, row: &[u8]) -> i64 {
        self.bags.get(slot as usize).map_or(0, |bag| bag.count(row))
    }

    /// The rows of a slot, ascending, with their weights.
    pub fn rows(&self, slot: u32) -> impl DoubleEndedIterator<Item = (&[u8], i64)> {
        self.bags.get(slot as usize).into_iter().flat_map(Multiset::iter).map(|(row, weight)| (row.as_ref(), weight))
    }

    /// The rows of a slot from `from` on, ascending, up to the first for which `behind` is true.
    pub fn range<'a: 'b, 'b>(
        &'a self,
        slot: u32,
        from: &'b [u8],
        behind: impl Fn(&[u8]) -> bool + Copy + 'b,
    ) -> impl Iterator<Item = (&'a [u8], i64)> + 'b {
        let bag = self.bags.get(slot as usize).into_iter();
        bag.flat_map(move |bag| bag.range(from, move |row| behind(row))).map(|(row, weight)| (row.as_ref(), weight))
    }

    /// Distinct rows of a slot.
    pub fn len(&self, slot: u32) -> usize {
        self.bags.get(slot as usize).map_or(0, Multiset::len)
    }

    /// The greatest row of a slot.
    pub fn last(&self, slot: u32) -> Option<&[u8]> {
        self.bags.get(slot as usize)?.last().map(AsRef::as_ref)
    }

    /// Keeps the first `rows` distinct rows of a slot.
    pub fn truncate(&mut self, slot: u32, rows: usize) {
        let Some(bag) = self.bags.get_mut(slot as usize) else { return };
        let places = bag.bytes();
        while bag.len() > rows
            && let Some(row) = bag.pop_last()
        {
            self.held = self.held.saturating_sub(row.len());
        }
        self.held = (self.held + bag.bytes()).saturating_sub(places);
    }

    fn take(&mut self, slot: u32) {
        if let Some(bag) = self.bags.get_mut(slot as usize) {
            let rows: usize = bag.iter().map(|(row, _)| row.len()).sum();
            self.held = self.held.saturating_sub(rows + bag.bytes());
            *bag = Multiset::default();
        }
    }
}

impl Values for Bags {
    fn grow(&mut self, slots: usize) {
        if self.bags.len() < slots {
            self.bags.resize_with(slots, Multiset::default);
        }
    }

    fn reset(&mut self, slot: u32) {
        self.take(slot);
    }

    fn clear(&mut self) {
        *self = Bags::default();
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        out.push(BAG_VERSION);
        put_varint(out, self.len(slot) as u64);
        for (row, weight) in self.rows(slot) {
            put_bytes(out, row);
            out.extend_from_slice(&weight.to_le_bytes());
        }
    }

    fn decode(&mut self, slot: u32, bytes: &[u8]) -> Result<()> {
        let mut reader = Reader::new(bytes);
        reader.expect_version(BAG_VERSION, "a key's rows")?;
        for _ in 0..reader.length()? {
            let row = reader.bytes()?;
            let weight = reader.i64()?;
            self.add(slot, row, weight);
        }
        if reader.is_empty() { Ok(()) } else { Err(corrupt()) }
    }

    fn bytes(&self) -> usize {
        self.bags.capacity() * size_of::<Multiset<Box<[u8]>>>() + self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bags(rows: &[(&[u8], i64)]) -> Bags {
        let mut bags = Bags::default();
        bags.grow(1);
        rows.iter().for_each(|(row, weight)| bags.add(0, row, *weight));
        bags
    }

    fn seen(bags: &Bags) -> Vec<(Vec<u8>, i64)> {
        bags.rows(0).map(|(row, weight)| (row.to_vec(), weight)).collect()
    }

    #[test]
    fn rows_are_ordered_and_leave_at_weight_zero() {
        let mut bags = bags(&[(b"b", 1), (b"a", 2), (b"c", -1), (b"b", -1)]);
        assert_eq!(seen(&bags), [(b"a".to_vec(), 2), (b"c".to_vec(), -1)]);
        assert_eq!([&b"a"[..], b"b", b"c", b"d"].map(|row| bags.weight(0, row)), [2, 0, -1, 0]);
        bags.add(0, b"c", 1);
        bags.add(0, b"a", -2);
        assert_eq!((seen(&bags), bags.len(0)), (vec![], 0));
    }

    #[test]
    fn bags_of_any_size_survive_encoding_and_account_for_what_they_hold() {
        for rows in [0u16, 1, 31, 32, 33, 1000] {
            let mut bags = bags(&[]);
            (0..rows).rev().for_each(|row| bags.add(0, &row.to_be_bytes(), i64::from(row) + 1));
            let mut bytes = Vec::new();
            bags.encode(0, &mut bytes);
            let mut back = self::bags(&[]);
            back.decode(0, &bytes).unwrap();
            assert_eq!(seen(&back), seen(&bags));
            assert_eq!((bags.weight(0, &5u16.to_be_bytes()), bags.weight(0, b"no")), (if rows > 5 { 6 } else { 0 }, 0));
            let from = (rows / 2).to_be_bytes();
            let last = (rows / 2 + 3).to_be_bytes();
            let found: Vec<i64> = bags.range(0, &from, |row| row > &last[..]).map(|(_, weight)| weight).collect();
            let wanted: Vec<i64> = (rows / 2..rows.min(rows / 2 + 4)).map(|row| i64::from(row) + 1).collect();
            assert_eq!(found, wanted);
            assert_eq!(bags.last(0), rows.checked_sub(1).map(u16::to_be_bytes).as_ref().map(|row| &row[..]));
            bags.truncate(0, 3);
            assert_eq!(seen(&bags), seen(&back)[..usize::from(rows.min(3))]);
            bags.reset(0);
            assert_eq!((bags.len(0), bags.held), (0, 0));
            assert!(bytes.is_empty() || back.decode(0, &bytes[..bytes.len() - 1]).is_err());
        }
    }
}
