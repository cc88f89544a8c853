//! Fast operators against obvious ones, on random changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};

use super::*;
use crate::change::consolidate::consolidate;
use crate::change::key::Direction;
use crate::operator::wall_clock::WallClock;
use crate::plan::{AggregateCall, AggregateFunction, Emit, EventTime, SortColumn, WindowKind, WindowSpec};

/// SplitMix64: enough to make tests differ, and the same everywhere.
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) key: Option<String>,
    pub(super) value: Option<i64>,
    /// A small multiple of a power of two, so that an obvious sum is exact.
    pub(super) float: Option<f64>,
    pub(super) flag: Option<bool>,
    pub(super) time: i64,
}

/// A key's and a group's answers, printed: what is compared.
pub(super) type Answers = BTreeMap<String, Vec<String>>;

pub(super) fn input_schema() -> SchemaRef {
    schema(&[
        ("k", SqlType::Text),
        ("v", SqlType::BigInt),
        ("f", SqlType::Double),
        ("flag", SqlType::Boolean),
        ("ts", SqlType::Timestamp(6)),
    ])
}

pub(super) fn calls() -> (Vec<AggregateCall>, Vec<(&'static str, SqlType)>) {
    use AggregateFunction as F;
    let call = |function, argument, filter| AggregateCall { filter, ..AggregateCall::new(function, argument) };
    let distinct =
        |function, argument, filter| AggregateCall { filter, distinct: true, ..AggregateCall::new(function, argument) };
    let calls = vec![
        call(F::Count, None, None),
        call(F::Count, Some(1), Some(3)),
        call(F::Sum, Some(1), None),
        call(F::Min, Some(1), Some(3)),
        call(F::Max, Some(1), None),
        call(F::Sum, Some(2), None),
        call(F::Min, Some(0), None),
        call(F::Max, Some(2), None),
        distinct(F::Count, Some(1), Some(3)),
        distinct(F::Sum, Some(1), None),
        distinct(F::Count, Some(0), None),
        distinct(F::Avg, Some(2), None),
        call(F::BoolAnd, Some(3), None),
        call(F::BoolOr, Some(3), None),
        call(F::VarSamp, Some(1), Some(3)),
        distinct(F::StddevPop, Some(1), None),
        call(F::StddevSamp, Some(2), None),
        AggregateCall {
            order: vec![SortColumn { column: 1, direction: Direction { descending: true, nulls_first: true } }],
            separator: Some(", ".into()),
            ..call(F::StringAgg, Some(0), Some(3))
        },
        AggregateCall { separator: Some("+".into()), ..distinct(F::StringAgg, Some(0), None) },
    ];
    let types = vec![
        ("count", SqlType::BigInt),
        ("count_v", SqlType::BigInt),
        ("sum_v", SqlType::Numeric(38, 0)),
        ("min_v", SqlType::BigInt),
        ("max_v", SqlType::BigInt),
        ("sum_f", SqlType::Double),
        ("min_k", SqlType::Text),
        ("max_f", SqlType::Double),
        ("distinct_v", SqlType::BigInt),
        ("sum_distinct_v", SqlType::Numeric(38, 0)),
        ("distinct_k", SqlType::BigInt),
        ("avg_distinct_f", SqlType::Double),
        ("all_flags", SqlType::Boolean),
        ("any_flag", SqlType::Boolean),
        ("var_v", SqlType::Numeric(38, 16)),
        ("stddev_distinct_v", SqlType::Numeric(38, 16)),
        ("stddev_f", SqlType::Double),
        ("keys_by_v", SqlType::Text),
        ("distinct_keys", SqlType::Text),
    ];
    (calls, types)
}

pub(super) fn batch(rows: &[(Row, i64)], judges: Option<&[i64]>) -> ChangeBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(r, _)| r.key.as_deref()).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|(r, _)| r.value).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(r, _)| r.float).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|(r, _)| r.flag).collect::<BooleanArray>()),
        Arc::new(rows.iter().map(|(r, _)| Some(r.time)).collect::<arrow::array::TimestampMicrosecondArray>()),
    ];
    let weights = rows.iter().any(|(_, w)| *w != 1).then(|| rows.iter().map(|(_, w)| *w).collect());
    let rows = RecordBatch::try_new(input_schema(), columns).unwrap();
    let judges = judges.map(|j| j.iter().copied().collect());
    ChangeBatch::new(rows, weights).unwrap().with_judges(judges).unwrap()
}

