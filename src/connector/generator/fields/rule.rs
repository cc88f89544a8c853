//! What a column holds, as its options say.

use std::num::NonZeroU64;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};

use super::literal;
use crate::connector::generator::random::Draw;
use crate::connector::options::{Choice, OptionReader, OptionValue};
use crate::error::{Error, Result};
use crate::types::{Column, SqlType};

/// Letters or bytes of a random text or bytea, unless its length is given.
const DEFAULT_LENGTH: u64 = 16;
/// Letters or bytes of one random value at most.
const MAX_LENGTH: u64 = 1 << 20;
/// Greatest number of a random column whose greatest is not given, unless its type holds less.
const DEFAULT_MAX: i128 = 1_000_000;
/// Where sequences of timestamps and dates start unless they say: 2026-01-01.
const DEFAULT_START_DAY: i128 = 20_454;
const MICROS_PER_DAY: i128 = 86_400_000_000;
/// Microseconds between two rows of a timestamp whose step is not given, and that has no pace to follow.
const DEFAULT_STEP: i128 = 1_000;

/// A column's rule.
#[derive(Debug)]
pub struct Rule {
    pub name: String,
    pub ty: SqlType,
    pub draw: Draw,
    /// Share of nulls, of 2^32.
    pub nulls: u64,
    pub values: Values,
    /// Microseconds that a timestamp may lie in the past of its place.
    pub max_past: i128,
    /// How many values there are, if they end.
    pub rows: Option<u64>,
}

#[derive(Debug)]
pub enum Values {
    /// start + row * step, in the column's unit ([`literal`]).
    Sequence {
        start: i128,
        step: i128,
    },
    /// Any whole number of min..=max, in the column's unit.
    Range {
        min: i128,
        max: i128,
    },
    /// start + row * step.
    RealSequence {
        start: f64,
        step: f64,
    },
    /// Any number of [min, max).
    RealRange {
        min: f64,
        max: f64,
    },
    Boolean,
    /// Random letters (texts) or bytes (bytea).
    Letters {
        length: u64,
    },
    /// `prefix` and a number of `numbers` (a sequence or a range) behind it.
    Numbered {
        prefix: String,
        numbers: Box<Values>,
    },
    /// One of these: any, or the next.
    List {
        values: ArrayRef,
        random: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Random,
    Sequence,
    Cycle,
}

impl Choice for Kind {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("random", Kind::Random), ("sequence", Kind::Sequence), ("cycle", Kind::Cycle)];
}

impl Rule {
    /// # Errors
    /// See [`super::Fields::new`].
    pub fn new(
        column: &Column,
        seed: u64,
        rows_per_second: Option<NonZeroU64>,
        options: &mut OptionReader,
    ) -> Result<Self> {
        let (name, ty) = (&column.name, &column.ty);
        if let SqlType::Row(_) | SqlType::Array(_) | SqlType::Jsonb = ty {
            let message = format!("a generator cannot fill column \"{name}\" of type {ty}");
            return Err(Error::unsupported(message, "Declare columns of scalar types, and combine them in the query."));
        }
        let mut reader = Reader { column, options };
        let timed = matches!(ty, SqlType::Timestamp(_) | SqlType::TimestampTz(_));
        let ranged = ["min", "max", "values"].iter().any(|option| reader.is_given(option));
        let default = if timed && !ranged { Kind::Sequence } else { Kind::Random };
        let mut rows = None;
        let values = match reader.kind()?.unwrap_or(default) {
            Kind::Sequence => reader.sequence(rows_per_second, &mut rows)?,
            Kind::Cycle => match reader.list()? {
                Some(values) => Values::List { values, random: false },
                None => return Err(reader.options.missing(&reader.option("values"))),
            },
            Kind::Random => reader.random()?,
        };
        let nulls = reader.share("null-rate")?;
        let past = if timed { reader.options.optional::<Duration>(&reader.option("max-past"))? } else { None };
        let max_past = past.map_or(0, |d| i128::try_from(d.as_micros()).unwrap_or(0));
        reader.check_length(&values)?;
        let stream = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok(Rule { name: name.clone(), ty: ty.clone(), draw: Draw::new(seed, stream), nulls, values, max_past, rows })
    }

    pub fn average_bytes(&self) -> usize {
        match &self.values {
            Values::Letters { length } => *length as usize,
            Values::Numbered { prefix, .. } => prefix.len() + 8,
            Values::Boolean => 1,
            _ => 8,
        }
    }
}

