//! Ticks that would take for ever: who looks, cancels, stops or drops within one is answered, and nothing fills memory. And
//! views that take many ticks to be filled: who asks waits for all of it.

#![expect(clippy::disallowed_methods, reason = "tests have patience, which ends by the clock")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill::pipeline::{CutPolicy, Engine, EngineConfig};
use tidemill::session::{Body, Session};
use tokio::runtime::Runtime;

use crate::tally::Tally;

/// How long anything may take. A tick of these would take hours.
const PATIENCE: Duration = Duration::from_secs(60);

/// What may be held: a few parts on their way to a sink.
const MOST_BYTES: usize = 512 << 20;

/// Nine hundred million rows in one tick.
const EVENTS: &str = "CREATE SOURCE n (a BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'generator',
        'number-of-rows' = '100000', 'fields.a.kind' = 'sequence', 'fields.ts.start' = '2020-01-01 00:00:00', 'fields.ts.step' = '1 s');
    CREATE SINK nowhere (a BIGINT, w TIMESTAMP(3)) WITH ('connector' = 'blackhole')";

const HOP: &str = "SELECT a, window_start AS w FROM hop(n, ts, INTERVAL '1 second', INTERVAL '9000 seconds')";

type Test = fn(&Bench) -> Result<(), String>;

pub fn run(tally: &mut Tally) {
    let tests: &[(&str, Test)] = &[
        ("long_ticks::a_job_hands_on_and_is_canceled", a_job_hands_on_and_is_canceled),
        ("long_ticks::a_job_that_gives_nothing_is_stopped", a_job_that_gives_nothing_is_stopped),
        ("long_ticks::a_view_fails_alone_or_is_dropped", a_view_fails_alone_or_is_dropped),
        ("long_ticks::the_server_ends", the_server_ends),
        ("long_ticks::a_select_waits_until_a_view_is_filled", a_select_waits_until_a_view_is_filled),
    ];
    for (name, test) in tests.iter().filter(|(name, _)| tally.wants(name)).collect::<Vec<_>>() {
        tally.count(name, Bench::open().and_then(|bench| test(&bench)));
    }
}

struct Bench {
    runtime: Runtime,
    engine: Arc<Engine>,
}

impl Bench {
    fn open() -> Result<Bench, String> {
        let runtime = Runtime::new().map_err(|e| e.to_string())?;
        // Little is shown whole, so that what is too much comes soon.
        let cuts = CutPolicy { whole_bytes: 64 << 20, tick_bytes: 4 << 20, ..CutPolicy::default() };
        let config = EngineConfig { cuts, ..EngineConfig::default() };
        let engine = runtime.block_on(Engine::open(config)).map_err(|e| format!("{e:?}"))?;
        let bench = Bench { runtime, engine };
        bench.sql(EVENTS)?;
        Ok(bench)
    }

    /// Runs statements, each within a while.
    fn sql(&self, text: &str) -> Result<usize, String> {
        let mut session = Session::new(Arc::clone(&self.engine));
        self.runtime.block_on(async {
            let mut rows = 0;
            for statement in session.parse(text).map_err(|e| format!("{e:?}"))? {
                let answer = tokio::time::timeout(PATIENCE, session.execute(&statement, &[])).await;
                let answer = answer.map_err(|_| format!("no answer: {text}"))?.map_err(|e| format!("{e:?}"))?;
                if let Body::Rows(set) = answer.body {
                    let batches: Vec<_> = futures::StreamExt::collect(set.stream).await;
                    rows = batches.into_iter().flatten().map(|batch| batch.num_rows()).sum();
                }
            }
            Ok(rows)
        })
    }

