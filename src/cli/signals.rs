//! Being asked to stop.

use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Error, Result};

/// What a shell reports of a program that Ctrl-C has ended: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// Ctrl-C or SIGTERM, listened for from now on.
pub struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    pub fn listen() -> Result<Stop> {
        let listen = |kind| signal(kind).map_err(|e| Error::from(e).context("signals cannot be received"));
        Ok(Stop { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits until somebody asks.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Whoever asks again, while the process stops in good order, means now.
    pub fn then_at_once(mut self) {
        tokio::spawn(async move {
            self.asked().await;
            leave();
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "good order was given up by the second signal")]
fn leave() {
    std::process::exit(INTERRUPTED);
}
