//! Messages that could not be decoded, as rows of a sink of their own: 'on_error' = 'dead_letter'.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryViewArray, Int64Array, RecordBatch, StringViewArray};
use bytes::Bytes;

use super::declared::Declared;
use super::options::{OptionReader, WithOption};
use super::{OnError, Sink, file, kafka};
use crate::error::{Error, Result};
use crate::types::{Column, SqlType, schema_of};

const PATH: &str = "dead_letter.path";
const TOPIC: &str = "dead_letter.topic";

/// A message that could not be decoded, as it came; of a source that hands in rows, a row as JSON.
#[derive(Debug)]
pub struct DeadLetter {
    /// Where it stands: Kafka offset, or byte of the file. `None`: it came as a row.
    pub offset: Option<u64>,
    pub file: Option<Arc<str>>,
    pub error: Error,
    pub message: Bytes,
}

impl DeadLetter {
    /// Without the line end, which is the file's.
    fn text(&self) -> &[u8] {
        match &*self.message {
            [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] if self.file.is_some() => line,
            whole => whole,
        }
    }
}

/// What is written of each: where it was, what was wrong, and the message; as text if it is text.
pub fn columns() -> Vec<Column> {
    let columns = [
        ("source", SqlType::Text),
        ("partition", SqlType::Text),
        ("offset", SqlType::BigInt),
        ("file", SqlType::Text),
        ("sqlstate", SqlType::Text),
        ("error", SqlType::Text),
        ("message", SqlType::Text),
        ("message_base64", SqlType::Bytea),
    ];
    columns.into_iter().map(|(name, ty)| Column { name: name.into(), ty, not_null: false }).collect()
}

/// Rows of [`columns`].
pub fn rows(source: &str, partition: &str, letters: &[DeadLetter]) -> Result<RecordBatch> {
    let text = |of: fn(&DeadLetter) -> Option<&str>| -> ArrayRef {
        Arc::new(letters.iter().map(of).collect::<StringViewArray>())
    };
    let repeated =
        |text: &str| -> ArrayRef { Arc::new(letters.iter().map(|_| Some(text)).collect::<StringViewArray>()) };
    let offsets = letters.iter().map(|letter| letter.offset.and_then(|offset| i64::try_from(offset).ok()));
    let bytes = letters.iter().map(|letter| std::str::from_utf8(letter.text()).is_err().then_some(letter.text()));
    let columns = vec![
        repeated(source),
        repeated(partition),
        Arc::new(offsets.collect::<Int64Array>()),
        text(|letter| letter.file.as_deref()),
        text(|letter| Some(letter.error.state().code())),
        text(|letter| Some(letter.error.message())),
        text(|letter| std::str::from_utf8(letter.text()).ok()),
        Arc::new(bytes.collect::<BinaryViewArray>()),
    ];
    Ok(RecordBatch::try_new(schema_of(&self::columns()), columns)?)
}

/// Where a source's dead letters go, if it has any; `connector` is the source's.
///
/// # Errors
/// 22023 if the place is missing, given twice, or given for nothing.
pub fn sink(on_error: OnError, connector: &str, options: &mut OptionReader) -> Result<Option<Arc<dyn Sink>>> {
    let path: Option<String> = options.optional(PATH)?;
    let topic: Option<String> = options.optional(TOPIC)?;
    let place = |name: &str| options.position(name).unwrap_or(1);
    if on_error != OnError::DeadLetter {
        return match [PATH, TOPIC].into_iter().find(|name| options.is_given(name)) {
            Some(name) => Err(options
                .error(name, format!("option \"{name}\" needs on_error \"dead_letter\""))
                .with_hint(format!("Add 'on_error' = 'dead_letter', or remove '{name}'."))),
            None => Ok(None),
        };
    }
    let columns = columns();
    let declared = Declared::from(&columns);
    match (path, topic) {
        (Some(_), Some(_)) => Err(options
            .error(TOPIC, format!("options \"{PATH}\" and \"{TOPIC}\" exclude each other"))
            .with_hint("Remove one of the two.")),
        (None, None) => Err(options
            .error("on_error", "nothing says where dead letters go")
            .with_hint(format!("Add '{PATH}' = 'a file' or, for a Kafka source, '{TOPIC}' = 'a topic'."))),
        (Some(path), None) => {
            let at = place(PATH);
            let with = vec![WithOption::new("path", &path, at), WithOption::new("format", "json", at)];
            file::sink(declared, &[], &mut OptionReader::new(with)?).map(Some)
        }
        (None, Some(_)) if connector != "kafka" => Err(options
            .error(TOPIC, format!("option \"{TOPIC}\" needs a Kafka source"))
            .with_hint(format!("Use '{PATH}' = 'a file'."))),
        (None, Some(topic)) => {
            let at = place(TOPIC);
            let mut with = vec![WithOption::new("topic", &topic, at), WithOption::new("format", "json", at)];
            // The same cluster; what only reading minds is left out.
            let given = options.prefixed("properties.").into_iter().map(|(_, option)| option);
            with.extend(given.filter(|option| option.key.value != "properties.auto.offset.reset"));
            kafka::sink(declared, &[], &mut OptionReader::new(with)?).map(Some)
        }
    }
}
