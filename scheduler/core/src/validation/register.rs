//! Limits of framework state registers: how they are named and how large they are.

use tepui_proto::ids::validate_id;
use tepui_proto::tepui::operator::call::StateCas;

use super::Rejection;

/// Largest value of a register: it lives in every master's memory and in every snapshot.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// Checks a compare-and-set before it is proposed.
///
/// # Errors
/// Names the field; a value that is too large is answered with 413.
pub fn state_cas(call: &StateCas) -> Result<(), Rejection> {
    name("state_cas.scope", call.scope.as_deref())?;
    name("state_cas.key", call.key.as_deref())?;
    for (field, present) in [
        ("expected_version", call.expected_version.is_some()),
        ("generation", call.generation.is_some()),
        ("value", call.value.is_some()),
    ] {
        if !present {
            return Err(Rejection::new(format!("'state_cas.{field}' is not set")));
        }
    }
    let bytes = call.value.as_ref().map_or(0, bytes::Bytes::len);
    if bytes > MAX_VALUE_BYTES {
        let reason = format!("'state_cas.value' has {bytes} bytes, more than {MAX_VALUE_BYTES}");
        return Err(Rejection { status: 413, reason });
    }
    Ok(())
}

/// Scopes and keys obey the rules of ids.
fn name(field: &str, value: Option<&str>) -> Result<(), Rejection> {
    let value = value.ok_or_else(|| Rejection::new(format!("'{field}' is not set")))?;
    validate_id(value).map_err(|error| Rejection::new(format!("'{field}' is not valid: {error}")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn registers_have_names_and_a_size() {
        let good = StateCas {
            scope: Some("flights".into()),
            key: Some("stream".into()),
            expected_version: Some(0),
            generation: Some(1),
            value: Some(Bytes::from(vec![0; MAX_VALUE_BYTES])),
        };
        assert_eq!(state_cas(&good), Ok(()));
        let large = StateCas { value: Some(Bytes::from(vec![0; MAX_VALUE_BYTES + 1])), ..good.clone() };
        assert_eq!(state_cas(&large).unwrap_err().status, 413);
        for (bad, field) in [
            (StateCas { key: Some("a/b".into()), ..good.clone() }, "state_cas.key"),
            (StateCas { scope: Some(String::new()), ..good.clone() }, "state_cas.scope"),
            (StateCas { value: None, ..good.clone() }, "state_cas.value"),
            (StateCas { generation: None, ..good.clone() }, "state_cas.generation"),
            (StateCas { expected_version: None, ..good }, "state_cas.expected_version"),
        ] {
            let reason = state_cas(&bad).unwrap_err().reason;
            assert!(reason.contains(field), "{reason}");
        }
    }
}