/// The answers over a group's rows, the obvious way.
pub(super) fn answer(rows: &[&Row]) -> Vec<String> {
    let print = |v: Option<String>| v.unwrap_or_else(|| "null".into());
    let values: Vec<i64> = rows.iter().filter_map(|r| r.value).collect();
    let flagged: Vec<i64> = rows.iter().filter(|r| r.flag == Some(true)).filter_map(|r| r.value).collect();
    let floats: Vec<f64> = rows.iter().filter_map(|r| r.float).collect();
    let flags: Vec<bool> = rows.iter().filter_map(|r| r.flag).collect();
    let distinct = |v: &[i64]| v.iter().copied().collect::<BTreeSet<i64>>().into_iter().collect::<Vec<i64>>();
    let mut distinct_floats = floats.clone();
    distinct_floats.sort_by(f64::total_cmp);
    distinct_floats.dedup();
    let average = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let keys: BTreeSet<&str> = rows.iter().filter_map(|r| r.key.as_deref()).collect();
    let named = rows.iter().filter(|r| r.flag == Some(true)).filter_map(|r| Some((r.value, r.key.as_deref()?)));
    let mut by_value: Vec<(Option<i64>, &str)> = named.collect();
    by_value.sort_by_key(|(value, key)| (value.is_some(), std::cmp::Reverse(*value), *key));
    let sum = |v: &[i64]| (!v.is_empty()).then(|| v.iter().map(|v| i128::from(*v)).sum::<i128>().to_string());
    vec![
        rows.len().to_string(),
        flagged.len().to_string(),
        print(sum(&values)),
        print(flagged.iter().min().map(i64::to_string)),
        print(values.iter().max().map(i64::to_string)),
        print((!floats.is_empty()).then(|| (floats.iter().sum::<f64>() + 0.0).to_string())),
        print(rows.iter().filter_map(|r| r.key.clone()).min()),
        print(floats.iter().copied().reduce(f64::max).map(|v| v.to_string())),
        distinct(&flagged).len().to_string(),
        print(sum(&distinct(&values))),
        rows.iter().filter_map(|r| r.key.as_ref()).collect::<BTreeSet<_>>().len().to_string(),
        print((!distinct_floats.is_empty()).then(|| (average(&distinct_floats) + 0.0).to_string())),
        print((!flags.is_empty()).then(|| flags.iter().all(|f| *f).to_string())),
        print((!flags.is_empty()).then(|| flags.iter().any(|f| *f).to_string())),
        print((flagged.len() > 1).then(|| variance(&flagged, 1).to_string())),
        print((!values.is_empty()).then(|| deviation(&distinct(&values)).to_string())),
        print((floats.len() > 1).then(|| {
            let (n, sum) = (floats.len() as f64, floats.iter().sum::<f64>());
            let squares = floats.iter().map(|f| f * f).sum::<f64>();
            ((n * squares - sum * sum) / (n * (n - 1.0))).sqrt().to_string()
        })),
        print((!by_value.is_empty()).then(|| by_value.iter().map(|(_, key)| *key).collect::<Vec<_>>().join(", "))),
        print((!keys.is_empty()).then(|| keys.into_iter().collect::<Vec<_>>().join("+"))),
    ]
}

/// Times 10^16, half up; `less`: 1 for a sample.
fn variance(values: &[i64], less: i128) -> i128 {
    let (n, sum) = (values.len() as i128, values.iter().map(|v| i128::from(*v)).sum::<i128>());
    let squares = values.iter().map(|v| i128::from(v * v)).sum::<i128>();
    let (numerator, divisor) = ((n * squares - sum * sum) * 10i128.pow(16), n * (n - less));
    (2 * numerator + divisor) / (2 * divisor)
}

