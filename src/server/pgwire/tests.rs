//! The protocol over real sockets, against a small session: DataFusion for queries, and a few commands that misbehave.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::error::SqlState as Code;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client as PgClient, NoTls, SimpleQueryMessage};

mod mutated;
mod planning;

use super::conversation::Deallocated;
use super::*;
use crate::error::{Error, SqlState};
use crate::session::{Body, Description, Notice, Response, RowSet, Transaction};
use crate::types::SqlType;

/// What the sessions of a test did.
#[derive(Default)]
struct Seen {
    hanging: AtomicBool,
    dropped: AtomicUsize,
    batches: AtomicUsize,
}

struct DropCount(Arc<Seen>);

impl Drop for DropCount {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

struct Fake {
    context: SessionContext,
    transaction: Transaction,
    application: String,
    seen: Arc<Seen>,
    _drop: DropCount,
}

impl Fake {
    async fn run(&mut self, text: &str, parameters: &[ScalarValue]) -> Result<Response> {
        let mut notices = Vec::new();
        let command = |tag: &str| Ok(Body::Command(tag.to_string()));
        let body = match text.split(' ').next().unwrap_or_default() {
            _ if self.transaction == Transaction::Failed && text != "ROLLBACK" => {
                Err(Error::new(SqlState::InFailedSqlTransaction, "current transaction is aborted"))
            }
            "BEGIN" | "START" => {
                self.transaction = Transaction::InBlock;
                command("BEGIN")
            }
            "COMMIT" | "ROLLBACK" => {
                self.transaction = Transaction::Idle;
                command(text)
            }
            "SET" => {
                self.application = text[4..].to_string();
                command("SET")
            }
            "NOTICE" => {
                let what = Error::new(SqlState::InternalError, &text[7..]).with_hint("a hint");
                notices.push(Notice { severity: "NOTICE", what });
                command("NOTICE")
            }
            "HANG" => {
                self.seen.hanging.store(true, Ordering::SeqCst);
                std::future::pending().await
            }
            "ENDLESS" => Ok(self.endless(usize::MAX, false)),
            "WATCH" => Ok(self.endless(usize::MAX, true)),
            "ONE" => Ok(self.endless(1, true)),
            "DEALLOCATE" => Err(Error::new(SqlState::InvalidStatementName, "no such prepared statement")),
            "FAIL" => Err(Error::new(SqlState::UndefinedColumn, "no such thing").with_detail("d").with_hint("h").at(3)),
            _ => self.select(text, parameters).await,
        };
        body.map(|body| Response { notices, body })
    }

    async fn select(&self, text: &str, parameters: &[ScalarValue]) -> Result<Body> {
        let plan = self.context.state().create_logical_plan(text).await?.with_param_values(parameters.to_vec())?;
        let stream = self.context.execute_logical_plan(plan).await?.execute_stream().await?;
        Ok(Body::Rows(RowSet { schema: stream.schema(), stream, live: false, timeout: None }))
    }

    /// So many batches, and then nothing, for ever.
    fn endless(&self, batches_at_most: usize, live: bool) -> Body {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let (seen, of) = (Arc::clone(&self.seen), Arc::clone(&schema));
        let rows = if batches_at_most == 1 { 1 } else { 8192 };
        let batches = futures::stream::repeat_with(move || {
            seen.batches.fetch_add(1, Ordering::SeqCst);
            let numbers = Arc::new(Int64Array::from_iter_values(0..rows));
            Ok(RecordBatch::try_new(Arc::clone(&of), vec![numbers])?)
        });
        let batches = batches.take(batches_at_most).chain(futures::stream::pending());
        let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), batches));
        Body::Rows(RowSet { schema, stream, live, timeout: None })
    }
}

impl Conversation for Fake {
    type Statement = String;