/// Reads the options of one column.
struct Reader<'a> {
    column: &'a Column,
    options: &'a mut OptionReader,
}

impl Reader<'_> {
    fn option(&self, what: &str) -> String {
        format!("fields.{}.{what}", self.column.name)
    }

    fn is_given(&self, what: &str) -> bool {
        self.options.option(&self.option(what)).is_some()
    }

    fn kind(&mut self) -> Result<Option<Kind>> {
        let option = self.option("kind");
        self.options.choice(&option)
    }

    fn is_text(&self) -> bool {
        matches!(self.column.ty, SqlType::Text | SqlType::Varchar(_))
    }

    /// A value of the column's type, as a whole number.
    fn whole(&mut self, what: &str) -> Result<Option<i128>> {
        let (option, ty) = (self.option(what), &self.column.ty);
        self.options.parsed(&option, &literal::expected(ty), |text| literal::value(ty, text))
    }

    fn real(&mut self, what: &str) -> Result<Option<f64>> {
        let option = self.option(what);
        self.options.optional(&option)
    }

    /// A share between 0 and 1, of 2^32.
    fn share(&mut self, what: &str) -> Result<u64> {
        let option = self.option(what);
        let parse = |text: &str| f64::parse(text).filter(|share| (0.0..=1.0).contains(share));
        let share = self.options.parsed(&option, "a number between 0 and 1", parse)?;
        Ok((share.unwrap_or(0.0) * (1_u64 << 32) as f64) as u64)
    }

    fn refused(&self, what: &str, message: &str, hint: &str) -> Error {
        let message = format!("{message} for column \"{}\"", self.column.name);
        self.options.error(&self.option(what), message).with_hint(hint)
    }

    fn prefix(&mut self) -> Result<Option<String>> {
        let option = self.option("prefix");
        if self.is_text() { self.options.parsed(&option, "a text", |text| Some(text.to_string())) } else { Ok(None) }
    }

    fn sequence(&mut self, rows_per_second: Option<NonZeroU64>, rows: &mut Option<u64>) -> Result<Values> {
        let ty = &self.column.ty;
        match ty {
            SqlType::Boolean | SqlType::Bytea | SqlType::Uuid => {
                return Err(self.refused("kind", &format!("type {ty} has no sequence"), "Use 'random' or 'cycle'."));
            }
            SqlType::Real | SqlType::Double => {
                let (start, step) = (self.real("start")?.unwrap_or(0.0), self.real("step")?.unwrap_or(1.0));
                return Ok(Values::RealSequence { start, step });
            }
            _ => {}
        }
        let (default_start, default_step) = match ty {
            SqlType::Date => (DEFAULT_START_DAY, 1),
            SqlType::Timestamp(_) | SqlType::TimestampTz(_) => {
                let paced = rows_per_second.map(|rate| i128::from(literal::step_of_rate(rate.get())));
                (DEFAULT_START_DAY * MICROS_PER_DAY, paced.unwrap_or(DEFAULT_STEP))
            }
            SqlType::Interval | SqlType::Time(_) => (0, 1_000_000),
            SqlType::Numeric(_, scale) => {
                (0, 10_i128.pow(u32::try_from(*scale).unwrap_or(0)).min(literal::bounds(ty).1))
            }
            _ => (1, 1),
        };
        let start = self.whole("start")?.unwrap_or(default_start);
        let option = self.option("step");
        let step = self.options.parsed(&option, &literal::expected_step(ty), |text| literal::step(ty, text))?;
        let step = step.unwrap_or(default_step);
        if let Some(end) = self.whole("end")? {
            let steps = (end - start).checked_div(step).filter(|_| (end >= start) == (step > 0) || end == start);
            let steps = steps.and_then(|s| u64::try_from(s).ok());
            let refused = || self.refused("end", "a sequence never comes to its end", "Change start, end or step.");
            *rows = Some(steps.ok_or_else(refused)?.saturating_add(1));
        }
        let prefix = self.prefix()?;
        self.numbered(prefix, Values::Sequence { start, step })
    }

    fn random(&mut self) -> Result<Values> {
        if let Some(values) = self.list()? {
            return Ok(Values::List { values, random: true });
        }
        let ty = &self.column.ty;
        match ty {
            SqlType::Boolean => return Ok(Values::Boolean),
            SqlType::Real | SqlType::Double => {
                let (min, max) = (self.real("min")?.unwrap_or(0.0), self.real("max")?.unwrap_or(1.0));
                self.check_order(min <= max)?;
                return Ok(Values::RealRange { min, max });
            }
            SqlType::Bytea => return self.letters(),
            SqlType::Uuid => return Ok(Values::Letters { length: 0 }),
            SqlType::Text | SqlType::Varchar(_) if !["min", "max", "prefix"].iter().any(|o| self.is_given(o)) => {
                return self.letters();
            }
            _ => {}
        }
        let (default_min, default_max) = match ty {
            SqlType::Date => (DEFAULT_START_DAY, DEFAULT_START_DAY + 364),
            SqlType::Timestamp(_) | SqlType::TimestampTz(_) => {
                (DEFAULT_START_DAY * MICROS_PER_DAY, (DEFAULT_START_DAY + 365) * MICROS_PER_DAY - 1)
            }
            SqlType::Interval => (0, MICROS_PER_DAY),
            SqlType::Time(_) => (0, MICROS_PER_DAY - 1),
            SqlType::Numeric(_, scale) => {
                let one = 10_i128.pow(u32::try_from(*scale).unwrap_or(0));
                (0, DEFAULT_MAX.saturating_mul(one))
            }
            _ => (0, DEFAULT_MAX),
        };
        let (min, max) = (self.whole("min")?.unwrap_or(default_min), self.whole("max")?);
        let max = max.unwrap_or(default_max.max(min).min(literal::bounds(ty).1));
        self.check_order(min <= max)?;
        let prefix = self.prefix()?;
        self.numbered(prefix, Values::Range { min, max })
    }

    fn check_order(&self, ordered: bool) -> Result<()> {
        let refused = || self.refused("min", "min is greater than max", "Change one of the two.");
        if ordered { Ok(()) } else { Err(refused()) }
    }

    fn numbered(&self, prefix: Option<String>, numbers: Values) -> Result<Values> {
        if self.is_text() {
            return Ok(Values::Numbered { prefix: prefix.unwrap_or_default(), numbers: Box::new(numbers) });
        }
        Ok(numbers)
    }

    fn letters(&mut self) -> Result<Values> {
        let option = self.option("length");
        let declared = if let SqlType::Varchar(Some(n)) = self.column.ty { u64::from(n) } else { MAX_LENGTH };
        let most = declared.min(MAX_LENGTH);
        let parse = |text: &str| u64::parse(text).filter(|length| *length <= most);
        let length = self.options.parsed(&option, &format!("an integer between 0 and {most}"), parse)?;
        Ok(Values::Letters { length: length.unwrap_or(DEFAULT_LENGTH.min(most)) })
    }

    /// Option 'values', if it is given: what stands between commas, without the blanks around it.
    fn list(&mut self) -> Result<Option<ArrayRef>> {
        let (option, ty) = (self.option("values"), &self.column.ty);
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let parse = |text: &str| {
            let texts = StringArray::from(text.split(',').map(str::trim).collect::<Vec<_>>());
            let fits = |max: u32| texts.iter().flatten().all(|t| t.chars().count() <= max as usize);
            match ty {
                SqlType::Varchar(Some(max)) if !fits(*max) => None,
                _ => cast_with_options(&texts, &ty.to_arrow(), &strict).ok(),
            }
        };
        self.options.parsed(&option, &format!("values of type {ty} between commas"), parse)
    }

    /// A prefixed number must fit into a VARCHAR(n), however large it becomes.
    fn check_length(&self, values: &Values) -> Result<()> {
        let (SqlType::Varchar(Some(max)), Values::Numbered { prefix, numbers }) = (&self.column.ty, values) else {
            return Ok(());
        };
        let digits = match **numbers {
            Values::Range { min, max } => min.to_string().len().max(max.to_string().len()),
            _ => 20,
        };
        if prefix.chars().count() + digits <= *max as usize {
            return Ok(());
        }
        let hint = format!("They may have {} characters.", prefix.chars().count() + digits);
        Err(self.refused("kind", &format!("values do not fit into {}", self.column.ty), &hint))
    }
}

/// Length of the list; never zero for one that options gave.
pub fn list_length(values: &ArrayRef) -> u64 {
    values.len().max(1) as u64
}
