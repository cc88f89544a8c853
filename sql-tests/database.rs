//! A session of the engine under test, as sqllogictest wants it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};
use tidemill::error::Error;
use tidemill::pipeline::Work;
use tidemill::server::grid::Grid;
use tidemill::session::{Body, Session};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

use crate::host::{Access, Host};

type Output = DBOutput<DefaultColumnType>;

/// A session. It is opened with its first statement, and anew after a restart of the engine.
pub struct Database {
    host: Arc<Host>,
    session: Option<(u64, Link)>,
    /// Of the last statement.
    notices: Arc<Mutex<Vec<String>>>,
    /// What cursors over a SUBSCRIBE have told, by name.
    copies: BTreeMap<String, Copied>,
}

/// Changes added up.
#[derive(Default)]
struct Copied {
    /// The last one's.
    tick: i64,
    rows: BTreeMap<Vec<String>, i64>,
}

enum Link {
    InProcess(Box<Session>),
    Wire(Client),
}

/// An error as the scripts write it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

/// What an error consists of, wherever it comes from.
struct Parts<'a> {
    code: &'a str,
    message: &'a str,
    detail: Option<&'a str>,
    hint: Option<&'a str>,
    /// Counted from 1, in characters.
    position: Option<usize>,
}

/// Characters of the statement that an error shows of the place it points at.
const PLACE_CHARS: usize = 24;

impl Parts<'_> {
    fn failure(&self, sql: &str) -> Failure {
        let mut text = format!("{}: {}", self.code, self.message);
        if let Some(position) = self.position {
            let rest: String = sql.chars().skip(position - 1).take(PLACE_CHARS).collect();
            text.push_str(&format!("\nAT: {}", rest.lines().next().unwrap_or_default().trim_end()));
        }
        for (label, part) in [("DETAIL", self.detail), ("HINT", self.hint)] {
            if let Some(part) = part {
                text.push_str(&format!("\n{label}: {part}"));
            }
        }
        Failure(text)
    }
}

impl Database {
    pub fn new(host: Arc<Host>) -> Database {
        Database { host, session: None, notices: Arc::default(), copies: BTreeMap::new() }
    }

    /// The open session, of the engine's present life.
    async fn link(&mut self) -> Result<&mut Link, Failure> {
        if self.session.as_ref().is_none_or(|(life, _)| *life != self.host.life()) {
            let (life, access) = self.host.access().await.map_err(Failure)?;
            let link = match access {
                Access::InProcess(engine) => Link::InProcess(Box::new(Session::new(engine))),
                Access::Wire(address) => Link::Wire(self.connect(address).await?),
            };
            self.session = Some((life, link));
        }
        match &mut self.session {
            Some((_, link)) => Ok(link),
            None => Err(Failure("no session".into())),
        }
    }

    async fn connect(&self, address: std::net::SocketAddr) -> Result<Client, Failure> {
        let mut config = tokio_postgres::Config::new();
        config.host(address.ip().to_string()).port(address.port()).user("tester").dbname("tidemill");
        let (client, mut connection) = config.connect(NoTls).await.map_err(|e| Failure(e.to_string()))?;
        let notices = Arc::clone(&self.notices);
        // Notices come before the answer they belong to, and are kept before that is handed on.
        tokio::spawn(async move {
            while let Some(Ok(message)) = futures::future::poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notice(n) = message {
                    notices.lock().push(format!("{} {}: {}", n.severity(), n.code().code(), n.message()));
                }
            }
        });
        Ok(client)
    }

    async fn command(&mut self, command: &str) -> Result<Output, Failure> {
        let (name, argument) = command.split_once(' ').unwrap_or((command, ""));
        match name {
            "\\restart" => {
                // A session holds its engine, and that its data directory.
                self.session = None;
                let work = match argument {
                    "" => Work::Run,
                    "paused" => Work::Pause,
                    _ => return Err(Failure(format!("\\restart or \\restart paused, not {argument}"))),
                };
                self.host.restart(work).await.map_err(Failure)?;
                Ok(DBOutput::StatementComplete(0))
            }
            "\\notices" => Ok(column(self.notices.lock().clone())),
            "\\copy" => self.copy_of(argument.trim()).await,
            "\\lines" => sorted_lines(Path::new(argument.trim())).map(column).map_err(Failure),
            _ => Err(Failure(format!("there is no command {name}"))),
        }
    }
}

impl Database {
    /// What all changes so far of a cursor over a SUBSCRIBE add up to: rows, sorted. Ticks differ from way to way, but they
    /// never go back, and no row is there less than not at all.
    async fn copy_of(&mut self, cursor: &str) -> Result<Output, Failure> {
        self.host.settle().await;
        let mut copy = self.copies.remove(cursor).unwrap_or_default();
        loop {
            let fetched = self.statement(&format!("FETCH ALL {cursor} WITH (timeout = '0s')")).await?;
            let DBOutput::Rows { rows, .. } = fetched else { return Err(Failure("FETCH returns no rows".into())) };
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let number = |n: usize| row.get(n).and_then(|value: &String| value.parse::<i64>().ok());
                let (Some(tick), Some(diff)) = (number(0), number(1)) else {
                    return Err(Failure(format!("{row:?} is no change")));
                };
                if tick < copy.tick {
                    return Err(Failure(format!("tick {tick} comes after tick {}", copy.tick)));
                }
                copy.tick = tick;
                *copy.rows.entry(row[2..].to_vec()).or_default() += diff;
            }
        }
        copy.rows.retain(|_, count| *count != 0);
        if let Some((row, count)) = copy.rows.iter().find(|(_, count)| **count < 0) {
            return Err(Failure(format!("{row:?} is there {count} times")));
        }
        let rows: Vec<Vec<String>> =
            copy.rows.iter().flat_map(|(row, count)| vec![row.clone(); *count as usize]).collect();
        self.copies.insert(cursor.to_string(), copy);
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; rows.first().map_or(0, Vec::len)], rows })
    }

    async fn statement(&mut self, sql: &str) -> Result<Output, Failure> {
        let notices = Arc::clone(&self.notices);
        match self.link().await? {
            Link::InProcess(session) => in_process(session, sql, &notices).await,
            Link::Wire(client) => over_the_wire(client, sql).await,
        }
    }
}

