//! Apache Flink as judge: statements whose answers were observed on a real Flink 2.3.0.
//!
//! 1. `*.sql` are Flink's scripts over the rows in `data/`; `record.sh` has Flink run them (by `Oracle.java`, one task and
//!    a watermark behind every row) and keeps what it puts out in `*.out`. No test needs Flink.
//! 2. [`case`] reads both, and says each statement in our words.
//! 3. Each is kept as a materialized view here, in ways that share nothing; what the view holds in the end must be what
//!    remains of Flink's changes.
//!
//! Where we mean to answer otherwise, `docs/coming-from-flink.md` lists the case with the reason. A listed case that
//! answers as Flink does fails too: the list is the whole truth.

mod case;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sqllogictest::AsyncDB;

use self::case::Script;
use crate::answer::{compare, rows};
use crate::database::Database;
use crate::host::Host;
use crate::tally::Tally;
use crate::variant::{Backend, Cuts, Variant, Way};
use crate::{root, script};

const NAME: &str = "flink_oracle";

/// Fewer judge nothing.
const MIN_CASES: usize = 80;
/// More would not be Flink's semantics any more.
const MAX_DIFFERENCES: usize = 8;

/// Where the differences are listed, and the heading that their table follows.
const LIST: &str = "docs/coming-from-flink.md";
const HEADING: &str = "## Where answers differ";

const WAYS: [Variant; 3] = [
    Variant { way: Way::InProcess, parallelism: 1, cuts: Cuts::Natural, backend: Backend::Memory, rehearsed: None },
    Variant { way: Way::InProcess, parallelism: 3, cuts: Cuts::Odd(5), backend: Backend::Evicting, rehearsed: None },
    Variant { way: Way::InProcess, parallelism: 2, cuts: Cuts::Small, backend: Backend::Memory, rehearsed: Some(11) },
];

pub fn run(tally: &mut Tally) {
    if let Err(why) = run_all(tally) {
        tally.fail(format_args!("{NAME}: {why}"));
    }
}

fn run_all(tally: &mut Tally) -> Result<(), String> {
    let scripts = scripts()?;
    let differences = differences()?;
    let name = |script: &Script| format!("{NAME}::{}", script.name);
    if tally.wants(&format!("{NAME}::enough")) {
        tally.count(&format!("{NAME}::enough"), enough(&scripts, &differences));
    }
    let chosen: Vec<&Script> = scripts.iter().filter(|script| tally.wants(&name(script))).collect();
    if chosen.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string())?;
    for script in chosen {
        let mut verdicts: BTreeMap<&str, Result<(), String>> = BTreeMap::new();
        for way in WAYS {
            for (case, verdict) in runtime.block_on(judge(script, way))? {
                let verdict = verdict.map_err(|why| format!("{way}\n{why}"));
                let so_far = verdicts.entry(case).or_insert(Ok(()));
                if so_far.is_ok() {
                    *so_far = verdict;
                }
            }
        }
        for (case, verdict) in verdicts {
            let verdict = match differences.contains(&case.to_string()) {
                false => verdict,
                true if verdict.is_ok() => Err(format!("answers as Flink does: take it off the list in {LIST}")),
                true => Ok(()),
            };
            tally.count(&format!("{}::{case}", name(script)), verdict);
        }
    }
    runtime.shutdown_background();
    Ok(())
}

fn folder() -> PathBuf {
    script::folder().join(NAME)
}

/// By name.
fn scripts() -> Result<Vec<Script>, String> {
    let entries = std::fs::read_dir(folder()).map_err(|e| e.to_string())?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "sql"));
    paths.sort();
    paths.iter().map(|path| Script::read(path)).collect()
}

/// The cases that are listed as differences: the first cells of the table behind the heading.
fn differences() -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(root().join(LIST)).map_err(|e| format!("{LIST}: {e}"))?;
    let (_, section) = text.split_once(HEADING).ok_or_else(|| format!("{LIST} has no \"{HEADING}\""))?;
    let lines = section.lines().skip(1).take_while(|line| !line.starts_with("## "));
    let cells = lines.filter_map(|line| line.strip_prefix("| `").and_then(|rest| rest.split('`').next()));
    Ok(cells.map(str::to_string).collect())
}

fn enough(scripts: &[Script], differences: &[String]) -> Result<(), String> {
    let cases: Vec<&String> = scripts.iter().flat_map(|script| script.cases.iter().map(|case| &case.name)).collect();
    println!("{NAME}: {} cases, {} differences", cases.len(), differences.len());
    if let Some(unknown) = differences.iter().find(|listed| !cases.contains(listed)) {
        return Err(format!("{LIST} lists {unknown}, which is no case"));
    }
    if cases.len() < MIN_CASES || differences.len() > MAX_DIFFERENCES {
        return Err(format!("{} cases, {} differences", cases.len(), differences.len()));
    }
    Ok(())
}

/// Runs all cases of a script in one engine.
async fn judge(script: &Script, way: Variant) -> Result<Vec<(&str, Result<(), String>)>, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let host = Host::start(way, dir.path()).await?;
    let mut database = Database::new(Arc::clone(&host));
    for source in &script.sources {
        rows(&mut database, source).await.map_err(|why| format!("{source}\n{why}"))?;
    }
    let mut verdicts = Vec::new();
    for case in &script.cases {
        let create = format!("CREATE MATERIALIZED VIEW {} AS {}", case.name, case.query);
        let answer = match rows(&mut database, &create).await {
            Ok(_) => rows(&mut database, &format!("SELECT * FROM {}", case.name)).await,
            Err(why) => Err(why),
        };
        let verdict = answer.and_then(|answer| compare(("the view", &answer), ("Flink's answer", &case.flink)));
        // A view that stays would tick along with all that follow.
        let _ = rows(&mut database, &format!("DROP MATERIALIZED VIEW IF EXISTS {}", case.name)).await;
        verdicts.push((case.name.as_str(), verdict.map_err(|why| format!("{}\n{why}", case.query))));
    }
    database.shutdown().await;
    host.shutdown().await;
    Ok(verdicts)
}
