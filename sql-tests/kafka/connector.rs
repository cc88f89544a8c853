//! The Kafka connector as a pipeline drives it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use parking_lot::{Condvar, Mutex};
use tidemill::change::ChangeBatch;
use tidemill::clock::{ManualClock, SharedClock, SystemClock};
use tidemill::connector::options::WithOption;
use tidemill::connector::{
    DeliveryError, Part, PartId, PartitionId, Payload, Position, Positions, Reader, ReaderContext, Sink, Source, Taken,
    registry,
};
use tidemill::error::Error;
use tidemill::types::{Column, SqlType, schema_of};

use super::{Broker, Outcome, PATIENCE, Test, check, wait_for};

pub const TESTS: &[Test] = &[
    ("kafka/three_partitions_in_order", three_partitions_in_order),
    ("kafka/reading_goes_on_where_it_stopped", reading_goes_on_where_it_stopped),
    ("kafka/startup_modes", startup_modes),
    ("kafka/bad_messages_are_named_and_the_rest_is_read", bad_messages_are_named_and_the_rest_is_read),
    ("kafka/aborted_records_are_not_read", aborted_records_are_not_read),
    ("kafka/a_partition_held_back_is_bounded_and_complete", a_partition_held_back_is_bounded_and_complete),
    ("kafka/a_missing_topic_is_named", a_missing_topic_is_named),
    ("kafka/a_lost_offset_stops_its_reader", a_lost_offset_stops_its_reader),
    ("kafka/new_partitions_are_found", new_partitions_are_found),
    ("kafka/a_broker_that_is_away_is_trouble", a_broker_that_is_away_is_trouble),
    ("kafka/records_are_written_with_keys", records_are_written_with_keys),
    ("kafka/a_part_is_written_again_after_an_outage", a_part_is_written_again_after_an_outage),
    ("kafka/what_a_topic_cannot_take_is_fatal", what_a_topic_cannot_take_is_fatal),
];

fn columns() -> Vec<Column> {
    let column = |name: &str, ty| Column { name: name.into(), ty, not_null: false };
    vec![column("id", SqlType::BigInt), column("name", SqlType::Text)]
}

fn with(broker: &Broker, topic: &str, extra: &[(&str, &str)]) -> Vec<WithOption> {
    let servers = broker.servers();
    let base = [
        ("connector", "kafka"),
        ("topic", topic),
        ("properties.bootstrap.servers", servers.as_str()),
        ("format", "json"),
    ];
    base.iter().chain(extra).zip(1..).map(|((key, value), place)| WithOption::new(key, value, place)).collect()
}

fn source(broker: &Broker, topic: &str, extra: &[(&str, &str)]) -> Outcome<Arc<dyn Source>> {
    let mut all = vec![("scan.startup.mode", "earliest-offset")];
    all.retain(|(key, _)| extra.iter().all(|(e, _)| e != key));
    all.extend(extra);
    registry::source(&columns(), &[], with(broker, topic, &all)).map(|s| s.source).map_err(shown)
}

fn sink(broker: &Broker, topic: &str, extra: &[(&str, &str)]) -> Outcome<Arc<dyn Sink>> {
    registry::sink(&columns(), &[], with(broker, topic, extra)).map_err(shown)
}

fn shown(error: Error) -> String {
    format!("{error:?}")
}

fn message(id: i64) -> String {
    format!("{{\"id\":{id},\"name\":\"the name of row number {id}\"}}")
}

/// Writes rows `ids`, row n into partition n % 3, with a key.
fn fill(broker: &Broker, topic: &str, ids: impl Iterator<Item = i64>) -> Outcome {
    let messages = ids.map(|id| ((id % 3) as i32, format!("key {}", id % 3), message(id))).collect::<Vec<_>>();
    broker.produce(topic, messages.iter().map(|(p, key, value)| (*p, Some(key.as_str()), Some(value.as_bytes()))))
}

/// What a tick loop does: takes, decodes, keeps positions, sleeps until it is woken.
struct Loop {
    source: Arc<dyn Source>,
    reader: Box<dyn Reader>,
    woken: Arc<(Mutex<bool>, Condvar)>,
    positions: Positions,
    /// By partition.
    ids: BTreeMap<String, Vec<i64>>,
    /// "partition@offset: error".
    bad: Vec<String>,
    max_bytes: usize,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Rest {
    AtEnd,
    Finished,
}

impl Loop {
    fn open(source: Arc<dyn Source>, positions: Positions) -> Outcome<Loop> {
        Loop::open_with_clock(source, positions, Arc::new(SystemClock))
    }

