//! Numbers as text by a template: PostgreSQL's `to_char(n, '9G990D00')`.
//!
//! 1. [`Template::read`]: a template's words, and what they say together: digits on both sides of the point, where zeros
//!    begin, where the sign stands.
//! 2. [`Digits`]: a number rounded to as many digits as the template has behind the point.
//! 3. [`Template::write`] puts the one into the other. The rules are those of `NUM_processor` in PostgreSQL's
//!    `formatting.c`: what looks odd here (the dot of `FM9.9`, the blank of `9.9`) is what it does.
//!
//! The locale is C: the decimal point is a dot, groups are separated by commas, and there is no currency.

use super::time_template::up_to_quote;
use crate::error::{Error, Result, SqlState};
use crate::types::number::numeric_text;

/// Significant digits of a double precision number, and of a real one, that are shown.
pub const DOUBLE_DIGITS: usize = 15;
pub const REAL_DIGITS: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// A digit; in front of the number a blank.
    Nine,
    /// A digit; in front of the number a zero.
    Zero,
    Point,
    Comma,
    /// S: a sign next to the number.
    Sign,
    /// MI: a minus, or a blank.
    Minus,
    /// PL: a plus, or a blank.
    Plus,
    /// SG: plus or minus.
    PlusMinus,
    /// PR: a negative number in angle brackets.
    Brackets,
    /// FM: without filling.
    Plain,
}

/// A word of which another is the beginning stands in front of it.
const WORDS: &[(&str, Word)] = &[
    ("9", Word::Nine),
    ("0", Word::Zero),
    (".", Word::Point),
    ("D", Word::Point),
    (",", Word::Comma),
    ("G", Word::Comma),
    ("FM", Word::Plain),
    ("MI", Word::Minus),
    ("PL", Word::Plus),
    ("PR", Word::Brackets),
    ("SG", Word::PlusMinus),
    ("S", Word::Sign),
];

/// What PostgreSQL has besides.
const UNSUPPORTED: &[&str] = &["EEEE", "RN", "TH", "SP", "V", "L", "B", "C"];

const HINT: &str =
    "9, 0, . (D), comma (G), S, MI, PL, SG, PR and FM are supported; other text stands in double quotes.";

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Word(Word),
    Text(String),
}

/// Where S puts the sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Before,
    Behind,
}

/// A template that was read.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Template {
    pieces: Vec<Piece>,
    /// Digits in front of the point.
    before: usize,
    /// Digits behind it.
    pub behind: usize,
    point: bool,
    /// How many digits stand in front of the first 0, and up to the last one.
    zero_start: Option<usize>,
    zero_end: usize,
    plain: bool,
    sign: Option<Anchor>,
    plus: bool,
    minus: bool,
    brackets: bool,
}

/// A number as digits with a point, without its sign.
#[derive(Debug, PartialEq, Eq)]
pub struct Digits {
    pub negative: bool,
    pub text: String,
}

impl Digits {
    /// Of `unscaled` / 10^`scale`, rounded half away from zero to so many digits behind the point.
    pub fn of_exact(unscaled: i128, scale: i8, behind: usize) -> Self {
        let scale = usize::try_from(scale).unwrap_or(0);
        let dropped = scale.saturating_sub(behind);
        let kept = i8::try_from(scale - dropped).unwrap_or(i8::MAX);
        let unscaled = u32::try_from(dropped).ok().and_then(|dropped| 10_i128.checked_pow(dropped)).map_or(0, |unit| {
            let (quotient, rest) = (unscaled / unit, (unscaled % unit).unsigned_abs());
            let away = i128::from(2 * rest >= unit.unsigned_abs() && unit > 1);
            quotient + if unscaled < 0 { -away } else { away }
        });
        let mut text = String::new();
        numeric_text(unscaled, kept, &mut text);
        let missing = behind - (scale - dropped);
        if scale == dropped && missing > 0 {
            text.push('.');
        }
        text.push_str(&"0".repeat(missing));
        Digits::of(&text)
    }

    /// Of a text such as `-12.50`.
    fn of(text: &str) -> Self {
        match text.strip_prefix('-') {
            Some(rest) => Digits { negative: true, text: rest.to_string() },
            None => Digits { negative: false, text: text.to_string() },
        }
    }

    /// Of a floating-point number that has so many significant digits: no more are shown.
    pub fn of_float(value: f64, significant: usize, behind: usize) -> Self {
        let text = match value {
            _ if value.is_nan() => "NaN".to_string(),
            _ if value.is_infinite() => "Infinity".to_string(),
            _ => {
                let whole = format!("{:.0}", value.abs()).len();
                format!("{:.behind$}", value.abs(), behind = behind.min(significant.saturating_sub(whole)))
            }
        };
        Digits { negative: value.is_sign_negative() && !value.is_nan(), text }
    }
}