    fn parse(&self, text: &str) -> Result<Vec<String>> {
        if text.contains("SYNTAX") {
            return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \"SYNTAX\"").at(1));
        }
        Ok(text.split(';').map(str::trim).filter(|s| !s.is_empty()).map(str::to_string).collect())
    }

    async fn describe(&self, statement: &String, types: &[Option<SqlType>]) -> Result<Description> {
        if statement.starts_with("HANG IN PARSE") {
            self.seen.hanging.store(true, Ordering::SeqCst);
            return std::future::pending().await;
        }
        if !statement.starts_with("SELECT") {
            return Ok(Description { parameters: Vec::new(), columns: None });
        }
        let plan = self.context.state().create_logical_plan(statement).await?;
        let mut parameters: Vec<_> = plan.get_parameter_types()?.into_iter().collect();
        parameters.sort();
        let types = parameters.iter().enumerate().map(|(i, (_, ty))| {
            let named = types.get(i).cloned().flatten();
            named.or(ty.as_ref().map(SqlType::from_arrow)).unwrap_or(SqlType::Text)
        });
        let types: Vec<SqlType> = types.collect();
        let nulls: Vec<_> = types.iter().map(|t| ScalarValue::try_from(&t.to_arrow()).unwrap()).collect();
        let plan = plan.with_param_values(nulls)?;
        Ok(Description { parameters: types, columns: Some(plan.schema().inner().clone()) })
    }

    fn execute(
        &mut self,
        statement: &String,
        parameters: &[ScalarValue],
    ) -> impl Future<Output = Result<Response>> + Send {
        self.run(statement, parameters)
    }

    fn command(statement: &String) -> String {
        statement.split(' ').next().unwrap_or_default().to_string()
    }

    fn deallocates(statement: &String) -> Option<Deallocated<'_>> {
        statement.strip_prefix("DEALLOCATE ").map(Deallocated::One)
    }

    fn offset(_: &String) -> usize {
        2
    }

    fn cursor_columns(&self, _: &str) -> Option<SchemaRef> {
        None
    }

    fn transaction(&self) -> Transaction {
        self.transaction
    }

    fn fail(&mut self) {
        if self.transaction == Transaction::InBlock {
            self.transaction = Transaction::Failed;
        }
    }

    fn setting(&self, name: &str) -> Option<String> {
        Some(if name == "application_name" { self.application.clone() } else { "on".to_string() })
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        if name == "application_name" {
            self.application = value.to_string();
        }
        Ok(())
    }
}

struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    done: tokio::task::JoinHandle<()>,
}

/// How long the servers of tests wait for a watcher.
const HURRY: Duration = Duration::from_millis(500);

async fn server() -> Server {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let listener = Listener { watcher_patience: HURRY, ..listener };
    let (address, seen, metrics) = (listener.address(), Arc::<Seen>::default(), Metrics::new());
    let shutdown = CancellationToken::new();
    let shared = Arc::clone(&seen);
    let open: Arc<Opener<Fake>> = Arc::new(move |_| {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let seen = Arc::clone(&shared);
        let drop = DropCount(Arc::clone(&seen));
        Ok(Fake { context, transaction: Transaction::Idle, application: String::new(), seen, _drop: drop })
    });
    let done = tokio::spawn(listener.run(open, Arc::clone(&metrics), shutdown.clone()));
    Server { address, seen, metrics, shutdown, done }
}

