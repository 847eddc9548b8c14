//! Flags of `tepui master` about offers, and the domain that masters and agents can have.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tepui_proto::v1::DomainInfo;
use tepui_scheduler::{Config, Offers, Sorter};

/// What is offered to whom, for the whole cluster.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Offers")]
pub(super) struct OfferArgs {
    /// How roles are sorted when something is offered: by their shares (`drf`), or drawn by their weights (`random`) [drf].
    #[arg(long, value_name = "SORTER")]
    role_sorter: Option<Sorter>,
    /// How the frameworks of a role are sorted: `drf`, or `random` [drf].
    #[arg(long, value_name = "SORTER")]
    framework_sorter: Option<Sorter>,
    /// The roles that can be used besides `*`; without the list, all can.
    #[arg(long, value_name = "ROLE,…", value_delimiter = ',')]
    roles: Option<Vec<String>>,
    /// What an offer must hold, one of the alternatives; an empty text stands for anything [cpus:0.01|mem:32].
    #[arg(long, value_name = "RESOURCES|…")]
    min_allocatable_resources: Option<String>,
    /// Kinds of resources that do not count when shares are compared, such as `gpus`.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    fair_sharing_excluded_resource_names: Vec<String>,
    /// Offer agents with GPUs only to frameworks with the capability GPU_RESOURCES [true].
    #[arg(long, value_name = "BOOL")]
    filter_gpu_resources: Option<bool>,
    /// File with the hosts whose agents may be offered, one a line; read again every second.
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
            role_sorter: self.role_sorter.unwrap_or(house.role_sorter),
            framework_sorter: self.framework_sorter.unwrap_or(house.framework_sorter),
            roles: self.roles.as_deref().map(named),
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

/// Nothing between two commas names no role: an empty list leaves `*`.
fn named(roles: &[String]) -> BTreeSet<String> {
    roles.iter().filter(|role| !role.is_empty()).cloned().collect()
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
    fn settings_of_offers_are_read() {
        #[derive(clap::Parser)]
        struct Command {
            #[command(flatten)]
            offers: OfferArgs,
        }
        let apply = |args: &[&str]| {
            let command = <Command as clap::Parser>::try_parse_from([&["master"][..], args].concat());
            command.map(|command| {
                let mut config = Config::new(1, "/nowhere");
                command.offers.apply(&mut config);
                config
            })
        };
        assert_eq!(apply(&[]).unwrap().offers, Offers::default());
        let all = [
            "--role-sorter=random",
            "--framework-sorter=random",
            "--roles=a,b/c",
            "--min-allocatable-resources=disk:5",
            "--fair-sharing-excluded-resource-names=gpus,disk",
            "--filter-gpu-resources=false",
            "--whitelist=/hosts",
        ];
        let set = apply(&all).unwrap();
        let wanted = Offers {
            role_sorter: Sorter::Random,
            framework_sorter: Sorter::Random,
            roles: Some(named(&["a".to_owned(), "b/c".to_owned()])),
            min_allocatable_resources: "disk:5".to_owned(),
            fair_sharing_excluded_resource_names: vec!["gpus".to_owned(), "disk".to_owned()],
            filter_gpu_resources: false,
        };
        assert_eq!((set.offers, set.whitelist), (wanted, Some(PathBuf::from("/hosts"))));
        assert_eq!(apply(&["--roles="]).unwrap().offers.roles, Some(BTreeSet::new()));
        assert!(apply(&["--role-sorter=fair"]).is_err());
    }

    #[test]
    fn domains_need_both_names() {
        let text = r#"{"fault_domain":{"region":{"name":"north"},"zone":{"name":"n-1"}}}"#;
        assert!(parse_domain(text).is_ok());
        for bad in ["{}", "north", r#"{"fault_domain":{"region":{"name":"north"}}}"#] {
            assert!(parse_domain(bad).is_err(), "{bad}");
        }
    }
}
