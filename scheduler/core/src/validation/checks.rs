//! Commands, checks, health checks and kill policies: parts that tasks, executors and drivers share.

use tepui_proto::v1::{
    self, CheckInfo, CommandInfo, ContainerInfo, HealthCheck, check_info, container_info, health_check,
};

use super::Rejection;

/// Checks a command: something to run, URIs that say what to fetch, variables that say their value.
pub(crate) fn command(field: &str, command: &CommandInfo) -> Result<(), Rejection> {
    if command.value().is_empty() {
        return Err(Rejection::new(format!("'{field}.value' is not set")));
    }
    command_parts(field, command)
}

/// Like [`command`], but there may be nothing to run: an image may bring its own.
pub(crate) fn command_parts(field: &str, command: &CommandInfo) -> Result<(), Rejection> {
    if command.uris.iter().any(|uri| uri.value().is_empty()) {
        return Err(Rejection::new(format!("'{field}.uris' has one without 'value'")));
    }
    let escapes = |file: &str| file.starts_with('/') || file.split('/').any(|part| part == "..");
    if let Some(uri) = command.uris.iter().find(|uri| escapes(uri.output_file())) {
        return Err(Rejection::new(format!(
            "'{field}.uris' has output_file '{}' outside of the sandbox",
            uri.output_file()
        )));
    }
    for variable in command.environment.iter().flat_map(|environment| &environment.variables) {
        let name = variable.name();
        if name.is_empty() || name.contains('=') || name.contains('\0') {
            return Err(Rejection::new(format!("'{field}.environment' has a variable named {name:?}")));
        }
        let secret = variable.r#type() == v1::environment::variable::Type::Secret;
        if secret != variable.secret.is_some() || secret == variable.value.is_some() {
            return Err(Rejection::new(format!(
                "'{field}.environment' has variable '{name}' whose type and content differ"
            )));
        }
        if variable.value().contains('\0') {
            return Err(Rejection::new(format!("'{field}.environment' has a zero byte in '{name}'")));
        }
    }
    Ok(())
}

/// Checks that a span is not negative, naming its field.
pub(crate) fn not_negative(field: &str, span: Option<&v1::DurationInfo>) -> Result<(), Rejection> {
    match span.map(v1::DurationInfo::nanoseconds) {
        Some(nanoseconds) if nanoseconds < 0 => {
            Err(Rejection::new(format!("'{field}' is negative: {nanoseconds} nanoseconds")))
        }
        _ => Ok(()),
    }
}

fn seconds(field: &str, name: &str, value: f64) -> Result<(), Rejection> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Rejection::new(format!("'{field}.{name}' is {value}, not a span of time")))
}

fn port(field: &str, number: u32) -> Result<(), Rejection> {
    if (1..=65_535).contains(&number) {
        return Ok(());
    }
    Err(Rejection::new(format!("'{field}.port' is {number}, not a port")))
}

/// Checks that a container has what its type asks for, and that each of its volumes comes from one place.
pub(crate) fn container(field: &str, container: &ContainerInfo) -> Result<(), Rejection> {
    use container_info::Type;
    for volume in &container.volumes {
        let places = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
        if places.iter().filter(|place| **place).count() != 1 {
            return Err(Rejection::new(format!(
                "'{field}.volumes' has one with none or several of host_path, image and source"
            )));
        }
    }
    match container.r#type() {
        Type::Docker if container.docker.is_none() => {
            Err(Rejection::new(format!("'{field}.docker' is not set")))
        }
        Type::Docker | Type::Mesos => Ok(()),
    }
}

/// Whether a container says how cgroups are shared with its parent; the default is to share them.
pub(crate) fn share_cgroups(container: Option<&ContainerInfo>) -> Option<bool> {
    container?.linux_info.as_ref()?.share_cgroups
}

/// Checks a check and its spans.
pub(crate) fn check(field: &str, check: &CheckInfo) -> Result<(), Rejection> {
    use check_info::Type;
    let missing = |member: &str| Rejection::new(format!("'{field}.{member}' is not set"));
    match check.r#type() {
        Type::Unknown => return Err(missing("type")),
        Type::Command => {
            let inner = check.command.as_ref().and_then(|it| it.command.as_ref());
            command(&format!("{field}.command"), inner.ok_or_else(|| missing("command"))?)?;
        }
        Type::Http => {
            let http = check.http.as_ref().ok_or_else(|| missing("http"))?;
            port(&format!("{field}.http"), http.port())?;
            path(&format!("{field}.http"), http.path.as_deref())?;
        }
        Type::Tcp => {
            let tcp = check.tcp.as_ref().ok_or_else(|| missing("tcp"))?;
            port(&format!("{field}.tcp"), tcp.port())?;
        }
    }
    seconds(field, "delay_seconds", check.delay_seconds())?;
    seconds(field, "interval_seconds", check.interval_seconds())?;
    seconds(field, "timeout_seconds", check.timeout_seconds())
}

