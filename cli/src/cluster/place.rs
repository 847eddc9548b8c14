//! Where a server of a local cluster is: plainly on loopback, behind somebody who may interrupt, or in a network of its own. Starts nothing.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Where one server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Address on which it listens.
    pub listen: Ipv4Addr,
    /// Address under which everybody reaches it, with the same ports.
    pub reached: Ipv4Addr,
    /// What is to be written before its command, such as one that enters a network namespace and then becomes the command.
    pub through: Vec<String>,
    /// What its environment has besides.
    pub environment: Vec<(String, String)>,
}

impl Default for Place {
    fn default() -> Self {
        let (listen, reached) = (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
        Place { listen, reached, through: Vec::new(), environment: Vec::new() }
    }
}

impl Place {
    /// The executable and its arguments.
    pub(super) fn command(&self, executable: &Path, arguments: &[String]) -> (PathBuf, Vec<String>) {
        let Some((first, rest)) = self.through.split_first() else {
            return (executable.to_path_buf(), arguments.to_vec());
        };
        let own = std::iter::once(executable.display().to_string());
        let all = rest.iter().cloned().chain(own).chain(arguments.iter().cloned()).collect();
        (PathBuf::from(first), all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_before_a_command_stays_before_it() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (executable, arguments) = (Path::new("/x/tepui"), words("master --port 1"));
        assert_eq!(
            Place::default().command(executable, &arguments),
            (executable.to_path_buf(), arguments.clone())
        );
        let inside = Place { through: words("nsenter --net=/n"), ..Place::default() };
        let expected = (PathBuf::from("nsenter"), words("--net=/n /x/tepui master --port 1"));
        assert_eq!(inside.command(executable, &arguments), expected);
    }
}
