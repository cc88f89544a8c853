//! Types of declared columns: PostgreSQL's names and Flink's.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::dialect::Dialect;
use super::names;
use crate::error::{Error, Result, SqlState};
use crate::types::{NUMERIC_DEFAULT, SqlType};

/// Types within types: ROW in ARRAY in ROW ...
const MAX_DEPTH: usize = 16;
/// Digits a numeric can have (Arrow's Decimal128).
const MAX_PRECISION: u32 = 38;
/// PostgreSQL's limit for varchar(n).
const MAX_LENGTH: u32 = 10_485_760;

/// What PostgreSQL or Flink has and Tidemill lacks, and what serves instead.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("bit", "Use BYTEA or TEXT."),
    ("json", "Use JSONB, which holds the same values, or TEXT."),
    ("map", "Use ROW<...> with the fields that you need, or JSONB."),
    ("money", "Use NUMERIC(p, s)."),
    ("multiset", "Use ARRAY<...>."),
    ("timetz", "Use TIME, or TIMESTAMP WITH TIME ZONE."),
    ("xml", "Use TEXT."),
];

impl Cursor<'_> {
    pub fn column_type(&mut self) -> Result<SqlType> {
        let ty = self.nested_type(0)?;
        if self.is_balanced() { Ok(ty) } else { Err(self.unexpected()) }
    }

    fn nested_type(&mut self, depth: usize) -> Result<SqlType> {
        if depth > MAX_DEPTH {
            return Err(Error::new(SqlState::StatementTooComplex, "type is nested too deeply").at(self.position()));
        }
        let mut ty = match self.word(0).map(names::fold).as_deref() {
            Some("row") => self.row_type(depth)?,
            Some("array") => {
                self.next();
                self.expect_token(&Token::Lt)?;
                let item = self.nested_type(depth + 1)?;
                self.expect_closing_angle()?;
                SqlType::Array(Box::new(item))
            }
            _ => self.scalar_type()?,
        };
        // PostgreSQL's integer[], integer[3], integer ARRAY; it keeps neither bounds nor dimensions apart.
        while self.is_balanced() {
            if self.take_token(&Token::LBracket) {
                if !self.at_token(&Token::RBracket) {
                    self.integer(u32::MAX)?;
                }
                self.expect_token(&Token::RBracket)?;
            } else if !self.take(&["ARRAY"]) {
                break;
            }
            ty = SqlType::Array(Box::new(ty));
        }
        Ok(ty)
    }

    /// ROW<name type [NOT NULL] ['comment'], ...> or ROW(...).
    fn row_type(&mut self, depth: usize) -> Result<SqlType> {
        self.next();
        let angles = !self.at_token(&Token::LParen);
        self.expect_token(if angles { &Token::Lt } else { &Token::LParen })?;
        let mut seen = std::collections::HashSet::new();
        let fields = self.list(|cursor| {
            let name = cursor.name()?;
            if !seen.insert(name.value.clone()) {
                let message = format!("field \"{name}\" specified more than once");
                return Err(Error::new(SqlState::DuplicateColumn, message).at(name.position));
            }
            let ty = cursor.nested_type(depth + 1)?;
            let _nullable = cursor.take(&["NOT", "NULL"]) || cursor.take(&["NULL"]);
            let _comment = cursor.take_string();
            Ok((name.value, ty))
        })?;
        if angles {
            self.expect_closing_angle()?;
        } else {
            self.expect_token(&Token::RParen)?;
        }
        Ok(SqlType::Row(fields))
    }

    fn scalar_type(&mut self) -> Result<SqlType> {
        let position = self.position();
        let word = match self.word(0).map(names::fold) {
            Some(word) if !names::is_reserved(&word) => word,
            _ => return Err(self.unexpected()),
        };
        self.next();
        Ok(match word.as_str() {
            "boolean" | "bool" => SqlType::Boolean,
            "smallint" | "int2" => SqlType::SmallInt,
            "integer" | "int" | "int4" => SqlType::Integer,
            "bigint" | "int8" => SqlType::BigInt,
            "real" | "float4" => SqlType::Real,
            "float8" => SqlType::Double,
            "double" => {
                let _ = self.take(&["PRECISION"]);
                SqlType::Double
            }
            "float" => match self.one_argument(53)? {
                Some(0..=24) => SqlType::Real,
                _ => SqlType::Double,
            },
            "numeric" | "decimal" | "dec" => self.numeric()?,
            "text" | "string" => SqlType::Text,
            "varchar" => SqlType::Varchar(self.one_argument(MAX_LENGTH)?),
            "character" | "char" if self.take(&["VARYING"]) => SqlType::Varchar(self.one_argument(MAX_LENGTH)?),
            "character" | "char" => {
                return Err(Error::unsupported(
                    "type character(n) is not supported",
                    "Use TEXT or VARCHAR(n): values are not padded with blanks.",
                )
                .at(position));
            }
            "bytea" | "bytes" => SqlType::Bytea,
            "varbinary" | "binary" => {
                self.one_argument(u32::MAX)?;
                SqlType::Bytea
            }
            "date" => SqlType::Date,
            "timestamp" => self.timestamp()?,
            "timestamptz" | "timestamp_ltz" => SqlType::TimestampTz(self.precision()?),
            "time" => self.time()?,
            "interval" => SqlType::Interval,
            "uuid" => SqlType::Uuid,
            "jsonb" => SqlType::Jsonb,
            "tinyint" => {
                return Err(Error::unsupported("type tinyint is not supported", "Use SMALLINT.").at(position));
            }
            other => return Err(unknown(other).at(position)),
        })
    }

    fn numeric(&mut self) -> Result<SqlType> {
        if !self.take_token(&Token::LParen) {
            return Ok(SqlType::Numeric(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1));
        }
        let position = self.position();
        let precision = self.integer(1000)?;
        if !(1..=MAX_PRECISION).contains(&precision) {
            let message = format!("NUMERIC precision {precision} must be between 1 and {MAX_PRECISION}");
            return Err(Error::new(SqlState::InvalidParameterValue, message).at(position));
        }
        let mut scale = 0;
        if self.take_token(&Token::Comma) {
            let position = self.position();
            scale = self.integer(1000)?;
            if scale > precision {
                let message = format!("NUMERIC scale {scale} must be between 0 and precision {precision}");
                return Err(Error::new(SqlState::InvalidParameterValue, message).at(position));
            }
        }
        self.expect_token(&Token::RParen)?;
        // Both are at most 38.
        Ok(SqlType::Numeric(precision as u8, scale as i8))
    }

    fn timestamp(&mut self) -> Result<SqlType> {
        let precision = self.precision()?;
        if self.take(&["WITH", "TIME", "ZONE"]) || self.take(&["WITH", "LOCAL", "TIME", "ZONE"]) {
            return Ok(SqlType::TimestampTz(precision));
        }
        let _ = self.take(&["WITHOUT", "TIME", "ZONE"]);
        Ok(SqlType::Timestamp(precision))
    }

    fn time(&mut self) -> Result<SqlType> {
        let precision = self.precision()?;
        let position = self.position();
        if self.take(&["WITH", "TIME", "ZONE"]) {
            return Err(unknown("timetz").at(position));
        }
        let _ = self.take(&["WITHOUT", "TIME", "ZONE"]);
        Ok(SqlType::Time(precision))
    }

    fn precision(&mut self) -> Result<u8> {
        let position = self.position();
        match self.one_argument(9)? {
            None => Ok(6),
            Some(digits @ 0..=6) => Ok(digits as u8),
            Some(digits) => {
                let message = format!("TIMESTAMP({digits}) precision must be between 0 and 6");
                let hint = "Timestamps are kept in microseconds: use TIMESTAMP(6).";
                Err(Error::new(SqlState::InvalidParameterValue, message).with_hint(hint).at(position))
            }
        }
    }

    fn one_argument(&mut self, max: u32) -> Result<Option<u32>> {
        if !self.take_token(&Token::LParen) {
            return Ok(None);
        }
        let argument = self.integer(max)?;
        self.expect_token(&Token::RParen)?;
        Ok(Some(argument))
    }
}

