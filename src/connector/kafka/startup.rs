//! Where reading begins and where it ends: the 'scan.startup.*' and 'scan.bounded.*' options.

use std::collections::BTreeMap;

use super::super::options::{Choice, OptionReader};
use crate::error::{Error, Result};

/// An offset for each partition that is named.
pub(super) type Offsets = BTreeMap<i32, u64>;

/// Where to start reading, when a job is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Startup {
    Earliest,
    Latest,
    /// Milliseconds since 1970-01-01 UTC: the first record with this timestamp or a later one.
    Timestamp(i64),
    /// Partitions that are not named start at their earliest offset, as in Flink.
    Specific(Offsets),
    /// What the consumer group of 'properties.group.id' has committed, read once.
    Group(GroupReset),
}

/// Where a partition starts for which the group has committed nothing ('properties.auto.offset.reset').
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupReset {
    Earliest,
    Latest,
    /// It is an error.
    None,
}

/// Where reading ends, found when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    Latest,
    /// Before the first record with this timestamp or a later one; if there is none, where the topic ends.
    Timestamp(i64),
    /// Each partition must be named.
    Specific(Offsets),
    Group,
}

#[derive(Clone, Copy)]
enum StartupMode {
    Earliest,
    Latest,
    Timestamp,
    Specific,
    Group,
}

impl Choice for StartupMode {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("earliest-offset", StartupMode::Earliest),
        ("latest-offset", StartupMode::Latest),
        ("timestamp", StartupMode::Timestamp),
        ("specific-offsets", StartupMode::Specific),
        ("group-offsets", StartupMode::Group),
    ];
}

#[derive(Clone, Copy)]
enum BoundedMode {
    Unbounded,
    Latest,
    Timestamp,
    Specific,
    Group,
}

impl Choice for BoundedMode {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("unbounded", BoundedMode::Unbounded),
        ("latest-offset", BoundedMode::Latest),
        ("timestamp", BoundedMode::Timestamp),
        ("specific-offsets", BoundedMode::Specific),
        ("group-offsets", BoundedMode::Group),
    ];
}

impl Choice for GroupReset {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("earliest", GroupReset::Earliest), ("latest", GroupReset::Latest), ("none", GroupReset::None)];
}

/// The option that says where a group's missing offsets are; ours in every other mode.
pub(super) const RESET: &str = "properties.auto.offset.reset";
const GROUP: &str = "properties.group.id";

/// # Errors
/// 22023 for a mode that is missing or unknown, and for options that belong to another mode or lack.
pub(super) fn startup(options: &mut OptionReader) -> Result<Startup> {
    const MODE: &str = "scan.startup.mode";
    let mode = options.choice(MODE)?;
    let extent = Extent { mode: MODE, kind: "startup mode", prefix: "scan.startup" };
    let millis = extent.millis(options, matches!(mode, Some(StartupMode::Timestamp)))?;
    let offsets = extent.offsets(options, matches!(mode, Some(StartupMode::Specific)))?;
    match (mode, millis, offsets) {
        (None, ..) => Err(options.missing(MODE).with_hint(
            "Add 'scan.startup.mode' = 'earliest-offset' (all there is), 'latest-offset' (from now on) or 'timestamp'.",
        )),
        (Some(StartupMode::Latest), ..) => Ok(Startup::Latest),
        (Some(StartupMode::Timestamp), Some(millis), _) => Ok(Startup::Timestamp(millis)),
        (Some(StartupMode::Specific), _, Some(offsets)) => Ok(Startup::Specific(offsets)),
        (Some(StartupMode::Group), ..) => {
            needs_group(options, MODE)?;
            Ok(Startup::Group(options.choice(RESET)?.unwrap_or(GroupReset::None)))
        }
        (Some(_), ..) => Ok(Startup::Earliest),
    }
}

/// For messages that replace each other: only from the beginning are they a table.
///
/// # Errors
/// 22023 for another start.
pub(super) fn whole(options: &mut OptionReader) -> Result<Startup> {
    const MODE: &str = "scan.startup.mode";
    match options.choice(MODE)? {
        None | Some(StartupMode::Earliest) => Ok(Startup::Earliest),
        Some(_) => Err(options
            .error(MODE, "an upsert-kafka source is read from the topic's beginning")
            .with_detail("A key's row may have been written at any time before.")
            .with_hint(format!("Remove '{MODE}'."))),
    }
}

