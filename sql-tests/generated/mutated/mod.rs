//! No panic: whatever becomes of a statement, the answer is a plan, rows, or an error that says what is wrong. An abort, an
//! unwinding that somebody caught, an internal error (XX000), and a statement that takes more than [`SLOW`] are failures.
//!
//! 1. [`scenes`] are the statements of the scripts, the examples and the documentation. Each is changed several times
//!    ([`mutant`], with values of [`borders`]) and planned where it stands; what is a query is also run.
//! 2. [`calls`] asks every function of the catalogue for values at the borders of every type: over literals, over rows, and
//!    over the columns of a stream.
//!
//! It runs in a process of its own, since an abort takes everything with it: what each worker was asked last is in a file.
//! `TIDEMILL_STATEMENTS` says how many statements are tried, `TIDEMILL_SEED` which; without it they are always the same.

mod borders;
mod calls;
mod mutant;
mod scenes;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use futures::StreamExt;
use parking_lot::Mutex;
use tidemill::cli::STACK_BYTES;
use tidemill::error::SqlState;
use tidemill::pipeline::{Engine, EngineConfig, Work};
use tidemill::plan::functions::functions;
use tidemill::server::grid::Grid;
use tidemill::session::{Body, Session};
use tidemill::sql::Dialect;

use crate::variant::Rng;
use calls::Calls;
use mutant::{Token, Words, mutant, tokens};
use scenes::Scene;

pub const NAME: &str = "generated/no_panic";
/// The argument that makes this binary the process that tries them.
pub const ARGUMENT: &str = "--statements";

const STATEMENTS: usize = 20_000;
/// Of a hundred statements so many are calls of functions.
const CALLS: usize = 30;
/// Of a hundred statements of the scripts so many become a plan: these are changed more than once.
const PLANS: usize = 50;
/// Per cent of the statements that must become a stream plan, which is what is tested.
const MIN_PLANNED: usize = 30;
/// Threads that plan.
const WORKERS: usize = 2;
/// No statement of a few words may take longer.
const SLOW: Duration = Duration::from_secs(2);
/// A statement that takes so long takes for ever.
const HANG: Duration = Duration::from_secs(60);
/// Where the process writes what each worker was asked last.
const FOLDER: &str = "TIDEMILL_STATEMENTS_DIR";

#[derive(Debug, Default)]
struct Seen {
    tried: usize,
    /// Became a stream plan.
    planned: usize,
    /// Were answered with rows.
    answered: usize,
    failures: Vec<String>,
}

/// Runs the statements in another process.
pub fn run() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut process = Command::new(this);
    process.arg(ARGUMENT).env("CARGO_MANIFEST_DIR", crate::root()).env(FOLDER, dir.path());
    let status = process.status().map_err(|e| e.to_string())?;
    match status.code() {
        Some(0) => Ok(()),
        Some(_) => Err("failures, see above".into()),
        None => {
            let last = (0..WORKERS).filter_map(|n| std::fs::read_to_string(last_of(dir.path(), n)).ok());
            Err(format!("{status}; the last statements were\n{}", last.collect::<Vec<_>>().join("\n")))
        }
    }
}

fn last_of(folder: &Path, worker: usize) -> PathBuf {
    folder.join(worker.to_string())
}

/// The process that tries the statements.
pub fn in_this_process() -> ExitCode {
    let seen = match try_all() {
        Ok(seen) => seen,
        Err(why) => {
            eprintln!("{NAME}: {why}");
            return ExitCode::FAILURE;
        }
    };
    for failure in &seen.failures {
        eprintln!("FAILED {NAME}: {failure}\n");
    }
    println!(
        "{NAME}: {} statements, {} became a plan, {} were answered with rows, {} failures",
        seen.tried,
        seen.planned,
        seen.answered,
        seen.failures.len()
    );
    let enough = seen.planned * 100 >= seen.tried * MIN_PLANNED;
    if !enough {
        eprintln!("{NAME}: less than {MIN_PLANNED} % became a plan");
    }
    if enough && seen.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|s| s.parse().ok())
}

