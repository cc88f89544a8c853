//! Results that change, in topics: upserts by key, and Debezium's change events.

use std::collections::{BTreeMap, BTreeSet};

use super::broker::Read;
use super::jobs::{Server, order, write_orders};
use super::{Broker, Outcome, Test, check, wait_for};

pub const TESTS: &[Test] = &[
    ("kafka/groups_are_upserted_and_read_back_compacted", groups_are_upserted_and_read_back_compacted),
    ("kafka/upserts_have_formats", upserts_have_formats),
    ("kafka/upserts_are_read_as_a_table", upserts_are_read_as_a_table),
    ("kafka/upserts_without_a_key_are_bad", upserts_without_a_key_are_bad),
    ("kafka/a_tombstone_comes_when_nothing_remains", a_tombstone_comes_when_nothing_remains),
    ("kafka/change_events_come_back_as_the_same_table", change_events_come_back_as_the_same_table),
];

/// Rows of each step that is written: each is a tick or more of its own.
const STEPS: [std::ops::Range<u64>; 4] = [0..500, 500..501, 501..1_500, 1_500..3_000];

/// Kafka's own hash of keys: `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        h = (h ^ tail).wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    (h ^ h >> 15) as i32
}

/// Where Java's producer sends a key.
fn java_partition(key: &str, partitions: i32) -> i32 {
    (murmur2(key.as_bytes()) & 0x7fff_ffff) % partitions
}

/// What compaction leaves of a topic: by key the last value, unless that is a tombstone.
fn compacted(messages: &[Read]) -> BTreeMap<String, String> {
    let mut last = BTreeMap::new();
    for message in messages {
        let Some(key) = message.key.clone() else { continue };
        match message.value.clone() {
            Some(value) => last.insert(key, value),
            None => last.remove(&key),
        };
    }
    last
}

/// Count and sum of each customer's orders.
fn groups(ids: u64) -> BTreeMap<String, (u64, u64)> {
    let mut groups = BTreeMap::<String, (u64, u64)>::new();
    for (_, customer, cents) in (0..ids).map(order) {
        let (count, sum) = groups.entry(customer).or_default();
        *count += 1;
        *sum += cents;
    }
    groups
}

/// Reads `topic` again and again until it shows what `expected` says.
fn shows(broker: &Broker, topic: &str, expected: impl Fn(&BTreeMap<String, String>) -> bool) -> Outcome<Vec<Read>> {
    let mut last = None;
    let found = wait_for("such a topic", || {
        let messages = broker.read(topic).ok()?;
        last = Some(compacted(&messages));
        last.as_ref().is_some_and(&expected).then_some(messages)
    });
    found.map_err(|e| format!("{e}: {topic} shows {last:?}"))
}

fn source(server: &Server, topic: &str) -> Outcome {
    let script = format!(
        "CREATE SOURCE orders (order_id BIGINT, customer TEXT, amount NUMERIC(12,2))
             WITH ($KAFKA, 'topic' = '{topic}', 'scan.startup.mode' = 'earliest-offset');"
    );
    server.sql(&script).map(drop)
}

