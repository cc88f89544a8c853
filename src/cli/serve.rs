//! `tidemill serve`: an engine with a data directory, behind PostgreSQL's protocol and HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Exit;
use super::report;
use super::signals::Stop;
use crate::checkpoint::EpochOptions;
use crate::connector::options::OptionValue;
use crate::error::Result;
use crate::pipeline::{Engine, EngineConfig, Work};
use crate::server::engine::EngineSession;
use crate::server::http::Http;
use crate::server::pgwire::Listener;

#[derive(clap::Args)]
pub struct Serve {
    /// Where the catalog lies, and what is stored unless --store says otherwise; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Where the epochs of jobs and views are stored: file:///DIR
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Time between two epochs, such as 1s or '500 ms': what a crash has done anew, at most
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    epoch_interval: Duration,
    /// Address for psql and drivers; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5432")]
    listen: SocketAddr,
    /// Address for /healthz and /metrics
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Shards of a job or view that does not say; one a core unless given
    #[arg(long, value_name = "N")]
    parallelism: Option<std::num::NonZeroUsize>,
    /// Run no view and no job: to cancel or drop what ends the server
    #[arg(long)]
    paused: bool,
}

impl Serve {
    pub async fn run(self) -> Exit {
        let mut stop = match Stop::listen() {
            Ok(stop) => stop,
            Err(error) => return cannot_start(&error),
        };
        // Addresses first: a port that is taken is found out before any job runs.
        let opened = async {
            let listener = Listener::bind(self.listen).await?;
            let http = Http::bind(self.http).await?;
            let work = if self.paused { Work::Pause } else { Work::Run };
            let config = EngineConfig::default();
            let config = EngineConfig {
                data_dir: Some(self.data.clone()),
                store: self.store.clone(),
                epochs: EpochOptions { interval: self.epoch_interval, ..config.epochs },
                parallelism: self.parallelism.unwrap_or(config.parallelism),
                work,
                ..config
            };
            let engine = Engine::open(config).await?;
            Result::Ok((listener, http, engine))
        };
        let (listener, http, engine) = match opened.await {
            Ok(opened) => opened,
            Err(error) => return cannot_start(&error),
        };
        eprintln!("tidemill {} keeps its catalog in {}", env!("CARGO_PKG_VERSION"), self.data.display());
        if let Some(store) = engine.stored_in() {
            eprintln!("  epochs   {store}");
        }
        eprintln!("  SQL      {}", psql_line(listener.address()));
        eprintln!("  health   http://{}/healthz", http.address());
        eprintln!("  metrics  http://{}/metrics", http.address());
        if self.paused {
            eprintln!("No view and no job runs: this server was started with --paused.");
        }
        eprintln!("Ctrl-C stops it.");
        let serving = Serving::start(&engine, listener, Some(http));
        stop.asked().await;
        eprintln!("Stopping: what is computed is delivered first. Ctrl-C again ends it at once.");
        stop.then_at_once();
        serving.stop().await;
        engine.shutdown().await;
        Exit::Done
    }
}

fn duration(text: &str) -> std::result::Result<Duration, String> {
    Duration::parse(text).ok_or_else(|| format!("expected {}", Duration::EXPECTED))
}

fn cannot_start(error: &crate::error::Error) -> Exit {
    eprintln!("{}", report::report(error));
    Exit::CannotStart
}

/// How to connect to `address`.
pub fn psql_line(address: SocketAddr) -> String {
    let host = if address.ip().is_unspecified() { "127.0.0.1".to_string() } else { address.ip().to_string() };
    format!("psql -h {host} -p {}", address.port())
}

/// What listens on behalf of an engine.
pub struct Serving {
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Serving {
    pub fn start(engine: &Arc<Engine>, listener: Listener, http: Option<Http>) -> Serving {
        let shutdown = CancellationToken::new();
        let metrics = Arc::clone(engine.metrics());
        let sessions = EngineSession::opener(engine);
        let mut tasks = vec![tokio::spawn(listener.run(sessions, Arc::clone(&metrics), shutdown.clone()))];
        if let Some(http) = http {
            tasks.push(tokio::spawn(http.run(Arc::clone(engine) as _, metrics, shutdown.clone())));
        }
        Serving { shutdown, tasks }
    }

    /// Ends all sessions, and waits until they are gone.
    pub async fn stop(self) {
        self.shutdown.cancel();
        futures::future::join_all(self.tasks).await;
    }
}
