//! The whole of a message, not only its value: keys, metadata, formats; and where reading starts and ends.

use super::jobs::Server;
use super::{Broker, Outcome, Test, check, wait_for};

pub const TESTS: &[Test] = &[
    ("kafka/metadata_becomes_columns", metadata_becomes_columns),
    ("kafka/metadata_is_written", metadata_is_written),
    ("kafka/keys_have_formats", keys_have_formats),
    ("kafka/csv_and_raw_messages", csv_and_raw_messages),
    ("kafka/specific_offsets_and_bounds", specific_offsets_and_bounds),
    ("kafka/group_offsets", group_offsets),
    ("kafka/dead_letters_go_to_a_topic", dead_letters_go_to_a_topic),
];

/// Options of a source that reads all there is.
const ALL: &str = "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'";

#[track_caller]
fn same(found: &[String], expected: &[&str]) -> Outcome {
    check!(found == expected, "found {found:#?}\nnot {expected:#?}");
    Ok(())
}

fn metadata_becomes_columns(broker: &mut Broker) -> Outcome {
    broker.create_topic("meta", 2, &[("message.timestamp.type", "LogAppendTime")])?;
    broker.produce(
        "meta",
        [
            (0, Some("k0"), Some(&b"{\"id\":1}"[..])),
            (1, None, Some(b"{\"id\":2}")),
            (1, Some("tombstone"), None),
            (1, Some("bad"), Some(b"{\"id\":")),
            (1, Some("k3"), Some(b"{\"id\":3}")),
        ],
    )?;
    let server = Server::start(broker)?;
    server.sql(&format!(
        "CREATE SOURCE meta (topic TEXT METADATA, id INT, p INT METADATA FROM 'partition' VIRTUAL, o BIGINT METADATA FROM 'offset',
                             key BYTEA METADATA, ts TIMESTAMP(3) METADATA FROM 'timestamp', kind TEXT METADATA FROM 'timestamp-type',
                             headers ROW<key TEXT, value BYTEA>[] METADATA)
         WITH ($KAFKA, 'topic' = 'meta', 'on_error' = 'skip', {ALL});
         CREATE MATERIALIZED VIEW all_meta AS SELECT * FROM meta;
         CREATE MATERIALIZED VIEW few_meta AS SELECT o, key FROM meta WHERE p = 1;"
    ))?;
    let rows = server
        .wait_for_rows("SELECT id, topic, p, o, key, kind, ts > '2024-01-01', headers FROM all_meta ORDER BY id", 3)?;
    same(
        &rows,
        &[
            "1|meta|0|0|\\x6b30|LogAppendTime|t|{}",
            "2|meta|1|0|null|LogAppendTime|t|{}",
            "3|meta|1|3|\\x6b33|LogAppendTime|t|{}",
        ],
    )?;
    same(&server.wait_for_rows("SELECT o, key FROM few_meta ORDER BY o", 2)?, &["0|null", "3|\\x6b33"])
}

fn metadata_is_written(broker: &mut Broker) -> Outcome {
    broker.create_topic("meta-in", 1, &[])?;
    broker.create_topic("meta-out", 1, &[])?;
    broker.produce(
        "meta-in",
        [
            (0, None, Some(&b"{\"id\":1,\"ts\":\"2024-01-01 00:00:01\"}"[..])),
            (0, None, Some(b"{\"id\":2,\"ts\":\"2024-01-01 00:00:02\"}")),
        ],
    )?;
    let server = Server::start(broker)?;
    server.sql(&format!(
        "CREATE SOURCE ids (id INT, ts TIMESTAMP(3)) WITH ($KAFKA, 'topic' = 'meta-in', {ALL});
         CREATE SINK stamped (id INT, at TIMESTAMP(3) METADATA FROM 'timestamp')
         WITH ($KAFKA, 'topic' = 'meta-out');
         CREATE STREAMING JOB stamp AS INSERT INTO stamped SELECT id, ts FROM ids;"
    ))?;
    server.wait_for_state("stamp", "FINISHED")?;
    let values = broker.read("meta-out")?.into_iter().map(|m| m.value.unwrap_or_default()).collect::<Vec<_>>();
    same(&values, &["{\"id\":1}", "{\"id\":2}"])?;
    server.sql(&format!(
        "CREATE SOURCE back (id INT, ts TIMESTAMP(3) METADATA FROM 'timestamp', kind TEXT METADATA FROM 'timestamp_type')
         WITH ($KAFKA, 'topic' = 'meta-out', {ALL});
         CREATE MATERIALIZED VIEW back_view AS SELECT * FROM back;"
    ))?;
    same(
        &server.wait_for_rows("SELECT id, ts, kind FROM back_view ORDER BY id", 2)?,
        &["1|2024-01-01 00:00:01|CreateTime", "2|2024-01-01 00:00:02|CreateTime"],
    )
}

