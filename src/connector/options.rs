//! WITH options become types here, and are never strings again.
//!
//! 1. A statement's options come in as they were parsed ([`WithOption`]), each with its place in the text.
//! 2. A connector takes what it knows out of an [`OptionReader`], by name and type: [`OptionReader::required`],
//!    [`OptionReader::optional`], [`OptionReader::choice`], [`OptionReader::prefixed`].
//! 3. [`OptionReader::finish`] refuses whatever nobody asked for, with the nearest name somebody did ask for.
//!
//! Invariant: an option is read by exactly one place, so that its name, type and default are written once. Every error
//! carries SQLSTATE 22023, the option's name and its place in the statement.

use std::time::Duration;

use chrono::{NaiveDate, NaiveDateTime};

use crate::error::{Error, Result, SqlState};
use crate::sql::ast::Name;
pub use crate::sql::ast::WithOption;

impl WithOption {
    /// An option whose key and value both stand at `position` (for those that are not read from a statement).
    pub fn new(key: &str, value: &str, position: usize) -> Self {
        let key = Name { value: key.to_string(), position };
        WithOption { key, value: value.to_string(), value_position: position }
    }
}

/// A type that an option's value can have.
pub trait OptionValue: Sized {
    /// Ends the sentence "Expected ...".
    const EXPECTED: &'static str;

    /// `None`: the text is not a value of this type.
    fn parse(text: &str) -> Option<Self>;
}

/// An enumeration whose values have names in WITH options.
pub trait Choice: Copy + 'static {
    /// Each name with its value, in the order in which a hint lists them. Several names may have one value.
    const CHOICES: &'static [(&'static str, Self)];
}

/// A number of bytes, written like '64 MB'. Units are powers of 1024, as in PostgreSQL and Flink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// The options of one statement, taken out one by one.
#[derive(Debug)]
pub struct OptionReader {
    given: Vec<Given>,
    /// Every name that was asked for, in that order.
    known: Vec<String>,
}

#[derive(Debug)]
struct Given {
    option: WithOption,
    taken: bool,
}

impl OptionReader {
    /// # Errors
    /// If an option is given twice.
    pub fn new(options: Vec<WithOption>) -> Result<Self> {
        for (i, option) in options.iter().enumerate() {
            if options.iter().take(i).any(|earlier| earlier.key.value == option.key.value) {
                return Err(invalid(
                    format!("option \"{}\" specified more than once", option.key),
                    option.key.position,
                )
                .with_hint("Remove one of the two."));
            }
        }
        let given = options.into_iter().map(|option| Given { option, taken: false }).collect();
        Ok(OptionReader { given, known: Vec::new() })
    }

    /// The value of `name`, which must be there.
    pub fn required<T: OptionValue>(&mut self, name: &str) -> Result<T> {
        self.optional(name)?.ok_or_else(|| self.missing(name))
    }

    /// The value of `name`, if it is given.
    pub fn optional<T: OptionValue>(&mut self, name: &str) -> Result<Option<T>> {
        self.parsed(name, T::EXPECTED, T::parse)
    }

    /// As [`Self::optional`], for a value whose type is known only now: that of a column. `expected` ends the sentence
    /// "Expected ...".
    pub fn parsed<T>(&mut self, name: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(option) = self.take(name) else { return Ok(None) };
        match parse(option.value.trim()) {
            Some(value) => Ok(Some(value)),
            None => Err(ill_typed(option, &format!("Expected {expected}."))),
        }
    }

    /// The value of an option that has two spellings (ours and Flink's); both at once are refused.
    pub fn optional_either<T: OptionValue>(&mut self, name: &str, other: &str) -> Result<Option<T>> {
        let first = self.optional(name)?;
        match (first, self.optional(other)?) {
            (Some(_), Some(_)) => Err(self
                .error(other, format!("options \"{name}\" and \"{other}\" are the same"))
                .with_hint("Remove one of the two.")),
            (first, second) => Ok(first.or(second)),
        }
    }

