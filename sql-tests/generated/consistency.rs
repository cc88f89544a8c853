//! One consistent answer: money is only moved between accounts, so whoever looks, at whatever instant, must find a total of
//! 0, and in all views the same prefix of the transfers. While a watched file grows, views of it are looked at in three
//! ways: by one SELECT again and again, by a subscription, and by the sink of a job. Each answer is compared with that of the
//! prefix that it says it is of.
//!
//! The workload is known from the literature on internal consistency ("Internal consistency in streaming systems", Jamie
//! Brandon, 2021): joins of two aggregates of one input show totals that never were if one branch runs ahead of the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use sqllogictest::{AsyncDB, DBOutput};

use super::to_the_end;
use crate::database::Database;
use crate::host::Host;
use crate::variant::{Backend, Cuts, Rng, Variant, Way};

pub const NAME: &str = "generated/one_consistent_answer";

const TRANSFERS: usize = 600;
const ACCOUNTS: usize = 10;
/// Transfers that are written at once, at most.
const MAX_BURST: usize = 30;
/// Rows that an answer can have: credits, debits and balances of all accounts, and four of one row.
const MAX_ROWS: usize = 3 * ACCOUNTS + 4;
/// Prefixes that must have been seen for a run to say anything.
const MIN_PREFIXES: usize = 20;

const SOURCE: &str = "CREATE SOURCE $NAME (id INT, from_account INT, to_account INT, amount INT, ts TIMESTAMP(3), \
                      WATERMARK FOR ts AS ts - INTERVAL '10' SECOND) WITH ('connector' = 'file', \
                      'path' = '$DIR/$NAME.jsonl', 'format' = 'json', 'mode' = 'watch', 'poll-interval' = '1 ms')";

const SINK: &str = "CREATE SINK told (what TEXT, account INT, amount BIGINT) \
                    WITH ('connector' = 'file', 'path' = '$DIR/told.jsonl', 'format' = 'debezium-json')";

const VIEWS: [&str; 6] = [
    "counted AS SELECT count(*) AS n FROM transfers",
    "credits AS SELECT to_account AS account, sum(amount) AS amount FROM transfers GROUP BY to_account",
    "debits AS SELECT from_account AS account, sum(amount) AS amount FROM $DEBITED GROUP BY from_account",
    "balance AS SELECT c.account, c.amount - d.amount AS amount FROM credits c JOIN debits d ON c.account = d.account",
    "total AS SELECT sum(amount) AS amount FROM balance",
    "pairs AS SELECT l.id, r.id AS other FROM transfers l FULL JOIN transfers r ON l.id = r.id",
];

/// What is looked at: one query, so one instant.
const LOOK: &str = "SELECT 'transfers' AS what, 0 AS account, n AS amount FROM counted \
                    UNION ALL SELECT 'credits', account, amount FROM credits \
                    UNION ALL SELECT 'debits', account, amount FROM debits \
                    UNION ALL SELECT 'balance', account, amount FROM balance \
                    UNION ALL SELECT 'total', 0, CAST(amount AS BIGINT) FROM total \
                    UNION ALL SELECT 'pairs', 0, count(*) FROM pairs \
                    UNION ALL SELECT 'pairs without partner', 0, count(*) FROM pairs WHERE id IS NULL OR other IS NULL";

struct Transfer {
    from: usize,
    to: usize,
    line: String,
}

/// Where the debits come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Debits {
    /// The transfers, like everything else.
    Same,
    /// A copy of the transfers that is a burst behind: what an engine does whose branches run apart.
    Behind,
}

/// Ways of looking, all at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Eye {
    /// A SELECT, again and again.
    Select,
    /// A subscription, tick by tick.
    Subscribe,
    /// A job's sink, change by change.
    Sink,
}

/// What one of them has seen: prefixes, or the first answer that is none's.
type Sight = Result<BTreeSet<usize>, String>;

pub fn run() -> Result<(), String> {
    let ways = [
        Variant { way: Way::InProcess, parallelism: 1, cuts: Cuts::Small, backend: Backend::Memory, rehearsed: None },
        Variant {
            way: Way::InProcess,
            parallelism: 3,
            cuts: Cuts::Odd(7),
            backend: Backend::Evicting,
            rehearsed: Some(7),
        },
    ];
    for way in ways {
        for (eye, sight) in to_the_end(observe(way, Debits::Same))? {
            let prefixes = sight.map_err(|why| format!("{way}: {eye:?}: {why}"))?.len();
            if prefixes < MIN_PREFIXES {
                return Err(format!("{way}: {eye:?}: only {prefixes} prefixes were seen"));
            }
        }
    }
    for (eye, sight) in to_the_end(observe(ways[0], Debits::Behind))? {
        if sight.is_ok() {
            return Err(format!("branches that run apart are not noticed by {eye:?}"));
        }
    }
    Ok(())
}

