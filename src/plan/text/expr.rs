//! Expressions as SQL with every type written out: `(amount * 0.9::numeric(2,1))`, `'a'::text`, `cast(x as bigint)`.
//!
//! Every operator stands in parentheses, so there are no precedences to remember; a chain of the same operator is
//! written flat and read from the left.

use std::fmt::Write;

use arrow::datatypes::DataType;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::{Case, Expr, Like, Operator};

use super::lexer::MAX_DEPTH;
use super::types::print_data_type;
use crate::error::{Error, Result, SqlState};
use crate::plan::functions::functions;
use crate::sql::names::quoted;
use crate::types::SqlType;
use crate::types::cells::Cells;
use crate::types::datetime::timestamp_text;

pub use super::expr_reader::read;

/// Operators by the symbol or words that stand for them.
pub(super) const OPERATORS: &[(Operator, &str)] = &[
    (Operator::Eq, "="),
    (Operator::NotEq, "<>"),
    (Operator::Lt, "<"),
    (Operator::LtEq, "<="),
    (Operator::Gt, ">"),
    (Operator::GtEq, ">="),
    (Operator::Plus, "+"),
    (Operator::Minus, "-"),
    (Operator::Multiply, "*"),
    (Operator::Divide, "/"),
    (Operator::Modulo, "%"),
    (Operator::And, "AND"),
    (Operator::Or, "OR"),
    (Operator::RegexMatch, "~"),
    (Operator::RegexIMatch, "~*"),
    (Operator::RegexNotMatch, "!~"),
    (Operator::RegexNotIMatch, "!~*"),
    (Operator::LikeMatch, "~~"),
    (Operator::ILikeMatch, "~~*"),
    (Operator::NotLikeMatch, "!~~"),
    (Operator::NotILikeMatch, "!~~*"),
    (Operator::IsDistinctFrom, "IS DISTINCT FROM"),
    (Operator::IsNotDistinctFrom, "IS NOT DISTINCT FROM"),
    (Operator::BitwiseAnd, "&"),
    (Operator::BitwiseOr, "|"),
    (Operator::BitwiseXor, "#"),
    (Operator::BitwiseShiftLeft, "<<"),
    (Operator::BitwiseShiftRight, ">>"),
    (Operator::StringConcat, "||"),
];

/// A name as it stands in a stored plan.
pub fn name(name: &str) -> String {
    if name == "try_cast" { format!("\"{name}\"") } else { quoted(name) }
}

/// The text of an expression.
///
/// # Errors
/// 0A000 if it holds something that no stored plan can (a sub-query, a function that is not registered), 54001 if it is
/// nested too deeply.
pub fn print(expr: &Expr) -> Result<String> {
    let mut printer = Printer { out: String::new(), depth: 0, typed: true };
    printer.expr(expr)?;
    Ok(printer.out)
}