    /// The enumeration value of `name`, if it is given. Upper and lower case are alike.
    pub fn choice<T: Choice>(&mut self, name: &str) -> Result<Option<T>> {
        let Some(option) = self.take(name) else { return Ok(None) };
        let wanted = option.value.trim();
        if let Some((_, value)) = T::CHOICES.iter().find(|(n, _)| n.eq_ignore_ascii_case(wanted)) {
            return Ok(Some(*value));
        }
        let names: Vec<&str> = T::CHOICES.iter().map(|(n, _)| *n).collect();
        Err(ill_typed(option, &one_of(&wanted.to_lowercase(), &names)))
    }

    /// All options whose name starts with `prefix`, in the order given: what follows the prefix, and the option.
    pub fn prefixed(&mut self, prefix: &str) -> Vec<(String, WithOption)> {
        self.known.push(format!("{prefix}*"));
        let mut found = Vec::new();
        for given in &mut self.given {
            if let Some(rest) = given.option.key.value.strip_prefix(prefix) {
                given.taken = true;
                found.push((rest.to_string(), given.option.clone()));
            }
        }
        found
    }

    /// The option `name` as it is given, without taking it.
    pub fn option(&self, name: &str) -> Option<&WithOption> {
        let named = |exact: bool| {
            let mut all = self.given.iter().map(|g| &g.option);
            all.find(|o| if exact { o.key.value == name } else { o.key.value.eq_ignore_ascii_case(name) })
        };
        named(true).or_else(|| named(false))
    }

    /// Whether `name` is given, without taking it.
    pub fn is_given(&self, name: &str) -> bool {
        self.option(name).is_some()
    }

    /// The place of option `name`, or else of the WITH clause's first option.
    pub fn position(&self, name: &str) -> Option<usize> {
        let of = |name: &str| self.given.iter().find(|g| g.option.key.value == name).map(|g| g.option.key.position);
        of(name).or_else(|| of("connector")).or_else(|| self.given.first().map(|g| g.option.key.position))
    }

    /// An error about option `name` (22023), pointing at its place.
    pub fn error(&self, name: &str, message: impl Into<String>) -> Error {
        let error = Error::new(SqlState::InvalidParameterValue, message);
        match self.position(name) {
            Some(position) => error.at(position),
            None => error,
        }
    }

    /// The error for an option that must be given and is not. One that looks like a slip of it is what is wrong.
    pub fn missing(&self, name: &str) -> Error {
        let is_slip = |given: &&Given| !given.taken && nearest(&given.option.key.value, [name].into_iter()).is_some();
        if let Some(slip) = self.given.iter().find(is_slip) {
            return self.unknown(&slip.option.key).with_hint(format!("Perhaps you meant \"{name}\"."));
        }
        self.error(name, format!("option \"{name}\" is required{}", self.of_connector()))
            .with_hint(format!("Add '{name}' = '...' to the WITH clause."))
    }

    /// Refuses the first option that nobody asked for.
    pub fn finish(self) -> Result<()> {
        let Some(unknown) = self.given.iter().find(|g| !g.taken) else {
            return Ok(());
        };
        let key = &unknown.option.key;
        let hint = match nearest(&key.value, self.known.iter().map(String::as_str)) {
            Some(name) => format!("Perhaps you meant \"{name}\"."),
            None => format!("Known options are {}.", self.known.join(", ")),
        };
        Err(self.unknown(key).with_hint(hint))
    }

    /// The first option that nobody has asked for yet.
    pub fn left(&self) -> Option<&WithOption> {
        self.given.iter().find(|given| !given.taken).map(|given| &given.option)
    }

    /// Whether somebody has asked for `name`.
    pub fn knows(&self, name: &str) -> bool {
        self.known.iter().any(|known| known == name)
    }

