//! SUBSCRIBE: a query over views planned as a view would be, and its changes as rows.
//!
//! Each row begins with the tick that changed it and by how much: +1 came, -1 went (more where equal rows change
//! together). First come the rows that are there, all of one tick; then the net change of each tick, in the order of
//! ticks. With PROGRESS a row without values says that everything up to a tick has been told.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::Session;
use super::response::RowSet;
use super::select::{output, place};
use crate::change::ChangeBatch;
use crate::change::consolidate::consolidate;
use crate::connector::options::OptionReader;
use crate::error::{Error, Result};
use crate::pipeline::subscribe::{News, Subscription};
use crate::plan::errors::through;
use crate::plan::{self, Op, StreamPlan};
use crate::sql::ast::{EmitClause, ObjectClass, Query, Statement, StatementKind, Subscribe, Subscribed};
use crate::sql::names::quoted;
use crate::sql::parse_statement;
use crate::types::{SqlType, schema_of};

const TICK: &str = "tidemill_tick";
const PROGRESSED: &str = "tidemill_progressed";
const DIFF: &str = "tidemill_diff";

/// What WITH says.
struct Options {
    snapshot: bool,
    progress: bool,
}

impl Options {
    fn read(subscribe: &Subscribe) -> Result<Options> {
        let mut options = OptionReader::new(subscribe.options.clone())?;
        let snapshot = options.optional("snapshot")?.unwrap_or(true);
        let progress = options.optional("progress")?.unwrap_or(false);
        options.finish()?;
        Ok(Options { snapshot, progress })
    }
}

impl Session {
    /// The columns of a subscription.
    pub(super) async fn describe_subscribe(&self, text: &Arc<str>, subscribe: &Subscribe) -> Result<SchemaRef> {
        let options = Options::read(subscribe)?;
        let (_, columns) = self.plan_subscribe(text, subscribe).await?;
        Ok(schema(&columns, &options))
    }

    pub(super) async fn subscribe(&self, text: &Arc<str>, subscribe: &Subscribe) -> Result<RowSet> {
        let options = Options::read(subscribe)?;
        let (plan, columns) = self.plan_subscribe(text, subscribe).await?;
        let subscription = self.engine.subscribe(plan).await?;
        let schema = schema(&columns, &options);
        let changes = Changes {
            subscription,
            options,
            columns,
            schema: Arc::clone(&schema),
            ready: VecDeque::new(),
            over: false,
        };
        let batches = futures::stream::unfold(changes, |mut changes| async move {
            changes.next().await.map(|batch| (batch.map_err(through), changes))
        });
        let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), batches));
        Ok(RowSet { schema, stream, live: true, timeout: None })
    }

    /// The plan, and the columns of its rows.
    async fn plan_subscribe(&self, text: &Arc<str>, subscribe: &Subscribe) -> Result<(StreamPlan, SchemaRef)> {
        match &subscribe.what {
            Subscribed::Query(query) => self.plan_watched(text, query).await,
            Subscribed::View(name) => {
                let catalog = self.engine.catalog();
                let view = catalog.resolve(name, ObjectClass::View).map_err(|e| match catalog.find(&name.value) {
                    Some(object) => no_view(object.class().noun(), &name.value).at(name.position),
                    None => e,
                })?;
                let all = parse_statement(&format!("SELECT * FROM {}", quoted(&view.name)))?;
                match &all {
                    Statement { text, kind: StatementKind::Query(query), .. } => self.plan_watched(text, query).await,
                    _ => Err(Error::internal("a query is none")),
                }
            }
        }
    }

    async fn plan_watched(&self, text: &Arc<str>, query: &Query) -> Result<(StreamPlan, SchemaRef)> {
        let (planned_text, planned_query) = (Arc::clone(text), query.clone());
        let plan = move |zoned: &plan::InZone<'_>| {
            plan::plan_view(zoned, &planned_text, &planned_query, &[], &EmitClause::default())
        };
        let (plan, columns) = self.planned(&self.engine.catalog(), plan).await?;
        let source = plan.nodes.iter().find_map(|node| match &node.op {
            Op::Scan { source, .. } => Some(source),
            _ => None,
        });
        match source {
            Some(source) => Err(place(no_view("source", source), source, text, query)),
            None => Ok((plan, schema_of(&columns))),
        }
    }
}

fn no_view(noun: &str, name: &str) -> Error {
    let hint = match noun {
        "source" => format!("CREATE MATERIALIZED VIEW v AS SELECT ... FROM {}, and SUBSCRIBE TO v.", quoted(name)),
        _ => "SUBSCRIBE TO a materialized view, or to a query over materialized views.".to_string(),
    };
    Error::unsupported(format!("{noun} \"{name}\" cannot be subscribed to"), hint)
}

fn schema(columns: &Schema, options: &Options) -> SchemaRef {
    let mut fields: Vec<FieldRef> = vec![Arc::new(SqlType::BigInt.field(TICK))];
    fields.extend(options.progress.then(|| Arc::new(SqlType::Boolean.field(PROGRESSED))));
    fields.push(Arc::new(SqlType::BigInt.field(DIFF)));
    fields.extend(columns.fields().iter().cloned());
    Arc::new(Schema::new(fields))
}

/// A subscription on its way to rows.
struct Changes {
    subscription: Subscription,
    options: Options,
    /// Of the query.
    columns: SchemaRef,
    /// Of the rows that come out.
    schema: SchemaRef,
    ready: VecDeque<RecordBatch>,
    /// An error was told: nothing follows.
    over: bool,
}

impl Changes {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Some(Ok(batch));
            }
            if self.over {
                return None;
            }
            let news = self.subscription.next().await.and_then(|news| self.take(news));
            if let Err(error) = news {
                self.over = true;
                return Some(Err(error));
            }
        }
    }

    fn take(&mut self, news: News) -> Result<()> {
        match news {
            News::Snapshot { .. } if !self.options.snapshot => {}
            News::Snapshot { tick, rows } => {
                for batch in rows {
                    self.tell(tick, &batch)?;
                }
            }
            News::Changes { tick, changes } => {
                // What came and went again within the tick, as the query sees it, is no change.
                let schema = changes.first().map(ChangeBatch::schema).unwrap_or_else(|| Arc::clone(&self.columns));
                self.tell(tick, &consolidate(&ChangeBatch::concat(&schema, &changes)?)?)?;
            }
            News::Progress { tick } if self.options.progress => {
                let columns = self.columns.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
                self.push(tick, true, Int64Array::new_null(1), columns)?;
            }
            News::Progress { .. } => {}
        }
        Ok(())
    }

    fn tell(&mut self, tick: u64, changes: &ChangeBatch) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let rows = output::with_schema(changes.rows().clone(), &self.columns)?;
        let diffs = Int64Array::from_iter_values((0..changes.num_rows()).map(|row| changes.weight(row)));
        self.push(tick, false, diffs, rows.columns().to_vec())
    }

    /// `progressed`: the rows say that the tick is over.
    fn push(&mut self, tick: u64, progressed: bool, diffs: Int64Array, columns: Vec<ArrayRef>) -> Result<()> {
        let rows = diffs.len();
        let tick = i64::try_from(tick).unwrap_or(i64::MAX);
        let mut all: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_value(tick, rows))];
        if self.options.progress {
            all.push(Arc::new(BooleanArray::from(vec![progressed; rows])));
        }
        all.push(Arc::new(diffs));
        all.extend(columns);
        self.ready.push_back(RecordBatch::try_new(Arc::clone(&self.schema), all)?);
        Ok(())
    }
}
