//! Gives literals, casts and functions PostgreSQL's types and meaning, and folds constants.
//!
//! [`settle`] runs before DataFusion's type coercion, [`fold`] after it. Both keep the names of output columns, since
//! nodes above refer to them. Settling twice is settling once.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, Like, LogicalPlan, Operator, Volatility, WindowFrame, lit,
};

use super::outer::map_exprs;
use super::typing::{binary, call, cast, extract, interval_length, literal_as, unknown};
use crate::error::{Error, SqlState};
use crate::plan::errors::{no_operator, through, type_name};
use crate::plan::functions::define::Defined;
use crate::plan::functions::{calendar, jsonb, scalar, temporal};
use crate::plan::scalar::Scalar;
use crate::plan::stream::RankFunction;
use crate::plan::text::expr::print;
use crate::types::SqlType;

/// A constant that is longer is computed when it is needed: plans are kept as text.
const MAX_FOLDED_BYTES: usize = 64 << 10;

/// [`settle`] over every expression of a plan.
pub fn settle_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    let settled = map_exprs(plan, settle)?;
    settled.apply_with_subqueries(|node| columns_meet(node).map(|()| TreeNodeRecursion::Continue))?;
    Ok(settled)
}

/// Columns that set operations and USING lay over each other must be of types that meet.
fn columns_meet(plan: &LogicalPlan) -> Result<()> {
    let check = |what: &str, left: &DataType, right: &DataType| match comparable(left, right) {
        true => Ok(()),
        false => {
            let message = format!("{what} types {} and {} cannot be matched", type_name(left), type_name(right));
            let error = Error::new(SqlState::DatatypeMismatch, message);
            Err(through(error.with_hint("Cast one of the columns, as in CAST(x AS text).")))
        }
    };
    match plan {
        LogicalPlan::Union(union) => {
            let mut inputs = union.inputs.iter().map(|input| input.schema());
            let Some(first) = inputs.next() else { return Ok(()) };
            inputs
                .flat_map(|input| first.fields().iter().zip(input.fields()))
                .try_for_each(|(left, right)| check("UNION", left.data_type(), right.data_type()))
        }
        LogicalPlan::Join(join) => {
            let what = match join.join_type {
                JoinType::LeftSemi => "INTERSECT",
                JoinType::LeftAnti => "EXCEPT",
                _ => "JOIN/USING",
            };
            join.on.iter().try_for_each(|(left, right)| {
                check(what, &left.get_type(join.left.schema())?, &right.get_type(join.right.schema())?)
            })
        }
        _ => Ok(()),
    }
}

/// [`fold`] over every expression of a plan.
pub fn fold_plan(plan: LogicalPlan) -> Result<LogicalPlan> {
    map_exprs(plan, |expr, _| fold(expr))
}

/// Gives an expression's literals, casts and functions PostgreSQL's types and meaning.
pub fn settle(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(expr.transform_up(|expr| settle_one(expr, schema))?.data)
}

