//! Settings of a session: those of PostgreSQL that psql, drivers and pools read or set.
//!
//! A setting either does something, or has one value that is true of Tidemill and takes no other: whoever sets what is
//! not so learns it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Result, SqlState};
use crate::sql::names;

/// The PostgreSQL release whose habits the server has.
pub const SERVER_VERSION: &str = "17.0";

/// What a setting takes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// It tells; it cannot be set.
    ReadOnly,
    Text,
    Bool,
    /// Whole numbers between the two.
    Integer(i64, i64),
    /// Milliseconds, or with a unit; 0 is never.
    Duration,
    /// One of these, the first of them in its own spelling.
    OneOf(&'static [&'static str]),
    /// The first is shown, the others mean the same.
    Only(&'static [&'static str]),
    TimeZone,
}

struct Setting {
    /// As SHOW ALL spells it; looked up without regard to case.
    name: &'static str,
    default: &'static str,
    kind: Kind,
    description: &'static str,
}

const fn setting(name: &'static str, default: &'static str, kind: Kind, description: &'static str) -> Setting {
    Setting { name, default, kind, description }
}

const ISOLATION: Kind = Kind::OneOf(&["repeatable read", "serializable", "read committed", "read uncommitted"]);
const LEVELS: Kind =
    Kind::OneOf(&["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"]);

const SETTINGS: &[Setting] = &[
    setting("application_name", "", Kind::Text, "Name of the application, as the client gives it."),
    setting("bytea_output", "hex", Kind::Only(&["hex"]), "Output format for bytea."),
    setting("client_encoding", "UTF8", Kind::Only(&["UTF8", "UTF-8", "unicode"]), "Encoding of the client."),
    setting("client_min_messages", "notice", LEVELS, "Message levels that are sent to the client."),
    setting("DateStyle", "ISO, MDY", Kind::Only(&["ISO, MDY", "ISO", "ISO, YMD", "ISO, DMY"]), "Format of dates."),
    setting("default_transaction_isolation", "repeatable read", ISOLATION, "Isolation of new transactions."),
    setting("default_transaction_read_only", "off", Kind::Bool, "Whether new transactions are read-only."),
    setting("extra_float_digits", "1", Kind::Integer(-15, 3), "Digits of floating-point values; all are always shown."),
    setting("idle_in_transaction_session_timeout", "0", Kind::Duration, "Accepted and not used."),
    setting("idle_session_timeout", "0", Kind::Duration, "Accepted and not used."),
    setting("in_hot_standby", "off", Kind::ReadOnly, "Whether the server is a replica."),
    setting("integer_datetimes", "on", Kind::ReadOnly, "Datetimes are integers."),
    setting("IntervalStyle", "postgres", Kind::Only(&["postgres"]), "Format of intervals."),
    setting("is_superuser", "on", Kind::ReadOnly, "Whether the user may do everything."),
    setting("jit", "off", Kind::Bool, "Accepted and not used."),
    setting("lock_timeout", "0", Kind::Duration, "Accepted and not used: nothing waits for locks."),
    setting("max_identifier_length", "63", Kind::ReadOnly, "Bytes of a name."),
    setting("max_index_keys", "32", Kind::ReadOnly, "Columns of an index."),
    setting("row_security", "on", Kind::Bool, "Accepted and not used."),
    setting("search_path", "\"$user\", public", Kind::Text, "Schemas that are searched; there is one, public."),
    setting("server_encoding", "UTF8", Kind::ReadOnly, "Encoding of the server."),
    setting("server_version", SERVER_VERSION, Kind::ReadOnly, "PostgreSQL release whose habits the server has."),
    setting("server_version_num", "170000", Kind::ReadOnly, "The same as a number."),
    setting("sql_dialect", "postgres", Kind::OneOf(&["postgres", "flink"]), "Whose SQL statements are read as."),
    setting("standard_conforming_strings", "on", Kind::Only(&["on", "true", "1", "yes"]), "Backslashes are literal."),
    setting("statement_timeout", "0", Kind::Duration, "Longest time that a statement may take."),
    setting("synchronous_commit", "on", Kind::Text, "Accepted and not used."),
    setting("TimeZone", "UTC", Kind::TimeZone, "Zone in which timestamps with time zone are shown and read."),
    setting("transaction_isolation", "repeatable read", ISOLATION, "Isolation of the current transaction."),
    setting("transaction_read_only", "off", Kind::Bool, "Whether the current transaction is read-only."),
    setting("work_mem", "4MB", Kind::Text, "Accepted and not used."),
];

/// One of SHOW ALL's rows.
#[derive(Debug, Clone)]
pub struct Shown {
    pub name: String,
    pub value: String,
    pub default: String,
    pub description: &'static str,
}

/// What a session has set; whatever it has not is at its default.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    /// # Errors
    /// 42704 for an unknown name, with the nearest.
    pub fn show(&self, name: &str) -> Result<String> {
        let key = names::fold(name);
        if let Some(value) = self.values.get(&key) {
            return Ok(value.clone());
        }
        known(name).map(|setting| setting.default.to_string())
    }

    pub fn show_all(&self) -> Vec<Shown> {
        let shown = |s: &Setting| Shown {
            name: s.name.into(),
            value: self.show(s.name).unwrap_or_default(),
            default: s.default.into(),
            description: s.description,
        };
        SETTINGS.iter().map(shown).collect()
    }

    /// `None` sets it back to its default.
    ///
    /// # Errors
    /// 42704 for an unknown name; 55P02 if it cannot be set; 22023 for a value that it does not take.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let key = names::fold(name);
        // As in PostgreSQL, prefix.name is whatever an application makes of it.
        if key.contains('.') {
            self.values.insert(key, value.unwrap_or_default().to_string());
            return Ok(());
        }
        let setting = known(name)?;
        if matches!(setting.kind, Kind::ReadOnly) {
            let message = format!("parameter \"{}\" cannot be changed", setting.name);
            return Err(Error::new(SqlState::CantChangeRuntimeParam, message));
        }
        match value {
            Some(value) => self.values.insert(key, setting.checked(value)?),
            None => self.values.remove(&key),
        };
        Ok(())
    }

    pub fn reset_all(&mut self) {
        self.values.clear();
    }

    /// Gives one setting the value that it has in `other`.
    pub fn restore(&mut self, name: &str, other: &Settings) {
        let key = names::fold(name);
        match other.values.get(&key) {
            Some(value) => self.values.insert(key, value.clone()),
            None => self.values.remove(&key),
        };
    }

    pub fn statement_timeout(&self) -> Option<Duration> {
        let shown = self.show("statement_timeout").ok()?;
        milliseconds(&shown).filter(|ms| *ms > 0).map(Duration::from_millis)
    }
}

