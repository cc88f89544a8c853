//! The agent over real stores: folders, with faults in front.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::checkpoint::frame;
use crate::checkpoint::names;
use crate::checkpoint::{Recovered, SortedEntries};
use crate::clock::{SharedTimer, SystemClock};
use crate::error::SqlState;
use crate::store::faulty::{Asked, Fault};
use crate::store::tests::file_store;

const PATH: &str = "pipelines/job-7";

type State = BTreeMap<String, String>;

fn timer() -> SharedTimer {
    Arc::new(SystemClock)
}

fn folder() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = file_store(folder.path());
    (folder, store)
}

async fn open(store: &Store, process: u128) -> Result<(Checkpoints, Option<Recovered>), EpochError> {
    let options = EpochOptions { timeout: Duration::from_secs(20), ..EpochOptions::default() };
    Checkpoints::open(store.clone(), PATH, ProcessId(process), options, timer()).await
}

/// What changes: keys with values, or gone.
fn content(image: &str, changes: &[(&str, Option<&str>)]) -> EpochContent {
    let entries = changes.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.map(|v| v.as_bytes().to_vec()))).collect();
    EpochContent {
        fingerprint: "a plan".into(),
        image: Bytes::copy_from_slice(image.as_bytes()),
        delta: Box::new(SortedEntries::sort(entries)),
        outbox: Vec::new(),
        delivered: BTreeMap::new(),
    }
}

fn part(epoch: u64, part: u32, bytes: &str) -> OutboxPart {
    OutboxPart { sink: "out".into(), id: PartId { epoch, part }, bytes: Bytes::copy_from_slice(bytes.as_bytes()) }
}

async fn state_of(recovered: &mut Recovered) -> Result<State, EpochError> {
    let mut state = State::new();
    while let Some(entries) = recovered.state.next().await? {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        state.extend(entries.iter().map(|(key, value)| (text(key), text(value))));
    }
    Ok(state)
}

/// Opens anew, and gives image, state and outbox.
async fn recover(store: &Store, process: u128) -> Result<(String, State, Vec<OutboxPart>), EpochError> {
    let (_, recovered) = open(store, process).await?;
    let mut recovered = recovered.expect("there was an epoch");
    assert_eq!(recovered.fingerprint, "a plan");
    let state = state_of(&mut recovered).await?;
    let mut outbox = Vec::new();
    while let Some(part) = recovered.outbox.next().await? {
        outbox.push(part);
    }
    Ok((String::from_utf8_lossy(&recovered.image).into_owned(), state, outbox))
}

