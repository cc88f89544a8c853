//! SET, RESET, SHOW, and transaction blocks.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::ast::{ObjectClass, SetStatement, Show, StatementKind, TransactionStatement};
use super::cursor::Cursor;
use super::names;
use crate::error::{Error, Result};

impl Cursor<'_> {
    /// Behind SET.
    pub fn set(&mut self) -> Result<StatementKind> {
        if self.take(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) || self.take(&["TRANSACTION"]) {
            self.transaction_modes()?;
            return Ok(StatementKind::Transaction(TransactionStatement::Modes));
        }
        let local = self.take(&["LOCAL"]);
        let _ = !local && self.take(&["SESSION"]);
        let name_position = self.position();
        let set = |name: &str, value| {
            StatementKind::Set(SetStatement { name: name.to_string(), name_position, value, local })
        };
        if self.take(&["TIME", "ZONE"]) {
            let value = if self.take(&["LOCAL"]) { None } else { self.setting_value()? };
            return Ok(set("timezone", value));
        }
        if self.take(&["NAMES"]) {
            let value = if self.at_end() { None } else { self.setting_value()? };
            return Ok(set("client_encoding", value));
        }
        let name = self.setting_name()?;
        if !self.take_token(&Token::Eq) {
            self.expect(&["TO"])?;
        }
        let value = self.setting_value()?;
        Ok(set(&name, value))
    }

    /// Behind RESET.
    pub fn reset(&mut self) -> Result<StatementKind> {
        Ok(StatementKind::Reset(match () {
            () if self.take(&["ALL"]) => None,
            () if self.take(&["TIME", "ZONE"]) => Some("timezone".into()),
            () if self.take(&["TRANSACTION", "ISOLATION", "LEVEL"]) => Some("transaction_isolation".into()),
            () => Some(self.setting_name()?),
        }))
    }

    /// Behind SHOW.
    pub fn show(&mut self) -> Result<StatementKind> {
        let objects: [(&[&str], ObjectClass); 5] = [
            (&["JOBS"], ObjectClass::Job),
            (&["STREAMING", "JOBS"], ObjectClass::Job),
            (&["SOURCES"], ObjectClass::Source),
            (&["SINKS"], ObjectClass::Sink),
            (&["MATERIALIZED", "VIEWS"], ObjectClass::View),
        ];
        for (words, class) in objects {
            if self.take(words) {
                return Ok(StatementKind::Show(Show::Objects(class)));
            }
        }
        if self.take(&["EPOCHS"]) {
            self.expect(&["FOR"])?;
            let Some(class) = self.class_that_runs() else {
                let hint = "Write SHOW EPOCHS FOR JOB name, or SHOW EPOCHS FOR MATERIALIZED VIEW name.";
                return Err(self.unexpected().with_hint(hint));
            };
            return Ok(StatementKind::Show(Show::Epochs(class, self.object_name()?)));
        }
        let position = self.position();
        for what in ["TABLES", "VIEWS", "DATABASES", "CATALOGS", "FUNCTIONS", "CREATE", "COLUMNS"] {
            if self.at(&[what]) {
                return Err(Error::unsupported(
                    format!("SHOW {what} is not supported"),
                    "Use SHOW SOURCES, SHOW SINKS, SHOW MATERIALIZED VIEWS or SHOW JOBS; or \\d and \\d NAME in psql.",
                )
                .at(position));
            }
        }
        Ok(StatementKind::Show(match () {
            () if self.take(&["ALL"]) => Show::All,
            () if self.take(&["TIME", "ZONE"]) => Show::Setting("timezone".into()),
            () if self.take(&["TRANSACTION", "ISOLATION", "LEVEL"]) => Show::Setting("transaction_isolation".into()),
            () => Show::Setting(self.setting_name()?),
        }))
    }

    /// BEGIN and its like, with the word itself still to read.
    pub fn transaction(&mut self) -> Result<StatementKind> {
        let kind = if self.take(&["START", "TRANSACTION"]) {
            self.transaction_modes()?;
            TransactionStatement::Begin
        } else if self.take(&["BEGIN"]) {
            let _ = self.take(&["WORK"]) || self.take(&["TRANSACTION"]);
            self.transaction_modes()?;
            TransactionStatement::Begin
        } else if self.take(&["COMMIT"]) || self.take(&["END"]) {
            self.end_of_transaction("COMMIT")?;
            TransactionStatement::Commit
        } else {
            let _ = self.take(&["ROLLBACK"]) || self.take(&["ABORT"]);
            self.end_of_transaction("ROLLBACK")?;
            TransactionStatement::Rollback
        };
        Ok(StatementKind::Transaction(kind))
    }

    fn end_of_transaction(&mut self, command: &str) -> Result<()> {
        let _ = self.take(&["WORK"]) || self.take(&["TRANSACTION"]);
        let position = self.position();
        let (what, hint) = if self.take(&["AND", "CHAIN"]) {
            ("AND CHAIN", "Send BEGIN as a statement of its own.")
        } else if self.take(&["PREPARED"]) {
            ("PREPARED", "Two-phase commit is not needed: a transaction block only reads.")
        } else if self.take(&["TO"]) {
            ("TO SAVEPOINT", "There are no savepoints; use ROLLBACK.")
        } else {
            let _ = self.take(&["AND", "NO", "CHAIN"]);
            return Ok(());
        };
        Err(Error::unsupported(format!("{command} {what} is not supported"), hint).at(position))
    }

    /// Every isolation level is served: a block reads one snapshot.
    fn transaction_modes(&mut self) -> Result<()> {
        const MODES: &[&[&str]] = &[
            &["ISOLATION", "LEVEL", "SERIALIZABLE"],
            &["ISOLATION", "LEVEL", "REPEATABLE", "READ"],
            &["ISOLATION", "LEVEL", "READ", "COMMITTED"],
            &["ISOLATION", "LEVEL", "READ", "UNCOMMITTED"],
            &["READ", "ONLY"],
            &["READ", "WRITE"],
            &["DEFERRABLE"],
            &["NOT", "DEFERRABLE"],
        ];
        while !self.at_end() {
            if !MODES.iter().any(|mode| self.take(mode)) {
                return Err(self.unexpected());
            }
            let _ = self.take_token(&Token::Comma);
        }
        Ok(())
    }

    /// name, prefix.name, or Flink's 'quoted.name'.
    fn setting_name(&mut self) -> Result<String> {
        if let Some(name) = self.take_string() {
            return Ok(names::fold(&name));
        }
        let mut name = names::fold(&self.name()?.value);
        while self.take_token(&Token::Period) {
            name = format!("{name}.{}", names::fold(&self.name()?.value));
        }
        Ok(name)
    }

    /// One value or a list; `None` is DEFAULT.
    fn setting_value(&mut self) -> Result<Option<String>> {
        if self.take(&["DEFAULT"]) {
            return Ok(None);
        }
        let values = self.list(|cursor| {
            if let Some(text) = cursor.take_string() {
                return Ok(text);
            }
            let sign = if cursor.take_token(&Token::Minus) { "-" } else { "" };
            let value = match &cursor.peek().token {
                Token::Number(digits, _) => format!("{sign}{digits}"),
                Token::Word(w) if sign.is_empty() && w.quote_style.is_some() => w.value.clone(),
                // true, false and on are values too, though reserved.
                Token::Word(w) if sign.is_empty() => names::fold(&w.value),
                _ => return Err(cursor.unexpected()),
            };
            cursor.next();
            Ok(value)
        })?;
        Ok(Some(values.join(", ")))
    }
}