    fn unknown(&self, key: &Name) -> Error {
        invalid(format!("unknown option \"{key}\"{}", self.of_connector()), key.position)
    }

    fn of_connector(&self) -> String {
        match self.given.iter().find(|g| g.option.key.value == "connector") {
            Some(g) => format!(" for connector \"{}\"", g.option.value),
            None => String::new(),
        }
    }

    fn take(&mut self, name: &str) -> Option<&WithOption> {
        if !self.known.iter().any(|k| k == name) {
            self.known.push(name.to_string());
        }
        let index = self.find(name)?;
        let given = self.given.get_mut(index)?;
        given.taken = true;
        Some(&given.option)
    }

    /// Upper and lower case are alike, as in the names of columns that options hold ('fields.orderId.kind'); if that
    /// leaves two, the exact one is meant.
    fn find(&self, name: &str) -> Option<usize> {
        let exact = self.given.iter().position(|g| g.option.key.value == name);
        exact.or_else(|| self.given.iter().position(|g| !g.taken && g.option.key.value.eq_ignore_ascii_case(name)))
    }
}

fn invalid(message: String, position: usize) -> Error {
    Error::new(SqlState::InvalidParameterValue, message).at(position)
}

/// The error for an option whose value cannot be what it should be; `hint` says what is expected.
pub fn ill_typed(option: &WithOption, hint: &str) -> Error {
    invalid(format!("invalid value for option \"{}\": \"{}\"", option.key, option.value), option.value_position)
        .with_hint(hint)
}

/// A hint that lists `names`, and the nearest first if `wanted` looks like a slip.
pub fn one_of(wanted: &str, names: &[&str]) -> String {
    let all = names.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ");
    match nearest(wanted, names.iter().copied()) {
        Some(name) => format!("Perhaps you meant \"{name}\". Possible values are {all}."),
        None => format!("Possible values are {all}."),
    }
}

/// The name that `wanted` is most likely a slip of: at most a third of its letters differ (of those behind its last point,
/// since what stands before it is often common to all).
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let own = wanted.rsplit_once('.').map_or(wanted, |(_, own)| own);
    let limit = (own.chars().count() / 3).max(1);
    let distances = names.map(|name| (edit_distance(wanted, name), name));
    distances.filter(|(distance, _)| *distance <= limit).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Levenshtein's distance, over characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let above = *cell;
            left = (diagonal + usize::from(from != *to)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

macro_rules! parsed_values {
    ($($ty:ty => $expected:literal,)*) => {
        $(impl OptionValue for $ty {
            const EXPECTED: &'static str = $expected;
            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        })*
    };
}

parsed_values! {
    i64 => "an integer",
    u64 => "an integer, zero or more",
    u32 => "an integer, zero or more",
    u16 => "an integer between 0 and 65535",
    usize => "an integer, zero or more",
    std::num::NonZeroU64 => "an integer, one or more",
    std::num::NonZeroU32 => "an integer, one or more",
    std::num::NonZeroUsize => "an integer, one or more",
}

impl OptionValue for String {
    const EXPECTED: &'static str = "a text that is not empty";
    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_string())
    }
}

impl OptionValue for f64 {
    const EXPECTED: &'static str = "a number";
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|x: &f64| x.is_finite())
    }
}

impl OptionValue for bool {
    const EXPECTED: &'static str = "true or false";
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "on" | "yes" | "y" | "1" => Some(true),
            "false" | "f" | "off" | "no" | "n" | "0" => Some(false),
            _ => None,
        }
    }
}

/// A date alone is its midnight.
impl OptionValue for NaiveDateTime {
    const EXPECTED: &'static str = "a timestamp such as '2026-01-31 12:00:00'";
    fn parse(text: &str) -> Option<Self> {
        let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
        let exact = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
        exact.or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
    }
}

