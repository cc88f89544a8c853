//! Texts read by a [`Template`]: PostgreSQL's `to_timestamp(text, 'YYYY-MM-DD HH24:MI')` and `to_date`.
//!
//! 1. [`Reading::of`] goes through template and text together, as `do_to_timestamp` in PostgreSQL's `formatting.c` does: blanks in
//!    front of a field are skipped, a separator of the template stands for one of the text or none, and a number ends where
//!    its digits end unless another follows at once.
//! 2. [`Reading::day`] and [`Reading::moment`] make a day, or an instant, of what was found. What was not found is the least
//!    that it can be, the year 1 BC.
//!
//! Letters that are no word must stand in quotes here: PostgreSQL takes each for any character of the text.

use chrono_tz::Tz;

use super::time_format::{MONTHS, WEEKDAYS};
use super::time_template::{Field, FieldPiece, Name, Number, Piece, Template, Zone};
use crate::clock::{MICROS_PER_DAY, MICROS_PER_SECOND, Micros};
use crate::error::{Error, Result, SqlState};
use crate::types::datetime::{civil, days_from_civil, instant_of};

const HINT: &str = "YYYY, YYY, YY, Y, MM, Month, Mon, DD, DDD, J, IYYY, IW, ID, HH24, HH12, MI, SS, MS, US, FF1 to FF6, SSSS, AM, \
                    BC, Day, Dy, Q, TZH and TZM can be read; other text stands in double quotes.";

/// What a text says.
#[derive(Debug, Default)]
pub struct Reading {
    year: Option<i64>,
    before_christ: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    julian_day: Option<i64>,
    iso_year: Option<i64>,
    iso_week: Option<i64>,
    iso_weekday: Option<i64>,
    hour: Option<i64>,
    /// The hour is one of a clock with twelve.
    twelve: bool,
    afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    second_of_day: Option<i64>,
    micros: Option<i64>,
    /// Of the offset: its sign, hours and minutes.
    west: bool,
    offset_hours: Option<i64>,
    offset_minutes: Option<i64>,
}

/// The text that is still to be read.
struct Source<'a> {
    rest: &'a str,
    /// Blanks and separators skipped that the template did not ask for.
    skipped: i64,
    /// The separator in front, if one was skipped.
    separator: Option<char>,
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::InvalidDatetimeFormat, message)
}

fn out_of_range(text: &str) -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, format!("date/time field value out of range: \"{text}\""))
}

fn is_separator(c: char) -> bool {
    c.is_ascii_punctuation()
}