    fn wait_for(&self, what: &str, mut there: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while !there()? {
            if Instant::now() > until {
                return Err(format!("never: {what}"));
            }
            let held = self.engine.budget().used_bytes();
            if held > MOST_BYTES {
                return Err(format!("{held} bytes are held"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn state(&self, job: &str) -> Result<String, String> {
        let status = self.engine.jobs().into_iter().find(|status| status.name == job);
        status.map(|status| status.state.to_string()).ok_or_else(|| format!("no job {job}"))
    }
}

fn a_job_hands_on_and_is_canceled(bench: &Bench) -> Result<(), String> {
    bench.sql(&format!("CREATE STREAMING JOB j AS INSERT INTO nowhere {HOP}"))?;
    bench.wait_for("some of a tick is delivered", || {
        let job = bench.engine.jobs().pop().ok_or("no job")?;
        Ok(job.delivered_rows > 3_000_000 && job.counts.ticks <= 1)
    })?;
    bench.sql("CANCEL STREAMING JOB j")?;
    match bench.state("j")?.as_str() {
        "CANCELED" => Ok(()),
        other => Err(format!("the job is {other}")),
    }
}

fn a_job_that_gives_nothing_is_stopped(bench: &Bench) -> Result<(), String> {
    let rows = format!(
        "SELECT a, w FROM ({HOP}) AS h WHERE w < TIMESTAMP '2000-01-01 00:00:00' AND a + extract(hour FROM w) < 0"
    );
    bench.sql(&format!("CREATE STREAMING JOB j AS INSERT INTO nowhere {rows}"))?;
    bench.wait_for("it runs", || Ok(bench.state("j")? == "RUNNING"))?;
    bench.sql("STOP STREAMING JOB j")?;
    match bench.state("j")?.as_str() {
        "STOPPED" => Ok(()),
        other => Err(format!("the job is {other}")),
    }
}

fn a_view_fails_alone_or_is_dropped(bench: &Bench) -> Result<(), String> {
    bench.sql(&format!(
        "CREATE MATERIALIZED VIEW whole AS {HOP}; CREATE MATERIALIZED VIEW few AS SELECT count(*) FROM n"
    ))?;
    bench.wait_for("the view fails", || {
        let failed = bench.engine.views().into_iter().find_map(|view| view.failed.map(|why| (view.name, why)));
        match failed {
            None => Ok(false),
            Some((name, why)) if name == "whole" && why.state().code() == "53200" => Ok(true),
            Some((name, why)) => Err(format!("{name}: {why:?}")),
        }
    })?;
    bench.wait_for("the other is there", || Ok(bench.sql("SELECT * FROM few WHERE count = 100000")? == 1))?;
    // Its windows are counted for hours, and nothing of it is ever seen.
    bench.sql(&format!(
        "CREATE MATERIALIZED VIEW slow AS SELECT count(*) AS n FROM ({HOP}) AS h WHERE a + extract(hour FROM w) > 0"
    ))?;
    bench.sql("DROP MATERIALIZED VIEW slow")?;
    bench.sql("SELECT * FROM few").map(drop)
}

fn the_server_ends(bench: &Bench) -> Result<(), String> {
    bench.sql(&format!("CREATE STREAMING JOB j AS INSERT INTO nowhere {HOP}"))?;
    let ended = async { tokio::time::timeout(PATIENCE, bench.engine.shutdown()).await };
    bench.runtime.block_on(ended).map_err(|_| "the server does not end".to_string())
}

/// A view of many ticks, one over it, one of a source without end, and one that fails at its last row.
fn a_select_waits_until_a_view_is_filled(bench: &Bench) -> Result<(), String> {
    let many = "'connector' = 'generator', 'fields.a.kind' = 'sequence', 'number-of-rows' = '2000000'";
    let endless = "'connector' = 'generator', 'fields.a.kind' = 'sequence'";
    let rows = bench.sql(&format!(
        "CREATE SOURCE many (a BIGINT) WITH ({many}); CREATE SOURCE endless (a BIGINT) WITH ({endless});
         CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM many;
         CREATE MATERIALIZED VIEW w AS SELECT n + 1 AS n FROM v;
         SELECT * FROM v, w WHERE v.n = 2000000 AND w.n = 2000001"
    ))?;
    if rows != 1 {
        return Err("the SELECT saw a part of the input".into());
    }
    bench.sql("CREATE MATERIALIZED VIEW e AS SELECT max(a) AS a FROM endless")?;
    if bench.sql("SELECT * FROM e WHERE a > 0")? != 1 {
        return Err("what has no end is not shown".into());
    }
    bench.sql("CREATE MATERIALIZED VIEW bad AS SELECT sum(1 / (a - 1999999)) AS a FROM many")?;
    match bench.sql("SELECT * FROM bad") {
        Err(why) if why.contains("division by zero") => Ok(()),
        other => Err(format!("a SELECT of a view that fails: {other:?}")),
    }
}