    fn open_with_clock(source: Arc<dyn Source>, positions: Positions, clock: SharedClock) -> Outcome<Loop> {
        let woken = Arc::new((Mutex::new(false), Condvar::new()));
        let bell = Arc::clone(&woken);
        let waker = Arc::new(move || {
            *bell.0.lock() = true;
            bell.1.notify_all();
        });
        let reader = source.open(&[0, 1], &positions, ReaderContext { waker, clock }).map_err(shown)?;
        Ok(Loop { source, reader, woken, positions, ids: BTreeMap::new(), bad: Vec::new(), max_bytes: 64 << 10 })
    }

    /// Takes one chunk of one partition; `None`: nothing at hand.
    fn step(&mut self, partition: usize) -> Outcome<Option<Rest>> {
        let taken = self.reader.take(partition, self.max_bytes, None).map_err(shown)?;
        match taken {
            Taken::Chunk(chunk) => {
                let name = self.reader.partitions()[partition].clone();
                let Payload::Raw(raw) = &chunk.payload else { return Err("rows instead of bytes".into()) };
                let decoder = self.source.decoder(&[0, 1]).map_err(shown)?.ok_or("no decoder")?;
                let decoded = decoder.decode(raw).map_err(shown)?;
                let ids = decoded.rows.column(0).as_primitive::<Int64Type>();
                self.ids.entry(name.0.to_string()).or_default().extend(ids.iter().flatten());
                for bad in decoded.bad {
                    self.bad.push(format!("{}@{}: {}", name.0, raw.offsets[bad.index], bad.error.message()));
                }
                self.positions.insert(name, chunk.next);
                Ok(None)
            }
            Taken::Pending => Ok(None),
            Taken::AtEnd => Ok(Some(Rest::AtEnd)),
            Taken::Finished => Ok(Some(Rest::Finished)),
        }
    }

    /// Reads until all partitions rest.
    fn run(&mut self, rest: Rest) -> Outcome {
        self.run_until(|all| all.iter().all(|r| *r == Some(rest)))
    }

    fn run_until(&mut self, enough: impl Fn(&[Option<Rest>]) -> bool) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.rows();
            let count = self.reader.partitions().len();
            let rests = (0..count).map(|partition| self.step(partition)).collect::<Outcome<Vec<_>>>()?;
            if enough(&rests) {
                return Ok(());
            }
            check!(Instant::now() < deadline, "not done: {rests:?}, {} rows, {:?}", before, self.reader.trouble());
            if self.rows() == before {
                let mut woken = self.woken.0.lock();
                if !*woken {
                    self.woken.1.wait_for(&mut woken, Duration::from_millis(200));
                }
                *woken = false;
            }
        }
    }

    fn rows(&self) -> usize {
        self.ids.values().map(Vec::len).sum()
    }
}

/// The rows of `ids` in partition n % 3, in order.
fn check_rows(found: &BTreeMap<String, Vec<i64>>, ids: std::ops::Range<i64>) -> Outcome {
    for partition in 0..3 {
        let expected = ids.clone().filter(|id| id % 3 == partition).collect::<Vec<_>>();
        let found = found.get(&partition.to_string()).cloned().unwrap_or_default();
        check!(found == expected, "partition {partition}: {} rows instead of {}", found.len(), expected.len());
    }
    Ok(())
}

fn three_partitions_in_order(broker: &mut Broker) -> Outcome {
    broker.create_topic("in-order", 3, &[])?;
    fill(broker, "in-order", 0..30_000)?;
    let source = source(broker, "in-order", &[("scan.bounded.mode", "latest-offset")])?;
    let start = source.resolve_start().map_err(shown)?;
    check!(start.len() == 3 && start.values().all(|p| p.offset == 0), "start: {start:?}");
    for max_bytes in [1000, 1 << 20] {
        let mut all = Loop::open(Arc::clone(&source), start.clone())?;
        all.max_bytes = max_bytes;
        all.run(Rest::Finished)?;
        check_rows(&all.ids, 0..30_000)?;
        check!(all.positions.values().all(|p| p.offset == 10_000), "end: {:?}", all.positions);
    }
    // Unbounded: at the end, and then what comes in.
    let source = self::source(broker, "in-order", &[])?;
    let mut all = Loop::open(source, start)?;
    all.run(Rest::AtEnd)?;
    fill(broker, "in-order", 30_000..30_003)?;
    let wanted = |l: &Loop| l.rows() == 30_003;
    let deadline = Instant::now() + PATIENCE;
    while !wanted(&all) && Instant::now() < deadline {
        all.run(Rest::AtEnd)?;
    }
    check_rows(&all.ids, 0..30_003)
}