fn groups_are_upserted_and_read_back_compacted(broker: &mut Broker) -> Outcome {
    // From the tests of Kafka's own Utils.
    for (text, hash) in [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ] {
        check!(murmur2(text.as_bytes()) == hash, "murmur2 of {text}");
    }
    broker.create_topic("upsert-in", 3, &[])?;
    broker.create_topic("upsert-out", 4, &[("cleanup.policy", "compact")])?;
    let mut server = Server::start(broker)?;
    source(&server, "upsert-in")?;
    server.sql(
        "CREATE SINK totals (customer TEXT, orders BIGINT, total NUMERIC(38,2), PRIMARY KEY (customer) NOT ENFORCED)
             WITH ('connector' = 'upsert-kafka', 'topic' = 'upsert-out', 'properties.bootstrap.servers' = '$SERVERS',
                   'key.format' = 'json', 'value.format' = 'json');
         CREATE STREAMING JOB totalling AS
             INSERT INTO totals SELECT customer, count(*), sum(amount) FROM orders GROUP BY customer;
         CREATE SOURCE back (customer TEXT, orders BIGINT, total NUMERIC(38,2), PRIMARY KEY (customer) NOT ENFORCED)
             WITH ('connector' = 'upsert-kafka', 'topic' = 'upsert-out', 'properties.bootstrap.servers' = '$SERVERS',
                   'key.format' = 'json', 'value.format' = 'json');
         CREATE MATERIALIZED VIEW back_view AS SELECT * FROM back;
         CREATE MATERIALIZED VIEW back_sums AS SELECT count(*) AS customers, sum(orders) AS orders FROM back;",
    )?;
    let expected = |ids: u64| {
        let row = |(customer, (count, cents)): (String, (u64, u64))| {
            let total = format!("{}.{:02}", cents / 100, cents % 100);
            let value = format!("{{\"customer\":\"{customer}\",\"orders\":{count},\"total\":{total}}}");
            (format!("{{\"customer\":\"{customer}\"}}"), value)
        };
        groups(ids).into_iter().map(row).collect::<BTreeMap<_, _>>()
    };
    let mut messages = Vec::new();
    for step in STEPS {
        write_orders(broker, "upsert-in", step.clone())?;
        messages = shows(broker, "upsert-out", |found| *found == expected(step.end))?;
        let row = |(customer, (count, cents)): (String, (u64, u64))| {
            format!("{customer}|{count}|{}.{:02}", cents / 100, cents % 100)
        };
        let rows: Vec<String> = groups(step.end).into_iter().map(row).collect();
        answers(&server, "SELECT * FROM back_view ORDER BY customer", &rows)?;
        answers(&server, "SELECT * FROM back_sums", &[format!("{}|{}", rows.len(), step.end)])?;
    }
    check!(messages.len() > 7, "only {} messages: no update was written", messages.len());
    check!(messages.iter().all(|m| m.value.is_some()), "a tombstone, though every customer remains");
    for message in &messages {
        let key = message.key.clone().unwrap_or_default();
        let java = java_partition(&key, 4);
        check!(message.partition == java, "{key} is in partition {}, Java's is {java}", message.partition);
    }
    let partitions = messages.iter().map(|m| m.partition).collect::<BTreeSet<_>>();
    check!(partitions.len() > 1, "all keys are in partition {partitions:?}");
    // It begins anew after a restart, and comes to the same table.
    server.restart()?;
    write_orders(broker, "upsert-in", 3_000..3_100)?;
    shows(broker, "upsert-out", |found| *found == expected(3_100)).map(drop)
}

fn upserts_have_formats(broker: &mut Broker) -> Outcome {
    broker.create_topic("upsert-formats-in", 3, &[])?;
    broker.create_topic("upsert-formats-out", 2, &[("cleanup.policy", "compact")])?;
    let server = Server::start(broker)?;
    source(&server, "upsert-formats-in")?;
    server.sql(
        "CREATE SINK totals (orders BIGINT, customer TEXT, total NUMERIC(38,2), PRIMARY KEY (customer) NOT ENFORCED)
             WITH ('connector' = 'upsert-kafka', 'topic' = 'upsert-formats-out',
                   'properties.bootstrap.servers' = '$SERVERS', 'key.format' = 'raw', 'value.format' = 'csv',
                   'value.csv.field-delimiter' = '|', 'value.fields-include' = 'except_key');
         CREATE STREAMING JOB totalling AS
             INSERT INTO totals SELECT count(*), customer, sum(amount) FROM orders GROUP BY customer;",
    )?;
    for step in STEPS {
        write_orders(broker, "upsert-formats-in", step.clone())?;
        let row = |(customer, (count, cents)): (String, (u64, u64))| {
            (customer, format!("{count}|{}.{:02}", cents / 100, cents % 100))
        };
        let expected = groups(step.end).into_iter().map(row).collect::<BTreeMap<_, _>>();
        shows(broker, "upsert-formats-out", |found| *found == expected)?;
    }
    Ok(())
}

/// Waits until a query has this answer.
fn answers(server: &Server, query: &str, expected: &[String]) -> Outcome {
    let mut last = Vec::new();
    let seen = wait_for("such an answer", || {
        last = server.sql(query).ok()?;
        (last == expected).then_some(())
    });
    seen.map_err(|e| format!("{e} to {query}; last {last:?}, expected {expected:?}"))
}

