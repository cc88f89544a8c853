use std::fs;
use std::io::Write;
use std::path::Path;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use tempfile::TempDir;

use super::framing::Framing;
use super::reader::{Ahead, Step};
use super::*;
use crate::change::ChangeBatch;
use crate::clock::ManualClock;
use crate::connector::options::WithOption;
use crate::connector::{Chunk, DeliveryError, Part, PartId, Payload, Taken, Takes, registry};
use crate::error::Error;
use crate::format::Format;
use crate::format::csv::{CsvOptions, Header};
use crate::format::json::JsonOptions;
use crate::types::{Column, SqlType};

const POLL: Mode = Mode::Watch(Duration::from_millis(1));

struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        let folder = Folder(TempDir::new().expect("a folder"));
        files.iter().for_each(|(name, text)| folder.append(name, text));
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_string()
    }

    fn append(&self, name: &str, text: &str) {
        let file = fs::OpenOptions::new().create(true).append(true).open(self.path(name));
        file.expect("a file").write_all(text.as_bytes()).expect("written");
    }

    fn scan(&self, path: &str, mode: Mode, from: Option<(&str, u64)>) -> Scan {
        let (file, offset) = from.map_or((None, 0), |(file, offset)| (Some(self.path(file).into()), offset));
        Scan::new(
            Listing::new(&self.path(path)).expect("a listing"),
            mode,
            Framing::new(&Format::Json(JsonOptions::default()), vec!["id".into()]),
            Position { offset, file },
        )
    }
}

/// What a scan gives until it has nothing more: `file@offset:line` for each line, then how it ended.
fn lines_of(scan: &mut Scan) -> String {
    let mut shown = String::new();
    loop {
        match scan.step() {
            Ok(Step::Chunk(chunk)) => {
                let file = Path::new(&*chunk.file).file_name().and_then(|n| n.to_str()).expect("a name");
                for (i, offset) in chunk.lines.offsets.iter().enumerate() {
                    let line = String::from_utf8_lossy(chunk.lines.message(i));
                    shown += &format!("{file}@{offset}:{} ", line.trim());
                }
            }
            Ok(Step::AtEnd) => return shown + "AtEnd",
            Ok(Step::Waits(e)) => return format!("{shown}waits: {}", e.message()),
            Ok(Step::Finished) => return shown + "Finished",
            Err(e) => return format!("{shown}{} {}", e.state().code(), e.message()),
        }
    }
}

#[test]
fn files_come_in_name_order_and_their_ends_end_lines() {
    let folder = Folder::new(&[("b.json", "3\n\n4"), ("a.json", "\u{feff}1\r\n2\n"), ("c.txt", "9\n"), ("d.json", "")]);
    let all = "a.json@3:1 a.json@6:2 b.json@0:3 b.json@3:4 Finished";
    assert_eq!(lines_of(&mut folder.scan("*.json", Mode::Bounded, None)), all);
    assert_eq!(lines_of(&mut folder.scan("c.txt", Mode::Bounded, None)), "c.txt@0:9 Finished");
    assert_eq!(lines_of(&mut folder.scan("[ab].json", Mode::Bounded, None)), all);
    assert_eq!(lines_of(&mut folder.scan("x*", Mode::Bounded, None)), "Finished");
}

#[test]
fn what_is_no_message_is_in_no_chunk() {
    let text = "\u{feff}id\n# \"c\n1\n\n2\n\"3\n3\"\n# d\n# e\n4\n#f";
    let folder = Folder::new(&[("a", text), ("b", "id\n"), ("c", "id"), ("d", "")]);
    let scan = |header: Header, offset: u64| {
        let mut csv = CsvOptions::default().with_comments(true);
        csv.header = header;
        let framing = Framing::new(&Format::Csv(csv), vec!["id".into(), "name".into()]);
        let listing = Listing::new(&folder.path("*")).expect("a listing");
        lines_of(&mut Scan::new(
            listing,
            Mode::Bounded,
            framing,
            Position { offset, file: Some(folder.path("a").into()) },
        ))
    };
    assert!(scan(Header::Match, 0).ends_with("wrong number of fields in header line"));
    assert_eq!(scan(Header::Skip, 0), "a@11:1 a@14:2 a@16:\"3\n3\" a@30:4 Finished");
    assert_eq!(scan(Header::Skip, 13), "a@14:2 a@16:\"3\n3\" a@30:4 Finished");
    assert_eq!(scan(Header::Skip, 22), "a@30:4 Finished");
}

