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

/// All bids as they are, all columns digested.
pub fn q0() -> Result<(), String> {
    let sink = "CREATE SINK out (auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT,
        datetime TIMESTAMP(3), extra TEXT) WITH ('connector' = 'blackhole')";
    let job = "CREATE STREAMING JOB q0 AS INSERT INTO out SELECT * FROM bid";
    let (input, output, took) = run(&[BIDS, sink], job, EVENTS)?;
    expect("input rows", EVENTS / 50 * 46, input)?;
    expect("output rows", EVENTS / 50 * 46, output)?;
    report("q0", "events", EVENTS, took, 8.0);
    Ok(())
}

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
