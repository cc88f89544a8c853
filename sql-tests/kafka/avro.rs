//! Avro messages, whose schemas live in a registry: a small one of our own, over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::jobs::Server;
use super::{Broker, Outcome, Test, check, wait_for};

pub const TESTS: &[Test] = &[
    ("kafka/avro_goes_through_a_registry", avro_goes_through_a_registry),
    ("kafka/avro_schemas_evolve", avro_schemas_evolve),
    ("kafka/a_registry_that_refuses_is_named", a_registry_that_refuses_is_named),
    ("kafka/a_registry_that_is_away_is_waited_for", a_registry_that_is_away_is_waited_for),
];

/// `me:secret`, as basic authentication sends it.
const AUTHORIZATION: &str = "Basic bWU6c2VjcmV0";

/// What Confluent's registry does of `GET /schemas/ids/N` and `POST /subjects/S/versions`, for whoever has name and password.
/// Its thread ends with it.
struct Registry {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Subject and schema; a schema's number is its place, counted from 1.
    schemas: Mutex<Vec<(String, String)>>,
    /// How often it was asked for a schema.
    asked: AtomicUsize,
    stop: AtomicBool,
}

/// The value of a request's header.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.split_once(':').filter(|(n, _)| n.eq_ignore_ascii_case(name));
    head.lines().find_map(value).map(|(_, value)| value.trim())
}

impl Registry {
    fn start() -> Outcome<Registry> {
        Registry::start_at("127.0.0.1:0")
    }

    fn start_at(address: &str) -> Outcome<Registry> {
        let listener = TcpListener::bind(address).map_err(|e| e.to_string())?;
        let address = listener.local_addr().map_err(|e| e.to_string())?.to_string();
        let shared = Arc::<Shared>::default();
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if own.stop.load(Ordering::Relaxed) {
                    return;
                }
                let _ = own.answer(stream);
            }
        });
        Ok(Registry { address, shared })
    }

    /// Makes a schema known, as another writer would.
    fn add(&self, subject: &str, schema: &str) -> u32 {
        self.shared.register(subject, schema)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the thread.
        drop(TcpStream::connect(&self.address));
    }
}

impl Shared {
    fn register(&self, subject: &str, schema: &str) -> u32 {
        let mut schemas = self.schemas.lock();
        let known = schemas.iter().position(|(s, text)| s == subject && text == schema);
        let place = known.unwrap_or_else(|| {
            schemas.push((subject.to_string(), schema.to_string()));
            schemas.len() - 1
        });
        place as u32 + 1
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut head = String::new();
        while reader.read_line(&mut head)? > 2 {}
        let length = header(&head, "content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        let path = head.split(' ').nth(1).unwrap_or_default().to_string();
        let (status, answer) = match path.split('/').collect::<Vec<_>>().as_slice() {
            _ if header(&head, "authorization") != Some(AUTHORIZATION) => {
                ("401 Unauthorized", serde_json::json!({ "error_code": 401, "message": "Unauthorized" }))
            }
            ["", "schemas", "ids", id] => {
                self.asked.fetch_add(1, Ordering::Relaxed);
                let place = id.parse::<usize>().ok().and_then(|id| id.checked_sub(1));
                match place.and_then(|place| self.schemas.lock().get(place).cloned()) {
                    Some((_, schema)) => ("200 OK", serde_json::json!({ "schema": schema })),
                    None => {
                        ("404 Not Found", serde_json::json!({ "error_code": 40403, "message": "Schema not found" }))
                    }
                }
            }
            ["", "subjects", "forbidden-value", "versions"] => (
                "409 Conflict",
                serde_json::json!({ "error_code": 409, "message": "Schema being registered is incompatible" }),
            ),
            ["", "subjects", subject, "versions"] => {
                let body: serde_json::Value = serde_json::from_slice(&body).map_err(std::io::Error::other)?;
                let id = self.register(subject, body["schema"].as_str().unwrap_or_default());
                ("200 OK", serde_json::json!({ "id": id }))
            }
            _ => ("404 Not Found", serde_json::json!({ "message": "no such path" })),
        };
        let answer = answer.to_string();
        let mut stream = stream;
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len())
    }
}