impl Server {
    async fn try_connect(&self) -> Result<PgClient, tokio_postgres::Error> {
        let config = format!("host=127.0.0.1 port={} user=ann application_name=test", self.address.port());
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn connect(&self) -> PgClient {
        self.try_connect().await.unwrap()
    }

    /// A connection whose bytes the test writes itself; started.
    async fn raw(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(b"\0\0\0\x12\0\x03\0\0user\0ann\0\0").await.unwrap();
        read_until_ready(&mut stream).await;
        stream
    }
}

/// Kinds of the messages up to ReadyForQuery, and its status.
async fn read_until_ready(stream: &mut TcpStream) -> (String, char) {
    let mut kinds = String::new();
    loop {
        let kind = stream.read_u8().await.unwrap() as char;
        let mut body = vec![0; stream.read_u32().await.unwrap() as usize - 4];
        stream.read_exact(&mut body).await.unwrap();
        kinds.push(kind);
        if kind == 'Z' {
            return (kinds, body[0] as char);
        }
    }
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

async fn query(stream: &mut TcpStream, text: &str) -> (String, char) {
    stream.write_all(&frame(b'Q', &[text.as_bytes(), b"\0"].concat())).await.unwrap();
    read_until_ready(stream).await
}

#[expect(clippy::disallowed_methods, reason = "what happens in the server is seen from outside only")]
async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        pause(10).await;
    }
    panic!("{what} did not happen");
}

fn code(e: &tokio_postgres::Error) -> &Code {
    e.code().unwrap_or_else(|| panic!("not the server's error: {e:?}"))
}

#[tokio::test]
async fn several_statements_in_a_line() {
    let server = server().await;
    let mut raw = server.raw().await;
    let table = [
        ("", "IZ", 'I'),
        (" ; ", "IZ", 'I'),
        ("SELECT 1", "TDCZ", 'I'),
        ("SELECT 1; SELECT 2 WHERE false; SET x", "TDCTCCSZ", 'I'),
        ("SELECT 1; FAIL; SELECT 2", "TDCEZ", 'I'),
        ("SYNTAX; SELECT 2", "EZ", 'I'),
        ("NOTICE hear", "NCZ", 'I'),
        ("BEGIN; SELECT 1", "CTDCZ", 'T'),
        ("SYNTAX", "EZ", 'E'),
        ("SELECT 1", "EZ", 'E'),
        ("ROLLBACK; SELECT 1", "CTDCZ", 'I'),
    ];
    for (text, kinds, status) in table {
        assert_eq!(query(&mut raw, text).await, (kinds.to_string(), status), "{text}");
    }
}

#[tokio::test]
async fn an_error_skips_to_sync() {
    let server = server().await;
    let mut raw = server.raw().await;
    let parse = |name: &str, text: &str| frame(b'P', format!("{name}\0{text}\0\0\0").as_bytes());
    let bind = frame(b'B', b"\0\0\0\0\0\0\0\0");
    let execute = frame(b'E', b"\0\0\0\0\0");
    let describe = frame(b'D', b"P\0");
    let sync = frame(b'S', b"");
    let cases = [
        (
            vec![parse("", "SELECT 1"), bind.clone(), describe.clone(), execute.clone(), execute.clone(), sync.clone()],
            "12TDCCZ",
        ),
        (vec![parse("", "SYNTAX"), bind.clone(), execute.clone(), sync.clone()], "EZ"),
        (vec![parse("", "SELECT 1; SELECT 2"), sync.clone()], "EZ"),
        (vec![parse("", ""), bind.clone(), describe.clone(), execute.clone(), sync.clone()], "12nIZ"),
        (vec![parse("a", "SET x"), parse("a", "SET x"), sync.clone()], "1EZ"),
        (vec![parse("", "SET y"), bind.clone(), execute.clone(), execute.clone(), sync.clone()], "12CESZ"),
        (vec![execute.clone(), sync.clone()], "EZ"),
        (vec![frame(b'C', b"Sa\0"), frame(b'C', b"Snone\0"), sync.clone()], "33Z"),
        (vec![frame(b'F', b"\0\0\0\0")], "EZ"),
        (vec![frame(b'd', b"stray"), sync.clone()], "Z"),
    ];
    for (messages, kinds) in cases {
        raw.write_all(&messages.concat()).await.unwrap();
        assert_eq!(read_until_ready(&mut raw).await.0, kinds);
    }
}