#[test]
fn a_scan_resumes_behind_any_line() {
    let folder = Folder::new(&[("a", "10\n20\n"), ("b", "30\n")]);
    let from = |file, offset| lines_of(&mut folder.scan("*", Mode::Bounded, Some((file, offset))));
    assert_eq!(from("a", 0), "a@0:10 a@3:20 b@0:30 Finished");
    assert_eq!(from("a", 3), "a@3:20 b@0:30 Finished");
    assert_eq!(from("a", 6), "b@0:30 Finished");
    assert_eq!(from("b", 3), "Finished");
    assert!(from("b", 4).starts_with("XX001 file"), "{}", from("b", 4));
    fs::remove_file(folder.path("a")).expect("removed");
    assert!(from("a", 3).ends_with("is gone, though it was not read to its end"), "{}", from("a", 3));
}

#[test]
fn a_watched_file_gives_whole_lines_as_they_come() {
    let folder = Folder::new(&[("a", "1\n2")]);
    let mut scan = folder.scan("*", POLL, None);
    assert_eq!(lines_of(&mut scan), "a@0:1 AtEnd");
    folder.append("a", "2\n3");
    assert_eq!(lines_of(&mut scan), "a@2:22 AtEnd");
    folder.append("b", "4\n");
    assert_eq!(lines_of(&mut scan), "a@5:3 b@0:4 AtEnd");
    folder.append("0", "too early in name order\n");
    folder.append("a", "too late\n");
    assert_eq!(lines_of(&mut scan), "AtEnd");
    folder.append("b", "5\n");
    assert_eq!(lines_of(&mut scan), "b@2:5 AtEnd");
}

#[test]
fn what_is_not_there_yet_is_waited_for() {
    let folder = Folder::new(&[]);
    let mut scan = folder.scan("a", POLL, None);
    assert_eq!(lines_of(&mut scan), "AtEnd");
    folder.append("a", "1\n");
    assert_eq!(lines_of(&mut scan), "a@0:1 AtEnd");
}

#[test]
fn lines_cross_chunks_but_have_a_limit() {
    let line = |n: usize| format!("{n:0>200}\n");
    let text: String = (0..5_000).map(line).collect();
    let folder = Folder::new(&[("a", &text), ("long", &"x".repeat(lines::MAX_LINE_BYTES + 1))]);
    let mut scan = folder.scan("a", Mode::Bounded, None);
    let (mut chunks, mut next) = (0, 0);
    while let Step::Chunk(chunk) = scan.step().expect("a step") {
        assert!(chunk.lines.data.len() <= lines::CHUNK_BYTES + 201);
        for i in 0..chunk.lines.len() {
            assert_eq!(String::from_utf8_lossy(chunk.lines.message(i)), line(next));
            assert_eq!(chunk.lines.offsets[i], 201 * next as u64);
            next += 1;
        }
        chunks += 1;
    }
    assert_eq!((next, chunks), (5_000, 4));
    let refused = lines_of(&mut folder.scan("long", Mode::Bounded, None));
    assert!(refused.starts_with("22P04 a line of file"), "{refused}");
}

fn columns() -> Vec<Column> {
    vec![Column { name: "id".into(), ty: SqlType::BigInt, not_null: false }]
}