fn state(entries: &[(&str, &str)]) -> State {
    entries.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

#[tokio::test]
async fn what_was_committed_is_recovered() {
    let (_folder, store) = folder();
    let (mut log, recovered) = open(&store, 1).await.unwrap();
    assert!(recovered.is_none());
    assert_eq!(log.next_epoch(), 2, "the first commit is the generation's own");
    log.commit(content("one", &[("a", Some("1")), ("b", Some("2"))])).await.unwrap();
    let mut second = content("two", &[("a", None), ("c", Some("3"))]);
    second.outbox = vec![part(3, 0, "first"), part(3, 1, "second")];
    let committed = log.commit(second).await.unwrap();
    assert_eq!((committed.epoch, committed.outbox_bytes), (3, 11));
    let mut third = content("three", &[]);
    third.delivered.insert("out".into(), PartId { epoch: 3, part: 0 });
    log.commit(third).await.unwrap();
    assert_eq!(log.status().outbox_parts, 1);
    drop(log);
    // Twice: opening changes nothing.
    for process in [2, 3] {
        let (image, recovered, outbox) = recover(&store, process).await.unwrap();
        assert_eq!(image, "three");
        assert_eq!(recovered, state(&[("b", "2"), ("c", "3")]));
        assert_eq!(outbox, [part(3, 1, "second")]);
    }
}

#[tokio::test]
async fn a_log_that_was_opened_and_never_used_has_nothing_to_recover() {
    let (_folder, store) = folder();
    for process in 1..4 {
        assert!(open(&store, process).await.unwrap().1.is_none());
    }
}

#[tokio::test]
async fn an_older_process_is_fenced() {
    let (_folder, store) = folder();
    let (mut older, _) = open(&store, 1).await.unwrap();
    older.commit(content("older", &[("a", Some("1"))])).await.unwrap();
    let (mut newer, _) = open(&store, 2).await.unwrap();
    let Err(EpochError::Fenced(error)) = older.commit(content("older still", &[("a", Some("2"))])).await else {
        panic!("not fenced");
    };
    assert_eq!(error.state(), SqlState::ObjectNotInPrerequisiteState);
    assert_eq!(error.message(), "another process runs this pipeline");
    assert!(older.commit(content("again", &[])).await.is_err(), "it is over");
    newer.commit(content("newer", &[("b", Some("3"))])).await.unwrap();
    assert_eq!(recover(&store, 3).await.unwrap().1, state(&[("a", "1"), ("b", "3")]));
}

/// A process that was frozen while its next commit's name was taken, used, and collected again.
#[tokio::test]
async fn a_zombie_that_finds_its_name_free_again_is_fenced() {
    let (_folder, store) = folder();
    let (mut zombie, _) = open(&store, 1).await.unwrap();
    zombie.commit(content("zombie", &[("a", Some("1"))])).await.unwrap();
    let (mut newer, _) = open(&store, 2).await.unwrap();
    // Merging takes the place of what lies within old commits, so that they can go.
    for i in 0..80 {
        newer.commit(content(&format!("newer {i}"), &[("b", Some("2"))])).await.unwrap();
        settle(&mut newer).await;
    }
    let taken = store.get(&format!("{PATH}/{}", names::commit(3))).await.unwrap();
    assert_eq!(taken, None, "the name that the zombie wants is free");
    assert!(matches!(zombie.commit(content("late", &[("a", Some("9"))])).await, Err(EpochError::Fenced(_))));
    let (image, recovered, _) = recover(&store, 3).await.unwrap();
    assert_eq!((image.as_str(), recovered), ("newer 79", state(&[("a", "1"), ("b", "2")])));
}

/// Waits for what is under way in the background.
async fn settle(log: &mut Checkpoints) {
    for event in log.background.all_done().await {
        log.tell(event).await.unwrap();
    }
}

/// Deltas become fewer, and then a base, without a change of what they say; what nothing names is gone.
#[tokio::test]
async fn runs_are_merged_and_old_files_collected() {
    let (_folder, store) = folder();
    let (mut log, _) = open(&store, 1).await.unwrap();
    let mut expected = State::new();
    let large = "x".repeat(30_000);
    for i in 0..120u32 {
        let (changed, gone) = (format!("key {:03}", i % 50), format!("key {:03}", (i + 7) % 50));
        let value = format!("{i} {large}");
        log.commit(content("image", &[(&changed, Some(&value)), (&gone, None)])).await.unwrap();
        settle(&mut log).await;
        expected.insert(changed, value);
        expected.remove(&gone);
        assert!(log.status().deltas < 80, "{} deltas", log.status().deltas);
    }
    assert!(log.status().base_bytes > 0);
    settle(&mut log).await;
    let files = store.list(PATH).await.unwrap();
    let named = log.newest().unwrap().files().count();
    let commits = files.iter().filter(|file| file.path.contains("/commit/")).count();
    assert!(commits < 80, "{commits} commits");
    // What the commit before names may go with the next one.
    assert!(files.len() - commits <= named + 40, "{files:?}");
    drop(log);
    assert!(recover(&store, 2).await.unwrap().1 == expected);
}

/// What is too large for a commit has files, and several if it must.
#[tokio::test]
async fn large_deltas_and_parts_have_files() {
    let (_folder, store) = folder();
    let (mut log, _) = open(&store, 1).await.unwrap();
    let keys: Vec<String> = (0..40).map(|i| format!("key {i:03}")).collect();
    let value = "v".repeat(1 << 20);
    let changes: Vec<(&str, Option<&str>)> = keys.iter().map(|key| (key.as_str(), Some(value.as_str()))).collect();
    let mut large = content("image", &changes);
    let text = "p".repeat(100_000);
    large.outbox = vec![part(2, 0, &text), part(2, 1, "small")];
    let committed = log.commit(large).await.unwrap();
    assert!(committed.state_bytes > 40 << 20 && committed.commit_bytes < 10_000, "{committed:?}");
    let newest = log.newest().unwrap();
    assert_eq!((newest.deltas[0].files.len(), newest.files().count()), (3, 4));
    let (_, recovered, outbox) = recover(&store, 2).await.unwrap();
    assert!(recovered.len() == 40 && recovered.values().all(|v| *v == value));
    assert_eq!(outbox, [part(2, 0, &text), part(2, 1, "small")]);
}

/// What waits long for its sink lies in files, so that old commits can go.
#[tokio::test]
async fn a_sink_that_is_away_does_not_keep_the_whole_log() {
    let (_folder, store) = folder();
    let (mut log, _) = open(&store, 1).await.unwrap();
    for i in 0..200 {
        let mut epoch = content("image", &[("a", Some("1"))]);
        epoch.outbox = vec![part(log.next_epoch(), 0, &i.to_string())];
        log.commit(epoch).await.unwrap();
        settle(&mut log).await;
    }
    let commits = store.list(&format!("{PATH}/commit")).await.unwrap().len();
    assert!(commits < 140, "{commits} commits");
    let (_, _, outbox) = recover(&store, 2).await.unwrap();
    let texts: Vec<String> = outbox.iter().map(|part| String::from_utf8_lossy(&part.bytes).into_owned()).collect();
    assert_eq!(texts, (0..200).map(|i| i.to_string()).collect::<Vec<_>>());
}

/// A store that fails, and one that loses answers, for each operation in turn.
#[tokio::test]
async fn failures_of_the_store_are_got_over() {
    for fault in [Fault::Fails, Fault::DiskFull, Fault::LosesAnswer] {
        for failing in 0..14 {
            let (_folder, store) = folder();
            let asked = AtomicUsize::new(0);
            let faulty = store.with_faults(move |_| (asked.fetch_add(1, Ordering::SeqCst) == failing).then_some(fault));
            let (mut log, _) = open(&faulty, 1).await.unwrap();
            let large = "x".repeat(100_000);
            log.commit(content("one", &[("a", Some(&large)), ("b", Some("1"))])).await.unwrap();
            log.commit(content("two", &[("b", Some("2"))])).await.unwrap();
            let (image, recovered, _) = recover(&store, 2).await.unwrap();
            assert_eq!(image, "two", "{fault:?} at {failing}");
            assert_eq!(recovered, state(&[("a", &large), ("b", "2")]), "{fault:?} at {failing}");
        }
    }
}

#[tokio::test]
async fn a_store_that_stays_away_ends_the_epoch_after_its_time() {
    for fault in [Fault::Fails, Fault::Hangs] {
        let (_folder, store) = folder();
        let is_away = Arc::new(AtomicUsize::new(0));
        let away = Arc::clone(&is_away);
        let faulty = store.with_faults(move |_| (away.load(Ordering::SeqCst) > 0).then_some(fault));
        let timeout = Duration::from_millis(100);
        let options = EpochOptions { timeout, tolerable_failures: 2, ..EpochOptions::default() };
        let opened = Checkpoints::open(faulty, PATH, ProcessId(1), options, timer()).await;
        let (mut log, _) = opened.unwrap();
        log.commit(content("one", &[("a", Some("1"))])).await.unwrap();
        is_away.store(1, Ordering::SeqCst);
        let Err(EpochError::Failed(error)) = log.commit(content("two", &[("a", Some("2"))])).await else {
            panic!("it became true");
        };
        assert!(error.message().starts_with("epoch 3 could not be made durable in time"), "{error:?}");
        assert_eq!(recover(&store, 2).await.unwrap().1, state(&[("a", "1")]));
    }
}

/// Whatever a commit names is there before it.
#[tokio::test]
async fn files_come_before_their_commit() {
    let (_folder, store) = folder();
    let written = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&written);
    let watched = store.with_faults(move |asked| {
        match asked {
            Asked::Put(path) | Asked::Create(path) => seen.lock().push(path.to_string()),
            _ => {}
        }
        None
    });
    let (mut log, _) = open(&watched, 1).await.unwrap();
    let large = "x".repeat(100_000);
    let mut epoch = content("one", &[("a", Some(&large))]);
    epoch.outbox = vec![part(2, 0, &large)];
    log.commit(epoch).await.unwrap();
    let order: Vec<String> = written.lock().iter().map(|path| path.split('/').nth(2).unwrap().to_string()).collect();
    assert_eq!(order, ["commit", "delta", "outbox", "commit"]);
}