fn try_all() -> Result<Seen, String> {
    let wanted = number("TIDEMILL_STATEMENTS").and_then(|n| usize::try_from(n).ok()).unwrap_or(STATEMENTS);
    let seed = number("TIDEMILL_SEED").unwrap_or_default();
    let folder = std::env::var_os(FOLDER).map(PathBuf::from);
    let panics = note_panics();
    let calls = wanted * CALLS / 100;
    let scenes = scenes::all()?;
    let changed: usize = scenes.iter().flat_map(|scene| &scene.statements).filter(|sql| plan_of(sql).is_some()).count();
    let each = ((wanted - calls) * 100).div_ceil(changed.max(1) * PLANS);
    let mut work = VecDeque::from([(Scene::of_calls()?, calls)]);
    work.extend(scenes.into_iter().map(|scene| (scene, each)));
    let work = Arc::new(Mutex::new(work.into_iter().enumerate().collect::<VecDeque<_>>()));

    // As those of a server, whose threads have larger stacks than others.
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK_BYTES).enable_all().build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    let (report, reports) = mpsc::channel();
    let watched: Vec<Arc<Watched>> = (0..WORKERS)
        .map(|n| Arc::new(Watched { last: Mutex::default(), file: folder.as_ref().map(|f| last_of(f, n)) }))
        .collect();
    for watched in &watched {
        let (work, watched, report) = (Arc::clone(&work), Arc::clone(watched), report.clone());
        let worker = worker(work, watched, seed, report.clone());
        let task = runtime.spawn(worker);
        // A panic outside of the planner ends its worker, and is told.
        runtime.spawn(async move {
            if let Err(panic) = task.await {
                let _ = report.send(Err(panic.to_string()));
            }
        });
    }
    drop(report);
    let mut seen = gather(&reports, &watched);
    if seen.tried < wanted {
        seen.failures.push(format!("only {} of {wanted} statements were tried", seen.tried));
    }
    runtime.shutdown_background();
    seen.failures.extend(panics.lock().drain(..));
    Ok(seen)
}

/// Waits for all workers, or until one hangs.
fn gather(reports: &mpsc::Receiver<Result<Seen, String>>, watched: &[Arc<Watched>]) -> Seen {
    let mut total = Seen::default();
    loop {
        match reports.recv_timeout(Duration::from_millis(200)) {
            Ok(Ok(seen)) => {
                total.tried += seen.tried;
                total.planned += seen.planned;
                total.answered += seen.answered;
                total.failures.extend(seen.failures);
            }
            Ok(Err(why)) => {
                let last =
                    watched.iter().filter_map(|watched| watched.last.lock().as_ref().map(|(sql, _)| sql.clone()));
                total.failures.push(format!("{why}, at one of\n{}", last.collect::<Vec<_>>().join("\n")));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return total,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let hanging = watched.iter().find_map(|watched| {
                    let last = watched.last.lock();
                    last.as_ref().filter(|(_, since)| since.elapsed() > HANG).map(|(sql, _)| sql.clone())
                });
                if let Some(sql) = hanging {
                    total.failures.push(format!("hangs: {sql}"));
                    return total;
                }
            }
        }
    }
}

/// Panics, whoever catches them.
fn note_panics() -> Arc<Mutex<Vec<String>>> {
    let panics: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&panics);
    std::panic::set_hook(Box::new(move |panic| noted.lock().push(panic.to_string())));
    panics
}

/// What a worker does, for those who wait for it.
struct Watched {
    last: Mutex<Option<(String, Instant)>>,
    file: Option<PathBuf>,
}

type Scenes = Mutex<VecDeque<(usize, (Scene, usize))>>;

async fn worker(work: Arc<Scenes>, watched: Arc<Watched>, seed: u64, report: mpsc::Sender<Result<Seen, String>>) {
    loop {
        let Some((index, (scene, count))) = work.lock().pop_front() else { return };
        let rng = Rng(seed.wrapping_mul(0x9e37_79b9).wrapping_add(index as u64));
        let mut trial = match Trial::new(scene, Arc::clone(&watched), rng).await {
            Ok(trial) => trial,
            Err(why) => {
                let _ = report.send(Err(why));
                continue;
            }
        };
        if index == 0 {
            trial.calls(count).await;
        } else {
            trial.mutants(count).await;
        }
        drop(trial.session);
        trial.engine.shutdown().await;
        let _ = report.send(Ok(trial.seen));
    }
}

