//! A schema registry of Confluent's kind, over HTTP: numbers to schemas, schemas to numbers.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::options::{Choice, OptionReader};
use crate::error::{Error, Result, SqlState};
use crate::format::avro::{Asker, Registry};
use crate::format::json::base64;

/// How long an answer is waited for, from looking up the registry's name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer's bytes, at most: far beyond any schema.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// Confluent's error codes for what is not there: a subject, a version, a schema.
const NOT_FOUND: std::ops::RangeInclusive<u64> = 40401..=40403;

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

#[derive(Clone)]
pub struct SchemaRegistry {
    /// As given, without a slash at its end and without credentials.
    url: String,
    /// The header that says who asks.
    authorization: Option<String>,
    agent: Agent,
}

/// Where the name and the password of basic authentication stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Credentials {
    Url,
    UserInfo,
}

impl Choice for Credentials {
    const CHOICES: &'static [(&'static str, Self)] = &[("USER_INFO", Credentials::UserInfo), ("URL", Credentials::Url)];
}

/// Where the token of bearer authentication stands.
#[derive(Clone, Copy)]
struct StaticToken;

impl Choice for StaticToken {
    const CHOICES: &'static [(&'static str, Self)] = &[("STATIC_TOKEN", StaticToken)];
}

/// Without what is secret.
impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaRegistry").field("url", &self.url).finish_non_exhaustive()
    }
}

impl SchemaRegistry {
    /// The registry that the options with `prefix` name, as Flink's do.
    ///
    /// # Errors
    /// 22023 for what is no address, 0A000 for one that needs TLS.
    pub fn read(options: &mut OptionReader, prefix: &str) -> Result<SchemaRegistry> {
        let option = format!("{prefix}url");
        let given: String = options.required(&option)?;
        let (url, in_url) = without_credentials(given.trim_end_matches('/'));
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        if !rest.is_some_and(|rest| !rest.is_empty() && !rest.contains([',', '?', '#', ' ', '@'])) {
            return Err(options
                .error(&option, format!("\"{url}\" is not the address of a schema registry"))
                .with_hint("Write it as 'http://host:8081'."));
        }
        if url.starts_with("https://") {
            return Err(Error::unsupported(
                "TLS to schema registries is not supported",
                "Use an http:// address of the registry, or a TLS proxy beside Tidemill.",
            )
            .at(options.position(&option).unwrap_or(1)));
        }
        let authorization = authorization(options, prefix, in_url)?;
        let config = Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).proxy(None);
        Ok(SchemaRegistry { url, authorization, agent: config.build().into() })
    }

    /// The answer's JSON; an error unless it went well, or nothing is there (`None`). `body`: what is posted; without one it is
    /// asked for.
    fn request(&self, what: &str, path: &str, body: Option<&str>) -> Result<Option<Value>> {
        let url = format!("{}{path}", self.url);
        let answer = match body {
            None => self.signed(self.agent.get(&url)).call(),
            Some(body) => self.signed(self.agent.post(&url)).header("Content-Type", MEDIA_TYPE).send(body),
        };
        let read = answer.and_then(|mut answer| Ok((answer.status(), text(&mut answer)?)));
        let (status, text) = read.map_err(|e| self.failed(what, SqlState::ConnectionFailure, e))?;
        let answer: Option<Value> = serde_json::from_str(&text).ok();
        let part = |name: &str| answer.as_ref().and_then(|answer| answer.get(name));
        if status.is_success() {
            let no_json = || self.failed(what, SqlState::ConnectionFailure, "its answer is not JSON");
            return answer.map(Some).ok_or_else(no_json);
        }
        let code = part("error_code").and_then(Value::as_u64);
        if status == StatusCode::NOT_FOUND && code.is_some_and(|code| NOT_FOUND.contains(&code)) {
            return Ok(None);
        }
        let why = part("message").and_then(Value::as_str).unwrap_or("it does not say why");
        let state = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => SqlState::InvalidAuthorizationSpecification,
            // Only a registry that is out of order, or has too much to do, may be well again by itself.
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                SqlState::ConnectionFailure
            }
            _ => SqlState::InvalidParameterValue,
        };
        Err(self.failed(what, state, format!("{}, {why}", status.as_u16())))
    }

    fn signed<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        let request = request.header("Accept", format!("{MEDIA_TYPE}, application/json"));
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    fn failed(&self, what: &str, state: SqlState, why: impl fmt::Display) -> Error {
        Error::new(state, format!("could not {what} schema registry {}: {why}", self.url))
    }
}

