//! Sessions against an obvious twin: which rows are together depends on the rows and their judges alone, not on how they
//! were cut into ticks, nor on how partitions were mixed.

use std::collections::BTreeMap;

use super::random::{Answers, Random, Row, answer, apply, batch, calls, input_schema, partition, print_key};
use super::*;
use crate::plan::{Emit, EventTime, WindowKind};

/// A partition's rows, each with its judge, and the partition's watermark behind it.
type Stream = Vec<(Row, i64, i64)>;

/// Rows that are not behind are together if they are no further apart than the gap; those that are behind then join in
/// the order of their judges, latest first, whatever does not end up to their judge.
fn sessions(rows: &[(Row, i64)], gap: i64) -> (Answers, u64) {
    let mut sessions: Vec<Vec<&Row>> = Vec::new();
    let mut order: Vec<&(Row, i64)> = rows.iter().collect();
    order.sort_by_key(|(row, judge)| (*judge, std::cmp::Reverse(row.time)));
    let mut late = 0;
    for (row, judge) in order {
        let start = |session: &[&Row]| session.iter().map(|r| r.time).min().unwrap();
        let end = |session: &[&Row]| session.iter().map(|r| r.time).max().unwrap() + gap;
        let joins = |session: &Vec<&Row>| {
            let together = session[0].key == row.key && start(session) <= row.time + gap && row.time <= end(session);
            together && end(session) > *judge
        };
        let (joined, others): (Vec<_>, Vec<_>) = sessions.drain(..).partition(joins);
        sessions = others;
        if joined.is_empty() && row.time + gap <= *judge {
            late += 1;
        } else {
            sessions.push(joined.into_iter().flatten().chain([row]).collect());
        }
    }
    let answers = sessions.iter().map(|session| {
        let (start, last) = session.iter().fold((i64::MAX, i64::MIN), |(a, b), r| (a.min(r.time), b.max(r.time)));
        let (end, key) = (last + gap, print_key(session[0]));
        (format!("{start}|{end}|{}|{key}", end - 1), answer(session))
    });
    (answers.collect(), late)
}

fn harness(gap: i64, emit: Emit, way: Way) -> Harness {
    let (aggregates, types) = calls();
    let windows = ["window_start", "window_end", "window_time"].map(|name| (name, SqlType::Timestamp(6)));
    let output = schema(&[&windows[..], &[("k", SqlType::Text)], &types[..]].concat());
    let op = Op::WindowAggregate {
        window: WindowKind::Session { gap }.into(),
        time: EventTime { column: 4, unit: 1 },
        keys: vec![0],
        aggregates,
        emit,
        lateness: 0,
        assigned: None,
    };
    let changelog = if emit == Emit::OnClose { Changelog::AppendOnly } else { Changelog::Changing };
    Harness::new(op, (&input_schema(), Changelog::AppendOnly), (&output, changelog), way).unwrap()
}

/// Mixes partitions at random, cut into ticks at random.
fn run(mut harness: Harness, random: &mut Random, partitions: &[Stream]) -> (Answers, u64) {
    let mut shown = Answers::new();
    let mut rest: Vec<&[(Row, i64, i64)]> = partitions.iter().map(Vec::as_slice).collect();
    let mut watermarks = vec![i64::MIN; partitions.len()];
    while rest.iter().any(|rows| !rows.is_empty()) {
        let (mut rows, mut judges) = (Vec::new(), Vec::new());
        for _ in 0..random.below(20) {
            let from = random.below(rest.len() as u64) as usize;
            if let Some(((row, judge, watermark), later)) = rest[from].split_first() {
                rows.push((row.clone(), 1));
                judges.push(*judge);
                watermarks[from] = *watermark;
                rest[from] = later;
            }
        }
        let mut out = Vec::new();
        if !rows.is_empty() {
            let judged = judges.iter().any(|judge| *judge != i64::MIN);
            harness.push(&batch(&rows, judged.then_some(&judges)), &mut out).unwrap();
        }
        // One that was read to its end holds nobody back.
        let active = watermarks.iter().zip(&rest).filter(|(_, rest)| !rest.is_empty());
        let watermark = active.map(|(watermark, _)| *watermark).min().unwrap_or(i64::MAX);
        harness.end_tick(Watermark(watermark), &mut out).unwrap();
        apply(&mut shown, &harness.together(&out), 4);
    }
    let mut out = Vec::new();
    harness.end_tick(Watermark::END, &mut out).unwrap();
    apply(&mut shown, &harness.together(&out), 4);
    (shown, harness.late_rows())
}

