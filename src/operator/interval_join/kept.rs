//! One side's state: its rows, in buckets of time within each key, and when rows without partner are due.

use std::task::Poll;

use super::range::Range;
use super::{Side, SideSpec};
use crate::change::Watermark;
use crate::change::bytes::{Reader, corrupt};
use crate::change::key::{KeyCodec, TIME_WIDTH, encode_time, hash, leading_time};
use crate::error::Result;
use crate::operator::bags::Bags;
use crate::state::{KeyIndex, KeyedTable, NO_SLOT, Scan, StateContext, StateTable, TableId, Values};

/// Version of an encoded timer.
const TIMER_VERSION: u8 = 1;

/// In front of a kept row's judge.
const JUDGED: u8 = 1;
const NOT_JUDGED: u8 = 0;

/// A row as it is kept: its time, its judge if it was behind, the encoded row. Rows order by time.
///
/// Its weight in the bag is how often it is there; negative once it has found a partner, on sides that must know.
pub struct KeptRow<'a> {
    pub time: i64,
    /// [`Watermark::NONE`] if the row was not behind.
    pub judge: i64,
    pub row: &'a [u8],
}

impl<'a> KeptRow<'a> {
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let time = leading_time(bytes)?;
        let mut rest = Reader::new(bytes.get(TIME_WIDTH..).unwrap_or_default());
        let judge = match rest.byte()? {
            NOT_JUDGED => Watermark::NONE.0,
            JUDGED => rest.i64()?,
            _ => return Err(corrupt()),
        };
        Ok(KeptRow { time, judge, row: rest.rest() })
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&encode_time(self.time));
        if self.judge == Watermark::NONE.0 {
            out.push(NOT_JUDGED);
        } else {
            out.push(JUDGED);
            out.extend_from_slice(&self.judge.to_le_bytes());
        }
        out.extend_from_slice(self.row);
    }
}

/// Finds rows by bucket and key: the distinct ones that a batch asks for.
pub struct Places {
    pub index: KeyIndex,
    key: Vec<u8>,
}

impl Places {
    pub fn new(codec: &KeyCodec) -> Self {
        Places { index: KeyIndex::new(codec.stride().map(|stride| stride + TIME_WIDTH)), key: Vec::new() }
    }

    /// The position of `time | key`.
    pub fn place(&mut self, time: i64, key: &[u8]) -> u32 {
        self.key.clear();
        self.key.extend_from_slice(&encode_time(time));
        self.key.extend_from_slice(key);
        self.index.find_or_insert(hash(&self.key), &self.key)
    }

    pub fn len(&self) -> u32 {
        self.index.slots() as u32
    }
}

/// A timer's value: that it is there says everything.
struct Timer;

impl Values for Timer {
    fn grow(&mut self, _slots: usize) {}
    fn reset(&mut self, _slot: u32) {}
    fn clear(&mut self) {}

    fn encode(&self, _slot: u32, out: &mut Vec<u8>) {
        out.push(TIMER_VERSION);
    }

