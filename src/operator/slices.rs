//! Windows of event time, told apart by their ends, and the spans of them that a row falls into.
//!
//! All windows of a TUMBLE, HOP or CUMULATE have different ends, so an end names its window, and the windows that hold a
//! row are a run of consecutive ends: its *span*. Rows of one span are a slice: they are aggregated once, together. Slices
//! end where windows begin or end, so there are at most two for each slide, even if the size is no multiple of it (after
//! Krishnamurthy et al., On-the-fly sharing for streamed aggregation, 2006: paired windows; slices of gcd(size, slide)
//! would be finer without being of more use). A row that comes late for some of its windows has a shorter span: nothing
//! else sets it apart.
//!
//! Windows that follow the clocks of a zone are cut in what the clocks show, and are named by instants all the same: where
//! clocks are set back, a window goes on until they show its end for the last time, and may last longer than its size.

use arrow::array::BooleanArray;

use super::wall_clock::WallClock;
use crate::change::{ChangeBatch, Watermark};
use crate::error::{Error, Result, SqlState};
use crate::plan::WindowSpec;

/// Between clocks that jump and are set back lies more than this: windows of this size, if they last as long as they should,
/// have neither in them.
const MAX_EVEN_MICROS: i64 = 7 * 24 * 3_600_000_000;

/// The windows of one window function.
#[derive(Debug, Clone, Copy)]
pub struct Slices {
    size: i64,
    /// From one end to the next.
    step: i64,
    offset: i64,
    /// CUMULATE: windows of a size share their start, and the last one ends at it even if the steps do not.
    nested: bool,
    /// Windows that do not overlap may be cut in what these clocks show.
    clock: Option<WallClock>,
}

/// The first and the last window of each row, by their ends. A row that is in no window has its last before its first.
#[derive(Debug, Default)]
pub struct Spans {
    pub firsts: Vec<i64>,
    pub lasts: Vec<i64>,
}

impl Spans {
    /// Forgets the rows for which `kept` is false.
    fn retain(&mut self, kept: &BooleanArray) {
        for ends in [&mut self.firsts, &mut self.lasts] {
            let mut row = kept.values().iter();
            ends.retain(|_| row.next().unwrap_or_default());
        }
    }
}

/// Instants that have the same span: `[from, to)`.
#[derive(Clone, Copy)]
struct Slice {
    from: i64,
    to: i64,
    first: i64,
    last: i64,
}

impl Slices {
    /// # Errors
    /// `22023` for windows that have no length; sessions are none of these.
    pub fn new(window: &WindowSpec) -> Result<Self> {
        let clock = match *window {
            WindowSpec::Local { zone, .. } => Some(WallClock(zone)),
            _ => None,
        };
        let (size, step, offset, nested) = match *window {
            WindowSpec::Tumble { size, offset } | WindowSpec::Local { size, offset, .. } => (size, size, offset, false),
            WindowSpec::Hop { size, slide, offset } => (size, slide, offset, false),
            WindowSpec::Cumulate { size, step, offset } => (size, step.min(size), offset, true),
            WindowSpec::Session { .. } => return Err(Error::internal("sessions have no slices")),
        };
        if size <= 0 || step <= 0 {
            return Err(Error::new(SqlState::InvalidParameterValue, "a window's size must be greater than zero"));
        }
        let period = if nested { size } else { step };
        Ok(Slices { size, step, offset: offset.rem_euclid(period), nested, clock })
    }

    /// Each row is in one window.
    pub fn is_tumbling(&self) -> bool {
        self.size == self.step
    }

    /// Where the window that ends at `end` starts.
    pub fn start(&self, end: i64) -> i64 {
        if let Some(clock) = self.clock {
            // The instant before its end is always one of the window's.
            let started = clock.shown_at(end.wrapping_sub(1)).map(|shown| self.start_shown(shown));
            return started.and_then(|shown| clock.first_at(shown)).unwrap_or(end.wrapping_sub(self.size));
        }
        if self.nested {
            let last = end.wrapping_sub(1);
            last.wrapping_sub(last.wrapping_sub(self.offset).rem_euclid(self.size))
        } else {
            end.wrapping_sub(self.size)
        }
    }

    /// The first end behind an instant: that of the first window which is still open at it.
    ///
    /// # Errors
    /// `22008` if it is so far out that it is no time.
    pub fn end_behind(&self, instant: i64) -> Result<i64> {
        let into = |instant: i64, offset: i64, period: i64| Some(instant.checked_sub(offset)?.rem_euclid(period));
        let end = if self.nested {
            into(instant, self.offset, self.size).and_then(|into| {
                let step = (into / self.step + 1).checked_mul(self.step)?.min(self.size);
                instant.checked_sub(into)?.checked_add(step)
            })
        } else {
            let last = self.offset.checked_add(self.size % self.step);
            last.and_then(|last| into(instant, last, self.step))
                .and_then(|into| instant.checked_sub(into)?.checked_add(self.step))
        };
        end.ok_or_else(out_of_range)
    }