/// Of a population, times 10^16, half up: found by halving.
fn deviation(values: &[i64]) -> i128 {
    let (n, sum) = (values.len() as i128, values.iter().map(|v| i128::from(*v)).sum::<i128>());
    let squares = values.iter().map(|v| i128::from(v * v)).sum::<i128>();
    let (square, unit) = (n * squares - sum * sum, 10i128.pow(16));
    // The greatest d with (2d - 1)^2 * n^2 <= 4 * square * unit^2.
    let (mut low, mut high) = (0, 100 * unit);
    while low < high {
        let middle = (low + high + 1) / 2;
        let twice = 2 * middle - 1;
        if twice * twice <= 4 * square * unit * unit / (n * n) { low = middle } else { high = middle - 1 }
    }
    low
}

fn cell(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "null".into();
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Decimal128(..) => array.as_primitive::<arrow::datatypes::Decimal128Type>().value(row).to_string(),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).to_string(),
        _ => array.as_string_view().value(row).to_string(),
    }
}

/// Applies a change to answers: each deletion finds its row, each insertion its place free.
pub(super) fn apply(answers: &mut Answers, change: &ChangeBatch, key_columns: usize) {
    let row_of = |row: usize| {
        let cells: Vec<String> = change.rows().columns().iter().map(|c| cell(c, row)).collect();
        (cells[..key_columns].join("|"), cells[key_columns..].to_vec())
    };
    for row in (0..change.num_rows()).filter(|r| change.weight(*r) < 0) {
        let (key, answer) = row_of(row);
        assert_eq!(change.weight(row), -1);
        assert_eq!(answers.remove(&key), Some(answer), "retracted {key}");
    }
    for row in (0..change.num_rows()).filter(|r| change.weight(*r) > 0) {
        let (key, answer) = row_of(row);
        assert_eq!(change.weight(row), 1);
        assert_eq!(answers.insert(key.clone(), answer), None, "twice: {key}");
    }
}

pub(super) fn random_row(random: &mut Random, keys: u64) -> Row {
    Row {
        key: (!random.one_in(10)).then(|| format!("key {}", "x".repeat(random.below(keys) as usize))),
        value: (!random.one_in(8)).then(|| random.below(20) as i64 - 10),
        float: (!random.one_in(8)).then(|| random.below(64) as f64 * 0.25 - 8.0),
        flag: (!random.one_in(4)).then(|| random.one_in(2)),
        time: random.below(200) as i64 - 100,
    }
}

fn group_by(rows: &[Row], key: impl Fn(&Row) -> String) -> Answers {
    let mut groups: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    rows.iter().for_each(|row| groups.entry(key(row)).or_default().push(row));
    groups.into_iter().map(|(key, rows)| (key, answer(&rows))).collect()
}

pub(super) fn print_key(row: &Row) -> String {
    row.key.clone().unwrap_or_else(|| "null".into())
}

#[test]
fn aggregates_follow_every_change() {
    for seed in 0..60 {
        for way in WAYS {
            let changing = if seed % 3 == 0 { Changelog::AppendOnly } else { Changelog::Changing };
            let mut random = Random(seed);
            let (aggregates, types) = calls();
            let output = schema(&[&[("k", SqlType::Text)], &types[..]].concat());
            let op = Op::Aggregate { keys: vec![0], aggregates, at_once: false };
            let ends = ((&input_schema(), changing), (&output, Changelog::Changing));
            let mut harness = Harness::new(op, ends.0, ends.1, way).unwrap();
            let (mut rows, mut shown): (Vec<Row>, Answers) = Default::default();
            for _ in 0..12 {
                let mut out = Vec::new();
                for _ in 0..random.below(3) {
                    let mut changes = Vec::new();
                    for _ in 0..random.below(20) {
                        if changing == Changelog::Changing && !rows.is_empty() && random.one_in(2) {
                            let gone = rows.swap_remove(random.below(rows.len() as u64) as usize);
                            changes.push((gone, -1));
                        } else {
                            let row = random_row(&mut random, 6);
                            let weight = if changing == Changelog::Changing { 1 + random.below(2) as i64 } else { 1 };
                            (0..weight).for_each(|_| rows.push(row.clone()));
                            changes.push((row, weight));
                        }
                    }
                    harness.push(&batch(&changes, None), &mut out).unwrap();
                }
                harness.end_tick(Watermark::NONE, &mut out).unwrap();
                let change = harness.together(&out);
                let net = consolidate(&change).unwrap();
                assert_eq!(net.num_rows(), change.num_rows(), "what cancels out is not emitted");
                apply(&mut shown, &change, 1);
                assert_eq!(shown, group_by(&rows, print_key), "seed {seed}, {way:?}");
            }
        }
    }
}

