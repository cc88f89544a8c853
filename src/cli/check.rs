//! `tidemill check`: a script planned and explained. Nothing is started, nothing outside is asked.

use std::path::PathBuf;

use super::Exit;
use super::client::LocalClient;
use super::report::{self, Script};
use super::run::read;
use crate::catalog::ObjectKind;
use crate::error::{Error, Result};
use crate::pipeline::{Engine, EngineConfig, Work};
use crate::plan::{StreamPlan, explain};
use crate::sql::ast::{Statement, StatementKind};

#[derive(clap::Args)]
pub struct Check {
    /// The script
    #[arg(value_name = "FILE.sql")]
    file: PathBuf,
    /// Whose SQL it is: postgres, or flink
    #[arg(long, value_name = "NAME")]
    dialect: Option<String>,
}

impl Check {
    pub async fn run(self) -> Exit {
        let text = match read(&self.file) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("{}", report::report(&error));
                return Exit::Usage;
            }
        };
        let name = self.file.display().to_string();
        match check(&Script { name: &name, text: &text }, self.dialect.as_deref()).await {
            Ok(0) => Exit::Done,
            Ok(errors) => {
                eprintln!("{errors} {}", if errors == 1 { "error" } else { "errors" });
                Exit::Failed
            }
            Err(error) => {
                eprintln!("{}", report::report(&error));
                Exit::CannotStart
            }
        }
    }
}

/// Plans every statement, going on behind one that is wrong. Gives the number of errors.
async fn check(script: &Script<'_>, dialect: Option<&str>) -> Result<usize> {
    let engine = Engine::open(EngineConfig { work: Work::PlanOnly, ..EngineConfig::default() }).await?;
    let mut client = LocalClient::new(&engine);
    let mut errors = 0;
    let mut complain = |error: &Error, offset: usize| {
        errors += 1;
        eprintln!("{}", script.report(error, offset));
    };
    client.set_dialect(dialect)?;
    for statement in client.parse_each(script.text)? {
        let statement = match statement {
            Ok(statement) => statement,
            Err(error) => {
                complain(&error, 0);
                continue;
            }
        };
        match checked(&engine, &mut client, &statement).await {
            Ok(None) => {}
            Ok(Some(plan)) => {
                let line = script.place(statement.offset).line;
                println!("{}:{line}: {}\n{plan}", script.name, first_line(&statement));
            }
            Err(error) => complain(&error, statement.offset),
        }
    }
    engine.shutdown().await;
    Ok(errors)
}

/// Plans a statement and shows what a view or job would run. Objects come into being, so that later statements can name
/// them.
async fn checked(engine: &Engine, client: &mut LocalClient, statement: &Statement) -> Result<Option<String>> {
    let runs = match &statement.kind {
        StatementKind::Query(_) => return client.describe(statement).await.map(|()| None),
        kind => matches!(kind, StatementKind::CreateView(_) | StatementKind::CreateJob(_) | StatementKind::Submit(_)),
    };
    client.execute(statement).await?;
    let catalog = engine.catalog();
    // What was created last is what the statement has created.
    let last = catalog.objects().max_by_key(|object| object.id).filter(|_| runs);
    let plan = match last.map(|object| &object.kind) {
        Some(ObjectKind::View(view)) => &view.plan,
        Some(ObjectKind::Job(job)) => &job.plan,
        _ => return Ok(None),
    };
    Ok(Some(explain(&StreamPlan::from_text(plan)?)))
}

fn first_line(statement: &Statement) -> &str {
    statement.text.lines().next().unwrap_or_default()
}
