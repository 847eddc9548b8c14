//! The shape of scheduler calls: what can be told from the call alone.
//!
//! Owns row 9 of the admission table. Whether offers, tasks or frameworks exist is not its business.

use tepui_proto::ids::validate_id;
use tepui_proto::v1;
use tepui_proto::v1::scheduler::Call;
use tepui_proto::v1::scheduler::call::Type;
use tepui_proto::wire::WireMessage;

use super::Rejection;

/// Bytes of a UUID on the wire: raw, not text.
const UUID_BYTES: usize = 16;

/// Checks that the call has a known type, the member of that type, all required fields, and well-formed identifiers.
///
/// # Errors
/// Names the first field that is wrong: status 400, or 501 for a type that this version does not know.
pub fn call(call: &Call) -> Result<(), Rejection> {
    let Some(number) = call.r#type else { return Err(Rejection::new("'type' is not set")) };
    let known = Type::try_from(number).unwrap_or(Type::Unknown);
    member(call, known)?;
    if let Some(field) = call.missing() {
        return Err(Rejection::new(format!("required field '{field}' is not set")));
    }
    if known == Type::Subscribe {
        return subscribe(call);
    }
    id("framework_id", call.framework_id.as_ref().and_then(|id| id.value.as_deref()))?;
    if known == Type::Unknown {
        return Err(Rejection { status: 501, reason: format!("call type {number} is not implemented") });
    }
    members(call, known)
}

/// The member of the union that `type` announces must be there.
fn member(call: &Call, known: Type) -> Result<(), Rejection> {
    let (name, present) = match known {
        Type::Subscribe => ("subscribe", call.subscribe.is_some()),
        Type::Accept => ("accept", call.accept.is_some()),
        Type::Decline => ("decline", call.decline.is_some()),
        Type::AcceptInverseOffers => ("accept_inverse_offers", call.accept_inverse_offers.is_some()),
        Type::DeclineInverseOffers => ("decline_inverse_offers", call.decline_inverse_offers.is_some()),
        Type::Kill => ("kill", call.kill.is_some()),
        Type::Shutdown => ("shutdown", call.shutdown.is_some()),
        Type::Acknowledge => ("acknowledge", call.acknowledge.is_some()),
        Type::AcknowledgeOperationStatus => {
            ("acknowledge_operation_status", call.acknowledge_operation_status.is_some())
        }
        Type::Reconcile => ("reconcile", call.reconcile.is_some()),
        Type::ReconcileOperations => ("reconcile_operations", call.reconcile_operations.is_some()),
        Type::Message => ("message", call.message.is_some()),
        Type::Request => ("request", call.request.is_some()),
        Type::UpdateFramework => ("update_framework", call.update_framework.is_some()),
        // These three say enough by their type.
        Type::Teardown | Type::Revive | Type::Suppress | Type::Unknown => return Ok(()),
    };
    if present { Ok(()) } else { Err(Rejection::new(format!("'{name}' is not set"))) }
}

fn subscribe(call: &Call) -> Result<(), Rejection> {
    let outer = call.framework_id.as_ref().map_or("", v1::FrameworkId::value);
    let info = call.subscribe.as_ref().and_then(|subscribe| subscribe.framework_info.as_ref());
    let inner = info.and_then(|info| info.id.as_ref()).map_or("", v1::FrameworkId::value);
    if outer != inner {
        return Err(Rejection::new("'framework_id' differs from 'subscribe.framework_info.id'"));
    }
    Ok(())
}

fn members(call: &Call, known: Type) -> Result<(), Rejection> {
    match known {
        Type::Acknowledge => {
            let it = call.acknowledge.as_ref();
            uuid("acknowledge.uuid", it.and_then(|it| it.uuid.as_deref()))?;
            id("acknowledge.agent_id", it.and_then(|it| it.agent_id.as_ref()).map(v1::AgentId::value))?;
            id("acknowledge.task_id", it.and_then(|it| it.task_id.as_ref()).map(v1::TaskId::value))
        }
        Type::AcknowledgeOperationStatus => {
            let it = call.acknowledge_operation_status.as_ref();
            uuid("acknowledge_operation_status.uuid", it.and_then(|it| it.uuid.as_deref()))?;
            let agent = it.and_then(|it| it.agent_id.as_ref()).map(v1::AgentId::value);
            id("acknowledge_operation_status.agent_id", agent)
        }
        Type::UpdateFramework => {
            let info = call.update_framework.as_ref().and_then(|update| update.framework_info.as_ref());
            if info.and_then(|info| info.id.as_ref()) != call.framework_id.as_ref() {
                return Err(Rejection::new(
                    "'framework_id' differs from 'update_framework.framework_info.id'",
                ));
            }
            Ok(())
        }
        // Ids in these name things that may or may not exist: an ill-formed one simply names nothing.
        Type::Accept
        | Type::Decline
        | Type::AcceptInverseOffers
        | Type::DeclineInverseOffers
        | Type::Kill
        | Type::Shutdown
        | Type::Reconcile
        | Type::ReconcileOperations
        | Type::Message
        | Type::Request
        | Type::Teardown
        | Type::Revive
        | Type::Suppress
        | Type::Subscribe
        | Type::Unknown => Ok(()),
    }
}

/// Checks an identifier, naming its field.
pub(crate) fn id(field: &str, value: Option<&str>) -> Result<(), Rejection> {
    let value = value.ok_or_else(|| Rejection::new(format!("'{field}' is not set")))?;
    validate_id(value).map_err(|error| Rejection::new(format!("'{field}' is not valid: {error}")))
}

