//! Pipelines taken down between two ticks, at every one of them, and gone on with.

use super::*;
use crate::pipeline::image::{CoreImage, Life};

/// Entries of state, as whoever keeps them has them.
type Entries = BTreeMap<(Life, Vec<u8>), Vec<u8>>;

impl Bench {
    /// Hands out what was frozen, a few bytes at a time.
    fn drain(&mut self, entries: &mut Entries) {
        while !self.drain_piece(entries) {}
    }

    fn drain_piece(&mut self, entries: &mut Entries) -> bool {
        let drained = self.core.drain_frozen(10, &mut |life, key, value| {
            let key = (life, key.to_vec());
            match value {
                Some(value) => drop(entries.insert(key, value.to_vec())),
                None => drop(entries.remove(&key)),
            }
            Ok(())
        });
        drained.unwrap()
    }

    /// A pipeline over the same sources that goes on from an image; `members` adds what there is.
    fn resumed(&self, image: &CoreImage, policy: CutPolicy, entries: &Entries, members: fn(&mut Bench)) -> Bench {
        let image = CoreImage::from_bytes(&image.to_bytes().unwrap()).unwrap();
        let (sources, budget) = (Arc::clone(&self.sources), Budget::new());
        let core = Core::resumed(image, policy, opener(&sources));
        let mut other = Bench { core, sources, budget, parallelism: 3 };
        members(&mut other);
        assert!(other.tick().is_none(), "it does not tick yet");
        for ((life, key), value) in entries {
            other.core.restore(*life, key, value).unwrap();
        }
        other.core.begin();
        other
    }
}

fn two_views(bench: &mut Bench) {
    bench.view(1, "s", &[0, 0]);
    bench.view(2, "s", &[2, 0]);
}

/// Two views, one of which catches up with the other: wherever they are taken down, they come to the same.
#[test]
fn it_goes_on_as_if_nothing_had_happened_wherever_it_was() {
    for ticks in 1..12 {
        let mut bench = Bench::new(TINY);
        bench.source("s", 2, &[&[1, 2, 3, 4, 5, 6, 7], &[10, 20, 30, 40]]);
        bench.view(1, "s", &[0, 0]);
        bench.tick();
        bench.view(2, "s", &[2, 0]);
        let mut entries = Entries::new();
        for _ in 0..ticks {
            bench.tick();
            bench.core.freeze().unwrap();
            bench.drain(&mut entries);
        }
        let image = bench.core.freeze().unwrap();
        bench.drain(&mut entries);
        let mut other = bench.resumed(&image, WHOLE, &entries, two_views);
        assert_eq!(other.core.tick(), bench.core.tick());
        assert_eq!(other.core.readings().count(), bench.core.readings().count());
        assert_eq!((other.rows(1), other.rows(2)), (bench.rows(1), bench.rows(2)));
        other.run();
        bench.run();
        assert_eq!(other.rows(1), [1, 2, 3, 4, 5, 6, 7, 10, 20, 30, 40]);
        assert_eq!((other.rows(1), other.rows(2)), (bench.rows(1), bench.rows(2)));
        assert_eq!(other.core.readings().count(), 1);
        let counters = |bench: &Bench| bench.core.members()[0].stats.counters;
        assert_eq!(counters(&other), counters(&bench));
    }
}

/// Each number once, so whoever forgets that it has come gives it twice.
fn distinct(bench: &mut Bench) {
    let plan = "#0 scan s [0] -> (n bigint) append_only
#1 aggregate keys [0] calls [] <- #0 by [0] -> (n bigint) append_only key [0]
output #1 view";
    bench.add(1, plan, Some(View::new(schema_of(&columns()), None, true)), &[0]);
}

#[test]
fn keyed_state_finds_its_shard_at_another_parallelism() {
    let numbers: Vec<i64> = (0..60).chain(50..60).collect();
    let mut bench = Bench::new(CutPolicy { tick_chunks: 1, ..WHOLE });
    bench.source("s", 50, &[&numbers]);
    distinct(&mut bench);
    bench.tick();
    let (image, mut entries) = (bench.core.freeze().unwrap(), Entries::new());
    bench.drain(&mut entries);
    assert_eq!((bench.rows(1).len(), entries.len()), (50, 100), "of each number its group, and its row");
    let mut other = bench.resumed(&image, WHOLE, &entries, distinct);
    other.run();
    assert_eq!(other.rows(1), (0..60).collect::<Vec<_>>());
    let mut forgetful = bench.resumed(&image, WHOLE, &Entries::new(), distinct);
    forgetful.run();
    assert_ne!(forgetful.rows(1), other.rows(1), "it is the entries that tell");
}

