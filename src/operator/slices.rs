//! Windows of event time, told apart by their ends, and the spans of them that a row falls into.
//!
//! All windows of a TUMBLE, HOP or CUMULATE have different ends, so an end names its window, and the windows that hold a
//! row are a run of consecutive ends: its *span*. Rows of one span are a slice: they are aggregated once, together. Slices
//! end where windows begin or end, so there are at most two for each slide, even if the size is no multiple of it (after
//! Krishnamurthy et al., On-the-fly sharing for streamed aggregation, 2006: paired windows; slices of gcd(size, slide)
//! would be finer without being of more use). A row that comes late for some of its windows has a shorter span: nothing
//! else sets it apart.
//!
//! Windows that follow the clocks of a zone are cut, and named, in what the clocks show; their borders are instants
//! all the same. Where clocks are set back, a window goes on until they show its end for the last time, and may last longer
//! than its size. Where they jump, windows may begin at one instant, or end at one; those that do both hold the same rows:
//! they are one window, named by the first of their ends.

use arrow::array::BooleanArray;

use super::wall_clock::WallClock;
use crate::change::{ChangeBatch, Watermark};
use crate::error::{Error, Result, SqlState};
use crate::plan::{WindowKind, WindowSpec};

/// Instants looked at together on either side of one, so that few stand beside clocks that jump.
const NEAR_MICROS: i64 = 12 * 3_600_000_000;

