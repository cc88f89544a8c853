//! How the files of a pipeline are named, within its folder.
//!
//! `commit/{epoch}` holds no generation: two generations compete for one name, and one of them wins. All other files
//! are named by generation, epoch and content, so that whatever an older life of the pipeline still writes is in nobody's way.

use crate::store::Digest;

/// The folder of commits.
pub const COMMITS: &str = "commit";

/// What a file that is no commit holds; the name of its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// What an epoch changed.
    Delta,
    /// Deltas merged into one, or all state.
    Merged,
    /// A part of an outbox.
    Outbox,
}

impl FileKind {
    pub const ALL: [FileKind; 3] = [FileKind::Delta, FileKind::Merged, FileKind::Outbox];

    pub fn folder(self) -> &'static str {
        match self {
            FileKind::Delta => "delta",
            FileKind::Merged => "merged",
            FileKind::Outbox => "outbox",
        }
    }
}

/// The name of a commit's file: listings order them.
pub fn commit(epoch: u64) -> String {
    format!("{COMMITS}/{epoch:020}")
}

/// The number of the commit in the file of that name.
pub fn epoch_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(COMMITS)?.strip_prefix('/')?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// `epoch`: the one that is being ended, or comes next.
pub fn file(kind: FileKind, generation: u64, epoch: u64, content: &Digest) -> String {
    let content = content.to_string();
    let begin = content.get(..16).unwrap_or_default();
    format!("{}/{generation:010}-{epoch:020}-{begin}", kind.folder())
}

/// The generation that wrote the file of that name; `None` for commits, and for what is not ours.
pub fn generation_of(name: &str) -> Option<u64> {
    let (folder, file) = name.split_once('/')?;
    FileKind::ALL.iter().find(|kind| kind.folder() == folder)?;
    let (generation, rest) = file.split_once('-')?;
    (generation.len() == 10 && rest.len() == 37).then(|| generation.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_listed_in_the_order_of_their_numbers() {
        assert!(commit(9) < commit(10) && commit(u64::MAX) > commit(10));
        for epoch in [0, 1, 12, u64::MAX] {
            assert_eq!(epoch_of(&commit(epoch)), Some(epoch));
        }
        for strange in ["commit/1", "commit/+0000000000000000001", "delta/00000000000000000001", "commit"] {
            assert_eq!(epoch_of(strange), None, "{strange}");
        }
    }

    #[test]
    fn files_tell_their_generation() {
        let name = file(FileKind::Outbox, 3, 41, &Digest::of(b"abc"));
        assert_eq!(name, "outbox/0000000003-00000000000000000041-ba7816bf8f01cfea");
        assert_eq!(generation_of(&name), Some(3));
        for strange in [commit(1), "outbox/readme".into(), name.replace("outbox", "other"), name.replace('3', "x")] {
            assert_eq!(generation_of(&strange), None, "{strange}");
        }
    }
}