/// Keys come and go at random, on the partitions that Java's producer would choose.
fn upserts_are_read_as_a_table(broker: &mut Broker) -> Outcome {
    const CITIES: [&str; 3] = ["Aarhus", "Bergen", "Cadiz"];
    broker.create_topic("profiles", 3, &[("cleanup.policy", "compact")])?;
    let mut server = Server::start(broker)?;
    server.sql(
        "CREATE SOURCE profiles (note TEXT, customer TEXT, city TEXT, o BIGINT METADATA FROM 'offset', PRIMARY KEY (customer) NOT ENFORCED)
             WITH ('connector' = 'upsert-kafka', 'topic' = 'profiles', 'properties.bootstrap.servers' = '$SERVERS',
                   'key.format' = 'raw', 'value.format' = 'json', 'value.fields-include' = 'EXCEPT_KEY');
         CREATE MATERIALIZED VIEW living AS SELECT customer, city FROM profiles;
         CREATE MATERIALIZED VIEW by_city AS SELECT city, count(*) AS n FROM profiles GROUP BY city;
         CREATE MATERIALIZED VIEW in_bergen AS SELECT customer FROM profiles WHERE city = 'Bergen';",
    )?;
    let mut table = BTreeMap::<String, &str>::new();
    let mut random = 1_u64;
    for step in 0..6 {
        let mut messages = Vec::new();
        for _ in 0..if step == 2 { 1 } else { 400 } {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (key, value) = (format!("c{}", (random >> 33) % 25), (random >> 40) as usize % (CITIES.len() + 1));
            let city = CITIES.get(value).copied();
            match city {
                Some(city) => table.insert(key.clone(), city),
                None => table.remove(&key),
            };
            messages.push((java_partition(&key, 3), key, city.map(|city| format!("{{\"city\":\"{city}\"}}"))));
        }
        let records =
            messages.iter().map(|(p, key, value)| (*p, Some(key.as_str()), value.as_deref().map(str::as_bytes)));
        broker.produce("profiles", records)?;
        let rows = table.iter().map(|(customer, city)| format!("{customer}|{city}")).collect::<Vec<_>>();
        answers(&server, "SELECT * FROM living ORDER BY customer", &rows)?;
        let mut by_city = BTreeMap::<&str, Vec<String>>::new();
        for (customer, city) in &table {
            by_city.entry(city).or_default().push(customer.clone());
        }
        let counts = by_city.iter().map(|(city, of)| format!("{city}|{}", of.len())).collect::<Vec<_>>();
        answers(&server, "SELECT * FROM by_city ORDER BY city", &counts)?;
        let in_bergen = by_city.remove("Bergen").unwrap_or_default();
        answers(&server, "SELECT * FROM in_bergen ORDER BY customer", &in_bergen)?;
        if step == 3 {
            server.restart()?;
        }
    }
    // Whoever comes later sees the same table.
    server.sql(
        "CREATE MATERIALIZED VIEW later AS SELECT count(*) AS n, count(note) AS notes, count(o) AS o FROM profiles",
    )?;
    let n = table.len();
    answers(&server, "SELECT * FROM later", &[format!("{n}|0|{n}")])
}

fn upserts_without_a_key_are_bad(broker: &mut Broker) -> Outcome {
    broker.create_topic("keyless", 1, &[])?;
    broker.produce(
        "keyless",
        [
            (0, Some("{\"k\":1}"), Some(&b"{\"k\":7,\"v\":1}"[..])),
            (0, None, Some(b"{\"k\":2,\"v\":2}")),
            (0, None, None),
            (0, Some("{\"k\":3}"), Some(b"{\"k\":3,\"v\":3}")),
            (0, Some("{\"k\":\"x\"}"), None),
            (0, Some("{\"k\":3}"), Some(b"{\"v\":\"x\"}")),
        ],
    )?;
    let server = Server::start(broker)?;
    let source = |name: &str, on_error: &str| {
        format!(
            "CREATE SOURCE {name} (k INT, v INT, PRIMARY KEY (k) NOT ENFORCED)
                 WITH ('connector' = 'upsert-kafka', 'topic' = 'keyless', 'properties.bootstrap.servers' = '$SERVERS',
                       'format' = 'json', 'on_error' = '{on_error}');
             CREATE MATERIALIZED VIEW {name}_view AS SELECT k, v FROM {name};"
        )
    };
    server.sql(&source("lenient", "skip"))?;
    // What cannot be read leaves its key's row as it was; a row's key is its message's.
    let rows = ["1|1".to_string(), "3|3".to_string()];
    answers(&server, "SELECT k, v FROM lenient_view ORDER BY k", &rows)?;
    let bad = "SELECT bad_rows FROM tidemill.materialized_views WHERE name = 'lenient_view'";
    answers(&server, bad, &["4".to_string()])?;
    server.sql(&source("strict", "fail"))?;
    let reason = "SELECT reason FROM tidemill.materialized_views WHERE name = 'strict_view' AND state = 'FAILED'";
    let why = "source \"strict\", partition 0: message at offset 1: key: the message has none";
    answers(&server, reason, &[why.to_string()])
}

