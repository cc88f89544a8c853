//! Functions of ours by the types of their arguments, chosen as PostgreSQL chooses among functions of one name: an
//! argument of the exact type, one that becomes it by an implicit cast, or a literal that has no type yet.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast as cast_array;
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use super::arithmetic::chain_name;
use super::bounded;
pub use super::call::{Call, at, other_arguments};
use super::results::list_of;
use crate::error::{Error, Result, SqlState};
use crate::plan::errors::{through, type_name};
use crate::plan::query::settle::wider;
use crate::plan::query::typing::{cast, literal_as, unknown};
use crate::types::{NUMERIC_DEFAULT, SqlType, UTC, uuid};

/// What a function takes in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    Boolean,
    Integer,
    BigInt,
    Numeric,
    Real,
    Double,
    Text,
    Bytea,
    Date,
    Timestamp,
    TimestampTz,
    Time,
    Interval,
    Uuid,
    Jsonb,
    /// An array of whatever items.
    Array,
    TextArray,
    Any,
}

impl Parameter {
    fn accepts(self, ty: &DataType) -> bool {
        match self {
            Parameter::Any => true,
            Parameter::Array => matches!(ty, DataType::List(_)),
            Parameter::Numeric => matches!(ty, DataType::Decimal128(..)),
            Parameter::TextArray => matches!(ty, DataType::List(item) if *item.data_type() == DataType::Utf8View),
            other => other.data_type() == *ty,
        }
    }

    /// The type of a literal in this place that has none of its own.
    fn data_type(self) -> DataType {
        match self {
            Parameter::Boolean => DataType::Boolean,
            Parameter::Integer => DataType::Int32,
            Parameter::BigInt => DataType::Int64,
            Parameter::Numeric => DataType::Decimal128(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1),
            Parameter::Real => DataType::Float32,
            Parameter::Double => DataType::Float64,
            Parameter::Text | Parameter::Any => DataType::Utf8View,
            Parameter::Bytea => DataType::BinaryView,
            Parameter::Date => DataType::Date32,
            Parameter::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Parameter::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Parameter::Time => DataType::Time64(TimeUnit::Microsecond),
            Parameter::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Parameter::Uuid => DataType::FixedSizeBinary(uuid::BYTES),
            Parameter::Jsonb => DataType::LargeBinary,
            Parameter::Array | Parameter::TextArray => SqlType::Array(Box::new(SqlType::Text)).to_arrow(),
        }
    }

    fn name(self) -> String {
        match self {
            Parameter::Any => "any".into(),
            Parameter::Array => "anyarray".into(),
            other => type_name(&other.data_type()),
        }
    }

    /// How far a value of a type is from this place: 0 if it fits, more for an implicit cast; `None`: there is none.
    fn distance(self, ty: &DataType) -> Option<u32> {
        use DataType as D;
        let order = |ty: &DataType| match ty {
            D::Int16 => Some(1),
            D::Int32 => Some(2),
            D::Int64 => Some(3),
            D::Decimal128(..) => Some(4),
            D::Float32 => Some(5),
            D::Float64 => Some(6),
            D::Date32 => Some(11),
            D::Timestamp(_, None) => Some(12),
            D::Timestamp(_, Some(_)) => Some(13),
            _ => None,
        };
        if self.accepts(ty) || ty.is_null() {
            return Some(0);
        }
        let target = self.data_type();
        if ty.is_string() && target.is_string() {
            return Some(1);
        }
        if let (D::Timestamp(_, zone), D::Timestamp(_, wanted)) = (ty, &target)
            && zone.is_some() == wanted.is_some()
        {
            return Some(1);
        }
        match (order(ty)?, order(&target)?) {
            (from, to) if from < to && (from > 10) == (to > 10) => Some(to - from),
            _ => None,
        }
    }
}

