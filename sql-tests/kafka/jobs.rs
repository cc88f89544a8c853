//! Streaming jobs from topic to topic, as a user writes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tempfile::TempDir;
use tidemill::error::Error;
use tidemill::pipeline::{Engine, EngineConfig};
use tidemill::server::grid::Grid;
use tidemill::session::{Body, Session};
use tokio::runtime::Runtime;

use super::{Broker, Outcome, Test, check, wait_for};

pub const TESTS: &[Test] = &[
    ("kafka/a_job_from_three_partitions_to_a_topic", a_job_from_three_partitions_to_a_topic),
    ("kafka/a_view_follows_its_topic", a_view_follows_its_topic),
    ("kafka/an_empty_partition_becomes_idle", an_empty_partition_becomes_idle),
    ("kafka/garbage_is_skipped_and_counted_or_fails_its_job", garbage_is_skipped_and_counted_or_fails_its_job),
    ("kafka/missing_topics_are_refused", missing_topics_are_refused),
    ("kafka/a_server_outlives_its_broker", a_server_outlives_its_broker),
];

/// An engine in this process, and a session.
pub(super) struct Server {
    runtime: Runtime,
    data: TempDir,
    /// None while it is opened anew: two engines cannot share their data.
    engine: Option<Arc<Engine>>,
    servers: String,
}

