//! Templates of times: PostgreSQL's (`YYYY-MM-DD HH24:MI`), and Java's (`yyyy-MM-dd HH:mm`), which Flink has. A template is
//! read once for a batch; [`super::time_format`] writes by it, [`super::time_parse`] reads by it.
//!
//! In PostgreSQL's, what is no word stands for itself. What Java has and this has not is refused.

use crate::error::{Error, Result, SqlState};

/// A template that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Template {
    pub pieces: Vec<Piece>,
    /// FX: a text has nothing that the template does not say.
    pub exact: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// In quotes, or behind a backslash: as it stands.
    Quoted(String),
    /// A character that is no part of a word.
    Plain(char),
    Field(FieldPiece),
}

/// A word, as in `FMDDth`.
#[derive(Debug, PartialEq, Eq)]
pub struct FieldPiece {
    pub field: Field,
    /// As it stands in the template.
    pub word: String,
    /// Filled up with zeros or blanks: there is no FM in front of it.
    pub filled: bool,
    /// `TH` or `th` behind it.
    pub ordinal: Option<Case>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// A number of at least so many digits.
    Number(Number, usize),
    /// The last so many digits of a number.
    Last(Number, usize),
    /// `Y,YYY`
    YearInGroups,
    /// So many digits of the fraction of a second.
    Fraction(u32),
    Name(Name, Case),
    RomanMonth(Case),
    Zone(Zone),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    Year,
    IsoYear,
    Century,
    Quarter,
    Month,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Day,
    DayOfYear,
    IsoDayOfYear,
    /// Sunday is 1.
    Weekday,
    /// Monday is 1.
    IsoWeekday,
    JulianDay,
    Hour,
    /// 1 to 12.
    Hour12,
    /// 0 to 11.
    HourOfHalf,
    Minute,
    Second,
    SecondOfDay,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    Month,
    ShortMonth,
    Weekday,
    ShortWeekday,
    Half,
    /// With full stops: a.m.
    DottedHalf,
    /// Before or after Christ.
    Era,
    DottedEra,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// CET
    Abbreviation(Case),
    /// +01, and :30 where there are minutes.
    Offset,
    OffsetHours,
    OffsetMinutes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Upper,
    Lower,
    /// The first letter alone is a capital.
    Capital,
}

impl Case {
    pub fn of(self, name: &str) -> String {
        match self {
            Case::Upper => name.to_ascii_uppercase(),
            Case::Lower => name.to_ascii_lowercase(),
            Case::Capital => name.to_string(),
        }
    }
}

/// PostgreSQL's words; any of them may be written in small letters.
const WORDS: &[(&str, Field)] = &[
    ("Y,YYY", Field::YearInGroups),
    ("IYYY", Field::Number(Number::IsoYear, 4)),
    ("IYY", Field::Last(Number::IsoYear, 3)),
    ("IY", Field::Last(Number::IsoYear, 2)),
    ("I", Field::Last(Number::IsoYear, 1)),
    ("YYYY", Field::Number(Number::Year, 4)),
    ("YYY", Field::Last(Number::Year, 3)),
    ("YY", Field::Last(Number::Year, 2)),
    ("Y", Field::Last(Number::Year, 1)),
    ("IDDD", Field::Number(Number::IsoDayOfYear, 3)),
    ("DDD", Field::Number(Number::DayOfYear, 3)),
    ("DD", Field::Number(Number::Day, 2)),
    ("ID", Field::Number(Number::IsoWeekday, 1)),
    ("IW", Field::Number(Number::IsoWeek, 2)),
    ("D", Field::Number(Number::Weekday, 1)),
    ("HH24", Field::Number(Number::Hour, 2)),
    ("HH12", Field::Number(Number::Hour12, 2)),
    ("HH", Field::Number(Number::Hour12, 2)),
    ("MI", Field::Number(Number::Minute, 2)),
    ("MM", Field::Number(Number::Month, 2)),
    ("SSSSS", Field::Number(Number::SecondOfDay, 1)),
    ("SSSS", Field::Number(Number::SecondOfDay, 1)),
    ("SS", Field::Number(Number::Second, 2)),
    ("WW", Field::Number(Number::WeekOfYear, 2)),
    ("W", Field::Number(Number::WeekOfMonth, 1)),
    ("CC", Field::Number(Number::Century, 2)),
    ("J", Field::Number(Number::JulianDay, 1)),
    ("Q", Field::Number(Number::Quarter, 1)),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("MS", Field::Fraction(3)),
    ("US", Field::Fraction(6)),
    ("TZH", Field::Zone(Zone::OffsetHours)),
    ("TZM", Field::Zone(Zone::OffsetMinutes)),
    ("OF", Field::Zone(Zone::Offset)),
];

