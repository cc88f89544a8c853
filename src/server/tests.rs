//! psql, driven for real against an engine: what a person sees.

use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::engine::EngineSession;
use super::pgwire::Listener;
use crate::pipeline::{Engine, EngineConfig};

const ROWS: &str = r#"{"order_id":1,"customer":"ada","amount":1.25,"ts":"2020-01-01 00:00:01"}
{"order_id":2,"customer":"bob","amount":10,"ts":"2020-01-01 00:00:02"}
{"order_id":3,"customer":"ada","amount":0.5,"ts":"2020-01-01 00:00:03"}
"#;

struct Server {
    port: u16,
    engine: Arc<Engine>,
    shutdown: CancellationToken,
    done: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start() -> Server {
        let engine = Engine::open(EngineConfig::default()).await.unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (port, shutdown) = (listener.address().port(), CancellationToken::new());
        let sessions = EngineSession::opener(&engine);
        let done = tokio::spawn(listener.run(sessions, Arc::clone(engine.metrics()), shutdown.clone()));
        Server { port, engine, shutdown, done }
    }

    fn psql(&self, command: &str) -> Command {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-h", "127.0.0.1", "-U", "ann", "-d", "tidemill", "-p", &self.port.to_string()]);
        psql.args(["-c", command]);
        psql.env_remove("PGTZ").env("PGAPPNAME", "test").stdin(Stdio::null());
        psql.stdout(Stdio::piped()).stderr(Stdio::piped());
        psql
    }

    /// What psql prints, errors too; without blanks at the ends of lines.
    async fn run(&self, command: &str) -> String {
        let mut psql = self.psql(command);
        let output = tokio::task::spawn_blocking(move || psql.output().unwrap()).await.unwrap();
        let all = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(all).unwrap();
        text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n")
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.done.await.unwrap();
        self.engine.shutdown().await;
    }
}

/// What the machine has no psql for is not tested there; CI has it.
fn psql_is_missing() -> bool {
    let missing = Command::new("psql").arg("--version").output().is_err();
    if missing {
        eprintln!("psql is not installed: not tested");
    }
    missing
}

