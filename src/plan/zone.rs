//! Windows of a time with time zone follow the zone of whoever creates them. Only UTC has them so far: of any other, days
//! that are 23 or 25 hours long would have to be cut, and hours that come twice.

use arrow::datatypes::DataType;

use super::stream::{Op, StreamPlan, WindowSpec};
use crate::error::{Error, Result};

/// Names of the zone in which nothing ever moves.
const UTC_NAMES: [&str; 9] =
    ["UTC", "Etc/UTC", "UCT", "Etc/UCT", "Universal", "Etc/Universal", "Zulu", "Etc/Zulu", "GMT"];

/// Refuses windows of times with time zone in any zone but UTC.
pub fn check_zone(plan: &StreamPlan, zone: &str) -> Result<()> {
    if UTC_NAMES.iter().any(|utc| utc.eq_ignore_ascii_case(zone)) {
        return Ok(());
    }
    for node in &plan.nodes {
        let (Op::Window { window, time } | Op::WindowAggregate { window, time, .. }) = &node.op else { continue };
        let input = node.inputs.first().and_then(|input| plan.nodes.get(input.node));
        let Some(field) = input.and_then(|input| input.schema.fields().get(time.column)) else { continue };
        let has_borders = !matches!(window, WindowSpec::Session { .. });
        if has_borders && matches!(field.data_type(), DataType::Timestamp(_, Some(_))) {
            let message = format!("windows of \"{}\" in the time zone {zone} are not supported yet", field.name());
            let hint = "SET TimeZone = 'UTC' before you create it: windows are then cut in UTC, whatever zone they are \
                        shown in. Or declare the event time as TIMESTAMP, without time zone.";
            return Err(Error::unsupported(message, hint));
        }
    }
    Ok(())
}
