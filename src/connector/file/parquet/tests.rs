use std::fs;

use arrow::array::{AsArray, DictionaryArray, Int64Array, RecordBatch, RecordBatchReader, StringArray};
use arrow::datatypes::{Int32Type, Int64Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use super::*;
use crate::change::ChangeBatch;
use crate::clock::ManualClock;
use crate::connector::{Chunk, Part, PartId, Payload, Taken};
use crate::types::{Column, schema_of};

fn columns() -> Vec<Column> {
    let column = |name: &str, ty| Column { name: name.into(), ty, not_null: false };
    vec![column("name", SqlType::Text), column("id", SqlType::BigInt), column("wrong", SqlType::Boolean)]
}

/// A file of the columns id, other, name, wrong, in row groups of three rows.
fn write(folder: &TempDir, name: &str, ids: std::ops::Range<i64>) -> String {
    let path = folder.path().join(name);
    let texts = |prefix: &str| StringArray::from_iter_values(ids.clone().map(|id| format!("{prefix}{id}")));
    let rows = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(ids.clone())) as _),
        ("other", Arc::new(texts("o")) as _),
        ("name", Arc::new(texts("n")) as _),
        ("wrong", Arc::new(texts("w")) as _),
    ]);
    let rows = rows.expect("rows");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(3)).build();
    let file = fs::File::create(&path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).expect("a writer");
    writer.write(&rows).expect("written");
    writer.close().expect("closed");
    path.to_str().expect("UTF-8").to_string()
}

fn open(path: &str, wanted: &[usize], start: Option<Position>) -> Result<Box<dyn Reader>> {
    open_in(Mode::Bounded, path, &columns(), wanted, start)
}

fn open_in(
    mode: Mode,
    path: &str,
    columns: &[Column],
    wanted: &[usize],
    start: Option<Position>,
) -> Result<Box<dyn Reader>> {
    let listing = Listing::new(path).expect("a listing");
    let source = source(Declared::from(columns), listing, mode, &OptionReader::new(Vec::new())?)?;
    let mut positions = source.resolve_start()?;
    positions.values_mut().for_each(|position| *position = start.clone().unwrap_or_else(|| position.clone()));
    let context = ReaderContext { waker: Arc::new(|| {}), clock: Arc::new(ManualClock::default()) };
    source.open(wanted, &positions, context)
}

/// What comes next: the ids, and the position behind them.
fn take(reader: &mut dyn Reader, max_bytes: usize, until: Option<&Position>) -> Result<Option<(Vec<i64>, Position)>> {
    loop {
        match reader.take(0, max_bytes, until)? {
            Taken::Chunk(Chunk { payload: Payload::Deferred(rows), next }) => {
                let count = rows.rows();
                let rows = rows.make()?;
                assert_eq!(rows.num_rows(), count);
                let column = rows.column_by_name("id").expect("ids");
                return Ok(Some((column.as_primitive::<Int64Type>().values().to_vec(), next)));
            }
            Taken::Pending if until.is_none() => std::thread::yield_now(),
            _ => return Ok(None),
        }
    }
}

#[test]
fn files_in_name_order_from_any_row() {
    let folder = TempDir::new().expect("a folder");
    write(&folder, "b.parquet", 10..14);
    let first = write(&folder, "a.parquet", 0..8);
    fs::write(folder.path().join("c.txt"), "no Parquet").expect("written");
    let path = folder.path().to_str().expect("UTF-8").to_string();
    for max_bytes in [1, 1 << 20] {
        let mut reader = open(&path, &[0, 1], None).expect("a reader");
        let mut all = Vec::new();
        while let Some((ids, next)) = take(&mut *reader, max_bytes, None).expect("rows") {
            assert!(ids.len() <= if max_bytes == 1 { 1 } else { 3 });
            all.extend(&ids);
            // From there another reader goes on.
            let mut again = open(&path, &[1], Some(next.clone())).expect("a reader");
            let mut rest = all.clone();
            while let Some((ids, _)) = take(&mut *again, 1 << 20, None).expect("rows") {
                rest.extend(ids);
            }
            assert_eq!(rest, [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13], "from {next:?}");
        }
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13]);
    }
    let mut reader = open(&path, &[1], None).expect("a reader");
    let until = Position { offset: 2, file: Some(first.into()) };
    let (mut ids, mut next) = (Vec::new(), None);
    while next.as_ref() != Some(&until) {
        if let Some((more, at)) = take(&mut *reader, 1 << 20, Some(&until)).expect("rows") {
            ids.extend(more);
            next = Some(at);
        }
    }
    assert_eq!(ids, [0, 1]);
    assert!(take(&mut *reader, 1 << 20, Some(&until)).expect("nothing").is_none());
}