/// Checks a health check and its spans; its type is already there or inferred.
pub(crate) fn health_check(field: &str, health: &HealthCheck) -> Result<(), Rejection> {
    use health_check::Type;
    let missing = |member: &str| Rejection::new(format!("'{field}.{member}' is not set"));
    match health.r#type() {
        Type::Unknown => return Err(missing("type")),
        Type::Command => {
            let inner = health.command.as_ref().ok_or_else(|| missing("command"))?;
            command(&format!("{field}.command"), inner)?;
        }
        Type::Http => {
            let http = health.http.as_ref().ok_or_else(|| missing("http"))?;
            port(&format!("{field}.http"), http.port())?;
            path(&format!("{field}.http"), http.path.as_deref())?;
            if !matches!(http.scheme.as_deref(), None | Some("http" | "https")) {
                return Err(Rejection::new(format!("'{field}.http.scheme' is not http or https")));
            }
        }
        Type::Tcp => {
            let tcp = health.tcp.as_ref().ok_or_else(|| missing("tcp"))?;
            port(&format!("{field}.tcp"), tcp.port())?;
        }
    }
    seconds(field, "delay_seconds", health.delay_seconds())?;
    seconds(field, "interval_seconds", health.interval_seconds())?;
    seconds(field, "timeout_seconds", health.timeout_seconds())?;
    seconds(field, "grace_period_seconds", health.grace_period_seconds())
}

/// Returns what a health check without type must be, from the member that it has.
pub(crate) fn inferred_type(health: &HealthCheck) -> Option<health_check::Type> {
    if health.r#type.is_some() {
        return None;
    }
    match (&health.command, &health.http) {
        (Some(_), None) => Some(health_check::Type::Command),
        (None, Some(_)) => Some(health_check::Type::Http),
        _ => None,
    }
}

fn path(field: &str, path: Option<&str>) -> Result<(), Rejection> {
    match path {
        Some(path) if !path.starts_with('/') => {
            Err(Rejection::new(format!("'{field}.path' does not begin with '/'")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(result: Result<(), Rejection>) -> String {
        result.unwrap_err().reason
    }

    #[test]
    fn commands_need_something_to_run_and_whole_parts() {
        let good = CommandInfo { value: Some("true".into()), ..Default::default() };
        assert_eq!(command("command", &good), Ok(()));
        assert!(reason(command("command", &CommandInfo::default())).contains("command.value"));
        let uri = v1::command_info::Uri {
            value: Some("http://h/f".into()),
            output_file: Some("../f".into()),
            ..Default::default()
        };
        let escaping = CommandInfo { uris: vec![uri], ..good.clone() };
        assert!(reason(command("command", &escaping)).contains("sandbox"));
        let variable = v1::environment::Variable { name: Some("A=B".into()), ..Default::default() };
        let environment = v1::Environment { variables: vec![variable] };
        let odd = CommandInfo { environment: Some(environment), ..good };
        assert!(reason(command("command", &odd)).contains("A=B"));
    }

    #[test]
    fn health_checks_infer_their_type_from_their_member() {
        let http = health_check::HttpCheckInfo { port: Some(80), ..Default::default() };
        let inferred = HealthCheck { http: Some(http.clone()), ..Default::default() };
        assert_eq!(inferred_type(&inferred), Some(health_check::Type::Http));
        assert_eq!(inferred_type(&HealthCheck::default()), None);
        assert!(reason(health_check("health_check", &HealthCheck::default())).contains("health_check.type"));
        let typed = HealthCheck { r#type: Some(health_check::Type::Http as i32), ..inferred };
        assert_eq!(inferred_type(&typed), None);
        assert_eq!(health_check("health_check", &typed), Ok(()));
        let negative = HealthCheck { delay_seconds: Some(-1.0), ..typed.clone() };
        assert!(reason(health_check("health_check", &negative)).contains("delay_seconds"));
        let odd = health_check::HttpCheckInfo { scheme: Some("ftp".into()), ..http };
        let odd = HealthCheck { http: Some(odd), ..typed };
        assert!(reason(health_check("health_check", &odd)).contains("scheme"));
    }

    #[test]
    fn volumes_of_containers_come_from_one_place() {
        let of = |volume: v1::Volume| ContainerInfo {
            r#type: Some(container_info::Type::Mesos as i32),
            volumes: vec![volume],
            ..Default::default()
        };
        let path = v1::Volume { host_path: Some("/a".into()), ..Default::default() };
        assert_eq!(container("container", &of(path.clone())), Ok(()));
        assert!(reason(container("container", &of(v1::Volume::default()))).contains("container.volumes"));
        let two = v1::Volume { image: Some(v1::Image::default()), ..path };
        assert!(reason(container("container", &of(two))).contains("several"));
    }

    #[test]
    fn checks_have_a_type_a_member_and_a_port() {
        let tcp = |number| CheckInfo {
            r#type: Some(check_info::Type::Tcp as i32),
            tcp: Some(check_info::Tcp { port: Some(number) }),
            ..Default::default()
        };
        assert_eq!(check("check", &tcp(80)), Ok(()));
        assert!(reason(check("check", &tcp(0))).contains("check.tcp.port"));
        assert!(reason(check("check", &tcp(70_000))).contains("check.tcp.port"));
        assert!(reason(check("check", &CheckInfo { tcp: None, ..tcp(80) })).contains("check.tcp"));
        assert!(reason(check("check", &CheckInfo::default())).contains("check.type"));
    }
}