fn reading_goes_on_where_it_stopped(broker: &mut Broker) -> Outcome {
    broker.create_topic("resumed", 3, &[])?;
    fill(broker, "resumed", 0..3_000)?;
    let source = source(broker, "resumed", &[])?;
    let mut ids = BTreeMap::<String, Vec<i64>>::new();
    let mut positions = source.resolve_start().map_err(shown)?;
    for round in 0..20 {
        let mut part = Loop::open(Arc::clone(&source), positions)?;
        part.max_bytes = 2_000 + 500 * round;
        let enough = part.max_bytes / 40 * 3;
        part.run_until(|_| true)?;
        while part.rows() == 0 && ids.values().map(Vec::len).sum::<usize>() < 3_000 {
            part.run_until(|_| true)?;
        }
        check!(part.rows() <= enough, "{} rows at once", part.rows());
        for (partition, rows) in part.ids {
            ids.entry(partition).or_default().extend(rows);
        }
        positions = part.positions;
    }
    let mut last = Loop::open(source, positions)?;
    last.run(Rest::AtEnd)?;
    for (partition, rows) in last.ids {
        ids.entry(partition).or_default().extend(rows);
    }
    check_rows(&ids, 0..3_000)
}

fn startup_modes(broker: &mut Broker) -> Outcome {
    broker.create_topic("startup", 3, &[])?;
    fill(broker, "startup", 0..30)?;
    let offsets = |mode: &[(&str, &str)]| -> Outcome<Vec<u64>> {
        let start = source(broker, "startup", mode)?.resolve_start().map_err(shown)?;
        Ok(start.values().map(|p| p.offset).collect())
    };
    let check = |mode: &[(&str, &str)], expected: [u64; 3]| {
        let found = offsets(mode)?;
        check!(found == expected, "{mode:?}: {found:?} instead of {expected:?}");
        Ok(())
    };
    check(&[], [0, 0, 0])?;
    check(&[("scan.startup.mode", "latest-offset")], [10, 10, 10])?;
    let timestamp = |millis| [("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", millis)];
    check(&timestamp("0"), [0, 0, 0])?;
    check(&timestamp("32503680000000"), [10, 10, 10])?;
    broker.delete_records("startup", 1, 4)?;
    check(&[], [0, 4, 0])?;
    check(&timestamp("0"), [0, 4, 0])
}

fn bad_messages_are_named_and_the_rest_is_read(broker: &mut Broker) -> Outcome {
    broker.create_topic("garbage", 1, &[])?;
    let good = [message(1), message(2)];
    let values: [Option<&[u8]>; 7] = [
        Some(good[0].as_bytes()),
        Some(b"garbage"),
        Some(b"{\"id\":7,\"name\":\"half"),
        Some(b"{\"id\":\"seven\"}"),
        None,
        Some(b"{\"name\":\"\xff\"}"),
        Some(good[1].as_bytes()),
    ];
    broker.produce("garbage", values.map(|value| (0, None, value)))?;
    let source = source(broker, "garbage", &[("scan.bounded.mode", "latest-offset")])?;
    let mut all = Loop::open(Arc::clone(&source), source.resolve_start().map_err(shown)?)?;
    all.run(Rest::Finished)?;
    check!(all.ids["0"] == [1, 2], "good rows: {:?}", all.ids);
    let expected = [
        "0@1: invalid JSON: expected a value, found \"g\" at byte 0",
        "0@2: field \"name\": invalid JSON: expected the end of a string, but the message ends after 20 bytes",
        "0@3: field \"id\": expected bigint, found string \"seven\"",
        "0@5: invalid JSON: the message is not UTF-8 at byte 9",
    ];
    check!(all.bad == expected, "bad messages: {:#?}", all.bad);
    Ok(())
}