#[async_trait::async_trait]
impl AsyncDB for Database {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<Output, Failure> {
        let sql = sql.trim();
        if sql.starts_with('\\') {
            return self.command(sql).await;
        }
        self.notices.lock().clear();
        let output = self.statement(sql).await?;
        let first = sql.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        if ["CREATE", "DROP", "STOP", "CANCEL"].contains(&first.as_str()) {
            self.host.settle().await;
        }
        Ok(output)
    }

    async fn shutdown(&mut self) {
        self.session = None;
    }

    #[expect(clippy::disallowed_methods, reason = "a record that says `retry` waits for a watched file to be seen")]
    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn engine_name(&self) -> &str {
        "tidemill"
    }
}

async fn in_process(session: &mut Session, sql: &str, notices: &Mutex<Vec<String>>) -> Result<Output, Failure> {
    // `offset`: where the statement begins that an error is about.
    let fail = |e: &Error, offset: usize| {
        let parts = Parts {
            code: e.state().code(),
            message: e.message(),
            detail: e.detail(),
            hint: e.hint(),
            position: e.position().map(|p| p + offset),
        };
        parts.failure(sql)
    };
    let mut output = DBOutput::StatementComplete(0);
    let statements = session.parse(sql).map_err(|e| {
        session.fail();
        fail(&e, 0)
    })?;
    for statement in statements {
        let offset = statement.offset;
        let response = session.execute(&statement, &[]).await.map_err(|e| fail(&e, offset))?;
        for notice in response.notices {
            let what = notice.what;
            notices.lock().push(format!("{} {}: {}", notice.severity, what.state().code(), what.message()));
        }
        output = match response.body {
            Body::Command(_) | Body::Empty => DBOutput::StatementComplete(0),
            Body::Rows(set) | Body::Copy(set, _) => {
                let zone = session.setting("TimeZone").and_then(|zone| zone.parse().ok()).unwrap_or_default();
                let grid = Grid::collect(&set.schema, set.stream, zone).await.map_err(|e| {
                    session.fail();
                    fail(&e, offset)
                })?;
                rows(grid.rows)
            }
        };
    }
    Ok(output)
}

async fn over_the_wire(client: &Client, sql: &str) -> Result<Output, Failure> {
    let messages = client.simple_query(sql).await.map_err(|e| match e.as_db_error() {
        None => Failure(e.to_string()),
        Some(db) => {
            let position = match db.position() {
                Some(tokio_postgres::error::ErrorPosition::Original(p)) => Some(*p as usize),
                _ => None,
            };
            let (detail, hint) = (db.detail(), db.hint());
            Parts { code: db.code().code(), message: db.message(), detail, hint, position }.failure(sql)
        }
    })?;
    let mut output = DBOutput::StatementComplete(0);
    let mut result: Option<Vec<Vec<Option<String>>>> = None;
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(_) => result = Some(Vec::new()),
            SimpleQueryMessage::Row(row) => {
                let values = (0..row.len()).map(|i| row.get(i).map(str::to_string)).collect();
                result.get_or_insert_default().push(values);
            }
            SimpleQueryMessage::CommandComplete(n) => {
                output = result.take().map_or(DBOutput::StatementComplete(n), rows);
            }
            _ => {}
        }
    }
    Ok(output)
}

/// Null is NULL, an empty text is (empty).
fn rows(values: Vec<Vec<Option<String>>>) -> Output {
    let shown = |value: Option<String>| match value {
        None => "NULL".to_string(),
        Some(text) if text.is_empty() => "(empty)".to_string(),
        Some(text) => text,
    };
    let rows: Vec<Vec<String>> = values.into_iter().map(|row| row.into_iter().map(shown).collect()).collect();
    DBOutput::Rows { types: vec![DefaultColumnType::Any; rows.first().map_or(0, Vec::len)], rows }
}

fn column(lines: Vec<String>) -> Output {
    DBOutput::Rows { types: vec![DefaultColumnType::Text], rows: lines.into_iter().map(|line| vec![line]).collect() }
}

/// The lines of a file, or of all files in a folder, sorted.
fn sorted_lines(path: &Path) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    let mut pending: Vec<PathBuf> = vec![path.to_path_buf()];
    while let Some(path) = pending.pop() {
        let problem = |e: std::io::Error| format!("{}: {e}", path.display());
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).map_err(problem)?;
            pending.extend(entries.filter_map(|e| e.ok().map(|e| e.path())));
        } else {
            lines.extend(std::fs::read_to_string(&path).map_err(problem)?.lines().map(str::to_string));
        }
    }
    lines.sort();
    Ok(lines)
}