/// The rows of a partition whose watermark lags behind its maximum, each with its judge if it is behind.
pub(super) fn partition(random: &mut Random, rows: usize) -> Vec<(Row, i64, i64)> {
    let (mut watermark, mut clock) = (i64::MIN, -100);
    (0..rows)
        .map(|_| {
            clock += random.below(4) as i64;
            let mut row = random_row(random, 4);
            row.time = clock - if random.one_in(4) { random.below(40) as i64 } else { 0 };
            let judge = if row.time <= watermark { watermark } else { i64::MIN };
            watermark = watermark.max(row.time - 10);
            (row, judge, watermark)
        })
        .collect()
}

/// The windows that hold an instant, as start and end, the obvious way. Borders lie at multiples of a `unit`.
fn windows_of(spec: WindowSpec, instant: i64, unit: i64) -> Vec<(i64, i64)> {
    let clock = spec.zone.map(WallClock);
    let time = clock.map_or(instant, |clock| clock.shown_at(instant).unwrap());
    let starts = |period: i64, offset: i64| {
        let all = (time.div_euclid(unit) - 400..=time.div_euclid(unit)).map(move |at| at * unit);
        all.filter(move |s| (s - offset).rem_euclid(period) == 0)
    };
    let all: Vec<(i64, i64)> = match spec.kind {
        WindowKind::Tumble { size, offset } => starts(size, offset).map(|s| (s, s + size)).collect(),
        WindowKind::Hop { size, slide, offset } => starts(slide, offset).map(|s| (s, s + size)).collect(),
        WindowKind::Cumulate { size, step, offset } => starts(size, offset)
            .flat_map(|s| {
                (1..).map(|k| k * step).take_while(|into| *into < size).chain([size]).map(move |i| (s, s + i))
            })
            .collect(),
        WindowKind::Session { .. } => Vec::new(),
    };
    let holding = all.into_iter().filter(|(start, end)| *start <= time && time < *end);
    let mut borders: Vec<(i64, i64)> = match clock {
        None => holding.collect(),
        Some(clock) => holding.map(|(s, e)| (clock.first_at(s).unwrap(), clock.settled_at(e).unwrap())).collect(),
    };
    borders.dedup();
    borders
}

fn random_windows(random: &mut Random, seed: u64) -> WindowSpec {
    let (size, offset) = (1 + random.below(30) as i64, random.below(20) as i64 - 10);
    let kind = match seed % 5 {
        0 => WindowKind::Tumble { size, offset },
        1 => WindowKind::Hop { size, slide: 1 + random.below(size as u64) as i64, offset },
        2 => WindowKind::Hop { size, slide: 1 + random.below(40) as i64, offset },
        3 => WindowKind::Hop { size: size * 12, slide: size, offset },
        _ => WindowKind::Cumulate { size, step: 1 + random.below(size as u64) as i64, offset },
    };
    kind.into()
}

const MINUTE: i64 = 60_000_000;