/// For people: without the types of literals, and without the outermost parentheses.
pub fn readable(expr: &Expr) -> String {
    let mut printer = Printer { out: String::new(), depth: 0, typed: false };
    if printer.expr(expr).is_err() {
        return expr.to_string();
    }
    let whole = matches!(
        expr,
        Expr::Column(_)
            | Expr::Literal(..)
            | Expr::Case(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::ScalarFunction(_)
    );
    match printer.out.strip_prefix('(').and_then(|out| out.strip_suffix(')')) {
        Some(inner) if !whole => inner.to_string(),
        _ => printer.out,
    }
}

/// Operands of a chain that is evaluated from the left, each one level deeper than the one before.
const MAX_CHAIN: usize = 300;

struct Printer {
    out: String,
    depth: usize,
    /// Whether literals carry their types.
    typed: bool,
}

impl Printer {
    fn expr(&mut self, expr: &Expr) -> Result<()> {
        self.depth += 1;
        // Half of what the reader takes: it counts types and parentheses too.
        if self.depth > MAX_DEPTH / 2 {
            return Err(Error::new(SqlState::StatementTooComplex, "expression is nested too deeply"));
        }
        self.kind(expr)?;
        self.depth -= 1;
        Ok(())
    }

    fn kind(&mut self, expr: &Expr) -> Result<()> {
        match expr {
            Expr::Column(Column { relation: None, name: column, .. }) => self.out.push_str(&name(column)),
            Expr::Column(Column { relation: Some(relation), name: column, .. }) if !self.typed => {
                let _ = write!(self.out, "{}.{}", name(relation.table()), name(column));
            }
            Expr::Placeholder(placeholder) if !self.typed => self.out.push_str(&placeholder.id),
            Expr::Alias(alias) if !self.typed => self.kind(&alias.expr)?,
            Expr::Literal(value, _) => {
                let (text, ty) = literal(value)?;
                match value {
                    ScalarValue::IntervalMonthDayNano(Some(i)) if !self.typed => self.out.push_str(&interval(*i)),
                    _ => self.out.push_str(&text),
                }
                if self.typed && !matches!(value, ScalarValue::Boolean(Some(_))) {
                    write(&mut self.out, format_args!("::{ty}"));
                }
            }
            Expr::BinaryExpr(_) => self.chain(expr)?,
            Expr::Not(inner) => self.around("(NOT ", inner, ")")?,
            Expr::Negative(inner) => self.around("(MINUS ", inner, ")")?,
            Expr::IsNull(inner) => self.around("(", inner, " IS NULL)")?,
            Expr::IsNotNull(inner) => self.around("(", inner, " IS NOT NULL)")?,
            Expr::IsTrue(inner) => self.around("(", inner, " IS TRUE)")?,
            Expr::IsNotTrue(inner) => self.around("(", inner, " IS NOT TRUE)")?,
            Expr::IsFalse(inner) => self.around("(", inner, " IS FALSE)")?,
            Expr::IsNotFalse(inner) => self.around("(", inner, " IS NOT FALSE)")?,
            Expr::IsUnknown(inner) => self.around("(", inner, " IS UNKNOWN)")?,
            Expr::IsNotUnknown(inner) => self.around("(", inner, " IS NOT UNKNOWN)")?,
            Expr::Like(like) => self.like(like, if like.case_insensitive { "ILIKE" } else { "LIKE" })?,
            Expr::SimilarTo(like) => self.like(like, "SIMILAR TO")?,
            Expr::Between(between) => {
                self.around("(", &between.expr, if between.negated { " NOT BETWEEN " } else { " BETWEEN " })?;
                self.expr(&between.low)?;
                self.around(" AND ", &between.high, ")")?;
            }
            Expr::InList(list) => {
                self.around("(", &list.expr, if list.negated { " NOT IN (" } else { " IN (" })?;
                self.list(&list.list)?;
                self.out.push_str("))");
            }
            Expr::Case(case) => self.case(case)?,
            // People need not see that a product is computed with more digits.
            Expr::Cast(Cast { expr, field })
                if !self.typed && matches!(field.data_type(), DataType::Decimal256(..)) =>
            {
                self.expr(expr)?;
            }
            Expr::Cast(Cast { expr, field }) => {
                self.around("cast(", expr, " as ")?;
                write(&mut self.out, format_args!("{})", print_data_type(field.data_type())?));
            }
            Expr::TryCast(TryCast { expr, field }) => {
                self.around("try_cast(", expr, " as ")?;
                write(&mut self.out, format_args!("{})", print_data_type(field.data_type())?));
            }
            Expr::ScalarFunction(function) => {
                let known = functions().scalar(function.name());
                if known.as_ref() != Some(&function.func) {
                    return Err(unstorable(expr));
                }
                write(&mut self.out, format_args!("{}(", name(function.name())));
                self.list(&function.args)?;
                self.out.push(')');
            }
            other => return Err(unstorable(other)),
        }
        Ok(())
    }

    fn around(&mut self, before: &str, inner: &Expr, behind: &str) -> Result<()> {
        self.out.push_str(before);
        self.expr(inner)?;
        self.out.push_str(behind);
        Ok(())
    }

    fn list(&mut self, items: &[Expr]) -> Result<()> {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            self.expr(item)?;
        }
        Ok(())
    }

    /// A left-deep chain of one operator, flat: chains of AND are long, and recursion is not.
    fn chain(&mut self, expr: &Expr) -> Result<()> {
        let mut operands = Vec::new();
        let mut rest = expr;
        let mut chained = None;
        while let Expr::BinaryExpr(binary) = rest
            && chained.is_none_or(|op| op == binary.op)
        {
            chained = Some(binary.op);
            operands.push(binary.right.as_ref());
            rest = &binary.left;
        }
        let Some(op) = chained else { return Err(unstorable(expr)) };
        if operands.len() > MAX_CHAIN {
            return Err(Error::new(SqlState::StatementTooComplex, "expression is nested too deeply")
                .with_hint(format!("A chain of one operator has at most {MAX_CHAIN} operands here; use IN or CASE.")));
        }
        let Some((_, symbol)) = OPERATORS.iter().find(|(o, _)| *o == op) else { return Err(unstorable(expr)) };
        self.out.push('(');
        self.expr(rest)?;
        for operand in operands.into_iter().rev() {
            write(&mut self.out, format_args!(" {symbol} "));
            self.expr(operand)?;
        }
        self.out.push(')');
        Ok(())
    }

    fn like(&mut self, like: &Like, word: &str) -> Result<()> {
        self.around("(", &like.expr, if like.negated { " NOT " } else { " " })?;
        self.out.push_str(word);
        self.out.push(' ');
        self.expr(&like.pattern)?;
        if let Some(escape) = like.escape_char {
            write(&mut self.out, format_args!(" ESCAPE {}", string(&escape.to_string())));
        }
        self.out.push(')');
        Ok(())
    }

    fn case(&mut self, case: &Case) -> Result<()> {
        self.out.push_str("CASE");
        if let Some(operand) = &case.expr {
            self.around(" ", operand, "")?;
        }
        for (when, then) in &case.when_then_expr {
            self.around(" WHEN ", when, " THEN ")?;
            self.expr(then)?;
        }
        if let Some(otherwise) = &case.else_expr {
            self.around(" ELSE ", otherwise, "")?;
        }
        self.out.push_str(" END");
        Ok(())
    }
}

