//! Aggregates as streaming queries compute them: with PostgreSQL's result types, exact, and failing on overflow. They run
//! the streaming operators' own accumulators.

use std::collections::{HashMap, HashSet};
use std::mem::size_of_val;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;

use crate::change::ChangeBatch;
use crate::change::bytes::Reader;
use crate::change::key::Direction;
use crate::error::Error;
use crate::operator::accumulator::{self, Input};
use crate::plan::errors::through;
use crate::plan::functions::functions;
use crate::plan::lower::{changing_separator, not_among_arguments};
use crate::plan::{AggregateCall, AggregateFunction, Changelog, SortColumn};
use crate::types::SqlType;

/// A call over a batch of its argument and what its ORDER BY names.
fn call_of(function: AggregateFunction, args: &AccumulatorArgs) -> Result<AggregateCall, Error> {
    let order = args.order_bys.iter().enumerate().map(|(at, by)| SortColumn {
        column: 1 + at,
        direction: Direction { descending: by.options.descending, nulls_first: by.options.nulls_first },
    });
    let collects = function.collects();
    if collects && args.is_distinct && args.order_bys.iter().any(|by| args.exprs.first() != Some(&by.expr)) {
        return Err(not_among_arguments());
    }
    let separator = match args.exprs.get(1).map(|expr| expr.downcast_ref::<Literal>()) {
        None => None,
        Some(Some(text)) => Some(text.value().try_as_str().flatten().unwrap_or_default().to_string()),
        Some(None) => return Err(changing_separator()),
    };
    let distinct = args.is_distinct && collects;
    let order = order.filter(|_| collects).collect();
    Ok(AggregateCall { distinct, order, separator, ..AggregateCall::new(function, Some(0)) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Typed {
    function: AggregateFunction,
    /// Knows the types.
    planned: Arc<AggregateUDF>,
    signature: Signature,
}

/// The aggregates that are not DataFusion's own here, under each of their names.
static TYPED: LazyLock<HashMap<String, Arc<AggregateUDF>>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    for function in AggregateFunction::typed() {
        let Some(planned) = functions().aggregate(&function.to_string()) else { continue };
        let signature = Signature::user_defined(Volatility::Immutable);
        let typed = Arc::new(AggregateUDF::new_from_impl(Typed { function, planned, signature }));
        let names = function.aliases().iter().map(|alias| (*alias).to_string());
        all.extend(names.chain([function.to_string()]).map(|name| (name, Arc::clone(&typed))));
    }
    all
});

pub fn by_name(name: &str) -> Option<Arc<AggregateUDF>> {
    TYPED.get(name).cloned()
}

impl AggregateUDFImpl for Typed {
    fn name(&self) -> &str {
        self.planned.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.planned.coerce_types(arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.planned.return_type(arguments)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let lost = || through(Error::internal("an aggregate misses its argument"));
        let argument = args.expr_fields.first().ok_or_else(lost)?.data_type().clone();
        let result = args.return_field.data_type().clone();
        let call = call_of(self.function, &args).map_err(through)?;
        let total = Total::new(call, argument.clone(), result).map_err(through)?;
        if args.is_distinct && tells_repetition(self.function) {
            return Ok(Box::new(Distinct { argument, seen: HashSet::new(), total }));
        }
        Ok(Box::new(total))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let state = match (args.is_distinct && tells_repetition(self.function), args.input_fields.first()) {
            (true, Some(argument)) => DataType::new_list(argument.data_type().clone(), true),
            _ => DataType::Binary,
        };
        Ok(vec![Arc::new(Field::new(args.name, state, true))])
    }

    /// What depends on an order sorts by itself.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        match self.function.collects() {
            true => AggregateOrderSensitivity::SoftRequirement,
            false => AggregateOrderSensitivity::Insensitive,
        }
    }

    /// It answers alike whether rows come sorted or not.
    fn with_beneficial_ordering(self: Arc<Self>, _: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.accumulator(args)
    }
}

/// One group's sum or average: an accumulator of one slot.
struct Total {
    call: AggregateCall,
    argument: DataType,
    result: DataType,
    kept: Box<dyn accumulator::Accumulator>,
}