/// A bit flipped in each kind of stored file: an error that names the file, and never another answer.
#[tokio::test]
async fn flipped_bits_are_found() {
    let (_folder, store) = folder();
    let (mut log, _) = open(&store, 1).await.unwrap();
    let large = "x".repeat(100_000);
    let mut epoch = content("one", &[("a", Some(&large)), ("b", Some("2"))]);
    epoch.outbox = vec![part(2, 0, &large)];
    log.commit(epoch).await.unwrap();
    drop(log);
    for kind in ["commit/", "delta/", "outbox/"] {
        for at in [0, 5, 9, 50, 70_000, 99_999] {
            let faulty = store.with_faults(move |asked| match asked {
                Asked::Get(path) if path.contains(kind) => Some(Fault::FlipsBit(at)),
                _ => None,
            });
            let Err(EpochError::Broken(error)) = recover(&faulty, 2).await else { panic!("{kind} {at}: not found") };
            assert_eq!(error.state(), SqlState::DataCorrupted);
            assert!(format!("{error:?}").contains(kind), "{kind} {at}: {error:?}");
        }
    }
}

#[tokio::test]
async fn what_is_missing_or_replaced_stops_the_pipeline() {
    let (_folder, store) = folder();
    let (mut log, _) = open(&store, 1).await.unwrap();
    let large = "x".repeat(100_000);
    log.commit(content("one", &[("a", Some(&large))])).await.unwrap();
    log.commit(content("two", &[("b", Some("2"))])).await.unwrap();
    drop(log);
    let commit = |epoch| format!("{PATH}/{}", names::commit(epoch));
    let before = store.get(&commit(2)).await.unwrap().unwrap();
    let (frame, _) = frame::decode(&before, 2).unwrap();
    let (forged, _) = frame::encode(&frame.commit, b"eno", &frame.within).unwrap();
    store.put(&commit(2), forged).await.unwrap();
    let Err(EpochError::Broken(error)) = recover(&store, 2).await else { panic!("not noticed") };
    assert_eq!(error.message(), "commit 3 does not follow on commit 2 as it is now");
    store.delete(&commit(2)).await.unwrap();
    let Err(EpochError::Broken(error)) = recover(&store, 2).await else { panic!("not noticed") };
    assert_eq!(error.message(), "commit 2 is missing");
    store.put(&commit(2), before).await.unwrap();
    let file = store.list(&format!("{PATH}/delta")).await.unwrap();
    store.delete(&file[0].path).await.unwrap();
    let Err(EpochError::Broken(error)) = recover(&store, 2).await else { panic!("not noticed") };
    assert!(error.message().ends_with("is missing"), "{error:?}");
}