async fn with_objects() -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, ROWS).unwrap();
    let server = Server::start().await;
    let source = format!(
        "CREATE SOURCE orders (order_id BIGINT NOT NULL, customer VARCHAR(20), amount NUMERIC(12,2), ts TIMESTAMP(3), \
         WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'file', 'path' = '{}', 'format' = 'json')",
        path.display()
    );
    let statements = [
        (source.as_str(), "CREATE SOURCE"),
        ("CREATE SINK hole (id BIGINT) WITH ('connector' = 'blackhole')", "CREATE SINK"),
        (
            "CREATE MATERIALIZED VIEW live AS SELECT customer, sum(amount) AS total FROM orders GROUP BY customer",
            "CREATE MATERIALIZED VIEW",
        ),
        ("CREATE STREAMING JOB count_in AS INSERT INTO hole SELECT order_id FROM orders", "CREATE STREAMING JOB"),
    ];
    for (statement, tag) in statements {
        let answer = server.run(statement).await;
        assert!(answer.lines().any(|l| l == tag), "{statement}\n{answer}");
    }
    server.engine.settled().await;
    (server, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_sees() {
    if psql_is_missing() {
        return;
    }
    let (server, _folder) = with_objects().await;
    let table = [
        (
            "SELECT * FROM live ORDER BY total DESC",
            " customer | total\n----------+-------\n bob      | 10.00\n ada      |  1.75\n(2 rows)",
        ),
        (
            "\\d",
            "               List of relations\n Schema |   Name   |       Type        | Owner\n\
             --------+----------+-------------------+-------\n public | count_in | streaming job     | ann\n \
             public | hole     | sink              | ann\n public | live     | materialized view | ann\n \
             public | orders   | source            | ann\n(4 rows)",
        ),
        (
            "\\dt",
            "        List of relations\n Schema |  Name  |  Type  | Owner\n--------+--------+--------+-------\n \
             public | hole   | sink   | ann\n public | orders | source | ann\n(2 rows)",
        ),
        (
            "\\d orders",
            "                           Table \"public.orders\"\n  Column  |              Type              | Collation | \
             Nullable | Default\n----------+--------------------------------+-----------+----------+---------\n \
             order_id | bigint                         |           | not null |\n \
             customer | character varying(20)          |           |          |\n \
             amount   | numeric(12,2)                  |           |          |\n \
             ts       | timestamp(3) without time zone |           |          |",
        ),
        (
            "\\d live",
            "                 Materialized view \"public.live\"\n  Column  |         Type          | Collation | Nullable | \
             Default\n----------+-----------------------+-----------+----------+---------\n \
             customer | character varying(20) |           |          |\n \
             total    | numeric(38,2)         |           |          |",
        ),
        (
            "\\l",
            "                                             List of databases\n   Name   | Owner | Encoding | Collate |  \
             Ctype  | ICU Locale | Locale Provider | Access privileges\n\
             ----------+-------+----------+---------+---------+------------+-----------------+-------------------\n \
             tidemill | ann   | UTF8     | C       | C.UTF-8 |            | libc            |\n(1 row)",
        ),
        ("\\dn", "List of schemas\n  Name  | Owner\n--------+-------\n public | ann\n(1 row)"),
        (
            "\\dv",
            "           List of relations\n Schema |   Name   |     Type      | Owner\n\
             --------+----------+---------------+-------\n public | count_in | streaming job | ann\n(1 row)",
        ),
        ("\\d nosuch", "Did not find any relation named \"nosuch\"."),
        ("SELECT 1 AS a; SELECT 2 AS b", " a\n---\n 1\n(1 row)\n b\n---\n 2\n(1 row)"),
        (
            "SELECT 1; SELECT nosuch FROM live; SELECT 2",
            "ERROR:  column \"nosuch\" does not exist\nLINE 1: SELECT 1; SELECT nosuch FROM live; SELECT 2\n                         ^",
        ),
        ("SELECT", "--\n(1 row)"),
    ];
    let mut wrong = Vec::new();
    for (command, expected) in table {
        let answer = server.run(command).await;
        if answer != expected {
            wrong.push(format!("{command}\n{answer}\ninstead of\n{expected}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.stop().await;
}

/// Every backslash command that asks the server something gets an answer without an error.
#[tokio::test(flavor = "multi_thread")]
async fn other_commands_are_answered() {
    if psql_is_missing() {
        return;
    }
    let (server, _folder) = with_objects().await;
    let commands = "\\d+ orders|\\d+ live|\\d+ count_in|\\dt+|\\dm+|\\l+|\\dn+|\\du|\\df|\\di|\\ds|\\dE|\\dT|\\dp|\\dx|\\db|\\dd|\\dy|\\dRp|\\des|\\dO|\\dL|\\ddp|\\dconfig|\\d pg_class|\\conninfo|\\encoding|\\sv live";
    for command in commands.split('|') {
        let answer = server.run(command).await;
        assert!(!answer.contains("ERROR") && !answer.contains("FATAL"), "{command}\n{answer}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_in_psql() {
    if psql_is_missing() {
        return;
    }
    let server = Server::start().await;
    let endless = "SELECT count(*) FROM generate_series(1, 1000000000000) a";
    let child = server.psql(endless).spawn().unwrap();
    let pid = child.id().to_string();
    let metrics = Arc::clone(server.engine.metrics());
    while !metrics.encode().unwrap().contains("tidemill_sessions 1") {
        tokio::task::yield_now().await;
    }
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    // psql takes Ctrl-C for its own until the statement is sent, so it may take more than one.
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(300));
    ticks.tick().await;
    while !ended.is_finished() {
        ticks.tick().await;
        Command::new("kill").args(["-INT", &pid]).status().unwrap();
    }
    let output = ended.await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("ERROR:  canceling statement due to user request"), "{said}");
    server.stop().await;
}
