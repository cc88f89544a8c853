use bytes::Bytes;

use super::segment::Input;
use super::*;
use crate::error::SqlState;

const FIXTURE: &[u8] = include_bytes!("../fixtures/run.v1");

type Owned = (Vec<u8>, Option<Vec<u8>>);

/// Bytes in pieces of that length.
struct Pieces(Bytes, usize);

impl Input for Pieces {
    fn next(&mut self) -> Result<Option<Bytes>> {
        let piece = self.0.split_to(self.1.min(self.0.len()));
        Ok(Some(piece).filter(|piece| !piece.is_empty()))
    }

    fn name(&self) -> String {
        "a file".to_string()
    }
}

fn all(mut cursor: impl Cursor) -> Result<Vec<Owned>> {
    let mut entries = Vec::new();
    while cursor.advance()? {
        entries.push((cursor.key().to_vec(), cursor.value().map(<[u8]>::to_vec)));
    }
    Ok(entries)
}

fn read(bytes: &[u8], piece: usize) -> Result<Vec<Owned>> {
    all(SegmentReader::new(Pieces(Bytes::copy_from_slice(bytes), piece)))
}

fn write(entries: &[Owned], segment_bytes: usize) -> Vec<Bytes> {
    let mut writer = RunWriter::with_limit(segment_bytes);
    let push = |(key, value): &Owned| writer.push(key, value.as_deref()).unwrap();
    let mut segments: Vec<Bytes> = entries.iter().filter_map(push).collect();
    segments.extend(writer.finish());
    assert_eq!(writer.entries(), entries.len() as u64);
    segments
}

fn entry(key: &str, value: Option<&str>) -> Owned {
    (key.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec()))
}

/// Keys that share much, values of all lengths, some of them gone.
fn many(count: usize) -> Vec<Owned> {
    let value = |i: usize| (!i.is_multiple_of(7)).then(|| vec![i as u8; i % 300]);
    (0..count).map(|i| (format!("member 1, operator 2, key {i:08}").into_bytes(), value(i))).collect()
}

/// Version 1 as it was first written. A change here is a new version beside it, not a new fixture.
#[test]
fn version_1_is_read_and_written() {
    let entries = [entry("", Some("the empty key")), entry("a", None), entry("ab", Some("")), entry("b", Some("last"))];
    let segments = write(&entries, 1 << 20);
    if std::env::var_os("TIDEMILL_BLESS").is_some() && FIXTURE.is_empty() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/checkpoint/fixtures/run.v1");
        std::fs::write(path, &segments[0]).unwrap();
    }
    assert_eq!(read(FIXTURE, 1000).unwrap(), entries);
    assert_eq!(segments, [FIXTURE]);
}

#[test]
fn entries_survive_whatever_the_pieces() {
    let entries = many(5_000);
    let segments = write(&entries, 200_000);
    assert!(segments.len() > 2, "{} segments", segments.len());
    for piece in [1, 7, 4096, usize::MAX] {
        let read: Vec<Owned> = segments.iter().flat_map(|segment| read(segment, piece).unwrap()).collect();
        assert!(read == entries, "in pieces of {piece}");
    }
    assert!(write(&[], 1000).is_empty());
}

#[test]
fn keys_share_their_beginnings() {
    let bytes: usize = write(&many(5_000), usize::MAX).iter().map(Bytes::len).sum();
    let values: usize = many(5_000).iter().map(|(_, value)| value.as_ref().map_or(0, Vec::len)).sum();
    assert!(bytes < values + 5_000 * 12, "{bytes} bytes for {values} of values");
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let whole = read(FIXTURE, 1000).unwrap();
    for at in 0..FIXTURE.len() {
        for bit in 0..8 {
            let mut bytes = FIXTURE.to_vec();
            bytes[at] ^= 1 << bit;
            let error = read(&bytes, 1000).unwrap_err();
            assert_eq!(error.state(), SqlState::DataCorrupted, "byte {at}, bit {bit}");
        }
        assert!(read(&FIXTURE[..at], 1000).is_err(), "cut at {at}");
    }
    let mut longer = FIXTURE.to_vec();
    longer.push(0);
    assert!(read(&longer, 1000).is_err());
    assert_eq!(read(FIXTURE, 1000).unwrap(), whole);
}

#[test]
fn entries_out_of_order_are_refused() {
    for (first, second) in [("b", "a"), ("a", "a"), ("a", "")] {
        let mut writer = RunWriter::new();
        writer.push(first.as_bytes(), None).unwrap();
        let error = writer.push(second.as_bytes(), None).unwrap_err();
        assert_eq!(error.message(), "entries of state do not come in the order of their keys");
    }
}

#[test]
fn the_last_of_equal_keys_counts() {
    let entries = vec![entry("b", Some("1")), entry("a", Some("2")), entry("b", None), entry("a", Some("3"))];
    assert_eq!(all(SortedEntries::sort(entries)).unwrap(), [entry("a", Some("3")), entry("b", None)]);
}

/// Against a map, for many runs of many lengths.
#[test]
fn the_newest_entry_of_a_key_wins() {
    let mut seed = 1u64;
    let mut next = |limit: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % limit
    };
    for runs in 0..40 {
        let mut expected = std::collections::BTreeMap::new();
        let mut cursors: Vec<Box<dyn Cursor>> = Vec::new();
        for run in 0..runs {
            let mut entries = Vec::new();
            for _ in 0..next(50) {
                let value = (next(3) > 0).then(|| format!("{run}"));
                entries.push(entry(&format!("{:02}", next(60)), value.as_deref()));
            }
            expected.extend(entries.iter().cloned());
            cursors.push(Box::new(SortedEntries::sort(entries)));
        }
        let expected: Vec<Owned> = expected.into_iter().collect();
        let merged = all(Merged::new(cursors)).unwrap();
        assert_eq!(merged, expected, "{runs} runs");
        let live: Vec<Owned> = expected.iter().filter(|(_, value)| value.is_some()).cloned().collect();
        assert_eq!(all(WithoutGone(SortedEntries::sort(expected))).unwrap(), live, "{runs} runs");
    }
}

#[test]
fn a_batch_gives_back_its_entries() {
    let mut entries = Entries::default();
    for (key, value) in [("a", "1"), ("", ""), ("key", "value")] {
        entries.push(key.as_bytes(), value.as_bytes());
    }
    let read: Vec<_> = entries.iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
    assert_eq!(read, [("a", "1"), ("", ""), ("key", "value")].map(|(k, v)| (k.into(), v.into())));
    assert_eq!((entries.len(), entries.bytes()), (3, 10));
}
