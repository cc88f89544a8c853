//! Conditions on the distance of two times: `l.ts BETWEEN r.ts - INTERVAL '5' SECOND AND r.ts`, `r.ts - l.ts <= INTERVAL
//! '1' MINUTE`, `l.ts = r.ts`, whatever side stands where.
//!
//! A comparison of sums of times and constant intervals is brought into the form `l - r` op constant; casts between
//! timestamp types change nothing there, since all timestamps are microseconds inside.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

use crate::clock::MICROS_PER_DAY;
use crate::plan::functions::temporal::INTERVAL_LENGTH;

/// Bounds that conditions put on `left - right`, for one pair of columns (positions in the inputs' schemas).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimePair {
    pub left: usize,
    pub right: usize,
}

/// One condition: `left - right` op `micros`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBound {
    pub pair: TimePair,
    pub op: Operator,
    /// `None`: the condition counts in months, which differ in length.
    pub micros: Option<i64>,
}

/// The bounds that a condition consists of; none if it is anything else.
pub fn bounds_of(condition: &Expr, left: &DFSchema, right: &DFSchema) -> Vec<TimeBound> {
    let comparisons = match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => vec![(left.as_ref(), *op, right.as_ref())],
        Expr::Between(Between { expr, negated: false, low, high }) => {
            vec![(expr.as_ref(), Operator::GtEq, low.as_ref()), (expr.as_ref(), Operator::LtEq, high.as_ref())]
        }
        _ => return Vec::new(),
    };
    let bounds: Option<Vec<TimeBound>> =
        comparisons.into_iter().map(|(a, op, b)| comparison(a, op, b, left, right)).collect();
    bounds.unwrap_or_default()
}

/// The tightest of some bounds for a pair, both ends included, in units; `None` at an end without bound. `unit`: the
/// distance of two times is a multiple of it.
pub fn tightest(bounds: &[TimeBound], unit: i64) -> (Option<i64>, Option<i64>) {
    let (mut lower, mut upper): (Option<i64>, Option<i64>) = (None, None);
    for bound in bounds {
        let Some(micros) = bound.micros else { continue };
        let down = micros.div_euclid(unit).saturating_mul(unit);
        let up = if down == micros { down } else { down.saturating_add(unit) };
        let (low, high) = match bound.op {
            Operator::Eq => (Some(up), Some(down)),
            Operator::GtEq => (Some(up), None),
            Operator::Gt => (Some(down.saturating_add(unit)), None),
            Operator::LtEq => (None, Some(down)),
            Operator::Lt => (None, Some(up.saturating_sub(unit))),
            _ => (None, None),
        };
        lower = lower.max(low);
        upper = [upper, high].into_iter().flatten().min();
    }
    (lower, upper)
}

fn comparison(a: &Expr, op: Operator, b: &Expr, left: &DFSchema, right: &DFSchema) -> Option<TimeBound> {
    if !matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq) {
        return None;
    }
    let difference = Sum::of(a)?.minus(Sum::of(b)?)?;
    let ([plus], [minus]) = (difference.plus.as_slice(), difference.minus.as_slice()) else { return None };
    let place = |column: &Column, schema: &DFSchema| {
        let at = schema.maybe_index_of_column(column)?;
        matches!(schema.field(at).data_type(), DataType::Timestamp(..)).then_some(at)
    };
    let in_order = place(plus, left).zip(place(minus, right));
    let (pair, op, constant) = match in_order {
        // l - r + c op 0
        Some((left, right)) => (TimePair { left, right }, op, difference.constant.checked_neg()?),
        None => {
            let pair = TimePair { left: place(minus, left)?, right: place(plus, right)? };
            (pair, op.swap()?, difference.constant)
        }
    };
    Some(TimeBound { pair, op, micros: (!difference.months).then_some(constant) })
}

