//! What the clocks of a time zone show. Where daylight saving begins they jump, and show some times never; where it ends they
//! are set back, and show some times twice.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;

/// Clocks are set by less than this, and not twice within it: the most was a day, when the date line moved.
const MAX_JUMP_MICROS: i64 = 26 * 3_600_000_000;

/// The clocks of a zone. Instants are microseconds since 1970 in UTC, what clocks show are microseconds since they showed the
/// beginning of 1970. `None`: out of the calendar's range.
#[derive(Debug, Clone, Copy)]
pub struct WallClock(pub Tz);

impl WallClock {
    /// What clocks show at an instant.
    pub fn shown_at(self, instant: i64) -> Option<i64> {
        let utc = naive(instant)?;
        let offset = self.0.offset_from_utc_datetime(&utc).fix().local_minus_utc();
        instant.checked_add(i64::from(offset) * 1_000_000)
    }

    /// The first instant at which clocks show `shown`, or a later time for having jumped over it.
    pub fn first_at(self, shown: i64) -> Option<i64> {
        match self.0.from_local_datetime(&naive(shown)?) {
            MappedLocalTime::Single(time) => Some(time.timestamp_micros()),
            MappedLocalTime::Ambiguous(first, second) => Some(first.timestamp_micros().min(second.timestamp_micros())),
            MappedLocalTime::None => self.jump_over(shown),
        }
    }

    /// The first instant from which on clocks show `shown` or later for ever.
    pub fn settled_at(self, shown: i64) -> Option<i64> {
        match self.0.from_local_datetime(&naive(shown)?) {
            MappedLocalTime::Single(time) => Some(time.timestamp_micros()),
            MappedLocalTime::Ambiguous(first, second) => {
                let (first, second) = (first.timestamp_micros(), second.timestamp_micros());
                let (first, second) = (first.min(second), first.max(second));
                // Clocks that are set back to just this time show no earlier one again.
                let comes_again = self.shown_at(second.checked_sub(1)?)? < shown;
                Some(if comes_again { second } else { first })
            }
            MappedLocalTime::None => self.jump_over(shown),
        }
    }

    /// The latest time whose [`WallClock::settled_at`] an instant has reached: from the instant on clocks show nothing earlier.
    /// Beyond the calendar's range it is as far out as the instant.
    pub fn settled_by(self, instant: i64) -> i64 {
        let beyond = if instant < 0 { i64::MIN } else { i64::MAX };
        let Some(shown) = self.shown_at(instant) else { return beyond };
        let is_settled = |shown: i64| self.settled_at(shown).is_none_or(|settled| settled <= instant);
        if is_settled(shown) {
            return shown;
        }
        // Clocks will be set back to an earlier time.
        let (mut settled, mut unsettled) = (shown.saturating_sub(MAX_JUMP_MICROS), shown);
        while unsettled - settled > 1 {
            let middle = settled + (unsettled - settled) / 2;
            if is_settled(middle) { settled = middle } else { unsettled = middle }
        }
        settled
    }

    /// The instant at which clocks jump over `shown`.
    fn jump_over(self, shown: i64) -> Option<i64> {
        let (mut before, mut behind) = (shown.checked_sub(MAX_JUMP_MICROS)?, shown.checked_add(MAX_JUMP_MICROS)?);
        while behind - before > 1 {
            let middle = before + (behind - before) / 2;
            if self.shown_at(middle)? >= shown { behind = middle } else { before = middle }
        }
        Some(behind)
    }
}

fn naive(micros: i64) -> Option<NaiveDateTime> {
    DateTime::UNIX_EPOCH.naive_utc().checked_add_signed(TimeDelta::microseconds(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap().and_utc().timestamp_micros()
    }

    /// What a New York clock shows, the first instant at which it does, and the one from which on it shows nothing earlier.
    #[test]
    fn clocks_jump_and_are_set_back() {
        let clock = WallClock(chrono_tz::America::New_York);
        for (shown, first, settled) in [
            ("2021-01-01 00:00", "2021-01-01 05:00", "2021-01-01 05:00"),
            ("2021-03-14 01:59", "2021-03-14 06:59", "2021-03-14 06:59"),
            ("2021-03-14 02:00", "2021-03-14 07:00", "2021-03-14 07:00"),
            ("2021-03-14 02:30", "2021-03-14 07:00", "2021-03-14 07:00"),
            ("2021-03-14 03:00", "2021-03-14 07:00", "2021-03-14 07:00"),
            ("2021-07-01 00:00", "2021-07-01 04:00", "2021-07-01 04:00"),
            ("2021-11-07 00:59", "2021-11-07 04:59", "2021-11-07 04:59"),
            ("2021-11-07 01:00", "2021-11-07 05:00", "2021-11-07 05:00"),
            ("2021-11-07 01:01", "2021-11-07 05:01", "2021-11-07 06:01"),
            ("2021-11-07 01:59", "2021-11-07 05:59", "2021-11-07 06:59"),
            ("2021-11-07 02:00", "2021-11-07 07:00", "2021-11-07 07:00"),
        ] {
            assert_eq!(clock.first_at(micros(shown)), Some(micros(first)), "first {shown}");
            assert_eq!(clock.settled_at(micros(shown)), Some(micros(settled)), "settled {shown}");
        }
        assert_eq!(clock.shown_at(micros("2021-11-07 05:30")), Some(micros("2021-11-07 01:30")));
        assert_eq!(clock.shown_at(micros("2021-11-07 06:30")), Some(micros("2021-11-07 01:30")));
        assert_eq!(clock.shown_at(i64::MAX), None);
    }

    /// The latest time that a New York clock has settled on: before it is set back, that to which it will be.
    #[test]
    fn clocks_settle() {
        let clock = WallClock(chrono_tz::America::New_York);
        for (instant, settled) in [
            ("2021-03-14 06:59", "2021-03-14 01:59"),
            ("2021-03-14 07:00", "2021-03-14 03:00"),
            ("2021-11-07 04:59", "2021-11-07 00:59"),
            ("2021-11-07 05:00", "2021-11-07 01:00"),
            ("2021-11-07 05:30", "2021-11-07 01:00"),
            ("2021-11-07 06:00", "2021-11-07 01:00"),
            ("2021-11-07 06:30", "2021-11-07 01:30"),
            ("2021-11-07 07:00", "2021-11-07 02:00"),
        ] {
            assert_eq!(clock.settled_by(micros(instant)), micros(settled), "{instant}");
        }
        assert_eq!((clock.settled_by(i64::MIN), clock.settled_by(i64::MAX)), (i64::MIN, i64::MAX));
    }

    /// A day that never was: clocks of Apia went from the 29th to the 31st.
    #[test]
    fn a_day_may_be_missing() {
        let clock = WallClock(chrono_tz::Pacific::Apia);
        let midnight = micros("2011-12-30 10:00");
        assert_eq!(clock.first_at(micros("2011-12-30 12:00")), Some(midnight));
        assert_eq!(clock.first_at(micros("2011-12-31 00:00")), Some(midnight));
    }
}
