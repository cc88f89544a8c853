//! `INTERVAL 'text' [FIRST [TO LAST]]`: what sqlparser reads becomes a literal of type interval, whose text says its units, so
//! that there is one way to read it (`types/interval`).

use datafusion::sql::sqlparser::ast::{DataType, DateTimeField, Expr, Interval, TypedString, Value, ValueWithSpan};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, Word};

use crate::types::datetime::interval_text;
use crate::types::interval::{self, Field};

/// An interval's literal, if one comes next.
pub fn interval(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let is_word = |w: &Word| w.keyword == Keyword::INTERVAL && w.quote_style.is_none();
    let is_interval = matches!(&parser.peek_token_ref().token, Token::Word(w) if is_word(w));
    let is_text = matches!(parser.peek_nth_token_ref(1).token, Token::SingleQuotedString(_));
    if !is_interval || !is_text {
        return None;
    }
    let _ = parser.next_token();
    let place = parser.peek_token_ref().span.start;
    Some(parser.parse_interval().and_then(|expr| {
        let Expr::Interval(read) = expr else { return Ok(expr) };
        typed(read).map_err(|said| ParserError::ParserError(format!("{said}{place}")))
    }))
}

fn typed(read: Interval) -> Result<Expr, String> {
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span }) = *read.value else {
        return Err("an interval is not written so".into());
    };
    let text = match (read.leading_field, read.last_field) {
        (None, _) => text,
        (Some(first), None) => match field(&first) {
            Some(field) => in_units(text, field, field)?,
            None => counted(text, &first),
        },
        (Some(first), Some(last)) => match (field(&first), field(&last)) {
            (Some(from), Some(to)) if from < to => in_units(text, from, to)?,
            _ => return Err(format!("no interval has the fields {first} TO {last}")),
        },
    };
    let value = ValueWithSpan { value: Value::SingleQuotedString(text), span };
    let data_type = DataType::Interval { fields: None, precision: None };
    Ok(Expr::TypedString(TypedString { data_type, value, uses_odbc_syntax: false }))
}

/// The literal's text with the units that its fields give it. What cannot be read stays, to be complained of as a value.
fn in_units(text: String, first: Field, last: Field) -> Result<String, String> {
    let Some(value) = interval::parse_fields(&text, first, last) else { return Ok(text) };
    if !last.holds(value) {
        return Err(format!(
            "'{text}' has parts less than its fields: write the units into it, as in INTERVAL '1.5 hours'"
        ));
    }
    if text.trim().bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b)) && first == last {
        return Ok(format!("{} {}", text.trim(), last.unit()));
    }
    let mut units = String::new();
    interval_text(value.months, value.days, value.nanoseconds, &mut units);
    Ok(units)
}

/// A number of something that is no field in PostgreSQL: INTERVAL '5' MILLISECOND.
fn counted(text: String, unit: &DateTimeField) -> String {
    format!("{text} {}", unit.to_string().to_ascii_lowercase())
}

fn field(field: &DateTimeField) -> Option<Field> {
    use DateTimeField as D;
    Some(match field {
        D::Year | D::Years => Field::Year,
        D::Month | D::Months => Field::Month,
        D::Day | D::Days => Field::Day,
        D::Hour | D::Hours => Field::Hour,
        D::Minute | D::Minutes => Field::Minute,
        D::Second | D::Seconds => Field::Second,
        _ => return None,
    })
}