/// `None`: unbounded.
///
/// # Errors
/// As [`startup`].
pub(super) fn bound(options: &mut OptionReader) -> Result<Option<Bound>> {
    const MODE: &str = "scan.bounded.mode";
    let mode = options.choice(MODE)?.unwrap_or(BoundedMode::Unbounded);
    let extent = Extent { mode: MODE, kind: "bounded mode", prefix: "scan.bounded" };
    let millis = extent.millis(options, matches!(mode, BoundedMode::Timestamp))?;
    let offsets = extent.offsets(options, matches!(mode, BoundedMode::Specific))?;
    Ok(match (mode, millis, offsets) {
        (BoundedMode::Latest, ..) => Some(Bound::Latest),
        (BoundedMode::Timestamp, Some(millis), _) => Some(Bound::Timestamp(millis)),
        (BoundedMode::Specific, _, Some(offsets)) => Some(Bound::Specific(offsets)),
        (BoundedMode::Group, ..) => {
            needs_group(options, MODE)?;
            Some(Bound::Group)
        }
        _ => None,
    })
}

fn needs_group(options: &OptionReader, mode: &str) -> Result<()> {
    if options.is_given(GROUP) {
        return Ok(());
    }
    Err(options
        .error(mode, format!("mode \"group-offsets\" needs option \"{GROUP}\""))
        .with_hint(format!("Add '{GROUP}' = 'the consumer group' to the WITH clause.")))
}

/// One end of what is read.
struct Extent {
    mode: &'static str,
    kind: &'static str,
    prefix: &'static str,
}

impl Extent {
    /// The timestamp, which is there exactly if it is `wanted`.
    fn millis(&self, options: &mut OptionReader, wanted: bool) -> Result<Option<i64>> {
        let name = format!("{}.timestamp-millis", self.prefix);
        let millis: Option<i64> = options.optional(&name)?;
        match millis {
            Some(_) if !wanted => Err(self.of_other_mode(options, &name, "timestamp")),
            Some(millis) if millis < 0 => Err(options.error(&name, format!("option \"{name}\" must not be negative"))),
            None if wanted => Err(options.missing(&name)),
            millis => Ok(millis),
        }
    }

    /// The offsets, likewise.
    fn offsets(&self, options: &mut OptionReader, wanted: bool) -> Result<Option<Offsets>> {
        let name = format!("{}.specific-offsets", self.prefix);
        let expected = "'partition:0,offset:42;partition:1,offset:300'";
        let offsets = options.parsed(&name, expected, parse_offsets)?;
        match offsets {
            Some(_) if !wanted => Err(self.of_other_mode(options, &name, "specific-offsets")),
            None if wanted => Err(options.missing(&name)),
            offsets => Ok(offsets),
        }
    }

    fn of_other_mode(&self, options: &OptionReader, name: &str, mode: &str) -> Error {
        options
            .error(name, format!("option \"{name}\" needs {} \"{mode}\"", self.kind))
            .with_hint(format!("Add '{}' = '{mode}', or remove '{name}'.", self.mode))
    }
}

/// Flink's `partition:0,offset:42;partition:1,offset:300`; each partition once.
fn parse_offsets(text: &str) -> Option<Offsets> {
    let mut offsets = Offsets::new();
    for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (partition, offset) = pair.split_once(',')?;
        let partition: u32 = partition.trim().strip_prefix("partition:")?.trim().parse().ok()?;
        let offset: u64 = offset.trim().strip_prefix("offset:")?.trim().parse().ok()?;
        let partition = i32::try_from(partition).ok()?;
        if i64::try_from(offset).is_err() || offsets.insert(partition, offset).is_some() {
            return None;
        }
    }
    (!offsets.is_empty()).then_some(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_written_as_in_flink() {
        let read = |text: &str| parse_offsets(text).map(|offsets| offsets.into_iter().collect::<Vec<_>>());
        assert_eq!(read("partition:0,offset:42;partition:1,offset:300"), Some(vec![(0, 42), (1, 300)]));
        assert_eq!(read(" partition: 7 , offset: 0 ; "), Some(vec![(7, 0)]));
        for bad in [
            "",
            ";",
            "0:42",
            "partition:0",
            "partition:0,offset:-1",
            "partition:-1,offset:1",
            "partition:0,offset:1;partition:0,offset:2",
            "partition:0,offset:18446744073709551615",
            "offset:1,partition:0",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