/// The sink's key is how many orders a customer has: several customers share one, and they leave it.
fn a_tombstone_comes_when_nothing_remains(broker: &mut Broker) -> Outcome {
    broker.create_topic("counts-in", 3, &[])?;
    broker.create_topic("counts-out", 3, &[("cleanup.policy", "compact")])?;
    let server = Server::start(broker)?;
    source(&server, "counts-in")?;
    server.sql(
        "CREATE SINK counts (orders BIGINT, customer TEXT, PRIMARY KEY (orders) NOT ENFORCED)
             WITH ('connector' = 'upsert-kafka', 'topic' = 'counts-out', 'properties.bootstrap.servers' = '$SERVERS',
                   'format' = 'json', 'value.fields-include' = 'except_key');
         CREATE STREAMING JOB counting AS
             INSERT INTO counts SELECT count(*), customer FROM orders GROUP BY customer;",
    )?;
    // By count, any of the customers that have as many.
    let is_answer = |found: &BTreeMap<String, String>, ids: u64| {
        let mut allowed = BTreeMap::<String, Vec<String>>::new();
        for (customer, (count, _)) in groups(ids) {
            let values = allowed.entry(format!("{{\"orders\":{count}}}")).or_default();
            values.push(format!("{{\"customer\":\"{customer}\"}}"));
        }
        found.len() == allowed.len()
            && found.iter().all(|(key, value)| allowed.get(key).is_some_and(|values| values.contains(value)))
    };
    let mut messages = Vec::new();
    for step in STEPS {
        write_orders(broker, "counts-in", step.clone())?;
        messages = shows(broker, "counts-out", |found| is_answer(found, step.end))?;
    }
    check!(messages.iter().any(|m| m.value.is_none()), "no count was left by all, it says");
    // A tombstone takes back a value, and no two come in a row.
    let mut live = BTreeSet::new();
    for message in messages {
        let key = message.key.unwrap_or_default();
        match message.value {
            Some(_) => drop(live.insert(key)),
            None => check!(live.remove(&key), "a tombstone for {key}, which was not there"),
        }
    }
    Ok(())
}

fn change_events_come_back_as_the_same_table(broker: &mut Broker) -> Outcome {
    broker.create_topic("events-in", 3, &[])?;
    broker.create_topic("events", 3, &[])?;
    let server = Server::start(broker)?;
    source(&server, "events-in")?;
    server.sql(
        "CREATE SINK events (customer TEXT, orders BIGINT, total NUMERIC(38,2), PRIMARY KEY (customer) NOT ENFORCED)
             WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = '$SERVERS',
                   'format' = 'debezium-json');
         CREATE STREAMING JOB telling AS
             INSERT INTO events
             SELECT customer, c, s FROM (SELECT customer, count(*) AS c, sum(amount) AS s FROM orders GROUP BY customer) AS g
             WHERE c % 2 = 0;
         CREATE SOURCE told (customer TEXT, orders BIGINT, total NUMERIC(38,2))
             WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = '$SERVERS',
                   'format' = 'debezium-json', 'scan.startup.mode' = 'earliest-offset');
         CREATE MATERIALIZED VIEW even AS SELECT customer, orders, total FROM told;",
    )?;
    for step in STEPS {
        write_orders(broker, "events-in", step.clone())?;
        let row = |(customer, (count, cents)): (String, (u64, u64))| {
            format!("{customer}|{count}|{}.{:02}", cents / 100, cents % 100)
        };
        let expected: Vec<String> = groups(step.end).into_iter().filter(|(_, g)| g.0 % 2 == 0).map(row).collect();
        answers(&server, "SELECT * FROM even ORDER BY customer", &expected).map_err(|e| format!("{step:?}: {e}"))?;
    }
    let messages = broker.read("events")?;
    for op in ["\"op\":\"c\"", "\"op\":\"u\"", "\"op\":\"d\""] {
        let is_there = messages.iter().any(|m| m.value.as_ref().is_some_and(|v| v.ends_with(&format!("{op}}}"))));
        check!(is_there, "no message has {op}");
    }
    for message in &messages {
        let key = message.key.clone().unwrap_or_default();
        let value = message.value.clone().unwrap_or_default();
        let of_key = key.trim_start_matches('{').trim_end_matches('}');
        check!(value.contains(of_key), "{value} has the key {key}");
    }
    Ok(())
}