fn with(options: &[(&str, &str)]) -> Vec<WithOption> {
    let all = [("connector", "file"), ("format", "json")];
    all.iter().chain(options).map(|(k, v)| WithOption::new(k, v, 1)).collect()
}

/// A source with its reader: what is taken, decoded.
struct Run {
    source: Arc<dyn Source>,
    reader: Box<dyn Reader>,
    woken: std::sync::mpsc::Receiver<()>,
}

impl Run {
    fn new(options: &[(&str, &str)], positions: Option<Positions>) -> Run {
        let source = registry::source(&columns(), &[], with(options)).expect("a source").source;
        let positions = positions.unwrap_or_else(|| source.resolve_start().expect("positions"));
        let (wake, woken) = std::sync::mpsc::channel();
        let waker: crate::connector::Waker = Arc::new(move || wake.send(()).unwrap_or_default());
        let context = ReaderContext { waker, clock: Arc::new(ManualClock::default()) };
        let reader = source.open(&[0], &positions, context).expect("a reader");
        Run { source, reader, woken }
    }

    /// What comes next, waiting while that is being read.
    fn take(&mut self, max_bytes: usize, until: Option<&Position>) -> Result<(Vec<i64>, Position), String> {
        loop {
            match self.reader.take(0, max_bytes, until).expect("taken") {
                Taken::Chunk(Chunk { payload: Payload::Raw(lines), next }) => {
                    let decoder = self.source.decoder(&[0]).expect("a decoder").expect("a decoder");
                    let decoded = decoder.decode(&lines).expect("decoded");
                    assert!(decoded.bad.is_empty());
                    return Ok((decoded.rows.column(0).as_primitive::<Int64Type>().values().to_vec(), next));
                }
                Taken::Pending if until.is_none() => {
                    self.woken.recv_timeout(Duration::from_secs(10)).expect("woken");
                }
                other => return Err(format!("{other:?}")),
            }
        }
    }
}

#[test]
fn a_reader_cuts_and_resumes() {
    let folder = Folder::new(&[("a", "{\"id\": 1}\n\n{\"id\": 2}\n{\"id\": 3}\n"), ("b", "{\"id\": 4}")]);
    let path = folder.path("*");
    let mut run = Run::new(&[("path", &path)], None);
    let (rows, first) = run.take(1, None).expect("a row");
    assert_eq!((rows, first.offset, first.file.as_deref()), (vec![1], 10, Some(&*folder.path("a"))));
    let (rows, second) = run.take(25, None).expect("rows");
    assert_eq!((rows, second.offset), (vec![2, 3], 31));
    assert_eq!(run.take(25, None).expect("a row").0, [4]);
    assert_eq!(run.take(25, None), Err("Finished".into()));

    let positions = |at: &Position| Positions::from([(PartitionId("0".into()), at.clone())]);
    let mut again = Run::new(&[("path", &path)], Some(positions(&first)));
    assert_eq!(again.take(1 << 20, None).expect("rows").0, [2, 3]);

    let mut other = Run::new(&[("path", &path)], None);
    let mut seen = Vec::new();
    while let Ok((rows, next)) = other.take(1, None) {
        seen.extend(rows);
        if next == second {
            break;
        }
    }
    assert_eq!(seen, [1, 2, 3]);
    assert_eq!(other.take(1 << 20, Some(&second)), Err("Pending".into()));
    assert_eq!(other.take(1 << 20, None).expect("a row").0, [4]);
}

