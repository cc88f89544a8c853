//! SQL types: PostgreSQL's names and object ids on one side, Arrow's data types on the other; and the text of their values.
//!
//! 1. [`SqlType`] (here): what there is. Each has one Arrow type inside, and no two share one; what Arrow's type cannot
//!    tell apart (a declared precision or length) travels in the field's metadata under [`METADATA_KEY`]. Timestamps and
//!    times are microseconds, whatever their declared precision; a uuid is its 16 bytes; jsonb has a form of its own
//!    ([`jsonb`]).
//! 2. Text to value, as PostgreSQL reads it: [`parse`], [`interval`], [`uuid`].
//! 3. Value to text, as PostgreSQL prints it: [`cells`] for the columns of every type, over [`number`], [`datetime`],
//!    [`uuid`].
//!
//! What does not live here: JSON, whose conventions are others (`format/json`), and the wire's binary forms
//! (`server/pgwire`).

pub mod cells;
pub mod datetime;
pub mod interval;
pub mod jsonb;
pub mod number;
pub mod parse;
pub mod uuid;

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};

use crate::error::{Error, SqlState};

/// Field metadata that says what Arrow's type leaves out, as [`SqlType::modifier`] prints it.
pub const METADATA_KEY: &str = "tidemill.modifier";

/// Precision and scale of a numeric declared without any.
pub const NUMERIC_DEFAULT: (u8, i8) = (38, 16);

/// The time zone of every TIMESTAMP WITH TIME ZONE column inside.
pub const UTC: &str = "+00:00";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SqlType {
    Boolean,
    SmallInt,
    Integer,
    BigInt,
    Real,
    Double,
    /// Precision 1-38, scale 0-precision.
    Numeric(u8, i8),
    Text,
    /// Length in characters, if declared.
    Varchar(Option<u32>),
    Bytea,
    Date,
    /// Digits of a second kept, 0-6.
    Timestamp(u8),
    TimestampTz(u8),
    /// Of a day, up to 24:00:00. Digits of a second kept, 0-6.
    Time(u8),
    Interval,
    Uuid,
    Jsonb,
    /// Flink's ROW<name type, ...>.
    Row(Vec<(String, SqlType)>),
    /// Elements may be null.
    Array(Box<SqlType>),
}

impl SqlType {
    pub fn to_arrow(&self) -> DataType {
        match self {
            SqlType::Boolean => DataType::Boolean,
            SqlType::SmallInt => DataType::Int16,
            SqlType::Integer => DataType::Int32,
            SqlType::BigInt => DataType::Int64,
            SqlType::Real => DataType::Float32,
            SqlType::Double => DataType::Float64,
            SqlType::Numeric(p, s) => DataType::Decimal128(*p, *s),
            SqlType::Text | SqlType::Varchar(_) => DataType::Utf8View,
            SqlType::Bytea => DataType::BinaryView,
            SqlType::Date => DataType::Date32,
            SqlType::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
            SqlType::TimestampTz(_) => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            SqlType::Time(_) => DataType::Time64(TimeUnit::Microsecond),
            SqlType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            SqlType::Uuid => DataType::FixedSizeBinary(uuid::BYTES),
            SqlType::Jsonb => DataType::LargeBinary,
            SqlType::Row(fields) => DataType::Struct(fields.iter().map(|(n, t)| t.field(n)).collect::<Fields>()),
            SqlType::Array(item) => DataType::List(Arc::new(item.field("item"))),
        }
    }

    /// A nullable field of this type.
    pub fn field(&self, name: &str) -> Field {
        let field = Field::new(name, self.to_arrow(), true);
        match self.modifier() {
            Some(m) => field.with_metadata(HashMap::from([(METADATA_KEY.to_string(), m)])),
            None => field,
        }
    }

    /// What [`SqlType::to_arrow`] loses, if anything.
    fn modifier(&self) -> Option<String> {
        match self {
            SqlType::Varchar(None) => Some("varchar".into()),
            SqlType::Varchar(Some(n)) => Some(format!("varchar({n})")),
            SqlType::Timestamp(p) | SqlType::TimestampTz(p) | SqlType::Time(p) if *p != 6 => {
                Some(format!("precision({p})"))
            }
            _ => None,
        }
    }

