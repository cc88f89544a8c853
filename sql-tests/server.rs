//! The binary that cargo has built beside this one, in a process of its own: what is to be killed, frozen, or started twice.

#![expect(clippy::disallowed_methods, reason = "tests have patience, which ends by the clock")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

pub const TIDEMILL: &str = env!("CARGO_BIN_EXE_tidemill");

/// How often a condition that is waited for is looked at.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A process that ends when this is dropped, by `kill -9`.
pub struct Running(pub Child);

impl Running {
    /// Sends a signal of that name (`INT`, `STOP`, ...).
    pub fn signal(&self, name: &str) -> Result<(), String> {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status();
        match sent.map_err(|e| e.to_string())?.success() {
            true => Ok(()),
            false => Err(format!("SIG{name} could not be sent")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended needs none.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `tidemill serve` on free ports, with an epoch every 40 ms.
pub struct Server {
    pub process: Running,
    address: Option<SocketAddr>,
}

impl Server {
    /// Waits until it listens, or has ended before that. `more` are further arguments; a failpoint is `NAME=PASSES`.
    pub fn start(data: &Path, more: &[&str], failpoint: Option<String>) -> Result<Server, String> {
        let mut command = Command::new(TIDEMILL);
        command.envs(failpoint.map(|place| ("TIDEMILL_FAILPOINT", place)));
        Server::run(command, data, more)
    }

    /// Likewise, with a file system of so many megabytes at `folder`, which goes with the process. Others reach it by
    /// [`Server::seen`]. Nobody needs to be root for it, but the system must let users have namespaces.
    pub fn start_on_small_disk(data: &Path, more: &[&str], folder: &Path, megabytes: u32) -> Result<Server, String> {
        let mut command = Command::new("unshare");
        let mount = format!("mount -t tmpfs -o size={megabytes}m tmpfs \"$0\" && exec \"$@\"");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]).arg(folder).arg(TIDEMILL);
        Server::run(command, data, more)
    }

    /// How `path` of the process's file systems is reached from outside.
    pub fn seen(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.process.0.id()));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn run(mut command: Command, data: &Path, more: &[&str]) -> Result<Server, String> {
        command.args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--parallelism", "2"]);
        command.args(["--epoch-interval", "40ms"]).args(more).arg("--data").arg(data);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Running(command.spawn().map_err(|e| e.to_string())?);
        let stderr = process.0.stderr.take().ok_or("no stderr")?;
        let mut lines = BufReader::new(stderr).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            line.trim().strip_prefix("SQL").and_then(|line| line.rsplit(' ').next()?.parse::<u16>().ok())
        });
        // Whatever else it says must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Server { address: port.map(|port| SocketAddr::from(([127, 0, 0, 1], port))), process })
    }

    pub async fn connect(&self) -> Result<Client, String> {
        let address = self.address.ok_or("the server ended before it listened")?;
        let config = format!("host={} port={} user=tidemill", address.ip(), address.port());
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.map_err(|e| told(&e))?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Waits until the process has ended by itself, and gives its exit code.
    pub async fn ended_within(&mut self, patience: Duration) -> Result<Option<Option<i32>>, String> {
        let began = Instant::now();
        while began.elapsed() < patience {
            if let Some(status) = self.process.0.try_wait().map_err(|e| e.to_string())? {
                return Ok(Some(status.code()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(None)
    }
}

/// What the server has said, or why it could not be asked.
pub fn told(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.to_string())
}

/// A row's values as text.
pub type Row = Vec<Option<String>>;

pub async fn query(client: &Client, sql: &str) -> Result<Vec<Row>, String> {
    let messages = client.simple_query(sql).await.map_err(|e| format!("{sql}: {}", told(&e)))?;
    let row = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_string)).collect()),
        _ => None,
    };
    Ok(messages.into_iter().filter_map(row).collect())
}
