//! Reads the expressions that [`super::expr`] writes.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::{Cast, InList, ScalarFunction, TryCast};
use datafusion::logical_expr::{Between, BinaryExpr, Case, Expr, Like, Operator, lit};

use super::expr::OPERATORS;
use super::lexer::{Lexer, Token};
use super::types::read_data_type;
use crate::error::Result;
use crate::plan::functions::functions;
use crate::plan::value::read_as;

/// Reads one expression; nothing may follow it.
pub fn read(text: &str) -> Result<Expr> {
    let mut lexer = Lexer::new(text)?;
    let expr = read_expr(&mut lexer)?;
    if lexer.at_end() { Ok(expr) } else { Err(lexer.unexpected("the end")) }
}

pub fn read_expr(lexer: &mut Lexer) -> Result<Expr> {
    lexer.descend()?;
    let expr = primary(lexer)?;
    lexer.ascend();
    Ok(expr)
}

fn boxed(lexer: &mut Lexer) -> Result<Box<Expr>> {
    read_expr(lexer).map(Box::new)
}

fn primary(lexer: &mut Lexer) -> Result<Expr> {
    match lexer.peek() {
        Some(Token::Symbol("(")) => parenthesised(lexer),
        Some(Token::Text(_) | Token::Number(_) | Token::Symbol("-")) => literal(lexer),
        Some(Token::Word(word)) => match word.as_str() {
            "null" => literal(lexer),
            "true" | "false" => {
                let value = word == "true";
                lexer.next();
                Ok(lit(value))
            }
            "cast" | "try_cast" => cast(lexer),
            "CASE" => case(lexer),
            _ => named(lexer),
        },
        Some(Token::Quoted(_)) => named(lexer),
        _ => Err(lexer.unexpected("an expression")),
    }
}

fn named(lexer: &mut Lexer) -> Result<Expr> {
    let mark = lexer.mark();
    let name = lexer.name()?;
    if lexer.peek() != Some(&Token::Symbol("(")) {
        return Ok(Expr::Column(Column::new_unqualified(name)));
    }
    let Some(func) = functions().scalar(&name) else {
        lexer.reset(mark);
        return Err(lexer.error(&format!("no function {name}")));
    };
    let args = lexer.list("(", ")", read_expr)?;
    Ok(Expr::ScalarFunction(ScalarFunction { func, args }))
}

fn cast(lexer: &mut Lexer) -> Result<Expr> {
    let fails = lexer.word("cast");
    if !fails {
        lexer.require_word("try_cast")?;
    }
    lexer.require("(")?;
    let expr = boxed(lexer)?;
    lexer.require_word("as")?;
    let ty = read_data_type(lexer)?;
    lexer.require(")")?;
    Ok(if fails { Expr::Cast(Cast::new(expr, ty)) } else { Expr::TryCast(TryCast::new(expr, ty)) })
}

fn case(lexer: &mut Lexer) -> Result<Expr> {
    lexer.require_word("CASE")?;
    let operand = match lexer.peek() {
        Some(Token::Word(word)) if word == "WHEN" => None,
        _ => Some(boxed(lexer)?),
    };
    let mut branches = Vec::new();
    while lexer.word("WHEN") {
        let when = boxed(lexer)?;
        lexer.require_word("THEN")?;
        branches.push((when, boxed(lexer)?));
    }
    let otherwise = if lexer.word("ELSE") { Some(boxed(lexer)?) } else { None };
    lexer.require_word("END")?;
    Ok(Expr::Case(Case::new(operand, branches, otherwise)))
}

fn parenthesised(lexer: &mut Lexer) -> Result<Expr> {
    lexer.require("(")?;
    let expr = if lexer.word("NOT") {
        Expr::Not(boxed(lexer)?)
    } else if lexer.word("MINUS") {
        Expr::Negative(boxed(lexer)?)
    } else {
        let left = read_expr(lexer)?;
        behind(lexer, left)?
    };
    lexer.require(")")?;
    Ok(expr)
}

/// What follows the first operand within parentheses.
fn behind(lexer: &mut Lexer, left: Expr) -> Result<Expr> {
    if let Some(op) = operator(lexer) {
        let mut chain = binary(left, op, read_expr(lexer)?);
        while lexer.peek() != Some(&Token::Symbol(")")) {
            if operator(lexer) != Some(op) {
                return Err(lexer.unexpected("the same operator again"));
            }
            chain = binary(chain, op, read_expr(lexer)?);
        }
        return Ok(chain);
    }
    if lexer.word("IS") {
        return is(lexer, Box::new(left));
    }
    let negated = lexer.word("NOT");
    let expr = Box::new(left);
    if lexer.word("BETWEEN") {
        let low = boxed(lexer)?;
        lexer.require_word("AND")?;
        return Ok(Expr::Between(Between::new(expr, negated, low, boxed(lexer)?)));
    }
    if lexer.word("IN") {
        let list = lexer.list("(", ")", read_expr)?;
        return Ok(Expr::InList(InList::new(expr, list, negated)));
    }
    let similar = lexer.words(&["SIMILAR", "TO"]);
    let insensitive = !similar && lexer.word("ILIKE");
    if !similar && !insensitive && !lexer.word("LIKE") {
        return Err(lexer.unexpected("an operator"));
    }
    let pattern = boxed(lexer)?;
    let escape = if lexer.word("ESCAPE") { lexer.text()?.chars().next() } else { None };
    let like = Like::new(negated, expr, pattern, escape, insensitive);
    Ok(if similar { Expr::SimilarTo(like) } else { Expr::Like(like) })
}

