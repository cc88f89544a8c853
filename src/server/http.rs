//! HTTP for machines that watch: `/healthz` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::metrics::Metrics;

/// What the pages ask of the engine.
pub trait Observed: Send + Sync + 'static {
    /// How many jobs are in which state ("running", "failed", ...).
    fn jobs_by_state(&self) -> std::collections::BTreeMap<String, usize>;

    /// Bytes taken from the memory budget.
    fn memory_used_bytes(&self) -> usize;
}

struct Pages {
    metrics: Arc<Metrics>,
    engine: Arc<dyn Observed>,
}

/// A bound address; requests wait until [`Http::run`].
pub struct Http {
    listener: TcpListener,
    address: SocketAddr,
}

impl Http {
    pub async fn bind(address: SocketAddr) -> Result<Self> {
        let listener = super::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Http { listener, address })
    }

    /// The real address, where port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`.
    pub async fn run(self, engine: Arc<dyn Observed>, metrics: Arc<Metrics>, shutdown: CancellationToken) {
        let pages = Arc::new(Pages { metrics, engine });
        let router =
            Router::new().route("/healthz", get(health)).route("/metrics", get(metrics_text)).with_state(pages);
        let serving = axum::serve(self.listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
        if let Err(e) = serving.await {
            tracing::error!("the HTTP server has ended: {e}");
        }
    }
}

/// 200 as soon as statements are taken; a failed job does not make the server unhealthy, but is counted.
async fn health(State(pages): State<Arc<Pages>>) -> Response {
    let body = serde_json::json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "jobs": pages.engine.jobs_by_state(),
    });
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn metrics_text(State(pages): State<Arc<Pages>>) -> Response {
    pages.metrics.set_memory_used(pages.engine.memory_used_bytes());
    match pages.metrics.encode() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics could not be written: {e}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Engine;

    impl Observed for Engine {
        fn jobs_by_state(&self) -> std::collections::BTreeMap<String, usize> {
            [("failed".to_string(), 1), ("running".to_string(), 2)].into()
        }
        fn memory_used_bytes(&self) -> usize {
            4096
        }
    }

    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn pages() {
        let http = Http::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, shutdown) = (http.address(), CancellationToken::new());
        let done = tokio::spawn(http.run(Arc::new(Engine), Metrics::new(), shutdown.clone()));
        let health = fetch(address, "/healthz").await;
        assert!(health.starts_with("HTTP/1.1 200 OK\r\n"), "{health}");
        assert!(health.ends_with(r#"{"jobs":{"failed":1,"running":2},"status":"ok","version":"0.1.0"}"#), "{health}");
        let metrics = fetch(address, "/metrics").await;
        assert!(metrics.contains("\ntidemill_memory_used_bytes 4096\n"), "{metrics}");
        assert!(metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(fetch(address, "/nothing").await.starts_with("HTTP/1.1 404"));
        shutdown.cancel();
        done.await.unwrap();
    }
}
