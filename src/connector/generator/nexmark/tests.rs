use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};

use super::*;
use crate::connector::generator::Stream;
use crate::connector::options::WithOption;

const ALONE: Stripe = Stripe { index: 0, partitions: 1, block: PERIOD };

fn columns(declared: &[(&str, SqlType)]) -> Vec<Column> {
    declared.iter().map(|(name, ty)| Column { name: (*name).into(), ty: ty.clone(), not_null: false }).collect()
}

fn nexmark(declared: &[(&str, SqlType)], options: &[(&str, &str)]) -> Result<Nexmark> {
    let options = options.iter().map(|(k, v)| WithOption::new(k, v, 1)).collect();
    let mut options = OptionReader::new(options)?;
    let made = Nexmark::new(&columns(declared), 42, &mut options)?;
    options.finish()?;
    Ok(made)
}

fn bid_columns() -> Vec<(&'static str, SqlType)> {
    vec![
        ("auction", SqlType::BigInt),
        ("bidder", SqlType::BigInt),
        ("price", SqlType::BigInt),
        ("channel", SqlType::Text),
        ("url", SqlType::Varchar(None)),
        ("dateTime", SqlType::Timestamp(3)),
        ("extra", SqlType::Text),
    ]
}

fn auction_columns() -> Vec<(&'static str, SqlType)> {
    vec![
        ("id", SqlType::BigInt),
        ("itemName", SqlType::Text),
        ("description", SqlType::Text),
        ("initialBid", SqlType::BigInt),
        ("reserve", SqlType::BigInt),
        ("dateTime", SqlType::Timestamp(3)),
        ("expires", SqlType::TimestampTz(3)),
        ("seller", SqlType::BigInt),
        ("category", SqlType::BigInt),
        ("extra", SqlType::Text),
    ]
}

fn person_columns() -> Vec<(&'static str, SqlType)> {
    vec![
        ("id", SqlType::BigInt),
        ("name", SqlType::Text),
        ("emailAddress", SqlType::Text),
        ("creditCard", SqlType::Text),
        ("city", SqlType::Text),
        ("state", SqlType::Text),
        ("dateTime", SqlType::Timestamp(6)),
        ("extra", SqlType::Text),
    ]
}

fn wide_columns() -> Vec<(&'static str, SqlType)> {
    let row = |fields: Vec<(&str, SqlType)>| SqlType::Row(fields.into_iter().map(|(n, t)| (n.into(), t)).collect());
    vec![
        ("event_type", SqlType::Integer),
        ("person", row(person_columns())),
        ("auction", row(auction_columns())),
        ("bid", row(bid_columns())),
        ("dateTime", SqlType::Timestamp(3)),
    ]
}

fn all(stream: &Nexmark, stripe: Stripe, events: Range<u64>) -> RecordBatch {
    let columns: Vec<usize> = (0..stream.schema.fields().len()).collect();
    stream.make(stripe, events, &columns).expect("rows")
}

fn flat(table: &str) -> Nexmark {
    let declared = match table {
        "bid" => bid_columns(),
        "auction" => auction_columns(),
        _ => person_columns(),
    };
    nexmark(&declared, &[("nexmark.table", table)]).expect("a stream")
}

#[test]
fn any_cut_gives_the_same_events() {
    let streams = [flat("bid"), flat("auction"), flat("person"), nexmark(&wide_columns(), &[]).expect("a stream")];
    for stream in streams {
        let whole = all(&stream, ALONE, 0..1_000);
        for width in [1, 7, 49, 50, 51, 333] {
            let cuts =
                (0..1_000).step_by(width).map(|from| all(&stream, ALONE, from..(from + width as u64).min(1_000)));
            let joined = compute::concat_batches(&whole.schema(), &cuts.collect::<Vec<_>>()).expect("joined");
            assert_eq!(joined, whole, "in pieces of {width}");
        }
    }
}

#[test]
fn any_partitioning_gives_the_same_events() {
    let stream = flat("bid");
    let whole = all(&stream, ALONE, 0..1_500);
    for partitions in [2, 3, 4] {
        for index in 0..partitions {
            let stripe = Stripe { index, partitions, block: PERIOD };
            let part = all(&stream, stripe, 0..stripe.local(1_500));
            let periods = (0..30_usize).filter(|period| *period as u64 % partitions == index);
            let expected: Vec<RecordBatch> = periods.map(|period| whole.slice(46 * period, 46)).collect();
            let expected = compute::concat_batches(&whole.schema(), &expected).expect("joined");
            assert_eq!(part, expected, "partition {index} of {partitions}");
        }
    }
}

#[test]
fn only_the_wanted_columns_are_made_and_they_are_the_same() {
    let stream = flat("auction");
    let whole = all(&stream, ALONE, 0..200);
    for column in 0..whole.num_columns() {
        let one = stream.make(ALONE, 0..200, &[column]).expect("rows");
        assert_eq!(one, whole.project(&[column]).expect("projected"));
    }
    let none = stream.make(ALONE, 0..200, &[]).expect("rows");
    assert_eq!((none.num_columns(), none.num_rows()), (0, 12));
}

#[test]
fn one_person_three_auctions_forty_six_bids() {
    let wide = all(&nexmark(&wide_columns(), &[]).expect("a stream"), ALONE, 0..5_000);
    let types = wide.column(0).as_primitive::<Int32Type>();
    let count = |wanted: i32| types.values().iter().filter(|t| **t == wanted).count();
    assert_eq!((count(0), count(1), count(2)), (100, 300, 4_600));
    for (column, kind, table) in [(1, 0, "person"), (2, 1, "auction"), (3, 2, "bid")] {
        let rows = wide.column(column);
        assert!((0..5_000).all(|row| rows.is_valid(row) == (types.value(row) == kind)));
        let mine = arrow::compute::is_not_null(rows).expect("a mask");
        let mine = compute::filter(rows, &mine).expect("filtered");
        let alone = all(&flat(table), ALONE, 0..5_000);
        assert_eq!(mine.as_struct().columns(), alone.columns(), "{table}");
    }
}