fn aborted_records_are_not_read(broker: &mut Broker) -> Outcome {
    broker.create_topic("transactions", 1, &[])?;
    for id in 0..10 {
        let value = message(id);
        broker.transact("transactions", id % 3 != 1, [(0, None, Some(value.as_bytes()))])?;
    }
    for bounded in [Rest::Finished, Rest::AtEnd] {
        let mode = if bounded == Rest::Finished { "latest-offset" } else { "unbounded" };
        let source = source(broker, "transactions", &[("scan.bounded.mode", mode)])?;
        let mut all = Loop::open(Arc::clone(&source), source.resolve_start().map_err(shown)?)?;
        all.run(bounded)?;
        check!(all.ids["0"] == [0, 2, 3, 5, 6, 8, 9], "{:?}", all.ids);
    }
    Ok(())
}

/// 40 MB in each of two partitions: more than may be prefetched.
fn a_partition_held_back_is_bounded_and_complete(broker: &mut Broker) -> Outcome {
    const ROWS: i64 = 20_000;
    broker.create_topic("held-back", 2, &[])?;
    let padding = "x".repeat(2_000);
    let value = |id: i64| format!("{{\"id\":{id},\"name\":\"{padding}\"}}");
    let messages = (0..2 * ROWS).map(|id| ((id % 2) as i32, value(id))).collect::<Vec<_>>();
    broker.produce("held-back", messages.iter().map(|(p, value)| (*p, None, Some(value.as_bytes()))))?;
    let source = source(broker, "held-back", &[("scan.bounded.mode", "latest-offset")])?;
    let mut all = Loop::open(Arc::clone(&source), source.resolve_start().map_err(shown)?)?;
    let mut most = 0;
    let deadline = Instant::now() + PATIENCE;
    while all.step(0)? != Some(Rest::Finished) {
        most = most.max(all.reader.buffered_bytes());
        check!(Instant::now() < deadline, "partition 0 does not end");
    }
    check!(all.ids.len() == 1, "partition 1 was not asked");
    check!(most < 80 << 20, "{most} bytes buffered");
    check!(all.reader.buffered_bytes() > 4 << 20, "nothing of partition 1 was prefetched");
    all.run(Rest::Finished)?;
    for partition in 0..2 {
        let expected = (0..2 * ROWS).filter(|id| id % 2 == partition).collect::<Vec<_>>();
        check!(all.ids[&partition.to_string()] == expected, "partition {partition} has gaps");
    }
    Ok(())
}

fn a_missing_topic_is_named(broker: &mut Broker) -> Outcome {
    let error = source(broker, "no-such-topic", &[])?.resolve_start().err().ok_or("found a missing topic")?;
    let expected = format!("Kafka topic \"no-such-topic\" does not exist at \"{}\"", broker.servers());
    check!(error.state().code() == "42P01" && error.message() == expected, "{error:?}");
    let error = sink(broker, "no-such-topic", &[])?.preflight().err().ok_or("found a missing topic")?;
    check!(error.state().code() == "42P01" && error.message() == expected, "{error:?}");
    // Deleted after the job was created: trouble, and no error.
    let start = Positions::from([(PartitionId("0".into()), Position { offset: 0, file: None })]);
    let reader = Loop::open(source(broker, "no-such-topic", &[])?, start)?;
    wait_for("trouble", || reader.reader.trouble().filter(|e| e.message() == expected))?;
    Ok(())
}

fn a_lost_offset_stops_its_reader(broker: &mut Broker) -> Outcome {
    broker.create_topic("lost", 3, &[])?;
    fill(broker, "lost", 0..30)?;
    broker.delete_records("lost", 1, 5)?;
    let at = |partition: &str, offset| (PartitionId(partition.into()), Position { offset, file: None });
    let lost = |positions: [(PartitionId, Position); 2], place: &str| -> Outcome {
        let mut all = Loop::open(source(broker, "lost", &[])?, positions.into())?;
        let error = all.run(Rest::AtEnd).err().ok_or("read a lost offset")?;
        let expected = format!("55000: {place} (any more)");
        check!(error.starts_with(&expected), "{error}");
        Ok(())
    };
    lost([at("0", 0), at("1", 3)], "partition 1 of Kafka topic \"lost\" does not have offset 3")?;
    lost([at("0", 0), at("2", 99)], "partition 2 of Kafka topic \"lost\" does not have offset 99")
}

