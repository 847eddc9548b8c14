//! What a reader of the state wants to see of it: some frameworks, some agents, or everything. Pure.

use tepui_proto::plain::pairs;

/// Ids to keep; no ids mean all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) frameworks: Vec<String>,
    pub(crate) agents: Vec<String>,
}

impl Wanted {
    /// Reads `framework_id` and `agent_id` (or `slave_id`) from a query. Each may be there several times.
    pub(crate) fn from_query(query: Option<&str>) -> Wanted {
        let mut wanted = Wanted::default();
        for (name, value) in pairs(query.unwrap_or_default()) {
            match name.as_ref() {
                "framework_id" => wanted.frameworks.push(value.into_owned()),
                "agent_id" | "slave_id" => wanted.agents.push(value.into_owned()),
                _ => {}
            }
        }
        wanted
    }

    pub(crate) fn framework(&self, id: &str) -> bool {
        self.frameworks.is_empty() || self.frameworks.iter().any(|wanted| wanted == id)
    }

    pub(crate) fn agent(&self, id: &str) -> bool {
        self.agents.is_empty() || self.agents.iter().any(|wanted| wanted == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_names_everything_is_wanted() {
        for query in [None, Some(""), Some("jsonp=f&limit=3")] {
            let wanted = Wanted::from_query(query);
            assert!(wanted.framework("f") && wanted.agent("a"), "{query:?}");
        }
    }

    #[test]
    fn several_names_of_one_kind_are_alternatives() {
        let wanted = Wanted::from_query(Some("framework_id=f%201&framework_id=g&slave_id=a&agent_id=b"));
        assert!(wanted.framework("f 1") && wanted.framework("g") && !wanted.framework("h"));
        assert!(wanted.agent("a") && wanted.agent("b") && !wanted.agent("c"));
    }
}