fn known(name: &str) -> Result<&'static Setting> {
    SETTINGS.iter().find(|s| s.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        let error = Error::new(SqlState::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""));
        match names::nearest(name, SETTINGS.iter().map(|s| s.name)) {
            Some(near) => error.with_hint(format!("Perhaps you meant \"{near}\".")),
            None => error,
        }
    })
}

impl Setting {
    /// The value as it is kept and shown.
    fn checked(&self, value: &str) -> Result<String> {
        let value = value.trim();
        let refused = || {
            let message = format!("invalid value for parameter \"{}\": \"{value}\"", self.name);
            Error::new(SqlState::InvalidParameterValue, message)
        };
        let spelled = |list: &'static [&'static str]| list.iter().find(|known| known.eq_ignore_ascii_case(value));
        match self.kind {
            Kind::ReadOnly | Kind::Text => Ok(value.to_string()),
            Kind::Bool => match names::fold(value).as_str() {
                "on" | "true" | "yes" | "1" | "t" => Ok("on".into()),
                "off" | "false" | "no" | "0" | "f" => Ok("off".into()),
                _ => Err(refused().with_hint("Possible values are on, off.")),
            },
            Kind::Integer(least, most) => match value.parse::<i64>() {
                Ok(n) if (least..=most).contains(&n) => Ok(n.to_string()),
                Ok(n) => {
                    let message = format!("{n} is outside the valid range for parameter \"{}\"", self.name);
                    Err(Error::new(SqlState::InvalidParameterValue, message)
                        .with_hint(format!("It is between {least} and {most}.")))
                }
                Err(_) => Err(refused()),
            },
            Kind::Duration => {
                match milliseconds(value) {
                    Some(ms) => Ok(shown_duration(ms)),
                    None => Err(refused()
                        .with_hint("Valid units for this parameter are \"ms\", \"s\", \"min\", \"h\", and \"d\".")),
                }
            }
            Kind::OneOf(list) => match spelled(list) {
                Some(known) => Ok(known.to_string()),
                None => Err(refused().with_hint(format!("Available values: {}.", list.join(", ")))),
            },
            Kind::Only(list) => match (spelled(list), list.first()) {
                (Some(_), Some(shown)) => Ok(shown.to_string()),
                _ => Err(refused().with_hint(format!("It is always {}.", list.first().unwrap_or(&self.default)))),
            },
            Kind::TimeZone => match time_zone(value) {
                Some(zone) => Ok(zone),
                None => Err(refused().with_hint("Give a name of the IANA database, such as UTC or Europe/Berlin.")),
            },
        }
    }
}

/// The zone's name in its own spelling.
fn time_zone(name: &str) -> Option<String> {
    let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    known.filter(|known| known.eq_ignore_ascii_case(name)).map(str::to_string).next()
}

/// Milliseconds of `500`, `500ms`, `5s`, `1min`.
fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    // PostgreSQL's integers of settings are 32 bits wide.
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|ms| i32::try_from(*ms).is_ok())
}

/// In the largest unit that leaves a whole number, as PostgreSQL shows it.
fn shown_duration(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    match units.into_iter().find(|(size, _)| ms > 0 && ms.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", ms / size),
        None => "0".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_shown_as_postgres_does() {
        let mut settings = Settings::default();
        let mut check = |name: &str, value: &str, expected: Result<&str, &str>| {
            let shown = settings.set(name, Some(value)).and_then(|()| settings.show(name));
            match (shown, expected) {
                (Ok(shown), Ok(expected)) => assert_eq!(shown, expected, "{name}"),
                (Err(error), Err(expected)) => assert_eq!(error.message(), expected),
                (shown, _) => panic!("{name} = {value}: {shown:?}"),
            }
        };
        check("Statement_Timeout", "5000", Ok("5s"));
        check("statement_timeout", "90s", Ok("90s"));
        check("statement_timeout", "soon", Err("invalid value for parameter \"statement_timeout\": \"soon\""));
        check("timezone", "europe/berlin", Ok("Europe/Berlin"));
        check("client_encoding", "utf-8", Ok("UTF8"));
        check("client_encoding", "LATIN1", Err("invalid value for parameter \"client_encoding\": \"LATIN1\""));
        check("extra_float_digits", "9", Err("9 is outside the valid range for parameter \"extra_float_digits\""));
        check("server_version", "1", Err("parameter \"server_version\" cannot be changed"));
        check("no_such", "1", Err("unrecognized configuration parameter \"no_such\""));
        check("my.own", "x", Ok("x"));
        check("jit", "FALSE", Ok("off"));
        settings.reset_all();
        assert_eq!(settings.show("TimeZone").unwrap(), "UTC");
        assert_eq!(settings.statement_timeout(), None);
    }
}
