//! How a result's column is announced: PostgreSQL's object id, length and modifier of its type.

use arrow::datatypes::Field;

use crate::types::{METADATA_KEY, SqlType};

/// A type as the wire knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireType {
    pub sql: SqlType,
    pub oid: u32,
    /// Bytes of a value; -1: it varies.
    pub length: i16,
    /// PostgreSQL's `atttypmod`; -1: none.
    pub modifier: i32,
}

impl WireType {
    pub fn of(field: &Field) -> Self {
        let sql = SqlType::from_field(field);
        let plain = WireType { oid: sql.oid(), length: length(&sql), modifier: modifier(&sql), sql };
        // The system catalogs have types of their own, which only their columns use.
        match field.metadata().get(METADATA_KEY).map(String::as_str) {
            Some("oid") => WireType { oid: OID, length: 4, ..plain },
            Some("name") => WireType { oid: 19, length: 64, ..plain },
            Some("char") => WireType { oid: 18, length: 1, ..plain },
            _ => plain,
        }
    }
}

/// The type `oid` itself: four bytes in binary, though eight inside.
pub const OID: u32 = 26;

fn length(ty: &SqlType) -> i16 {
    match ty {
        SqlType::Boolean => 1,
        SqlType::SmallInt => 2,
        SqlType::Integer | SqlType::Real | SqlType::Date => 4,
        SqlType::BigInt | SqlType::Double | SqlType::Timestamp(_) | SqlType::TimestampTz(_) | SqlType::Time(_) => 8,
        SqlType::Interval | SqlType::Uuid => 16,
        _ => -1,
    }
}

/// `atttypmod` of a type, as PostgreSQL packs it.
fn modifier(ty: &SqlType) -> i32 {
    match ty {
        SqlType::Varchar(Some(n)) => i32::try_from(*n).map_or(-1, |n| n.saturating_add(4)),
        SqlType::Numeric(p, s) => ((i32::from(*p) << 16) | (i32::from(*s) & 0x7ff)) + 4,
        SqlType::Timestamp(p) | SqlType::TimestampTz(p) | SqlType::Time(p) if *p < 6 => i32::from(*p),
        SqlType::Array(item) => modifier(item),
        _ => -1,
    }
}

/// The type a client names for a parameter; `None` where it leaves the choice to us (0, `unknown`) or names one that we
/// take as text.
pub fn parameter_type(oid: u32) -> Option<SqlType> {
    Some(match oid {
        16 => SqlType::Boolean,
        17 => SqlType::Bytea,
        20 | OID => SqlType::BigInt,
        21 => SqlType::SmallInt,
        23 => SqlType::Integer,
        18 | 19 | 25 | 1042 | 1043 => SqlType::Text,
        700 => SqlType::Real,
        701 => SqlType::Double,
        1082 => SqlType::Date,
        1083 => SqlType::Time(6),
        1114 => SqlType::Timestamp(6),
        1184 => SqlType::TimestampTz(6),
        1186 => SqlType::Interval,
        2950 => SqlType::Uuid,
        3802 => SqlType::Jsonb,
        1700 => SqlType::Numeric(crate::types::NUMERIC_DEFAULT.0, crate::types::NUMERIC_DEFAULT.1),
        1000 => SqlType::Array(Box::new(SqlType::Boolean)),
        1001 => SqlType::Array(Box::new(SqlType::Bytea)),
        1005 => SqlType::Array(Box::new(SqlType::SmallInt)),
        1007 => SqlType::Array(Box::new(SqlType::Integer)),
        1009 | 1015 => SqlType::Array(Box::new(SqlType::Text)),
        1016 => SqlType::Array(Box::new(SqlType::BigInt)),
        1021 => SqlType::Array(Box::new(SqlType::Real)),
        1022 => SqlType::Array(Box::new(SqlType::Double)),
        1115 => SqlType::Array(Box::new(SqlType::Timestamp(6))),
        1182 => SqlType::Array(Box::new(SqlType::Date)),
        1183 => SqlType::Array(Box::new(SqlType::Time(6))),
        1185 => SqlType::Array(Box::new(SqlType::TimestampTz(6))),
        1187 => SqlType::Array(Box::new(SqlType::Interval)),
        2951 => SqlType::Array(Box::new(SqlType::Uuid)),
        3807 => SqlType::Array(Box::new(SqlType::Jsonb)),
        1231 => SqlType::Array(Box::new(parameter_type(1700)?)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_as_postgresql_does() {
        let check = |ty: SqlType, oid, length, modifier| {
            let wire = WireType::of(&ty.field("x"));
            assert_eq!((wire.oid, wire.length, wire.modifier), (oid, length, modifier), "{ty}");
        };
        check(SqlType::Integer, 23, 4, -1);
        check(SqlType::Numeric(12, 2), 1700, -1, 786_438);
        check(SqlType::Varchar(Some(10)), 1043, -1, 14);
        check(SqlType::Timestamp(3), 1114, 8, 3);
        check(SqlType::Timestamp(6), 1114, 8, -1);
        check(SqlType::Array(Box::new(SqlType::Text)), 1009, -1, -1);
        check(SqlType::Uuid, 2950, 16, -1);
        check(SqlType::Time(3), 1083, 8, 3);
        check(SqlType::Jsonb, 3802, -1, -1);
        check(SqlType::Array(Box::new(SqlType::Array(Box::new(SqlType::Uuid)))), 2951, -1, -1);
    }
}