/// Flink's spellings ('10 s', '500ms', '1 min') and PostgreSQL's ('10 seconds', '1 hour 30 minutes', '00:00:10'). A bare
/// number is refused, since it is milliseconds to Flink and seconds to PostgreSQL; a bare zero is fine.
impl OptionValue for Duration {
    const EXPECTED: &'static str = "a duration with its unit, such as '10 s', '500 ms' or '1 minute'";
    fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Duration::ZERO);
        }
        if text.contains(':') {
            return clock_time(text);
        }
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let (number, unit, after) = number_and_unit(rest)?;
            total = total.checked_add(Duration::try_from_secs_f64(number * unit_seconds(unit)?).ok()?)?;
            rest = after;
        }
        (!text.is_empty()).then_some(total)
    }
}

/// `HH:MM:SS[.ffffff]`
fn clock_time(text: &str) -> Option<Duration> {
    let mut parts = text.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    let hours: u32 = hours.parse().ok()?;
    let minutes: u32 = minutes.parse().ok().filter(|m| *m < 60)?;
    let seconds: f64 = seconds.parse().ok().filter(|s| (0.0..60.0).contains(s))?;
    let whole = Duration::from_secs(u64::from(hours) * 3600 + u64::from(minutes) * 60);
    parts.next().is_none().then_some(whole + Duration::try_from_secs_f64(seconds).ok()?)
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit.to_lowercase().as_str() {
        "w" | "week" | "weeks" => 604_800.0,
        "d" | "day" | "days" => 86_400.0,
        "h" | "hr" | "hour" | "hours" => 3_600.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1e-3,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1e-6,
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1e-9,
        _ => return None,
    })
}

impl OptionValue for ByteSize {
    const EXPECTED: &'static str = "a number of bytes, such as '64 MB', '512 kB' or '1048576'";
    fn parse(text: &str) -> Option<Self> {
        let (number, unit, rest) = number_and_unit(text)?;
        let scale: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" | "byte" | "bytes" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            "t" | "tb" | "tib" => 1 << 40,
            _ => return None,
        };
        let bytes = number * scale as f64;
        (rest.is_empty() && bytes < u64::MAX as f64).then_some(ByteSize(bytes as u64))
    }
}