#[test]
fn a_watching_reader_wakes_the_tick_loop() {
    let folder = Folder::new(&[]);
    let mut run = Run::new(&[("path", &folder.path("a")), ("mode", "watch"), ("poll-interval", "1 ms")], None);
    assert_eq!(run.take(1 << 20, None), Err("AtEnd".into()));
    while run.woken.try_recv().is_ok() {}
    folder.append("a", "{\"id\": 1}\n");
    run.woken.recv_timeout(Duration::from_secs(10)).expect("woken");
    assert_eq!(run.take(1 << 20, None).expect("a row").0, [1]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = Folder::new(&[]);
    let shown = |e: Error| format!("{} {} | {}", e.state().code(), e.message(), e.hint().unwrap_or(""));
    let check = |options: &[(&str, &str)], expected: &str| {
        let refused = registry::source(&columns(), &[], with(options)).map(|made| made.source.resolve_start());
        assert_eq!(shown(refused.and_then(|r| r).expect_err("refused")), expected);
    };
    check(&[], "22023 option \"path\" is required for connector \"file\" | Add 'path' = '...' to the WITH clause.");
    check(
        &[("path", "a[")],
        "22023 invalid pattern \"a[\": invalid range pattern at letter 2 | * and ? stand for letters of a name, \
         ** for directories; write [*] or [?] or [[] for these letters themselves.",
    );
    check(
        &[("path", "a"), ("poll-interval", "1 s")],
        "22023 option \"poll-interval\" needs mode \"watch\" | Add 'mode' = 'watch', or remove 'poll-interval'.",
    );
    let hint = "Paths are relative to the directory that the server runs in; \
                with 'mode' = 'watch' files may come later.";
    let missing = folder.path("missing");
    check(&[("path", &missing)], &format!("58P01 file \"{missing}\" does not exist | {hint}"));
    check(&[("path", &folder.path("*"))], &format!("58P01 no file matches \"{}\" | {hint}", folder.path("*")));
    let folder = folder.path("");
    check(
        &[("path", &folder)],
        &format!("42809 \"{folder}\" is a directory | To read all files in it, use 'path' = '{folder}*'."),
    );
    registry::source(&columns(), &[], with(&[("path", &missing), ("mode", "watch")]))
        .expect("a source")
        .source
        .resolve_start()
        .expect("files may come later");
}

fn part(ids: &[i64]) -> Part {
    let column = Arc::new(Int64Array::from(ids.to_vec()));
    let rows = RecordBatch::try_new(schema_of(&columns()), vec![column]).expect("a batch");
    Part { id: PartId { epoch: 1, part: 0 }, batches: vec![ChangeBatch::append_only(rows)] }
}

#[test]
fn a_sink_appends_lines() {
    let folder = Folder::new(&[("out", "{\"half")]);
    let sink = registry::sink(&columns(), &[], with(&[("path", &folder.path("out"))])).expect("a sink");
    assert!(sink.takes() == Takes::Appends && sink.notice().is_some_and(|n| n.contains("at-least-once")));
    sink.preflight().expect("it can be written");
    for ids in [&[1, 2][..], &[3]] {
        let mut writer = sink.open("job", schema_of(&columns())).expect("a writer");
        writer.deliver(&part(ids)).expect("delivered");
        writer.deliver(&part(&[])).expect("delivered");
        writer.finish().expect("finished");
    }
    let written = fs::read_to_string(folder.path("out")).expect("read");
    assert_eq!(written, "{\"half\n{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n");
}

#[test]
fn a_sink_that_cannot_be_written_says_so() {
    let folder = Folder::new(&[]);
    let preflight = |path: &str| {
        let sink = registry::sink(&columns(), &[], with(&[("path", path)])).expect("a sink");
        sink.preflight().expect_err("refused")
    };
    let e = preflight(&folder.path("no/such/folder/out"));
    assert_eq!((e.state().code(), e.hint()), ("58P01", Some("The directory must exist; only the file is made.")));
    let e = preflight(&folder.path(""));
    assert_eq!((e.state().code(), e.hint()), ("42809", Some("Add a file's name: all rows are written into one file.")));
    let sink = registry::sink(&columns(), &[], with(&[("path", "/dev/full")])).expect("a sink");
    let full = sink.open("job", schema_of(&columns())).map(|mut w| w.deliver(&part(&[1])));
    assert!(!matches!(full, Ok(Ok(()) | Err(DeliveryError::Fatal(_)))), "a full disk may pass: {full:?}");
}