fn settle_one(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Literal(value, metadata) => settle_literal(value, metadata),
        Expr::Cast(cast) => Ok(Transformed::yes(settle_cast(cast, schema)?)),
        Expr::Negative(inner) => settle_negative(*inner, schema),
        Expr::ScalarFunction(function) => settle_function(function, schema),
        Expr::Case(mut case) => {
            let results = || case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
            let Some(ty) = common_type("CASE", results().map(AsRef::as_ref), schema)? else {
                return Ok(Transformed::no(Expr::Case(case)));
            };
            for then in case.when_then_expr.iter_mut().map(|(_, then)| then).chain(&mut case.else_expr) {
                **then = resolve(std::mem::take(then), &ty)?;
            }
            Ok(Transformed::yes(Expr::Case(case)))
        }
        Expr::InList(list) if is_interval(&list.expr, schema) => {
            // Each comparison is that of intervals.
            let equal = |item: &Expr| binary(list.expr.as_ref().clone(), Operator::Eq, item.clone());
            let any = list.list.iter().map(equal).reduce(|a, b| binary(a, Operator::Or, b));
            let Some(any) = any else { return Ok(Transformed::no(Expr::InList(list))) };
            let any = by_length(any, schema)?;
            Ok(Transformed::yes(if list.negated { Expr::Not(Box::new(any)) } else { any }))
        }
        Expr::InList(mut list) => {
            let Ok(ty) = list.expr.get_type(schema) else { return Ok(Transformed::no(Expr::InList(list))) };
            list.list = list.list.into_iter().map(|item| compared(item, "=", &ty, schema)).collect::<Result<_>>()?;
            Ok(Transformed::yes(Expr::InList(list)))
        }
        Expr::Between(mut between) => {
            let Ok(ty) = between.expr.get_type(schema) else {
                return Ok(Transformed::no(Expr::Between(between)));
            };
            between.low = Box::new(compared(*between.low, ">=", &ty, schema)?);
            between.high = Box::new(compared(*between.high, "<=", &ty, schema)?);
            if is_interval(&between.expr, schema) {
                for side in [&mut between.expr, &mut between.low, &mut between.high] {
                    **side = interval_length(std::mem::take(side))?;
                }
            }
            Ok(Transformed::yes(Expr::Between(between)))
        }
        Expr::InSubquery(test) => {
            let given = test.subquery.subquery.schema();
            if let (Ok(ty), [other]) = (test.expr.get_type(schema), &given.fields()[..])
                && !comparable(&ty, other.data_type())
            {
                return Err(through(no_operator(&type_name(&ty), "=", &type_name(other.data_type()))));
            }
            Ok(Transformed::no(Expr::InSubquery(test)))
        }
        Expr::Like(like) => settle_like(like, schema),
        // A rank depends on no frame; the one that is there by default asks for types that can be added to.
        Expr::WindowFunction(mut call) if RankFunction::by_name(call.fun.name()).is_some() => {
            call.params.window_frame = WindowFrame::new(None);
            Ok(Transformed::yes(Expr::WindowFunction(call)))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}

/// Comparisons of intervals, and of literals with them, as comparisons of their lengths.
fn by_length(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let interval = SqlType::Interval.to_arrow();
    let compare = |expr: Expr| match expr {
        Expr::BinaryExpr(b) if b.op == Operator::Eq => {
            let right = compared(*b.right, "=", &interval, schema)?;
            Ok(Transformed::yes(binary(interval_length(*b.left)?, Operator::Eq, interval_length(right)?)))
        }
        other => Ok(Transformed::no(other)),
    };
    Ok(expr.transform_up(compare)?.data)
}

fn settle_like(like: Like, schema: &DFSchema) -> Result<Transformed<Expr>> {
    for side in [&like.expr, &like.pattern] {
        if let Ok(ty) = side.get_type(schema)
            && !ty.is_string()
            && !ty.is_null()
        {
            return Err(through(no_operator(&type_name(&ty), "~~", "unknown")));
        }
    }
    if like.escape_char.is_some_and(|c| c != '\\') {
        let hint = "Escape with a backslash, which needs no ESCAPE.";
        return Err(through(Error::unsupported("LIKE with another ESCAPE than \\ is not supported", hint)));
    }
    Ok(Transformed::no(Expr::Like(like)))
}

pub fn overflows() -> Error {
    Error::new(SqlState::NumericValueOutOfRange, "value overflows numeric format")
        .with_hint("Numbers have at most 38 digits; write a larger one as '1e300'::double precision.")
}

fn settle_function(mut function: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let Some(defined) = function.func.inner().downcast_ref::<Defined>() {
        function.args = defined.settle(function.args, schema)?;
        has_field(&function, schema)?;
        return Ok(Transformed::yes(Expr::ScalarFunction(function)));
    }
    if let ("date_part", [field, of]) = (function.name(), function.args.as_slice())
        && let Some(field) = unknown(field)
    {
        let part = settle(extract(&field, of.clone())?, schema)?;
        return Ok(Transformed::yes(cast(part, DataType::Float64)));
    }
    if let ("round", [value]) = (function.name(), function.args.as_slice())
        && value.get_type(schema).is_ok_and(|ty| ty.is_floating())
    {
        return Ok(Transformed::yes(call(scalar::ROUND_EVEN, function.args)?));
    }
    if ["coalesce", "nvl", "nullif", "greatest", "least"].contains(&function.name())
        && let Some(ty) = common_type(&function.name().to_uppercase(), function.args.iter(), schema)?
    {
        function.args = function.args.into_iter().map(|arg| resolve(arg, &ty)).collect::<Result<_>>()?;
    }
    let expr = Expr::ScalarFunction(function);
    Ok(match expr.get_type(schema) {
        // Our timestamps are microseconds; some functions of DataFusion's return nanoseconds.
        Ok(DataType::Timestamp(unit, zone)) if unit != TimeUnit::Microsecond => {
            Transformed::yes(cast(expr, DataType::Timestamp(TimeUnit::Microsecond, zone)))
        }
        // SQL has no unsigned numbers.
        Ok(DataType::UInt64 | DataType::UInt32) => Transformed::yes(cast(expr, DataType::Int64)),
        Ok(DataType::UInt16 | DataType::UInt8) => Transformed::yes(cast(expr, DataType::Int32)),
        _ => Transformed::no(expr),
    })
}

/// Fails if EXTRACT is asked for a field that values of the type do not have.
fn has_field(function: &ScalarFunction, schema: &DFSchema) -> Result<()> {
    let ([field, of], true) = (function.args.as_slice(), function.name().starts_with("extract_")) else {
        return Ok(());
    };
    let (Some(field), Ok(ty)) = (unknown(field), of.get_type(schema)) else { return Ok(()) };
    if ty.is_null() || calendar::has_field(&ty, &field) {
        return Ok(());
    }
    let message = format!("unit \"{field}\" not supported for type {}", type_name(&ty));
    Err(through(Error::unsupported(message, "Take a field that values of the type have.")))
}

/// The type of the first of several values that is not an unknown literal: the others take it, or fit it.
fn common_type<'a>(what: &str, values: impl Iterator<Item = &'a Expr>, schema: &DFSchema) -> Result<Option<DataType>> {
    let types = values.filter(|v| unknown(v).is_none()).filter_map(|v| v.get_type(schema).ok());
    let mut types = types.filter(|ty| !ty.is_null());
    let Some(first) = types.next() else { return Ok(None) };
    match types.find(|ty| !comparable(&first, ty)) {
        Some(other) => {
            let message = format!("{what} types {} and {} cannot be matched", type_name(&first), type_name(&other));
            Err(through(Error::new(SqlState::DatatypeMismatch, message)))
        }
        None => Ok(Some(first)),
    }
}

