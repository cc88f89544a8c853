//! Operators with PostgreSQL's types: which exist, what they return, and what an unknown literal becomes beside them.
//!
//! Runs while DataFusion plans an expression, bottom up, so that whatever stands above sees the right types. Casts are
//! put in explicitly; DataFusion's own coercion, which would turn `text + integer` into something, finds nothing to do.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Diagnostic, ScalarValue, Span};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, GetFieldAccess, Operator, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::containers;
use super::rows;
use super::settle::{of_one_type, settle, text_of};
use super::zoned;
use crate::error::{Error, SqlState};
use crate::plan::errors::{no_operator, through, type_name};
use crate::plan::functions::{array, calendar, functions, jsonb, results, scalar, temporal};
use crate::plan::value;
use crate::types::{NUMERIC_DEFAULT, SqlType, UTC};

#[derive(Debug)]
pub struct PostgresOperators;

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

impl ExprPlanner for PostgresOperators {
    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let RawFieldAccessExpr { field_access, expr } = raw;
        let key = match (field_access, expr.get_type(schema)) {
            (GetFieldAccess::ListIndex { key }, Ok(DataType::List(_))) => *key,
            (GetFieldAccess::ListIndex { key }, Ok(DataType::LargeBinary)) => {
                return Ok(PlannerResult::Planned(settled_call(jsonb::GET, vec![expr, *key], schema)?));
            }
            (GetFieldAccess::NamedStructField { name }, Ok(DataType::LargeBinary)) => {
                return Ok(PlannerResult::Planned(settled_call(jsonb::GET, vec![expr, lit(name)], schema)?));
            }
            (field_access, _) => return Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr })),
        };
        Ok(PlannerResult::Planned(settled_call(array::ELEMENT, vec![expr, key], schema)?))
    }

    /// DataFusion names an aggregate after its arguments, and leaves their casts out: two that differ in a cast alone would
    /// be called the same.
    fn plan_aggregate(&self, mut raw: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        raw.args = raw.args.into_iter().map(named_with_casts).collect();
        raw.filter = raw.filter.map(|filter| Box::new(named_with_casts(*filter)));
        Ok(PlannerResult::Original(raw))
    }

    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        match args.as_slice() {
            [field, of] if unknown(field).is_some() => {
                let field = unknown(field).unwrap_or_default();
                Ok(PlannerResult::Planned(extract(&field, of.clone())?))
            }
            _ => Ok(PlannerResult::Original(args)),
        }
    }

    fn plan_array_literal(&self, items: Vec<Expr>, schema: &DFSchema) -> Result<PlannerResult<Vec<Expr>>> {
        // What it is cast to gives the type, as it does for an unknown literal.
        if items.is_empty() {
            return Ok(PlannerResult::Planned(lit("{}")));
        }
        let items = items.into_iter().map(|item| settle(item, schema)).collect::<Result<Vec<_>>>()?;
        let items = of_one_type("ARRAY", items, schema)?;
        Ok(PlannerResult::Planned(call(array::ARRAY_OF, items)?))
    }

    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if let Some(operator) = containers::operator(&raw.op) {
            return operator.plan(raw, schema).map(PlannerResult::Planned);
        }
        let Some(op) = operator(&raw.op) else { return Ok(PlannerResult::Original(raw)) };
        let left = if is_settled(&raw.left) { raw.left } else { settle(raw.left, schema)? };
        let right = if is_settled(&raw.right) { raw.right } else { settle(raw.right, schema)? };
        // A column that does not exist is reported where DataFusion looks columns up, with its place.
        let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else {
            return Ok(PlannerResult::Original(RawBinaryExpr { op: raw.op, left, right }));
        };
        let place = first_place(&left).or_else(|| first_place(&right));
        let sides = Sides { left, right, left_type, right_type, op };
        sides.plan().map(PlannerResult::Planned).map_err(|e| match place {
            // What a literal cannot be is told at the literal.
            Some(span) if !is_literal_error(&e) => e.with_diagnostic(Diagnostic::new_error("operator", Some(span))),
            _ => e,
        })
    }
}

