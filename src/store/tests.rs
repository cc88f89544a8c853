//! Every kind of store does the same.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::faulty::{Asked, Fault};
use super::*;
use crate::error::SqlState;

pub fn file_store(folder: &Path) -> Store {
    let url = StoreUrl::parse(&format!("file://{}", folder.display())).unwrap();
    Store::open(&url).unwrap()
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn paths(listed: Vec<Listed>) -> Vec<(String, u64)> {
    listed.into_iter().map(|file| (file.path, file.bytes)).collect()
}

/// All that a store promises.
async fn keeps_its_promises(store: Store) {
    assert_eq!(store.get("a/one").await.unwrap(), None);
    assert_eq!(store.list("a").await.unwrap(), []);
    assert_eq!(store.create("a/one", bytes("first")).await.unwrap(), Created::Created);
    assert_eq!(store.create("a/one", bytes("second")).await.unwrap(), Created::Exists);
    assert_eq!(store.get("a/one").await.unwrap(), Some(bytes("first")), "the first one stays");
    store.put("a/b/two", bytes("old")).await.unwrap();
    store.put("a/b/two", bytes("something new")).await.unwrap();
    assert_eq!(store.get("a/b/two").await.unwrap(), Some(bytes("something new")));
    store.put("ab", bytes("not in folder a")).await.unwrap();
    for (range, expected) in [(0..3, "som"), (10..13, "new"), (10..99, "new"), (4..4, "")] {
        assert_eq!(store.get_range("a/b/two", range).await.unwrap(), Some(bytes(expected)));
    }
    assert_eq!(store.get_range("a/none", 0..1).await.unwrap(), None);
    let all = [("a/b/two".to_string(), 13), ("a/one".to_string(), 5)];
    assert_eq!(paths(store.list("a").await.unwrap()), all);
    assert_eq!(paths(store.list_after("a", "a/b/two").await.unwrap()), all[1..]);
    assert_eq!(paths(store.list_after("a", "a/one").await.unwrap()), []);
    store.delete("a/one").await.unwrap();
    store.delete("a/one").await.unwrap();
    assert_eq!(paths(store.list("a").await.unwrap()), all[..1]);
    assert_eq!(store.create("a/one", bytes("again")).await.unwrap(), Created::Created, "the name is free again");
    let large = Bytes::from(vec![7u8; 5 << 20]);
    store.put("large", large.clone()).await.unwrap();
    assert!(store.get("large").await.unwrap() == Some(large));
    for strange in ["", "/", "a/", "/a", "a//b", "../a", "a/.hidden", "A", "a b"] {
        assert_eq!(store.get(strange).await.unwrap_err().state(), SqlState::InternalError, "{strange}");
    }
}

#[tokio::test]
async fn a_folder_keeps_its_promises() {
    let folder = tempfile::tempdir().unwrap();
    keeps_its_promises(file_store(&folder.path().join("not/there/yet"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_creators_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let store = file_store(folder.path());
    for round in 0..20 {
        let path = format!("race/{round}");
        let racing = (0..8).map(|racer| {
            let (store, path) = (store.clone(), path.clone());
            tokio::spawn(async move { (racer, store.create(&path, bytes(&racer.to_string())).await.unwrap()) })
        });
        let answers = futures::future::join_all(racing).await.into_iter().map(Result::unwrap);
        let won: Vec<i32> = answers.filter(|(_, created)| *created == Created::Created).map(|(r, _)| r).collect();
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(store.get(&path).await.unwrap(), Some(bytes(&won[0].to_string())));
    }
}

#[tokio::test]
async fn what_an_earlier_process_left_unfinished_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let unfinished = folder.path().join(".unfinished");
    std::fs::create_dir_all(&unfinished).unwrap();
    std::fs::write(unfinished.join("0-7"), "half").unwrap();
    let store = file_store(folder.path());
    store.put("file", bytes("whole")).await.unwrap();
    assert_eq!(std::fs::read_dir(&unfinished).unwrap().count(), 0);
}

#[tokio::test]
async fn errors_say_which_file_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = file_store(folder.path());
    std::fs::write(folder.path().join("file"), "in the way").unwrap();
    let error = store.put("file/below", bytes("x")).await.unwrap_err();
    assert_eq!(error.state(), SqlState::IoError);
    let message = format!("could not write \"{}/file/below\"", folder.path().display());
    assert!(error.message().starts_with(&message), "{error:?}");
    assert!(error.hint().is_some());
    let file = StoreUrl::File(folder.path().join("file"));
    assert!(Store::open(&file).unwrap_err().message().starts_with("could not open store"));
}

#[tokio::test]
async fn faults_happen_as_planned() {
    let folder = tempfile::tempdir().unwrap();
    let asked = AtomicUsize::new(0);
    let faults = [Some(Fault::Fails), Some(Fault::LosesAnswer), None, Some(Fault::FlipsBit(1)), None];
    let store = file_store(folder.path()).with_faults(move |asking| {
        assert!(matches!(asking, Asked::Create("a") | Asked::Get("a")), "{asking:?}");
        faults[asked.fetch_add(1, Ordering::SeqCst)]
    });
    assert!(store.create("a", bytes("one")).await.is_err());
    assert!(store.create("a", bytes("two")).await.is_err());
    assert_eq!(store.create("a", bytes("three")).await.unwrap(), Created::Exists, "it was done");
    assert_eq!(store.get("a").await.unwrap(), Some(bytes("tuo")));
    assert_eq!(store.get("a").await.unwrap(), Some(bytes("two")));
}
