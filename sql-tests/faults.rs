//! What no `kill -9` shows: stored files that are damaged, and servers that are not alone.
//!
//! Each test has real files and real processes; the server must say what is wrong, in the job or view that it is about,
//! and never answer wrongly.

#![expect(clippy::disallowed_methods, reason = "tests have patience, which ends by the clock")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::server::{LOOK_AGAIN, Row, Server, query, told};
use crate::tally::Tally;

const PATIENCE: Duration = Duration::from_secs(60);

/// Rows of the source. With one key each they are state of some megabytes, which is written to files of its own.
const ROWS: u64 = 100_000;

/// Room for the state of both, some times.
const DISK_MEGABYTES: u32 = 64;

/// What stops, or answers: each is in a pipeline of its own.
const STATES: &str = "SELECT 'view', state, reason, input_rows FROM tidemill.materialized_views
    UNION ALL SELECT 'job', state, reason, input_rows FROM tidemill.jobs";

/// Folders of a pipeline in the store, whose files are damaged one by one.
const FOLDERS: &[&str] = &["commit", "delta", "merged"];

pub fn run(tally: &mut Tally) {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return tally.fail(e),
    };
    let mut test = |name: &str, outcome: &dyn Fn() -> Result<(), String>| {
        if tally.wants(name) {
            tally.count(name, outcome());
        }
    };
    test("faults::flipped_bits", &|| runtime.block_on(flipped_bits()));
    test("faults::two_on_one_directory", &|| runtime.block_on(two_on_one_directory()));
    test("faults::a_zombie_wakes", &|| runtime.block_on(a_zombie_wakes()));
    test("faults::a_full_disk", &|| runtime.block_on(a_full_disk()));
}

/// In each stored file one bit is flipped, and a server started on that: it has the right answer, or what it has not is
/// stopped with an error that names the file.
async fn flipped_bits() -> Result<(), String> {
    let dir = folder()?;
    let data = dir.path().join("data");
    {
        let mut server = Server::start(&data, &[], None)?;
        let client = server.connect().await?;
        // Paced, for many epochs: their deltas are merged.
        create(&client, dir.path(), "'rows-per-second' = '50000',").await?;
        finished(&client).await?;
        // In good order: all of it is stored.
        server.process.signal("TERM")?;
        if server.ended_within(PATIENCE).await? != Some(Some(0)) {
            return Err("the server does not stop in good order".into());
        }
    }
    let mut noticed: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files_below(&data.join("store"))? {
        let Some(folder) = FOLDERS.iter().find(|folder| file.parent().is_some_and(|parent| parent.ends_with(folder)))
        else {
            continue;
        };
        // A server that starts makes a commit: each is to find what the first one left.
        let copied = dir.path().join("copy");
        copy(&data, &copied)?;
        let place = copied.join(file.strip_prefix(&data).map_err(|e| e.to_string())?);
        let mut content = fs::read(&place).map_err(|e| e.to_string())?;
        let middle = content.len() / 2;
        if let Some(byte) = content.get_mut(middle) {
            *byte ^= 1 << 3;
        }
        fs::write(&place, content).map_err(|e| e.to_string())?;
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let stopped = right_or_stopped(&copied, &name).await.map_err(|e| format!("{}: {e}", file.display()))?;
        *noticed.entry(folder).or_default() += usize::from(stopped);
        fs::remove_dir_all(&copied).map_err(|e| e.to_string())?;
    }
    println!("faults::flipped_bits: noticed in {noticed:?}");
    let of = |folders: &[&str]| folders.iter().filter_map(|folder| noticed.get(folder)).sum::<usize>();
    // How much of the state is merged by then is a matter of time.
    match of(&["commit"]) > 0 && of(&["delta", "merged"]) > 0 {
        true => Ok(()),
        false => Err(format!("damage was not noticed: {noticed:?}")),
    }
}

