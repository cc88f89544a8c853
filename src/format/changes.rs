//! From a result's changes to a sink's messages.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::Encoder;
use crate::change::changelog::changes;
use crate::change::{Change, ChangeBatch};
use crate::error::{Error, Result};

/// How changes are told in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeForm {
    /// A message is a row that is inserted; there is nothing else.
    Appends,
    /// A message is its key's row from then on; one without a value says that none is left.
    Upserts,
    /// A message is `{"before": row or null, "after": row or null, "op": "c" | "u" | "d"}`, as Debezium writes it (the rest
    /// of what that writes says where the change comes from). A deletion and the insertion behind it are an update if they
    /// agree in the columns `key`; without any, nothing is.
    Debezium { key: Vec<usize> },
}

/// Writes changes as messages.
pub struct ChangeEncoder {
    form: ChangeForm,
    rows: Box<dyn Encoder>,
    /// A batch's rows, encoded; kept for their capacity.
    data: Vec<u8>,
    ends: Vec<usize>,
}

/// Messages, back to back.
#[derive(Debug, Default)]
pub struct Messages {
    data: Vec<u8>,
    messages: Vec<Placed>,
}

#[derive(Debug)]
struct Placed {
    /// Of its value, in `data`.
    end: usize,
    has_value: bool,
    row: usize,
}

/// A message to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The row of the batch that it is about: its key is the message's.
    pub row: usize,
    /// `None`: the message has no value (Kafka's tombstone).
    pub value: Option<&'a [u8]>,
}

impl Messages {
    pub fn clear(&mut self) {
        self.data.clear();
        self.messages.clear();
    }

    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        let mut start = 0;
        self.messages.iter().map(move |placed| {
            let value = self.data.get(start..placed.end).unwrap_or_default();
            start = placed.end;
            Message { row: placed.row, value: placed.has_value.then_some(value) }
        })
    }

    /// What was appended to `data` since the last message is the value of the next.
    fn end(&mut self, row: usize) {
        self.messages.push(Placed { end: self.data.len(), has_value: true, row });
    }

    fn tombstone(&mut self, row: usize) {
        self.messages.push(Placed { end: self.data.len(), has_value: false, row });
    }
}

impl ChangeEncoder {
    /// `rows` writes one row.
    pub fn new(form: ChangeForm, rows: Box<dyn Encoder>) -> Self {
        ChangeEncoder { form, rows, data: Vec::new(), ends: Vec::new() }
    }

    /// Appends the messages of `batch` to `messages`, in order.
    ///
    /// # Errors
    /// If the batch deletes though the sink takes only insertions, and what the encoder of rows says.
    pub fn encode(&mut self, batch: &ChangeBatch, messages: &mut Messages) -> Result<()> {
        match &self.form {
            ChangeForm::Appends => {
                self.encode_rows(batch.rows())?;
                for change in changes(batch, &[])? {
                    let Change::Insert { row, times } = change else {
                        return Err(Error::internal("a deletion for a sink that takes none"));
                    };
                    (0..times).for_each(|_| self.put(row, row, messages));
                }
            }
            ChangeForm::Upserts => {
                // Of what is left of a key without a row, only the key counts: a format may have no form for the rest.
                let has_row = |row: usize| batch.weight(row) > 0;
                let mask = (0..batch.num_rows()).map(|row| Some(has_row(row))).collect::<BooleanArray>();
                self.encode_rows(&filter_record_batch(batch.rows(), &mask)?)?;
                let mut encoded = 0;
                for row in 0..batch.num_rows() {
                    if has_row(row) {
                        self.put(encoded, row, messages);
                        encoded += 1;
                    } else {
                        messages.tombstone(row);
                    }
                }
            }
            ChangeForm::Debezium { key } => {
                let changes = changes(batch, key)?;
                self.encode_rows(batch.rows())?;
                for change in changes {
                    let (before, after, op, times) = match change {
                        Change::Insert { row, times } => (None, Some(row), "c", times),
                        Change::Delete { row, times } => (Some(row), None, "d", times),
                        Change::Update { before, after } => (Some(before), Some(after), "u", 1),
                    };
                    (0..times).for_each(|_| self.put_envelope(before, after, op, messages));
                }
            }
        }
        Ok(())
    }

    fn encode_rows(&mut self, rows: &RecordBatch) -> Result<()> {
        self.data.clear();
        self.ends.clear();
        self.rows.encode(rows, &mut self.data, &mut self.ends)
    }

    fn row(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(row).copied().unwrap_or(start);
        self.data.get(start..end).unwrap_or_default()
    }

    /// Row `encoded` of those that were encoded is the message of row `row` of the batch.
    fn put(&self, encoded: usize, row: usize, messages: &mut Messages) {
        messages.data.extend_from_slice(self.row(encoded));
        messages.end(row);
    }

