//! The server as a process: how soon it answers, what it takes at rest.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use crate::measure::now;

/// Time the server is left alone before it counts as at rest.
const REST: Duration = Duration::from_secs(5);

/// A server of its own data directory, killed when dropped.
struct Server {
    child: Child,
    /// Kept open, so that it can go on writing.
    _said: BufReader<ChildStderr>,
    address: String,
    _data: tempfile::TempDir,
}

impl Server {
    fn start() -> Result<Self, String> {
        let data = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidemill"))
            .args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| e.to_string())?;
        // It says where it listens, with the psql line to join in.
        let mut said = BufReader::new(child.stderr.take().ok_or("no output")?);
        let mut address = None;
        let mut line = String::new();
        while said.read_line(&mut line).map_err(|e| e.to_string())? > 0 {
            if let Some(port) = line.split("-p ").nth(1).and_then(|rest| rest.split_whitespace().next()) {
                address = Some(format!("host=127.0.0.1 port={port} user=bench"));
                break;
            }
            line.clear();
        }
        Ok(Server {
            child,
            _said: said,
            address: address.ok_or("the server did not say where it listens")?,
            _data: data,
        })
    }

    /// SELECT 1, over the wire.
    fn select_1(&self) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&self.address, tokio_postgres::NoTls).await.map_err(|e| e.to_string())?;
            tokio::spawn(connection);
            let row = client.query_one("SELECT 1", &[]).await.map_err(|e| e.to_string())?;
            match row.get::<_, i32>(0) {
                1 => Ok(()),
                other => Err(format!("SELECT 1 gave {other}")),
            }
        })
    }

    /// Resident bytes of the process.
    fn resident_bytes(&self) -> Result<u64, String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).map_err(|e| e.to_string())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().map_err(|_| "cannot read VmRSS")?;
        Ok(kilobytes * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// From starting the process to the answer of SELECT 1.
pub fn startup() -> Result<(), String> {
    let began = now();
    let server = Server::start()?;
    server.select_1()?;
    println!("startup: SELECT 1 answered {:.3} s after the start of serve (target 0.5)", began.elapsed().as_secs_f64());
    Ok(())
}

/// Resident memory of a server that has answered a query and has nothing to do.
#[expect(clippy::disallowed_methods, reason = "what is measured is the state after some seconds of rest")]
pub fn at_rest() -> Result<(), String> {
    let server = Server::start()?;
    server.select_1()?;
    std::thread::sleep(REST);
    println!("at_rest: {:.1} MB resident (target 100)", server.resident_bytes()? as f64 / 1e6);
    Ok(())
}