/// A scene on an engine that plans and runs nothing.
struct Trial {
    scene: Scene,
    engine: Arc<Engine>,
    session: Session,
    watched: Arc<Watched>,
    rng: Rng,
    seen: Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accepted,
    /// Refused for its values: it was understood.
    BadValue,
    Refused,
}

impl Trial {
    async fn new(scene: Scene, watched: Arc<Watched>, rng: Rng) -> Result<Trial, String> {
        let config = EngineConfig { work: Work::PlanOnly, ..EngineConfig::default() };
        let engine = Engine::open(config).await.map_err(|e| format!("the engine does not open: {e:?}"))?;
        let mut session = Session::new(Arc::clone(&engine));
        session.set(Dialect::SETTING, scene.dialect.name()).map_err(|e| e.to_string())?;
        // Some ask for thousands of millions of rows; that they can be stopped is enough.
        session.set("statement_timeout", "1s").map_err(|e| e.to_string())?;
        Ok(Trial { scene, engine, session, watched, rng, seen: Seen::default() })
    }

    async fn mutants(&mut self, each: usize) {
        let statements = std::mem::take(&mut self.scene.statements);
        let all: Vec<Vec<Token>> = statements.iter().map(|sql| tokens(sql)).collect();
        let mut names = functions().scalar_names();
        names.extend(functions().aggregate_names());
        let words = Words::of(&all, &names);
        for (sql, tokens) in statements.iter().zip(&all) {
            let Some(form) = plan_of(sql) else {
                if sql.starts_with("SET") {
                    self.answer(sql).await;
                }
                continue;
            };
            // What it makes is there for those behind it. Most of what is refused is meant to be.
            if sql.starts_with("CREATE") {
                self.answer(sql).await;
            }
            // Most of what comes of a statement that is refused is refused for the same reason.
            let times = match form {
                Form::Plan | Form::Declaration(_) => 1,
                Form::Query | Form::Planned if self.plan(form, sql).await == Verdict::Accepted => each,
                Form::Query | Form::Planned => 1,
            };
            for _ in 0..times {
                let mutant = mutant(tokens, form.free(), &words, &mut self.rng);
                self.try_mutant(form, &mutant).await;
            }
        }
    }

    async fn try_mutant(&mut self, form: Form, mutant: &str) {
        self.seen.tried += 1;
        if matches!(form, Form::Query) {
            self.answer_with_rows(mutant).await;
        }
        let planned = self.plan(form, mutant).await == Verdict::Accepted;
        self.seen.planned += usize::from(planned && matches!(form, Form::Query | Form::Planned));
    }

    async fn plan(&mut self, form: Form, mutant: &str) -> Verdict {
        match form {
            Form::Query => self.answer(&format!("EXPLAIN CREATE MATERIALIZED VIEW mutant AS {mutant}")).await,
            Form::Planned => self.answer(&format!("EXPLAIN {mutant}")).await,
            Form::Plan => self.answer(mutant).await,
            Form::Declaration(class) => {
                let mutant = renamed(mutant, class);
                let verdict = self.answer(&mutant).await;
                if verdict == Verdict::Accepted {
                    self.answer(&format!("DROP {class} IF EXISTS mutant")).await;
                }
                verdict
            }
        }
    }

    async fn calls(&mut self, count: usize) {
        let mut calls = Calls::new();
        for sql in std::mem::take(&mut self.scene.statements) {
            self.answer(&sql).await;
        }
        for n in 0..count {
            let call = calls.draw(n / 2, &mut self.rng);
            self.seen.tried += 1;
            let verdict = match self.rng.below(4) {
                0 => {
                    let sql = call.over_literals(&mut self.rng);
                    self.answer_with_rows(&sql).await
                }
                1 => {
                    let sql = call.over_rows(&mut self.rng);
                    self.answer_with_rows(&sql).await
                }
                _ => {
                    let query = call.over_columns(&mut self.rng);
                    let verdict = self.plan(Form::Query, &query).await;
                    self.seen.planned += usize::from(verdict == Verdict::Accepted);
                    verdict
                }
            };
            if verdict != Verdict::Refused {
                calls.accept(call);
            }
        }
    }

