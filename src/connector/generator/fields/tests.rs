use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;
use crate::connector::generator::Stream;
use crate::connector::options::WithOption;
use crate::types::SqlType;

const ALONE: Stripe = Stripe { index: 0, partitions: 1, block: 1 };

fn fields(ty: &SqlType, options: &[(&str, &str)]) -> Result<Fields> {
    let columns = [Column { name: "c".into(), ty: ty.clone(), not_null: false }];
    let options = options.iter().map(|(k, v)| WithOption::new(&format!("fields.c.{k}"), v, 1));
    let mut options = OptionReader::new(options.collect())?;
    let made = Fields::new(&columns, 1, None, &mut options)?;
    options.finish()?;
    Ok(made)
}

/// The first `rows` values, between commas.
fn values(ty: SqlType, options: &[(&str, &str)], rows: u64) -> String {
    let made = fields(&ty, options).expect("a generator").make(ALONE, 0..rows, &[0]).expect("rows");
    assert_eq!(SqlType::from_field(made.schema().field(0)), ty);
    let format = FormatOptions::new().with_null("null");
    let column = ArrayFormatter::try_new(made.column(0), &format).expect("a formatter");
    (0..made.num_rows()).map(|row| column.value(row).to_string()).collect::<Vec<_>>().join(", ")
}

#[test]
fn sequences() {
    let check = |ty: SqlType, options: &[(&str, &str)], expected: &str| {
        let mut all = vec![("kind", "sequence")];
        all.extend(options);
        assert_eq!(values(ty, &all, 3), expected);
    };
    check(SqlType::BigInt, &[], "1, 2, 3");
    check(SqlType::SmallInt, &[("start", "-5"), ("step", "-1")], "-5, -6, -7");
    check(SqlType::Numeric(8, 2), &[("start", "0.5"), ("step", "0.25")], "0.50, 0.75, 1.00");
    check(SqlType::Double, &[("start", "1.5")], "1.5, 2.5, 3.5");
    check(SqlType::Text, &[("prefix", "user-")], "user-1, user-2, user-3");
    check(SqlType::Varchar(Some(30)), &[("start", "7")], "7, 8, 9");
    check(SqlType::Date, &[("start", "2026-02-28")], "2026-02-28, 2026-03-01, 2026-03-02");
    check(
        SqlType::Timestamp(3),
        &[("start", "2026-01-01 00:00:00"), ("step", "1500 us")],
        "2026-01-01T00:00:00, 2026-01-01T00:00:00.001, 2026-01-01T00:00:00.003",
    );
    check(SqlType::TimestampTz(6), &[], "2026-01-01T00:00:00Z, 2026-01-01T00:00:00.001Z, 2026-01-01T00:00:00.002Z");
    check(SqlType::Interval, &[("step", "1 min")], "0 secs, 1 mins, 2 mins");
}

#[test]
fn cycles_and_choices() {
    assert_eq!(values(SqlType::Text, &[("kind", "cycle"), ("values", "a, b")], 5), "a, b, a, b, a");
    assert_eq!(values(SqlType::Boolean, &[("kind", "cycle"), ("values", "true,false")], 3), "true, false, true");
    assert_eq!(values(SqlType::Numeric(4, 1), &[("kind", "cycle"), ("values", "1.5,2")], 2), "1.5, 2.0");
    let chosen = values(SqlType::Integer, &[("values", "10,20,30")], 300);
    let mut counts = std::collections::BTreeMap::new();
    chosen.split(", ").for_each(|value| *counts.entry(value.to_string()).or_insert(0) += 1);
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["10", "20", "30"]);
    assert!(counts.values().all(|count| *count > 70), "{counts:?}");
}

#[test]
fn random_values_stay_in_their_range() {
    let check = |ty: SqlType, options: &[(&str, &str)], fits: &dyn Fn(&str) -> bool| {
        let all = values(ty.clone(), options, 500);
        let distinct: std::collections::HashSet<&str> = all.split(", ").collect();
        assert!(distinct.len() > 1 && distinct.iter().all(|v| fits(v)), "{ty}: {distinct:?}");
    };
    let between = |from: f64, to: f64| move |v: &str| (from..=to).contains(&v.parse::<f64>().unwrap());
    check(SqlType::BigInt, &[("min", "5"), ("max", "9")], &between(5.0, 9.0));
    check(SqlType::SmallInt, &[], &between(0.0, 32_767.0));
    check(SqlType::BigInt, &[("min", "-9223372036854775808"), ("max", "9223372036854775807")], &|v| {
        v.parse::<i64>().is_ok()
    });
    check(SqlType::Numeric(38, 16), &[("max", "1000")], &between(0.0, 1000.0));
    check(SqlType::Numeric(4, 2), &[("min", "-1")], &between(-1.0, 99.99));
    check(SqlType::Double, &[("min", "2"), ("max", "3")], &between(2.0, 3.0));
    check(SqlType::Real, &[], &between(0.0, 1.0));
    check(SqlType::Boolean, &[], &|v| v == "true" || v == "false");
    check(SqlType::Text, &[("length", "3")], &|v| v.len() == 3 && v.bytes().all(|b| b.is_ascii_lowercase()));
    check(SqlType::Text, &[("prefix", "c"), ("max", "9")], &|v| v.len() == 2 && v.starts_with('c'));
    check(SqlType::Varchar(Some(4)), &[], &|v| v.len() == 4);
    check(SqlType::Bytea, &[("length", "2")], &|v| v.len() == 4);
    check(SqlType::Date, &[("min", "2026-01-01"), ("max", "2026-01-09")], &|v| v.starts_with("2026-01-0"));
    check(SqlType::Timestamp(3), &[("kind", "random")], &|v| v.starts_with("2026-"));
    check(SqlType::Interval, &[("max", "10 s")], &|v| v.ends_with("secs"));
}