/// One way of calling a function.
pub struct Form {
    pub parameters: &'static [Parameter],
    /// The last parameter may come any number of times, also none.
    pub variadic: bool,
    pub result: fn(&[DataType]) -> DataType,
    /// Over columns of the parameters' types.
    pub call: fn(Call<'_>) -> Result<ArrayRef>,
}

pub struct Definition {
    pub name: &'static str,
    pub forms: &'static [Form],
}

impl Form {
    pub const fn new(
        parameters: &'static [Parameter],
        result: fn(&[DataType]) -> DataType,
        call: fn(Call<'_>) -> Result<ArrayRef>,
    ) -> Form {
        Form { parameters, variadic: false, result, call }
    }

    pub const fn variadic(
        parameters: &'static [Parameter],
        result: fn(&[DataType]) -> DataType,
        call: fn(Call<'_>) -> Result<ArrayRef>,
    ) -> Form {
        Form { parameters, variadic: true, result, call }
    }

    fn parameter(&self, index: usize) -> Option<Parameter> {
        let last = self.parameters.last().filter(|_| self.variadic);
        self.parameters.get(index).or(last).copied()
    }

    fn takes(&self, count: usize) -> bool {
        match self.variadic {
            true => count + 1 >= self.parameters.len(),
            false => count == self.parameters.len(),
        }
    }

    /// How far the arguments are from the parameters, all together.
    fn distance(&self, types: &[DataType]) -> Option<u32> {
        if !self.takes(types.len()) {
            return None;
        }
        types.iter().enumerate().map(|(i, ty)| self.parameter(i)?.distance(ty)).sum()
    }
}

/// A function as DataFusion knows it.
#[derive(Debug)]
pub struct Defined {
    definition: &'static Definition,
    signature: Signature,
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Defined {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for Defined {}

impl Hash for Defined {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl Defined {
    pub fn function(definition: &'static Definition) -> Arc<ScalarUDF> {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Defined { definition, signature }))
    }

    /// The arguments and the result of each form.
    pub fn forms(&self) -> impl Iterator<Item = (String, String)> {
        self.definition.forms.iter().map(|form| {
            let types: Vec<DataType> = form.parameters.iter().map(|parameter| parameter.data_type()).collect();
            let last = form.parameters.len().saturating_sub(1);
            let argument = |(place, parameter): (usize, &Parameter)| match form.variadic && place == last {
                true => format!("VARIADIC {}", parameter.name()),
                false => parameter.name(),
            };
            let arguments: Vec<String> = form.parameters.iter().enumerate().map(argument).collect();
            (arguments.join(", "), type_name(&(form.result)(&types)))
        })
    }

    fn form(&self, types: &[DataType]) -> Result<&'static Form> {
        let forms = self.definition.forms.iter();
        let near = forms.filter_map(|form| Some((form.distance(types)?, form))).min_by_key(|(distance, _)| *distance);
        near.map(|(_, form)| form).ok_or_else(|| {
            let types: Vec<String> = types.iter().map(type_name).collect();
            let call = format!("{}({})", self.definition.name, types.join(", "));
            Error::new(SqlState::UndefinedFunction, format!("function {call} does not exist")).with_hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            )
        })
    }

    /// The arguments in the types of the parameters.
    pub fn settle(&self, arguments: Vec<Expr>, schema: &DFSchema) -> DfResult<Vec<Expr>> {
        let types = arguments
            .iter()
            .map(|argument| match unknown(argument) {
                Some(_) => Ok(DataType::Null),
                None => argument.get_type(schema),
            })
            .collect::<DfResult<Vec<_>>>()?;
        let form = self.form(&types).map_err(through)?;
        let settled = arguments.into_iter().zip(types).enumerate().map(|(index, (argument, ty))| {
            let Some(parameter) = form.parameter(index) else { return Ok(argument) };
            match unknown(&argument) {
                Some(text) => literal_as(&text, &parameter.data_type()),
                None if ty.is_null() => Ok(lit(ScalarValue::try_from(&parameter.data_type())?)),
                None if parameter.accepts(&ty) => Ok(argument),
                None => Ok(cast(argument, parameter.data_type())),
            }
        });
        level(form, settled.collect::<DfResult<_>>()?, schema)
    }
}

/// An item beside an array, and the array, brought to the wider of their types: `integer = ANY (smallint[])`.
fn level(form: &Form, mut arguments: Vec<Expr>, schema: &DFSchema) -> DfResult<Vec<Expr>> {
    let place = |wanted| form.parameters.iter().position(|parameter| *parameter == wanted);
    let (Some(item), Some(array)) = (place(Parameter::Any), place(Parameter::Array)) else { return Ok(arguments) };
    let (Some(one), Some(many)) = (arguments.get(item), arguments.get(array)) else { return Ok(arguments) };
    let (ty, list) = (one.get_type(schema)?, many.get_type(schema)?);
    let DataType::List(items) = &list else { return Ok(arguments) };
    let items = items.data_type();
    if ty == *items || ty.is_null() || !(ty.is_numeric() && items.is_numeric()) {
        return Ok(arguments);
    }
    let common = wider(ty.clone(), items.clone());
    let to = |expr: Expr, from: &DataType, to: DataType| if *from == to { expr } else { cast(expr, to) };
    let wide_list = list_of(&common);
    for (index, argument) in arguments.iter_mut().enumerate() {
        let own = std::mem::take(argument);
        *argument = match index {
            _ if index == item => to(own, &ty, common.clone()),
            _ if index == array => to(own, &list, wide_list.clone()),
            _ => own,
        };
    }
    Ok(arguments)
}

impl ScalarUDFImpl for Defined {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(chain_name(self.name(), args))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DfResult<DataType> {
        // Asked before the arguments are settled, too: whole numbers are bigint then, texts have no type yet.
        let early = |ty: &DataType| match ty {
            DataType::Utf8 => DataType::Null,
            DataType::Int64 => DataType::Int32,
            other => other.clone(),
        };
        let early: Vec<DataType> = arguments.iter().map(early).collect();
        let form = self.form(arguments).or_else(|_| self.form(&early)).map_err(through)?;
        Ok((form.result)(arguments))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        bounded::check_defined(self.name(), &args.args, args.number_rows).map_err(through)?;
        let arrays = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<DfResult<Vec<_>>>()?;
        let types: Vec<DataType> = arrays.iter().map(|array| array.data_type().clone()).collect();
        let form = self.form(&types).map_err(through)?;
        // Plans that an earlier version has stored may give what is only a cast away.
        let fitted = arrays.into_iter().enumerate().map(|(index, array)| match form.parameter(index) {
            Some(parameter) if !parameter.accepts(array.data_type()) => Ok(cast_array(&array, &parameter.data_type())?),
            _ => Ok(array),
        });
        let arrays = fitted.collect::<DfResult<Vec<_>>>()?;
        let all_scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let result = (form.call)(Call::new(&arrays, args.number_rows)).map_err(through)?;
        if all_scalar && !result.is_empty() {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}
