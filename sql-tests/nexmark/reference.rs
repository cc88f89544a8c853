//! A Nexmark script's answer, and the same question asked of all events at once by DataFusion's executor.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use tidemill::catalog::ObjectKind;
use tidemill::change::ChangeBatch;
use tidemill::connector::blackhole::digest::RowHasher;
use tidemill::connector::blackhole::{Answer, BlackholeSink};
use tidemill::pipeline::{Engine, JobState};
use tidemill::session::{Body, Session};
use tidemill::types::schema_of;

/// A file of the tree.
pub fn read(root: &Path, path: &str) -> Result<String, String> {
    std::fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"))
}

/// What the job of a script has written when it is through, and the schema of its sink, which is called as `query` with
/// _out behind it.
pub async fn answer(engine: &Arc<Engine>, query: &str, script: &str) -> Result<(Answer, SchemaRef), String> {
    let mut session = Session::new(Arc::clone(engine));
    execute(&mut session, script).await?;
    engine.settled().await;
    let job = engine.jobs().pop().ok_or("there is no job")?;
    if job.state != JobState::Finished {
        return Err(format!("the job is {}: {:?}", job.state, job.reason));
    }
    let catalog = engine.catalog();
    match catalog.find(&format!("{query}_out")).map(|object| &object.kind) {
        Some(ObjectKind::Sink(sink)) => {
            let any: &dyn Any = sink.sink.as_ref();
            let blackhole = any.downcast_ref::<BlackholeSink>().ok_or("the sink is no blackhole")?;
            Ok((blackhole.answer(), schema_of(&sink.columns)))
        }
        _ => Err("there is no sink".into()),
    }
}

/// The answer to a script (in our dialect) over all events at once.
pub async fn all_at_once(
    engine: &Arc<Engine>,
    root: &Path,
    query: &str,
    script: &str,
) -> Result<Vec<RecordBatch>, String> {
    let mut session = Session::new(Arc::clone(engine));
    for source in ["bid", "auction", "person"] {
        let Some((_, rest)) = script.split_once(&format!("CREATE SOURCE {source} (")) else { continue };
        let (definition, _) = rest.split_once(';').ok_or("a source without an end")?;
        execute(&mut session, &format!("CREATE SOURCE {source}_events ({definition};")).await?;
        let view = format!("CREATE MATERIALIZED VIEW {source} AS SELECT * FROM {source}_events;");
        execute(&mut session, &view).await?;
    }
    engine.settled().await;
    let asked = match read(root, &format!("sql-tests/nexmark/batch/{query}.sql")) {
        Ok(text) => text,
        Err(_) => script.split(&format!("INSERT INTO {query}_out\n")).nth(1).ok_or("there is no INSERT")?.to_string(),
    };
    execute(&mut session, &asked).await
}

/// Fails unless the rows are the answer.
pub fn compare(answer: &Answer, rows: &[RecordBatch], schema: &SchemaRef) -> Result<(), String> {
    let expected = digest(rows, schema)?;
    match (answer.rows, answer.digest) == (expected.rows, expected.digest) {
        true => Ok(()),
        false => Err(format!("the answer is {answer:?}, of all events at once {expected:?}")),
    }
}

/// What a blackhole of this schema would say of the rows. (A cast to integers cuts, as Flink's averages do.)
fn digest(batches: &[RecordBatch], schema: &SchemaRef) -> Result<Answer, String> {
    let (mut answer, mut hasher) = (Answer::default(), RowHasher::default());
    for batch in batches {
        let columns = batch.columns().iter().zip(schema.fields());
        let columns: Result<Vec<ArrayRef>, _> = columns.map(|(c, field)| cast(c, field.data_type())).collect();
        let rows = columns.and_then(|columns| RecordBatch::try_new(Arc::clone(schema), columns));
        let rows = ChangeBatch::append_only(rows.map_err(|e| e.to_string())?);
        answer.add(&mut hasher, &rows).map_err(|e| format!("{e:?}"))?;
    }
    Ok(answer)
}

/// The rows of the last statement of a text.
pub async fn execute(session: &mut Session, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let shown = |e: tidemill::error::Error| format!("{}: {} {:?}", e.state().code(), e.message(), e.hint());
    let mut rows = Vec::new();
    for statement in session.parse(sql).map_err(shown)? {
        rows.clear();
        if let Body::Rows(mut set) = session.execute(&statement, &[]).await.map_err(shown)?.body {
            while let Some(batch) = set.stream.next().await {
                rows.push(batch.map_err(|e| e.to_string())?);
            }
        }
    }
    Ok(rows)
}