fn text(answer: &mut Response<Body>) -> Result<String, ureq::Error> {
    answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string()
}

/// An address without the `name:password@` in it, and that.
fn without_credentials(url: &str) -> (String, Option<String>) {
    let parts = url.split_once("://").and_then(|(scheme, rest)| {
        let host = rest.find('/').unwrap_or(rest.len());
        let at = rest.get(..host)?.rfind('@')?;
        Some((scheme, rest.get(..at)?, rest.get(at + 1..)?))
    });
    match parts {
        Some((scheme, credentials, rest)) => (format!("{scheme}://{rest}"), Some(credentials.to_string())),
        None => (url.to_string(), None),
    }
}

/// What options and address say of who asks.
fn authorization(options: &mut OptionReader, prefix: &str, in_url: Option<String>) -> Result<Option<String>> {
    let (source, user) = (format!("{prefix}basic-auth.credentials-source"), format!("{prefix}basic-auth.user-info"));
    let token = format!("{prefix}bearer-auth.token");
    let credentials = options.choice(&source)?;
    let user_info: Option<String> = options.optional(&user)?;
    let bearer: Option<String> = options.optional(&token)?;
    options.choice::<StaticToken>(&format!("{prefix}bearer-auth.credentials-source"))?;
    let basic = match (credentials, user_info, in_url) {
        (Some(Credentials::UserInfo), None, _) => return Err(options.missing(&user)),
        (Some(Credentials::Url), _, None) => {
            return Err(options
                .error(&source, format!("option \"{prefix}url\" has no name and password"))
                .with_hint("Write it as 'http://name:password@host:8081'."));
        }
        (Some(Credentials::UserInfo) | None, Some(user_info), _) => Some(user_info),
        (_, _, in_url) => in_url,
    };
    if basic.as_ref().is_some_and(|basic| !basic.contains(':')) {
        return Err(options
            .error(&user, "a name and a password are wanted")
            .with_hint("Write them as 'name:password'."));
    }
    match (basic, bearer) {
        (Some(_), Some(_)) => Err(options
            .error(&token, "basic and bearer authentication are both given")
            .with_hint("Remove the options of one of the two.")),
        (Some(basic), None) => {
            let mut encoded = b"Basic ".to_vec();
            base64::encode(basic.as_bytes(), &mut encoded);
            Ok(String::from_utf8(encoded).ok())
        }
        (None, Some(token)) => Ok(Some(format!("Bearer {token}"))),
        (None, None) => Ok(None),
    }
}

impl Registry for SchemaRegistry {
    fn schema(&self, id: u32) -> Result<Option<String>> {
        let what = format!("read schema {id} from");
        let Some(answer) = self.request(&what, &format!("/schemas/ids/{id}"), None)? else { return Ok(None) };
        let schema = answer.get("schema").and_then(Value::as_str);
        let schema = schema.ok_or_else(|| self.failed(&what, SqlState::ConnectionFailure, "no schema came"))?;
        Ok(Some(schema.to_string()))
    }

    /// On a thread of its own, for as long as an answer takes: schemas are asked for rarely.
    fn ask(&self, asker: Asker) {
        let registry = self.clone();
        let thread = std::thread::Builder::new().name("schema-registry".into());
        let asking = thread.spawn(move || {
            let answer = registry.schema(asker.id());
            asker.tell(answer);
        });
        if let Err(error) = asking {
            // Whoever asks has been told by now, and asks again.
            tracing::warn!(%error, "the schema registry cannot be asked");
        }
    }

    fn register(&self, subject: &str, schema: &str) -> Result<u32> {
        let what = format!("register the schema of \"{subject}\" at");
        let body = json!({ "schema": schema }).to_string();
        let answer = self.request(&what, &format!("/subjects/{}/versions", escaped(subject)), Some(&body))?;
        let id = answer.as_ref().and_then(|answer| answer.get("id")).and_then(Value::as_u64);
        let id = id.and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| self.failed(&what, SqlState::ConnectionFailure, "no number came"))
    }
}

/// A subject as a part of a path.
fn escaped(subject: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    subject
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
