//! SELECTs that compute without an end, and what must go on beside them: other sessions, old and new, `/healthz` and `/metrics`,
//! views, Ctrl-C, statement_timeout.
//!
//! The server has two threads for its sessions, as a small machine has, and there are more such SELECTs than that.

#![expect(clippy::disallowed_methods, reason = "tests have patience, which ends by the clock")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{CancelToken, Client, Error, NoTls, SimpleQueryMessage};

use crate::host::{Access, Host};
use crate::tally::Tally;
use crate::variant::{Backend, Cuts, Variant, Way};

const NAME: &str = "busy::others_go_on";

const SESSION_THREADS: usize = 2;
const BUSY: usize = 3;

/// None of it takes a second where sessions are not held up; on a machine that does much else it may.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a statement may take that has a limit.
const LIMIT_MS: u64 = 50;

/// A request to cancel is sent again after so long: one that comes before the statement has nothing to cancel.
const AGAIN: Duration = Duration::from_millis(100);

/// Pairs that are looked at one by one, of which none is emitted: there is nothing to yield with.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 30000) AS a(x), generate_series(1, 30000) AS b(x), \
                       generate_series(1, 30000) AS c(x) WHERE a.x * b.x + c.x = -5";

pub fn run(tally: &mut Tally) {
    if tally.wants(NAME) {
        tally.count(NAME, in_runtime());
    }
}

fn in_runtime() -> Result<(), String> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(SESSION_THREADS).enable_all().build().map_err(|e| e.to_string())?;
    // Whoever judges is not held up by what is judged.
    let judge = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let judged = judge.block_on(async {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let data = dir.path().to_path_buf();
        let way =
            Variant { way: Way::Wire, parallelism: 1, cuts: Cuts::Natural, backend: Backend::Memory, rehearsed: None };
        let host = runtime.spawn(async move { Host::start(way, &data).await }).await.map_err(|e| e.to_string())??;
        let Access::Wire(server) = host.access().await?.1 else { return Err("there is no server".into()) };
        let pages = host.http().await.ok_or("there are no pages")?;
        others_go_on(server, pages).await?;
        // In the server's own threads, as all that it does.
        let stopped = runtime.spawn(async move { host.shutdown().await });
        within("the server's end", stopped).await?.map(drop).map_err(|e| e.to_string())
    });
    runtime.shutdown_background();
    judged
}

async fn others_go_on(server: SocketAddr, pages: SocketAddr) -> Result<(), String> {
    let other = within("a connection", connect(server)).await??;
    other
        .batch_execute("CREATE SOURCE g (n bigint) WITH ('connector' = 'generator', 'rows-per-second' = '1000')")
        .await
        .map_err(text)?;
    other.batch_execute("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS rows FROM g").await.map_err(text)?;
    let mut busy = Vec::new();
    for _ in 0..BUSY {
        busy.push(Busy::start(server).await?);
    }
    let limited = within("a connection beside busy ones", connect(server)).await??;
    // Each is at work once it can be canceled; that one is enough for the proof is for `canceled` to show.
    let first = rows(&other).await?;
    while rows(&other).await? <= first {
        sleep(AGAIN).await;
    }
    watched(server, pages).await?;
    within("SET", limited.batch_execute(&format!("SET statement_timeout = {LIMIT_MS}"))).await?.map_err(text)?;
    let ended = within("a statement with a limit", limited.simple_query(ENDLESS)).await?;
    expect(ended.map(drop), "canceling statement due to statement timeout")?;
    within("the session behind its limit", limited.simple_query("SHOW timezone")).await?.map_err(text)?;
    if let Some(ended) = busy.iter().position(Busy::has_ended) {
        return Err(format!("the endless statement {ended} has ended by itself: nothing was busy"));
    }
    for busy in busy {
        within("a canceled statement", busy.cancel()).await??;
    }
    Ok(())
}

/// What those ask who watch a server.
async fn watched(server: SocketAddr, pages: SocketAddr) -> Result<(), String> {
    for (path, expected) in [("/healthz", "\"status\":\"ok\""), ("/metrics", "# EOF")] {
        let answer = within(path, page(pages, path)).await?.map_err(|e| format!("{path}: {e}"))?;
        if !answer.starts_with("HTTP/1.1 200") || !answer.contains(expected) {
            return Err(format!("{path} answers {answer}"));
        }
    }
    let newcomer = within("a new connection", connect(server)).await??;
    within("a newcomer's SELECT 1", newcomer.simple_query("SELECT 1")).await?.map(drop).map_err(text)
}

async fn page(pages: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(pages).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: tidemill\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The rows that the view has counted so far.
async fn rows(session: &Client) -> Result<i64, String> {
    let answer = within("another session's SELECT", session.simple_query("SELECT rows FROM v")).await?.map_err(text)?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    row.and_then(|count| count.parse().ok()).ok_or_else(|| "the view has no row".to_string())
}

/// A session whose statement does not end by itself.
struct Busy {
    token: CancelToken,
    session: Arc<Client>,
    statement: JoinHandle<Result<(), Error>>,
}

impl Busy {
    async fn start(server: SocketAddr) -> Result<Busy, String> {
        let session = Arc::new(within("a connection beside others", connect(server)).await??);
        let (token, running) = (session.cancel_token(), Arc::clone(&session));
        let statement = tokio::spawn(async move { running.simple_query(ENDLESS).await.map(drop) });
        Ok(Busy { token, session, statement })
    }

    fn has_ended(&self) -> bool {
        self.statement.is_finished()
    }

    async fn cancel(mut self) -> Result<(), String> {
        loop {
            self.token.cancel_query(NoTls).await.map_err(text)?;
            if let Ok(ended) = timeout(AGAIN, &mut self.statement).await {
                expect(ended.map_err(|e| e.to_string())?, "canceling statement due to user request")?;
                break;
            }
        }
        self.session.simple_query("SELECT 1").await.map(drop).map_err(text)
    }
}

fn expect(ended: Result<(), Error>, message: &str) -> Result<(), String> {
    let Err(error) = ended else { return Err("the endless statement has ended by itself".into()) };
    let seen = error.as_db_error().ok_or_else(|| format!("instead of \"{message}\": {error}"))?;
    match *seen.code() == SqlState::QUERY_CANCELED && seen.message() == message {
        true => Ok(()),
        false => Err(format!("\"{}\" instead of \"{message}\"", seen.message())),
    }
}

async fn connect(server: SocketAddr) -> Result<Client, String> {
    let options = format!("host={} port={} user=ann dbname=tidemill", server.ip(), server.port());
    let (client, connection) = tokio_postgres::connect(&options, NoTls).await.map_err(text)?;
    tokio::spawn(connection);
    Ok(client)
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> Result<T, String> {
    timeout(PATIENCE, work).await.map_err(|_| format!("{what} does not come beside busy sessions"))
}

fn text(error: Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_string())
}
