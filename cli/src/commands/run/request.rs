//! What to run and what it needs. Pure.

use anyhow::Context;
use tepui_proto::resources::{Millis, Resources};
use tepui_sdk::v1;

use super::RunArgs;

/// A checked request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) name: String,
    pub(super) user: String,
    resources: Resources,
    command: v1::CommandInfo,
}

impl Request {
    pub(super) fn new(args: &RunArgs) -> anyhow::Result<Self> {
        let resources = match &args.resources {
            Some(text) => Resources::parse(text).context("read --resources")?,
            None => Resources::from_scalars([
                ("cpus", amount("--cpus", args.cpus)?),
                ("mem", amount("--mem", args.mem)?),
                ("disk", amount("--disk", args.disk)?),
            ]),
        };
        anyhow::ensure!(!resources.is_empty(), "a task needs some resources");
        let user = match &args.user {
            Some(user) => user.clone(),
            None => own_user(),
        };
        let program = args.command.first().context("name a command")?;
        let first_word = program.split_whitespace().next().unwrap_or(program);
        let base = first_word.rsplit('/').next().unwrap_or(first_word);
        Ok(Request {
            name: args.name.clone().unwrap_or_else(|| base.to_owned()),
            user,
            resources,
            command: command(&args.command, &args.env)?,
        })
    }

    /// Whether an offer has everything that the task needs, unreserved.
    pub(super) fn fits(&self, offer: &v1::Offer) -> bool {
        Resources::from_proto(&offer.resources)
            .is_ok_and(|offered| offered.unallocated().contains(&self.resources))
    }

    pub(super) fn task(&self, task_id: &str, offer: &v1::Offer) -> v1::TaskInfo {
        v1::TaskInfo {
            name: Some(self.name.clone()),
            task_id: Some(v1::TaskId { value: Some(task_id.to_owned()) }),
            agent_id: offer.agent_id.clone(),
            resources: self.resources.to_proto(),
            command: Some(self.command.clone()),
            ..Default::default()
        }
    }

    /// Writes the needs for people.
    pub(super) fn needs(&self) -> String {
        let scalars = self.resources.scalars();
        scalars.iter().map(|(name, amount)| format!("{name}:{amount}")).collect::<Vec<_>>().join(";")
    }
}

/// Returns what was asked for in vain, if anything was.
pub(super) fn in_vain(args: &RunArgs) -> Option<String> {
    let user = args.user.as_ref()?;
    Some(format!("--user {user} has no effect yet: the task runs as the user of its agent"))
}

fn amount(flag: &str, value: f64) -> anyhow::Result<Millis> {
    let millis = Millis::from_f64(value).filter(|_| value >= 0.0);
    millis.with_context(|| format!("{flag} {value} is not an amount"))
}

fn own_user() -> String {
    let uid = nix::unistd::geteuid();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

/// One argument is a text for a shell; several are a program and its arguments.
pub(crate) fn command(arguments: &[String], variables: &[String]) -> anyhow::Result<v1::CommandInfo> {
    let variable = |text: &String| -> anyhow::Result<v1::environment::Variable> {
        let (name, value) =
            text.split_once('=').with_context(|| format!("--env {text} is not NAME=VALUE"))?;
        anyhow::ensure!(!name.is_empty(), "--env {text} has no name");
        Ok(v1::environment::Variable {
            name: Some(name.to_owned()),
            value: Some(value.to_owned()),
            ..Default::default()
        })
    };
    let variables = variables.iter().map(variable).collect::<anyhow::Result<Vec<_>>>()?;
    let is_shell = arguments.len() == 1;
    Ok(v1::CommandInfo {
        shell: Some(is_shell),
        value: arguments.first().cloned(),
        arguments: if is_shell { Vec::new() } else { arguments.to_vec() },
        environment: (!variables.is_empty()).then_some(v1::Environment { variables }),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Command;

    fn request(line: &[&str]) -> anyhow::Result<Request> {
        let line = ["tepui", "run"].iter().chain(line).map(Into::into);
        let Command::Run(args) = crate::settings::parse(line).unwrap().command else { panic!("not a run") };
        Request::new(&args)
    }

    #[test]
    fn one_argument_is_for_a_shell_and_several_are_a_program() {
        let shell = request(&["echo a; echo b"]).unwrap();
        assert_eq!((shell.command.shell(), shell.command.value()), (true, "echo a; echo b"));
        assert_eq!(shell.name, "echo");
        let program = request(&["--env", "A=b=c", "--", "/bin/ls", "-l"]).unwrap();
        assert_eq!((program.command.shell(), program.command.value()), (false, "/bin/ls"));
        assert_eq!(program.command.arguments, ["/bin/ls", "-l"]);
        let variables = program.command.environment.clone().unwrap().variables;
        assert_eq!((variables[0].name(), variables[0].value()), ("A", "b=c"));
        assert_eq!(program.name, "ls");
    }

    #[test]
    fn a_user_is_asked_for_in_vain() {
        let told = |line: &[&str]| {
            let line = ["tepui", "run"].iter().chain(line).map(Into::into);
            let Command::Run(args) = crate::settings::parse(line).unwrap().command else {
                panic!("not a run")
            };
            in_vain(&args)
        };
        assert_eq!(told(&["true"]), None);
        assert!(told(&["--user", "nobody", "true"]).unwrap().contains("--user nobody has no effect yet"));
    }

    #[test]
    fn an_offer_fits_if_it_has_everything() {
        let request = request(&["--cpus", "1", "--mem", "100", "true"]).unwrap();
        let offer = |text: &str| {
            let resources = Resources::parse(text).unwrap().allocate("*").to_proto();
            v1::Offer { resources, ..Default::default() }
        };
        assert!(request.fits(&offer("cpus:1;mem:100;disk:5")));
        assert!(!request.fits(&offer("cpus:0.9;mem:100")));
        assert!(!request.fits(&offer("cpus:2")));
        assert_eq!(request.needs(), "cpus:1;mem:100");
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (line, expected) in [
            (vec!["--env", "A", "true"], "--env A"),
            (vec!["--cpus=-1", "true"], "--cpus"),
            (vec!["--cpus", "0", "--mem", "0", "true"], "needs some resources"),
        ] {
            let error = request(&line).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