fn new_partitions_are_found(broker: &mut Broker) -> Outcome {
    broker.create_topic("growing", 1, &[])?;
    let clock = Arc::new(ManualClock::new(0));
    let source = source(broker, "growing", &[])?;
    let start = source.resolve_start().map_err(shown)?;
    let mut all = Loop::open_with_clock(source, start, Arc::clone(&clock) as SharedClock)?;
    all.run(Rest::AtEnd)?;
    broker.add_partitions("growing", 3)?;
    let values = [message(1), message(2)];
    broker.produce("growing", [(1, None, Some(values[0].as_bytes())), (2, None, Some(values[1].as_bytes()))])?;
    let deadline = Instant::now() + PATIENCE;
    while all.rows() < 2 {
        clock.advance(31_000_000);
        all.run_until(|_| true)?;
        check!(Instant::now() < deadline, "found {:?}", all.reader.partitions());
    }
    check!(all.ids["1"] == [1] && all.ids["2"] == [2], "{:?}", all.ids);
    Ok(())
}

fn a_broker_that_is_away_is_trouble(broker: &mut Broker) -> Outcome {
    broker.create_topic("outage", 3, &[])?;
    fill(broker, "outage", 0..300)?;
    let source = source(broker, "outage", &[])?;
    let start = source.resolve_start().map_err(shown)?;
    broker.kill();
    let expected = format!("cannot reach Kafka at \"{}\"", broker.servers());
    // A statement is told; a reader waits.
    let begun = Instant::now();
    let error = source.resolve_start().err().ok_or("reached a dead broker")?;
    check!(error.state().code() == "08006" && error.message() == expected, "{error:?}");
    check!(begun.elapsed() < Duration::from_secs(15), "took {:?}", begun.elapsed());
    let mut all = Loop::open(Arc::clone(&source), start)?;
    wait_for("trouble", || all.reader.trouble().filter(|e| e.message() == expected))?;
    check!(all.step(0)?.is_none(), "a dead broker has no end");
    broker.restart()?;
    all.run(Rest::AtEnd)?;
    check_rows(&all.ids, 0..300)?;
    wait_for("no trouble", || all.reader.trouble().is_none().then_some(()))?;
    // The same while it reads.
    broker.kill();
    wait_for("trouble", || all.reader.trouble().filter(|e| e.message() == expected))?;
    broker.restart()?;
    wait_for("no trouble", || all.reader.trouble().is_none().then_some(()))?;
    fill(broker, "outage", 300..600)?;
    let deadline = Instant::now() + PATIENCE;
    while all.rows() < 600 && Instant::now() < deadline {
        all.run_until(|_| true)?;
    }
    check_rows(&all.ids, 0..600)
}

fn rows(ids: &[i64], names: &[Option<&str>]) -> Outcome<ChangeBatch> {
    let names = StringViewArray::from_iter(names.iter().copied());
    let columns: Vec<arrow::array::ArrayRef> = vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(names)];
    let batch = RecordBatch::try_new(schema_of(&self::columns()), columns).map_err(|e| e.to_string())?;
    Ok(ChangeBatch::append_only(batch))
}

fn part(part: u32, batches: Vec<ChangeBatch>) -> Part {
    Part { id: PartId { epoch: 1, part }, batches }
}

fn delivered(result: Result<(), DeliveryError>) -> Outcome {
    result.map_err(|e| format!("{e:?}"))
}