/// Whether something was stopped because of the file of that name. What was not stopped must be right.
async fn right_or_stopped(data: &Path, name: &str) -> Result<bool, String> {
    let server = Server::start(data, &[], None)?;
    let client = server.connect().await?;
    let states = finished(&client).await?;
    let failed: Vec<&Row> = states.iter().filter(|row| text(row, 1) == "FAILED").collect();
    if let Some(row) = failed.iter().find(|row| !text(row, 2).contains(name)) {
        return Err(format!("it is not named: {row:?}"));
    }
    if !failed.iter().any(|row| text(row, 0) == "view") {
        right(&client).await?;
    }
    Ok(!failed.is_empty())
}

async fn two_on_one_directory() -> Result<(), String> {
    let dir = folder()?;
    let data = dir.path().join("data");
    let first = Server::start(&data, &[], None)?;
    let client = first.connect().await?;
    let mut second = Server::start(&data, &[], None)?;
    match second.ended_within(PATIENCE).await? {
        Some(Some(3)) => {}
        other => return Err(format!("the second server ended with {other:?}")),
    }
    query(&client, "SELECT 1").await.map(drop)
}

/// A server is frozen, another takes over its store with a copy of its data directory, and the first one wakes: it is told
/// that it is not the owner any more, and the answers of the second one are right.
async fn a_zombie_wakes() -> Result<(), String> {
    let dir = folder()?;
    let store = format!("file://{}", dir.path().join("store").display());
    let (old_data, new_data) = (dir.path().join("old"), dir.path().join("new"));
    let old = Server::start(&old_data, &["--store", &store], None)?;
    let client = old.connect().await?;
    create(&client, dir.path(), "'rows-per-second' = '20000',").await?;
    until(&client, "some rows are read", |states| states.iter().all(|row| text(row, 1) != "STARTING")).await?;
    old.process.signal("STOP")?;

    copy(&old_data, &new_data)?;
    let new = Server::start(&new_data, &["--store", &store], None)?;
    let new_client = new.connect().await?;
    until(&new_client, "both are owned", |states| {
        states.iter().all(|row| !matches!(text(row, 1), "STARTING" | "FAILED"))
    })
    .await?;
    old.process.signal("CONT")?;
    let states =
        until(&client, "the old one gives up", |states| states.iter().all(|row| text(row, 1) == "FAILED")).await?;
    if let Some(row) = states.iter().find(|row| !text(row, 2).contains("another process")) {
        return Err(format!("the old one does not say why: {row:?}"));
    }
    let states = finished(&new_client).await?;
    if let Some(row) = states.iter().find(|row| text(row, 1) == "FAILED") {
        return Err(format!("the new one failed, too: {row:?}"));
    }
    right(&new_client).await
}

/// The store's disk is full: what cannot be stored is not true, and the job that must not wait for it is started again and
/// again, until there is room.
async fn a_full_disk() -> Result<(), String> {
    let dir = folder()?;
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).map_err(|e| e.to_string())?;
    let store = format!("file://{}", disk.display());
    let server = Server::start_on_small_disk(&dir.path().join("data"), &["--store", &store], &disk, DISK_MEGABYTES)?;
    let client = server.connect().await?;
    create_with(
        &client,
        dir.path(),
        "'rows-per-second' = '20000',",
        "WITH ('epoch.timeout' = '2 s', 'epoch.tolerable-failures' = '0',
               'restart.exponential-delay.initial-backoff' = '100 ms', 'restart.exponential-delay.max-backoff' = '200 ms')",
    )
    .await?;
    until(&client, "both have begun", |states| states.iter().all(|row| text(row, 3) > "0")).await?;

    let filler = server.seen(&disk).join("filler");
    let mut file = fs::File::create(&filler).map_err(|e| format!("{}: {e}", filler.display()))?;
    let full = std::io::copy(&mut std::io::repeat(0), &mut file).expect_err("a disk without end");
    if full.kind() != std::io::ErrorKind::StorageFull {
        return Err(format!("the disk is not full but: {full}"));
    }
    let of_job = |states: &[Row], state: &str| states.iter().any(|row| text(row, 0) == "job" && text(row, 1) == state);
    let states = until(&client, "the job is started again", |states| of_job(states, "RESTARTING")).await?;
    if !states.iter().any(|row| text(row, 2).contains("No space left on device")) {
        return Err(format!("it is not told why: {states:?}"));
    }
    if states.iter().any(|row| text(row, 1) == "FAILED") {
        return Err(format!("something has given up: {states:?}"));
    }
    // As before: SELECTs are answered.
    query(&client, "SELECT count(*) FROM each").await?;

    // The space is free when nobody has it open.
    drop(file);
    fs::remove_file(&filler).map_err(|e| e.to_string())?;
    let states = finished(&client).await?;
    if let Some(row) = states.iter().find(|row| text(row, 1) == "FAILED") {
        return Err(format!("not got over: {row:?}"));
    }
    right(&client).await
}