/// Splits a leading number and the unit behind it off `text`: (number, unit, what follows).
fn number_and_unit(text: &str) -> Option<(f64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(digits)?;
    let rest = rest.trim_start();
    let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(letters)?;
    Some((number.parse().ok()?, unit, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(options: &[(&str, &str)]) -> Result<OptionReader> {
        OptionReader::new(options.iter().zip(0..).map(|((k, v), i)| WithOption::new(k, v, 10 * (i + 1))).collect())
    }

    /// SQLSTATE, text, hint and place of an error, in one line.
    fn shown<T: std::fmt::Debug>(result: Result<T>) -> String {
        let e = result.expect_err("an error");
        let place = e.position().map_or(String::new(), |p| format!(" @{p}"));
        format!("{} {} | {}{place}", e.state().code(), e.message(), e.hint().unwrap_or(""))
    }

    #[test]
    fn durations() {
        let check = |text: &str, micros: Option<u128>| {
            assert_eq!(Duration::parse(text).map(|d| d.as_micros()), micros, "{text}");
        };
        check("10 s", Some(10_000_000));
        check("10s", Some(10_000_000));
        check("500 ms", Some(500_000));
        check("250us", Some(250));
        check("1.5 sec", Some(1_500_000));
        check("1 min", Some(60_000_000));
        check("1 hour 30 minutes", Some(5_400_000_000));
        check("2 DAYS", Some(172_800_000_000));
        check("00:00:10.5", Some(10_500_000));
        check("0", Some(0));
        check("10", None);
        check("ten seconds", None);
        check("10 parsecs", None);
        check("-1 s", None);
        check("00:61:00", None);
        check("1:2:3:4", None);
        check("99999999999999999999999999 s", None);
        check("", None);
    }

    #[test]
    fn bytes() {
        let check = |text: &str, bytes: Option<u64>| assert_eq!(ByteSize::parse(text), bytes.map(ByteSize), "{text}");
        check("64 MB", Some(64 << 20));
        check("64mb", Some(64 << 20));
        check("1.5 GB", Some(3 << 29));
        check("512kB", Some(512 << 10));
        check("1048576", Some(1 << 20));
        check("0", Some(0));
        check("64 XB", None);
        check("64 MB more", None);
        check("99999999999 TB", None);
        check("", None);
    }

    #[test]
    fn booleans_and_numbers() {
        assert_eq!(bool::parse("On"), Some(true));
        assert_eq!(bool::parse("f"), Some(false));
        assert_eq!(bool::parse("maybe"), None);
        assert_eq!(u32::parse("-1"), None);
        assert_eq!(f64::parse("nan"), None);
    }

    #[test]
    fn what_nobody_asked_for_is_refused() {
        let finish = |options: &[(&str, &str)]| {
            let mut r = reader(options)?;
            r.required::<String>("connector")?;
            r.optional::<String>("topic")?;
            r.prefixed("properties.");
            r.finish()
        };
        finish(&[("connector", "kafka"), ("topic", "t"), ("properties.a", "b")]).expect("all are known");
        assert_eq!(
            shown(finish(&[("connector", "kafka"), ("topik", "t")])),
            "22023 unknown option \"topik\" for connector \"kafka\" | Perhaps you meant \"topic\". @20"
        );
        assert_eq!(
            shown(finish(&[("connector", "kafka"), ("colour", "red")])),
            "22023 unknown option \"colour\" for connector \"kafka\" | Known options are connector, topic, properties.*. @20"
        );
        assert_eq!(
            shown(finish(&[("topic", "a"), ("topic", "b")])),
            "22023 option \"topic\" specified more than once | Remove one of the two. @20"
        );
    }

    #[test]
    fn ill_typed_and_missing_values() {
        let mut r = reader(&[("connector", "x"), ("rate", "fast"), ("wait", "10"), ("empty", "")]).expect("options");
        assert_eq!(
            shown(r.optional::<u64>("rate")),
            "22023 invalid value for option \"rate\": \"fast\" | Expected an integer, zero or more. @20"
        );
        assert_eq!(
            shown(r.optional::<Duration>("wait")),
            "22023 invalid value for option \"wait\": \"10\" | Expected a duration with its unit, such as '10 s', \
             '500 ms' or '1 minute'. @30"
        );
        assert_eq!(
            shown(r.required::<String>("empty")),
            "22023 invalid value for option \"empty\": \"\" | Expected a text that is not empty. @40"
        );
        r.required::<String>("connector").expect("connector");
        assert_eq!(
            shown(r.required::<String>("path")),
            "22023 option \"path\" is required for connector \"x\" | Add 'path' = '...' to the WITH clause. @10"
        );
    }

    #[test]
    fn choices_and_two_spellings() {
        #[derive(Debug, Clone, Copy, PartialEq)]
        enum Mode {
            Bounded,
            Watch,
        }
        impl Choice for Mode {
            const CHOICES: &'static [(&'static str, Mode)] = &[("bounded", Mode::Bounded), ("watch", Mode::Watch)];
        }
        let mut r = reader(&[("a", "Watch"), ("b", "wach"), ("c", "1 s"), ("d", "2 s")]).expect("options");
        assert_eq!(r.choice::<Mode>("a").expect("a"), Some(Mode::Watch));
        assert_eq!(
            shown(r.choice::<Mode>("b")),
            "22023 invalid value for option \"b\": \"wach\" | Perhaps you meant \"watch\". \
             Possible values are \"bounded\", \"watch\". @20"
        );
        assert_eq!(
            shown(r.optional_either::<Duration>("c", "d")),
            "22023 options \"c\" and \"d\" are the same | Remove one of the two. @40"
        );
    }
}