/// Values brought to the one type that all of them meet in, as items of one array.
pub fn of_one_type(what: &str, values: Vec<Expr>, schema: &DFSchema) -> Result<Vec<Expr>> {
    let first = common_type(what, values.iter(), schema)?.unwrap_or(DataType::Utf8View);
    let numeric = |ty: &DataType| ty.is_numeric().then(|| ty.clone());
    let types = values.iter().filter_map(|value| value.get_type(schema).ok().as_ref().and_then(numeric));
    let ty = match first.is_numeric() {
        true => types.reduce(wider).unwrap_or(first),
        false if first.is_string() => DataType::Utf8View,
        false => first,
    };
    let one = |value: Expr| {
        let value = resolve(value, &ty)?;
        Ok(if value.get_type(schema)? == ty { value } else { settle_one(cast(value, ty.clone()), schema)?.data })
    };
    values.into_iter().map(one).collect()
}

/// Of two numeric types the one that PostgreSQL would take for both.
pub fn wider(left: DataType, right: DataType) -> DataType {
    let rank = |ty: &DataType| match ty {
        DataType::Int16 => 1,
        DataType::Int32 => 2,
        DataType::Int64 => 3,
        DataType::Decimal128(..) => 4,
        DataType::Float32 => 5,
        _ => 6,
    };
    match (&left, &right) {
        (DataType::Decimal128(_, a), DataType::Decimal128(_, b)) => DataType::Decimal128(38, *a.max(b)),
        _ if rank(&left) >= rank(&right) => left,
        _ => right,
    }
}

