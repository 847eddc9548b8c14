//! Flags of `tepui master` about offers, and the domain that masters and agents can have.

use std::path::PathBuf;

use tepui_proto::v1::DomainInfo;
use tepui_scheduler::{Config, Offers};

/// What is offered to whom, for the whole cluster.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Offers")]
pub(super) struct OfferArgs {
    /// What an offer must hold, one of the alternatives; an empty text stands for anything [cpus:0.01|mem:32].
    #[arg(long, value_name = "RESOURCES|…")]
    min_allocatable_resources: Option<String>,
    /// Kinds of resources that do not count when shares are compared, such as `gpus`.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    fair_sharing_excluded_resource_names: Vec<String>,
    /// Offer agents with GPUs only to frameworks with the capability GPU_RESOURCES [true].
    #[arg(long, value_name = "BOOL")]
    filter_gpu_resources: Option<bool>,
    /// File with the hosts whose agents may be offered, one a line; read again every five seconds.
    #[arg(long, visible_alias = "whitelist", value_name = "FILE")]
    agent_whitelist: Option<PathBuf>,
    /// Region and zone of this master as DomainInfo in JSON; agents of another region are for region-aware frameworks.
    #[arg(long, value_name = "JSON", value_parser = parse_domain)]
    domain: Option<DomainInfo>,
    /// Refuse agents without a domain.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    require_agent_domain: bool,
}

impl OfferArgs {
    pub(super) fn apply(&self, config: &mut Config) {
        let house = Offers::default();
        config.offers = Offers {
            min_allocatable_resources: self
                .min_allocatable_resources
                .clone()
                .unwrap_or(house.min_allocatable_resources),
            fair_sharing_excluded_resource_names: self.fair_sharing_excluded_resource_names.clone(),
            filter_gpu_resources: self.filter_gpu_resources.unwrap_or(house.filter_gpu_resources),
        };
        config.whitelist.clone_from(&self.agent_whitelist);
        config.domain.clone_from(&self.domain);
        config.require_agent_domain = self.require_agent_domain;
    }
}

/// Reads `{"fault_domain":{"region":{"name":"north"},"zone":{"name":"n-1"}}}`.
pub(super) fn parse_domain(text: &str) -> Result<DomainInfo, String> {
    let domain: DomainInfo = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let fault = domain.fault_domain.as_ref();
    let region = fault.and_then(|fault| fault.region.as_ref()).is_some_and(|one| !one.name().is_empty());
    let zone = fault.and_then(|fault| fault.zone.as_ref()).is_some_and(|one| !one.name().is_empty());
    if region && zone { Ok(domain) } else { Err("the name of a region and of a zone are needed".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_need_both_names() {
        let text = r#"{"fault_domain":{"region":{"name":"north"},"zone":{"name":"n-1"}}}"#;
        assert!(parse_domain(text).is_ok());
        for bad in ["{}", "north", r#"{"fault_domain":{"region":{"name":"north"}}}"#] {
            assert!(parse_domain(bad).is_err(), "{bad}");
        }
    }
}
