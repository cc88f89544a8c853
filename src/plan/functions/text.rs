//! Functions that make texts: of times, and of parts of other texts. They fail where their arguments make no sense, so they
//! are none of those that a condition may evaluate for every row.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::arguments::Arguments;
use super::pattern;
use super::time_format::Template;
use crate::error::Error;
use crate::plan::errors::{through, type_name};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    ToChar,
    DateFormat,
    RegexpSubstr,
    RegexpExtract,
    SplitIndex,
}

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Time,
    Text,
    Integer,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::ToChar, Kind::DateFormat, Kind::RegexpSubstr, Kind::RegexpExtract, Kind::SplitIndex];

    fn name(self) -> &'static str {
        match self {
            Kind::ToChar => "to_char",
            Kind::DateFormat => "date_format",
            Kind::RegexpSubstr => "regexp_substr",
            Kind::RegexpExtract => "regexp_extract",
            Kind::SplitIndex => "split_index",
        }
    }

    /// How many arguments it needs, and all that it takes.
    fn takes(self) -> (usize, &'static [Takes]) {
        use Takes::{Integer, Text, Time};
        match self {
            Kind::ToChar | Kind::DateFormat => (2, &[Time, Text]),
            Kind::RegexpSubstr => (2, &[Text, Text, Integer, Integer, Text, Integer]),
            Kind::RegexpExtract => (2, &[Text, Text, Integer]),
            Kind::SplitIndex => (3, &[Text, Text, Integer]),
        }
    }

    fn call(self, arguments: &Arguments) -> Result<ArrayRef, Error> {
        match self {
            Kind::ToChar => formatted(arguments, Template::postgres),
            Kind::DateFormat => formatted(arguments, Template::java),
            Kind::RegexpSubstr => pattern::regexp_substr(arguments),
            Kind::RegexpExtract => pattern::regexp_extract(arguments),
            Kind::SplitIndex => pattern::split_index(arguments),
        }
    }
}

impl Takes {
    fn accepts(self, ty: &DataType) -> bool {
        match self {
            Takes::Time => matches!(ty, DataType::Timestamp(TimeUnit::Microsecond, None) | DataType::Date32),
            Takes::Text => matches!(ty, DataType::Utf8 | DataType::Utf8View),
            Takes::Integer => matches!(ty, DataType::Int16 | DataType::Int32 | DataType::Int64),
        }
    }

    /// What a null is taken for.
    fn data_type(self) -> DataType {
        match self {
            Takes::Time => DataType::Timestamp(TimeUnit::Microsecond, None),
            Takes::Text => DataType::Utf8View,
            Takes::Integer => DataType::Int64,
        }
    }
}

fn formatted(arguments: &Arguments, read: fn(&str) -> Result<Template, Error>) -> Result<ArrayRef, Error> {
    let mut last: Option<(String, Template)> = None;
    let mut text = String::new();
    arguments.texts_of(|row, out: &mut StringViewBuilder| {
        let (Some(micros), Some(template)) = (row.micros(0)?, row.text(1)?) else {
            out.append_null();
            return Ok(());
        };
        let (_, template) = match &mut last {
            Some(known) if known.0 == template => known,
            last => last.insert((template.to_string(), read(template)?)),
        };
        text.clear();
        template.write(micros, &mut text)?;
        out.append_value(&text);
        Ok(())
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextFunction {
    kind: Kind,
    signature: Signature,
}

pub(super) fn all() -> impl Iterator<Item = Arc<ScalarUDF>> {
    Kind::ALL.into_iter().map(|kind| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(TextFunction { kind, signature }))
    })
}

impl ScalarUDFImpl for TextFunction {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let (least, takes) = self.kind.takes();
        let fits = |(ty, takes): (&DataType, &Takes)| ty.is_null() || takes.accepts(ty);
        if (least..=takes.len()).contains(&arguments.len()) && arguments.iter().zip(takes).all(fits) {
            return Ok(DataType::Utf8View);
        }
        let zoned = |ty: &DataType| matches!(ty, DataType::Timestamp(_, Some(_)));
        if takes.first() == Some(&Takes::Time) && arguments.first().is_some_and(zoned) {
            let message = format!("{} of a timestamp with time zone is not supported yet", self.name());
            return Err(through(Error::unsupported(message, "Cast it, which gives UTC: CAST(x AS timestamp).")));
        }
        let types = arguments.iter().map(type_name).collect::<Vec<_>>().join(", ");
        plan_err!("No function matches the given name and argument types '{}({types})'.", self.name())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let typed = args.args.iter().zip(self.kind.takes().1).map(|(value, takes)| match value.data_type() {
            DataType::Null => value.cast_to(&takes.data_type(), None),
            _ => Ok(value.clone()),
        });
        let rows = if constant { 1 } else { args.number_rows };
        let arguments = Arguments::new(&typed.collect::<Result<Vec<_>>>()?, rows).map_err(through)?;
        let texts = self.kind.call(&arguments).map_err(through)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?)),
            false => Ok(ColumnarValue::Array(texts)),
        }
    }
}
