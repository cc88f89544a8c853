//! `tidemill run`: a script, against an engine in memory, to its end.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use super::Exit;
use super::client::LocalClient;
use super::report::{self, Script};
use super::signals::Stop;
use super::table;
use crate::catalog::ObjectId;
use crate::error::{Error, Result, SqlState};
use crate::pipeline::{Engine, EngineConfig, JobState};
use crate::sql::ast::StatementKind;

/// How often progress is shown.
const REFRESH: Duration = Duration::from_millis(250);

/// Of so many refreshes one is a line where there is no terminal: every five seconds.
const LINE_EVERY: u32 = 20;

#[derive(clap::Args)]
pub struct Run {
    /// The script
    #[arg(value_name = "FILE.sql")]
    file: PathBuf,
    /// Shards of a job or view that does not say; one a core unless given
    #[arg(long, value_name = "N")]
    parallelism: Option<std::num::NonZeroUsize>,
    /// Whose SQL it is: postgres, or flink
    #[arg(long, value_name = "NAME")]
    dialect: Option<String>,
}

impl Run {
    pub async fn run(self) -> Exit {
        let text = match read(&self.file) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("{}", report::report(&error));
                return Exit::Usage;
            }
        };
        let outcome = async {
            let stop = Stop::listen()?;
            let config = EngineConfig::default();
            let parallelism = self.parallelism.unwrap_or(config.parallelism);
            Result::Ok((stop, Engine::open(EngineConfig { parallelism, ..config }).await?))
        };
        let (mut stop, engine) = match outcome.await {
            Ok(ready) => ready,
            Err(error) => {
                eprintln!("{}", report::report(&error));
                return Exit::CannotStart;
            }
        };
        let name = self.file.display().to_string();
        let script = Script { name: &name, text: &text };
        let progress = Progress::new();
        let exit = tokio::select! {
            exit = run_script(&script, self.dialect.as_deref(), &engine, &progress) => exit,
            () = progress.follow(&engine) => Exit::Failed,
            () = stop.asked() => Exit::Done,
        };
        stop.then_at_once();
        progress.look(&engine);
        if exit == Exit::Done {
            progress.sum_up(&engine);
        }
        progress.clear();
        engine.shutdown().await;
        if progress.has_failures() { Exit::Failed } else { exit }
    }
}

/// The text of a script.
pub fn read(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).map_err(|e| Error::from(e).context(file.display()))?;
    String::from_utf8(bytes)
        .map_err(|_| Error::new(SqlState::InvalidTextRepresentation, format!("{}: not UTF-8", file.display())))
}

/// Runs the statements in order, up to the first that fails, and waits for what they have started.
async fn run_script(script: &Script<'_>, dialect: Option<&str>, engine: &Arc<Engine>, progress: &Progress) -> Exit {
    let mut client = LocalClient::new(engine);
    let statements = match client.set_dialect(dialect).and_then(|()| client.parse(script.text)) {
        Ok(statements) => statements,
        Err(error) => return failed(progress, script.report(&error, 0)),
    };
    for statement in statements {
        // A script's SELECT means the answer to all of its bounded input. What has no end is not waited for.
        if matches!(statement.kind, StatementKind::Query(_)) {
            engine.read_to_end().await;
        }
        match client.execute(&statement).await {
            Ok(answer) => {
                for notice in &answer.notices {
                    progress.say(&format!("{}:  {}", notice.severity, notice.what));
                }
                if let Some(grid) = &answer.grid {
                    progress.print(&table::with_count(grid));
                }
            }
            Err(error) => return failed(progress, script.report(&error, statement.offset)),
        }
    }
    finish(engine).await
}

/// Waits until everything is read and every job has ended. A job over an unbounded source does not.
async fn finish(engine: &Engine) -> Exit {
    engine.settled().await;
    let mut ticker = tokio::time::interval(REFRESH);
    while engine.jobs().iter().any(|job| !job.state.is_over()) {
        ticker.tick().await;
    }
    Exit::Done
}

fn failed(progress: &Progress, what: String) -> Exit {
    progress.say(&what);
    Exit::Failed
}

/// What standard error is told: one moving line at a terminal, elsewhere a line now and then; and what fails, when it fails.
struct Progress {
    /// Hidden where standard error is no terminal.
    bar: ProgressBar,
    /// Jobs and views that have failed and were told of.
    failures: Mutex<BTreeSet<ObjectId>>,
}

impl Progress {
    fn new() -> Progress {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        Progress { bar, failures: Mutex::default() }
    }

    /// Shows what the engine does, for ever.
    async fn follow(&self, engine: &Engine) {
        let mut ticker = tokio::time::interval(REFRESH);
        for refresh in 0_u32.. {
            ticker.tick().await;
            self.look(engine);
            let (jobs, views) = (engine.jobs(), engine.views());
            let rows: u64 =
                jobs.iter().map(|j| j.counts.input_rows).chain(views.iter().map(|v| v.counts.input_rows)).sum();
            let running = jobs.iter().filter(|job| !job.state.is_over()).count();
            let message = format!("{rows} rows read, {running} jobs running, {} views", views.len());
            if !self.bar.is_hidden() {
                self.bar.set_message(message);
                self.bar.tick();
            } else if refresh % LINE_EVERY == LINE_EVERY - 1 {
                eprintln!("{message}");
            }
        }
    }

    /// Tells of what has failed since the last look.
    fn look(&self, engine: &Engine) {
        let jobs = engine.jobs().into_iter().filter(|job| job.state == JobState::Failed);
        let jobs = jobs.filter_map(|job| Some((job.id, "streaming job", job.name, job.reason?)));
        let views = engine.views().into_iter();
        let views = views.filter_map(|view| Some((view.id, "materialized view", view.name, view.failed?)));
        for (id, class, name, reason) in jobs.chain(views) {
            if self.failures.lock().insert(id) {
                self.say(&report::report(&reason.context(format!("{class} \"{name}\""))));
            }
        }
    }

    fn has_failures(&self) -> bool {
        !self.failures.lock().is_empty()
    }

    /// What each job has done.
    fn sum_up(&self, engine: &Engine) {
        for job in engine.jobs().into_iter().filter(|job| job.state != JobState::Failed) {
            let (name, state, counts) = (job.name, job.state, job.counts);
            self.say(&format!(
                "{name} is {state}: {} rows in, {} delivered, {} late",
                counts.input_rows, job.delivered_rows, counts.late_rows
            ));
        }
    }

    /// To standard error, above the line.
    fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// To standard output.
    fn print(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