impl Server {
    pub(super) fn start(broker: &Broker) -> Outcome<Server> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        let data = tempfile::tempdir().map_err(|e| e.to_string())?;
        let engine = Some(open(&runtime, &data)?);
        Ok(Server { runtime, data, engine, servers: broker.servers() })
    }

    fn engine(&self) -> Result<Arc<Engine>, Error> {
        self.engine.clone().ok_or_else(|| Error::internal("the engine is not open"))
    }

    fn shut_down(&mut self) {
        if let Some(engine) = self.engine.take() {
            self.runtime.block_on(engine.shutdown());
        }
    }

    /// Shuts the engine down and opens it again on its data.
    pub(super) fn restart(&mut self) -> Outcome {
        self.shut_down();
        self.engine = Some(open(&self.runtime, &self.data)?);
        Ok(())
    }

    /// Runs a script; the rows of its last statement, columns separated by '|'. `$KAFKA` stands for the options that
    /// every topic needs, `$SERVERS` for the broker's address.
    pub(super) fn run(&self, script: &str) -> Result<Vec<String>, Error> {
        let options =
            format!("'connector' = 'kafka', 'properties.bootstrap.servers' = '{}', 'format' = 'json'", self.servers);
        let mut session = Session::new(self.engine()?);
        self.runtime.block_on(async {
            let mut rows = Vec::new();
            for statement in session.parse(&script.replace("$KAFKA", &options).replace("$SERVERS", &self.servers))? {
                rows.clear();
                if let Body::Rows(set) = session.execute(&statement, &[]).await?.body {
                    for row in Grid::collect(&set.schema, set.stream, chrono_tz::UTC).await?.rows {
                        let values = row.into_iter().map(|value| value.unwrap_or_else(|| "null".into()));
                        rows.push(values.collect::<Vec<_>>().join("|"));
                    }
                }
            }
            Ok(rows)
        })
    }

    pub(super) fn sql(&self, script: &str) -> Outcome<Vec<String>> {
        self.run(script).map_err(|e| format!("{script}\n{e:?}"))
    }

    /// SQLSTATE and message of the refusal.
    pub(super) fn refusal(&self, script: &str) -> Outcome<String> {
        match self.run(script) {
            Ok(rows) => Err(format!("{script}\nis not refused: {rows:?}")),
            Err(e) => Ok(format!("{} {}", e.state().code(), e.message())),
        }
    }

    /// State, reason and bad rows of a job.
    pub(super) fn job(&self, name: &str) -> Outcome<(String, String, u64)> {
        let engine = self.engine().map_err(|e| e.to_string())?;
        let jobs = self.runtime.block_on(async { engine.jobs() });
        let job = jobs.into_iter().find(|job| job.name == name).ok_or_else(|| format!("no job {name}"))?;
        let reason = job.reason.map_or_else(String::new, |e| e.message().to_string());
        Ok((job.state.to_string(), reason, job.counts.bad_rows))
    }

    /// The rows of a query, once there are so many.
    pub(super) fn wait_for_rows(&self, query: &str, rows: usize) -> Outcome<Vec<String>> {
        let mut last = None;
        let found = wait_for("such rows", || {
            last = Some(self.sql(query));
            last.clone().and_then(Result::ok).filter(|found| found.len() == rows)
        });
        found.map_err(|e| format!("{e}: {last:?}"))
    }

    pub(super) fn wait_for_state(&self, job: &str, state: &str) -> Outcome<(String, u64)> {
        let mut last = None;
        let found = wait_for("such a state", || {
            last = self.job(job).ok();
            last.clone().filter(|(found, ..)| found == state)
        });
        let (_, reason, bad) = found.map_err(|e| format!("{e}: job {job} is not {state} but {last:?}"))?;
        Ok((reason, bad))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn open(runtime: &Runtime, data: &TempDir) -> Outcome<Arc<Engine>> {
    let config = EngineConfig { data_dir: Some(data.path().to_path_buf()), ..EngineConfig::default() };
    runtime.block_on(Engine::open(config)).map_err(|e| format!("{e:?}"))
}

const ORDERS: &str = "CREATE SOURCE orders (order_id BIGINT, customer TEXT, amount NUMERIC(12,2), ts TIMESTAMP(3),
                           WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
    WITH ($KAFKA, 'topic' = 'orders', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');";

/// An order's millisecond of the day (up to 4 s out of order), customer and amount in cents.
pub(super) fn order(id: u64) -> (u64, String, u64) {
    (10_000 + id * 100 - id * 7919 % 40 * 100, format!("customer {}", id % 7), id * 37 % 10_000)
}

fn clock(millis: u64) -> String {
    let seconds = millis / 1000;
    format!("2024-01-01 {:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60, millis % 1000)
}

pub(super) fn write_orders(broker: &Broker, topic: &str, ids: std::ops::Range<u64>) -> Outcome {
    let message = |id: u64| {
        let (millis, customer, cents) = order(id);
        let amount = format!("{}.{:02}", cents / 100, cents % 100);
        let ts = clock(millis);
        let value = format!("{{\"order_id\":{id},\"customer\":\"{customer}\",\"amount\":{amount},\"ts\":\"{ts}\"}}");
        ((id % 3) as i32, customer, value)
    };
    let messages = ids.map(message).collect::<Vec<_>>();
    broker.produce(topic, messages.iter().map(|(p, key, value)| (*p, Some(key.as_str()), Some(value.as_bytes()))))
}

fn a_job_from_three_partitions_to_a_topic(broker: &mut Broker) -> Outcome {
    broker.create_topic("orders", 3, &[])?;
    broker.create_topic("per-minute", 2, &[])?;
    write_orders(broker, "orders", 0..9_000)?;
    let mut expected = BTreeMap::<(u64, String), (u64, u64)>::new();
    for (millis, customer, cents) in (0..9_000).map(order) {
        let (count, sum) = expected.entry((millis / 60_000, customer)).or_default();
        *count += 1;
        *sum += cents;
    }
    let expected = expected.into_iter().map(|((minute, customer), (count, cents))| {
        let start = clock(minute * 60_000);
        let total = format!("{}.{:02}", cents / 100, cents % 100);
        let key = format!("{{\"customer\":\"{customer}\"}}");
        let value = format!(
            "{{\"window_start\":\"{start}\",\"customer\":\"{customer}\",\"orders\":{count},\"total\":{total}}}"
        );
        (key, value)
    });
    let mut expected = expected.collect::<Vec<_>>();
    expected.sort();
    let server = Server::start(broker)?;
    server.sql(ORDERS)?;
    server.sql(
        "CREATE SINK per_minute (window_start TIMESTAMP(3), customer TEXT, orders BIGINT, total NUMERIC(20,2))
             WITH ($KAFKA, 'topic' = 'per-minute', 'key.fields' = 'customer');
         CREATE STREAMING JOB revenue AS
             INSERT INTO per_minute
             SELECT window_start, customer, count(*), sum(amount)
             FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
             GROUP BY window_start, window_end, customer;",
    )?;
    let (_, bad) = server.wait_for_state("revenue", "FINISHED")?;
    check!(bad == 0, "{bad} bad rows");
    let messages = broker.read("per-minute")?;
    let partitions = messages.iter().map(|m| (m.key.clone(), m.partition)).collect::<BTreeMap<_, _>>();
    check!(partitions.len() == 7, "{} keys", partitions.len());
    check!(messages.iter().all(|m| partitions[&m.key] == m.partition), "a key is in two partitions");
    let mut found = messages.into_iter().filter_map(|m| m.key.zip(m.value)).collect::<Vec<_>>();
    found.sort();
    check!(found == expected, "{} rows instead of {}, first {:?}", found.len(), expected.len(), found.first());
    Ok(())
}

fn a_view_follows_its_topic(broker: &mut Broker) -> Outcome {
    broker.create_topic("followed", 3, &[])?;
    write_orders(broker, "followed", 0..3_000)?;
    let mut server = Server::start(broker)?;
    server.sql(
        "CREATE SOURCE followed (order_id BIGINT, customer TEXT, amount NUMERIC(12,2))
             WITH ($KAFKA, 'topic' = 'followed', 'scan.startup.mode' = 'earliest-offset');
         CREATE MATERIALIZED VIEW live AS
             SELECT customer, count(*) AS orders, sum(amount) AS total FROM followed GROUP BY customer;",
    )?;
    let expected = |ids: u64| {
        let mut sums = BTreeMap::<String, (u64, u64)>::new();
        for (_, customer, cents) in (0..ids).map(order) {
            let (count, sum) = sums.entry(customer).or_default();
            *count += 1;
            *sum += cents;
        }
        let row = |(customer, (count, cents)): (String, (u64, u64))| {
            format!("{customer}|{count}|{}.{:02}", cents / 100, cents % 100)
        };
        sums.into_iter().map(row).collect::<Vec<_>>()
    };
    let seen = |server: &Server, ids: u64| {
        let mut last = Vec::new();
        let answer = wait_for("such an answer", || {
            last = server.sql("SELECT * FROM live ORDER BY customer").ok()?;
            (last == expected(ids)).then_some(())
        });
        answer.map_err(|e| format!("{e} for {ids} rows; last {last:?}"))
    };
    seen(&server, 3_000)?;
    write_orders(broker, "followed", 3_000..6_000)?;
    seen(&server, 6_000)?;
    // After a restart it reads from the stored positions again, and comes to the same answer.
    server.restart()?;
    seen(&server, 6_000)
}

/// Windows close once the fourth partition, which nobody writes, has been at its end for as long as told; not before.
fn an_empty_partition_becomes_idle(broker: &mut Broker) -> Outcome {
    broker.create_topic("idling", 4, &[])?;
    write_orders(broker, "idling", 0..600)?;
    let server = Server::start(broker)?;
    for (name, timeout) in [("patient", "1 hour"), ("hasty", "1 s")] {
        server.sql(&format!(
            "CREATE SOURCE {name} (order_id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
                 WITH ($KAFKA, 'topic' = 'idling', 'scan.startup.mode' = 'earliest-offset', 'idle_timeout' = '{timeout}');
             CREATE MATERIALIZED VIEW {name}_windows AS
                 SELECT window_start, count(*) AS n FROM tumble({name}, ts, INTERVAL '10 seconds')
                 GROUP BY window_start EMIT ON WINDOW CLOSE;"
        ))?;
    }
    // The last row is of 69.9 s; so six windows are over.
    let closed = server.wait_for_rows("SELECT n FROM hasty_windows ORDER BY window_start", 6)?;
    let counted: u64 = closed.iter().filter_map(|n| n.parse::<u64>().ok()).sum();
    let expected = (0..600).map(order).filter(|(millis, ..)| *millis < 60_000).count() as u64;
    check!(counted == expected, "{counted} rows in {closed:?}, not {expected}");
    let held = server.sql("SELECT * FROM patient_windows")?;
    check!(held.is_empty(), "an empty partition holds nothing back: {held:?}");
    Ok(())
}

fn garbage_is_skipped_and_counted_or_fails_its_job(broker: &mut Broker) -> Outcome {
    broker.create_topic("mixed", 1, &[])?;
    for topic in ["skipped", "failed", "fine"] {
        broker.create_topic(topic, 1, &[])?;
    }
    let values: [Option<&[u8]>; 6] = [
        Some(b"{\"id\":1}"),
        Some(b"garbage"),
        Some(b"{\"id\":2}"),
        Some(b"{\"id\":3,\"x\":\"half"),
        Some(b"{\"id\":\"four\"}"),
        Some(b"{\"id\":5}"),
    ];
    broker.produce("mixed", values.map(|value| (0, None, value)))?;
    broker.produce("fine", [(0, None, Some(&b"{\"id\":1}"[..]))])?;
    let server = Server::start(broker)?;
    let source = |name: &str, topic: &str, extra: &str| {
        format!(
            "CREATE SOURCE {name} (id BIGINT) WITH ($KAFKA, 'topic' = '{topic}',
                 'scan.startup.mode' = 'earliest-offset' {extra});"
        )
    };
    server.sql(&source("tolerant", "mixed", ", 'scan.bounded.mode' = 'latest-offset', 'on_error' = 'skip'"))?;
    server.sql(&source("strict", "mixed", ""))?;
    server.sql(&source("fine", "fine", ""))?;
    server.sql(
        "CREATE MATERIALIZED VIEW good AS SELECT id FROM fine;
         CREATE SINK skipped (id BIGINT) WITH ($KAFKA, 'topic' = 'skipped');
         CREATE STREAMING JOB skips AS INSERT INTO skipped SELECT id FROM tolerant;
         CREATE SINK failed (id BIGINT) WITH ($KAFKA, 'topic' = 'failed');
         CREATE STREAMING JOB fails AS INSERT INTO failed SELECT id FROM strict;",
    )?;
    let (_, bad) = server.wait_for_state("skips", "FINISHED")?;
    check!(bad == 3, "{bad} bad rows instead of 3");
    let written = broker.read("skipped")?.into_iter().filter_map(|m| m.value).collect::<Vec<_>>();
    check!(written == ["{\"id\":1}", "{\"id\":2}", "{\"id\":5}"], "{written:?}");
    let (reason, _) = server.wait_for_state("fails", "FAILED")?;
    for part in ["\"strict\"", "partition 0", "offset 1", "invalid JSON", "found \"g\""] {
        check!(reason.contains(part), "the reason does not name {part}: {reason}");
    }
    // That one failed alone.
    wait_for("the view", || server.sql("SELECT id FROM good").ok().filter(|rows| rows == &["1"]))?;
    Ok(())
}

fn missing_topics_are_refused(broker: &mut Broker) -> Outcome {
    broker.create_topic("there", 1, &[])?;
    let server = Server::start(broker)?;
    server.sql(
        "CREATE SOURCE here (id BIGINT) WITH ($KAFKA, 'topic' = 'there', 'scan.startup.mode' = 'earliest-offset');
         CREATE SOURCE gone (id BIGINT) WITH ($KAFKA, 'topic' = 'not-there', 'scan.startup.mode' = 'earliest-offset');
         CREATE SINK away (id BIGINT) WITH ($KAFKA, 'topic' = 'not-there-either');
         CREATE SINK out (id BIGINT) WITH ('connector' = 'blackhole');",
    )?;
    for (statement, topic) in [
        ("CREATE STREAMING JOB j AS INSERT INTO out SELECT id FROM gone", "not-there"),
        ("CREATE STREAMING JOB j AS INSERT INTO away SELECT id FROM here", "not-there-either"),
        ("CREATE MATERIALIZED VIEW v AS SELECT id FROM gone", "not-there"),
    ] {
        let refusal = server.refusal(statement)?;
        let expected = format!("Kafka topic \"{topic}\" does not exist at \"{}\"", broker.servers());
        check!(refusal.starts_with("42P01 ") && refusal.contains(&expected), "{statement}: {refusal}");
    }
    check!(server.sql("SHOW JOBS")?.is_empty(), "a refused job is there");
    Ok(())
}

fn a_server_outlives_its_broker(broker: &mut Broker) -> Outcome {
    broker.create_topic("flaky-in", 3, &[])?;
    broker.create_topic("flaky-out", 1, &[])?;
    let mut server = Server::start(broker)?;
    server.sql(
        "CREATE SOURCE flaky_in (order_id BIGINT) WITH ($KAFKA, 'topic' = 'flaky-in', 'scan.startup.mode' = 'earliest-offset');
         CREATE SINK flaky_out (order_id BIGINT) WITH ($KAFKA, 'topic' = 'flaky-out', 'properties.message.timeout.ms' = '3000');",
    )?;
    broker.kill();
    let create = "CREATE STREAMING JOB copies AS INSERT INTO flaky_out SELECT order_id FROM flaky_in";
    let unreachable = format!("cannot reach Kafka at \"{}\"", broker.servers());
    let refusal = server.refusal(create)?;
    check!(refusal.starts_with("08006 ") && refusal.contains(&unreachable), "{refusal}");
    check!(server.sql("SELECT 1")? == ["1"], "the server is gone");
    broker.restart()?;
    server.sql(create)?;
    let copied = |broker: &Broker, ids: u64| {
        wait_for("copy", || {
            let read = broker.read("flaky-out").ok()?;
            let mut found = read.into_iter().filter_map(|m| m.value).collect::<Vec<_>>();
            found.sort();
            found.dedup();
            (found.len() as u64 == ids).then_some(())
        })
    };
    write_orders(broker, "flaky-in", 0..300)?;
    copied(broker, 300)?;
    // Away while the job runs: it says so, and goes on.
    broker.kill();
    let troubled = |server: &Server| {
        let mut last = None;
        wait_for("trouble", || {
            last = server.job("copies").ok();
            last.clone().filter(|(state, reason, _)| state == "RUNNING" && reason.contains(&unreachable))
        })
        .map_err(|e| format!("{e}; job copies is {last:?}"))
    };
    troubled(&server)?;
    broker.restart()?;
    write_orders(broker, "flaky-in", 300..600)?;
    copied(broker, 600)?;
    // Away while the server starts: the same.
    broker.kill();
    server.restart()?;
    troubled(&server)?;
    check!(server.sql("SELECT 1")? == ["1"], "the server is gone");
    broker.restart()?;
    write_orders(broker, "flaky-in", 600..900)?;
    copied(broker, 900)
}
