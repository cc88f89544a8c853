//! Other people's drivers against a server: psycopg, JDBC, pgx and node-postgres, as their users have them.
//!
//! `fetch.sh` gets each at the version of its lock file into a cache. Its program, in a folder of its own, connects by
//! libpq's variables, goes through the steps of [`Client::steps`], and says the name of each that went as it should; what
//! goes otherwise ends it with an error. A driver that cannot be fetched or run is a failure.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::host::{Access, Host};
use crate::psql;
use crate::script;
use crate::tally::Tally;
use crate::variant::{Backend, Cuts, Variant, Way};

/// Seconds a program may take: one hangs only if the server does.
const PATIENCE_S: &str = "90";

struct Client {
    name: &'static str,
    /// What to run, given the fetched folder and the program's own.
    command: fn(&Path, &Path) -> Command,
    steps: &'static [&'static str],
}

/// What a driver is led through, if it can do all of it.
const STEPS: [&str; 10] =
    ["connect", "text", "binary", "parameters", "failure", "block", "cursor", "copy", "subscribe", "cancel"];

const CLIENTS: [Client; 4] = [
    Client {
        name: "psycopg",
        command: |fetched, own| program(&[&fetched.join("bin/python"), &own.join("client.py")]),
        steps: &STEPS,
    },
    Client {
        name: "jdbc",
        command: |fetched, own| {
            // A program this short is over before a compiler for hot code pays off.
            let mut command = program(&["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-cp"]);
            command.arg(fetched.join("*")).arg(own.join("Client.java"));
            command
        },
        steps: &[
            "connect",
            "text",
            "binary",
            "parameters",
            "failure",
            "block",
            "cursor",
            "copy",
            "subscribe",
            "cancel",
            "metadata",
        ],
    },
    Client { name: "pgx", command: |fetched, _| program(&[&fetched.join("client")]), steps: &STEPS },
    Client {
        name: "node-postgres",
        command: |fetched, own| {
            let mut command = program(&[Path::new("node"), &own.join("client.js")]);
            command.env("NODE_PATH", fetched.join("node_modules"));
            command
        },
        steps: &["connect", "text", "binary", "parameters", "failure", "block", "cursor", "subscribe", "cancel"],
    },
];

/// What the programs look at: a row of values and a row of nulls.
const VALUES: &str = r#"{"id":1,"b":true,"s":1,"i":2,"l":3,"r":1.5,"d":2.25,"n":12.34,"t":"text","v":"abc","y":"AQL/","da":"2024-02-29","ts":"2024-02-29 12:34:56.789012","tz":"2024-02-29T12:34:56+02:00"}
{"id":2}
"#;

const COLUMNS: &str = "id INTEGER, b BOOLEAN, s SMALLINT, i INTEGER, l BIGINT, r REAL, d DOUBLE PRECISION, \
    n NUMERIC(10,2), t TEXT, v VARCHAR(5), y BYTEA, da DATE, ts TIMESTAMP, tz TIMESTAMP WITH TIME ZONE";

/// A row by its id, with what no source can hold.
const EVERY_TYPE: &str = "SELECT b, s, i, l, r, d, n, t, v, y, da, ts, tz, INTERVAL '2 days 3 hours 4 minutes 5.6 seconds' AS iv, \
    ARRAY[1, NULL, 3]::int[] AS a, ARRAY['x', 'y\"z', NULL] AS ta FROM every_type WHERE id = $1";

pub fn run(tally: &mut Tally) {
    let wanted = CLIENTS.iter().filter(|client| tally.wants(&test(client))).collect::<Vec<_>>();
    if wanted.is_empty() {
        return;
    }
    let done = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string());
    let done = done.and_then(|runtime| {
        let done = runtime.block_on(run_all(&wanted, tally));
        runtime.shutdown_background();
        done
    });
    if let Err(why) = done {
        tally.fail(format_args!("clients: {why}"));
    }
}

fn test(client: &Client) -> String {
    format!("clients::{}", client.name)
}

fn folder() -> PathBuf {
    script::folder().join("clients")
}

fn program(words: &[impl AsRef<Path>]) -> Command {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE_S).args(words.iter().map(AsRef::as_ref));
    command
}

async fn run_all(clients: &[&Client], tally: &mut Tally) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let values = dir.path().join("values.jsonl");
    std::fs::write(&values, VALUES).map_err(|e| e.to_string())?;
    let way =
        Variant { way: Way::Wire, parallelism: 1, cuts: Cuts::Natural, backend: Backend::Memory, rehearsed: None };
    let host = Host::start(way, &dir.path().join("data")).await?;
    let (_, Access::Wire(server)) = host.access().await? else { return Err("there is no server".into()) };
    host.run(&format!(
        "CREATE SOURCE kept ({COLUMNS}) WITH ('connector' = 'file', 'path' = '{}', 'format' = 'json'); \
         CREATE MATERIALIZED VIEW every_type AS SELECT * FROM kept;",
        values.display()
    ))
    .await?;
    for client in clients {
        tally.count(&test(client), tokio::task::block_in_place(|| run_client(client, server)));
    }
    host.shutdown().await;
    Ok(())
}

fn run_client(client: &Client, server: std::net::SocketAddr) -> Result<(), String> {
    let own = folder().join(client.name);
    let mut command = (client.command)(&fetch(client.name)?, &own);
    command.env("PGHOST", server.ip().to_string()).env("PGPORT", server.port().to_string());
    command.env("PGUSER", "ann").env("PGDATABASE", "tidemill").env("TZ", "UTC");
    command.env("EVERY_TYPE", EVERY_TYPE).env("ENDLESS", psql::endless());
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let steps = said.lines().collect::<Vec<_>>();
    if output.status.success() && steps == client.steps {
        return Ok(());
    }
    let mut why = format!("{}; it went through {steps:?} of {:?}", output.status, client.steps);
    let _ = write!(why, "\n{complained}");
    Err(why)
}

/// The folder that `fetch.sh` has put the driver into.
fn fetch(name: &str) -> Result<PathBuf, String> {
    let script = folder().join("fetch.sh");
    let output = Command::new(&script).arg(name).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{}: {e}", script.display()))?;
    if !output.status.success() {
        return Err(format!("{} {name}:\n{}", script.display(), String::from_utf8_lossy(&output.stderr)));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