    fn put_envelope(&self, before: Option<usize>, after: Option<usize>, op: &str, messages: &mut Messages) {
        let out = &mut messages.data;
        for (lead, row) in [(&b"{\"before\":"[..], before), (b",\"after\":", after)] {
            out.extend_from_slice(lead);
            out.extend_from_slice(row.map_or(b"null", |row| self.row(row)));
        }
        out.extend_from_slice(b",\"op\":\"");
        out.extend_from_slice(op.as_bytes());
        out.extend_from_slice(b"\"}");
        messages.end(after.or(before).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringViewArray};

    use super::*;
    use crate::format::Format;
    use crate::format::json::{JsonEncoder, JsonOptions};
    use crate::format::raw::RawOptions;

    fn batch(rows: &[(i64, &str, i64)]) -> ChangeBatch {
        let keys: Int64Array = rows.iter().map(|r| Some(r.0)).collect();
        let texts: StringViewArray = rows.iter().map(|r| Some(r.1)).collect();
        let columns = [("k", Arc::new(keys) as ArrayRef), ("v", Arc::new(texts))];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)));
        ChangeBatch::new(batch.unwrap(), Some(rows.iter().map(|r| r.2).collect())).unwrap()
    }

    fn encoded(form: ChangeForm, rows: &[(i64, &str, i64)]) -> Result<Vec<String>> {
        let batch = batch(rows);
        let json = JsonEncoder::new(batch.schema(), JsonOptions::default()).unwrap();
        let mut messages = Messages::default();
        ChangeEncoder::new(form, Box::new(json)).encode(&batch, &mut messages)?;
        let shown = |m: Message| format!("{} {}", m.row, m.value.map_or("null".into(), String::from_utf8_lossy));
        Ok(messages.iter().map(shown).collect())
    }

    #[test]
    fn a_tombstone_needs_no_form_for_its_row() {
        let texts = StringViewArray::from(vec![None, Some("a"), None]);
        let rows = RecordBatch::try_from_iter_with_nullable([("v", Arc::new(texts) as ArrayRef, true)]).unwrap();
        let batch = ChangeBatch::new(rows, Some(vec![-1, 1, -1].into())).unwrap();
        // Raw has none for a null.
        let raw = Format::Raw(RawOptions::default()).encoder(&batch.schema(), &[0]).unwrap();
        let mut messages = Messages::default();
        ChangeEncoder::new(ChangeForm::Upserts, raw).encode(&batch, &mut messages).unwrap();
        let message = |row, value| Message { row, value };
        let expected = [message(0, None), message(1, Some(&b"a"[..])), message(2, None)];
        assert_eq!(messages.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn each_form_tells_changes_in_its_way() {
        let inserts = [(1, "a", 1), (2, "b", 2)];
        let rows = ["0 {\"k\":1,\"v\":\"a\"}", "1 {\"k\":2,\"v\":\"b\"}", "1 {\"k\":2,\"v\":\"b\"}"];
        assert_eq!(encoded(ChangeForm::Appends, &inserts).unwrap(), rows);
        let changes = [(1, "a", -1), (1, "b", 1), (2, "c", -1), (3, "d", 1)];
        assert!(encoded(ChangeForm::Appends, &changes).is_err());
        assert_eq!(
            encoded(ChangeForm::Upserts, &changes).unwrap(),
            ["0 null", "1 {\"k\":1,\"v\":\"b\"}", "2 null", "3 {\"k\":3,\"v\":\"d\"}"]
        );
        let (a, b) = ("{\"k\":1,\"v\":\"a\"}", "{\"k\":1,\"v\":\"b\"}");
        let (c, d) = ("{\"k\":2,\"v\":\"c\"}", "{\"k\":3,\"v\":\"d\"}");
        let rest = [
            format!("2 {{\"before\":{c},\"after\":null,\"op\":\"d\"}}"),
            format!("3 {{\"before\":null,\"after\":{d},\"op\":\"c\"}}"),
        ];
        let keyed = [&[format!("1 {{\"before\":{a},\"after\":{b},\"op\":\"u\"}}")][..], &rest].concat();
        assert_eq!(encoded(ChangeForm::Debezium { key: vec![0] }, &changes).unwrap(), keyed);
        let apart = [
            format!("0 {{\"before\":{a},\"after\":null,\"op\":\"d\"}}"),
            format!("1 {{\"before\":null,\"after\":{b},\"op\":\"c\"}}"),
        ];
        let keyless = [&apart[..], &rest].concat();
        assert_eq!(encoded(ChangeForm::Debezium { key: vec![] }, &changes).unwrap(), keyless);
    }
}
