//! One consistent answer: money is only moved between accounts, so whoever looks, at whatever instant, must find a total of
//! 0, and in all views the same prefix of the transfers. While a watched file grows, views of it are read again and again
//! in one SELECT, and each answer is compared with that of the prefix that it says it is of.
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
/// Prefixes that must have been seen for a run to say anything.
const MIN_PREFIXES: usize = 20;

const SOURCE: &str = "CREATE SOURCE $NAME (id INT, from_account INT, to_account INT, amount INT, ts TIMESTAMP(3), \
                      WATERMARK FOR ts AS ts - INTERVAL '10' SECOND) WITH ('connector' = 'file', \
                      'path' = '$DIR/$NAME.jsonl', 'format' = 'json', 'mode' = 'watch', 'poll-interval' = '1 ms')";

const VIEWS: [&str; 6] = [
    "counted AS SELECT count(*) AS n FROM transfers",
    "credits AS SELECT to_account AS account, sum(amount) AS amount FROM transfers GROUP BY to_account",
    "debits AS SELECT from_account AS account, sum(amount) AS amount FROM $DEBITED GROUP BY from_account",
    "balance AS SELECT c.account, c.amount - d.amount AS amount FROM credits c JOIN debits d ON c.account = d.account",
    "total AS SELECT sum(amount) AS amount FROM balance",
    "pairs AS SELECT l.id, r.id AS other FROM transfers l FULL JOIN transfers r ON l.id = r.id",
];

/// One SELECT, so one instant.
const LOOK: &str = "SELECT 'transfers', 0, n FROM counted \
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

pub fn run() -> Result<(), String> {
    let ways = [
        Variant { way: Way::InProcess, parallelism: 1, cuts: Cuts::Small, backend: Backend::Memory },
        Variant { way: Way::InProcess, parallelism: 3, cuts: Cuts::Odd(7), backend: Backend::Evicting },
    ];
    for way in ways {
        let prefixes = to_the_end(observe(way, Debits::Same)).map_err(|why| format!("{way}: {why}"))?;
        if prefixes < MIN_PREFIXES {
            return Err(format!("{way}: only {prefixes} prefixes were seen"));
        }
    }
    match to_the_end(observe(ways[0], Debits::Behind)) {
        Err(why) if why.starts_with("inconsistent") => Ok(()),
        Err(why) => Err(format!("branches that run apart: {why}")),
        Ok(_) => Err("branches that run apart are not noticed".into()),
    }
}

/// How many prefixes were seen; `Err` if an answer was none's.
async fn observe(way: Variant, debits: Debits) -> Result<usize, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (mut transfers_file, mut copy) = (growing(dir.path(), "transfers")?, growing(dir.path(), "transfers_copy")?);
    let host = Host::start(way, &dir.path().join("data")).await?;
    let mut database = Database::new(Arc::clone(&host));
    for name in ["transfers", "transfers_copy"] {
        let source = SOURCE.replace("$NAME", name).replace("$DIR", &dir.path().to_string_lossy());
        look(&mut database, &source).await?;
    }
    let debited = if debits == Debits::Same { "transfers" } else { "transfers_copy" };
    for view in VIEWS {
        look(&mut database, &format!("CREATE MATERIALIZED VIEW {}", view.replace("$DEBITED", debited))).await?;
    }
    let mut rng = Rng(11);
    let transfers = draw(&mut rng);
    let mut prefixes = BTreeSet::new();
    let mut rest = transfers.as_slice();
    while !rest.is_empty() {
        let (burst, later) = rest.split_at((1 + rng.below(MAX_BURST)).min(rest.len()));
        let lines: String = burst.iter().map(|transfer| transfer.line.as_str()).collect();
        transfers_file.write_all(lines.as_bytes()).map_err(|e| e.to_string())?;
        rest = later;
        let written = transfers.len() - rest.len();
        loop {
            let seen = look(&mut database, LOOK).await?;
            let n = check(&seen, &transfers)?;
            prefixes.insert(n);
            if n == written {
                break;
            }
        }
        copy.write_all(lines.as_bytes()).map_err(|e| e.to_string())?;
    }
    database.shutdown().await;
    host.shutdown().await;
    Ok(prefixes.len())
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

/// Which prefix an answer is of; `Err` if it is of none.
fn check(seen: &BTreeSet<String>, transfers: &[Transfer]) -> Result<usize, String> {
    let n = seen.iter().find_map(|row| row.strip_prefix("transfers 0 ")).and_then(|n| n.parse::<usize>().ok());
    let prefix =
        n.and_then(|n| transfers.get(..n)).ok_or_else(|| format!("inconsistent: no number of transfers: {seen:?}"))?;
    let expected = answer(prefix);
    if *seen == expected {
        return Ok(prefix.len());
    }
    let (surplus, missing): (Vec<_>, Vec<_>) =
        (seen.difference(&expected).collect(), expected.difference(seen).collect());
    Err(format!("inconsistent after {} transfers: {surplus:?} should be {missing:?}", prefix.len()))
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

async fn look(database: &mut Database, sql: &str) -> Result<BTreeSet<String>, String> {
    match database.run(sql).await.map_err(|e| e.to_string())? {
        DBOutput::Rows { rows, .. } => Ok(rows.into_iter().map(|row| row.join(" ")).collect()),
        _ => Ok(BTreeSet::new()),
    }
}
