//! JSON from a real Kafka broker through a job, as a user would run it. The broker is a process of its own: what counts is
//! the CPU of ours, librdkafka's threads included.

#![expect(clippy::disallowed_methods, reason = "the broker of the tests has patience, which ends by the clock")]

#[path = "../sql-tests/kafka/broker.rs"]
#[allow(dead_code, reason = "the tests ask more of the broker")]
mod broker;

use tidemill::format::Encoder;
use tidemill::format::json::{JsonEncoder, JsonOptions};
use tidemill::types::schema_of;

use crate::bids::{self, text};
use crate::engine::{expect, run};
use crate::measure::report;
use broker::Broker;

/// As the broker of the tests wants it.
type Outcome<T = ()> = Result<T, String>;

/// Nexmark events whose bids are in the topic: enough for some seconds of work.
const EVENTS: u64 = 5_000_000;
const PARTITIONS: i32 = 2;

const BIDS: &str = "CREATE SOURCE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT,
    datetime TIMESTAMP(3), extra TEXT, WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND)
    WITH ('connector' = 'kafka', 'topic' = 'bids', 'properties.bootstrap.servers' = '{servers}', 'format' = 'json',
          'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset')";

/// A broker with the bids in a topic of two partitions.
fn filled() -> Outcome<(Broker, u64)> {
    let broker = Broker::start()?;
    broker.create_topic("bids", PARTITIONS, &[])?;
    let encoder = JsonEncoder::new(schema_of(&bids::columns()), JsonOptions::default()).map_err(text)?;
    let mut written = 0;
    bids::for_each(EVENTS, |rows| {
        let (mut data, mut ends) = (Vec::new(), Vec::new());
        encoder.encode(&rows, &mut data, &mut ends).map_err(text)?;
        let mut start = 0;
        let messages = ends.iter().enumerate().map(|(row, end)| {
            let message = data.get(start..*end);
            start = *end;
            (row as i32 % PARTITIONS, None, message)
        });
        written += rows.num_rows() as u64;
        broker.produce("bids", messages)
    })?;
    Ok((broker, written))
}

/// Two jobs over the same topic: all columns into the blackhole, and a count by window and auction, for which two of the
/// seven columns are decoded.
pub fn kafka_json() -> Result<(), String> {
    let (broker, written) = filled()?;
    let source = BIDS.replace("{servers}", &broker.servers());
    let sink = "CREATE SINK out (auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT,
        datetime TIMESTAMP(3), extra TEXT) WITH ('connector' = 'blackhole')";
    let job = "CREATE STREAMING JOB pass AS INSERT INTO out SELECT * FROM bid";
    let (input, output, took) = run(&[&source, sink], job, written)?;
    expect("input rows", written, input)?;
    expect("output rows", written, output)?;
    report("kafka_json", "messages, 7 columns,", written, took, 1.2);

    let sink =
        "CREATE SINK out (window_end TIMESTAMP(3), auction BIGINT, bids BIGINT) WITH ('connector' = 'blackhole')";
    let job = "CREATE STREAMING JOB tumble AS INSERT INTO out SELECT window_end, auction, count(*)
        FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(datetime), INTERVAL '10' SECOND))
        GROUP BY window_start, window_end, auction";
    let (input, output, took) = run(&[&source, sink], job, written)?;
    expect("input rows", written, input)?;
    if output == 0 || output > input {
        return Err(format!("{output} groups of {input} rows"));
    }
    report("kafka_json tumble", "messages", written, took, 1.5);
    Ok(())
}