/// Words whose letters say how what they stand for is written.
const CASED: &[(&str, Field)] = &[
    ("MONTH", Field::Name(Name::Month, Case::Upper)),
    ("Month", Field::Name(Name::Month, Case::Capital)),
    ("month", Field::Name(Name::Month, Case::Lower)),
    ("MON", Field::Name(Name::ShortMonth, Case::Upper)),
    ("Mon", Field::Name(Name::ShortMonth, Case::Capital)),
    ("mon", Field::Name(Name::ShortMonth, Case::Lower)),
    ("DAY", Field::Name(Name::Weekday, Case::Upper)),
    ("Day", Field::Name(Name::Weekday, Case::Capital)),
    ("day", Field::Name(Name::Weekday, Case::Lower)),
    ("DY", Field::Name(Name::ShortWeekday, Case::Upper)),
    ("Dy", Field::Name(Name::ShortWeekday, Case::Capital)),
    ("dy", Field::Name(Name::ShortWeekday, Case::Lower)),
    ("A.M.", Field::Name(Name::DottedHalf, Case::Upper)),
    ("P.M.", Field::Name(Name::DottedHalf, Case::Upper)),
    ("a.m.", Field::Name(Name::DottedHalf, Case::Lower)),
    ("p.m.", Field::Name(Name::DottedHalf, Case::Lower)),
    ("AM", Field::Name(Name::Half, Case::Upper)),
    ("PM", Field::Name(Name::Half, Case::Upper)),
    ("am", Field::Name(Name::Half, Case::Lower)),
    ("pm", Field::Name(Name::Half, Case::Lower)),
    ("A.D.", Field::Name(Name::DottedEra, Case::Upper)),
    ("B.C.", Field::Name(Name::DottedEra, Case::Upper)),
    ("a.d.", Field::Name(Name::DottedEra, Case::Lower)),
    ("b.c.", Field::Name(Name::DottedEra, Case::Lower)),
    ("AD", Field::Name(Name::Era, Case::Upper)),
    ("BC", Field::Name(Name::Era, Case::Upper)),
    ("ad", Field::Name(Name::Era, Case::Lower)),
    ("bc", Field::Name(Name::Era, Case::Lower)),
    ("RM", Field::RomanMonth(Case::Upper)),
    ("rm", Field::RomanMonth(Case::Lower)),
    ("TZ", Field::Zone(Zone::Abbreviation(Case::Upper))),
    ("tz", Field::Zone(Zone::Abbreviation(Case::Lower))),
];

impl Template {
    /// PostgreSQL's: words such as YYYY, HH24, Mon; `"text"` as it stands; FM in front of a word: without filling.
    pub fn postgres(template: &str) -> Template {
        let mut read = Template { pieces: Vec::new(), exact: false };
        let mut rest = template;
        while let Some(first) = rest.chars().next() {
            if let Some(quoted) = rest.strip_prefix('"') {
                let (text, behind) = up_to_quote(quoted);
                read.pieces.push(Piece::Quoted(text));
                rest = behind;
            } else if let Some(behind) = begins(rest, "FX") {
                (read.exact, rest) = (true, behind);
            } else if let Some((piece, behind)) = field(rest) {
                read.pieces.push(Piece::Field(piece));
                rest = behind;
            } else {
                let behind = rest.get(first.len_utf8()..).unwrap_or_default();
                let escaped = behind.chars().next().filter(|_| first == '\\');
                read.pieces.push(match escaped {
                    Some(escaped) => Piece::Quoted(escaped.to_string()),
                    None => Piece::Plain(first),
                });
                rest = behind.get(escaped.map_or(0, char::len_utf8)..).unwrap_or_default();
            }
        }
        read
    }

    /// Java's (DateTimeFormatter): runs of letters such as yyyy, MM, HH; `'text'` as it stands.
    ///
    /// # Errors
    /// 22023 for a quoted text that does not end; 0A000 for letters that Java has and this has not.
    pub fn java(template: &str) -> Result<Template> {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some(first) = rest.chars().next() {
            if let Some(quoted) = rest.strip_prefix('\'') {
                // Two quotes are one, within quotes and outside.
                let (text, behind) = match quoted.strip_prefix('\'') {
                    Some(behind) => ("'".to_string(), behind),
                    None => quoted_text(quoted)?,
                };
                pieces.push(Piece::Quoted(text));
                rest = behind;
                continue;
            }
            let run = rest.find(|c| c != first).unwrap_or(rest.len());
            let (letters, behind) = rest.split_at(run);
            rest = behind;
            pieces.push(match first.is_ascii_alphabetic() {
                true => java_letters(first, letters)?,
                false => Piece::Quoted(letters.to_string()),
            });
        }
        Ok(Template { pieces, exact: false })
    }
}