/// As [`take`], once the reader says that it is at the end of what is there.
fn take_until_end(reader: &mut dyn Reader) -> Vec<i64> {
    let mut all = Vec::new();
    loop {
        match reader.take(0, 1 << 20, None).expect("no error") {
            Taken::Chunk(Chunk { payload: Payload::Deferred(rows), .. }) => {
                let rows = rows.make().expect("rows");
                all.extend(rows.column(0).as_primitive::<Int64Type>().values());
            }
            Taken::AtEnd | Taken::Finished => return all,
            _ => std::thread::yield_now(),
        }
    }
}

/// Asks a reader that watches until something comes.
fn soon<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = ask() {
            return found;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_watched_folder_gives_whole_files_only() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8").to_string();
    let mode = Mode::Watch(std::time::Duration::from_millis(1));
    let mut reader = open_in(mode, &path, &columns(), &[1], None).expect("a reader");
    assert_eq!(soon(|| Some(take_until_end(&mut *reader))), Vec::<i64>::new());
    let first = write(&folder, "a.parquet", 0..4);
    let mut more = || Some(take_until_end(&mut *reader)).filter(|ids| !ids.is_empty());
    assert_eq!(soon(&mut more), [0, 1, 2, 3]);
    // Half of a file, and one behind it; hidden ones do not count.
    let whole = fs::read(&first).expect("read");
    for half in [&whole[..0], &whole[..2], &whole[..whole.len() - 1]] {
        fs::write(folder.path().join("b.parquet"), half).expect("written");
        write(&folder, ".hidden.parquet", 90..91);
        write(&folder, "c.parquet", 10..12);
        let mut reader = open_in(mode, &path, &columns(), &[1], None).expect("a reader");
        let trouble = soon(|| {
            let ids = take_until_end(&mut *reader);
            assert!(ids.is_empty() || ids == [0, 1, 2, 3], "{ids:?}");
            reader.trouble()
        });
        assert!(
            trouble.message().ends_with("b.parquet\": not a whole Parquet file yet: its end is missing"),
            "{trouble}"
        );
    }
    fs::write(folder.path().join("b.parquet"), &whole).expect("written");
    let mut ids = Vec::new();
    while ids.len() < 6 {
        ids.extend(soon(&mut more));
    }
    assert_eq!(ids, [0, 1, 2, 3, 10, 11]);
    // What is taken away is not waited for.
    fs::write(folder.path().join("d.parquet"), &whole[..9]).expect("written");
    write(&folder, "e.parquet", 20..21);
    fs::remove_file(folder.path().join("d.parquet")).expect("removed");
    assert_eq!(soon(&mut more), [20]);
    assert!(reader.trouble().is_none());
}

#[test]
fn only_wanted_columns_are_decoded() {
    let folder = TempDir::new().expect("a folder");
    let path = write(&folder, "a.parquet", 0..3);
    let file = fs::File::open(&path).expect("a file");
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).expect("a footer");
    let group = decode::Group { file: path.into(), metadata, index: 0, first_row: 0, rows: 3 };
    let reader = group.open(&[2, 0], (1, 3), 2).expect("a reader");
    let names = reader.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    assert_eq!(names, ["id", "name"]);
    let wanted = Wanted::new(Declared::from(&columns())).expect("columns");
    let rows = group.decode(&wanted.project(&[0, 1]), 1, 3).expect("rows");
    assert_eq!(rows.column(0).as_string_view().iter().flatten().collect::<Vec<_>>(), ["n1", "n2"]);
    assert_eq!(group.decode(&wanted.project(&[]), 1, 3).expect("rows").num_rows(), 2);
}