fn folder() -> Result<tempfile::TempDir, String> {
    tempfile::tempdir().map_err(|e| e.to_string())
}

/// A view with much state, and a job.
async fn create(client: &Client, dir: &Path, rate: &str) -> Result<(), String> {
    create_with(client, dir, rate, "").await
}

async fn create_with(client: &Client, dir: &Path, rate: &str, job_options: &str) -> Result<(), String> {
    let statements = [
        format!(
            "CREATE SOURCE a (id BIGINT, v BIGINT) WITH ('connector' = 'generator', {rate} 'number-of-rows' = '{ROWS}',
             'fields.id.kind' = 'sequence', 'fields.v.min' = '0', 'fields.v.max' = '9')"
        ),
        "CREATE MATERIALIZED VIEW each AS SELECT id, count(*) AS n, sum(v) AS total FROM a GROUP BY id".into(),
        format!(
            "CREATE SINK out (g BIGINT, n BIGINT) WITH ('connector' = 'file', 'path' = '{}', 'format' = 'debezium-json')",
            dir.join("out").display()
        ),
        format!(
            "CREATE STREAMING JOB groups {job_options} AS INSERT INTO out SELECT id % 1000, count(*) FROM a GROUP BY id % 1000"
        ),
    ];
    for statement in statements {
        client.batch_execute(&statement).await.map_err(|e| format!("{statement}: {}", told(&e)))?;
    }
    Ok(())
}

/// Waits until the view and the job have read all, or failed.
async fn finished(client: &Client) -> Result<Vec<Row>, String> {
    until(client, "all input is read", |states| {
        let has_read_all = |row| text(row, 3) == ROWS.to_string();
        states
            .iter()
            .all(|row| text(row, 1) == "FAILED" || (matches!(text(row, 1), "READY" | "FINISHED") && has_read_all(row)))
    })
    .await
}

async fn until(client: &Client, what: &str, holds: impl Fn(&[Row]) -> bool) -> Result<Vec<Row>, String> {
    let began = Instant::now();
    loop {
        let states = query(client, STATES).await?;
        if states.len() == 2 && holds(&states) {
            return Ok(states);
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("not seen within {PATIENCE:?} that {what}: {states:?}"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The view's answer follows from the number of rows alone.
async fn right(client: &Client) -> Result<(), String> {
    let answer = query(client, "SELECT count(*), sum(n), min(id), max(id) FROM each").await?;
    let expected = [ROWS, ROWS, 1, ROWS].map(|n| Some(n.to_string())).to_vec();
    if answer == [expected] { Ok(()) } else { Err(format!("the view holds {answer:?}")) }
}

fn text(row: &Row, column: usize) -> &str {
    row.get(column).and_then(Option::as_deref).unwrap_or_default()
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?.flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    for file in files_below(from)? {
        let place = to.join(file.strip_prefix(from).map_err(|e| e.to_string())?);
        place.parent().map_or(Ok(()), fs::create_dir_all).map_err(|e| e.to_string())?;
        fs::copy(&file, &place).map_err(|e| e.to_string())?;
    }
    Ok(())
}