    /// The spans of times.
    ///
    /// # Errors
    /// `22008` for a time so far out that one of its windows is not.
    pub fn spans(&self, times: &[i64], spans: &mut Spans) -> Result<()> {
        let Spans { firsts, lasts } = spans;
        firsts.clear();
        lasts.clear();
        firsts.reserve(times.len());
        lasts.reserve(times.len());
        // Times come nearly in order: most fall into the slice of the one before.
        let mut slice = Slice { from: 0, to: 0, first: 0, last: 0 };
        for time in times {
            if *time < slice.from || *time >= slice.to {
                slice = self.slice(*time).ok_or_else(out_of_range)?;
            }
            firsts.push(slice.first);
            lasts.push(slice.last);
        }
        Ok(())
    }

    /// What clocks show when the window starts in which they show `shown`.
    fn start_shown(&self, shown: i64) -> i64 {
        shown.wrapping_sub(shown.wrapping_sub(self.offset).rem_euclid(self.size))
    }

    fn slice_by(&self, clock: WallClock, time: i64) -> Option<Slice> {
        let start = self.start_shown(clock.shown_at(time)?);
        let (first, end) = (clock.first_at(start)?, clock.settled_at(start.checked_add(self.size)?)?);
        let is_even = end - first == self.size && self.size <= MAX_EVEN_MICROS;
        let (from, to) = if is_even { (first, end) } else { (time, time + 1) };
        Some(Slice { from, to, first: end, last: end })
    }

    fn slice(&self, time: i64) -> Option<Slice> {
        if let Some(clock) = self.clock {
            return self.slice_by(clock, time);
        }
        let first = self.end_behind(time).ok()?;
        if self.nested {
            let start = self.start(first);
            let from = first.checked_sub(1).map(|last| last - (last - start).rem_euclid(self.step))?;
            return Some(Slice { from, to: first, first, last: start.checked_add(self.size)? });
        }
        let start = time.checked_sub(time.checked_sub(self.offset)?.rem_euclid(self.step))?;
        let last = start.checked_add(self.size)?;
        let from = start.max(first.checked_sub(self.step)?);
        let to = first.min(start.checked_add(self.step)?);
        // Every instant of its windows is a time.
        first.checked_sub(self.size)?;
        Some(Slice { from, to, first, last })
    }

    /// The rows of a batch that enter a window (none: all), with how many of the others are late. Their spans are
    /// shortened to the windows that each still enters; see [`Slices::judge`].
    pub fn admit(
        &self,
        batch: &ChangeBatch,
        spans: &mut Spans,
        watermark: Watermark,
        unit: i64,
        lateness: i64,
    ) -> Result<Admitted> {
        let fates = self.judge(batch, spans, watermark, unit, lateness)?;
        if fates.iter().all(|fate| *fate == Fate::Enters) {
            return Ok(Admitted::All);
        }
        let late = fates.iter().filter(|fate| **fate == Fate::Late).count() as u64;
        let kept: BooleanArray = fates.iter().map(|fate| Some(*fate == Fate::Enters)).collect();
        spans.retain(&kept);
        Ok(Admitted::Some { rows: batch.filter(&kept)?, late })
    }

    /// The rows of a batch that are late, if any is.
    pub fn late(
        &self,
        batch: &ChangeBatch,
        spans: &mut Spans,
        watermark: Watermark,
        unit: i64,
        lateness: i64,
    ) -> Result<Option<ChangeBatch>> {
        let fates = self.judge(batch, spans, watermark, unit, lateness)?;
        if !fates.contains(&Fate::Late) {
            return Ok(None);
        }
        let late: BooleanArray = fates.iter().map(|fate| Some(*fate == Fate::Late)).collect();
        batch.filter(&late).map(Some)
    }

