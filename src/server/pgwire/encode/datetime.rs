//! Dates, times, timestamps and intervals as PostgreSQL packs them.

use bytes::{BufMut, BytesMut};

use crate::clock::{MICROS_PER_DAY, Micros};

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL's binary dates begin.
const POSTGRES_EPOCH_DAYS: i32 = 10_957;

pub fn date_binary(days: i32, out: &mut BytesMut) {
    out.put_i32(match days {
        i32::MAX | i32::MIN => days,
        _ => days.saturating_sub(POSTGRES_EPOCH_DAYS),
    });
}

pub fn timestamp_binary(micros: Micros, out: &mut BytesMut) {
    out.put_i64(match micros {
        i64::MAX | i64::MIN => micros,
        _ => micros.saturating_sub(i64::from(POSTGRES_EPOCH_DAYS) * MICROS_PER_DAY),
    });
}

/// The inverse of [`date_binary`].
pub fn date_from_binary(days: i32) -> i32 {
    if days == i32::MAX || days == i32::MIN { days } else { days.saturating_add(POSTGRES_EPOCH_DAYS) }
}

/// The inverse of [`timestamp_binary`].
pub fn timestamp_from_binary(micros: i64) -> Micros {
    let epoch = i64::from(POSTGRES_EPOCH_DAYS) * MICROS_PER_DAY;
    if micros == i64::MAX || micros == i64::MIN { micros } else { micros.saturating_add(epoch) }
}

pub fn interval_binary(months: i32, days: i32, nanos: i64, out: &mut BytesMut) {
    out.put_i64(nanos / 1_000);
    out.put_i32(days);
    out.put_i32(months);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_epochs() {
        let mut out = BytesMut::new();
        date_binary(10_957, &mut out);
        date_binary(i32::MAX, &mut out);
        timestamp_binary(946_684_800_000_001, &mut out);
        timestamp_binary(i64::MIN, &mut out);
        assert_eq!(&out[..8], &[0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(&out[8..16], &1i64.to_be_bytes());
        assert_eq!(&out[16..], &i64::MIN.to_be_bytes());
        assert_eq!(timestamp_from_binary(1), 946_684_800_000_001);
        assert_eq!(date_from_binary(0), 10_957);
    }
}