fn records_are_written_with_keys(broker: &mut Broker) -> Outcome {
    broker.create_topic("keyed", 3, &[])?;
    let sink = sink(broker, "keyed", &[("key.fields", "name")])?;
    sink.preflight().map_err(shown)?;
    let mut writer = sink.open("test", schema_of(&columns())).map_err(shown)?;
    let ids = (0..5_000).collect::<Vec<i64>>();
    let names = ids.iter().map(|id| format!("n{}", id % 20)).collect::<Vec<_>>();
    let names = names.iter().map(|name| Some(name.as_str())).collect::<Vec<_>>();
    for (n, (ids, names)) in ids.chunks(1_000).zip(names.chunks(1_000)).enumerate() {
        let halves = vec![rows(&ids[..500], &names[..500])?, rows(&ids[500..], &names[500..])?];
        delivered(writer.deliver(&part(n as u32, halves)))?;
        // Delivered is readable.
        check!(broker.read("keyed")?.len() == 1_000 * (n + 1), "part {n} is not all there");
    }
    delivered(writer.deliver(&part(9, vec![rows(&[-1], &[None])?])))?;
    let mut last = HashMap::new();
    let messages = broker.read("keyed")?;
    for message in &messages {
        let key = message.key.clone().ok_or("no key")?;
        let expected = (murmur2(key.as_bytes()) & 0x7fff_ffff) % 3;
        check!(message.partition == expected as i32, "{key} is in partition {}, not {expected}", message.partition);
        let value = message.value.clone().ok_or("no value")?;
        if key == "{\"name\":null}" {
            check!(value == "{\"id\":-1,\"name\":null}", "{value}");
            continue;
        }
        let id = value.strip_prefix("{\"id\":").and_then(|v| v.split(',').next()).and_then(|v| v.parse::<i64>().ok());
        let id = id.ok_or_else(|| value.clone())?;
        let name = format!("n{}", id % 20);
        check!(key == format!("{{\"name\":\"{name}\"}}"), "{key} for {id}");
        check!(value == format!("{{\"id\":{id},\"name\":\"{name}\"}}"), "{value}");
        check!(last.insert(key, id).is_none_or(|before| before < id), "the order within a key is lost at {id}");
    }
    check!(messages.len() == 5_001, "{} messages", messages.len());
    Ok(())
}

/// Kafka's own hash of keys (`Utils.murmur2` of its Java client).
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c_u32 ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    for (i, byte) in tail.iter().enumerate().rev() {
        h ^= u32::from(*byte) << (8 * i);
        if i == 0 {
            h = h.wrapping_mul(M);
        }
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

fn a_part_is_written_again_after_an_outage(broker: &mut Broker) -> Outcome {
    broker.create_topic("again", 1, &[])?;
    let sink = sink(broker, "again", &[("properties.message.timeout.ms", "2000")])?;
    let mut writer = sink.open("test", schema_of(&columns())).map_err(shown)?;
    delivered(writer.deliver(&part(0, vec![rows(&[0], &[Some("first")])?])))?;
    broker.pause()?;
    let second = part(1, vec![rows(&[1, 2], &[Some("second"), None])?]);
    let result = writer.deliver(&second);
    broker.resume()?;
    let Err(DeliveryError::Retry(error)) = result else { return Err(format!("{result:?}")) };
    let expected = format!("cannot reach Kafka at \"{}\"", broker.servers());
    check!(error.state().code() == "08006" && error.message() == expected, "{error:?}");
    broker.kill();
    broker.restart()?;
    wait_for("delivery", || writer.deliver(&second).ok())?;
    delivered(writer.deliver(&part(2, vec![rows(&[3], &[Some("third")])?])))?;
    let ids = broker.read("again")?.into_iter().filter_map(|m| m.value).collect::<Vec<_>>();
    for id in 0..4 {
        check!(ids.iter().any(|v| v.starts_with(&format!("{{\"id\":{id},"))), "row {id} is missing: {ids:?}");
    }
    check!(ids.last().is_some_and(|v| v.contains("third")), "an old record came after a new one: {ids:?}");
    Ok(())
}

fn what_a_topic_cannot_take_is_fatal(broker: &mut Broker) -> Outcome {
    broker.create_topic("small", 1, &[("max.message.bytes", "1000")])?;
    let long = "x".repeat(2_000);
    let fatal = |topic: &str, compression: &str, name: &str| -> Outcome<Error> {
        let sink = sink(broker, topic, &[("properties.compression.type", compression)])?;
        let mut writer = sink.open("test", schema_of(&columns())).map_err(shown)?;
        match writer.deliver(&part(0, vec![rows(&[1, 2], &[Some("short"), Some(name)])?])) {
            Err(DeliveryError::Fatal(error)) => Ok(error),
            other => Err(format!("{other:?}")),
        }
    };
    let error = fatal("small", "none", &long)?;
    check!(error.message().contains("too large for Kafka topic \"small\""), "{error:?}");
    let huge = "x".repeat(2_000_000);
    let error = fatal("small", "none", &huge)?;
    check!(error.message() == "a record of 2000018 bytes is too large for Kafka topic \"small\"", "{error:?}");
    broker.create_topic("compacted", 1, &[("cleanup.policy", "compact")])?;
    let error = fatal("compacted", "none", "no key")?;
    check!(error.hint().is_some_and(|h| h.contains("'key.fields'")), "{error:?}");
    Ok(())
}