/// Whether values of two types can stand beside each other, in a comparison or as results of one CASE.
fn comparable(left: &DataType, right: &DataType) -> bool {
    let moment = |ty: &DataType| matches!(ty, DataType::Timestamp(..) | DataType::Date32);
    left == right
        || left.is_null()
        || right.is_null()
        || (left.is_numeric() && right.is_numeric())
        || (left.is_string() && right.is_string())
        || (moment(left) && moment(right))
        || (left.is_nested() && right.is_nested())
        || SqlType::from_arrow(left) == SqlType::from_arrow(right)
}

/// [`resolve`] for a value that `op` compares with one of type `ty`.
fn compared(expr: Expr, op: &str, ty: &DataType, schema: &DFSchema) -> Result<Expr> {
    let expr = resolve(expr, ty)?;
    match expr.get_type(schema) {
        Ok(other) if unknown(&expr).is_none() && !comparable(ty, &other) => {
            Err(through(no_operator(&type_name(ty), op, &type_name(&other))))
        }
        _ => Ok(expr),
    }
}

/// An unknown literal beside an expression takes its type.
fn resolve(expr: Expr, ty: &DataType) -> Result<Expr> {
    match unknown(&expr) {
        Some(text) if !ty.is_string() && !ty.is_null() => literal_as(&text, ty),
        _ => Ok(expr),
    }
}

/// Whole numbers are integer if they fit, then bigint, then numeric.
fn settle_literal(value: ScalarValue, metadata: Option<FieldMetadata>) -> Result<Transformed<Expr>> {
    let settled = match value {
        ScalarValue::Int64(Some(number)) if i32::try_from(number).is_ok() => {
            ScalarValue::Int32(i32::try_from(number).ok())
        }
        // 1e3 is read as one, ten to the third times: a scale below zero, which SQL's numeric has not.
        ScalarValue::Decimal128(Some(digits), precision, scale) if scale < 0 => {
            let zeros = scale.unsigned_abs();
            let whole = 10_i128.checked_pow(u32::from(zeros)).and_then(|power| digits.checked_mul(power));
            match whole.filter(|_| precision + zeros <= 38) {
                Some(whole) => ScalarValue::Decimal128(Some(whole), precision + zeros, 0),
                None => return Err(through(overflows())),
            }
        }
        ScalarValue::Decimal256(..) => return Err(through(overflows())),
        ScalarValue::UInt64(Some(number)) => ScalarValue::Decimal128(Some(i128::from(number)), 20, 0),
        other => return Ok(Transformed::no(Expr::Literal(other, metadata))),
    };
    Ok(Transformed::yes(lit(settled)))
}

/// DataFusion negates with wrapping.
fn settle_negative(inner: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let Expr::Literal(ScalarValue::Int32(Some(number)), _) = &inner
        && let Some(negative) = number.checked_neg()
    {
        return Ok(Transformed::yes(lit(negative)));
    }
    let zero = match inner.get_type(schema) {
        Ok(DataType::Int16) => ScalarValue::Int16(Some(0)),
        Ok(DataType::Int32) => ScalarValue::Int32(Some(0)),
        Ok(DataType::Int64) => ScalarValue::Int64(Some(0)),
        _ => return Ok(Transformed::no(Expr::Negative(Box::new(inner)))),
    };
    Ok(Transformed::yes(binary(lit(zero), Operator::Minus, inner)))
}