/// What is seen while the transfers come in.
async fn observe(way: Variant, debits: Debits) -> Result<[(Eye, Sight); 3], String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (mut transfers_file, mut copy) = (growing(dir.path(), "transfers")?, growing(dir.path(), "transfers_copy")?);
    let host = Host::start(way, &dir.path().join("data")).await?;
    let (mut database, mut watcher) = (Database::new(Arc::clone(&host)), Database::new(Arc::clone(&host)));
    for name in ["transfers", "transfers_copy"] {
        let source = SOURCE.replace("$NAME", name).replace("$DIR", &dir.path().to_string_lossy());
        look(&mut database, &source).await?;
    }
    let debited = if debits == Debits::Same { "transfers" } else { "transfers_copy" };
    for view in VIEWS {
        look(&mut database, &format!("CREATE MATERIALIZED VIEW {}", view.replace("$DEBITED", debited))).await?;
    }
    look(&mut database, &SINK.replace("$DIR", &dir.path().to_string_lossy())).await?;
    look(&mut database, &format!("CREATE STREAMING JOB teller AS INSERT INTO told {LOOK}")).await?;
    look(&mut watcher, "BEGIN").await?;
    look(&mut watcher, &format!("DECLARE watched CURSOR FOR SUBSCRIBE ({LOOK}) WITH (PROGRESS)")).await?;

    let transfers = draw(&mut Rng(11));
    let answers = Answers::of(&transfers);
    let (mut selected, mut watched) = (Ok(BTreeSet::new()), Watched::new(&answers));
    let (mut rng, mut written) = (Rng(12), 0);
    while written < transfers.len() {
        let end = (written + 1 + rng.below(MAX_BURST)).min(transfers.len());
        let lines: String = transfers[written..end].iter().map(|transfer| transfer.line.as_str()).collect();
        transfers_file.write_all(lines.as_bytes()).map_err(|e| e.to_string())?;
        written = end;
        loop {
            let seen: BTreeSet<String> =
                look(&mut database, LOOK).await?.into_iter().map(|row| row.join(" ")).collect();
            note(&mut selected, answers.prefix(&seen));
            watched.fetch(&mut watcher).await?;
            if seen.contains(&format!("transfers 0 {written}")) {
                break;
            }
        }
        copy.write_all(lines.as_bytes()).map_err(|e| e.to_string())?;
    }
    host.settle().await;
    watched.fetch(&mut watcher).await?;
    let told = std::fs::read_to_string(dir.path().join("told.jsonl")).map_err(|e| e.to_string())?;
    let sights = [(Eye::Select, selected), (Eye::Subscribe, watched.sight), (Eye::Sink, of_sink(&told, &answers)?)];
    watcher.shutdown().await;
    database.shutdown().await;
    host.shutdown().await;
    Ok(sights)
}

/// Adds a prefix that was seen. What follows the first inconsistent answer says nothing more.
fn note(sight: &mut Sight, prefix: Result<usize, String>) {
    match (sight.as_mut(), prefix) {
        (Ok(seen), Ok(prefix)) => drop(seen.insert(prefix)),
        (Ok(_), Err(why)) => *sight = Err(why),
        (Err(_), _) => {}
    }
}

/// Rows that come and go.
#[derive(Default)]
struct Rows(BTreeMap<String, i64>);

impl Rows {
    fn change(&mut self, row: String, diff: i64) {
        let count = self.0.entry(row).or_default();
        *count += diff;
        if *count == 0 {
            self.0.retain(|_, count| *count != 0);
        }
    }

    /// As an answer; `None` where a row is there twice, or less than not at all.
    fn answer(&self) -> Option<BTreeSet<String>> {
        self.0.values().all(|count| *count == 1).then(|| self.0.keys().cloned().collect())
    }
}

/// A cursor over the subscription: at each tick's end, its changes have added up to an answer.
struct Watched<'a> {
    answers: &'a Answers,
    rows: Rows,
    tick: Option<String>,
    sight: Sight,
}

impl Watched<'_> {
    fn new(answers: &Answers) -> Watched<'_> {
        Watched { answers, rows: Rows::default(), tick: None, sight: Ok(BTreeSet::new()) }
    }

    async fn fetch(&mut self, watcher: &mut Database) -> Result<(), String> {
        for row in look(watcher, "FETCH ALL watched WITH (timeout = '0s')").await? {
            let [tick, progressed, diff, values @ ..] = row.as_slice() else { return Err(format!("{row:?}")) };
            if self.tick.as_ref().is_some_and(|last| last != tick) {
                self.end_tick();
            }
            if progressed == "t" {
                self.end_tick();
                continue;
            }
            self.tick = Some(tick.clone());
            self.rows.change(values.join(" "), diff.parse().map_err(|_| format!("{row:?}"))?);
        }
        Ok(())
    }

    fn end_tick(&mut self) {
        if self.tick.take().is_some() {
            note(&mut self.sight, self.answers.prefix_of(&self.rows));
        }
    }
}