fn named_with_casts(expr: Expr) -> Expr {
    match expr.exists(|e| Ok(matches!(e, Expr::Cast(_)))) {
        Ok(true) => {
            let name = expr.to_string();
            expr.alias(name)
        }
        _ => expr,
    }
}

pub(super) fn is_literal_error(error: &DataFusionError) -> bool {
    let state = match error {
        DataFusionError::External(inner) => inner.downcast_ref::<Error>().map(Error::state),
        _ => None,
    };
    use SqlState as S;
    matches!(
        state,
        Some(
            S::InvalidTextRepresentation
                | S::InvalidDatetimeFormat
                | S::NumericValueOutOfRange
                | S::DatetimeFieldOverflow
        )
    )
}

/// The place of the first column in an expression: operators have none.
fn first_place(expr: &Expr) -> Option<Span> {
    let mut place = None;
    let _ = expr.apply(|e| {
        if let Expr::Column(column) = e {
            place = column.spans.first();
        }
        Ok(if place.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    place
}

/// An operator's result went through here before; settling it again would make deep chains quadratic.
fn is_settled(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryExpr(_) | Expr::Column(_))
}

fn operator(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Multiply,
        BinaryOperator::Divide => Operator::Divide,
        BinaryOperator::Modulo => Operator::Modulo,
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        BinaryOperator::And => Operator::And,
        BinaryOperator::Or => Operator::Or,
        BinaryOperator::StringConcat => Operator::StringConcat,
        _ => return None,
    })
}

/// An operator with its operands and their types.
struct Sides {
    left: Expr,
    right: Expr,
    left_type: DataType,
    right_type: DataType,
    op: Operator,
}

impl Sides {
    fn plan(self) -> Result<Expr> {
        match self.op {
            Operator::And | Operator::Or => self.logic(),
            Operator::StringConcat => self.concat(),
            _ => {
                let sides = self.resolve_unknown()?;
                if matches!(
                    sides.op,
                    Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo
                ) {
                    sides.arithmetic()
                } else {
                    sides.comparison()
                }
            }
        }
    }

    fn missing(&self) -> Error {
        no_operator(
            &operand_type(&self.left, &self.left_type),
            &self.op.to_string().replace("!=", "<>"),
            &operand_type(&self.right, &self.right_type),
        )
    }

    /// The operator over both sides, each cast to the given type if it has another.
    fn cast(self, left: DataType, right: DataType) -> Expr {
        let Sides { left: l, right: r, left_type, right_type, op } = self;
        binary(cast_if(l, &left_type, &left), op, cast_if(r, &right_type, &right))
    }

    fn logic(self) -> Result<Expr> {
        let op = self.op;
        let side = |expr: Expr, ty: &DataType| -> Result<Expr> {
            if let Some(text) = unknown(&expr) {
                return literal_as(&text, &DataType::Boolean);
            }
            match ty {
                DataType::Boolean => Ok(expr),
                DataType::Null => Ok(cast_if(expr, ty, &DataType::Boolean)),
                other => {
                    let message = format!("argument of {op} must be type boolean, not type {}", type_name(other));
                    Err(through(Error::new(SqlState::DatatypeMismatch, message)))
                }
            }
        };
        let (left, right) = (side(self.left, &self.left_type)?, side(self.right, &self.right_type)?);
        Ok(binary(left, op, right))
    }

    fn concat(self) -> Result<Expr> {
        let is_text = |ty: &DataType| ty.is_string();
        let is_jsonb = |expr: &Expr, ty: &DataType| *ty == DataType::LargeBinary || unknown(expr).is_some();
        if [&self.left_type, &self.right_type].contains(&&DataType::LargeBinary)
            && is_jsonb(&self.left, &self.left_type)
            && is_jsonb(&self.right, &self.right_type)
        {
            let side = |expr: Expr| match unknown(&expr) {
                Some(text) => literal_as(&text, &DataType::LargeBinary),
                None => Ok(expr),
            };
            return call(jsonb::CONCAT, vec![side(self.left)?, side(self.right)?]);
        }
        if matches!(self.left_type, DataType::List(_)) || matches!(self.right_type, DataType::List(_)) {
            return self.concat_arrays();
        }
        if !is_text(&self.left_type) && !is_text(&self.right_type) && !self.left_type.is_null() {
            return Err(through(self.missing()));
        }
        let left = text_of(self.left, &self.left_type);
        let right = text_of(self.right, &self.right_type);
        Ok(binary(left, self.op, right))
    }