    /// The SQL type of an Arrow field; of types that only arise inside expressions, the nearest one.
    pub fn from_field(field: &Field) -> SqlType {
        let modifier = field.metadata().get(METADATA_KEY).map(String::as_str);
        let argument = |prefix: &str| -> Option<u32> {
            modifier?.strip_prefix(prefix)?.strip_prefix('(')?.strip_suffix(')')?.parse().ok()
        };
        match (SqlType::from_arrow(field.data_type()), modifier) {
            (SqlType::Text, Some("varchar")) => SqlType::Varchar(None),
            (SqlType::Text, Some(_)) => argument("varchar").map_or(SqlType::Text, |n| SqlType::Varchar(Some(n))),
            (SqlType::Timestamp(p), Some(_)) => SqlType::Timestamp(argument("precision").map_or(p, |p| p as u8)),
            (SqlType::TimestampTz(p), Some(_)) => SqlType::TimestampTz(argument("precision").map_or(p, |p| p as u8)),
            (SqlType::Time(p), Some(_)) => SqlType::Time(argument("precision").map_or(p, |p| p as u8)),
            (plain, _) => plain,
        }
    }

    pub fn from_arrow(data_type: &DataType) -> SqlType {
        use DataType as D;
        match data_type {
            D::Boolean => SqlType::Boolean,
            D::Int8 | D::UInt8 | D::Int16 => SqlType::SmallInt,
            D::UInt16 | D::Int32 => SqlType::Integer,
            D::UInt32 | D::Int64 => SqlType::BigInt,
            D::UInt64 => SqlType::Numeric(20, 0),
            D::Float16 | D::Float32 => SqlType::Real,
            D::Float64 => SqlType::Double,
            D::Decimal32(p, s) | D::Decimal64(p, s) | D::Decimal128(p, s) | D::Decimal256(p, s) => {
                SqlType::Numeric(*p, *s)
            }
            D::FixedSizeBinary(uuid::BYTES) => SqlType::Uuid,
            D::LargeBinary => SqlType::Jsonb,
            D::Binary | D::BinaryView | D::FixedSizeBinary(_) => SqlType::Bytea,
            D::Date32 | D::Date64 => SqlType::Date,
            D::Timestamp(_, None) => SqlType::Timestamp(6),
            D::Timestamp(_, Some(_)) => SqlType::TimestampTz(6),
            D::Time32(_) | D::Time64(_) => SqlType::Time(6),
            D::Interval(_) | D::Duration(_) => SqlType::Interval,
            D::Struct(fields) => {
                SqlType::Row(fields.iter().map(|f| (f.name().clone(), SqlType::from_field(f))).collect())
            }
            D::List(f) | D::LargeList(f) | D::FixedSizeList(f, _) | D::ListView(f) | D::LargeListView(f) => {
                SqlType::Array(Box::new(SqlType::from_field(f)))
            }
            D::Dictionary(_, value) => SqlType::from_arrow(value),
            _ => SqlType::Text,
        }
    }

    /// Microseconds in one unit of an event-time type: the distance between a window's end and its last instant.
    pub fn time_unit_micros(&self) -> Option<i64> {
        match self {
            SqlType::Timestamp(p) | SqlType::TimestampTz(p) => Some(if *p <= 3 { 1_000 } else { 1 }),
            _ => None,
        }
    }