impl std::fmt::Debug for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.call.function, self.argument)
    }
}

impl Total {
    fn new(call: AggregateCall, argument: DataType, result: DataType) -> Result<Self, Error> {
        let changelog = if takes_back(call.function) { Changelog::Changing } else { Changelog::AppendOnly };
        let mut kept = accumulator::create(&call, Some(&argument), &result, changelog)?;
        kept.grow(1);
        Ok(Total { call, argument, result, kept })
    }

    /// Adds every value `weight` times.
    fn add(&mut self, values: &[ArrayRef], weight: i64) -> Result<(), Error> {
        let Some(argument) = values.first() else { return Err(Error::internal("an aggregate misses its argument")) };
        let order = values.get(values.len() - self.call.order.len()..).unwrap_or_default();
        let columns = [argument].into_iter().chain(order).map(storable).collect::<Result<Vec<_>, Error>>()?;
        let fields: Vec<Field> = columns.iter().map(|c| Field::new("argument", c.data_type().clone(), true)).collect();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let weights = (weight != 1).then(|| ScalarBuffer::from(vec![weight; rows.num_rows()]));
        let batch = ChangeBatch::new(rows, weights)?;
        let slots = vec![0; batch.num_rows()];
        self.kept.update(&slots, &Input::new(&self.call, &batch)?)
    }

    fn merge_encoded(&mut self, state: &[u8]) -> Result<(), Error> {
        let mut other = Total::new(self.call.clone(), self.argument.clone(), self.result.clone())?;
        other.kept.decode(0, &mut Reader::new(state))?;
        self.kept.merge(&[0], other.kept.as_ref(), 0..1)
    }
}

/// Whether DISTINCT must be told apart in front of the accumulator.
fn tells_repetition(function: AggregateFunction) -> bool {
    !function.collects() && !function.ignores_repetition()
}

/// Sketches forget what they were made of.
fn takes_back(function: AggregateFunction) -> bool {
    function != AggregateFunction::ApproxCountDistinct
}

/// The column in the one Arrow type that its SQL type has.
fn storable(column: &ArrayRef) -> Result<ArrayRef, Error> {
    let wanted = SqlType::from_arrow(column.data_type()).to_arrow();
    Ok(if *column.data_type() == wanted { Arc::clone(column) } else { cast(column, &wanted)? })
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, 1).map_err(through)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, -1).map_err(through)
    }

    fn supports_retract_batch(&self) -> bool {
        takes_back(self.call.function)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let answer = self.kept.finish(&[0]).map_err(through)?;
        ScalarValue::try_from_array(&answer, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.kept.bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut state = Vec::new();
        self.kept.encode(0, &mut state);
        Ok(vec![ScalarValue::Binary(Some(state))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = states.first().and_then(|s| s.as_binary_opt::<i32>());
        let states = states.ok_or_else(|| DataFusionError::Internal("an aggregate's state is no binary".into()))?;
        states.iter().flatten().try_for_each(|state| self.merge_encoded(state)).map_err(through)
    }
}

/// Each value once.
#[derive(Debug)]
struct Distinct {
    argument: DataType,
    seen: HashSet<ScalarValue>,
    total: Total,
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        for row in 0..values.len() {
            let value = ScalarValue::try_from_array(values, row)?;
            if !value.is_null() && self.seen.insert(value) {
                self.total.update_batch(&[values.slice(row, 1)])?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.total.evaluate()
    }

    fn size(&self) -> usize {
        let values = self.seen.iter().map(ScalarValue::size).sum::<usize>();
        size_of_val(self) + self.total.kept.bytes() + values
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let seen: Vec<_> = self.seen.iter().cloned().collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(&seen, &self.argument))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = states.first().and_then(|s| s.as_list_opt::<i32>());
        let states = states.ok_or_else(|| DataFusionError::Internal("an aggregate's state is no list".into()))?;
        states.iter().flatten().try_for_each(|values| self.update_batch(&[values]))
    }
}