/// Checks that a UUID has its 16 raw bytes, naming its field.
pub(crate) fn uuid(field: &str, value: Option<&[u8]>) -> Result<(), Rejection> {
    match value.map(<[u8]>::len) {
        Some(UUID_BYTES) => Ok(()),
        Some(bytes) => Err(Rejection::new(format!("'{field}' has {bytes} bytes instead of {UUID_BYTES}"))),
        None => Err(Rejection::new(format!("'{field}' is not set"))),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn of(kind: Type) -> Call {
        Call {
            r#type: Some(kind as i32),
            framework_id: Some(v1::FrameworkId { value: Some("f".into()) }),
            ..Call::default()
        }
    }

    fn reason(of: &Call) -> String {
        call(of).unwrap_err().reason
    }

    #[test]
    fn a_type_is_needed_and_must_be_known() {
        assert_eq!(reason(&Call::default()), "'type' is not set");
        assert_eq!(call(&of(Type::Unknown)).unwrap_err().status, 501);
        assert_eq!(call(&Call { r#type: Some(99), ..of(Type::Accept) }).unwrap_err().status, 501);
    }

    #[test]
    fn every_member_is_asked_for_by_name() {
        let table = [
            (Type::Subscribe, "subscribe"),
            (Type::Accept, "accept"),
            (Type::Decline, "decline"),
            (Type::AcceptInverseOffers, "accept_inverse_offers"),
            (Type::DeclineInverseOffers, "decline_inverse_offers"),
            (Type::Kill, "kill"),
            (Type::Shutdown, "shutdown"),
            (Type::Acknowledge, "acknowledge"),
            (Type::AcknowledgeOperationStatus, "acknowledge_operation_status"),
            (Type::Reconcile, "reconcile"),
            (Type::ReconcileOperations, "reconcile_operations"),
            (Type::Message, "message"),
            (Type::Request, "request"),
            (Type::UpdateFramework, "update_framework"),
        ];
        for (kind, member) in table {
            assert_eq!(reason(&of(kind)), format!("'{member}' is not set"));
        }
        for kind in [Type::Teardown, Type::Revive, Type::Suppress] {
            assert_eq!(call(&of(kind)), Ok(()));
        }
    }

    #[test]
    fn all_but_subscribe_need_a_framework_id() {
        let mut nameless = of(Type::Revive);
        nameless.framework_id = None;
        assert_eq!(reason(&nameless), "'framework_id' is not set");
        nameless.framework_id = Some(v1::FrameworkId { value: Some("../x".into()) });
        assert!(reason(&nameless).starts_with("'framework_id' is not valid"));
    }

    #[test]
    fn subscribe_names_the_same_framework_twice_or_never() {
        let info = v1::FrameworkInfo {
            user: Some("u".into()),
            name: Some("n".into()),
            id: Some(v1::FrameworkId { value: Some("f".into()) }),
            ..Default::default()
        };
        let mut subscribe = of(Type::Subscribe);
        subscribe.subscribe =
            Some(v1::scheduler::call::Subscribe { framework_info: Some(info), ..Default::default() });
        assert_eq!(call(&subscribe), Ok(()));
        subscribe.framework_id = None;
        assert!(reason(&subscribe).contains("differs"));
    }

    #[test]
    fn uuids_are_sixteen_raw_bytes() {
        let mut acknowledge = of(Type::Acknowledge);
        let mut body = v1::scheduler::call::Acknowledge {
            agent_id: Some(v1::AgentId { value: Some("a".into()) }),
            task_id: Some(v1::TaskId { value: Some("t".into()) }),
            uuid: Some(Bytes::from_static(b"0123456789abcdef")),
        };
        acknowledge.acknowledge = Some(body.clone());
        assert_eq!(call(&acknowledge), Ok(()));
        body.uuid = Some(Bytes::from_static(b"short"));
        acknowledge.acknowledge = Some(body.clone());
        assert_eq!(reason(&acknowledge), "'acknowledge.uuid' has 5 bytes instead of 16");
        body.uuid = None;
        acknowledge.acknowledge = Some(body);
        assert!(reason(&acknowledge).contains("acknowledge.uuid"));
    }

    #[test]
    fn an_acknowledged_operation_has_an_agent() {
        let mut acknowledge = of(Type::AcknowledgeOperationStatus);
        let body = v1::scheduler::call::AcknowledgeOperationStatus {
            agent_id: Some(v1::AgentId { value: Some("a".into()) }),
            uuid: Some(Bytes::from_static(b"0123456789abcdef")),
            operation_id: Some(v1::OperationId { value: Some("o".into()) }),
            ..Default::default()
        };
        acknowledge.acknowledge_operation_status = Some(body.clone());
        assert_eq!(call(&acknowledge), Ok(()));
        let without = v1::scheduler::call::AcknowledgeOperationStatus { agent_id: None, ..body.clone() };
        acknowledge.acknowledge_operation_status = Some(without);
        assert_eq!(reason(&acknowledge), "'acknowledge_operation_status.agent_id' is not set");
        let short = v1::scheduler::call::AcknowledgeOperationStatus {
            uuid: Some(Bytes::from_static(b"short")),
            ..body
        };
        acknowledge.acknowledge_operation_status = Some(short);
        assert!(reason(&acknowledge).contains("acknowledge_operation_status.uuid"));
    }
}
