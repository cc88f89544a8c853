//! Jobs from the generator into the blackhole, through SQL, as a user would run them.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tidemill::pipeline::{Engine, EngineConfig, JobState};
use tidemill::session::Session;

use crate::measure::{Took, cpu_seconds, now, report};

/// Nexmark events of a run: bids are 46 of 50.
const EVENTS: u64 = 30_000_000;

const BIDS: &str = "CREATE SOURCE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT,
    datetime TIMESTAMP(3), extra TEXT, WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND)
    WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'bid', 'number-of-rows' = '{events}')";

/// Runs `script` and then `job` to its end. Gives the job's input rows and delivered rows, and what the job took.
pub fn run(script: &[&str], job: &str, events: u64) -> Result<(u64, u64, Took), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let config = EngineConfig { parallelism: NonZeroUsize::MIN, ..EngineConfig::default() };
        let engine = Engine::open(config).await.map_err(|e| format!("{e:?}"))?;
        let mut session = Session::new(Arc::clone(&engine));
        for statement in script {
            execute(&mut session, &statement.replace("{events}", &events.to_string())).await?;
        }
        let began = now();
        let cpu = cpu_seconds()?;
        execute(&mut session, job).await?;
        engine.settled().await;
        let took = Took { wall: began.elapsed(), cpu: cpu_seconds()? - cpu };
        let status = engine.jobs().pop().ok_or("the job is gone")?;
        if status.state != JobState::Finished {
            return Err(format!("the job is {}: {:?}", status.state, status.reason));
        }
        engine.shutdown().await;
        Ok((status.counts.input_rows, status.delivered_rows, took))
    })
}

async fn execute(session: &mut Session, sql: &str) -> Result<(), String> {
    for statement in session.parse(sql).map_err(|e| format!("{e:?}"))? {
        session.execute(&statement, &[]).await.map_err(|e| format!("{e:?}"))?;
    }
    Ok(())
}

pub fn expect(what: &str, expected: u64, got: u64) -> Result<(), String> {
    if expected == got { Ok(()) } else { Err(format!("{expected} {what} expected, {got} came")) }
}

const PERSONS: &str = "CREATE SOURCE person (id BIGINT, name TEXT, city TEXT, state TEXT)
    WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'person', 'number-of-rows' = '{events}')";

const AUCTIONS: &str = "CREATE SOURCE auction (id BIGINT, seller BIGINT, category BIGINT, itemname TEXT)
    WITH ('connector' = 'generator', 'kind' = 'nexmark', 'nexmark.table' = 'auction', 'number-of-rows' = '{events}')";

/// Bids of each auction in windows of ten seconds.
pub fn tumble() -> Result<(), String> {
    let sink =
        "CREATE SINK out (window_end TIMESTAMP(3), auction BIGINT, bids BIGINT) WITH ('connector' = 'blackhole')";
    let job = "CREATE STREAMING JOB tumble AS INSERT INTO out SELECT window_end, auction, count(*)
        FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(datetime), INTERVAL '10' SECOND))
        GROUP BY window_start, window_end, auction";
    let (input, output, took) = run(&[BIDS, sink], job, EVENTS)?;
    expect("input rows", EVENTS / 50 * 46, input)?;
    if output == 0 || output > input {
        return Err(format!("{output} groups of {input} rows"));
    }
    report("tumble", "events", EVENTS, took, 6.0);
    Ok(())
}

/// Every auction with its seller: all rows of both inputs become state, and each auction comes out.
pub fn join() -> Result<(), String> {
    let sink = "CREATE SINK out (id BIGINT, itemname TEXT, name TEXT) WITH ('connector' = 'blackhole')";
    let job = "CREATE STREAMING JOB sellers AS INSERT INTO out SELECT a.id, a.itemname, p.name
        FROM auction AS a LEFT JOIN person AS p ON a.seller = p.id";
    let (input, output, took) = run(&[PERSONS, AUCTIONS, sink], job, EVENTS)?;
    expect("input rows", EVENTS / 50 * 4, input)?;
    if output < EVENTS / 50 * 3 {
        return Err(format!("{output} rows of {} auctions", EVENTS / 50 * 3));
    }
    report("join", "rows", EVENTS / 50 * 4, took, 1.0);
    Ok(())
}