impl Template {
    /// # Errors
    /// 0A000 for words that PostgreSQL has and this has not, 22023 for letters that are no words, 42601 for words that do not
    /// go together.
    pub fn read(template: &str) -> Result<Template> {
        let mut read = Template::default();
        let mut rest = template;
        while let Some(first) = rest.chars().next() {
            if let Some(quoted) = rest.strip_prefix('"') {
                let (text, behind) = up_to_quote(quoted);
                read.pieces.push(Piece::Text(text));
                rest = behind;
                continue;
            }
            if let Some((word, behind)) = WORDS.iter().find_map(|(name, word)| Some((*word, begins(rest, name)?))) {
                read.take(word)?;
                read.pieces.push(Piece::Word(word));
                rest = behind;
                continue;
            }
            if let Some(word) = UNSUPPORTED.iter().find(|word| begins(rest, word).is_some()) {
                let message = format!("\"{word}\" in a template of to_char for numbers is not supported");
                return Err(Error::unsupported(message, HINT));
            }
            let escaped = if first == '\\' { rest.chars().nth(1) } else { None };
            let shown = escaped.unwrap_or(first);
            if escaped.is_none() && first.is_alphanumeric() {
                let message = format!("\"{first}\" is no part of a template of to_char for numbers");
                return Err(Error::new(SqlState::InvalidParameterValue, message).with_hint(HINT));
            }
            read.pieces.push(Piece::Text(shown.to_string()));
            let width = shown.len_utf8() + if escaped.is_some() { first.len_utf8() } else { 0 };
            rest = rest.get(width..).unwrap_or_default();
        }
        if read.sign == Some(Anchor::Before) && !read.digit_follows_sign() {
            read.sign = Some(Anchor::Behind);
        }
        Ok(read)
    }

    /// Notes what a word says of the whole.
    fn take(&mut self, word: Word) -> Result<()> {
        let wrong = |message: &str| Err(Error::new(SqlState::SyntaxError, message));
        match word {
            Word::Nine | Word::Zero if self.brackets => {
                let digit = if word == Word::Nine { 9 } else { 0 };
                return wrong(&format!("\"{digit}\" must be ahead of \"PR\""));
            }
            Word::Nine if self.point => self.behind += 1,
            Word::Nine => self.before += 1,
            Word::Zero => {
                if self.zero_start.is_none() && !self.point {
                    self.zero_start = Some(self.before);
                }
                if self.point {
                    self.behind += 1;
                } else {
                    self.before += 1;
                }
                self.zero_end = self.before + self.behind;
            }
            Word::Point if self.point => return wrong("multiple decimal points"),
            Word::Point => self.point = true,
            Word::Plain => self.plain = true,
            Word::Sign if self.sign.is_some() => return wrong("cannot use \"S\" twice"),
            Word::Sign if self.plus || self.minus || self.brackets => {
                return wrong("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together");
            }
            Word::Sign => self.sign = Some(if self.point { Anchor::Behind } else { Anchor::Before }),
            Word::Minus if self.sign.is_some() => return wrong("cannot use \"S\" and \"MI\" together"),
            Word::Minus => self.minus = true,
            Word::Plus if self.sign.is_some() => return wrong("cannot use \"S\" and \"PL\" together"),
            Word::Plus => self.plus = true,
            Word::PlusMinus if self.sign.is_some() => return wrong("cannot use \"S\" and \"SG\" together"),
            Word::PlusMinus => (self.plus, self.minus) = (true, true),
            Word::Brackets if self.sign.is_some() || self.plus || self.minus => {
                return wrong("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together");
            }
            Word::Brackets => self.brackets = true,
            Word::Comma => {}
        }
        Ok(())
    }

    /// Whether a digit in front of the point stands behind S.
    fn digit_follows_sign(&self) -> bool {
        let digit = |piece: &&Piece| matches!(piece, Piece::Word(Word::Nine | Word::Zero));
        let mut behind = self.pieces.iter().skip_while(|piece| **piece != Piece::Word(Word::Sign));
        behind.by_ref().take_while(|piece| **piece != Piece::Word(Word::Point)).any(|piece| digit(&piece))
    }

    /// Appends a number, which has no more digits behind the point than the template.
    pub fn write(&self, number: &Digits, out: &mut String) {
        let whole = number.text.split('.').next().unwrap_or_default().len();
        let overflow = whole > self.before;
        let shown = match overflow {
            true => format!("{}.{}", "#".repeat(self.before), "#".repeat(self.behind)),
            false => number.text.clone(),
        };
        Writer::new(self, number.negative, shown.as_bytes(), self.before.saturating_sub(whole)).write(out);
    }
}