/// What is handed out late is the state at the freeze all the same.
#[test]
fn entries_may_be_handed_out_between_later_ticks() {
    let mut bench = Bench::new(TINY);
    bench.source("s", 1, &[&[1, 2, 3, 4, 5, 6, 7, 8, 9]]);
    bench.view(1, "s", &[0]);
    (0..3).for_each(|_| drop(bench.tick()));
    let (then, image, mut entries) = (bench.rows(1), bench.core.freeze().unwrap(), Entries::new());
    assert!(bench.core.freeze().is_err(), "not all is out");
    while !bench.drain_piece(&mut entries) {
        bench.tick();
    }
    assert!(bench.rows(1).len() > then.len());
    let mut other = bench.resumed(&image, TINY, &entries, |bench| bench.view(1, "s", &[0]));
    assert_eq!(other.rows(1), then);
    other.run();
    assert_eq!(other.rows(1), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

/// One that is removed while it is handed out still is; and then it is nobody's.
#[test]
fn who_comes_and_goes() {
    let mut bench = Bench::new(WHOLE);
    bench.source("s", 1, &[&[1, 2, 3]]);
    bench.view(1, "s", &[0]);
    bench.view(2, "s", &[0]);
    bench.run();
    let (image, mut entries) = (bench.core.freeze().unwrap(), Entries::new());
    bench.core.remove(ObjectId(2));
    bench.drain(&mut entries);
    assert_eq!(image.lives().collect::<Vec<_>>(), [Life(1), Life(2)]);

    let mut again = bench.resumed(&image, WHOLE, &entries, |bench| {
        bench.view(1, "s", &[0]);
        bench.view(2, "s", &[0]);
    });
    assert_eq!(again.rows(2), [1, 2, 3], "as if it had not been removed");
    again.run();
    assert_eq!(again.rows(2), [1, 2, 3]);

    let mut other = bench.resumed(&image, WHOLE, &entries, |bench| {
        bench.view(1, "s", &[0]);
        bench.view(3, "s", &[1]);
    });
    assert_eq!((other.rows(1), other.rows(3)), (vec![1, 2, 3], vec![]), "the third begins anew");
    other.run();
    assert_eq!((other.rows(1), other.rows(3)), (vec![1, 2, 3], vec![2, 3]));
    let image = other.core.freeze().unwrap();
    assert_eq!(image.lives().collect::<Vec<_>>(), [Life(1), Life(3)], "no life is given twice");
}

#[test]
fn who_has_failed_or_not_begun_is_not_in_an_image() {
    let mut bench = Bench::new(WHOLE);
    bench.source("bad", 1, &[&[1, -1]]);
    bench.source("good", 1, &[&[1]]);
    bench.view(1, "bad", &[0]);
    bench.run();
    bench.view(2, "good", &[0]);
    assert!(bench.core.members()[0].failed.is_some());
    assert_eq!(bench.core.freeze().unwrap().lives().count(), 0);
}

#[test]
fn another_plan_does_not_go_on_with_the_state() {
    let mut bench = Bench::new(WHOLE);
    bench.source("s", 1, &[&[1, 2, 3]]);
    bench.view(1, "s", &[0]);
    bench.run();
    let image = bench.core.freeze().unwrap();
    let mut other = Bench { core: Core::resumed(image, WHOLE, opener(&bench.sources)), ..Bench::new(WHOLE) };
    let new = other.new_plan(1, "#0 scan s [0] -> (n bigint) append_only\noutput #0 view", None, &[0]);
    let error = other.core.add(NewPlan { fingerprint: Fingerprint::of("another"), ..new }).unwrap_err();
    assert_eq!(
        (error.state(), error.message()),
        (SqlState::DataCorrupted, "the state of \"v1\" belongs to another plan")
    );
}

/// Never edit the fixture: it is what version 1 wrote.
#[test]
fn version_1_is_read() {
    let fixture = include_str!("fixtures/image_1.json");
    let image = CoreImage::from_bytes(fixture.as_bytes()).unwrap();
    assert_eq!((image.tick, image.lives().collect::<Vec<_>>()), (7, vec![Life(2), Life(5)]));
    let written: serde_json::Value = serde_json::from_slice(&image.to_bytes().unwrap()).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(fixture).unwrap());
    let check = |text: String, why: &str| {
        let error = CoreImage::from_bytes(text.as_bytes()).unwrap_err();
        assert_eq!(error.state(), SqlState::DataCorrupted);
        assert!(error.message().contains(why), "{}", error.message());
    };
    check(fixture.replacen("\"version\": 1", "\"version\": 2", 1), "format 2 is not known here");
    check(fixture.replacen("\"tick\"", "\"tock\"", 1), "unknown field `tock`");
    check(fixture[..fixture.len() / 2].to_string(), "EOF");
}