/// Times added and subtracted, and constants. Every term counts once.
#[derive(Default)]
struct Sum {
    plus: Vec<Column>,
    minus: Vec<Column>,
    /// Microseconds.
    constant: i64,
    /// Months are part of it, which the constant does not hold.
    months: bool,
}

impl Sum {
    fn of(expr: &Expr) -> Option<Sum> {
        match expr {
            Expr::Column(column) => Some(Sum { plus: vec![column.clone()], ..Sum::default() }),
            Expr::Alias(alias) => Sum::of(&alias.expr),
            // Intervals are compared by their lengths.
            Expr::ScalarFunction(call) if call.name() == INTERVAL_LENGTH => Sum::of(call.args.first()?),
            Expr::Literal(ScalarValue::Decimal128(Some(nanoseconds), _, 0), _) => {
                let micros = nanoseconds.checked_div(1000).filter(|_| nanoseconds % 1000 == 0)?;
                Some(Sum { constant: i64::try_from(micros).ok()?, ..Sum::default() })
            }
            Expr::Cast(cast) if keeps_time(cast.field.data_type()) => Sum::of(&cast.expr),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
                let (left, mut right) = (Sum::of(left)?, Sum::of(right)?);
                std::mem::swap(&mut right.plus, &mut right.minus);
                left.minus(Sum { constant: right.constant.checked_neg()?, ..right })
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => Sum::of(left)?.minus(Sum::of(right)?),
            Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => {
                let days = i64::from(interval.days).checked_mul(MICROS_PER_DAY)?;
                let whole = interval.nanoseconds % 1000 == 0;
                let constant = days.checked_add(interval.nanoseconds / 1000).filter(|_| whole)?;
                Some(Sum { constant, months: interval.months != 0, ..Sum::default() })
            }
            Expr::Literal(ScalarValue::DurationMicrosecond(Some(constant)), _) => {
                Some(Sum { constant: *constant, ..Sum::default() })
            }
            _ => None,
        }
    }

    fn minus(mut self, other: Sum) -> Option<Sum> {
        self.plus.extend(other.minus);
        self.minus.extend(other.plus);
        self.constant = self.constant.checked_sub(other.constant)?;
        self.months |= other.months;
        Some(self)
    }
}

/// Casts among timestamps, and of their difference to an interval.
fn keeps_time(to: &DataType) -> bool {
    matches!(
        to,
        DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Interval(IntervalUnit::MonthDayNano)
            | DataType::Duration(TimeUnit::Microsecond)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_bound_wins_and_strict_ones_are_a_unit_less() {
        let bound = |op, micros| TimeBound { pair: TimePair { left: 0, right: 0 }, op, micros: Some(micros) };
        use Operator::{Eq, Gt, GtEq, Lt, LtEq};
        let check = |bounds: &[(Operator, i64)], unit, wanted| {
            let bounds: Vec<TimeBound> = bounds.iter().map(|(op, micros)| bound(*op, *micros)).collect();
            assert_eq!(tightest(&bounds, unit), wanted, "{bounds:?}");
        };
        check(&[(GtEq, -5000), (LtEq, 3000)], 1000, (Some(-5000), Some(3000)));
        check(&[(Gt, -5000), (Lt, 3000)], 1000, (Some(-4000), Some(2000)));
        check(&[(Gt, -5000), (Lt, 3000)], 1, (Some(-4999), Some(2999)));
        check(&[(GtEq, -5500), (LtEq, 3500)], 1000, (Some(-5000), Some(3000)));
        check(&[(Gt, -5500), (Lt, 3500)], 1000, (Some(-5000), Some(3000)));
        check(&[(GtEq, -5000), (GtEq, -2000), (LtEq, 9000), (Lt, 9000)], 1000, (Some(-2000), Some(8000)));
        check(&[(Eq, 0)], 1000, (Some(0), Some(0)));
        check(&[(Eq, 500)], 1000, (Some(1000), Some(0)));
        check(&[(LtEq, 0)], 1000, (None, Some(0)));
        check(&[], 1, (None, None));
    }
}
