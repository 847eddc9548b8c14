//! Partial results of one aggregate function: exact, and the same whatever the order in which they are merged.

use serde::{Deserialize, Serialize};

use crate::job::{AggregateFunction, AggregateValue};
use crate::value::{self, Type, Value};

/// A sum left the range of 128 bits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sum is out of range")]
pub struct Overflow;

/// The partial result of one aggregate function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Accumulator {
    Count(u64),
    /// In units of the column: ones, or millionths for decimals.
    Sum(i128),
    Min(Value),
    Max(Value),
    Avg {
        sum: i128,
        count: u64,
    },
}

impl Accumulator {
    /// The result of no values.
    pub(crate) fn empty(function: AggregateFunction) -> Self {
        match function {
            AggregateFunction::Count => Self::Count(0),
            AggregateFunction::Sum => Self::Sum(0),
            AggregateFunction::Min => Self::Min(Value::Null),
            AggregateFunction::Max => Self::Max(Value::Null),
            AggregateFunction::Avg => Self::Avg { sum: 0, count: 0 },
        }
    }

    /// Adds one value; an absent one changes nothing. `None` stands for the record itself.
    pub(crate) fn add(&mut self, value: Option<&Value>) -> Result<(), Overflow> {
        if value.is_some_and(Value::is_null) {
            return Ok(());
        }
        let addend = match value {
            Some(Value::Int(v)) => i128::from(*v),
            Some(Value::Decimal(v)) => *v,
            _ => 0,
        };
        match self {
            Self::Count(count) => *count = count.checked_add(1).ok_or(Overflow)?,
            Self::Sum(sum) => *sum = sum.checked_add(addend).ok_or(Overflow)?,
            Self::Avg { sum, count } => {
                *sum = sum.checked_add(addend).ok_or(Overflow)?;
                *count = count.checked_add(1).ok_or(Overflow)?;
            }
            Self::Min(least) => lower(least, value),
            Self::Max(greatest) => raise(greatest, value),
        }
        Ok(())
    }

    /// Adds another partial result of the same function.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<(), Overflow> {
        match (self, other) {
            (Self::Count(a), Self::Count(b)) => *a = a.checked_add(*b).ok_or(Overflow)?,
            (Self::Sum(a), Self::Sum(b)) => *a = a.checked_add(*b).ok_or(Overflow)?,
            (Self::Avg { sum, count }, Self::Avg { sum: b, count: n }) => {
                *sum = sum.checked_add(*b).ok_or(Overflow)?;
                *count = count.checked_add(*n).ok_or(Overflow)?;
            }
            (Self::Min(a), Self::Min(b)) => lower(a, Some(b)),
            (Self::Max(a), Self::Max(b)) => raise(a, Some(b)),
            // The topology hash keeps state of another aggregation away; should it slip through, it must not pass silently.
            _ => return Err(Overflow),
        }
        Ok(())
    }

    /// Returns the final result.
    pub(crate) fn result(&self, spec: &AggregateValue) -> Value {
        let kind = spec.column.as_ref().map_or(Type::Int, |c| c.kind);
        match self {
            Self::Count(count) => Value::Int(i64::try_from(*count).unwrap_or(i64::MAX)),
            Self::Sum(sum) if kind == Type::Decimal => Value::Decimal(*sum),
            Self::Sum(sum) => match i64::try_from(*sum) {
                Ok(sum) => Value::Int(sum),
                // Beyond 64 bits the same digits are written by way of a decimal.
                Err(_) => sum.checked_mul(value::scale_of(Type::Decimal)).map_or(Value::Null, Value::Decimal),
            },
            Self::Min(value) | Self::Max(value) => value.clone(),
            Self::Avg { sum, count } => value::average_millionths(*sum, value::scale_of(kind), *count)
                .map_or(Value::Null, Value::Decimal),
        }
    }
}

fn lower(least: &mut Value, value: Option<&Value>) {
    if let Some(value) = value
        && !value.is_null()
        && (least.is_null() || value < least)
    {
        *least = value.clone();
    }
}

fn raise(greatest: &mut Value, value: Option<&Value>) {
    if let Some(value) = value
        && !value.is_null()
        && (greatest.is_null() || value > greatest)
    {
        *greatest = value.clone();
    }
}
