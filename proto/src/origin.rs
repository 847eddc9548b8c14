//! What a build is: its commit, as `/version` tells it, and what its agents can do. Owns the names; whoever builds the binary finds out
//! the commit.

use serde_json::{Map, Value};

use crate::v1::VersionInfo;
use crate::v1::agent_info::capability::Type as CapabilityType;

/// What every agent of this version can do; the agent link carries no list of its own.
pub const AGENT_CAPABILITIES: [CapabilityType; 7] = [
    CapabilityType::MultiRole,
    CapabilityType::HierarchicalRole,
    CapabilityType::ReservationRefinement,
    CapabilityType::ResizeVolume,
    CapabilityType::AgentOperationFeedback,
    CapabilityType::AgentDraining,
    CapabilityType::TaskResourceLimits,
];

/// What is known of the commit; nothing, if the source was not built from a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The commit.
    pub git_sha: Option<&'static str>,
    /// The branch, as `refs/heads/main`.
    pub git_branch: Option<&'static str>,
    /// The tag that stands at the commit.
    pub git_tag: Option<&'static str>,
}

impl Origin {
    /// Adds what is known to an object of JSON; what is not known is absent there, as in Mesos.
    pub fn add_to(&self, object: &mut Map<String, Value>) {
        for (name, value) in
            [("git_sha", self.git_sha), ("git_branch", self.git_branch), ("git_tag", self.git_tag)]
        {
            if let Some(value) = value {
                object.insert(name.to_owned(), value.into());
            }
        }
    }

    /// The same in a message.
    pub fn add_to_info(&self, info: &mut VersionInfo) {
        info.git_sha = self.git_sha.map(str::to_owned);
        info.git_branch = self.git_branch.map(str::to_owned);
        info.git_tag = self.git_tag.map(str::to_owned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_absent() {
        let origin = Origin { git_sha: Some("abc"), git_branch: Some("refs/heads/main"), git_tag: None };
        let mut object = Map::new();
        origin.add_to(&mut object);
        assert_eq!(Value::Object(object).to_string(), r#"{"git_branch":"refs/heads/main","git_sha":"abc"}"#);
        let mut info = VersionInfo::default();
        origin.add_to_info(&mut info);
        assert_eq!((info.git_sha.as_deref(), info.git_tag), (Some("abc"), None));
    }
}