/// Writing to a string does not fail.
fn write(out: &mut String, args: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(args);
}

fn unstorable(expr: &Expr) -> Error {
    Error::unsupported(
        format!("expression {expr} is not supported in a streaming query"),
        "Write it with operators, CASE, and functions of the current row.",
    )
}

pub fn string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A literal's text, and the name of its type.
fn literal(value: &ScalarValue) -> Result<(String, String)> {
    use ScalarValue as S;
    let ty = print_data_type(&value.data_type())?;
    if value.is_null() {
        return Ok(("null".into(), ty));
    }
    let text = match value {
        S::Boolean(Some(b)) => b.to_string(),
        S::Int8(_) | S::Int16(_) | S::Int32(_) | S::Int64(_) => value.to_string(),
        S::UInt8(_) | S::UInt16(_) | S::UInt32(_) | S::UInt64(_) => value.to_string(),
        S::Decimal128(Some(unscaled), _, scale) => decimal(*unscaled, *scale),
        S::Float32(Some(x)) => format!("'{x:?}'"),
        S::Float64(Some(x)) => format!("'{x:?}'"),
        S::Utf8(Some(s)) | S::Utf8View(Some(s)) | S::LargeUtf8(Some(s)) => string(s),
        S::Binary(Some(b)) | S::BinaryView(Some(b)) => {
            let hex = b.iter().fold(String::new(), |mut hex, byte| {
                write(&mut hex, format_args!("{byte:02x}"));
                hex
            });
            format!("'\\x{hex}'")
        }
        S::Date32(Some(days)) => match chrono::NaiveDate::from_epoch_days(*days) {
            Some(date) if (0..=9999).contains(&chrono::Datelike::year(&date)) => format!("'{date}'"),
            _ => format!("'{days} days'"),
        },
        S::TimestampMicrosecond(Some(micros), _) => format!("'{}'", timestamp(*micros)),
        S::Time64Microsecond(Some(_)) | S::FixedSizeBinary(_, Some(_)) | S::LargeBinary(Some(_)) | S::List(_) => {
            string(&text_of_value(value)?)
        }
        S::IntervalMonthDayNano(Some(i)) => format!("'{} months {} days {} ns'", i.months, i.days, i.nanoseconds),
        other => {
            return Err(Error::unsupported(
                format!("a constant of type {} is not supported in a streaming query", other.data_type()),
                "Cast it to another type.",
            ));
        }
    };
    Ok((text, ty))
}

/// As PostgreSQL prints it.
fn text_of_value(value: &ScalarValue) -> Result<String> {
    let cells = Cells::of(&value.to_array()?, &SqlType::from_arrow(&value.data_type()))?;
    let mut text = String::new();
    cells.text(0, chrono_tz::Tz::UTC, &mut text);
    Ok(text)
}

/// An interval as people write it.
fn interval(value: arrow::datatypes::IntervalMonthDayNano) -> String {
    let nanos = value.nanoseconds;
    let parts = [
        (i64::from(value.months), "month"),
        (i64::from(value.days), "day"),
        (nanos / 3_600_000_000_000, "hour"),
        (nanos / 60_000_000_000 % 60, "minute"),
        (nanos / 1_000_000_000 % 60, "second"),
        (nanos % 1_000_000_000 / 1_000_000, "millisecond"),
        (nanos % 1_000_000 / 1_000, "microsecond"),
    ];
    let shown: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count != 0)
        .map(|(count, unit)| format!("{count} {unit}{}", if count.abs() == 1 { "" } else { "s" }))
        .collect();
    if shown.is_empty() { "INTERVAL '0 seconds'".into() } else { format!("INTERVAL '{}'", shown.join(" ")) }
}

/// Exactly `scale` digits behind the point.
fn decimal(unscaled: i128, scale: i8) -> String {
    let scale = usize::try_from(scale).unwrap_or(0);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Readable within four-digit years; microseconds beyond.
fn timestamp(micros: i64) -> String {
    const YEAR_1: i64 = -62_135_596_800_000_000;
    const YEAR_10000: i64 = 253_402_300_800_000_000;
    if !(YEAR_1..YEAR_10000).contains(&micros) {
        return format!("{micros} us");
    }
    let mut text = String::new();
    timestamp_text(micros, &mut text);
    text
}