/// The text up to the closing quote, without the backslashes in front of characters, and what follows it.
pub fn up_to_quote(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => text.extend(characters.next()),
            plain => text.push(plain),
        }
    }
    (text, characters.as_str())
}

/// What follows a word that may be written in capitals or in small letters.
fn begins<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.strip_prefix(word).or_else(|| text.strip_prefix(word.to_ascii_lowercase().as_str()))
}

/// The longest word that a text begins with, with what stands around it (FM, TM, TH), and what follows.
fn field(text: &str) -> Option<(FieldPiece, &str)> {
    let (mut rest, mut filled, mut translated) = (text, true, false);
    loop {
        // Names in other languages than English there are none.
        if let Some(behind) = begins(rest, "FM") {
            (rest, filled) = (behind, false);
        } else if let Some(behind) = begins(rest, "TM") {
            (rest, translated) = (behind, true);
        } else {
            break;
        }
    }
    let cased = CASED.iter().filter_map(|(word, field)| Some((*field, rest.strip_prefix(word)?)));
    let any = WORDS.iter().filter_map(|(word, field)| Some((*field, begins(rest, word)?)));
    let (field, mut behind) = cased.chain(any).min_by_key(|(_, behind)| behind.len())?;
    let word = rest.get(..rest.len() - behind.len()).unwrap_or_default().to_string();
    let mut ordinal = None;
    for (suffix, case) in [("TH", Case::Upper), ("th", Case::Lower)] {
        if let (Some(past), None) = (behind.strip_prefix(suffix), ordinal) {
            (behind, ordinal) = (past, Some(case));
        }
    }
    // Translated names are never filled up.
    filled &= !(translated && matches!(field, Field::Name(..)));
    Some((FieldPiece { field, word, filled, ordinal }, behind))
}

/// The text up to the closing quote, and what follows it.
fn quoted_text(quoted: &str) -> Result<(String, &str)> {
    let mut text = String::new();
    let mut rest = quoted;
    loop {
        let Some((before, behind)) = rest.split_once('\'') else {
            let message = "a quoted text in a template of date_format does not end";
            return Err(Error::new(SqlState::InvalidParameterValue, message).with_hint("Write '' for a quote."));
        };
        text.push_str(before);
        match behind.strip_prefix('\'') {
            Some(more) => {
                text.push('\'');
                rest = more;
            }
            None => return Ok((text, behind)),
        }
    }
}

fn java_letters(letter: char, letters: &str) -> Result<Piece> {
    let count = letters.len();
    let field = match (letter, count) {
        ('y' | 'u', 2) => Field::Last(Number::Year, 2),
        ('y' | 'u', _) => Field::Number(Number::Year, count),
        ('M' | 'L', 1 | 2) => Field::Number(Number::Month, count),
        ('M' | 'L', 3) => Field::Name(Name::ShortMonth, Case::Capital),
        ('M' | 'L', 4) => Field::Name(Name::Month, Case::Capital),
        ('d', 1 | 2) => Field::Number(Number::Day, count),
        ('D', 1..=3) => Field::Number(Number::DayOfYear, count),
        ('E', 1..=3) => Field::Name(Name::ShortWeekday, Case::Capital),
        ('E', 4) => Field::Name(Name::Weekday, Case::Capital),
        ('H', 1 | 2) => Field::Number(Number::Hour, count),
        ('h', 1 | 2) => Field::Number(Number::Hour12, count),
        ('K', 1 | 2) => Field::Number(Number::HourOfHalf, count),
        ('m', 1 | 2) => Field::Number(Number::Minute, count),
        ('s', 1 | 2) => Field::Number(Number::Second, count),
        ('S', 1..=9) => Field::Fraction(count as u32),
        ('a', 1) => Field::Name(Name::Half, Case::Upper),
        _ => {
            let hint = "y, M, d, D, E, H, h, K, m, s, S and a are supported; other letters stand in quotes.";
            let message = format!("\"{letters}\" in a template of date_format is not supported");
            return Err(Error::unsupported(message, hint));
        }
    };
    let filled = count > 1 && !matches!(field, Field::Name(..));
    Ok(Piece::Field(FieldPiece { field, word: letters.to_string(), filled, ordinal: None }))
}