#[test]
fn nulls_and_the_past() {
    let some = values(SqlType::Integer, &[("kind", "sequence"), ("null-rate", "0.3")], 1_000);
    let nulls = some.split(", ").filter(|v| *v == "null").count();
    assert!((250..350).contains(&nulls), "{nulls}");
    assert_eq!(values(SqlType::Text, &[("null-rate", "1")], 2), "null, null");
    let late = values(SqlType::Timestamp(3), &[("step", "0"), ("max-past", "5 s")], 200);
    let times: Vec<&str> = late.split(", ").collect();
    assert!(times.iter().all(|t| ("2025-12-31T23:59:55"..="2026-01-01T00:00:00").contains(t)), "{times:?}");
    assert!(!times.is_sorted() && times.iter().any(|t| *t < "2025-12-31T23:59:56"));
}

#[test]
fn a_row_is_the_same_in_any_chunk_and_partition() {
    for ty in [SqlType::BigInt, SqlType::Text, SqlType::Bytea, SqlType::Double, SqlType::Numeric(30, 2)] {
        let made = fields(&ty, &[("null-rate", "0.1")]).expect("a generator");
        let whole = made.make(ALONE, 0..100, &[0]).expect("rows");
        let piece = made.make(ALONE, 40..60, &[0]).expect("rows");
        assert_eq!(piece.column(0).as_ref(), whole.column(0).slice(40, 20).as_ref());
        let third = made.make(Stripe { index: 2, partitions: 3, block: 1 }, 5..6, &[0]).expect("rows");
        assert_eq!(third.column(0).as_ref(), whole.column(0).slice(17, 1).as_ref());
    }
}

#[test]
fn a_sequence_ends() {
    let ends_at = |options: &[(&str, &str)]| {
        let mut all = vec![("kind", "sequence")];
        all.extend(options);
        fields(&SqlType::Integer, &all).map(|f| f.ends_at())
    };
    assert_eq!(ends_at(&[]).expect("endless"), None);
    assert_eq!(ends_at(&[("start", "1"), ("end", "10")]).expect("ten"), Some(10));
    assert_eq!(ends_at(&[("start", "1"), ("end", "10"), ("step", "4")]).expect("1, 5, 9"), Some(3));
    assert_eq!(ends_at(&[("start", "3"), ("end", "1"), ("step", "-1")]).expect("3, 2, 1"), Some(3));
    assert_eq!(ends_at(&[("start", "3"), ("end", "3")]).expect("3"), Some(1));
    assert!(ends_at(&[("start", "3"), ("end", "1")]).is_err());
    assert!(ends_at(&[("start", "3"), ("end", "4"), ("step", "0")]).is_err());
    let made = fields(&SqlType::SmallInt, &[("kind", "sequence"), ("start", "32767")]).expect("a generator");
    let e = made.make(ALONE, 0..2, &[0]).expect_err("out of range");
    assert_eq!(
        (e.state().code(), e.message(), e.detail()),
        ("22003", "column \"c\" of the generator is out of range for type smallint", Some("This happened in row 1."))
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let check = |ty: SqlType, options: &[(&str, &str)], expected: &str| {
        let e = fields(&ty, options).expect_err("refused");
        assert_eq!(format!("{} {} | {}", e.state().code(), e.message(), e.hint().unwrap_or("")), expected);
    };
    check(
        SqlType::BigInt,
        &[("kind", "sequense")],
        "22023 invalid value for option \"fields.c.kind\": \"sequense\" | Perhaps you meant \"sequence\". \
         Possible values are \"random\", \"sequence\", \"cycle\".",
    );
    check(
        SqlType::SmallInt,
        &[("max", "100000")],
        "22023 invalid value for option \"fields.c.max\": \"100000\" | Expected a value of type smallint.",
    );
    check(
        SqlType::BigInt,
        &[("min", "5"), ("max", "4")],
        "22023 min is greater than max for column \"c\" | Change one of the two.",
    );
    check(
        SqlType::Timestamp(3),
        &[("step", "10")],
        "22023 invalid value for option \"fields.c.step\": \"10\" | \
         Expected a duration with its unit, such as '10 s', '500 ms' or '1 minute'.",
    );
    check(
        SqlType::Text,
        &[("kind", "cycle")],
        "22023 option \"fields.c.values\" is required | Add 'fields.c.values' = '...' to the WITH clause.",
    );
    check(
        SqlType::Integer,
        &[("values", "1,two")],
        "22023 invalid value for option \"fields.c.values\": \"1,two\" | \
         Expected values of type integer between commas.",
    );
    check(
        SqlType::Boolean,
        &[("kind", "sequence")],
        "22023 type boolean has no sequence for column \"c\" | Use 'random' or 'cycle'.",
    );
    check(
        SqlType::Varchar(Some(3)),
        &[("length", "4")],
        "22023 invalid value for option \"fields.c.length\": \"4\" | Expected an integer between 0 and 3.",
    );
    check(
        SqlType::Varchar(Some(5)),
        &[("prefix", "user-"), ("max", "9")],
        "22023 values do not fit into character varying(5) for column \"c\" | They may have 6 characters.",
    );
    check(
        SqlType::BigInt,
        &[("lenght", "4")],
        "22023 unknown option \"fields.c.lenght\" | Known options are fields.c.kind, fields.c.values, fields.c.min, \
         fields.c.max, fields.c.null-rate.",
    );
    check(
        SqlType::Array(Box::new(SqlType::Integer)),
        &[],
        "0A000 a generator cannot fill column \"c\" of type integer[] | \
         Declare columns of scalar types, and combine them in the query.",
    );
}