    fn decode(&mut self, _slot: u32, bytes: &[u8]) -> Result<()> {
        Reader::new(bytes).expect_version(TIMER_VERSION, "a timer")
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// What one side keeps. `rows`: bucket end and key to the bucket's rows. `timers`, if rows without partner are emitted:
/// time and key, each once, so that finding what is due costs what is due, however many keys there are.
pub struct Kept {
    side: Side,
    range: Range,
    codec: KeyCodec,
    /// Rows are told when they find a partner.
    told: bool,
    rows: KeyedTable<Bags>,
    timers: Option<KeyedTable<Timer>>,
    slots: Vec<u32>,
}

impl Kept {
    /// `told`: whether rows are told when they find a partner. `tables`: ids of the table of rows, and of that of timers if
    /// there is to be one.
    pub fn open(
        context: &StateContext,
        spec: &SideSpec,
        range: Range,
        told: bool,
        tables: (TableId, Option<TableId>),
    ) -> Self {
        let stride = spec.codec.stride().map(|stride| stride + TIME_WIDTH);
        Kept {
            side: spec.side,
            range,
            codec: spec.codec.clone(),
            told,
            rows: KeyedTable::open(context, tables.0, stride, true, Bags::default()),
            timers: tables.1.map(|id| KeyedTable::open(context, id, stride, true, Timer)),
            slots: Vec::new(),
        }
    }

    pub fn bags(&self) -> &Bags {
        self.rows.values()
    }

    /// The slots of what is there; nothing comes to be.
    pub fn find(&mut self, places: &Places, slots: &mut Vec<Option<u32>>) -> Result<Poll<()>> {
        slots.clear();
        if self.rows.probe(&places.index, 0..places.len(), &mut self.slots)?.is_pending() {
            return Ok(Poll::Pending);
        }
        slots.extend(self.slots.iter().map(|slot| (*slot != NO_SLOT).then_some(*slot)));
        Ok(Poll::Ready(()))
    }

    /// Makes room for rows at these places.
    pub fn make_room(&mut self, places: &Places, slots: &mut Vec<u32>) -> Result<Poll<()>> {
        self.rows.lookup(&places.index, 0..places.len(), slots)
    }

    /// Rows at these places will be due, if rows without partner are.
    pub fn set_timers(&mut self, places: &Places) -> Result<Poll<()>> {
        let Some(timers) = &mut self.timers else { return Ok(Poll::Ready(())) };
        if timers.lookup(&places.index, 0..places.len(), &mut self.slots)?.is_pending() {
            return Ok(Poll::Pending);
        }
        timers.update(&self.slots);
        Ok(Poll::Ready(()))
    }

    /// Keeps a row once more. One that is there and has found a partner has found it for its equals, too: whatever
    /// meets one meets the other.
    pub fn add(&mut self, slot: u32, bytes: &[u8], matched: bool) {
        let bags = self.rows.update(&[slot]);
        if !self.told {
            bags.add(slot, bytes, 1);
            return;
        }
        let had = bags.weight(slot, bytes);
        let count = had.saturating_abs().saturating_add(1);
        let now = if matched || had < 0 { -count } else { count };
        bags.add(slot, bytes, now.saturating_sub(had));
    }

    /// A kept row has found a partner.
    pub fn set_matched(&mut self, slot: u32, bytes: &[u8]) {
        let had = self.rows.values().weight(slot, bytes);
        if had > 0 {
            self.rows.update(&[slot]).add(slot, bytes, had.saturating_mul(-2));
        }
    }

    /// Takes a row out; tells how often it was there.
    pub fn take(&mut self, slot: u32, bytes: &[u8]) -> i64 {
        let had = self.rows.values().weight(slot, bytes);
        if had != 0 {
            self.rows.update(&[slot]).add(slot, bytes, had.saturating_neg());
        }
        had
    }

    /// Rows that are past at a watermark, by their timers.
    pub fn due_at(&self, watermark: Watermark) -> Option<Scan> {
        self.range.past(self.side, watermark).filter(|_| self.timers.is_some()).map(|past| Scan::new(None, past))
    }

    /// The next due times and keys of a scan: where their rows are, and the timers themselves. None: that was all.
    pub fn next_due(&mut self, scan: &mut Scan, limit: usize) -> Result<Poll<Option<Due>>> {
        let Some(timers) = &mut self.timers else { return Ok(Poll::Ready(None)) };
        let mut due = Due { places: Places::new(&self.codec), rows: Vec::new(), timers: Vec::new() };
        if timers.scan(scan, limit, &mut due.timers)?.is_pending() {
            return Ok(Poll::Pending);
        }
        for timer in &due.timers {
            let key = timers.key(*timer);
            let time = leading_time(key)?;
            let place = due.places.place(self.range.bucket_end(time), key.get(TIME_WIDTH..).unwrap_or_default());
            due.rows.push((time, place));
        }
        Ok(Poll::Ready(Some(due).filter(|due| !due.rows.is_empty())))
    }

    /// The rows of these timers are out.
    pub fn remove_timers(&mut self, due: &Due) -> Result<()> {
        match &mut self.timers {
            Some(timers) => timers.remove(&due.timers),
            None => Ok(()),
        }
    }

    /// Buckets all of whose rows are past at a watermark.
    pub fn past_at(&self, watermark: Watermark) -> Option<Scan> {
        self.range.past(self.side, watermark).map(|past| Scan::new(None, past.saturating_add(1)))
    }

    /// Forgets the next buckets of a scan; false when there are no more.
    pub fn sweep(&mut self, scan: &mut Scan, limit: usize) -> Result<Poll<bool>> {
        if self.rows.scan(scan, limit, &mut self.slots)?.is_pending() {
            return Ok(Poll::Pending);
        }
        self.rows.remove(&self.slots)?;
        Ok(Poll::Ready(!self.slots.is_empty()))
    }

    pub fn tables(&mut self) -> impl Iterator<Item = &mut dyn StateTable> {
        let timers = self.timers.as_mut().map(|t| t as &mut dyn StateTable);
        std::iter::once(&mut self.rows as &mut dyn StateTable).chain(timers)
    }
}

/// Times and keys whose rows are due.
pub struct Due {
    pub places: Places,
    /// Time, and position in `places`.
    pub rows: Vec<(i64, u32)>,
    timers: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_rows_come_back_and_order_by_time() {
        let bytes = |time, judge| {
            let mut out = Vec::new();
            KeptRow { time, judge, row: b"row" }.write(&mut out);
            out
        };
        for (time, judge) in [(0, Watermark::NONE.0), (-5, -5), (i64::MIN, 7), (i64::MAX, i64::MAX)] {
            let bytes = bytes(time, judge);
            let kept = KeptRow::read(&bytes).unwrap();
            assert_eq!((kept.time, kept.judge, kept.row), (time, judge, &b"row"[..]));
            assert!(KeptRow::read(&bytes[..TIME_WIDTH]).is_err());
        }
        let none = Watermark::NONE.0;
        assert!(bytes(-1, 9) < bytes(0, none) && bytes(0, none) < bytes(0, 3) && bytes(0, 3) < bytes(1, none));
    }
}