fn avro_goes_through_a_registry(broker: &mut Broker) -> Outcome {
    broker.create_topic("avro-in", 1, &[])?;
    broker.create_topic("avro-out", 2, &[("cleanup.policy", "compact")])?;
    let registry = Registry::start()?;
    let old =
        registry.add("avro-in-value", r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"}]}"#);
    let new = registry.add(
        "avro-in-value",
        r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"customer","type":["null","string"]},
            {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},{"name":"id","type":"int"}]}"#,
    );
    let message = |id: u32, value: &[u8]| [&[0][..], &id.to_be_bytes(), value].concat();
    let messages = [
        message(old, &[2]),
        message(new, &[2, 6, b'a', b'n', b'n', 4, 1, 0x2c, 4]),
        message(77, &[2]),
        message(new, &[0, 2, 0xff, 6]),
    ];
    broker.produce("avro-in", messages.iter().map(|m| (0, None, Some(m.as_slice()))))?;
    let server = Server::start(broker)?;
    let kafka = "'properties.bootstrap.servers' = '$SERVERS'";
    let url = format!("'avro-confluent.url' = 'http://me:secret@{}/'", registry.address);
    server.sql(&format!(
        "CREATE SOURCE orders (id BIGINT, customer TEXT, amount NUMERIC(9,2))
             WITH ('connector' = 'kafka', {kafka}, 'topic' = 'avro-in', 'format' = 'avro-confluent', {url}, 'on_error' = 'skip',
                   'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset');
         CREATE MATERIALIZED VIEW orders_view AS SELECT * FROM orders;
         CREATE SINK totals (customer TEXT, total NUMERIC(38,2), PRIMARY KEY (customer) NOT ENFORCED)
             WITH ('connector' = 'upsert-kafka', {kafka}, 'topic' = 'avro-out', 'key.format' = 'avro-confluent', 'key.{},
                   'value.format' = 'avro-confluent', 'value.{});
         CREATE STREAMING JOB totalling AS INSERT INTO totals SELECT customer, sum(amount) FROM orders GROUP BY customer;",
        &url[1..],
        &url[1..],
    ))?;
    let rows = server.wait_for_rows("SELECT id, customer, amount FROM orders_view ORDER BY id", 3)?;
    check!(rows == ["1|null|null", "2|ann|3.00", "3|null|-0.01"], "{rows:?}");
    let (_, bad) = server.wait_for_state("totalling", "FINISHED")?;
    check!(bad == 1, "{bad} bad rows");
    let registered = registry.shared.schemas.lock().clone();
    let subjects = registered.iter().skip(2).map(|(subject, _)| subject.as_str()).collect::<Vec<_>>();
    check!(subjects == ["avro-out-value", "avro-out-key"], "{subjects:?}");
    check!(registered[3].1.contains("\"customer\"") && !registered[3].1.contains("\"total\""), "{}", registered[3].1);
    server.sql(&format!(
        "CREATE SOURCE back (customer TEXT, total NUMERIC(38,2), PRIMARY KEY (customer) NOT ENFORCED)
             WITH ('connector' = 'upsert-kafka', {kafka}, 'topic' = 'avro-out', 'key.format' = 'avro-confluent', 'key.{},
                   'value.format' = 'avro-confluent', 'value.{});
         CREATE MATERIALIZED VIEW back_view AS SELECT * FROM back;",
        &url[1..],
        &url[1..],
    ))?;
    let rows = server.wait_for_rows("SELECT * FROM back_view ORDER BY customer", 2)?;
    check!(rows == ["ann|3.00", "null|-0.01"], "{rows:?}");
    Ok(())
}

/// Fields come with a default, go, change places and become wider while a job runs.
fn avro_schemas_evolve(broker: &mut Broker) -> Outcome {
    broker.create_topic("evolving", 1, &[])?;
    let registry = Registry::start()?;
    let schema = |fields: &str| format!(r#"{{"type":"record","name":"Order","namespace":"shop","fields":[{fields}]}}"#);
    let first = registry.add(
        "evolving-value",
        &schema(r#"{"name":"id","type":"int"},{"name":"note","type":"string"},{"name":"amount","type":"float"}"#),
    );
    let second = registry.add(
        "evolving-value",
        &schema(r#"{"name":"city","type":["null","string"],"default":null},{"name":"amount","type":"double"},{"name":"id","type":"long"}"#),
    );
    let message = |id: u32, value: &[u8]| [&[0][..], &id.to_be_bytes(), value].concat();
    let old = message(first, &[&[2, 2, b'n'][..], &1.5_f32.to_le_bytes()].concat());
    let new =
        message(second, &[&[2, 4, b'u', b'l'][..], &2.25_f64.to_le_bytes(), &[0x80, 0x80, 0x80, 0x80, 0x20]].concat());
    broker.produce("evolving", [&old, &new, &old].map(|m| (0, None, Some(m.as_slice()))))?;
    let server = Server::start(broker)?;
    server.sql(&format!(
        "CREATE SOURCE orders (id BIGINT, city TEXT, note TEXT, amount DOUBLE PRECISION)
             WITH ('connector' = 'kafka', 'properties.bootstrap.servers' = '$SERVERS', 'topic' = 'evolving',
                   'format' = 'avro-confluent', 'avro-confluent.url' = 'http://{}',
                   'avro-confluent.basic-auth.credentials-source' = 'USER_INFO',
                   'avro-confluent.basic-auth.user-info' = 'me:secret', 'scan.startup.mode' = 'earliest-offset');
         CREATE MATERIALIZED VIEW orders_view AS SELECT * FROM orders;",
        registry.address
    ))?;
    let rows = "SELECT id, city, note, amount FROM orders_view ORDER BY id, city";
    let found = server.wait_for_rows(rows, 3)?;
    check!(found == ["1|null|n|1.5", "1|null|n|1.5", "4294967296|ul|null|2.25"], "{found:?}");
    broker.produce("evolving", [&new, &old].map(|m| (0, None, Some(m.as_slice()))))?;
    server.wait_for_rows(rows, 5)?;
    let asked = registry.shared.asked.load(Ordering::Relaxed);
    check!(asked <= 4, "each schema is asked for once by whoever decodes: {asked} times");
    Ok(())
}

fn a_registry_that_refuses_is_named(broker: &mut Broker) -> Outcome {
    broker.create_topic("forbidden", 1, &[])?;
    let registry = Registry::start()?;
    let server = Server::start(broker)?;
    let kafka = "'connector' = 'kafka', 'properties.bootstrap.servers' = '$SERVERS', 'topic' = 'forbidden', 'format' = 'avro-confluent'";
    let address = registry.address.clone();
    server.sql(&format!(
        "CREATE SOURCE numbers (id BIGINT) WITH ('connector' = 'generator', 'number-of-rows' = '3');
         CREATE SINK forbidden (id BIGINT) WITH ({kafka}, 'avro-confluent.url' = 'http://me:secret@{address}');
         CREATE STREAMING JOB refused AS INSERT INTO forbidden SELECT id FROM numbers;
         CREATE SINK unknown (id BIGINT) WITH ({kafka}, 'avro-confluent.url' = 'http://me:guessed@{address}');
         CREATE STREAMING JOB denied AS INSERT INTO unknown SELECT id FROM numbers;"
    ))?;
    let (reason, _) = server.wait_for_state("refused", "FAILED")?;
    let named = format!(
        "could not register the schema of \"forbidden-value\" at schema registry http://{address}: 409, Schema"
    );
    check!(reason.contains(&named), "{reason}");
    let (reason, _) = server.wait_for_state("denied", "FAILED")?;
    check!(reason.contains("401, Unauthorized") && !reason.contains("guessed"), "{reason}");
    broker.produce("forbidden", [(0, None, Some(&[0, 0, 0, 0, 1, 2][..]))])?;
    server.sql(&format!(
        "CREATE SOURCE unread (id BIGINT) WITH ({kafka}, 'avro-confluent.url' = 'http://me:guessed@{address}',
                                                'scan.startup.mode' = 'earliest-offset', 'on_error' = 'skip');
         CREATE SINK nowhere (id BIGINT) WITH ('connector' = 'blackhole');
         CREATE STREAMING JOB reading AS INSERT INTO nowhere SELECT id FROM unread;"
    ))?;
    let (reason, _) = server.wait_for_state("reading", "FAILED")?;
    check!(reason.contains(&format!("could not read schema 1 from schema registry http://{address}: 401")), "{reason}");
    Ok(())
}

/// A source waits for its registry as for its broker, and says so; then it goes on where it was.
fn a_registry_that_is_away_is_waited_for(broker: &mut Broker) -> Outcome {
    broker.create_topic("orphans", 1, &[])?;
    let messages = [2, 4].map(|id| [0, 0, 0, 0, 1, id]);
    broker.produce("orphans", messages.each_ref().map(|message| (0, None, Some(message.as_slice()))))?;
    let registry = Registry::start()?;
    let address = registry.address.clone();
    drop(registry);
    let server = Server::start(broker)?;
    server.sql(&format!(
        "CREATE SOURCE orphans (id BIGINT)
             WITH ('connector' = 'kafka', 'properties.bootstrap.servers' = '$SERVERS', 'topic' = 'orphans',
                   'format' = 'avro-confluent', 'avro-confluent.url' = 'http://me:secret@{address}',
                   'scan.startup.mode' = 'earliest-offset');
         CREATE MATERIALIZED VIEW orphans_view AS SELECT id FROM orphans;
         CREATE SINK nowhere (id BIGINT) WITH ('connector' = 'blackhole');
         CREATE STREAMING JOB waiting AS INSERT INTO nowhere SELECT id FROM orphans;"
    ))?;
    let away = format!("could not read schema 1 from schema registry http://{address}");
    wait_for("the trouble", || server.job("waiting").ok().filter(|(_, reason, _)| reason.contains(&away)))?;
    let registry = Registry::start_at(&address)?;
    registry.add("orphans-value", r#"{"type":"record","name":"Orphan","fields":[{"name":"id","type":"long"}]}"#);
    let found = server.wait_for_rows("SELECT id FROM orphans_view ORDER BY id", 2)?;
    check!(found == ["1", "2"], "{found:?}");
    wait_for("its end", || server.job("waiting").ok().filter(|(_, reason, _)| reason.is_empty()))?;
    Ok(())
}