fn settle_cast(cast: Cast, schema: &DFSchema) -> Result<Expr> {
    let to = cast.field.data_type().clone();
    let Ok(from) = cast.expr.get_type(schema) else { return Ok(Expr::Cast(cast)) };
    if let Some(text) = unknown(&cast.expr)
        && !to.is_string()
    {
        return with_modifier(literal_as(&text, &to)?, cast);
    }
    if to.is_string() {
        let text = text_of(*cast.expr, &from);
        return match SqlType::from_field(&cast.field) {
            // An explicit cast cuts, as in PostgreSQL; an assignment fails instead.
            SqlType::Varchar(Some(length)) => {
                let length = i64::from(length);
                call("left", vec![text, lit(length)])
            }
            _ => Ok(text),
        };
    }
    Ok(match (&from, &to) {
        (
            DataType::Timestamp(..) | DataType::Time64(_) | DataType::Null,
            DataType::Timestamp(..) | DataType::Time64(_),
        ) => rounded_time(cast)?,
        (DataType::LargeBinary, DataType::Boolean) => call(jsonb::TO_BOOLEAN, vec![*cast.expr])?,
        (DataType::LargeBinary, to) if to.is_numeric() => {
            let number = call(jsonb::TO_NUMERIC, vec![*cast.expr, lit(type_name(to))])?;
            return settle(Expr::Cast(Cast { expr: Box::new(number), field: cast.field }), schema);
        }
        (DataType::Interval(_), DataType::Time64(_)) => call(temporal::INTERVAL_TO_TIME, vec![*cast.expr])?,
        (DataType::Time64(_), DataType::Interval(_)) => call(temporal::TIME_TO_INTERVAL, vec![*cast.expr])?,
        (from, to) if from.is_string() && is_read_here(to) => {
            call(scalar::OF_TEXT, vec![*cast.expr, lit(ScalarValue::try_from(to)?)])?
        }
        (from, to) if !from.is_null() && from != to && (is_opaque(from) || is_opaque(to)) => {
            return Err(through(no_cast(from, to)));
        }
        (DataType::Float32 | DataType::Float64, DataType::Int16 | DataType::Int32 | DataType::Int64) => {
            Expr::Cast(Cast { expr: Box::new(rounded(*cast.expr)?), field: cast.field })
        }
        (DataType::Float64, DataType::Float32) => call(scalar::TO_REAL, vec![*cast.expr])?,
        (from, DataType::Float32) if from.is_string() => call(scalar::TO_REAL, vec![*cast.expr])?,
        (from, DataType::Float64) if from.is_string() => call(scalar::TO_DOUBLE, vec![*cast.expr])?,
        (DataType::Decimal128(_, scale), DataType::Int16 | DataType::Int32 | DataType::Int64) if *scale > 0 => {
            // Arrow's cast to fewer decimal places rounds, its cast to integers cuts.
            let whole = self::cast(*cast.expr, DataType::Decimal128(38, 0));
            Expr::Cast(Cast { expr: Box::new(whole), field: cast.field })
        }
        _ => Expr::Cast(cast),
    })
}

/// Types whose text Arrow reads otherwise than PostgreSQL, or not at all.
fn is_read_here(ty: &DataType) -> bool {
    matches!(ty, DataType::Interval(_) | DataType::Time64(_) | DataType::List(_) | DataType::Struct(_)) || is_opaque(ty)
}

/// Types that are bytes to Arrow, which it would give to any other that is.
fn is_opaque(ty: &DataType) -> bool {
    matches!(ty, DataType::FixedSizeBinary(_) | DataType::LargeBinary | DataType::BinaryView)
}

fn no_cast(from: &DataType, to: &DataType) -> Error {
    let message = format!("cannot cast type {} to {}", type_name(from), type_name(to));
    Error::new(SqlState::CannotCoerce, message)
}

/// Keeps a declared precision (timestamp(3)) that a folded literal would lose.
fn with_modifier(literal: Expr, cast: Cast) -> Result<Expr> {
    if cast.field.metadata().is_empty() {
        return Ok(literal);
    }
    rounded_time(Cast { expr: Box::new(literal), field: cast.field })
}