#[test]
fn what_does_not_fit_is_named() {
    let folder = TempDir::new().expect("a folder");
    let path = write(&folder, "a.parquet", 0..3);
    let refused = |path: &str, wanted: &[usize]| {
        let mut reader = open(path, wanted, None).expect("a reader");
        let e = take(&mut *reader, 1, None).expect_err("refused");
        format!("{} {}", e.state().code(), e.message())
    };
    let expected =
        format!("42804 file \"{path}\": column \"wrong\": a value of type text does not fit into type boolean");
    assert_eq!(refused(&path, &[1, 2]), expected);
    // Damage: cut anywhere, flipped anywhere in the footer, it is an error and nothing worse.
    let whole = fs::read(&path).expect("read");
    let damaged = folder.path().join("damaged.parquet");
    let damaged_path = damaged.to_str().expect("UTF-8");
    for cut in 0..whole.len() {
        fs::write(&damaged, &whole[..cut]).expect("written");
        let text = refused(damaged_path, &[1]);
        assert!(text.contains("damaged.parquet"), "{text}");
    }
    for at in (0..whole.len()).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&damaged, bytes).expect("written");
        let mut reader = open(damaged_path, &[0, 1], None).expect("a reader");
        while let Ok(Some(_)) = take(&mut *reader, 1 << 20, None) {}
    }
}

#[test]
fn a_sink_writes_whole_files() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("out");
    let column = vec![Column { name: "id".into(), ty: SqlType::BigInt, not_null: false }];
    let mut options = OptionReader::new(Vec::new()).expect("options");
    let sink = sink(Declared::from(&column), path.to_str().expect("UTF-8").into(), &[], &mut options).expect("a sink");
    sink.preflight().expect("it can be written");
    for ids in [vec![1, 2], vec![3]] {
        // Each a life of its own: numbers go on.
        let mut writer = sink.open("job", schema_of(&column)).expect("a writer");
        let rows = RecordBatch::try_new(schema_of(&column), vec![Arc::new(Int64Array::from(ids))]).expect("rows");
        let part = |batches| Part { id: PartId { epoch: 1, part: 0 }, batches };
        writer.deliver(&part(vec![ChangeBatch::append_only(rows)])).expect("delivered");
        writer.deliver(&part(Vec::new())).expect("nothing to deliver");
        writer.finish().expect("finished");
    }
    let mut names = fs::read_dir(&path)
        .expect("a folder")
        .map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8"))
        .collect::<Vec<_>>();
    names.sort();
    assert_eq!(names, ["part-000000000000.parquet", "part-000000000001.parquet"]);
    let mut reader = open(path.to_str().expect("UTF-8"), &[1], None).expect("a reader");
    assert_eq!(take(&mut *reader, 1 << 20, None).expect("rows").map(|(ids, _)| ids), Some(vec![1, 2]));
    assert_eq!(take(&mut *reader, 1 << 20, None).expect("rows").map(|(ids, _)| ids), Some(vec![3]));
}

