//! No panic: statements of the scripts with words exchanged, lost and repeated. Whatever becomes of them, the answer is a
//! plan or an error that says what is wrong; an internal error (XX000) or a panic is a failure.

use std::sync::Arc;

use futures::StreamExt;
use parking_lot::Mutex;
use sqllogictest::Record;
use tidemill::error::SqlState;
use tidemill::pipeline::{Engine, EngineConfig, Work};
use tidemill::session::Session;

use super::runtime;
use crate::script::Script;
use crate::variant::Rng;

pub const NAME: &str = "generated/no_panic";

const MUTANTS: usize = 3_000;
/// Per cent of the mutants that must get as far as the streaming planner, which is what is tested.
const MIN_PLANNED: usize = 30;
/// Scripts that are read side by side.
const SIDE_BY_SIDE: usize = 4;

#[derive(Debug, Default)]
struct Seen {
    tried: usize,
    /// Accepted, or refused as not supported: both know the query's meaning.
    planned: usize,
    failures: Vec<String>,
}

pub fn run() -> Result<(), String> {
    let scripts = Script::all()?;
    let statements: usize = scripts.iter().map(|script| statements(script).map_or(0, |all| all.len())).sum();
    let each = MUTANTS.div_ceil(statements.max(1));
    let runtime = runtime()?;
    let all = scripts.into_iter().enumerate().map(|(index, script)| async move {
        let current = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&current);
        let test = tokio::spawn(async move { mutate(&script, each, Rng(index as u64), &shared).await });
        test.await.unwrap_or_else(|panic| Err(format!("{panic}: {}", current.lock())))
    });
    let results: Vec<_> = runtime.block_on(futures::stream::iter(all).buffer_unordered(SIDE_BY_SIDE).collect());
    runtime.shutdown_background();
    let mut total = Seen::default();
    for result in results {
        match result {
            Ok(seen) => {
                total.tried += seen.tried;
                total.planned += seen.planned;
                total.failures.extend(seen.failures);
            }
            Err(why) => total.failures.push(why),
        }
    }
    println!("{NAME}: {} statements, {} reached the planner", total.tried, total.planned);
    if !total.failures.is_empty() {
        return Err(format!("{} failures\n{}", total.failures.len(), total.failures.join("\n")));
    }
    if total.tried < MUTANTS || total.planned * 100 < total.tried * MIN_PLANNED {
        return Err(format!("{} of {} reached the planner, less than {MIN_PLANNED} %", total.planned, total.tried));
    }
    Ok(())
}

/// The script's statements, in order.
fn statements(script: &Script) -> Result<Vec<String>, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let records = script.lay_out(dir.path())?;
    let sql = records.into_iter().filter_map(|record| match record {
        Record::Statement { sql, .. } | Record::Query { sql, .. } if !sql.starts_with('\\') => Some(sql),
        _ => None,
    });
    Ok(sql.collect())
}

async fn mutate(script: &Script, each: usize, mut rng: Rng, current: &Mutex<String>) -> Result<Seen, String> {
    let config = EngineConfig { work: Work::PlanOnly, ..EngineConfig::default() };
    let engine = Engine::open(config).await.map_err(|e| format!("the engine does not open: {e:?}"))?;
    let mut session = Session::new(Arc::clone(&engine));
    let all = statements(script)?;
    let words: Vec<String> = all.iter().flat_map(|sql| tokens(sql)).collect();
    let mut seen = Seen::default();
    for sql in &all {
        let Some(planned) = plan_of(sql) else { continue };
        // What it makes is there for those behind it. Most of what is refused is meant to be.
        if sql.starts_with("CREATE") {
            let _ = answer(&mut session, sql).await;
        }
        for _ in 0..each {
            let mutant = format!("{}{}", planned.0, mutant(planned.1, &words, &mut rng));
            current.lock().clone_from(&mutant);
            seen.tried += 1;
            match answer(&mut session, &mutant).await {
                Ok(()) => seen.planned += 1,
                Err((SqlState::FeatureNotSupported, _)) => seen.planned += 1,
                Err((SqlState::InternalError, why)) => {
                    seen.failures.push(format!("{}: {why}\n  {mutant}", script.name))
                }
                Err(_) => {}
            }
        }
    }
    drop(session);
    engine.shutdown().await;
    Ok(seen)
}