fn keys_have_formats(broker: &mut Broker) -> Outcome {
    broker.create_topic("keys", 1, &[])?;
    broker.produce(
        "keys",
        [
            (0, Some("7;x"), Some(&b"{\"v\":1}"[..])),
            (0, None, Some(b"{\"v\":2}")),
            (0, Some("no number;y"), Some(b"{\"v\":3}")),
            (0, Some("8;z"), Some(b"{\"v\":\"bad\"}")),
            (0, Some("9;\"a;b\""), Some(b"{\"v\":4}")),
        ],
    )?;
    broker.create_topic("keys-out", 1, &[])?;
    let server = Server::start(broker)?;
    let keys = "'key.format' = 'csv', 'key.csv.field-delimiter' = ';', 'key.fields' = 'k;t',
                'value.fields-include' = 'EXCEPT_KEY'";
    server.sql(&format!(
        "CREATE SOURCE keyed (t TEXT, v INT, k INT) WITH ($KAFKA, 'topic' = 'keys', 'on_error' = 'skip', {ALL}, {keys});
         CREATE SOURCE strict (t TEXT, v INT, k INT) WITH ($KAFKA, 'topic' = 'keys', {ALL}, {keys});
         CREATE MATERIALIZED VIEW keyed_view AS SELECT * FROM keyed;"
    ))?;
    let rows = server.wait_for_rows("SELECT v, k, t FROM keyed_view ORDER BY v", 3)?;
    same(&rows, &["1|7|x", "2|null|null", "4|9|a;b"])?;
    // What is not wanted is not read: neither the key that is no number nor the value that is none. (The other view has read
    // everything, so that there is nothing to read together.)
    server.sql(
        "CREATE MATERIALIZED VIEW texts AS SELECT t FROM keyed;
         CREATE MATERIALIZED VIEW strict_view AS SELECT * FROM strict;",
    )?;
    let rows = server.wait_for_rows("SELECT t FROM texts ORDER BY t", 5)?;
    same(&rows, &["a;b", "x", "y", "z", "null"])?;
    let reason = server.wait_for_rows(
        "SELECT reason FROM tidemill.materialized_views WHERE name = 'strict_view' AND state = 'FAILED'",
        1,
    )?;
    same(
        &reason,
        &["source \"strict\", partition 0: message at offset 2: key: field \"k\": \
                     invalid input syntax for type integer: \"no number\""],
    )?;
    server.sql(&format!(
        "CREATE SINK raw_keys (k TEXT, v INT) WITH ($KAFKA, 'topic' = 'keys-out', 'key.format' = 'raw', 'key.fields' = 'k',
             'value.fields-include' = 'EXCEPT_KEY');
         CREATE SOURCE good (v INT) WITH ($KAFKA, 'topic' = 'keys', 'on_error' = 'skip', {ALL});
         CREATE STREAMING JOB write_keys AS INSERT INTO raw_keys SELECT 'key ' || v, v FROM good;"
    ))?;
    server.wait_for_state("write_keys", "FINISHED")?;
    let mut found =
        broker.read("keys-out")?.into_iter().map(|m| format!("{:?} {:?}", m.key, m.value)).collect::<Vec<_>>();
    found.sort();
    same(
        &found,
        &[
            "Some(\"key 1\") Some(\"{\\\"v\\\":1}\")",
            "Some(\"key 2\") Some(\"{\\\"v\\\":2}\")",
            "Some(\"key 3\") Some(\"{\\\"v\\\":3}\")",
            "Some(\"key 4\") Some(\"{\\\"v\\\":4}\")",
        ],
    )
}

