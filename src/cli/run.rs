//! `tidemill run`: a script, against an engine in memory, to its end.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Exit;
use super::client::LocalClient;
use super::report::{self, Script};
use super::signals::Stop;
use super::table;
use crate::error::{Error, Result, SqlState};
use crate::pipeline::{Engine, EngineConfig, JobState};
use crate::sql::ast::StatementKind;

/// How often progress is shown.
const REFRESH: Duration = Duration::from_millis(250);

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
        let outcome = async {
            let text = read(&self.file)?;
            let stop = Stop::listen()?;
            let config = EngineConfig::default();
            let parallelism = self.parallelism.unwrap_or(config.parallelism);
            let engine = Engine::open(EngineConfig { parallelism, ..config }).await?;
            Result::Ok((text, stop, engine))
        };
        let (text, mut stop, engine) = match outcome.await {
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
        progress.clear();
        stop.then_at_once();
        engine.shutdown().await;
        exit
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
        // A script's SELECT means the answer to all of its bounded input.
        if matches!(statement.kind, StatementKind::Query(_)) {
            engine.settled().await;
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
    finish(engine, progress).await
}

/// Waits until everything is read and every job has ended. A job over an unbounded source does not.
async fn finish(engine: &Engine, progress: &Progress) -> Exit {
    engine.settled().await;
    let mut ticker = tokio::time::interval(REFRESH);
    while engine.jobs().iter().any(|job| !job.state.is_over()) {
        ticker.tick().await;
    }
    let mut exit = Exit::Done;
    for job in engine.jobs() {
        match (job.state, &job.reason) {
            (JobState::Failed, Some(reason)) => {
                let shown = report::report(&reason.clone().context(format!("streaming job \"{}\"", job.name)));
                exit = failed(progress, shown);
            }
            (state, _) => {
                progress.say(&format!(
                    "{} is {state}: {} rows in, {} delivered, {} late",
                    job.name, job.counts.input_rows, job.delivered_rows, job.counts.late_rows
                ));
            }
        }
    }
    for view in engine.views() {
        if let Some(reason) = view.failed {
            let shown = report::report(&reason.context(format!("materialized view \"{}\"", view.name)));
            exit = failed(progress, shown);
        }
    }
    exit
}

fn failed(progress: &Progress, what: String) -> Exit {
    progress.say(&what);
    Exit::Failed
}

/// One moving line on standard error; nothing if that is no terminal.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new() -> Progress {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        Progress { bar }
    }

    /// Shows what the engine does, for ever.
    async fn follow(&self, engine: &Engine) {
        let mut ticker = tokio::time::interval(REFRESH);
        loop {
            ticker.tick().await;
            let (jobs, views) = (engine.jobs(), engine.views());
            let rows: u64 =
                jobs.iter().map(|j| j.counts.input_rows).chain(views.iter().map(|v| v.counts.input_rows)).sum();
            let running = jobs.iter().filter(|job| !job.state.is_over()).count();
            self.bar.set_message(format!("{rows} rows read, {running} jobs running, {} views", views.len()));
            self.bar.tick();
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