#[test]
fn what_a_stream_of_bids_looks_like() {
    let bids = all(&flat("bid"), ALONE, 1_000_000..1_100_000);
    assert_eq!(bids.num_rows(), 92_000);
    let auctions = bids.column(0).as_primitive::<Int64Type>();
    let hot = auctions.values().iter().filter(|a| **a % 100 == 0).count() as f64 / 92_000.0;
    assert!((0.49..0.53).contains(&hot), "share of hot auctions: {hot}");
    let bidders = bids.column(1).as_primitive::<Int64Type>();
    let hot = bidders.values().iter().filter(|b| **b % 100 == 1).count() as f64 / 92_000.0;
    assert!((0.74..0.78).contains(&hot), "share of hot bidders: {hot}");
    let times = bids.column(5).as_primitive::<TimestampMicrosecondType>();
    assert!(times.values().windows(2).all(|t| t[0] <= t[1]));
    assert_eq!((times.value(0), times.value(91_999)), (BASE_TIME + 10_000_000, BASE_TIME + 10_999_000));
    let extra = bids.column(6).as_string_view();
    let bytes = 32 + extra.iter().flatten().map(str::len).sum::<usize>() / 92_000;
    assert!((95..105).contains(&bytes), "{bytes} bytes a bid");
}

#[test]
fn auctions_are_sold_by_people_and_end_later() {
    let auctions = all(&flat("auction"), ALONE, 0..500_000);
    let column = |name: &str| Arc::clone(auctions.column_by_name(name).expect("a column"));
    let (initial, reserve) = (column("initialBid"), column("reserve"));
    let pairs = initial.as_primitive::<Int64Type>().values().iter().zip(reserve.as_primitive::<Int64Type>().values());
    assert!(pairs.clone().count() == 30_000 && pairs.clone().all(|(i, r)| r > i));
    let (from, to) = (column("dateTime"), column("expires"));
    let from = from.as_primitive::<TimestampMicrosecondType>().values().iter();
    let lives: Vec<i64> =
        from.zip(to.as_primitive::<TimestampMicrosecondType>().values()).map(|(f, t)| t - f).collect();
    assert!(lives.iter().all(|l| (1_000..=34_000).contains(l)));
    let categories: std::collections::BTreeSet<i64> =
        column("category").as_primitive::<Int64Type>().values().iter().copied().collect();
    assert_eq!(categories.into_iter().collect::<Vec<_>>(), [10, 11, 12, 13, 14]);
}

#[test]
fn seeds_and_rates_matter() {
    let declared = [("auction", SqlType::BigInt), ("dateTime", SqlType::Timestamp(3))];
    let make = |seed: u64, options: &[(&str, &str)]| {
        let mut all = vec![WithOption::new("nexmark.table", "bid", 1)];
        all.extend(options.iter().map(|(k, v)| WithOption::new(k, v, 1)));
        let mut options = OptionReader::new(all).expect("options");
        let stream = Nexmark::new(&columns(&declared), seed, &mut options).expect("a stream");
        self::all(&stream, ALONE, 0..100)
    };
    assert_ne!(make(1, &[]).column(0), make(2, &[]).column(0));
    let slow = make(1, &[("nexmark.event-rate", "10"), ("nexmark.base-time", "1970-01-02")]);
    let times = slow.column(1).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.value(0), 86_400_000_000 + 400_000);
}

#[test]
fn what_does_not_fit_is_refused() {
    let check = |declared: &[(&str, SqlType)], options: &[(&str, &str)], expected: &str| {
        let e = nexmark(declared, options).expect_err("refused");
        assert_eq!(format!("{} {} | {}", e.state().code(), e.message(), e.hint().unwrap_or("")), expected);
    };
    let bid = [("nexmark.table", "bid")];
    check(
        &[("pryce", SqlType::BigInt)],
        &bid,
        "42703 a nexmark bid has no column \"pryce\" | Perhaps you meant \"price\".",
    );
    check(
        &[("colour", SqlType::BigInt)],
        &bid,
        "42703 a nexmark bid has no column \"colour\" | \
         Its columns are auction, bidder, price, channel, url, datetime, extra.",
    );
    check(
        &[("price", SqlType::Integer)],
        &bid,
        "42804 column \"price\" of a nexmark generator is bigint, but is declared as integer | \
         Change the declared type, and CAST in the query.",
    );
    check(
        &[("bid", SqlType::Row(vec![("url", SqlType::BigInt)].into_iter().map(|(n, t)| (n.into(), t)).collect()))],
        &[],
        "42804 column \"bid.url\" of a nexmark generator is text, but is declared as bigint | \
         Change the declared type, and CAST in the query.",
    );
    check(
        &[("price", SqlType::BigInt)],
        &[],
        "42703 a nexmark generator has no column \"price\" | Its columns are event_type, person, auction, bid and \
         dateTime; for flat columns add 'nexmark.table' = 'bid', 'auction' or 'person'.",
    );
    check(
        &bid_columns(),
        &[("nexmark.table", "bids")],
        "22023 invalid value for option \"nexmark.table\": \"bids\" | Perhaps you meant \"bid\". \
         Possible values are \"bid\", \"auction\", \"person\".",
    );
    check(
        &bid_columns(),
        &[("nexmark.table", "bid"), ("nexmark.base-time", "yesterday")],
        "22023 invalid value for option \"nexmark.base-time\": \"yesterday\" | \
         Expected a timestamp such as '2026-01-31 12:00:00'.",
    );
}