fn csv_and_raw_messages(broker: &mut Broker) -> Outcome {
    broker.create_topic("csv", 1, &[])?;
    broker.produce(
        "csv",
        [
            (0, None, Some(&b"1,\"two\nlines\""[..])),
            (0, None, None),
            (0, None, Some(b"2,")),
            (0, None, Some(b"3,\"\"\n")),
        ],
    )?;
    broker.create_topic("csv-out", 1, &[])?;
    let server = Server::start(broker)?;
    let csv = |format: &str| {
        format!("'connector' = 'kafka', 'properties.bootstrap.servers' = '{}', {format}", broker.servers())
    };
    server.sql(&format!(
        "CREATE SOURCE csv_in (id INT, t TEXT) WITH ({}, 'topic' = 'csv', {ALL});
         CREATE MATERIALIZED VIEW csv_view AS SELECT id, t, t IS NULL AS n FROM csv_in;
         CREATE SOURCE raw_in (whole BYTEA) WITH ({}, 'topic' = 'csv', {ALL});
         CREATE MATERIALIZED VIEW raw_view AS SELECT count(*) AS n, count(whole) AS values FROM raw_in;
         CREATE SINK csv_out (id INT, t TEXT) WITH ({}, 'topic' = 'csv-out');
         CREATE STREAMING JOB copy AS INSERT INTO csv_out SELECT id, t FROM csv_in;",
        csv("'format' = 'csv'"),
        csv("'format' = 'raw'"),
        csv("'value.format' = 'csv', 'value.csv.field-delimiter' = ';'"),
    ))?;
    same(
        &server.wait_for_rows("SELECT id, t, n FROM csv_view ORDER BY id", 3)?,
        &["1|two\nlines|f", "2|null|t", "3||f"],
    )?;
    same(&server.wait_for_rows("SELECT n, values FROM raw_view WHERE n = 4", 1)?, &["4|3"])?;
    server.wait_for_state("copy", "FINISHED")?;
    let values = broker.read("csv-out")?.into_iter().map(|m| m.value.unwrap_or_default()).collect::<Vec<_>>();
    same(&values, &["1;\"two\nlines\"", "2;", "3;\"\""])
}

/// Ten records in each of two partitions, their ids 10 * partition + offset.
fn two_partitions(broker: &Broker, topic: &str) -> Outcome {
    broker.create_topic(topic, 2, &[])?;
    let record = |id: i32| (id / 10, format!("{{\"id\":{id}}}"));
    let records = (0..20).map(record).collect::<Vec<_>>();
    broker.produce(topic, records.iter().map(|(partition, value)| (*partition, None, Some(value.as_bytes()))))
}

fn specific_offsets_and_bounds(broker: &mut Broker) -> Outcome {
    two_partitions(broker, "extent")?;
    let server = Server::start(broker)?;
    let read = |name: &str, options: &str, rows: usize| {
        server.sql(&format!(
            "CREATE SOURCE {name} (id INT) WITH ($KAFKA, 'topic' = 'extent', {options});
             CREATE MATERIALIZED VIEW {name}_view AS SELECT id FROM {name};"
        ))?;
        let rows = server.wait_for_rows(&format!("SELECT id FROM {name}_view ORDER BY id"), rows)?;
        Ok::<_, String>(rows.join(" "))
    };
    let found = read(
        "ends",
        "'scan.startup.mode' = 'specific-offsets', 'scan.startup.specific-offsets' = 'partition:0,offset:8;partition:1,offset:7',
         'scan.bounded.mode' = 'specific-offsets', 'scan.bounded.specific-offsets' = 'partition:0,offset:9;partition:1,offset:9'",
        3,
    )?;
    check!(found == "8 17 18", "{found}");
    let found = read(
        "one",
        "'scan.startup.mode' = 'specific-offsets', 'scan.startup.specific-offsets' = 'partition:0,offset:9',
         'scan.bounded.mode' = 'latest-offset'",
        11,
    )?;
    check!(found == "9 10 11 12 13 14 15 16 17 18 19", "{found}");
    let found = read(
        "until_now",
        "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'timestamp',
         'scan.bounded.timestamp-millis' = '4102444800000'",
        20,
    )?;
    check!(found.split(' ').count() == 20, "{found}");
    server.sql(
        "CREATE SOURCE none (id INT) WITH ($KAFKA, 'topic' = 'extent', 'scan.startup.mode' = 'earliest-offset',
             'scan.bounded.mode' = 'timestamp', 'scan.bounded.timestamp-millis' = '1000');
         CREATE SINK nowhere (id INT) WITH ('connector' = 'blackhole');
         CREATE STREAMING JOB nothing AS INSERT INTO nowhere SELECT id FROM none;",
    )?;
    server.wait_for_state("nothing", "FINISHED")?;
    server.sql(
        "CREATE SOURCE third (id INT) WITH ($KAFKA, 'topic' = 'extent', 'scan.startup.mode' = 'specific-offsets',
             'scan.startup.specific-offsets' = 'partition:2,offset:0');",
    )?;
    let refusal = server.refusal("CREATE MATERIALIZED VIEW third_view AS SELECT * FROM third")?;
    check!(refusal == "22023 source \"third\": Kafka topic \"extent\" has no partition 2", "{refusal}");
    server.sql(
        "CREATE SOURCE half (id INT) WITH ($KAFKA, 'topic' = 'extent', 'scan.startup.mode' = 'earliest-offset',
             'scan.bounded.mode' = 'specific-offsets', 'scan.bounded.specific-offsets' = 'partition:0,offset:1');
         CREATE STREAMING JOB half_job AS INSERT INTO nowhere SELECT id FROM half;",
    )?;
    let (reason, _) = server.wait_for_state("half_job", "FAILED")?;
    check!(reason.contains("no end is given for partition 1 of Kafka topic \"extent\""), "{reason}");
    Ok(())
}