/// The error of a type that there is not.
pub fn unknown(name: &str) -> Error {
    let known = [
        "boolean",
        "smallint",
        "int",
        "integer",
        "bigint",
        "real",
        "float",
        "double",
        "numeric",
        "decimal",
        "text",
        "string",
        "varchar",
        "bytea",
        "date",
        "timestamp",
        "timestamptz",
        "time",
        "interval",
        "uuid",
        "jsonb",
        "array",
        "row",
    ];
    if let Some((_, hint)) = UNSUPPORTED.iter().find(|(ty, _)| *ty == name) {
        return Error::unsupported(format!("type {name} is not supported"), *hint);
    }
    let error = Error::new(SqlState::UndefinedObject, format!("type \"{name}\" does not exist"));
    match names::nearest(name, known) {
        Some(near) => error.with_hint(format!("Perhaps you meant the type \"{near}\".")),
        None => error,
    }
}

/// A type as [`parse`] reads it. (Its `Display` is for people: it does not quote the names of fields.)
pub fn to_sql(ty: &SqlType) -> String {
    match ty {
        SqlType::Row(fields) => {
            let fields = fields.iter().map(|(name, ty)| format!("{} {}", names::quoted(name), to_sql(ty)));
            format!("row({})", fields.collect::<Vec<_>>().join(", "))
        }
        SqlType::Array(item) => format!("{}[]", to_sql(item)),
        plain => plain.to_string(),
    }
}

/// Reads a type that stands alone.
pub fn parse(text: &str) -> Result<SqlType> {
    let mut cursor = Cursor::new(text, Dialect::Postgres)?;
    let ty = cursor.column_type()?;
    cursor.expect_end()?;
    Ok(ty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_survive_their_text() {
        let row = SqlType::Row(vec![
            ("Mixed Case".into(), SqlType::Varchar(Some(3))),
            ("user".into(), SqlType::Row(vec![("x".into(), SqlType::Double)])),
        ]);
        let types = [
            SqlType::Boolean,
            SqlType::Numeric(38, 16),
            SqlType::Varchar(None),
            SqlType::Timestamp(3),
            SqlType::TimestampTz(6),
            SqlType::Time(3),
            SqlType::Uuid,
            SqlType::Jsonb,
            SqlType::Array(Box::new(SqlType::Array(Box::new(row)))),
        ];
        for ty in types {
            assert_eq!(parse(&to_sql(&ty)).unwrap(), ty);
        }
    }
}