    /// Two arrays, or an array and an item.
    fn concat_arrays(self) -> Result<Expr> {
        let is_list = |ty: &DataType| matches!(ty, DataType::List(_));
        let missing = through(self.missing());
        let Sides { left, right, left_type, right_type, .. } = self;
        let name = match (is_list(&left_type), is_list(&right_type)) {
            (true, true) if left_type == right_type => array::CONCAT,
            (true, _) if unknown(&right).is_some() => {
                let right = literal_as(&unknown(&right).unwrap_or_default(), &left_type)?;
                return call(array::CONCAT, vec![left, right]);
            }
            (_, true) if unknown(&left).is_some() => {
                let left = literal_as(&unknown(&left).unwrap_or_default(), &right_type)?;
                return call(array::CONCAT, vec![left, right]);
            }
            (true, false) if results::list_of(&right_type) == left_type => "array_append",
            (false, true) if results::list_of(&left_type) == right_type => "array_prepend",
            _ => return Err(missing),
        };
        call(name, vec![left, right])
    }

    /// An unknown literal takes the other side's type, as in PostgreSQL; beside a timestamp's `+` that is an interval.
    fn resolve_unknown(mut self) -> Result<Self> {
        let (left, right) = (unknown(&self.left), unknown(&self.right));
        match (left, right) {
            (Some(text), None) if !self.right_type.is_string() && !self.right_type.is_null() => {
                self.left_type = self.partner_type(&self.right_type, &text);
                self.left = literal_as(&text, &self.left_type)?;
            }
            (None, Some(text)) if !self.left_type.is_string() && !self.left_type.is_null() => {
                self.right_type = self.partner_type(&self.left_type, &text);
                self.right = literal_as(&text, &self.right_type)?;
            }
            _ => {}
        }
        Ok(self)
    }

    fn partner_type(&self, other: &DataType, text: &str) -> DataType {
        let interval = || literal_as(text, &INTERVAL).is_ok();
        match (self.op, other) {
            (Operator::Plus | Operator::Minus, DataType::Timestamp(..) | DataType::Date32) if interval() => INTERVAL,
            (Operator::Plus, DataType::Time64(_)) => INTERVAL,
            (Operator::Minus, DataType::LargeBinary) => DataType::Utf8View,
            (Operator::Multiply | Operator::Divide, DataType::Interval(_)) => DataType::Float64,
            _ => other.clone(),
        }
    }

    fn arithmetic(self) -> Result<Expr> {
        use DataType as D;
        match (&self.left_type, &self.right_type) {
            (D::Null, other) | (other, D::Null) if other.is_numeric() || other.is_null() || is_temporal(other) => {
                let result = if other.is_null() { D::Int32 } else { other.clone() };
                Ok(lit(ScalarValue::try_from(&result)?))
            }
            (l, r) if is_integer(l) && is_integer(r) => {
                let wider = if rank(l) >= rank(r) { l.clone() } else { r.clone() };
                Ok(self.cast(wider.clone(), wider))
            }
            (l, r) if is_exact(l) && is_exact(r) => self.numeric(),
            (l, r) if is_number(l) && is_number(r) => self.floating(),
            _ if is_temporal(&self.left_type) || is_temporal(&self.right_type) => self.temporal(),
            (D::LargeBinary, r) if self.op == Operator::Minus && (is_integer(r) || r.is_string() || is_list(r)) => {
                let index = match r {
                    D::Int16 | D::Int64 => cast(self.right, D::Int32),
                    text if text.is_string() && unknown(&self.right).is_none() => cast(self.right, D::Utf8View),
                    _ => self.right,
                };
                call(jsonb::DELETE, vec![self.left, index])
            }
            _ => Err(through(self.missing())),
        }
    }

