//! The sink that prints each change as a line: `+I(1, ann, null)`, as Flink's print connector does.
//!
//! `+I` is a row that is inserted, `-D` one that is deleted; a weight other than one repeats the line. If the sink has a
//! primary key, a key's deletion and insertion in one tick are `-U` and `+U`. An append-only result prints `+I` lines only.
//! A part is printed in one piece, so that lines of two jobs do not run into each other.

use std::io::Write;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parking_lot::Mutex;

use super::options::OptionReader;
use super::{DeliveryError, Part, Sink, SinkWriter, Takes};
use crate::change::changelog::changes;
use crate::change::{Change, ChangeBatch};
use crate::error::{Error, Result};
use crate::types::Column;

const NOTICE: &str = "a print sink is at-least-once: after a crash lines can be printed again";

/// How values look: as `psql` shows them.
const FORMAT: FormatOptions<'static> = FormatOptions::new()
    .with_null("null")
    .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
    .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"));

/// `'connector' = 'print'`, to standard output; 'prefix' goes before each line.
pub fn sink(_columns: &[Column], primary_key: &[usize], options: &mut OptionReader) -> Result<Arc<dyn Sink>> {
    let prefix = options.optional::<String>("prefix")?.map_or(String::new(), |p| format!("{p} "));
    Ok(Arc::new(PrintSink::new(prefix, primary_key.to_vec(), Arc::new(Mutex::new(std::io::stdout())))))
}

/// Where the lines go.
pub type Output = Arc<Mutex<dyn Write + Send>>;

pub struct PrintSink {
    prefix: String,
    primary_key: Vec<usize>,
    output: Output,
}

impl std::fmt::Debug for PrintSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrintSink").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl PrintSink {
    /// `prefix` starts every line.
    pub fn new(prefix: String, primary_key: Vec<usize>, output: Output) -> Self {
        PrintSink { prefix, primary_key, output }
    }
}

impl Sink for PrintSink {
    fn takes(&self) -> Takes {
        Takes::Changes { key: self.primary_key.clone() }
    }

    fn notice(&self) -> Option<String> {
        Some(NOTICE.to_string())
    }

    fn open(&self, _job: &str, _schema: SchemaRef) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(PrintWriter {
            prefix: self.prefix.clone(),
            primary_key: self.primary_key.clone(),
            output: Arc::clone(&self.output),
            text: Vec::new(),
        }))
    }
}

struct PrintWriter {
    prefix: String,
    primary_key: Vec<usize>,
    output: Output,
    /// Lines of the part being delivered; kept for its capacity.
    text: Vec<u8>,
}

impl SinkWriter for PrintWriter {
    fn deliver(&mut self, part: &Part) -> Result<(), DeliveryError> {
        self.text.clear();
        for batch in &part.batches {
            write_lines(&self.prefix, &self.primary_key, batch, &mut self.text).map_err(DeliveryError::Fatal)?;
        }
        let mut output = self.output.lock();
        let written = output.write_all(&self.text).and_then(|()| output.flush());
        written.map_err(|e| DeliveryError::Fatal(Error::from(e).context("print sink")))
    }
}

fn write_lines(prefix: &str, key: &[usize], batch: &ChangeBatch, text: &mut Vec<u8>) -> Result<()> {
    let columns = batch.rows().columns().iter();
    let columns: Vec<_> = columns.map(|c| ArrayFormatter::try_new(c, &FORMAT)).collect::<Result<_, _>>()?;
    let mut line = |kind: &str, row: usize, times: u64| -> Result<()> {
        let start = text.len();
        write!(text, "{prefix}{kind}(")?;
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                text.extend_from_slice(b", ");
            }
            write!(text, "{}", column.value(row))?;
        }
        text.extend_from_slice(b")\n");
        let end = text.len();
        (1..times).for_each(|_| text.extend_from_within(start..end));
        Ok(())
    };
    for change in changes(batch, key)? {
        match change {
            Change::Insert { row, times } => line("+I", row, times)?,
            Change::Delete { row, times } => line("-D", row, times)?,
            Change::Update { before, after } => {
                line("-U", before, 1)?;
                line("+U", after, 1)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::PartId;
    use arrow::array::{Array, Decimal128Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};

    #[test]
    fn changes_are_lines() {
        let amounts = Decimal128Array::from(vec![1250, -5, 0]).with_precision_and_scale(12, 2).expect("a numeric");
        let rows = RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])) as Arc<dyn Array>, true),
            ("name", Arc::new(StringViewArray::from(vec![Some("ann"), None, Some("")])), true),
            ("amount", Arc::new(amounts), true),
            ("ts", Arc::new(TimestampMicrosecondArray::from(vec![0, 1_500_000, -1])), true),
        ]);
        let batch = ChangeBatch::new(rows.expect("a batch"), Some(vec![1, -1, 2].into())).expect("a change");
        let printed = |key: Vec<usize>, batch: &ChangeBatch| {
            let written: Arc<Mutex<Vec<u8>>> = Arc::default();
            let output: Output = Arc::clone(&written) as Output;
            let sink = PrintSink::new("job> ".into(), key, output);
            let mut writer = sink.open("job", batch.schema()).expect("a writer");
            let part = Part { id: PartId { epoch: 1, part: 0 }, batches: vec![batch.clone()] };
            writer.deliver(&part).expect("delivered");
            let bytes = written.lock().clone();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        assert_eq!(
            printed(Vec::new(), &batch),
            "job> +I(1, ann, 12.50, 1970-01-01 00:00:00)\n\
             job> -D(null, null, -0.05, 1970-01-01 00:00:01.500)\n\
             job> +I(3, , 0.00, 1969-12-31 23:59:59.999999)\n\
             job> +I(3, , 0.00, 1969-12-31 23:59:59.999999)\n"
        );
        let ids = batch.rows().project(&[0]).expect("a column");
        let ids = arrow::compute::concat_batches(&ids.schema(), [&ids, &ids]).expect("a batch").slice(2, 3);
        let update = ChangeBatch::new(ids, Some(vec![-1, -1, 1].into())).expect("a change");
        assert_eq!(printed(vec![0], &update), "job> -D(3)\njob> -D(1)\njob> +I(null)\n");
        let same = update.slice(0, 1);
        let both = [same.clone(), same.with_weights(Some(vec![1].into())).expect("a change")];
        let update = ChangeBatch::concat(&update.schema(), &both).expect("a change");
        assert_eq!(printed(vec![0], &update), "job> -U(3)\njob> +U(3)\n");
    }
}