/// Rows of every type through a file and back, with the file's columns as others see them.
#[test]
fn what_is_written_reads_back() {
    let row = SqlType::Row(vec![
        ("u".into(), SqlType::Uuid),
        ("l".into(), SqlType::Array(Box::new(SqlType::Array(Box::new(SqlType::Jsonb))))),
    ]);
    let types = [
        ("b", SqlType::Boolean),
        ("s", SqlType::SmallInt),
        ("i", SqlType::Integer),
        ("l", SqlType::BigInt),
        ("r", SqlType::Real),
        ("d", SqlType::Double),
        ("n", SqlType::Numeric(38, 3)),
        ("t", SqlType::Text),
        ("v", SqlType::Varchar(Some(3))),
        ("y", SqlType::Bytea),
        ("da", SqlType::Date),
        ("t3", SqlType::Timestamp(3)),
        ("t6", SqlType::TimestampTz(6)),
        ("ti", SqlType::Time(6)),
        ("u", SqlType::Uuid),
        ("j", SqlType::Jsonb),
        ("o", row),
    ];
    let columns: Vec<Column> =
        types.iter().map(|(name, ty)| Column { name: (*name).into(), ty: ty.clone(), not_null: false }).collect();
    let lines = [
        r#"{"b":true,"s":-5,"i":2147483647,"l":-9223372036854775808,"r":1.5,"d":"NaN","n":-12345678901234567890.125,"t":"häy","v":"abc",
            "y":"AP8=","da":"1969-12-31","t3":"1969-12-31 23:59:59.999","t6":"2024-02-29 12:00:00.123456Z","ti":"23:59:59.999999",
            "u":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","j":{"a":[1,null,"x"]},
            "o":{"u":"00000000-0000-0000-0000-000000000001","l":[[{"k":1.50}],null,[]]}}"#,
        r#"{"t":"","y":"","j":null,"ti":"24:00:00","o":{"u":null,"l":null}}"#,
        "{}",
    ];
    let mut chunk = crate::format::RawChunk::default();
    let mut data = Vec::new();
    for line in lines {
        data.extend_from_slice(line.as_bytes());
        chunk.ends.push(data.len() as u32);
        chunk.offsets.push(0);
    }
    chunk.data = data.into();
    let schema = schema_of(&columns);
    let decoder = crate::format::json::JsonDecoder::new(Arc::clone(&schema), Default::default()).expect("a decoder");
    let decoded = decoder.decode(&chunk).expect("rows");
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    let mut options = OptionReader::new(Vec::new()).expect("options");
    let sink = sink(Declared::from(&columns), path.into(), &[], &mut options).expect("a sink");
    let mut writer = sink.open("job", Arc::clone(&schema)).expect("a writer");
    let batches = vec![ChangeBatch::append_only(decoded.rows.clone())];
    writer.deliver(&Part { id: PartId { epoch: 1, part: 0 }, batches }).expect("delivered");
    let all = (0..columns.len()).collect::<Vec<_>>();
    let mut reader = open_in(Mode::Bounded, path, &columns, &all, None).expect("a reader");
    let back = loop {
        match reader.take(0, 1 << 20, None).expect("rows") {
            Taken::Chunk(Chunk { payload: Payload::Deferred(rows), .. }) => break rows.make().expect("rows"),
            _ => std::thread::yield_now(),
        }
    };
    assert_eq!(back.schema(), schema);
    assert_eq!(back, decoded.rows);
    let file = fs::File::open(folder.path().join("part-000000000000.parquet")).expect("a file");
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).expect("a footer");
    let mut shown = Vec::new();
    parquet::schema::printer::print_schema(&mut shown, metadata.parquet_schema().root_schema());
    let shown = String::from_utf8(shown).expect("UTF-8");
    for line in [
        "OPTIONAL FIXED_LEN_BYTE_ARRAY (16) u (UUID);",
        "OPTIONAL BYTE_ARRAY j (JSON);",
        "OPTIONAL BYTE_ARRAY t (STRING);",
        "OPTIONAL INT64 t3 (TIMESTAMP(MICROS,false));",
        "OPTIONAL INT64 t6 (TIMESTAMP(MICROS,true));",
        "OPTIONAL BYTE_ARRAY element (JSON);",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}

/// Chunks are cut by what rows of the wanted columns hold once decoded, whatever their encoded size.
#[test]
fn chunks_are_cut_by_what_wanted_columns_hold() {
    const ROWS: usize = 20_000;
    const TEXT_BYTES: usize = 10_000;
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("long.parquet");
    let texts = StringArray::from(vec!["x".repeat(TEXT_BYTES)]);
    let names = DictionaryArray::<Int32Type>::new(vec![0; ROWS].into(), Arc::new(texts));
    let ids = Int64Array::from_iter_values(0..ROWS as i64);
    let rows = RecordBatch::try_from_iter([("id", Arc::new(ids) as _), ("name", Arc::new(names) as _)]).expect("rows");
    let file = fs::File::create(&path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).expect("a writer");
    writer.write(&rows).expect("written");
    writer.close().expect("closed");
    let path = path.to_str().expect("UTF-8");
    let chunk = |columns: &[usize], max_bytes: usize| -> RecordBatch {
        let mut reader = open(path, columns, None).expect("a reader");
        loop {
            match reader.take(0, max_bytes, None).expect("rows") {
                Taken::Chunk(Chunk { payload: Payload::Deferred(rows), .. }) => return rows.make().expect("rows"),
                _ => std::thread::yield_now(),
            }
        }
    };
    let few = chunk(&[0, 1], 1 << 20);
    assert!((50..=(1 << 20) / TEXT_BYTES).contains(&few.num_rows()), "{} rows", few.num_rows());
    assert_eq!(chunk(&[1], 1 << 20).num_rows(), ROWS, "columns that are not wanted do not count");
}
