//! SQL's type names to our types.

use arrow::datatypes::FieldRef;
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType as Ast, ExactNumberInfo, TimezoneInfo};
use std::sync::Arc;

use crate::error::{Error, SqlState};
use crate::plan::errors::through;
use crate::sql::column_type::unknown;
use crate::types::{NUMERIC_DEFAULT, SqlType};

/// The type that a type's name in SQL stands for.
pub fn sql_type(ast: &Ast) -> Result<SqlType, Error> {
    use SqlType as T;
    Ok(match ast {
        Ast::Boolean | Ast::Bool => T::Boolean,
        Ast::SmallInt(_) | Ast::Int2(_) => T::SmallInt,
        Ast::Int(_) | Ast::Integer(_) | Ast::Int4(_) => T::Integer,
        Ast::BigInt(_) | Ast::Int8(_) => T::BigInt,
        Ast::Real | Ast::Float4 => T::Real,
        Ast::Double(_) | Ast::DoublePrecision | Ast::Float8 => T::Double,
        Ast::Float(ExactNumberInfo::Precision(p)) if *p <= 24 => T::Real,
        Ast::Float(_) => T::Double,
        Ast::Numeric(info) | Ast::Decimal(info) | Ast::Dec(info) => numeric(info)?,
        Ast::Text | Ast::String(_) => T::Text,
        Ast::Varchar(length) | Ast::CharacterVarying(length) | Ast::CharVarying(length) => {
            T::Varchar(characters(length))
        }
        Ast::Bytea | Ast::Bytes(_) => T::Bytea,
        Ast::Date => T::Date,
        Ast::Timestamp(p, zone) => match zone {
            TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => T::Timestamp(precision(p)?),
            TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => T::TimestampTz(precision(p)?),
        },
        // Flink's.
        Ast::Custom(name, digits) if name.to_string().eq_ignore_ascii_case("timestamp_ltz") => {
            let digits = digits.first().and_then(|digits| digits.parse().ok());
            T::TimestampTz(precision(&digits)?)
        }
        Ast::Time(p, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => T::Time(precision(p)?),
        Ast::Interval { .. } => T::Interval,
        Ast::Uuid => T::Uuid,
        Ast::JSONB => T::Jsonb,
        Ast::Array(ArrayElemTypeDef::AngleBracket(item) | ArrayElemTypeDef::SquareBracket(item, None)) => {
            T::Array(Box::new(sql_type(item)?))
        }
        other => return Err(unknown(&other.to_string().to_lowercase())),
    })
}

fn numeric(info: &ExactNumberInfo) -> Result<SqlType, Error> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (u64::from(NUMERIC_DEFAULT.0), i64::from(NUMERIC_DEFAULT.1)),
        ExactNumberInfo::Precision(p) => (*p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => (*p, *s),
    };
    let fits = (1..=38).contains(&precision) && i64::try_from(precision).is_ok_and(|p| (0..=p).contains(&scale));
    match (fits, u8::try_from(precision), i8::try_from(scale)) {
        (true, Ok(precision), Ok(scale)) => Ok(SqlType::Numeric(precision, scale)),
        _ => Err(Error::new(
            SqlState::InvalidParameterValue,
            format!(
                "numeric precision {precision} and scale {scale} must be between 1 and 38, and 0 and the precision"
            ),
        )),
    }
}

fn characters(length: &Option<datafusion::sql::sqlparser::ast::CharacterLength>) -> Option<u32> {
    use datafusion::sql::sqlparser::ast::CharacterLength;
    match length {
        Some(CharacterLength::IntegerLength { length, .. }) => u32::try_from(*length).ok(),
        _ => None,
    }
}

/// PostgreSQL takes more digits than six for six.
fn precision(digits: &Option<u64>) -> Result<u8, Error> {
    Ok(digits.map_or(6, |p| u8::try_from(p.min(6)).unwrap_or(6)))
}

/// Hands our types to DataFusion's planner.
#[derive(Debug)]
pub struct PostgresTypes;

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, ast: &Ast) -> Result<Option<FieldRef>> {
        let ty = sql_type(ast).map_err(through)?;
        Ok(Some(Arc::new(ty.field(""))))
    }
}