/// What follows a word, in capitals or in small letters.
fn begins<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    (start == word || start == word.to_ascii_lowercase()).then_some(rest)
}

/// One number on its way into a template.
struct Writer<'a> {
    template: &'a Template,
    negative: bool,
    number: &'a [u8],
    /// Places of the template in front of the number.
    spaces: usize,
    brackets: bool,
    sign_written: bool,
    /// With FM: the last digit (or the point) that is not a zero to be left out.
    last_relevant: Option<usize>,
    /// The place of the template that ends the number.
    count: usize,
    /// The next digit of the number, and the next place of the template.
    next: usize,
    place: usize,
    /// A digit was written.
    inside: bool,
}

impl<'a> Writer<'a> {
    fn new(template: &'a Template, negative: bool, number: &'a [u8], spaces: usize) -> Self {
        let Template { plain, plus, minus, .. } = *template;
        let anchored = template.sign.is_some();
        // What MI, PL and SG write is no part of the number.
        let sign_written = if plus || minus { !plus || minus } else { !negative && plain && !anchored };
        let brackets = template.brackets && (negative || !plain);
        let last_relevant =
            if plain && template.point { last_relevant(number, template.zero_end, spaces) } else { None };
        let mut count = (template.behind + template.before).saturating_sub(1);
        if !sign_written && spaces == 0 {
            count += 1;
        }
        Writer {
            template,
            negative,
            number,
            spaces,
            brackets,
            sign_written,
            last_relevant,
            count,
            next: 0,
            place: 0,
            inside: false,
        }
    }

    fn write(mut self, out: &mut String) {
        let plain = self.template.plain;
        for piece in &self.template.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Word(word @ (Word::Nine | Word::Zero | Word::Point)) => self.part(*word, out),
                Piece::Word(Word::Comma) if self.inside => out.push(','),
                Piece::Word(Word::Minus) if self.negative => out.push('-'),
                Piece::Word(Word::Plus) if !self.negative => out.push('+'),
                Piece::Word(Word::PlusMinus) => out.push(self.sign()),
                Piece::Word(Word::Comma | Word::Minus | Word::Plus) if !plain => out.push(' '),
                Piece::Word(_) => {}
            }
        }
    }

    fn sign(&self) -> char {
        if self.negative { '-' } else { '+' }
    }

    /// The number's only digit in front of the point is a 0 that `9.9` does not show.
    fn hides_zero(&self) -> bool {
        self.template.zero_start.is_none()
            && self.next == 0
            && self.number.first() == Some(&b'0')
            && self.template.behind != 0
    }

    fn ends_in_point(&self) -> bool {
        self.last_relevant.and_then(|last| self.number.get(last)) == Some(&b'.')
    }

    /// Writes the sign if the number begins here.
    fn begin(&mut self, out: &mut String) {
        let begins = self.place >= self.spaces || self.template.zero_start == Some(self.place);
        if self.sign_written || !begins || (self.hides_zero() && !self.ends_in_point()) {
            return;
        }
        match self.template.sign {
            Some(Anchor::Before) => out.push(self.sign()),
            Some(Anchor::Behind) => return,
            None if self.brackets => out.push(if self.negative { '<' } else { ' ' }),
            None if self.negative => out.push('-'),
            None if !self.template.plain => out.push(' '),
            None => {}
        }
        self.sign_written = true;
    }

    /// A digit or the point.
    fn part(&mut self, word: Word, out: &mut String) {
        self.inside = false;
        self.begin(out);
        let plain = self.template.plain;
        let zeros_begin = self.template.zero_start.is_some_and(|start| start <= self.place);
        if self.place < self.spaces && !zeros_begin {
            if !plain {
                out.push(' ');
            }
        } else if self.place < self.spaces {
            out.push('0');
            self.inside = true;
        } else {
            self.digit(word, out);
            self.next = (self.next + 1).min(self.number.len());
        }
        self.end(out);
        self.place += 1;
    }

    fn digit(&mut self, word: Word, out: &mut String) {
        let left_out = self.last_relevant.is_some_and(|last| self.next > last) && word != Word::Zero;
        match self.number.get(self.next) {
            Some(b'.') => out.push('.'),
            _ if left_out => {}
            _ if self.hides_zero() => {
                if !self.template.plain {
                    out.push(' ');
                } else if self.ends_in_point() {
                    out.push('0');
                }
            }
            Some(digit) => {
                out.push(char::from(*digit));
                self.inside = true;
            }
            None => {}
        }
    }

    /// Writes what closes the number if it ends here.
    fn end(&self, out: &mut String) {
        let end = match self.last_relevant {
            Some(last) if last == self.next => self.place,
            _ => self.count + usize::from(self.spaces > 0) + usize::from(self.template.point),
        };
        if self.place + 1 != end {
            return;
        }
        if self.sign_written && self.brackets {
            out.push(if self.negative { '>' } else { ' ' });
        } else if self.template.sign == Some(Anchor::Behind) {
            out.push(self.sign());
        }
    }
}

