//! A connection's start: encryption is declined, a cancel request is passed on, a session is opened.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::connection::Connection;
use super::conversation::Conversation;
use super::message::{Opening, opening, violation};
use super::reply::{self, Severity};
use super::socket::Socket;
use super::{Context, Opener};
use crate::error::{Error, Result, SqlState};
use crate::session::Client;

/// A client that says nothing must not hold one of the bounded places for long (PostgreSQL's `authentication_timeout`).
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

/// TLS, then GSS encryption, then the real start: no honest client asks more often.
const MAX_OPENINGS: usize = 3;

/// Settings whose value a client is told, at the start and whenever it changes.
pub const REPORTED: [&str; 12] = [
    "server_version",
    "server_encoding",
    "client_encoding",
    "application_name",
    "default_transaction_read_only",
    "in_hot_standby",
    "is_superuser",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
];

/// Serves one accepted connection to its end.
pub async fn serve<C: Conversation>(stream: TcpStream, context: Arc<Context>, open: Arc<Opener<C>>) {
    let mut socket = Socket::new(stream);
    let started = tokio::select! {
        () = context.shutdown.cancelled() => return,
        started = tokio::time::timeout(STARTUP_TIMEOUT, start(&mut socket, &context)) => started,
    };
    let (major, minor, parameters) = match started {
        Err(_) | Ok(Ok(None)) => return,
        Ok(Err(e)) => return refuse(socket, &e).await,
        Ok(Ok(Some(startup))) => startup,
    };
    let Ok(_place) = Arc::clone(&context.sessions).try_acquire_owned() else {
        let full = Error::new(SqlState::TooManyConnections, "sorry, too many clients already")
            .with_hint(format!("At most {} sessions can be connected at once.", super::MAX_SESSIONS));
        return refuse(socket, &full).await;
    };
    match session(&mut socket, major, minor, parameters, &context, &*open) {
        Err(e) => refuse(socket, &e).await,
        Ok(connection) => {
            let _count = context.metrics.session();
            let (session, key) = connection;
            Connection::new(socket, session, key, context).run().await;
        }
    }
}

type Startup = (u16, u16, Vec<(String, String)>);

/// The start-up packet; `None` if the connection was for something else or ended.
async fn start(socket: &mut Socket, context: &Context) -> Result<Option<Startup>> {
    for _ in 0..MAX_OPENINGS {
        match socket.next(opening).await? {
            None => return Ok(None),
            Some(Opening::Encryption) => {
                reply::refuse_encryption(&mut socket.output);
                if socket.flush().await.is_err() {
                    return Ok(None);
                }
            }
            Some(Opening::Cancel { pid, secret }) => {
                context.cancellations.cancel(pid, &secret);
                return Ok(None);
            }
            Some(Opening::Startup { major, minor, parameters }) => return Ok(Some((major, minor, parameters))),
        }
    }
    Err(violation("too many requests for encryption"))
}

fn session<C: Conversation>(
    socket: &mut Socket,
    major: u16,
    minor: u16,
    parameters: Vec<(String, String)>,
    context: &Context,
    open: &Opener<C>,
) -> Result<(C, super::cancel::Key)> {
    if major != 3 {
        let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0");
        return Err(Error::new(SqlState::FeatureNotSupported, message));
    }
    let value = |name: &str| parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let Some(user) = value("user").filter(|u| !u.is_empty()) else {
        let message = "no PostgreSQL user name specified in startup packet";
        return Err(Error::new(SqlState::InvalidAuthorizationSpecification, message));
    };
    if value("replication").is_some_and(|r| !matches!(r.as_str(), "false" | "off" | "no" | "0")) {
        let hint = "Connect without the parameter \"replication\" and use SELECT.";
        return Err(Error::unsupported("replication connections are not supported", hint));
    }
    let refused: Vec<String> = parameters.iter().map(|(n, _)| n).filter(|n| n.starts_with("_pq_.")).cloned().collect();
    if minor > 0 || !refused.is_empty() {
        reply::negotiate_protocol(refused, &mut socket.output)?;
    }
    let key = context.cancellations.register();
    let database = value("database").unwrap_or_else(|| user.clone());
    let mut session = open(Client { user, database, pid: key.pid })?;
    for (name, value) in &parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => {
                for (name, value) in options(value)? {
                    session.set(&name, &value)?;
                }
            }
            name if name.starts_with("_pq_.") => {}
            name => session.set(name, value)?,
        }
    }
    Ok((session, key))
}

/// `-c name=value` and `--name=value`, apart by white space that a backslash does not protect.
fn options(text: &str) -> Result<Vec<(String, String)>> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, words.last_mut()) {
            (c, _) if c.is_whitespace() => words.push(String::new()),
            ('\\', Some(word)) => word.extend(chars.next()),
            (c, Some(word)) => word.push(c),
            (_, None) => {}
        }
    }
    let mut words = words.into_iter().filter(|w| !w.is_empty());
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("-c"), word.strip_prefix("--")) {
            (Some(""), _) => words.next().unwrap_or_default(),
            (Some(attached), _) => attached.to_string(),
            (_, Some(long)) => long.replacen('-', "_", long.split('=').next().unwrap_or_default().matches('-').count()),
            _ => return Err(invalid_option(&word)),
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| invalid_option(&word))?;
        settings.push((name.to_string(), value.to_string()));
    }
    Ok(settings)
}

fn invalid_option(word: &str) -> Error {
    let message = format!("invalid command-line argument for server process: {word}");
    Error::new(SqlState::SyntaxError, message).with_hint("Write the options as \"-c name=value\".")
}

async fn refuse(mut socket: Socket, error: &Error) {
    reply::error(error, Severity::Fatal, &mut socket.output);
    let _ = tokio::time::timeout(STARTUP_TIMEOUT, socket.close()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_settings() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let got = options(text).unwrap();
            let got: Vec<_> = got.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!(got, expected, "{text}");
        };
        check("", &[]);
        check("-c a=1", &[("a", "1")]);
        check("  -ca=1 --statement-timeout=5-6 ", &[("a", "1"), ("statement_timeout", "5-6")]);
        check("-c search_path=a\\ b", &[("search_path", "a b")]);
        assert!(options("-x").is_err());
        assert!(options("-c").is_err());
    }
}
