//! A commit as bytes, version 1:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `TMcommit` |
//! | 1 | version |
//! | varint, n | [`Commit`] as JSON |
//! | varint, n | the image, empty if there is none |
//! | varint, then each varint, n | small files that the commit carries |
//! | 32 | SHA-256 of all before |
//!
//! That SHA-256 is the commit's digest, by which the next commit names it.

use bytes::Bytes;

use super::commit::Commit;
use crate::change::bytes::{Reader, put_bytes, put_varint};
use crate::error::{Error, Result, SqlState};
use crate::store::Digest;

const MAGIC: &[u8; 8] = b"TMcommit";
const VERSION: u8 = 1;

/// A commit, and the bytes it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub commit: Commit,
    pub image: Bytes,
    pub within: Vec<Bytes>,
}

/// The commit as bytes, and its digest.
pub fn encode(commit: &Commit, image: &[u8], within: &[Bytes]) -> Result<(Bytes, Digest)> {
    let json = serde_json::to_vec(commit).map_err(|e| Error::internal(format!("a commit cannot be written: {e}")))?;
    let carried: usize = within.iter().map(|bytes| bytes.len() + 10).sum();
    let mut out = Vec::with_capacity(json.len() + image.len() + carried + 80);
    out.extend_from_slice(MAGIC);
    out.push(VERSION);
    put_bytes(&mut out, &json);
    put_bytes(&mut out, image);
    put_varint(&mut out, within.len() as u64);
    within.iter().for_each(|bytes| put_bytes(&mut out, bytes));
    let digest = Digest::of(&out);
    out.extend_from_slice(digest.as_bytes());
    Ok((out.into(), digest))
}

/// Reads commit `epoch`, and gives its digest.
///
/// # Errors
/// XX001 if it is damaged, of a version not known here, or another commit. The caller says which file it is.
pub fn decode(bytes: &Bytes, epoch: u64) -> Result<(Frame, Digest)> {
    let (body, written) = bytes.split_last_chunk::<{ Digest::BYTES }>().ok_or_else(|| damaged("it is too short"))?;
    let digest = Digest::of(body);
    if *digest.as_bytes() != *written {
        return Err(damaged("its SHA-256 is another one than it says"));
    }
    let mut reader = Reader::new(body);
    if reader.array::<8>()? != *MAGIC {
        return Err(damaged("it does not begin as commits do"));
    }
    reader.expect_version(VERSION, "commit")?;
    let commit: Commit = serde_json::from_slice(reader.bytes()?).map_err(|e| damaged(&e.to_string()))?;
    let image = bytes.slice_ref(reader.bytes()?);
    let pieces = reader.length()?;
    let within = (0..pieces).map(|_| Ok(bytes.slice_ref(reader.bytes()?))).collect::<Result<Vec<_>>>()?;
    if !reader.is_empty() || commit.image.unwrap_or(0) != image.len() as u64 {
        return Err(damaged("its parts are not as long as it says"));
    }
    if commit.epoch != epoch {
        return Err(damaged(&format!("it is commit {}", commit.epoch)));
    }
    Ok((Frame { commit, image, within }, digest))
}

fn damaged(why: &str) -> Error {
    Error::new(SqlState::DataCorrupted, format!("a commit is damaged: {why}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::commit::{OutboxRef, Place, ProcessId, Run, Stored};
    use super::*;
    use crate::connector::PartId;

    const FIXTURE: &[u8] = include_bytes!("fixtures/commit.v1");

    fn sample() -> Frame {
        let file = |name: &str, content: &[u8]| Stored {
            at: Place::File(name.into()),
            length: content.len() as u64,
            sha256: Digest::of(content),
        };
        let within = |epoch, index, content: &[u8]| Stored {
            at: Place::Within(epoch, index),
            length: content.len() as u64,
            sha256: Digest::of(content),
        };
        let id = |epoch, part| PartId { epoch, part };
        let commit = Commit {
            epoch: 7,
            generation: 2,
            process: ProcessId(0x0123_4567_89ab_cdef),
            previous: Some(Digest::of(b"the commit before")),
            fingerprint: "plan of three operators".into(),
            image: Some(5),
            base: Some(Run {
                files: vec![file("base/1", b"base, one"), file("base/2", b"base, two")],
                entries: 9,
                level: 2,
            }),
            deltas: vec![
                Run { files: vec![within(6, 0, b"delta of six")], entries: 2, level: 0 },
                Run { files: vec![within(7, 0, b"delta of seven")], entries: 1, level: 0 },
            ],
            outbox: vec![OutboxRef { sink: "out \"1\"".into(), id: id(7, 0), stored: within(7, 1, b"rows") }],
            delivered: BTreeMap::from([("out \"1\"".to_string(), id(6, 3))]),
        };
        let within = vec![Bytes::from_static(b"delta of seven"), Bytes::from_static(b"rows")];
        Frame { commit, image: Bytes::from_static(b"image"), within }
    }

    /// Version 1 as it was first written. A change here is a new version beside it, not a new fixture.
    #[test]
    fn version_1_is_read_and_written() {
        let frame = sample();
        let (bytes, digest) = encode(&frame.commit, &frame.image, &frame.within).unwrap();
        if std::env::var_os("TIDEMILL_BLESS").is_some() && FIXTURE.is_empty() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/checkpoint/fixtures/commit.v1");
            std::fs::write(path, &bytes).unwrap();
        }
        assert_eq!(decode(&Bytes::from_static(FIXTURE), 7).unwrap(), (frame, digest));
        assert_eq!(bytes, FIXTURE);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        for at in 0..FIXTURE.len() {
            for bit in 0..8 {
                let mut bytes = FIXTURE.to_vec();
                bytes[at] ^= 1 << bit;
                let error = decode(&bytes.into(), 7).unwrap_err();
                assert_eq!(error.state(), SqlState::DataCorrupted, "byte {at}, bit {bit}");
            }
            assert!(decode(&Bytes::copy_from_slice(&FIXTURE[..at]), 7).is_err(), "cut at {at}");
        }
    }

    /// Whole by its hash, and still not what it should be.
    #[test]
    fn strange_commits_are_refused() {
        let rehashed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut body = FIXTURE[..FIXTURE.len() - Digest::BYTES].to_vec();
            change(&mut body);
            let digest = Digest::of(&body);
            body.extend_from_slice(digest.as_bytes());
            decode(&body.into(), 7).unwrap_err().message().to_string()
        };
        assert_eq!(rehashed(&|b| b[0] = b'x'), "a commit is damaged: it does not begin as commits do");
        assert_eq!(rehashed(&|b| b[8] = 9), "commit has unknown format version 9");
        assert_eq!(rehashed(&|b| b.push(0)), "a commit is damaged: its parts are not as long as it says");
        let error = decode(&Bytes::from_static(FIXTURE), 8).unwrap_err();
        assert_eq!(error.message(), "a commit is damaged: it is commit 7");
    }
}