    fn floating(self) -> Result<Expr> {
        use DataType as D;
        if self.op == Operator::Modulo {
            return Err(through(self.missing()));
        }
        let real = self.left_type == D::Float32 && self.right_type == D::Float32;
        if self.op == Operator::Divide {
            let left = cast_if(self.left, &self.left_type, &D::Float64);
            let right = cast_if(self.right, &self.right_type, &D::Float64);
            let quotient = call(scalar::DIVIDE, vec![left, right])?;
            return if real { call(scalar::TO_REAL, vec![quotient]) } else { Ok(quotient) };
        }
        let ty = if real { D::Float32 } else { D::Float64 };
        Ok(self.cast(ty.clone(), ty))
    }

    /// numeric with numeric or integer. Products and quotients that 38 digits may not hold are computed with 76.
    fn numeric(self) -> Result<Expr> {
        let (left, right) = (decimal_for(&self.left_type), decimal_for(&self.right_type));
        let wide = |scale: i8| DataType::Decimal256(76, scale);
        let narrow = |digits: u8, scale: i8| DataType::Decimal128(digits, scale);
        let op = self.op;
        let (l, r) = (
            cast_if(self.left, &self.left_type, &narrow(left.0, left.1)),
            cast_if(self.right, &self.right_type, &narrow(right.0, right.1)),
        );
        let fits = u32::from(left.0) + u32::from(right.0) < 38;
        match op {
            Operator::Multiply if !fits => {
                let scale = left.1 + right.1;
                let whole = (38 - left.1) + (38 - right.1) - (76 - i8::try_from(left.0 + right.0).unwrap_or(76));
                let kept = scale.min((38 - whole).max(NUMERIC_DEFAULT.1)).clamp(0, 38);
                let product = binary(cast(l, wide(left.1)), op, cast(r, wide(right.1)));
                Ok(cast(product, narrow(38, kept)))
            }
            Operator::Divide => {
                let scale = NUMERIC_DEFAULT.1.max(left.1).max(right.1);
                // Arrow's quotient has four digits more than the dividend; the cast down rounds.
                let dividend = cast(l, wide((scale - 2).max(left.1)));
                let quotient = binary(dividend, op, cast(r, wide(right.1)));
                Ok(cast(quotient, narrow(38, scale)))
            }
            _ => Ok(binary(l, op, r)),
        }
    }