    /// PostgreSQL's object id of the type (`pg_type.oid`).
    pub fn oid(&self) -> u32 {
        match self {
            SqlType::Boolean => 16,
            SqlType::Bytea => 17,
            SqlType::BigInt => 20,
            SqlType::SmallInt => 21,
            SqlType::Integer => 23,
            SqlType::Text => 25,
            SqlType::Real => 700,
            SqlType::Double => 701,
            SqlType::Varchar(_) => 1043,
            SqlType::Date => 1082,
            SqlType::Time(_) => 1083,
            SqlType::Timestamp(_) => 1114,
            SqlType::TimestampTz(_) => 1184,
            SqlType::Interval => 1186,
            SqlType::Numeric(..) => 1700,
            SqlType::Row(_) => 2249,
            SqlType::Uuid => 2950,
            SqlType::Jsonb => 3802,
            SqlType::Array(item) => match **item {
                SqlType::Boolean => 1000,
                SqlType::Bytea => 1001,
                SqlType::SmallInt => 1005,
                SqlType::Integer => 1007,
                SqlType::Text => 1009,
                SqlType::Varchar(_) => 1015,
                SqlType::BigInt => 1016,
                SqlType::Real => 1021,
                SqlType::Double => 1022,
                SqlType::Timestamp(_) => 1115,
                SqlType::Date => 1182,
                SqlType::Time(_) => 1183,
                SqlType::TimestampTz(_) => 1185,
                SqlType::Interval => 1187,
                SqlType::Numeric(..) => 1231,
                SqlType::Uuid => 2951,
                SqlType::Jsonb => 3807,
                SqlType::Row(_) => 2287,
                // As in PostgreSQL, an array of arrays is of the same type.
                SqlType::Array(_) => item.oid(),
            },
        }
    }

    /// PostgreSQL's `atttypmod` of the type; -1 if it has none.
    pub fn typmod(&self) -> i32 {
        match self {
            SqlType::Numeric(p, s) => ((i32::from(*p) << 16) | (i32::from(*s) & 0x7ff)) + 4,
            SqlType::Varchar(Some(n)) => i32::try_from(*n).unwrap_or(i32::MAX - 4) + 4,
            SqlType::Timestamp(p) | SqlType::TimestampTz(p) | SqlType::Time(p) if *p != 6 => i32::from(*p),
            _ => -1,
        }
    }
}

/// Appends to a text or a buffer, which does not fail.
fn put(out: &mut impl Write, text: &str) {
    let _ = out.write_str(text);
}

/// As PostgreSQL's `format_type` prints it.
impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let precision = |p: &u8| if *p == 6 { String::new() } else { format!("({p})") };
        match self {
            SqlType::Boolean => f.write_str("boolean"),
            SqlType::SmallInt => f.write_str("smallint"),
            SqlType::Integer => f.write_str("integer"),
            SqlType::BigInt => f.write_str("bigint"),
            SqlType::Real => f.write_str("real"),
            SqlType::Double => f.write_str("double precision"),
            SqlType::Numeric(p, s) => write!(f, "numeric({p},{s})"),
            SqlType::Text => f.write_str("text"),
            SqlType::Varchar(None) => f.write_str("character varying"),
            SqlType::Varchar(Some(n)) => write!(f, "character varying({n})"),
            SqlType::Bytea => f.write_str("bytea"),
            SqlType::Date => f.write_str("date"),
            SqlType::Timestamp(p) => write!(f, "timestamp{} without time zone", precision(p)),
            SqlType::TimestampTz(p) => write!(f, "timestamp{} with time zone", precision(p)),
            SqlType::Time(p) => write!(f, "time{} without time zone", precision(p)),
            SqlType::Interval => f.write_str("interval"),
            SqlType::Uuid => f.write_str("uuid"),
            SqlType::Jsonb => f.write_str("jsonb"),
            SqlType::Row(fields) => {
                f.write_str("row(")?;
                for (i, (name, ty)) in fields.iter().enumerate() {
                    write!(f, "{}{name} {ty}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            SqlType::Array(item) => write!(f, "{item}[]"),
        }
    }
}

/// A declared column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub ty: SqlType,
    pub not_null: bool,
}

impl Column {
    /// The Arrow field. Always nullable: NOT NULL is checked where rows come in, and no plan relies on it.
    pub fn field(&self) -> Field {
        self.ty.field(&self.name)
    }

    /// What PostgreSQL says of a null in this column of `relation`, which is NOT NULL.
    pub fn null_violation(&self, relation: &str) -> Error {
        null_violation(&self.name, relation)
    }
}

/// The same, of a column by its name.
pub fn null_violation(column: &str, relation: &str) -> Error {
    let message = format!("null value in column \"{column}\" of relation \"{relation}\" violates not-null constraint");
    Error::new(SqlState::NotNullViolation, message)
}

/// The Arrow schema of declared columns.
pub fn schema_of(columns: &[Column]) -> arrow::datatypes::SchemaRef {
    Arc::new(arrow::datatypes::Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()))
}
