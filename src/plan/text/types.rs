//! Types in stored plans: by their SQL names; those that only arise inside expressions as `arrow('...')`.

use arrow::datatypes::DataType;

use super::expr::name;
use super::lexer::{Lexer, Token};
use crate::error::{Error, Result};
use crate::types::SqlType;

/// A type inside an expression.
pub fn print_data_type(ty: &DataType) -> Result<String> {
    let sql = SqlType::from_arrow(ty);
    if sql.to_arrow() == *ty {
        return Ok(print_type(&sql));
    }
    let text = ty.to_string();
    if text.parse::<DataType>().ok().as_ref() != Some(ty) {
        return Err(Error::unsupported(
            format!("a value of type {ty} cannot be kept in a stored plan"),
            "Cast it to another type.",
        ));
    }
    Ok(format!("arrow('{}')", text.replace('\'', "''")))
}

/// As `SqlType`'s `Display`, but short for timestamps and with names quoted where they must be.
pub fn print_type(ty: &SqlType) -> String {
    match ty {
        SqlType::Row(fields) => {
            let fields: Vec<String> = fields.iter().map(|(n, t)| format!("{} {}", name(n), print_type(t))).collect();
            format!("row({})", fields.join(", "))
        }
        SqlType::Array(item) => format!("array({})", print_type(item)),
        SqlType::Timestamp(6) => "timestamp".into(),
        SqlType::Timestamp(p) => format!("timestamp({p})"),
        SqlType::TimestampTz(6) => "timestamptz".into(),
        SqlType::TimestampTz(p) => format!("timestamptz({p})"),
        SqlType::Time(6) => "time".into(),
        SqlType::Time(p) => format!("time({p})"),
        SqlType::Varchar(None) => "varchar".into(),
        SqlType::Varchar(Some(n)) => format!("varchar({n})"),
        SqlType::Double => "double".into(),
        other => other.to_string(),
    }
}

pub fn read_data_type(lexer: &mut Lexer) -> Result<DataType> {
    if !lexer.word("arrow") {
        return Ok(read_type(lexer)?.to_arrow());
    }
    lexer.require("(")?;
    let text = lexer.text()?;
    let ty = text.parse::<DataType>().map_err(|_| lexer.error("no such type"))?;
    lexer.require(")")?;
    Ok(ty)
}

pub fn read_type(lexer: &mut Lexer) -> Result<SqlType> {
    lexer.descend()?;
    let Some(Token::Word(word)) = lexer.peek().cloned() else { return Err(lexer.unexpected("a type")) };
    lexer.next();
    let ty = match word.as_str() {
        "boolean" => SqlType::Boolean,
        "smallint" => SqlType::SmallInt,
        "integer" => SqlType::Integer,
        "bigint" => SqlType::BigInt,
        "real" => SqlType::Real,
        "double" => SqlType::Double,
        "numeric" => {
            lexer.require("(")?;
            let precision = lexer.integer()?;
            lexer.require(",")?;
            let scale = lexer.integer()?;
            lexer.require(")")?;
            SqlType::Numeric(precision, scale)
        }
        "text" => SqlType::Text,
        "varchar" => SqlType::Varchar(argument(lexer)?),
        "bytea" => SqlType::Bytea,
        "date" => SqlType::Date,
        "timestamp" => SqlType::Timestamp(argument(lexer)?.unwrap_or(6)),
        "timestamptz" => SqlType::TimestampTz(argument(lexer)?.unwrap_or(6)),
        "time" => SqlType::Time(argument(lexer)?.unwrap_or(6)),
        "interval" => SqlType::Interval,
        "uuid" => SqlType::Uuid,
        "jsonb" => SqlType::Jsonb,
        "row" => SqlType::Row(lexer.list("(", ")", |lexer| Ok((lexer.name()?, read_type(lexer)?)))?),
        "array" => {
            lexer.require("(")?;
            let item = read_type(lexer)?;
            lexer.require(")")?;
            SqlType::Array(Box::new(item))
        }
        _ => return Err(lexer.error("no such type")),
    };
    lexer.ascend();
    Ok(ty)
}

fn argument<T: TryFrom<i128>>(lexer: &mut Lexer) -> Result<Option<T>> {
    if !lexer.symbol("(") {
        return Ok(None);
    }
    let number = lexer.integer()?;
    lexer.require(")")?;
    Ok(Some(number))
}