    fn temporal(self) -> Result<Expr> {
        use DataType as D;
        let zoned = D::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
        match (&self.left_type, self.op, &self.right_type) {
            (D::Timestamp(..), Operator::Plus | Operator::Minus, r) if *r == INTERVAL => {
                Ok(binary(self.left, self.op, self.right))
            }
            (D::Date32, Operator::Plus | Operator::Minus, r) if *r == INTERVAL => Ok(self.cast(TIMESTAMP, INTERVAL)),
            (l, Operator::Plus, D::Timestamp(..)) if *l == INTERVAL => Ok(binary(self.right, self.op, self.left)),
            (l, Operator::Plus, D::Date32) if *l == INTERVAL => {
                Ok(binary(cast(self.right, TIMESTAMP), self.op, self.left))
            }
            (l, Operator::Plus | Operator::Minus, r) if *l == INTERVAL && *r == INTERVAL => {
                Ok(binary(self.left, self.op, self.right))
            }
            (D::Timestamp(..) | D::Date32, Operator::Minus, D::Timestamp(..))
            | (D::Timestamp(..), Operator::Minus, D::Date32) => {
                let same = if self.left_type == zoned || self.right_type == zoned { zoned } else { TIMESTAMP };
                Ok(cast(self.cast(same.clone(), same), INTERVAL))
            }
            (D::Time64(_), Operator::Plus | Operator::Minus, r) if *r == INTERVAL => {
                time_of(binary(since_midnight(self.left)?, self.op, self.right))
            }
            (l, Operator::Plus, D::Time64(_)) if *l == INTERVAL => {
                time_of(binary(since_midnight(self.right)?, self.op, self.left))
            }
            (D::Time64(_), Operator::Minus, D::Time64(_)) => {
                Ok(binary(since_midnight(self.left)?, self.op, since_midnight(self.right)?))
            }
            (D::Date32, Operator::Plus, D::Time64(_)) => {
                Ok(binary(cast(self.left, TIMESTAMP), self.op, since_midnight(self.right)?))
            }
            (D::Time64(_), Operator::Plus, D::Date32) => {
                Ok(binary(cast(self.right, TIMESTAMP), self.op, since_midnight(self.left)?))
            }
            (l, Operator::Multiply, r) if *l == INTERVAL && is_number(r) => {
                call(temporal::SCALE_INTERVAL, vec![self.left, cast_if(self.right, &self.right_type, &D::Float64)])
            }
            (l, Operator::Multiply, r) if is_number(l) && *r == INTERVAL => {
                call(temporal::SCALE_INTERVAL, vec![self.right, cast_if(self.left, &self.left_type, &D::Float64)])
            }
            (l, Operator::Divide, r) if *l == INTERVAL && is_number(r) => {
                let divisor = cast_if(self.right, &self.right_type, &D::Float64);
                let factor = call(scalar::DIVIDE, vec![lit(1.0), divisor])?;
                call(temporal::SCALE_INTERVAL, vec![self.left, factor])
            }
            (D::Date32, Operator::Minus, D::Date32) => Ok(self.cast(D::Int32, D::Int32)),
            (D::Date32, Operator::Plus | Operator::Minus, D::Int16 | D::Int32) => {
                Ok(cast(self.cast(D::Int32, D::Int32), D::Date32))
            }
            _ => Err(through(self.missing())),
        }
    }

    /// Rows field by field, whatever these are called: nulls are equal, and stand behind all else.
    fn row_comparison(self) -> Result<Expr> {
        let missing = through(self.missing());
        let Some((left, right)) = rows::of_one_type((self.left, &self.left_type), (self.right, &self.right_type))?
        else {
            return Err(missing);
        };
        let key = |expr| call(array::SORT_KEY, vec![expr]);
        Ok(binary(key(left)?, self.op, key(right)?))
    }

    fn comparison(self) -> Result<Expr> {
        use DataType as D;
        let zoned = D::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
        match (&self.left_type, &self.right_type) {
            (D::Struct(_), D::Struct(_)) => self.row_comparison(),
            (D::List(_), D::List(_)) if self.left_type == self.right_type => {
                let key = |expr| call(array::SORT_KEY, vec![expr]);
                Ok(binary(key(self.left)?, self.op, key(self.right)?))
            }
            (l, r) if *l == INTERVAL && *r == INTERVAL => {
                Ok(binary(interval_length(self.left)?, self.op, interval_length(self.right)?))
            }
            (l, r) if l == r || l.is_null() || r.is_null() => Ok(binary(self.left, self.op, self.right)),
            (l, r) if l.is_string() && r.is_string() => Ok(binary(self.left, self.op, self.right)),
            (l, r) if is_number(l) && is_number(r) => Ok(binary(self.left, self.op, self.right)),
            (D::Timestamp(..), D::Date32) | (D::Date32, D::Timestamp(..)) | (D::Timestamp(..), D::Timestamp(..)) => {
                let same = if self.left_type == zoned || self.right_type == zoned { zoned } else { TIMESTAMP };
                Ok(self.cast(same.clone(), same))
            }
            (l, r) if SqlType::from_arrow(l) == SqlType::from_arrow(r) => Ok(binary(self.left, self.op, self.right)),
            _ => Err(through(self.missing())),
        }
    }
}

