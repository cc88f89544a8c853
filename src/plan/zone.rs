//! Windows of a time with time zone follow the clocks of whoever creates them: a day of Los Angeles begins at midnight
//! there, and has 23 hours when daylight saving begins. What is stored is the zone, so that windows stay what they are
//! whoever looks at them.

use arrow::datatypes::DataType;
use chrono_tz::Tz;

use super::relations::{Relation, Relations};
use super::stream::{WindowKind, WindowSpec};
use crate::error::{Error, Result, SqlState};

/// Names of the zone in which nothing ever moves.
const UTC_NAMES: [&str; 9] =
    ["UTC", "Etc/UTC", "UCT", "Etc/UCT", "Universal", "Etc/Universal", "Zulu", "Etc/Zulu", "GMT"];

/// Whether clocks of the zone of that name show what those of UTC do.
pub fn is_utc(zone: &str) -> bool {
    UTC_NAMES.iter().any(|utc| utc.eq_ignore_ascii_case(zone))
}

/// Relations as somebody in a zone names them.
pub struct InZone<'a> {
    pub relations: &'a dyn Relations,
    pub zone: String,
}

impl Relations for InZone<'_> {
    fn relation(&self, name: &str) -> Result<Relation> {
        self.relations.relation(name)
    }

    fn time_zone(&self) -> &str {
        &self.zone
    }
}

/// The zone by whose clocks a plan's windows are cut; none: UTC.
#[derive(Debug, Clone, Copy, Default)]
pub struct Zone(Option<Tz>);

impl Zone {
    /// # Errors
    /// `22023` if no zone has this name.
    pub fn named(name: &str) -> Result<Zone> {
        if is_utc(name) {
            return Ok(Zone(None));
        }
        let unknown = |_| Error::new(SqlState::InvalidParameterValue, format!("time zone \"{name}\" not recognized"));
        name.parse().map(|zone| Zone(Some(zone))).map_err(unknown)
    }

    /// The windows of a time of this type, as they are cut in the zone.
    pub fn cut(self, kind: WindowKind, time: &DataType) -> WindowSpec {
        let has_borders = !matches!(kind, WindowKind::Session { .. });
        let follows = has_borders && matches!(time, DataType::Timestamp(_, Some(_)));
        WindowSpec { kind, zone: self.0.filter(|_| follows) }
    }
}