    async fn answer_with_rows(&mut self, sql: &str) -> Verdict {
        let verdict = self.answer(sql).await;
        self.seen.answered += usize::from(verdict == Verdict::Accepted);
        verdict
    }

    /// What becomes of a statement. Too slow is what is so twice: other processes want the machine, too.
    #[expect(clippy::disallowed_methods, reason = "tells how long a statement takes")]
    async fn answer(&mut self, sql: &str) -> Verdict {
        if let Some(file) = &self.watched.file {
            let _ = std::fs::write(file, sql);
        }
        let mut answer = Ok(());
        let mut fastest = Duration::MAX;
        for _ in 0..2 {
            let began = Instant::now();
            *self.watched.last.lock() = Some((sql.to_string(), began));
            answer = answer_of(&mut self.session, sql).await;
            fastest = fastest.min(began.elapsed());
            if fastest <= SLOW {
                break;
            }
        }
        if fastest > SLOW {
            self.fail(sql, &format!("takes {} ms", fastest.as_millis()));
        }
        match answer {
            Ok(()) => Verdict::Accepted,
            Err((SqlState::InternalError, why)) => {
                self.fail(sql, &why);
                Verdict::Refused
            }
            Err((state, _)) if state.code().starts_with("22") => Verdict::BadValue,
            Err(_) => Verdict::Refused,
        }
    }

    fn fail(&mut self, sql: &str, why: &str) {
        self.seen.failures.push(format!("{}: {why}\n  {sql}", self.scene.name));
    }
}

/// How a statement is planned without being run.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// As a view's query; and it is run.
    Query,
    /// Behind EXPLAIN.
    Planned,
    /// It plans by itself, and brings nothing about.
    Plan,
    /// It names a source or a sink, which is dropped again.
    Declaration(&'static str),
}

impl Form {
    /// Tokens at the beginning that are not changed: they say which form it is.
    fn free(self) -> usize {
        match self {
            Form::Query | Form::Plan => 1,
            Form::Planned | Form::Declaration(_) => 5,
        }
    }
}

fn plan_of(sql: &str) -> Option<Form> {
    let begins = |words: &str| sql.starts_with(words);
    match () {
        () if begins("CREATE MATERIALIZED") || begins("CREATE STREAMING") || begins("INSERT") => Some(Form::Planned),
        () if begins("SELECT") || begins("WITH") || begins("VALUES") => Some(Form::Query),
        () if begins("CREATE SOURCE") => Some(Form::Declaration("SOURCE")),
        () if begins("CREATE SINK") => Some(Form::Declaration("SINK")),
        () if begins("CREATE") || (begins("EXPLAIN") && !begins("EXPLAIN ANALYZE")) => Some(Form::Plan),
        () => None,
    }
}

/// The declaration under a name that is free.
fn renamed(sql: &str, class: &str) -> String {
    let rest = sql.strip_prefix("CREATE ").and_then(|rest| rest.strip_prefix(class)).unwrap_or(sql).trim_start();
    let rest = rest.strip_prefix("IF NOT EXISTS ").unwrap_or(rest);
    let name = rest.find(|c: char| !(c.is_alphanumeric() || "_.\"".contains(c))).unwrap_or(rest.len());
    format!("CREATE {class} mutant{}", &rest[name..])
}

async fn answer_of(session: &mut Session, sql: &str) -> Result<(), (SqlState, String)> {
    let plain = |e: tidemill::error::Error| (e.state(), e.to_string());
    for statement in session.parse(sql).map_err(plain)? {
        let response = session.execute(&statement, &[]).await.map_err(plain)?;
        // A subscription goes on for ever, and a long answer long enough.
        if let Body::Rows(rows) | Body::Copy(rows, _) = response.body
            && !rows.live
        {
            let first = Box::pin(rows.stream.take(4));
            let first = datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(rows.schema.clone(), first);
            Grid::collect(&rows.schema, Box::pin(first), chrono_tz::Tz::UTC).await.map_err(plain)?;
        }
    }
    Ok(())
}
