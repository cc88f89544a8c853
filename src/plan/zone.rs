//! Windows of a time with time zone follow the clocks of whoever creates them: a day of Los Angeles begins at midnight
//! there, and has 23 hours when daylight saving begins. What is stored is the zone, so that windows stay what they are
//! whoever looks at them.

use arrow::datatypes::DataType;
use chrono_tz::Tz;

use super::stream::{Op, StreamPlan, WindowSpec};
use crate::error::{Error, Result, SqlState};

/// Names of the zone in which nothing ever moves.
const UTC_NAMES: [&str; 9] =
    ["UTC", "Etc/UTC", "UCT", "Etc/UCT", "Universal", "Etc/Universal", "Zulu", "Etc/Zulu", "GMT"];

/// The plan with its windows of times with time zone cut in `zone`.
///
/// # Errors
/// `0A000` for windows that overlap, in any zone but UTC.
pub fn in_zone(mut plan: StreamPlan, zone: &str) -> Result<StreamPlan> {
    if UTC_NAMES.iter().any(|utc| utc.eq_ignore_ascii_case(zone)) {
        return Ok(plan);
    }
    for index in 0..plan.nodes.len() {
        let Some(node) = plan.nodes.get(index) else { continue };
        let time = match &node.op {
            Op::Window { time, .. } | Op::WindowAggregate { time, .. } | Op::LateRows { time, .. } => *time,
            _ => continue,
        };
        let input = node.inputs.first().and_then(|input| plan.nodes.get(input.node));
        let field = input.and_then(|input| input.schema.fields().get(time.column)).cloned();
        let Some(field) = field.filter(|f| matches!(f.data_type(), DataType::Timestamp(_, Some(_)))) else { continue };
        if let Some(Op::Window { window, .. } | Op::WindowAggregate { window, .. } | Op::LateRows { window, .. }) =
            plan.nodes.get_mut(index).map(|node| &mut node.op)
        {
            *window = local(*window, field.name(), zone)?;
        }
    }
    Ok(plan)
}

fn local(window: WindowSpec, column: &str, zone: &str) -> Result<WindowSpec> {
    let kind = match window {
        WindowSpec::Tumble { size, offset } => {
            let no_zone =
                |_| Error::new(SqlState::InvalidParameterValue, format!("time zone \"{zone}\" not recognized"));
            return Ok(WindowSpec::Local { size, offset, zone: zone.parse::<Tz>().map_err(no_zone)? });
        }
        // A session has no borders to cut.
        WindowSpec::Session { .. } | WindowSpec::Local { .. } => return Ok(window),
        WindowSpec::Hop { .. } => "HOP",
        WindowSpec::Cumulate { .. } => "CUMULATE",
    };
    let message = format!("{kind} windows of \"{column}\" in the time zone {zone} are not supported yet");
    let hint = "SET TimeZone = 'UTC' before you create it: windows are then cut in UTC, whatever zone they are shown in. \
                TUMBLE follows the zone; or declare the event time as TIMESTAMP, without time zone.";
    Err(Error::unsupported(message, hint))
}