/// A cast to timestamp(3) rounds.
fn rounded_time(cast: Cast) -> Result<Expr> {
    let digits = match SqlType::from_field(&cast.field) {
        SqlType::Timestamp(digits) | SqlType::TimestampTz(digits) | SqlType::Time(digits) if digits < 6 => digits,
        _ => return Ok(Expr::Cast(cast)),
    };
    if matches!(cast.expr.as_ref(), Expr::ScalarFunction(f) if f.name() == scalar::ROUND_TIME) {
        return Ok(Expr::Cast(cast));
    }
    // Arrow's casts cut, so the rounding comes first; to a time of another type, behind the cast.
    let time = Expr::Cast(Cast::new(cast.expr, cast.field.data_type().clone()));
    let rounded = call(scalar::ROUND_TIME, vec![time, lit(i32::from(digits))])?;
    Ok(Expr::Cast(Cast { expr: Box::new(rounded), field: cast.field }))
}

/// Halves to even, as PostgreSQL rounds floating-point numbers, but not numeric ones.
fn rounded(expr: Expr) -> Result<Expr> {
    match &expr {
        Expr::ScalarFunction(function) if [scalar::ROUND_EVEN, "round"].contains(&function.name()) => Ok(expr),
        _ => call(scalar::ROUND_EVEN, vec![expr]),
    }
}

/// PostgreSQL's text of a value.
pub fn text_of(expr: Expr, from: &DataType) -> Expr {
    match from {
        DataType::Utf8View => expr,
        // Whose text Arrow writes as PostgreSQL does; a boolean that is cast is a word.
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Decimal128(..)
        | DataType::Null => cast(expr, DataType::Utf8View),
        other if other.is_string() => cast(expr, DataType::Utf8View),
        _ => {
            let fallback = cast(expr.clone(), DataType::Utf8View);
            call(scalar::TO_TEXT, vec![expr]).unwrap_or(fallback)
        }
    }
}

/// Replaces what depends on nothing by its value. What fails stays, to fail when (and if) a row needs it.
pub fn fold(expr: Expr) -> Result<Expr> {
    Ok(expr.transform_up(|expr| Ok(fold_one(expr)))?.data)
}

fn fold_one(expr: Expr) -> Transformed<Expr> {
    match evaluate(&expr) {
        Some(value) => Transformed::yes(lit(value)),
        None => Transformed::no(expr),
    }
}

/// The value of an expression over literals alone, if it has one that stored plans can hold.
fn evaluate(expr: &Expr) -> Option<ScalarValue> {
    let computes = match expr {
        Expr::ScalarFunction(function) => function.func.signature().volatility == Volatility::Immutable,
        // A cast to a type with a declared precision says more than its value.
        Expr::Cast(cast) => cast.field.metadata().is_empty(),
        Expr::BinaryExpr(_)
        | Expr::TryCast(_)
        | Expr::Not(_)
        | Expr::Negative(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::Like(_)
        | Expr::SimilarTo(_)
        | Expr::Between(_)
        | Expr::InList(_)
        | Expr::Case(_) => true,
        _ => false,
    };
    if !computes || !over_literals(expr) {
        return None;
    }
    let schema = Arc::new(Schema::empty());
    let one_row = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::clone(&schema), Vec::new(), &one_row).ok()?;
    let value = match Scalar::new(expr.clone()).physical(&schema).ok()?.evaluate(&row).ok()? {
        ColumnarValue::Scalar(value) => value,
        ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0).ok()?,
    };
    let short = value.size() <= MAX_FOLDED_BYTES;
    let storable = short && !value.data_type().is_null() && print(&lit(value.clone())).is_ok();
    storable.then_some(value)
}

fn over_literals(expr: &Expr) -> bool {
    let mut all = true;
    let visited = expr.apply_children(|child| {
        all &= matches!(child, Expr::Literal(..));
        Ok(if all { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    visited.is_ok() && all
}