/// Refuses what cannot be read by.
///
/// # Errors
/// 22023 for a letter that is no word, 0A000 for a word that only `to_char` knows.
pub fn check(template: &Template) -> Result<()> {
    for piece in &template.pieces {
        match piece {
            Piece::Plain(letter) if letter.is_alphanumeric() => {
                let message = format!("\"{letter}\" is no part of a template");
                return Err(Error::new(SqlState::InvalidParameterValue, message).with_hint(HINT));
            }
            Piece::Field(FieldPiece { field, word, .. }) if !is_readable(*field) => {
                let message = format!("\"{word}\" in a template is only supported in to_char");
                return Err(Error::unsupported(message, HINT));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_readable(field: Field) -> bool {
    use Number as N;
    match field {
        Field::Number(number, _) | Field::Last(number, _) => {
            !matches!(number, N::Century | N::WeekOfMonth | N::WeekOfYear | N::IsoDayOfYear | N::HourOfHalf)
        }
        Field::RomanMonth(_) | Field::YearInGroups | Field::Zone(Zone::Abbreviation(_) | Zone::Offset) => false,
        Field::Fraction(_) | Field::Name(..) | Field::Zone(_) => true,
    }
}

impl Reading {
    /// # Errors
    /// 22007 for a text that is not of the template's form, 22008 for numbers that no date or time has.
    pub fn of(template: &Template, text: &str) -> Result<Reading> {
        let mut reading = Reading::default();
        let mut source = Source { rest: text, skipped: 0, separator: None };
        for (index, piece) in template.pieces.iter().enumerate() {
            if !template.exact && (!matches!(piece, Piece::Quoted(_)) || index == 0) {
                source.skip_blanks();
            }
            match piece {
                Piece::Plain(_) if template.exact => source.skip(),
                Piece::Plain(_) => source.separator(),
                Piece::Quoted(quoted) => quoted.chars().for_each(|_| source.character(template.exact)),
                Piece::Field(piece) => {
                    let alone = !piece.filled || !digits_follow(template.pieces.get(index + 1));
                    reading.field(piece, alone, &mut source)?;
                    (source.skipped, source.separator) = (0, None);
                    if !template.exact {
                        source.skip_blanks();
                    }
                }
            }
        }
        reading.check(text)
    }

    fn field(&mut self, piece: &FieldPiece, alone: bool, source: &mut Source<'_>) -> Result<()> {
        let word = piece.word.as_str();
        let mut number = |digits: usize| source.number(word, digits, alone);
        match piece.field {
            Field::Number(field, digits) => {
                let (value, _) = number(digits.max(if field == Number::SecondOfDay { 5 } else { 1 }))?;
                self.set_number(field, value, word)?;
            }
            Field::Last(field, digits) => {
                let (value, read) = number(digits)?;
                let value = if read < 4 { near_2020(value) } else { value };
                self.set_number(field, value, word)?;
            }
            Field::Fraction(digits) => {
                let (value, read) = number(digits as usize)?;
                let missing = u32::try_from(read).ok().and_then(|read| 6_u32.checked_sub(read));
                let micros = missing.map(|missing| value * 10_i64.pow(missing));
                set(&mut self.micros, micros.ok_or_else(|| not_in_range(word))?, word)?;
            }
            Field::Name(name, _) => self.name(name, word, source)?,
            Field::Zone(Zone::OffsetHours) => {
                // A minus may have been taken for a separator.
                let taken = source.skipped > 0 && source.separator == Some('-') && !source.rest.starts_with('+');
                self.west = source.rest.starts_with('-') || taken;
                source.rest = source.rest.strip_prefix(['+', '-']).unwrap_or(source.rest);
                set(&mut self.offset_hours, source.number(word, 2, alone)?.0, word)?;
            }
            Field::Zone(Zone::OffsetMinutes) => set(&mut self.offset_minutes, number(2)?.0, word)?,
            // Refused by `check`.
            Field::YearInGroups | Field::RomanMonth(_) | Field::Zone(_) => {}
        }
        if piece.ordinal.is_some() {
            (0..2).for_each(|_| source.skip());
        }
        Ok(())
    }

    fn set_number(&mut self, field: Number, value: i64, word: &str) -> Result<()> {
        self.twelve |= field == Number::Hour12;
        let slot = match field {
            Number::Year => &mut self.year,
            Number::IsoYear => &mut self.iso_year,
            Number::Month => &mut self.month,
            Number::Day => &mut self.day,
            Number::DayOfYear => &mut self.day_of_year,
            Number::JulianDay => &mut self.julian_day,
            Number::IsoWeek => &mut self.iso_week,
            Number::IsoWeekday => &mut self.iso_weekday,
            Number::Hour | Number::Hour12 => &mut self.hour,
            Number::Minute => &mut self.minute,
            Number::Second => &mut self.second,
            Number::SecondOfDay => &mut self.second_of_day,
            // Which day of a quarter, or which Monday, is not known: what they say is not used.
            _ => return Ok(()),
        };
        set(slot, value, word)
    }

    fn name(&mut self, name: Name, word: &str, source: &mut Source<'_>) -> Result<()> {
        let halves = |dotted: bool| if dotted { ["A.M.", "P.M."] } else { ["AM", "PM"] };
        let eras = |dotted: bool| if dotted { ["A.D.", "B.C."] } else { ["AD", "BC"] };
        match name {
            Name::Month | Name::ShortMonth => {
                let month = source.one_of(&MONTHS, name == Name::ShortMonth, word)?;
                set(&mut self.month, month as i64 + 1, word)?;
            }
            Name::Weekday | Name::ShortWeekday => {
                source.one_of(&WEEKDAYS, name == Name::ShortWeekday, word)?;
            }
            Name::Half | Name::DottedHalf => {
                self.afternoon = Some(source.one_of(&halves(name == Name::DottedHalf), false, word)? == 1);
                self.twelve = true;
            }
            Name::Era | Name::DottedEra => {
                self.before_christ = source.one_of(&eras(name == Name::DottedEra), false, word)? == 1;
            }
        }
        Ok(())
    }

    /// Refuses what does not go together, and times that no day has.
    fn check(self, text: &str) -> Result<Reading> {
        if self.twelve
            && let Some(hour) = self.hour.filter(|hour| !(1..=12).contains(hour))
        {
            let error = Error::new(
                SqlState::InvalidDatetimeFormat,
                format!("hour \"{hour}\" is invalid for the 12-hour clock"),
            );
            return Err(error.with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
        }
        let iso = self.iso_year.is_some() || self.iso_week.is_some() || self.iso_weekday.is_some();
        if iso && (self.year.is_some() || self.month.is_some() || self.day.is_some() || self.day_of_year.is_some()) {
            let hint = "Do not mix Gregorian and ISO week date conventions in a formatting template.";
            return Err(invalid("invalid combination of date conventions").with_hint(hint));
        }
        let within = |value: Option<i64>, most: i64| value.is_none_or(|value| (0..=most).contains(&value));
        let good = within(self.hour, 24)
            && within(self.minute, 59)
            && within(self.second, 60)
            && within(self.second_of_day, 86_400)
            && within(self.offset_hours, 15)
            && within(self.offset_minutes, 59);
        if good { Ok(self) } else { Err(out_of_range(text)) }
    }

    /// The day, counted from 1970.
    ///
    /// # Errors
    /// 22008 for a day that no calendar has; `text` is what was read.
    pub fn day(&self, text: &str) -> Result<i64> {
        let astronomical = |year: i64| match self.before_christ {
            true => 1 - year,
            // -1 is 1 BC.
            false if year < 0 => year + 1,
            false => year,
        };
        // What PostgreSQL's dates reach.
        let year_of = |year: Option<i64>| Some(astronomical(year?)).filter(|year| (-4713..=5_874_897).contains(year));
        let or_least =
            |year: Option<i64>| if year.is_some() { year_of(year).ok_or_else(|| out_of_range(text)) } else { Ok(0) };
        if let Some(julian) = self.julian_day {
            return Ok(julian - 2_440_588);
        }
        if let (Some(week), year) = (self.iso_week, or_least(self.iso_year)?) {
            let weekday = self.iso_weekday.unwrap_or(1);
            if !(1..=53).contains(&week) || !(1..=7).contains(&weekday) {
                return Err(out_of_range(text));
            }
            // The first week holds the fourth of January.
            let fourth = days_from_civil(year, 1, 4);
            return Ok(fourth - (fourth + 3).rem_euclid(7) + (week - 1) * 7 + weekday - 1);
        }
        let year = or_least(self.year.or(self.iso_year))?;
        if let (Some(day), None, None) = (self.day_of_year, self.month, self.day) {
            let days = days_from_civil(year + 1, 1, 1) - days_from_civil(year, 1, 1);
            return if (1..=days).contains(&day) {
                Ok(days_from_civil(year, 1, 1) + day - 1)
            } else {
                Err(out_of_range(text))
            };
        }
        let parts = (u32::try_from(self.month.unwrap_or(1)), u32::try_from(self.day.unwrap_or(1)));
        let (Ok(month @ 1..=12), Ok(day)) = parts else { return Err(out_of_range(text)) };
        let days = days_from_civil(year, month, day);
        if civil(days) == (year, month, day) { Ok(days) } else { Err(out_of_range(text)) }
    }

    /// The instant at which clocks of `zone`, or those of the offset in the text, show this.
    ///
    /// # Errors
    /// As [`Reading::day`].
    pub fn moment(&self, text: &str, zone: Tz) -> Result<Micros> {
        let hour = match (self.hour.unwrap_or(0), self.afternoon) {
            (hour, Some(true)) if hour < 12 => hour + 12,
            (12, Some(false)) => 0,
            // Noon and midnight of a clock that does not tell them apart.
            (12, None) if self.twelve => 0,
            (hour, _) => hour,
        };
        let clock = (hour * 60 + self.minute.unwrap_or(0)) * 60 + self.second.unwrap_or(0);
        let seconds = self.second_of_day.unwrap_or(clock);
        let micros = seconds * MICROS_PER_SECOND + self.micros.unwrap_or(0);
        let local = self.day(text)?.checked_mul(MICROS_PER_DAY).and_then(|day| day.checked_add(micros));
        let local = local.filter(|_| micros <= MICROS_PER_DAY).ok_or_else(|| out_of_range(text))?;
        let instant = match (self.offset_hours, self.offset_minutes) {
            (None, None) => instant_of(local, zone),
            (hours, minutes) => {
                let offset = (hours.unwrap_or(0) * 60 + minutes.unwrap_or(0)) * 60 * MICROS_PER_SECOND;
                local.checked_sub(if self.west { -offset } else { offset })
            }
        };
        instant.ok_or_else(|| out_of_range(text))
    }
}

/// Whether a piece begins with digits, so that a number in front of it ends after its own.
fn digits_follow(next: Option<&Piece>) -> bool {
    match next {
        Some(Piece::Field(piece)) => matches!(piece.field, Field::Number(..) | Field::Last(..) | Field::Fraction(_)),
        Some(Piece::Quoted(text)) => text.starts_with(|c: char| c.is_ascii_digit()),
        _ => false,
    }
}

fn set(slot: &mut Option<i64>, value: i64, word: &str) -> Result<()> {
    if slot.is_some_and(|before| before != value) {
        let detail = "This value contradicts a previous setting for the same field type.";
        return Err(
            invalid(format!("conflicting values for \"{word}\" field in formatting string")).with_detail(detail)
        );
    }
    *slot = Some(value);
    Ok(())
}

fn not_in_range(word: &str) -> Error {
    Error::new(SqlState::DatetimeFieldOverflow, format!("value for \"{word}\" in source string is out of range"))
}

/// A year of fewer than four digits as the one nearest to 2020.
fn near_2020(year: i64) -> i64 {
    match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}

impl Source<'_> {
    fn skip_blanks(&mut self) {
        let trimmed = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        self.skipped += (self.rest.len() - trimmed.len()) as i64;
        self.rest = trimmed;
    }

    fn skip(&mut self) {
        let mut characters = self.rest.chars();
        characters.next();
        self.rest = characters.as_str();
    }

    /// One separator of the template: one of the text, or none.
    fn separator(&mut self) {
        self.skipped -= 1;
        if self.rest.starts_with(|c: char| c.is_ascii_whitespace() || is_separator(c)) {
            self.separator = self.rest.chars().next();
            self.skip();
            self.skipped += 1;
        }
    }

    /// One character of a text in quotes: any one, unless more was skipped already than the template asked for.
    fn character(&mut self, exact: bool) {
        if !exact && self.skipped > 0 {
            self.skipped -= 1;
        } else {
            self.skip();
        }
    }

    /// A number of `digits` digits, or of as many as there are if it stands `alone`; and how many it took.
    fn number(&mut self, word: &str, digits: usize, alone: bool) -> Result<(i64, usize)> {
        let trimmed = self.rest.trim_start();
        let sign = usize::from(alone && trimmed.starts_with(['-', '+']));
        let run = trimmed.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
        let length = if alone { sign + run } else { digits };
        let taken = match trimmed.get(..length) {
            Some(taken) => taken,
            None => {
                let detail =
                    format!("Field requires {digits} characters, but only {} remain.", trimmed.chars().count());
                let error = invalid(format!("source string too short for \"{word}\" formatting field"));
                return Err(error.with_detail(detail).with_hint(FM_HINT));
            }
        };
        if run == 0 {
            let shown: String = trimmed.chars().take(digits.max(1)).collect();
            return Err(
                invalid(format!("invalid value \"{shown}\" for \"{word}\"")).with_detail("Value must be an integer.")
            );
        }
        if !alone && run < digits {
            let detail = format!("Field requires {digits} characters, but only {run} could be parsed.");
            let error = invalid(format!("invalid value \"{taken}\" for \"{word}\""));
            return Err(error.with_detail(detail).with_hint(FM_HINT));
        }
        // More digits than a number of 32 bits has are no part of a date.
        let value = taken.parse::<i32>().map_err(|_| not_in_range(word))?;
        self.rest = trimmed.get(length..).unwrap_or_default();
        Ok((value.into(), length))
    }

    /// Which of some names follows, in capitals or small letters; `short`: their first three letters.
    fn one_of(&mut self, names: &[&str], short: bool, word: &str) -> Result<usize> {
        for (index, name) in names.iter().enumerate() {
            let wanted = if short { name.get(..3).unwrap_or(name) } else { name };
            if let Some((start, behind)) = self.rest.split_at_checked(wanted.len())
                && start.eq_ignore_ascii_case(wanted)
            {
                self.rest = behind;
                return Ok(index);
            }
        }
        let shown: String = self.rest.chars().take_while(|c| !c.is_ascii_whitespace() && !is_separator(*c)).collect();
        let detail = "The given value did not match any of the allowed values for this field.";
        Err(invalid(format!("invalid value \"{shown}\" for \"{word}\"")).with_detail(detail))
    }
}

const FM_HINT: &str = "If your source string is not fixed-width, try using the \"FM\" modifier.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::datetime::timestamptz_text;

    fn check(text: &str, template: &str, expected: &str) {
        in_zone(text, template, Tz::UTC, expected);
    }

    fn in_zone(text: &str, template: &str, zone: Tz, expected: &str) {
        let template_read = Template::postgres(template);
        let read = super::check(&template_read).and_then(|()| Reading::of(&template_read, text));
        let shown = match read.and_then(|reading| reading.moment(text, zone)) {
            Ok(micros) => {
                let mut out = String::new();
                timestamptz_text(micros, zone, &mut out);
                out
            }
            Err(error) => format!("{}: {}", error.state().code(), error.message()),
        };
        assert_eq!(shown, expected, "to_timestamp('{text}', '{template}')");
    }

    /// Answers of PostgreSQL's regression tests (horology) and documentation.
    #[test]
    fn as_postgresql_reads_them() {
        check("2026-01-05 13:07:09.5", "YYYY-MM-DD HH24:MI:SS.MS", "2026-01-05 13:07:09.5+00");
        check("0097/Feb/16 --> 08:14:30", "YYYY/Mon/DD --> HH:MI:SS", "0097-02-16 08:14:30+00");
        check("97/2/16 8:14:30", "FMYYYY/FMMM/FMDD FMHH:FMMI:FMSS", "0097-02-16 08:14:30+00");
        check("2011$03!18 23_38_15", "YYYY-MM-DD HH24:MI:SS", "2011-03-18 23:38:15+00");
        check("1985 January 12", "YYYY FMMonth DD", "1985-01-12 00:00:00+00");
        check(
            "My birthday-> Year: 1976, Month: May, Day: 16",
            "\"My birthday-> Year:\" YYYY, \"Month:\" FMMonth, \"Day:\" DD",
            "1976-05-16 00:00:00+00",
        );
        check(
            "15 \"text between quote marks\" 98 54 45",
            "HH24 \"\\\"text between quote marks\\\"\" YY MI SS",
            "1998-01-01 15:54:45+00",
        );
        check("05121445482000", "MMDDHH24MISSYYYY", "2000-05-12 14:45:48+00");
        check("2000January09Sunday", "YYYYFMMonthDDFMDay", "2000-01-09 00:00:00+00");
        check("20000-1116", "YYYY-MMDD", "20000-11-16 00:00:00+00");
        check("9-1116", "Y-MMDD", "2009-11-16 00:00:00+00");
        check("95-1116", "YY-MMDD", "1995-11-16 00:00:00+00");
        check("995-1116", "YYY-MMDD", "1995-11-16 00:00:00+00");
        check("2005426", "YYYYWWD", "0A000: \"WW\" in a template is only supported in to_char");
        check("2005300", "YYYYDDD", "2005-10-27 00:00:00+00");
        check("2005527", "IYYYIWID", "2006-01-01 00:00:00+00");
        check("2011-12-18 11:38 PM", "YYYY-MM-DD HH12:MI PM", "2011-12-18 23:38:00+00");
        check("2011-12-18 12:38 AM", "YYYY-MM-DD HH12:MI AM", "2011-12-18 00:38:00+00");
        check("2011-12-18 11:38 -05:20", "YYYY-MM-DD HH12:MI TZH:TZM", "2011-12-18 16:58:00+00");
        check("44-02-01 11:12:13 BC", "YYYY-MM-DD HH24:MI:SS BC", "0044-02-01 11:12:13+00 BC");
        check("2011   12  18", "YYYY MM DD", "2011-12-18 00:00:00+00");
        check(" 2011-12-18", "YYYY-MM-DD", "2011-12-18 00:00:00+00");
        check("20111218", "YYYYMMDD", "2011-12-18 00:00:00+00");
        check("86399", "SSSS", "0001-01-01 23:59:59+00 BC");
        check("2024-02-29", "YYYY-MM-DD", "2024-02-29 00:00:00+00");
        check("2018-11-02 12:34:56.025", "YYYY-MM-DD HH24:MI:SS.FF3", "2018-11-02 12:34:56.025+00");
        check("2018-11-02 12:34:56.1", "YYYY-MM-DD HH24:MI:SS.US", "2018-11-02 12:34:56.1+00");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        check("2023-02-29", "YYYY-MM-DD", "22008: date/time field value out of range: \"2023-02-29\"");
        check("2023-13-01", "YYYY-MM-DD", "22008: date/time field value out of range: \"2023-13-01\"");
        check("25:00", "HH24:MI", "22008: date/time field value out of range: \"25:00\"");
        check("13:00", "HH12:MI", "22007: hour \"13\" is invalid for the 12-hour clock");
        check("199711x", "YYYYMMDD", "22007: invalid value \"x\" for \"DD\"");
        check("19971", "YYYYMMDD", "22007: source string too short for \"MM\" formatting field");
        check("1997 1x", "YYYY MMDD", "22007: invalid value \"1x\" for \"MM\"");
        check("xy", "YYYY", "22007: invalid value \"xy\" for \"YYYY\"");
        check("Foo", "Mon", "22007: invalid value \"Foo\" for \"Mon\"");
        check("1997-11-Jan-16", "YYYY-MM-Mon-DD", "22007: conflicting values for \"Mon\" field in formatting string");
        check("2005-01-01 7", "YYYY-MM-DD ID", "22007: invalid combination of date conventions");
        check("99999999999", "YYYY", "22008: value for \"YYYY\" in source string is out of range");
        check("2023-01-01", "YYYY-MM-DDx", "22023: \"x\" is no part of a template");
        check("CET", "TZ", "0A000: \"TZ\" in a template is only supported in to_char");
    }

    #[test]
    fn clocks_of_a_zone() {
        let berlin: Tz = "Europe/Berlin".parse().unwrap();
        in_zone("2024-07-01 12:00", "YYYY-MM-DD HH24:MI", berlin, "2024-07-01 12:00:00+02");
        // Clocks jump over this one, and show that one twice.
        in_zone("2024-03-31 02:30", "YYYY-MM-DD HH24:MI", berlin, "2024-03-31 03:30:00+02");
        in_zone("2024-10-27 02:30", "YYYY-MM-DD HH24:MI", berlin, "2024-10-27 02:30:00+01");
    }
}
