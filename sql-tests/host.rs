//! An engine under test, with its server, in this process.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidemill::metrics::Metrics;
use tidemill::pipeline::{CutPolicy, Engine, EngineConfig, RehearsalPlan, Work};
use tidemill::server::engine::EngineSession;
use tidemill::server::http::Http;
use tidemill::server::pgwire::Listener;
use tidemill::session::Session;
use tidemill::state::BackendKind;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::variant::{Backend, Cuts, Rng, Variant, Way};

/// An engine that can be shut down and opened again, and what was seen of its inside meanwhile.
pub struct Host {
    variant: Variant,
    data_dir: PathBuf,
    /// Counts the engine's lives: a session of an earlier one is of no use.
    life: AtomicU64,
    running: Mutex<Option<Running>>,
    rehearsal: Option<RehearsalPlan>,
    seen: Mutex<Seen>,
}

struct Running {
    engine: Arc<Engine>,
    /// Only where statements go over the wire.
    server: Option<Server>,
}

struct Server {
    address: SocketAddr,
    /// Of `/healthz` and `/metrics`.
    http: SocketAddr,
    shutdown: CancellationToken,
    tasks: [JoinHandle<()>; 2],
}

/// What is checked about a run besides its answers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// Of the view or job that had most.
    pub ticks: u64,
    /// Shards that rows behind an exchange have reached, in the view or job that reached most.
    pub shards: usize,
    /// Lives of pipelines that ended, and were gone on from.
    pub restarts: u64,
}

/// How a new session reaches the engine.
pub enum Access {
    InProcess(Arc<Engine>),
    Wire(SocketAddr),
}

impl Host {
    pub async fn start(variant: Variant, data_dir: &Path) -> Result<Arc<Host>, String> {
        let host = Host {
            variant,
            data_dir: data_dir.to_path_buf(),
            life: AtomicU64::new(0),
            running: Mutex::new(None),
            rehearsal: variant.rehearsed.map(|seed| RehearsalPlan { seed, ..RehearsalPlan::default() }),
            seen: Mutex::default(),
        };
        *host.running.lock().await = Some(host.open(Work::Run).await?);
        Ok(Arc::new(host))
    }

    async fn open(&self, work: Work) -> Result<Running, String> {
        self.life.fetch_add(1, Ordering::SeqCst);
        let config = EngineConfig {
            data_dir: Some(self.data_dir.clone()),
            parallelism: NonZeroUsize::new(self.variant.parallelism).ok_or("parallelism 0")?,
            cuts: cut_policy(self.variant.cuts),
            backend: match self.variant.backend {
                Backend::Memory => BackendKind::Memory,
                Backend::Evicting => BackendKind::Evicting,
            },
            work,
            rehearsal: self.rehearsal.clone(),
            ..EngineConfig::default()
        };
        let engine = Engine::open(config).await.map_err(|e| format!("the engine does not open: {e:?}"))?;
        engine.settled().await;
        let server = match self.variant.way {
            Way::InProcess => None,
            Way::Wire => Some(Server::start(&engine).await?),
        };
        Ok(Running { engine, server })
    }

    /// Shuts the engine down and opens it again on the same data.
    pub async fn restart(&self, work: Work) -> Result<(), String> {
        let mut running = self.running.lock().await;
        if let Some(old) = running.take() {
            self.close(old).await;
        }
        *running = Some(self.open(work).await?);
        Ok(())
    }

    pub async fn shutdown(&self) -> Seen {
        if let Some(running) = self.running.lock().await.take() {
            self.close(running).await;
        }
        *self.seen.lock().await
    }

    async fn close(&self, running: Running) {
        self.look(&running.engine).await;
        if let Some(server) = running.server {
            server.shutdown.cancel();
            for task in server.tasks {
                let _ = task.await;
            }
        }
        running.engine.shutdown().await;
    }

    /// Which life of the engine this is, and how to reach it.
    pub async fn access(&self) -> Result<(u64, Access), String> {
        let running = self.running.lock().await;
        let running = running.as_ref().ok_or("the engine is shut down")?;
        let access = match &running.server {
            None => Access::InProcess(Arc::clone(&running.engine)),
            Some(server) => Access::Wire(server.address),
        };
        Ok((self.life.load(Ordering::SeqCst), access))
    }

    /// Where `/healthz` and `/metrics` are answered, if there is a server.
    pub async fn http(&self) -> Option<SocketAddr> {
        self.running.lock().await.as_ref()?.server.as_ref().map(|server| server.http)
    }

    pub fn life(&self) -> u64 {
        self.life.load(Ordering::SeqCst)
    }

    /// Runs statements in a session of their own, and waits until what they made has read its input.
    pub async fn run(&self, text: &str) -> Result<(), String> {
        let engine = self.running.lock().await.as_ref().map(|r| Arc::clone(&r.engine));
        let mut session = Session::new(engine.ok_or("the engine is shut down")?);
        for statement in session.parse(text).map_err(|e| format!("{e:?}"))? {
            session.execute(&statement, &[]).await.map_err(|e| format!("{e:?}"))?;
        }
        self.settle().await;
        Ok(())
    }

    /// Waits until all that is at hand was processed.
    pub async fn settle(&self) {
        let engine = self.running.lock().await.as_ref().map(|r| Arc::clone(&r.engine));
        if let Some(engine) = engine {
            engine.settled().await;
            self.look(&engine).await;
        }
    }

    async fn look(&self, engine: &Engine) {
        let counts = engine.views().into_iter().map(|v| v.counts).chain(engine.jobs().into_iter().map(|j| j.counts));
        let mut seen = self.seen.lock().await;
        for counts in counts {
            seen.ticks = seen.ticks.max(counts.ticks);
            seen.shards = seen.shards.max(counts.shards_reached);
        }
        seen.restarts = self.rehearsal.as_ref().map_or(0, |rehearsal| rehearsal.ended.load(Ordering::Relaxed));
    }
}

impl Server {
    async fn start(engine: &Arc<Engine>) -> Result<Server, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(address).await.map_err(|e| e.to_string())?;
        let pages = Http::bind(address).await.map_err(|e| e.to_string())?;
        let (address, http, shutdown) = (listener.address(), pages.address(), CancellationToken::new());
        let metrics = Metrics::new();
        let tasks = [
            tokio::spawn(pages.run(Arc::clone(engine) as _, Arc::clone(&metrics), shutdown.clone())),
            tokio::spawn(listener.run(EngineSession::opener(engine), metrics, shutdown.clone())),
        ];
        Ok(Server { address, http, shutdown, tasks })
    }
}

fn cut_policy(cuts: Cuts) -> CutPolicy {
    match cuts {
        Cuts::Natural => CutPolicy::default(),
        Cuts::Small => CutPolicy { tick_bytes: 1, chunk_bytes: 1, tick_chunks: 1, ..CutPolicy::default() },
        Cuts::Odd(seed) => {
            let mut rng = Rng(seed);
            CutPolicy {
                tick_bytes: 1 << 20,
                chunk_bytes: 40 + rng.below(400),
                tick_chunks: 1 + rng.below(3),
                ..CutPolicy::default()
            }
        }
    }
}