/// How a statement is planned without being run: what stands before it, and itself.
fn plan_of(sql: &str) -> Option<(&'static str, &str)> {
    let upper = sql.to_ascii_uppercase();
    let begins = |words: &str| upper.starts_with(words);
    match () {
        () if begins("CREATE MATERIALIZED") || begins("CREATE STREAMING") => Some(("EXPLAIN ", sql)),
        () if begins("SELECT") || begins("WITH") => Some(("EXPLAIN CREATE MATERIALIZED VIEW mutant AS ", sql)),
        () if begins("CREATE") || begins("EXPLAIN") => Some(("", sql)),
        () => None,
    }
}

async fn answer(session: &mut Session, sql: &str) -> Result<(), (SqlState, String)> {
    let statements = session.parse(sql).map_err(|e| (e.state(), e.to_string()))?;
    for statement in statements {
        session.execute(&statement, &[]).await.map_err(|e| (e.state(), e.to_string()))?;
    }
    Ok(())
}

/// Words, quoted texts, blanks, and single characters.
fn tokens(sql: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let end = |still: fn(char) -> bool| rest.find(|c| !still(c)).unwrap_or(rest.len());
        let length = match first {
            '\'' => rest[1..].find('\'').map_or(rest.len(), |end| end + 2),
            c if c.is_ascii_digit() => end(|c| c.is_ascii_digit() || c == '.'),
            c if is_word(c) => end(|c| c.is_alphanumeric() || c == '_'),
            c if "<>=".contains(c) => end(|c| "<>=".contains(c)),
            c if c.is_whitespace() => end(char::is_whitespace),
            c => c.len_utf8(),
        };
        let (token, behind) = rest.split_at(length);
        tokens.push(token.to_string());
        rest = behind;
    }
    tokens
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blank,
    /// The scripts write them in capitals.
    Keyword,
    Name,
    Literal,
    Operator,
    Punctuation,
}

fn kind(token: &str) -> Kind {
    match token.chars().next() {
        None => Kind::Blank,
        Some(c) if c.is_whitespace() => Kind::Blank,
        Some(c) if c == '\'' || c.is_ascii_digit() => Kind::Literal,
        Some(_) if token.len() > 1 && token.chars().all(|c| c.is_ascii_uppercase()) => Kind::Keyword,
        Some(c) if c.is_alphanumeric() || c == '_' => Kind::Name,
        Some(c) if "<>=+-*/%".contains(c) => Kind::Operator,
        Some(_) => Kind::Punctuation,
    }
}

/// Mostly names take the places of names and operators those of operators: what cannot be read at all is soon tested.
fn mutant(sql: &str, words: &[String], rng: &mut Rng) -> String {
    let mut tokens = tokens(sql);
    for _ in 0..1 + rng.below(4) / 3 {
        let places: Vec<usize> = (0..tokens.len()).filter(|i| kind(&tokens[*i]) != Kind::Blank).collect();
        let is_rigid = |at: &usize| matches!(kind(&tokens[*at]), Kind::Keyword | Kind::Punctuation);
        let (rigid, loose): (Vec<usize>, Vec<usize>) = places.into_iter().partition(is_rigid);
        let places = if loose.is_empty() || (rng.below(6) == 0 && !rigid.is_empty()) { rigid } else { loose };
        if places.is_empty() {
            break;
        }
        let at = places[rng.below(places.len())];
        let alike: Vec<usize> = places.into_iter().filter(|i| kind(&tokens[*i]) == kind(&tokens[at])).collect();
        let other = alike[rng.below(alike.len())];
        let foreign: Vec<&String> = words.iter().filter(|word| kind(word) == kind(&tokens[at])).collect();
        match rng.below(10) {
            0..4 => tokens.swap(at, other),
            4..7 => tokens[at] = tokens[other].clone(),
            7 if !foreign.is_empty() => tokens[at].clone_from(foreign[rng.below(foreign.len())]),
            8 => tokens[at] = format!("{}, {}", tokens[at], tokens[other]),
            _ => tokens[at].clear(),
        }
    }
    tokens.concat()
}