/// Files that a process left behind without a commit are gone when the next one runs; its own stay.
#[tokio::test]
async fn strays_are_collected() {
    let (_folder, store) = folder();
    let (mut log, _) = open(&store, 1).await.unwrap();
    let large = "x".repeat(100_000);
    log.commit(content("one", &[("a", Some(&large))])).await.unwrap();
    let stray = |generation| {
        format!("{PATH}/{}", names::file(names::FileKind::Delta, generation, 3, &crate::store::Digest::of(b"stray")))
    };
    for generation in [1, 2, 3] {
        store.put(&stray(generation), Bytes::from_static(b"stray")).await.unwrap();
    }
    let (mut log, _) = open(&store, 2).await.unwrap();
    settle(&mut log).await;
    settle(&mut log).await;
    let left = store.list(&format!("{PATH}/delta")).await.unwrap();
    let strays: Vec<_> = left.iter().filter(|file| file.bytes == 5).map(|file| file.path.clone()).collect();
    assert_eq!(strays, [stray(2), stray(3)]);
    assert_eq!(recover(&store, 3).await.unwrap().1, state(&[("a", &large)]));
}

/// Every step fails now and then, or is done and not answered.
#[tokio::test]
async fn a_store_that_fails_now_and_then_does_as_well() {
    let (_folder, store) = folder();
    let asked = AtomicUsize::new(0);
    let faulty = store.with_faults(move |_| match asked.fetch_add(1, Ordering::SeqCst) % 9 {
        2 => Some(Fault::Fails),
        5 => Some(Fault::LosesAnswer),
        _ => None,
    });
    let (mut log, _) = open(&faulty, 1).await.unwrap();
    let large = "x".repeat(100_000);
    for i in 0..10 {
        let mut epoch = content(&format!("{i}"), &[("a", Some(&large)), ("b", Some(&i.to_string()))]);
        epoch.outbox = vec![part(log.next_epoch(), 0, &large)];
        epoch.delivered.insert("out".into(), PartId { epoch: log.next_epoch() - 1, part: 0 });
        log.commit(epoch).await.unwrap();
    }
    let last = log.next_epoch() - 1;
    let (mut newer, _) = open(&store, 2).await.unwrap();
    assert!(matches!(log.commit(content("late", &[])).await, Err(EpochError::Fenced(_))));
    newer.commit(content("newer", &[("c", Some("3"))])).await.unwrap();
    let (image, recovered, outbox) = recover(&faulty, 3).await.unwrap();
    assert_eq!((image.as_str(), recovered), ("newer", state(&[("a", &large), ("b", "9"), ("c", "3")])));
    assert_eq!(outbox, [part(last, 0, &large)]);
}

/// Many processes at once: one at a time owns the pipeline, and what it was told is true is found by the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_processes_do_not_lose_each_others_epochs() {
    let (_folder, store) = folder();
    let racing = (1..=6u128).map(|process| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            let (mut log, _) = open(&store, process).await.unwrap();
            for i in 0..5 {
                let key = format!("{process} {i}");
                match log.commit(content("image", &[(&key, Some("x"))])).await {
                    Ok(_) => acknowledged.push(key),
                    Err(EpochError::Fenced(_)) => break,
                    Err(other) => panic!("{other:?}"),
                }
            }
            acknowledged
        })
    });
    let acknowledged: Vec<String> =
        futures::future::join_all(racing).await.into_iter().flat_map(Result::unwrap).collect();
    let (_, recovered, _) = recover(&store, 100).await.unwrap();
    assert!(acknowledged.iter().all(|key| recovered.contains_key(key)), "{acknowledged:?} of {recovered:?}");
    assert!(!acknowledged.is_empty());
}