/// The same with lengths in minutes, in a zone whose clocks change, and when they do.
fn in_a_zone(window: WindowSpec, seed: u64) -> (WindowSpec, i64) {
    let changes = [
        ("America/New_York", "2021-03-14 07:00"),
        ("America/New_York", "2021-11-07 06:00"),
        ("Australia/Lord_Howe", "2021-04-03 15:00"),
        ("Australia/Lord_Howe", "2021-10-02 15:30"),
        ("America/Sao_Paulo", "2018-11-04 03:00"),
        ("America/Sao_Paulo", "2018-02-18 02:00"),
        ("Pacific/Apia", "2011-12-30 10:00"),
    ];
    let (zone, change) = changes[seed as usize % changes.len()];
    let kind = match window.kind {
        WindowKind::Tumble { size, offset } => WindowKind::Tumble { size: size * MINUTE, offset: offset * MINUTE },
        WindowKind::Hop { size, slide, offset } => {
            WindowKind::Hop { size: size * MINUTE, slide: slide * MINUTE, offset: offset * MINUTE }
        }
        WindowKind::Cumulate { size, step, offset } => {
            WindowKind::Cumulate { size: size * MINUTE, step: step * MINUTE, offset: offset * MINUTE }
        }
        WindowKind::Session { gap } => WindowKind::Session { gap: gap * MINUTE },
    };
    let change = chrono::NaiveDateTime::parse_from_str(change, "%Y-%m-%d %H:%M").unwrap();
    (WindowSpec { kind, zone: Some(zone.parse().unwrap()) }, change.and_utc().timestamp_micros())
}

/// What windows answer does not depend on how the input was cut, late rows included: each row is in exactly those windows
/// that were not gone at its judge.
#[test]
fn windows_answer_the_same_however_the_input_is_cut() {
    let (mut partly_late, mut dropped_rows) = (0, 0);
    for seed in 0..51 {
        let mut random = Random(1000 + seed);
        let mut spec = random_windows(&mut random, seed);
        let mut lateness = if seed % 3 == 0 { 1 + random.below(15) as i64 } else { 0 };
        let mut stream = partition(&mut random, 120);
        let unit = if seed < 30 { 1 } else { MINUTE };
        if unit == MINUTE {
            let (zoned, change) = in_a_zone(spec, seed);
            spec = zoned;
            lateness *= MINUTE;
            let at = |minute: &mut i64| *minute = minute.saturating_mul(MINUTE).saturating_add(change);
            for (row, judge, watermark) in &mut stream {
                at(&mut row.time);
                at(watermark);
                [judge].into_iter().filter(|judge| **judge != i64::MIN).for_each(at);
            }
        }
        let mut repeated: Vec<Row> = Vec::new();
        let mut ends: Vec<(i64, i64)> = Vec::new();
        let mut late = 0;
        for (row, judge, _) in &stream {
            let all = windows_of(spec, row.time, unit);
            let open: Vec<_> = all.iter().filter(|(_, end)| judge.saturating_sub(lateness) < end - 1).collect();
            late += u64::from(open.is_empty() && !all.is_empty());
            partly_late += usize::from(!open.is_empty() && open.len() < all.len());
            repeated.extend(open.iter().map(|_| row.clone()));
            ends.extend(open);
        }
        dropped_rows += late;
        let mut groups: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
        for (row, (start, end)) in repeated.iter().zip(&ends) {
            groups.entry(format!("{start}|{end}|{}|{}", end - 1, print_key(row))).or_default().push(row);
        }
        let want: Answers = groups.into_iter().map(|(key, rows)| (key, answer(&rows))).collect();
        for emit in [Emit::OnClose, Emit::OnUpdate] {
            for way in WAYS {
                let harness = window_harness(spec, emit, lateness, way);
                let (shown, dropped) = run_windows(harness, &mut random, &stream);
                let differs = shown.iter().find(|(key, answer)| want.get(*key) != Some(answer));
                let lacks = want.keys().find(|key| !shown.contains_key(*key));
                let run = format!("seed {seed}, {spec:?}, {emit:?}, lateness {lateness}, {way:?}");
                assert_eq!((differs, lacks), (None, None), "{run}");
                assert_eq!(dropped, late, "{run}");
            }
        }
    }
    assert!(
        partly_late > 100 && dropped_rows > 100,
        "{partly_late} rows late for some windows, {dropped_rows} for all"
    );
}