#[tokio::test]
async fn deallocate_finds_what_the_connection_prepared() {
    let server = server().await;
    let mut raw = server.raw().await;
    let parse = frame(b'P', b"kept\0SELECT 1\0\0\0");
    for kinds in ["1Z", "EZ"] {
        raw.write_all(&[parse.clone(), frame(b'S', b"")].concat()).await.unwrap();
        assert_eq!(read_until_ready(&mut raw).await.0, kinds);
    }
    for kinds in ["CZ", "EZ"] {
        assert_eq!(query(&mut raw, "DEALLOCATE kept").await.0, kinds);
    }
    raw.write_all(&[parse, frame(b'S', b"")].concat()).await.unwrap();
    assert_eq!(read_until_ready(&mut raw).await.0, "1Z");
}

#[tokio::test]
async fn parameters_and_values_in_binary() {
    let server = server().await;
    let client = server.connect().await;
    let time = "arrow_cast('2024-02-29T01:02:03', 'Timestamp(Microsecond, None)')";
    let text = format!("SELECT $1 + 1, $2, $3, $4, {time}");
    let types = [Type::INT8, Type::TEXT, Type::FLOAT8, Type::BOOL];
    let statement = client.prepare_typed(&text, &types).await.unwrap();
    let row = client.query_one(&statement, &[&41i64, &"a'b", &1.5f64, &None::<bool>]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 42);
    assert_eq!(row.get::<_, String>(1), "a'b");
    assert_eq!(row.get::<_, f64>(2), 1.5);
    assert_eq!(row.get::<_, Option<bool>>(3), None);
    assert_eq!(row.columns()[4].type_(), &Type::TIMESTAMP);
    let statement = client.prepare("SELECT 1 + $1 AS a, 'x' AS b").await.unwrap();
    assert_eq!(statement.params(), &[Type::INT8]);
    assert_eq!(statement.columns().iter().map(|c| c.name()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(client.execute("SET x", &[]).await.unwrap(), 0);
}

#[tokio::test]
async fn portals_fetch_in_pieces() {
    let server = server().await;
    let mut client = server.connect().await;
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT * FROM generate_series(1, 10)", &[]).await.unwrap();
    let mut sizes = Vec::new();
    for limit in [3, 3, 3, 3] {
        sizes.push(transaction.query_portal(&portal, limit).await.unwrap().len());
    }
    assert_eq!(sizes, [3, 3, 3, 1]);
    let endless = transaction.bind("ENDLESS", &[]).await.unwrap();
    // Announced without columns, hence refused.
    assert_eq!(code(&transaction.query_portal(&endless, 1).await.unwrap_err()), &Code::FEATURE_NOT_SUPPORTED);
    transaction.rollback().await.unwrap();
}

#[tokio::test]
async fn errors_and_notices_have_all_fields() {
    let server = server().await;
    let config = format!("host=127.0.0.1 port={} user=ann", server.address.port());
    let (client, mut connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notice(notice) = message {
                tell.send(notice).unwrap();
            }
        }
    });
    let e = client.simple_query("FAIL").await.unwrap_err();
    let e = e.as_db_error().unwrap();
    assert_eq!((e.severity(), e.code(), e.message()), ("ERROR", &Code::UNDEFINED_COLUMN, "no such thing"));
    assert_eq!((e.detail(), e.hint()), (Some("d"), Some("h")));
    assert_eq!(e.position(), Some(&tokio_postgres::error::ErrorPosition::Original(5)));
    client.simple_query("NOTICE hear this").await.unwrap();
    let notice = told.recv().await.unwrap();
    assert_eq!((notice.severity(), notice.message(), notice.hint()), ("NOTICE", "hear this", Some("a hint")));
    let text = server.metrics.encode().unwrap();
    assert!(text.contains(r#"tidemill_statements_total{kind="FAIL",outcome="42703"} 1"#), "{text}");
}

#[tokio::test]
async fn ctrl_c_ends_the_running_statement_only() {
    let server = server().await;
    let client = server.connect().await;
    for text in ["HANG", "ENDLESS"] {
        let cancel = client.cancel_token();
        let running = client.simple_query_raw(text);
        let asked = async {
            pause(50).await;
            cancel.cancel_query(NoTls).await.unwrap();
        };
        let drain = async { running.await?.try_for_each(|_| async { Ok(()) }).await };
        let (ended, ()) = tokio::join!(drain, asked);
        let ended: Result<(), tokio_postgres::Error> = ended;
        assert_eq!(code(&ended.unwrap_err()), &Code::QUERY_CANCELED, "{text}");
        assert_eq!(client.query_one("SELECT 7", &[]).await.unwrap().get::<_, i64>(0), 7);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_frees_its_session() {
    let server = server().await;
    let mut hanging = server.raw().await;
    hanging.write_all(&frame(b'Q', b"HANG\0")).await.unwrap();
    eventually("the statement's start", || server.seen.hanging.load(Ordering::SeqCst)).await;
    let idle = server.raw().await;
    let mut busy = server.raw().await;
    busy.write_all(&frame(b'Q', b"ENDLESS\0")).await.unwrap();
    drop((hanging, idle, busy));
    eventually("the sessions' end", || server.seen.dropped.load(Ordering::SeqCst) == 3).await;
}

#[tokio::test]
async fn a_result_waits_for_its_reader() {
    let server = server().await;
    let mut slow = server.raw().await;
    slow.write_all(&frame(b'Q', b"ENDLESS\0")).await.unwrap();
    eventually("a first batch", || server.seen.batches.load(Ordering::SeqCst) > 0).await;
    let batches = || server.seen.batches.load(Ordering::SeqCst);
    let mut before = usize::MAX;
    // The kernel's buffers take some megabytes; then nothing more is asked of the stream.
    for _ in 0..100 {
        pause(50).await;
        if batches() == before {
            return;
        }
        before = batches();
    }
    panic!("{before} batches went to a client that reads nothing");
}

#[tokio::test]
async fn a_watcher_that_reads_nothing_is_given_up_in_time() {
    let server = server().await;
    let mut stuck = server.raw().await;
    stuck.write_all(&frame(b'Q', b"WATCH\0")).await.unwrap();
    eventually("the session's end", || server.seen.dropped.load(Ordering::SeqCst) == 1).await;
    // Whoever reads a finite result may take their time.
    let mut slow = server.raw().await;
    slow.write_all(&frame(b'Q', b"ENDLESS\0")).await.unwrap();
    pause(3 * HURRY.as_millis() as u64).await;
    assert_eq!(server.seen.dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn changes_are_sent_as_they_come_and_a_watcher_that_goes_is_noticed() {
    let server = server().await;
    let mut watcher = server.raw().await;
    watcher.write_all(&frame(b'Q', b"ONE\0")).await.unwrap();
    // The row is there, though it fills no buffer and the statement has no end.
    for kind in [b'T', b'D'] {
        assert_eq!(watcher.read_u8().await.unwrap(), kind);
        let mut body = vec![0; watcher.read_u32().await.unwrap() as usize - 4];
        watcher.read_exact(&mut body).await.unwrap();
    }
    drop(watcher);
    eventually("the session's end", || server.seen.dropped.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn settings_are_reported_when_they_change() {
    let server = server().await;
    let mut raw = server.raw().await;
    assert_eq!(query(&mut raw, "SET other").await.0, "CSZ");
    assert_eq!(query(&mut raw, "SET other").await.0, "CZ");
}

#[tokio::test]
async fn one_too_many() {
    let server = server().await;
    let mut clients = Vec::new();
    for _ in 0..MAX_SESSIONS {
        clients.push(server.connect().await);
    }
    let refused = server.try_connect().await.err().unwrap();
    assert_eq!(code(&refused), &Code::TOO_MANY_CONNECTIONS);
    assert_eq!(refused.as_db_error().unwrap().severity(), "FATAL");
    let cancel = clients[0].cancel_token();
    let hang = async { clients[0].simple_query("HANG").await };
    let (ended, _) = tokio::join!(hang, async {
        eventually("the statement's start", || server.seen.hanging.load(Ordering::SeqCst)).await;
        cancel.cancel_query(NoTls).await.unwrap();
    });
    assert_eq!(code(&ended.unwrap_err()), &Code::QUERY_CANCELED);
    clients.pop();
    eventually("a place", || server.seen.dropped.load(Ordering::SeqCst) == 1).await;
    server.connect().await;
}

#[tokio::test]
async fn encryption_is_declined_and_plain_text_goes_on() {
    let server = server().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for request in [b"\0\0\0\x08\x04\xd2\x16\x2f", b"\0\0\0\x08\x04\xd2\x16\x30"] {
        stream.write_all(request).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'N');
    }
    // Protocol 3.2 is answered with 3.0.
    stream.write_all(b"\0\0\0\x12\0\x03\0\x02user\0ann\0\0").await.unwrap();
    let (kinds, status) = read_until_ready(&mut stream).await;
    assert_eq!((kinds.as_str(), status), ("vRSSSSSSSSSSSSKZ", 'I'));
}

#[tokio::test]
async fn nonsense_ends_its_connection_only() {
    let server = server().await;
    let nonsense: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x12\0\x02\0\0user\0ann\0\0", b"\0\0\0\x09\0\x03\0\0\0", b"\0\0\0\x05"];
    for bytes in nonsense {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.first(), Some(&b'E'), "{bytes:?}");
    }
    for bytes in [&b"?\0\0\0\x04"[..], b"Q\xff\xff\xff\xff", b"B\0\0\0\x06\0\0", b"P\0\0\0\x09\0\0\xff\xff\0"] {
        let mut stream = server.raw().await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.first(), Some(&b'E'), "{bytes:?}");
        assert!(String::from_utf8_lossy(&answer).contains("FATAL"));
    }
    server.connect().await;
}

#[tokio::test]
async fn a_text_that_is_not_utf8_fails_alone() {
    let server = server().await;
    let mut stream = server.raw().await;
    stream.write_all(&frame(b'Q', b"SELECT '\xff'\0")).await.unwrap();
    assert_eq!(read_until_ready(&mut stream).await, ("EZ".to_string(), 'I'));
    let parse = frame(b'P', b"\0SELECT '\xff'\0\0\0");
    let skipped = frame(b'E', b"\0\0\0\0\0");
    stream.write_all(&[parse, skipped, frame(b'S', b"")].concat()).await.unwrap();
    assert_eq!(read_until_ready(&mut stream).await, ("EZ".to_string(), 'I'));
    assert_eq!(query(&mut stream, "SELECT 1").await, ("TDCZ".to_string(), 'I'));
}

#[tokio::test]
async fn shutdown_says_goodbye() {
    let server = server().await;
    let idle = server.connect().await;
    let busy = server.connect().await;
    let running = tokio::spawn(async move { busy.simple_query("HANG").await });
    eventually("the statement's start", || server.seen.hanging.load(Ordering::SeqCst)).await;
    server.shutdown.cancel();
    assert_eq!(code(&running.await.unwrap().unwrap_err()), &Code::ADMIN_SHUTDOWN);
    tokio::time::timeout(Duration::from_secs(5), server.done).await.unwrap().unwrap();
    assert!(idle.simple_query("SELECT 1").await.is_err());
    assert_eq!(server.seen.dropped.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn rows_come_as_text_in_the_simple_protocol() {
    let server = server().await;
    let client = server.connect().await;
    let messages = client.simple_query("SELECT 1.50, true, NULL, 'é'").await.unwrap();
    let row = messages.iter().find_map(|m| match m {
        SimpleQueryMessage::Row(row) => Some((0..4).map(|i| row.get(i)).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(row.unwrap(), [Some("1.5"), Some("t"), None, Some("é")]);
}