    /// Shortens the spans of a batch's rows to the windows that each row still enters, and tells what becomes of each
    /// row (nothing: all enter theirs).
    ///
    /// A window takes a row unless it would have been gone at the row's judge (its partition's watermark from just before
    /// it, if it was behind), or is gone at `watermark`, the last tick's. It is gone `lateness` after its last instant,
    /// which is one `unit` before its end.
    fn judge(
        &self,
        batch: &ChangeBatch,
        spans: &mut Spans,
        watermark: Watermark,
        unit: i64,
        lateness: i64,
    ) -> Result<Vec<Fate>> {
        let gone = |watermark: i64| match watermark {
            i64::MIN => i64::MIN,
            watermark => watermark.saturating_add(unit).saturating_sub(lateness),
        };
        let Some(earliest) = spans.firsts.iter().copied().min() else { return Ok(Vec::new()) };
        let judges = batch.judges().filter(|judges| judges.iter().any(|judge| gone(*judge) >= earliest));
        let has_gaps = self.size < self.step;
        if judges.is_none() && gone(watermark.0) < earliest && !has_gaps {
            return Ok(Vec::new());
        }
        let mut fates = Vec::with_capacity(spans.firsts.len());
        for (row, (first, last)) in spans.firsts.iter_mut().zip(&spans.lasts).enumerate() {
            let judge = judges.and_then(|judges| judges.get(row)).copied().unwrap_or(i64::MIN);
            let gone = gone(judge.max(watermark.0));
            if *first > *last {
                fates.push(Fate::InNone);
                continue;
            }
            if *first <= gone {
                *first = if gone >= *last { i64::MAX } else { self.end_behind(gone)? };
            }
            fates.push(if *first > *last { Fate::Late } else { Fate::Enters });
        }
        Ok(fates)
    }
}

/// What becomes of a row in front of its windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Enters,
    /// Every window that would hold it is gone.
    Late,
    /// It lies between two windows.
    InNone,
}

/// Which rows of a batch enter a window.
pub enum Admitted {
    All,
    Some { rows: ChangeBatch, late: u64 },
}

fn out_of_range() -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, "timestamp out of range for its window")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(window: WindowSpec, times: &[i64]) -> Result<Vec<(i64, i64)>> {
        let mut spans = Spans::default();
        Slices::new(&window)?.spans(times, &mut spans)?;
        Ok(spans.firsts.into_iter().zip(spans.lasts).collect())
    }

    #[test]
    fn tumbling_windows_around_zero_offsets_and_extremes() {
        let ends = |size, offset, times: &[i64]| -> Result<Vec<i64>> {
            let spans = spans(WindowSpec::Tumble { size, offset }, times)?;
            assert!(spans.iter().all(|(first, last)| first == last));
            Ok(spans.into_iter().map(|(end, _)| end).collect())
        };
        assert_eq!(ends(10, 0, &[0, 9, 10, -1, -10, -11]).unwrap(), [10, 10, 20, 0, 0, -10]);
        assert_eq!(ends(10, 3, &[0, 2, 3, 12, 13, -7, -8]).unwrap(), [3, 3, 13, 13, 23, 3, -7]);
        assert_eq!(ends(10, -7, &[0, 2, 3]).unwrap(), [3, 3, 13], "an offset is one modulo the size");
        assert_eq!(ends(10, 13, &[2, 3]).unwrap(), [3, 13]);
        assert_eq!(ends(10, 0, &[i64::MAX]).unwrap_err().state().code(), "22008");
        assert_eq!(ends(10, 0, &[i64::MIN]).unwrap_err().state().code(), "22008");
        assert_eq!(ends(0, 0, &[1]).unwrap_err().state().code(), "22023");
    }

    /// Every span is what the definition of the windows gives, one instant after the other and in any order.
    #[test]
    fn spans_are_the_windows_that_hold_an_instant() {
        for (size, step) in [(10, 5), (10, 4), (10, 7), (7, 10), (6, 6), (10, 1), (3, 10), (1, 1)] {
            for offset in [0, 1, -3, 25] {
                let starts = (-70..70).map(|k| k * step + offset);
                let hop: Vec<(i64, i64)> = starts.map(|start| (start, start + size)).collect();
                check(WindowSpec::Hop { size, slide: step, offset }, &hop);
                let mut cumulate = Vec::new();
                for start in (-70..70).map(|k| k * size + offset) {
                    let ends = (1..).map(|k| k * step).take_while(|into| *into < size).chain([size]);
                    cumulate.extend(ends.map(|into| (start, start + into)));
                }
                check(WindowSpec::Cumulate { size, step, offset }, &cumulate);
            }
        }
    }

    fn check(window: WindowSpec, all: &[(i64, i64)]) {
        let slices = Slices::new(&window).unwrap();
        let mut times: Vec<i64> = (-15..15).collect();
        times.extend([0, 14, -15, 3, -3]);
        for (time, (first, last)) in times.iter().zip(spans(window, &times).unwrap()) {
            let mut ends: Vec<i64> = all.iter().filter(|(s, e)| s <= time && time < e).map(|(_, e)| *e).collect();
            ends.sort_unstable();
            let got: Vec<i64> = std::iter::successors(Some(first), |end| slices.end_behind(*end).ok())
                .take_while(|e| *e <= last)
                .collect();
            assert_eq!(got, ends, "{window:?} at {time}");
        }
        for (start, end) in all {
            assert_eq!(slices.start(*end), *start, "{window:?} to {end}");
        }
    }
}