fn window_harness(window: WindowSpec, emit: Emit, lateness: i64, way: Way) -> Harness {
    let (aggregates, types) = calls();
    let windows = ["window_start", "window_end", "window_time"].map(|name| (name, SqlType::Timestamp(6)));
    let output = schema(&[&windows[..], &[("k", SqlType::Text)], &types[..]].concat());
    let op = Op::WindowAggregate {
        window,
        time: EventTime { column: 4, unit: 1 },
        keys: vec![0],
        aggregates,
        emit,
        lateness,
        assigned: None,
    };
    let appends = emit == Emit::OnClose && lateness == 0;
    let changelog = if appends { Changelog::AppendOnly } else { Changelog::Changing };
    Harness::new(op, (&input_schema(), Changelog::AppendOnly), (&output, changelog), way).unwrap()
}

/// Cuts a stream into ticks at random; answers at the end, and rows dropped.
fn run_windows(mut harness: Harness, random: &mut Random, stream: &[(Row, i64, i64)]) -> (Answers, u64) {
    let mut shown = Answers::new();
    let mut rest = stream;
    let mut watermark = Watermark::NONE;
    while !rest.is_empty() {
        let (tick, later) = rest.split_at((1 + random.below(60) as usize).min(rest.len()));
        let rows: Vec<(Row, i64)> = tick.iter().map(|(row, ..)| (row.clone(), 1)).collect();
        let judges: Vec<i64> = tick.iter().map(|(_, judge, _)| *judge).collect();
        let judged = judges.iter().any(|j| *j != i64::MIN);
        let mut out = Vec::new();
        harness.push(&batch(&rows, judged.then_some(&judges)), &mut out).unwrap();
        watermark = Watermark(tick.last().map_or(watermark.0, |(_, _, w)| *w));
        harness.end_tick(watermark, &mut out).unwrap();
        apply(&mut shown, &harness.together(&out), 4);
        rest = later;
    }
    let mut out = Vec::new();
    harness.end_tick(Watermark::END, &mut out).unwrap();
    apply(&mut shown, &harness.together(&out), 4);
    (shown, harness.late_rows())
}

/// More groups than a chunk holds: output comes in bounded chunks, and the next tick starts clean.
#[test]
fn many_groups_come_in_chunks() {
    let groups = 2 * CHUNK_ROWS as i64 + 3;
    for way in [WAYS[0], WAYS[2]] {
        let row = |i: i64| Row { key: Some(i.to_string()), value: Some(i), float: None, flag: None, time: i % 7 };
        let rows: Vec<(Row, i64)> = (0..groups).map(|i| (row(i), 1)).collect();
        let (aggregates, types) = calls();
        let output = schema(&[&[("k", SqlType::Text)], &types[..]].concat());
        let ends = ((&input_schema(), Changelog::AppendOnly), (&output, Changelog::Changing));
        let mut aggregate =
            Harness::new(Op::Aggregate { keys: vec![0], aggregates, at_once: false }, ends.0, ends.1, way).unwrap();
        let mut windows = window_harness(WindowKind::Tumble { size: 5, offset: 0 }.into(), Emit::OnClose, 0, way);
        for _ in 0..2 {
            let mut out = Vec::new();
            aggregate.push(&batch(&rows, None), &mut out).unwrap();
            aggregate.end_tick(Watermark::NONE, &mut out).unwrap();
            assert!(out.len() > 2);
            windows.push(&batch(&rows, None), &mut out).unwrap();
        }
        let mut out = Vec::new();
        windows.end_tick(Watermark::END, &mut out).unwrap();
        let all = windows.together(&out);
        assert_eq!(all.num_rows() as i64, groups);
        let ends: Vec<i64> = all.column(1).as_primitive::<TimestampMicrosecondType>().values().to_vec();
        assert!(ends.is_sorted(), "windows fire in time order");
    }
}