/// The ten highest bids of each auction, with rank: Nexmark's q19, into a sink that takes changes.
pub fn top_n() -> Result<(), String> {
    let sink = "CREATE SINK out (auction BIGINT, bidder BIGINT, price BIGINT, datetime TIMESTAMP(3), place BIGINT)
        WITH ('connector' = 'blackhole')";
    let job = "CREATE STREAMING JOB top_n AS INSERT INTO out
        SELECT auction, bidder, price, datetime, place FROM (SELECT *, ROW_NUMBER() OVER
        (PARTITION BY auction ORDER BY price DESC) AS place FROM bid) AS b WHERE place <= 10";
    ranked("top_n", sink, job, 4.0)
}

/// The last bid of each bidder on each auction: Nexmark's q18.
pub fn dedup() -> Result<(), String> {
    let sink = "CREATE SINK out (auction BIGINT, bidder BIGINT, price BIGINT, datetime TIMESTAMP(3))
        WITH ('connector' = 'blackhole')";
    let job = "CREATE STREAMING JOB dedup AS INSERT INTO out
        SELECT auction, bidder, price, datetime FROM (SELECT *, ROW_NUMBER() OVER
        (PARTITION BY bidder, auction ORDER BY datetime DESC) AS place FROM bid) AS b WHERE place = 1";
    ranked("dedup", sink, job, 2.5)
}

/// Events of a run that ranks bids, all of which it keeps or looks at.
const RANKED_EVENTS: u64 = 5_000_000;

fn ranked(name: &str, sink: &str, job: &str, estimate: f64) -> Result<(), String> {
    let (input, output, took) = run(&[BIDS, sink], job, RANKED_EVENTS)?;
    expect("input rows", RANKED_EVENTS / 50 * 46, input)?;
    if output == 0 {
        return Err("nothing came out".into());
    }
    report(name, "events", RANKED_EVENTS, took, estimate);
    Ok(())
}

/// Bids in windows of a minute, tumbling and sliding by a second: what overlapping windows cost, for few keys and for
/// many (there are some ten thousand channels, so that the sliding windows give more rows than there are bids).
pub fn hop() -> Result<(), String> {
    overlapping("hop", "bidder % 100", EVENTS)?;
    overlapping("hop by channel", "channel", EVENTS / 3)
}

fn overlapping(name: &str, key: &str, events: u64) -> Result<(), String> {
    let sink =
        "CREATE SINK out (window_end TIMESTAMP(3), k TEXT, bids BIGINT, price BIGINT) WITH ('connector' = 'blackhole')";
    let of = |function: &str| -> Result<(u64, Took), String> {
        let job = format!(
            "CREATE STREAMING JOB hop AS INSERT INTO out SELECT window_end, {key}, count(*), max(price)
             FROM TABLE({function}) GROUP BY window_start, window_end, {key}"
        );
        let (input, output, took) = run(&[BIDS, sink], &job, events)?;
        expect("input rows", events / 50 * 46, input)?;
        Ok((output, took))
    };
    let (tumbling, alone) = of("TUMBLE(TABLE bid, DESCRIPTOR(datetime), INTERVAL '1' MINUTE)")?;
    report(&format!("{name} 1:1"), "events", events, alone, 6.0);
    let (sliding, took) = of("HOP(TABLE bid, DESCRIPTOR(datetime), INTERVAL '1' SECOND, INTERVAL '1' MINUTE)")?;
    report(&format!("{name} 60:1"), "events", events, took, 4.0);
    let (rows, times) = (sliding as f64 / tumbling as f64, took.cpu / alone.cpu);
    println!("{name}: {rows:.1} times the answers in {times:.2} times the CPU time (target 1.5)");
    Ok(())
}
