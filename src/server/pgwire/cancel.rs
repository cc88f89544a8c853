//! Ctrl-C: a client opens a second connection and names, by process id and secret, the session whose running statement
//! must end.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The sessions that can be asked to stop their statement.
#[derive(Default)]
pub struct Cancellations {
    next_pid: AtomicI32,
    sessions: Mutex<HashMap<i32, Session>>,
}

struct Session {
    secret: [u8; 4],
    running: Arc<Running>,
}

/// The token of the statement that a session runs now, if any.
#[derive(Default)]
struct Running(Mutex<Option<CancellationToken>>);

impl Cancellations {
    /// Gives a new session its key; it is forgotten when the answer is dropped.
    pub fn register(self: &Arc<Self>) -> Key {
        let pid = self.next_pid.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
        // A fresh RandomState is keyed by the operating system's random numbers.
        let [a, b, c, d, ..] = RandomState::new().hash_one(pid).to_be_bytes();
        let running = Arc::new(Running::default());
        let session = Session { secret: [a, b, c, d], running: Arc::clone(&running) };
        self.sessions.lock().insert(pid, session);
        Key { pid, secret: [a, b, c, d], running, all: Arc::clone(self) }
    }

    /// Ends what the session runs. A wrong secret, an unknown session and an idle one are all answered by nothing, so that
    /// nobody learns which it was.
    pub fn cancel(&self, pid: i32, secret: &[u8]) {
        let running = {
            let sessions = self.sessions.lock();
            let Some(session) = sessions.get(&pid).filter(|s| s.secret == secret) else {
                return;
            };
            Arc::clone(&session.running)
        };
        if let Some(token) = running.0.lock().as_ref() {
            token.cancel();
        }
    }
}

/// A session's place in [`Cancellations`].
pub struct Key {
    pub pid: i32,
    pub secret: [u8; 4],
    running: Arc<Running>,
    all: Arc<Cancellations>,
}

impl Key {
    /// From now until the answer is dropped, a cancel request is meant for this statement.
    pub fn statement(&self) -> StatementGuard {
        let token = CancellationToken::new();
        *self.running.0.lock() = Some(token.clone());
        StatementGuard { token, running: Arc::clone(&self.running) }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.all.sessions.lock().remove(&self.pid);
    }
}

/// The time in which one statement can be cancelled.
pub struct StatementGuard {
    pub token: CancellationToken,
    running: Arc<Running>,
}

impl Drop for StatementGuard {
    fn drop(&mut self) {
        *self.running.0.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_running_statement_of_who_knows_the_secret() {
        let all = Arc::new(Cancellations::default());
        let (one, two) = (all.register(), all.register());
        assert_ne!(one.pid, two.pid);
        all.cancel(one.pid, &one.secret);
        let first = one.statement();
        assert!(!first.token.is_cancelled(), "a request for an idle session must not hit its next statement");
        let wrong = one.secret.map(|b| b.wrapping_add(1));
        all.cancel(one.pid, &wrong);
        all.cancel(two.pid, &two.secret);
        assert!(!first.token.is_cancelled());
        all.cancel(one.pid, &one.secret);
        assert!(first.token.is_cancelled());
        drop(first);
        drop(one);
        assert_eq!(all.sessions.lock().len(), 1);
    }
}