/// The windows of one window function. Times and ends of windows are what clocks show, unless they are called instants.
#[derive(Debug, Clone, Copy)]
pub struct Slices {
    size: i64,
    /// From one end to the next.
    step: i64,
    offset: i64,
    /// CUMULATE: windows of a size share their start, and the last one ends at it even if the steps do not.
    nested: bool,
    /// None: those of UTC, which show instants.
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

/// Times that have the same span: `[from, to)`.
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
        let (size, step, offset, nested) = match window.kind {
            WindowKind::Tumble { size, offset } => (size, size, offset, false),
            WindowKind::Hop { size, slide, offset } => (size, slide, offset, false),
            WindowKind::Cumulate { size, step, offset } => (size, step.min(size), offset, true),
            WindowKind::Session { .. } => return Err(Error::internal("sessions have no slices")),
        };
        if size <= 0 || step <= 0 {
            return Err(Error::new(SqlState::InvalidParameterValue, "a window's size must be greater than zero"));
        }
        let period = if nested { size } else { step };
        Ok(Slices { size, step, offset: offset.rem_euclid(period), nested, clock: window.zone.map(WallClock) })
    }

    /// Each row is in one window.
    pub fn is_tumbling(&self) -> bool {
        self.size == self.step
    }

    /// The instants at which the window named `end` begins and ends.
    pub fn borders(&self, end: i64) -> (i64, i64) {
        let start = self.start(end);
        let Some(clock) = self.clock else { return (start, end) };
        // [`Slices::spans`] gives out no window whose borders are no instants.
        (clock.first_at(start).unwrap_or(start), clock.settled_at(end).unwrap_or(end))
    }

    /// The name of the window that ends at an instant, and begins at one, which counts where windows share borders.
    pub fn name(&self, begins: Option<i64>, ends: i64) -> Result<i64> {
        let Some(clock) = self.clock else { return Ok(ends) };
        let shown_before = |instant: i64| clock.shown_at(instant.checked_sub(1)?);
        let behind = shown_before(ends).and_then(|last| match begins {
            Some(begins) => Some(last.max(shown_before(begins)?.checked_add(self.size)?)),
            None => Some(last),
        });
        behind.and_then(|behind| self.next_end(behind)).ok_or_else(out_of_range)
    }

    /// Windows named up to this take no more rows `lateness` after their last instant, which is one `unit` before their end,
    /// at this watermark.
    pub fn gone_at(&self, watermark: Watermark, unit: i64, lateness: i64) -> i64 {
        match watermark {
            Watermark::NONE => i64::MIN,
            Watermark(instant) => {
                let instant = instant.saturating_add(unit).saturating_sub(lateness);
                self.clock.map_or(instant, |clock| clock.settled_by(instant))
            }
        }
    }

    /// Where the window that ends at `end` starts.
    fn start(&self, end: i64) -> i64 {
        if self.nested {
            let last = end.wrapping_sub(1);
            last.wrapping_sub(last.wrapping_sub(self.offset).rem_euclid(self.size))
        } else {
            end.wrapping_sub(self.size)
        }
    }

    /// The first end behind a time: that of the first window which is still open at it.
    ///
    /// # Errors
    /// `22008` if it is so far out that it is no time.
    pub fn end_behind(&self, time: i64) -> Result<i64> {
        let mut end = self.next_end(time).ok_or_else(out_of_range)?;
        while self.is_same_as_before(end) {
            end = self.next_end(end).ok_or_else(out_of_range)?;
        }
        Ok(end)
    }

    /// The first end behind a time, of any window.
    fn next_end(&self, time: i64) -> Option<i64> {
        let into = |offset: i64, period: i64| Some(time.checked_sub(offset)?.rem_euclid(period));
        if self.nested {
            let into = into(self.offset, self.size)?;
            let step = (into / self.step + 1).checked_mul(self.step)?.min(self.size);
            return time.checked_sub(into)?.checked_add(step);
        }
        let last = self.offset.checked_add(self.size % self.step)?;
        time.checked_sub(into(last, self.step)?)?.checked_add(self.step)
    }

    /// The end in front of one, if the windows' borders may be the same.
    fn end_before(&self, end: i64) -> Option<i64> {
        if self.is_tumbling() {
            return None;
        }
        if !self.nested {
            return end.checked_sub(self.step);
        }
        let start = self.start(end);
        let before = end - 1 - (end - 1 - start).rem_euclid(self.step);
        (before > start).then_some(before)
    }

    /// Clocks jump over whatever would tell a window from the one before it.
    fn is_same_as_before(&self, end: i64) -> bool {
        let before = self.clock.and_then(|_| self.end_before(end));
        before.is_some_and(|before| self.borders(before) == self.borders(end))
    }

    /// The spans of instants.
    ///
    /// # Errors
    /// `22008` for an instant so far out that one of its windows is not.
    pub fn spans(&self, instants: &[i64], spans: &mut Spans) -> Result<()> {
        let Spans { firsts, lasts } = spans;
        firsts.clear();
        lasts.clear();
        firsts.reserve(instants.len());
        lasts.reserve(instants.len());
        // They come nearly in order: most fall into the slice of the one before.
        let mut slice = Slice { from: 0, to: 0, first: 0, last: 0 };
        for instant in instants {
            if *instant < slice.from || *instant >= slice.to {
                slice = self.slice_of(*instant).ok_or_else(out_of_range)?;
            }
            firsts.push(slice.first);
            lasts.push(slice.last);
        }
        Ok(())
    }

    /// The slice of an instant.
    fn slice_of(&self, instant: i64) -> Option<Slice> {
        let Some(clock) = self.clock else { return self.slice(instant) };
        let shown = clock.shown_at(instant)?;
        let Slice { from, to, first, mut last } = self.slice(shown)?;
        while self.is_same_as_before(last) {
            last = self.end_before(last)?;
        }
        // All borders of its windows are instants.
        clock.first_at(self.start(first))?;
        clock.settled_at(last)?;
        let (from, to) = (from.max(shown.checked_sub(NEAR_MICROS)?), to.min(shown.checked_add(NEAR_MICROS)?));
        let (begins, ends) = (clock.first_at(from)?, clock.settled_at(to)?);
        let is_even = ends - begins == to - from;
        let (from, to) = if is_even { (begins, ends) } else { (instant, instant + 1) };
        Some(Slice { from, to, first, last })
    }

    fn slice(&self, time: i64) -> Option<Slice> {
        let first = self.next_end(time)?;
        if self.nested {
            let start = self.start(first);
            let from = first.checked_sub(1).map(|last| last - (last - start).rem_euclid(self.step))?;
            return Some(Slice { from, to: first, first, last: start.checked_add(self.size)? });
        }
        let start = time.checked_sub(time.checked_sub(self.offset)?.rem_euclid(self.step))?;
        let last = start.checked_add(self.size)?;
        let from = start.max(first.checked_sub(self.step)?);
        let to = first.min(start.checked_add(self.step)?);
        // Every time of its windows is one.
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
        let gone = |watermark: i64| self.gone_at(Watermark(watermark), unit, lateness);
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

    fn spans(window: WindowKind, times: &[i64]) -> Result<Vec<(i64, i64)>> {
        let mut spans = Spans::default();
        Slices::new(&window.into())?.spans(times, &mut spans)?;
        Ok(spans.firsts.into_iter().zip(spans.lasts).collect())
    }

    #[test]
    fn tumbling_windows_around_zero_offsets_and_extremes() {
        let ends = |size, offset, times: &[i64]| -> Result<Vec<i64>> {
            let spans = spans(WindowKind::Tumble { size, offset }, times)?;
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
                check(WindowKind::Hop { size, slide: step, offset }, &hop);
                let mut cumulate = Vec::new();
                for start in (-70..70).map(|k| k * size + offset) {
                    let ends = (1..).map(|k| k * step).take_while(|into| *into < size).chain([size]);
                    cumulate.extend(ends.map(|into| (start, start + into)));
                }
                check(WindowKind::Cumulate { size, step, offset }, &cumulate);
            }
        }
    }

    fn check(window: WindowKind, all: &[(i64, i64)]) {
        let slices = Slices::new(&window.into()).unwrap();
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
            assert_eq!(slices.borders(*end), (*start, *end), "{window:?} to {end}");
        }
    }

    /// Where clocks jump and where they are set back: windows that hold an instant have borders that no other has, by which
    /// they are named; they end in the order of their names, and are gone when they have ended.
    #[test]
    fn windows_of_a_zone_are_named_by_their_borders() {
        const MINUTE: i64 = 60_000_000;
        for (zone, change) in [
            (chrono_tz::America::New_York, "2021-03-14T07:00:00Z"),
            (chrono_tz::America::New_York, "2021-11-07T06:00:00Z"),
            (chrono_tz::Australia::Lord_Howe, "2021-04-03T15:00:00Z"),
            (chrono_tz::Australia::Lord_Howe, "2021-10-02T15:30:00Z"),
            (chrono_tz::America::Sao_Paulo, "2018-11-04T03:00:00Z"),
            (chrono_tz::Pacific::Apia, "2011-12-30T10:00:00Z"),
        ] {
            let change = chrono::DateTime::parse_from_rfc3339(change).unwrap().timestamp_micros();
            let instants: Vec<i64> = (-60..60).map(|at| change + at * 5 * MINUTE).collect();
            for (size, step) in [(60, 20), (60, 45), (20, 30), (240, 60), (90, 20), (30, 30)] {
                let (size, step, offset) = (size * MINUTE, step * MINUTE, 10 * MINUTE);
                check_names(WindowKind::Hop { size, slide: step, offset }, zone, &instants);
                check_names(WindowKind::Cumulate { size, step: step.min(size), offset }, zone, &instants);
            }
        }
    }

    fn check_names(kind: WindowKind, zone: chrono_tz::Tz, instants: &[i64]) {
        let window = WindowSpec { kind, zone: Some(zone) };
        let slices = Slices::new(&window).unwrap();
        let mut spans = Spans::default();
        slices.spans(instants, &mut spans).unwrap();
        let spans = spans.firsts.into_iter().zip(spans.lasts);
        let names: std::collections::BTreeSet<i64> = spans
            .flat_map(|(first, last)| {
                let ends = std::iter::successors(Some(first), |end| slices.end_behind(*end).ok());
                ends.take_while(move |end| *end <= last)
            })
            .collect();
        let borders: Vec<(i64, i64)> = names.iter().map(|name| slices.borders(*name)).collect();
        assert!(borders.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1 && a != b), "{window:?}");
        for (name, (begins, ends)) in names.iter().zip(&borders) {
            let start = window.shares_borders().then_some(*begins);
            assert_eq!(slices.name(start, *ends).unwrap(), *name, "{window:?} from {begins} to {ends}");
            let gone = |watermark: i64| slices.gone_at(Watermark(watermark), 1, 0) >= *name;
            assert_eq!((gone(ends - 2), gone(ends - 1)), (false, true), "{window:?} from {begins} to {ends}");
        }
    }
}