fn group_offsets(broker: &mut Broker) -> Outcome {
    two_partitions(broker, "grouped")?;
    broker.commit("readers", "grouped", &[(0, 7), (1, 8)])?;
    broker.commit("half", "grouped", &[(0, 9)])?;
    let mut server = Server::start(broker)?;
    let source = |name: &str, group: &str, extra: &str| {
        format!(
            "CREATE SOURCE {name} (id INT) WITH ($KAFKA, 'topic' = 'grouped', 'properties.group.id' = '{group}', {extra});
             CREATE MATERIALIZED VIEW {name}_view AS SELECT id FROM {name};"
        )
    };
    let from = "'scan.startup.mode' = 'group-offsets', 'scan.bounded.mode' = 'latest-offset'";
    server.sql(&source("g", "readers", from))?;
    let rows = server.wait_for_rows("SELECT id FROM g_view ORDER BY id", 5)?;
    same(&rows, &["7", "8", "9", "18", "19"])?;
    let refusal = server.refusal(&source("h", "half", from))?;
    check!(
        refusal.contains("consumer group \"half\" has committed no offset for partition 1 of Kafka topic \"grouped\""),
        "{refusal}"
    );
    server.sql(&source("i", "half", &format!("{from}, 'properties.auto.offset.reset' = 'latest'")))?;
    same(&server.wait_for_rows("SELECT id FROM i_view ORDER BY id", 1)?, &["9"])?;
    let until = "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'group-offsets'";
    server.sql(&source("u", "readers", until))?;
    check!(server.wait_for_rows("SELECT id FROM u_view", 15)?.len() == 15, "until the group's offsets");
    // Read once: what the group does afterwards does not matter.
    broker.commit("readers", "grouped", &[(0, 10), (1, 10)])?;
    server.restart()?;
    let rows = server.wait_for_rows("SELECT id FROM g_view ORDER BY id", 5)?;
    same(&rows, &["7", "8", "9", "18", "19"])
}

fn dead_letters_go_to_a_topic(broker: &mut Broker) -> Outcome {
    broker.create_topic("some-bad", 1, &[])?;
    broker.create_topic("letters", 1, &[])?;
    broker.produce(
        "some-bad",
        [
            (0, None, Some(&b"{\"id\":1}"[..])),
            (0, None, Some(b"{\"id\":\"two\"}")),
            (0, None, Some(b"\xff\xfe")),
            (0, None, Some(b"{\"id\":4}")),
        ],
    )?;
    let server = Server::start(broker)?;
    server.sql(&format!(
        "CREATE SOURCE some_bad (id INT)
         WITH ($KAFKA, 'topic' = 'some-bad', {ALL}, 'on_error' = 'dead_letter', 'dead_letter.topic' = 'letters');
         CREATE SINK counted (id INT) WITH ('connector' = 'blackhole');
         CREATE STREAMING JOB bury AS INSERT INTO counted SELECT id FROM some_bad;"
    ))?;
    let (_, bad) = server.wait_for_state("bury", "FINISHED")?;
    check!(bad == 2, "{bad} bad rows");
    // Letters go their own way: the job may have ended before.
    let letters = wait_for("dead letters", || {
        let letters = broker.read("letters").ok()?;
        (letters.len() >= 2).then(|| letters.into_iter().map(|m| m.value.unwrap_or_default()).collect::<Vec<_>>())
    })?;
    same(
        &letters,
        &[
            "{\"source\":\"some_bad\",\"partition\":\"0\",\"offset\":1,\"file\":null,\"sqlstate\":\"22P02\",\
         \"error\":\"field \\\"id\\\": expected integer, found string \\\"two\\\"\",\
         \"message\":\"{\\\"id\\\":\\\"two\\\"}\",\"message_base64\":null}",
            "{\"source\":\"some_bad\",\"partition\":\"0\",\"offset\":2,\"file\":null,\"sqlstate\":\"22P04\",\
         \"error\":\"invalid JSON: the message is not UTF-8 at byte 0\",\"message\":null,\"message_base64\":\"//4=\"}",
        ],
    )
}