/// The last digit behind the point that is not 0, or the point; not before the last place of a 0 in the template.
fn last_relevant(number: &[u8], zero_end: usize, spaces: usize) -> Option<usize> {
    let point = number.iter().position(|b| *b == b'.')?;
    let last = number.iter().rposition(|b| *b != b'0').unwrap_or(point).max(point);
    let kept = (number.len() - 1).min(zero_end.saturating_sub(spaces));
    Some(if zero_end > spaces { last.max(kept) } else { last })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(number: &str, template: &str, expected: &str) {
        let shown = Template::read(template).map(|template| {
            let mut out = String::new();
            let scale = number.split('.').nth(1).map_or(0, str::len);
            let digits = Digits::of_exact(number.replace('.', "").parse().unwrap(), scale as i8, template.behind);
            template.write(&digits, &mut out);
            out
        });
        let shown = shown.unwrap_or_else(|e| format!("{}: {}", e.state().code(), e.message()));
        assert_eq!(shown, expected, "to_char({number}, '{template}')");
    }

    /// Answers of PostgreSQL's documentation and its regression tests.
    #[test]
    fn as_postgresql_writes_them() {
        check("-0.1", "99.99", "  -.10");
        check("-0.1", "FM9.99", "-.1");
        check("-0.1", "FM90.99", "-0.1");
        check("0.1", "0.9", " 0.1");
        check("0.1", "9.9", "  .1");
        check("0", "FM9.9", "0.");
        check("12", "9990999.9", "    0012.0");
        check("12", "FM9990999.9", "0012.");
        check("485", "999", " 485");
        check("-485", "999", "-485");
        check("485", "9 9 9", " 4 8 5");
        check("1485", "9,999", " 1,485");
        check("485", "9G999", "   485");
        check("148.5", "999.999", " 148.500");
        check("148.5", "FM999.999", "148.5");
        check("148.5", "FM999.990", "148.500");
        check("3148.5", "9G999D999", " 3,148.500");
        check("-485", "999S", "485-");
        check("485", "999S", "485+");
        check("-485", "S999", "-485");
        check("48", "S999", " +48");
        check("-485", "999MI", "485-");
        check("485", "999MI", "485 ");
        check("485", "FM999MI", "485");
        check("485", "PL999", "+ 485");
        check("-485", "PL999", " -485");
        check("485", "SG999", "+485");
        check("-485", "SG999", "-485");
        check("-485", "9SG99", "4-85");
        check("-485", "999PR", "<485>");
        check("485", "999PR", " 485 ");
        check("485", "FM999PR", "485");
        check("485", "\"Good number:\"999", "Good number: 485");
        check("485.8", "\"Pre:\"999\" Post:\" .999", "Pre: 485 Post: .800");
        check("12345", "999", " ###");
        check("-12345.6", "999.99", "-###.##");
        check("5", "000", " 005");
        check("-5", "000", "-005");
        check("5", "FM000", "005");
        check("1234567", "FM9,999,999", "1,234,567");
        check("12", "FM9,999,999", "12");
        check("0", "", "");
        check("0.4859", "9.99", "  .49");
        check("-0.5", "FM990.00", "-0.50");
        check("2.5", "9", " 3");
        check("-2.5", "9", "-3");
        check("99.99", "99", " ##");
    }

    #[test]
    fn floating_point_numbers() {
        let check = |value: f64, digits: usize, template: &str, expected: &str| {
            let template = Template::read(template).unwrap();
            let mut out = String::new();
            template.write(&Digits::of_float(value, digits, template.behind), &mut out);
            assert_eq!(out, expected, "{value}");
        };
        check(1.5, DOUBLE_DIGITS, "990.999", "   1.500");
        check(-0.25, DOUBLE_DIGITS, "FM0.99", "-0.25");
        check(f64::from(485.8_f32), REAL_DIGITS, "999.999999", " 485.800");
        check(f64::NAN, DOUBLE_DIGITS, "999", " NaN");
        check(f64::INFINITY, DOUBLE_DIGITS, "999", " ###");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        check("1", "9.9.9", "42601: multiple decimal points");
        check("1", "S9S", "42601: cannot use \"S\" twice");
        check("1", "9PR9", "42601: \"9\" must be ahead of \"PR\"");
        check("1", "SPL9", "42601: cannot use \"S\" and \"PL\" together");
        check("1", "9EEEE", "0A000: \"EEEE\" in a template of to_char for numbers is not supported");
        check("1", "9x", "22023: \"x\" is no part of a template of to_char for numbers");
    }
}