/// The changes of a sink, which does not say where ticks end: no more of them than one tick can have lie between two
/// answers.
fn of_sink(told: &str, answers: &Answers) -> Result<Sight, String> {
    let (mut rows, mut seen, mut between) = (Rows::default(), BTreeSet::new(), 0);
    for line in told.lines() {
        let change: serde_json::Value = serde_json::from_str(line).map_err(|e| format!("{line}: {e}"))?;
        for (member, diff) in [("before", -1), ("after", 1)] {
            let Some(row) = change.get(member).and_then(|row| row.as_object()) else { continue };
            let text = |name: &str| match row.get(name) {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(serde_json::Value::Null) | None => "NULL".into(),
                Some(value) => value.to_string(),
            };
            rows.change(format!("{} {} {}", text("what"), text("account"), text("amount")), diff);
            between += 1;
        }
        match answers.prefix_of(&rows) {
            Ok(prefix) => {
                seen.insert(prefix);
                between = 0;
            }
            Err(why) if between > 2 * MAX_ROWS => return Ok(Err(why)),
            Err(_) => {}
        }
    }
    Ok(if between == 0 { Ok(seen) } else { Err("the last changes lead to no answer".into()) })
}

fn growing(dir: &Path, name: &str) -> Result<File, String> {
    OpenOptions::new().create(true).append(true).open(dir.join(format!("{name}.jsonl"))).map_err(|e| e.to_string())
}

/// Out of order by up to ten seconds of event time.
fn draw(rng: &mut Rng) -> Vec<Transfer> {
    let transfer = |id: usize| {
        let (from, to) = (rng.below(ACCOUNTS), rng.below(ACCOUNTS));
        let second = 10 + id / 20 - rng.below(10);
        let mut line = format!("{{\"id\":{id},\"from_account\":{from},\"to_account\":{to},\"amount\":1,");
        let _ = writeln!(line, "\"ts\":\"2020-01-01 00:00:{second:02}.000\"}}");
        Transfer { from, to, line }
    };
    (0..TRANSFERS).map(transfer).collect()
}

/// What all views say, of each prefix of the transfers.
struct Answers(Vec<BTreeSet<String>>);

impl Answers {
    fn of(transfers: &[Transfer]) -> Answers {
        Answers((0..=transfers.len()).map(|n| answer(&transfers[..n])).collect())
    }

    /// Which prefix an answer is of; `Err` if it is of none.
    fn prefix(&self, seen: &BTreeSet<String>) -> Result<usize, String> {
        let n = seen.iter().find_map(|row| row.strip_prefix("transfers 0 ")).and_then(|n| n.parse::<usize>().ok());
        let Some((n, expected)) = n.and_then(|n| Some((n, self.0.get(n)?))) else {
            return Err(format!("inconsistent: no number of transfers: {seen:?}"));
        };
        if seen == expected {
            return Ok(n);
        }
        let (surplus, missing): (Vec<_>, Vec<_>) =
            (seen.difference(expected).collect(), expected.difference(seen).collect());
        Err(format!("inconsistent after {n} transfers: {surplus:?} should be {missing:?}"))
    }

    fn prefix_of(&self, rows: &Rows) -> Result<usize, String> {
        self.prefix(&rows.answer().ok_or_else(|| format!("inconsistent: {:?}", rows.0))?)
    }
}

/// What all views say of these transfers.
fn answer(transfers: &[Transfer]) -> BTreeSet<String> {
    let (mut credits, mut debits): (BTreeMap<usize, i64>, BTreeMap<usize, i64>) = (BTreeMap::new(), BTreeMap::new());
    for transfer in transfers {
        *credits.entry(transfer.to).or_default() += 1;
        *debits.entry(transfer.from).or_default() += 1;
    }
    let balances: Vec<(usize, i64)> =
        credits.iter().filter_map(|(account, c)| debits.get(account).map(|d| (*account, c - d))).collect();
    let total: i64 = balances.iter().map(|(_, amount)| amount).sum();
    assert!(balances.len() < ACCOUNTS || total == 0, "money was made");
    let total = if balances.is_empty() { "NULL".to_string() } else { total.to_string() };
    let n = transfers.len();
    let per_account = |what: &str, rows: Vec<(usize, i64)>| -> Vec<String> {
        rows.into_iter().map(|(account, amount)| format!("{what} {account} {amount}")).collect()
    };
    let single = [format!("transfers 0 {n}"), format!("total 0 {total}"), format!("pairs 0 {n}")];
    let lonely = "pairs without partner 0 0".to_string();
    let credits = per_account("credits", credits.into_iter().collect());
    let debits = per_account("debits", debits.into_iter().collect());
    single.into_iter().chain([lonely]).chain(credits).chain(debits).chain(per_account("balance", balances)).collect()
}

async fn look(database: &mut Database, sql: &str) -> Result<Vec<Vec<String>>, String> {
    match database.run(sql).await.map_err(|e| e.to_string())? {
        DBOutput::Rows { rows, .. } => Ok(rows),
        _ => Ok(Vec::new()),
    }
}
