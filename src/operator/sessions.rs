//! The open sessions of each key: what `session_aggregate` keeps as state.

use std::ops::Range;

use super::accumulator::Sign;
use super::group::{Calls, Groups};
use crate::change::bytes::{Reader, corrupt, put_bytes, put_varint};
use crate::error::{Error, Result};
use crate::state::Values;

/// Version of a key's encoded sessions.
const SESSIONS_VERSION: u8 = 1;

/// No timer is set.
const NO_TIMER: i64 = i64::MAX;

/// `[start, end)`, the end being a gap behind the last row. What its rows add up to is in a cell of [`Sessions::cells`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub start: i64,
    pub end: i64,
    pub cell: u32,
}

/// Rows that come to a key's sessions: all within a gap of each other.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub start: i64,
    pub end: i64,
    /// Sessions that end up to here are closed for these rows; they are late if they would end up to here themselves.
    pub closed_upto: i64,
}

/// For each slot a key's open sessions by their start, and the timer that is set for the first of them to close.
pub struct Sessions {
    of: Vec<Vec<Session>>,
    timers: Vec<i64>,
    cells: Groups,
    cells_used: u32,
    cells_free: Vec<u32>,
    /// One group: a cell on its way into another.
    scratch: Groups,
    sessions: usize,
}

impl Sessions {
    pub fn new(calls: &Calls) -> Result<Self> {
        let mut scratch = Groups::new(calls)?;
        scratch.grow(1);
        let cells = Groups::new(calls)?;
        let (of, timers) = (Vec::new(), Vec::new());
        Ok(Sessions { of, timers, cells, cells_used: 0, cells_free: Vec::new(), scratch, sessions: 0 })
    }

    pub fn of(&self, slot: u32) -> &[Session] {
        self.of.get(slot as usize).map_or(&[], Vec::as_slice)
    }

    pub fn cells(&self) -> &Groups {
        &self.cells
    }

    pub fn timer(&self, slot: u32) -> i64 {
        self.timers.get(slot as usize).copied().unwrap_or(NO_TIMER)
    }

    pub fn set_timer(&mut self, slot: u32, timer: i64) {
        if let Some(place) = self.timers.get_mut(slot as usize) {
            *place = timer;
        }
    }

    /// Rows come, which groups `from` of `rows` hold: they join the sessions that they touch and that are open for them,
    /// which become one. False if there is none and they are late.
    pub fn join(&mut self, slot: u32, arrival: Arrival, rows: &Groups, from: &[u32]) -> Result<bool> {
        let mut joined = Session { start: arrival.start, end: arrival.end, cell: u32::MAX };
        let touches = |s: &Session| s.start <= arrival.end && s.end >= arrival.start && s.end > arrival.closed_upto;
        let Some(list) = self.of.get_mut(slot as usize) else { return Err(lost_slot()) };
        let touched: Vec<Session> = list.iter().copied().filter(touches).collect();
        if touched.is_empty() && arrival.end <= arrival.closed_upto {
            return Ok(false);
        }
        list.retain(|s| !touches(s));
        joined.start = touched.iter().map(|s| s.start).fold(joined.start, i64::min);
        joined.end = touched.iter().map(|s| s.end).fold(joined.end, i64::max);
        joined.cell = match touched.first() {
            Some(first) => first.cell,
            None => self.new_cell(),
        };
        for other in touched.iter().skip(1) {
            self.pour(other.cell, joined.cell)?;
            self.free(other.cell);
        }
        self.cells.absorb(&vec![joined.cell; from.len()], rows, from, Sign::Add)?;
        let Some(list) = self.of.get_mut(slot as usize) else { return Err(lost_slot()) };
        let at = list.partition_point(|s| s.start < joined.start);
        list.insert(at, joined);
        self.sessions = (self.sessions + 1).saturating_sub(touched.len());
        Ok(true)
    }

    /// Takes the sessions of a key out that end up to `end`, and tells which. Their cells stay until they are freed.
    pub fn close(&mut self, slot: u32, end: i64) -> Vec<Session> {
        let Some(list) = self.of.get_mut(slot as usize) else { return Vec::new() };
        let closed: Vec<Session> = list.iter().copied().filter(|s| s.end <= end).collect();
        list.retain(|s| s.end > end);
        self.sessions = self.sessions.saturating_sub(closed.len());
        closed
    }

    pub fn free(&mut self, cell: u32) {
        self.cells.reset(cell);
        self.cells_free.push(cell);
    }

    fn new_cell(&mut self) -> u32 {
        self.cells_free.pop().unwrap_or_else(|| {
            self.cells_used += 1;
            self.cells.grow(self.cells_used as usize);
            self.cells_used - 1
        })
    }

    /// Adds what a cell has seen to another.
    fn pour(&mut self, from: u32, into: u32) -> Result<()> {
        let mut bytes = Vec::new();
        self.cells.encode(from, &mut bytes);
        self.scratch.reset(0);
        self.scratch.decode(0, &bytes)?;
        self.cells.absorb(&[into], &self.scratch, &[0], Sign::Add)
    }
}

fn lost_slot() -> Error {
    Error::internal("a key's sessions were lost")
}

impl Values for Sessions {
    fn grow(&mut self, slots: usize) {
        if self.of.len() < slots {
            self.of.resize_with(slots, Vec::new);
            self.timers.resize(slots, NO_TIMER);
        }
    }

    fn reset(&mut self, slot: u32) {
        for session in self.close(slot, i64::MAX) {
            self.free(session.cell);
        }
        self.set_timer(slot, NO_TIMER);
    }

    fn clear(&mut self) {
        self.of.clear();
        self.timers.clear();
        self.cells.clear();
        self.cells_used = 0;
        self.cells_free.clear();
        self.sessions = 0;
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        out.push(SESSIONS_VERSION);
        out.extend_from_slice(&self.timer(slot).to_le_bytes());
        let sessions = self.of(slot);
        put_varint(out, sessions.len() as u64);
        let mut cell = Vec::new();
        for session in sessions {
            out.extend_from_slice(&session.start.to_le_bytes());
            out.extend_from_slice(&session.end.to_le_bytes());
            cell.clear();
            self.cells.encode(session.cell, &mut cell);
            put_bytes(out, &cell);
        }
    }

    fn decode(&mut self, slot: u32, bytes: &[u8]) -> Result<()> {
        let mut reader = Reader::new(bytes);
        reader.expect_version(SESSIONS_VERSION, "a key's sessions")?;
        let timer = reader.i64()?;
        self.set_timer(slot, timer);
        let sessions: Range<usize> = 0..reader.length()?;
        for _ in sessions {
            let (start, end) = (reader.i64()?, reader.i64()?);
            let cell = self.new_cell();
            self.cells.decode(cell, reader.bytes()?)?;
            self.of.get_mut(slot as usize).ok_or_else(lost_slot)?.push(Session { start, end, cell });
            self.sessions += 1;
        }
        if reader.is_empty() { Ok(()) } else { Err(corrupt()) }
    }

    fn bytes(&self) -> usize {
        let lists = self.of.capacity() * size_of::<Vec<Session>>() + self.sessions * size_of::<Session>();
        lists + 8 * self.timers.capacity() + self.cells.bytes() + 4 * self.cells_free.capacity()
    }
}
