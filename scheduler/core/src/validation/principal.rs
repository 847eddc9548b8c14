//! Who a framework says it is, compared with who it has proven to be.

use tepui_proto::v1::scheduler::Call;

use super::Rejection;

/// Refuses a subscription that names another principal than the authenticated one; naming none is right, it is filled in.
///
/// # Errors
/// 400 that names both.
pub fn principal(call: &Call, authenticated: Option<&str>) -> Result<(), Rejection> {
    let Some(authenticated) = authenticated else { return Ok(()) };
    let info = call.subscribe.as_ref().and_then(|subscribe| subscribe.framework_info.as_ref());
    match info.and_then(|info| info.principal.as_deref()) {
        Some(named) if named != authenticated => Err(Rejection::new(format!(
            "'framework_info.principal' is '{named}' but the framework authenticated as '{authenticated}'"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tepui_proto::v1::FrameworkInfo;
    use tepui_proto::v1::scheduler::call::Subscribe;

    use super::*;

    #[test]
    fn a_named_principal_must_be_the_authenticated_one() {
        let call = |principal: Option<&str>| {
            let info = FrameworkInfo { principal: principal.map(str::to_owned), ..Default::default() };
            let subscribe = Subscribe { framework_info: Some(info), ..Default::default() };
            Call { subscribe: Some(subscribe), ..Default::default() }
        };
        for (named, authenticated, fits) in [
            (None, None, true),
            (Some("a"), None, true),
            (None, Some("a"), true),
            (Some("a"), Some("a"), true),
            (Some("b"), Some("a"), false),
            (Some(""), Some("a"), false),
        ] {
            let checked = principal(&call(named), authenticated);
            assert_eq!(checked.is_ok(), fits, "{named:?} {authenticated:?}");
        }
        assert_eq!(principal(&Call::default(), Some("a")), Ok(()));
    }
}