/// A field of a date, a time or an interval, as numeric with the field's digits.
pub fn extract(field: &str, of: Expr) -> Result<Expr> {
    let name = field.trim_matches(['\'', '"']).to_ascii_lowercase();
    let argument = lit(ScalarValue::Utf8View(Some(name.clone())));
    match calendar::digits_of(&name) {
        Some(0) => call(calendar::EXTRACT_WHOLE, vec![argument, of]),
        Some(6) => call(calendar::EXTRACT_PART, vec![argument, of]),
        Some(digits) => Ok(cast(call(calendar::EXTRACT_PART, vec![argument, of])?, DataType::Decimal128(38, digits))),
        None => {
            let message = format!("unit \"{name}\" not recognized");
            let hint = "EXTRACT knows year, quarter, month, week, day, dow, isodow, doy, hour, minute, second, \
                        millisecond, microsecond, epoch, decade, century, millennium and isoyear.";
            Err(through(Error::new(SqlState::InvalidParameterValue, message).with_hint(hint)))
        }
    }
}

/// A call of one of our own functions, its arguments in the types that it takes.
pub(super) fn settled_call(name: &str, args: Vec<Expr>, schema: &DFSchema) -> Result<Expr> {
    settle(call(name, args)?, schema)
}

pub(super) fn is_list(ty: &DataType) -> bool {
    matches!(ty, DataType::List(_))
}

fn since_midnight(time: Expr) -> Result<Expr> {
    call(temporal::TIME_TO_INTERVAL, vec![time])
}

fn time_of(interval: Expr) -> Result<Expr> {
    call(temporal::INTERVAL_TO_TIME, vec![interval])
}

/// What intervals are compared by: Arrow compares months first, then days.
pub fn interval_length(interval: Expr) -> Result<Expr> {
    call(temporal::INTERVAL_LENGTH, vec![interval])
}

/// A string literal that nobody has given a type: PostgreSQL's unknown.
pub fn unknown(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_string),
        _ => None,
    }
}

pub(super) fn operand_type(expr: &Expr, ty: &DataType) -> String {
    if unknown(expr).is_some() { "unknown".into() } else { type_name(ty) }
}

/// The literal that a text stands for, in a type. A time with time zone that names none is marked: [`super::zoned`] knows
/// whose clocks it goes by.
pub fn literal_as(text: &str, ty: &DataType) -> Result<Expr> {
    let value = value::read_as(text, ty).map_err(through)?;
    let marked = matches!(ty, DataType::Timestamp(_, Some(_))) && value::goes_by_clocks(text);
    Ok(Expr::Literal(value, marked.then(|| zoned::by_clocks(text))))
}

pub fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

pub fn cast(expr: Expr, ty: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), ty))
}

fn cast_if(expr: Expr, from: &DataType, to: &DataType) -> Expr {
    if from == to { expr } else { cast(expr, to.clone()) }
}

/// A call of one of our own or DataFusion's scalar functions.
pub fn call(name: &str, args: Vec<Expr>) -> Result<Expr> {
    match functions().scalar(name) {
        Some(func) => Ok(Expr::ScalarFunction(ScalarFunction { func, args })),
        None => Err(through(Error::internal(format!("function {name} is not registered")))),
    }
}

fn rank(ty: &DataType) -> u8 {
    match ty {
        DataType::Int16 => 1,
        DataType::Int32 => 2,
        _ => 3,
    }
}

fn is_integer(ty: &DataType) -> bool {
    matches!(ty, DataType::Int16 | DataType::Int32 | DataType::Int64)
}

fn is_exact(ty: &DataType) -> bool {
    is_integer(ty) || matches!(ty, DataType::Decimal128(..))
}

fn is_number(ty: &DataType) -> bool {
    is_exact(ty) || matches!(ty, DataType::Float32 | DataType::Float64)
}

fn is_temporal(ty: &DataType) -> bool {
    matches!(ty, DataType::Timestamp(..) | DataType::Date32 | DataType::Time64(_)) || *ty == INTERVAL
}

/// Precision and scale of the numeric that holds every value of an exact type.
fn decimal_for(ty: &DataType) -> (u8, i8) {
    match ty {
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::Decimal128(p, s) => (*p, *s),
        _ => NUMERIC_DEFAULT,
    }
}