#[test]
fn sessions_are_the_same_however_the_input_is_cut_and_mixed() {
    let (mut merged_late, mut dropped) = (0, 0);
    for seed in 0..60 {
        let mut random = Random(5000 + seed);
        let gap = 1 + random.below(12) as i64;
        let partitions: Vec<Stream> = (0..1 + seed % 3).map(|_| partition(&mut random, 80)).collect();
        let rows: Vec<(Row, i64)> = partitions.iter().flatten().map(|(row, judge, _)| (row.clone(), *judge)).collect();
        let (want, late) = sessions(&rows, gap);
        dropped += late;
        merged_late += rows.iter().filter(|(_, judge)| *judge != i64::MIN).count() as u64 - late;
        for emit in [Emit::OnClose, Emit::OnUpdate] {
            for way in WAYS {
                let (shown, got_late) = run(harness(gap, emit, way), &mut random, &partitions);
                let differs = shown.iter().find(|(key, answer)| want.get(*key) != Some(answer));
                let lacks = want.keys().find(|key| !shown.contains_key(*key));
                let run = format!("seed {seed}, gap {gap}, {emit:?}, {way:?}");
                assert_eq!((differs, lacks), (None, None), "{run}");
                assert_eq!(got_late, late, "{run}");
            }
        }
    }
    assert!(merged_late > 300 && dropped > 300, "{merged_late} rows behind found a session, {dropped} did not");
}

/// In one partition, rows taken one by one, as Flink takes them, give the same sessions: only rows behind the same
/// watermark, of which an earlier one comes first, may find more here.
#[test]
fn one_partition_gives_what_taking_rows_one_by_one_gives() {
    for seed in 0..200 {
        let mut random = Random(9000 + seed);
        let gap = 2 + random.below(12) as i64;
        let stream = partition(&mut random, 60);
        let mut kept: Vec<(Row, i64)> = stream.iter().map(|(row, judge, _)| (row.clone(), *judge)).collect();
        // Of rows behind the same watermark only the first stays, and none at whose end another begins.
        let mut judges = std::collections::BTreeSet::new();
        kept.retain(|(_, judge)| *judge == i64::MIN || judges.insert(*judge));
        let borders: Vec<i64> = kept.iter().map(|(row, _)| row.time + gap).collect();
        kept.retain(|(row, judge)| *judge != i64::MIN || !borders.contains(&row.time));
        let (want, late) = sessions(&kept, gap);
        let mut open: BTreeMap<String, Vec<(i64, i64, usize)>> = BTreeMap::new();
        let mut dropped = 0;
        for (row, judge) in &kept {
            let (mut start, mut end, mut rows) = (row.time, row.time + gap, 1);
            let of = open.entry(print_key(row)).or_default();
            let touches = |s: &(i64, i64, usize)| s.0 <= row.time + gap && row.time <= s.1 && s.1 > *judge;
            for session in of.iter().filter(|s| touches(s)) {
                (start, end, rows) = (start.min(session.0), end.max(session.1), rows + session.2);
            }
            if end <= *judge {
                dropped += 1;
                continue;
            }
            of.retain(|s| !touches(s));
            of.push((start, end, rows));
        }
        let got: BTreeMap<String, String> = open
            .iter()
            .flat_map(|(key, of)| of.iter().map(move |(s, e, n)| (format!("{s}|{e}|{}|{key}", e - 1), n.to_string())))
            .collect();
        let want: BTreeMap<String, String> = want.into_iter().map(|(key, answer)| (key, answer[0].clone())).collect();
        assert_eq!((got, dropped), (want, late), "seed {seed}");
    }
}