fn is(lexer: &mut Lexer, expr: Box<Expr>) -> Result<Expr> {
    let negated = lexer.word("NOT");
    let kind = lexer.name()?;
    Ok(match (kind.as_str(), negated) {
        ("NULL", false) => Expr::IsNull(expr),
        ("NULL", true) => Expr::IsNotNull(expr),
        ("TRUE", false) => Expr::IsTrue(expr),
        ("TRUE", true) => Expr::IsNotTrue(expr),
        ("FALSE", false) => Expr::IsFalse(expr),
        ("FALSE", true) => Expr::IsNotFalse(expr),
        ("UNKNOWN", false) => Expr::IsUnknown(expr),
        ("UNKNOWN", true) => Expr::IsNotUnknown(expr),
        _ => return Err(lexer.unexpected("NULL, TRUE, FALSE or UNKNOWN")),
    })
}

/// Takes an operator if one is next.
fn operator(lexer: &mut Lexer) -> Option<Operator> {
    if let Some(Token::Symbol(symbol)) = lexer.peek() {
        let op = OPERATORS.iter().find(|(_, s)| s == symbol).map(|(op, _)| *op);
        if op.is_some() {
            lexer.next();
        }
        return op;
    }
    OPERATORS.iter().find_map(|(op, words)| {
        let words: Vec<&str> = words.split(' ').collect();
        (words.iter().all(|w| w.chars().all(char::is_alphabetic)) && lexer.words(&words)).then_some(*op)
    })
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

fn literal(lexer: &mut Lexer) -> Result<Expr> {
    let mark = lexer.mark();
    let negative = lexer.symbol("-");
    let text = match lexer.next() {
        Some(Token::Word(word)) if word == "null" && !negative => None,
        Some(Token::Number(digits)) => Some(if negative { format!("-{digits}") } else { digits }),
        Some(Token::Text(text)) if !negative => Some(text),
        _ => {
            lexer.reset(mark);
            return Err(lexer.unexpected("a value"));
        }
    };
    lexer.require("::")?;
    let ty = read_data_type(lexer)?;
    let value = match text {
        None => ScalarValue::try_from(&ty).ok(),
        Some(text) => value(&text, &ty),
    };
    match value {
        Some(value) => Ok(lit(value)),
        None => {
            lexer.reset(mark);
            Err(lexer.error("no such value"))
        }
    }
}

fn value(text: &str, ty: &DataType) -> Option<ScalarValue> {
    use ScalarValue as S;
    let owned = || Some(text.to_string());
    let bytes = || text.strip_prefix("\\x").and_then(unhex).map(Some);
    Some(match ty {
        DataType::Int8 => S::Int8(Some(text.parse().ok()?)),
        DataType::Int16 => S::Int16(Some(text.parse().ok()?)),
        DataType::Int32 => S::Int32(Some(text.parse().ok()?)),
        DataType::Int64 => S::Int64(Some(text.parse().ok()?)),
        DataType::UInt8 => S::UInt8(Some(text.parse().ok()?)),
        DataType::UInt16 => S::UInt16(Some(text.parse().ok()?)),
        DataType::UInt32 => S::UInt32(Some(text.parse().ok()?)),
        DataType::UInt64 => S::UInt64(Some(text.parse().ok()?)),
        DataType::Decimal128(p, s) => S::Decimal128(Some(unscaled(text, *s)?), *p, *s),
        DataType::Float32 => S::Float32(Some(text.parse().ok()?)),
        DataType::Float64 => S::Float64(Some(text.parse().ok()?)),
        DataType::Utf8 => S::Utf8(owned()),
        DataType::Utf8View => S::Utf8View(owned()),
        DataType::LargeUtf8 => S::LargeUtf8(owned()),
        DataType::Binary => S::Binary(bytes()?),
        DataType::BinaryView => S::BinaryView(bytes()?),
        DataType::Date32 => S::Date32(Some(match text.strip_suffix(" days") {
            Some(days) => days.parse().ok()?,
            None => text.parse::<chrono::NaiveDate>().ok()?.to_epoch_days(),
        })),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            S::TimestampMicrosecond(Some(micros(text)?), zone.as_ref().map(Arc::clone))
        }
        DataType::Time64(TimeUnit::Microsecond)
        | DataType::FixedSizeBinary(_)
        | DataType::LargeBinary
        | DataType::List(_) => read_as(text, ty).ok()?,
        DataType::Interval(_) => S::IntervalMonthDayNano(Some(interval(text)?)),
        _ => return None,
    })
}

/// `-12.50` with two places is -1250.
fn unscaled(text: &str, scale: i8) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() != usize::try_from(scale).ok()? {
        return None;
    }
    format!("{whole}{fraction}").parse().ok()
}

fn micros(text: &str) -> Option<i64> {
    if let Some(micros) = text.strip_suffix(" us") {
        return micros.parse().ok();
    }
    let moment = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
    Some(moment.and_utc().timestamp_micros())
}

fn interval(text: &str) -> Option<IntervalMonthDayNano> {
    let mut parts = text.split(' ');
    let mut part = |unit: &str| -> Option<i64> {
        let number = parts.next()?.parse().ok()?;
        (parts.next()? == unit).then_some(number)
    };
    let (months, days, nanos) = (part("months")?, part("days")?, part("ns")?);
    Some(IntervalMonthDayNano::new(i32::try_from(months).ok()?, i32::try_from(days).ok()?, nanos))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
