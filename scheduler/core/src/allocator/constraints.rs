//! Offer constraints: which agents a framework wants to hear of, by attributes, host, region and zone.
//!
//! ```text
//! of a role:  group ∨ group ∨ …        a group:  constraint ∧ constraint ∧ …
//! constraint: attribute, or HOSTNAME / REGION / ZONE  ×  exists, equals, matches, and their opposites
//! ```
//!
//! Owns the language and its bounds. Expressions match whole texts in linear time and are small, since a peer wrote them and
//! the allocator evaluates them for every agent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};
use tepui_proto::v1::scheduler::OfferConstraints;
use tepui_proto::v1::scheduler::attribute_constraint::selector::{PseudoattributeType, Selector as Wire};
use tepui_proto::v1::scheduler::attribute_constraint::{self, predicate::Predicate as Told};
use tepui_proto::v1::scheduler::{AttributeConstraint, offer_constraints::RoleConstraints as Asked};
use tepui_proto::v1::{AgentInfo, Attribute, DomainInfo, value};

use crate::ids::{self, AgentId};

/// Constraints of one framework, over all its roles.
const MAX_CONSTRAINTS: usize = 1_000;
/// Longest name or text, bytes.
const MAX_TEXT_BYTES: usize = 4_096;
/// Longest regular expression, bytes, and its largest program, in steps.
const MAX_REGEX_BYTES: usize = 1_024;
const MAX_PROGRAM: usize = 100;
/// Memory of one compiled expression, bytes: classes of Unicode need more than their one step says.
const MAX_COMPILED_BYTES: usize = 1 << 20;
const MAX_NESTING: u32 = 32;

/// What constraints can look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) domain: Option<&'a DomainInfo>,
    pub(crate) attributes: &'a [Attribute],
}

/// The constraints of one framework, by role.
pub(crate) type Compiled = BTreeMap<Arc<str>, Arc<RoleConstraints>>;

/// One group suffices; all constraints of it must hold.
#[derive(Clone, Debug)]
pub(crate) struct RoleConstraints {
    groups: Vec<Vec<Constraint>>,
}

#[derive(Clone, Debug)]
struct Constraint {
    selector: Selector,
    predicate: Predicate,
}

#[derive(Clone, Debug)]
enum Selector {
    Attribute(String),
    Hostname,
    Region,
    Zone,
}

#[derive(Clone)]
enum Predicate {
    Exists,
    NotExists,
    Equals(String),
    NotEquals(String),
    Matches(Regex),
    NotMatches(Regex),
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("exists"),
            Self::NotExists => f.write_str("not exists"),
            Self::Equals(text) => write!(f, "= {text:?}"),
            Self::NotEquals(text) => write!(f, "≠ {text:?}"),
            Self::Matches(regex) => write!(f, "~ {regex}"),
            Self::NotMatches(regex) => write!(f, "≁ {regex}"),
        }
    }
}

/// What a selector found.
enum Found<'a> {
    Nothing,
    Text(&'a str),
    /// An attribute that is no text.
    Other,
}

/// Makes the constraints ready to be evaluated.
///
/// # Errors
/// What is wrong with the first one that cannot be used, as a fragment that names it.
pub(crate) fn compile(constraints: &OfferConstraints) -> Result<Compiled, String> {
    let mut count = 0;
    let mut compiled = Compiled::new();
    for (role, asked) in &constraints.role_constraints {
        count += asked.groups.iter().map(|group| group.attribute_constraints.len()).sum::<usize>();
        if count > MAX_CONSTRAINTS {
            return Err(format!("'offer_constraints' has more than {MAX_CONSTRAINTS} constraints"));
        }
        let of_role = role_constraints(asked)
            .map_err(|error| format!("'offer_constraints' of role '{role}' {error}"))?;
        compiled.insert(Arc::from(role.as_str()), Arc::new(of_role));
    }
    Ok(compiled)
}

fn role_constraints(asked: &Asked) -> Result<RoleConstraints, String> {
    if asked.groups.is_empty() {
        return Err("has no groups".to_owned());
    }
    let mut groups = Vec::new();
    for group in &asked.groups {
        if group.attribute_constraints.is_empty() {
            return Err("has an empty group".to_owned());
        }
        groups.push(group.attribute_constraints.iter().map(constraint).collect::<Result<_, _>>()?);
    }
    Ok(RoleConstraints { groups })
}

fn constraint(asked: &AttributeConstraint) -> Result<Constraint, String> {
    let selector = match asked.selector.as_ref().and_then(|selector| selector.selector.as_ref()) {
        Some(Wire::AttributeName(name)) => Selector::Attribute(bounded("attribute_name", name)?),
        Some(Wire::PseudoattributeType(kind)) => match PseudoattributeType::try_from(*kind) {
            Ok(PseudoattributeType::Hostname) => Selector::Hostname,
            Ok(PseudoattributeType::Region) => Selector::Region,
            Ok(PseudoattributeType::Zone) => Selector::Zone,
            Ok(PseudoattributeType::Unknown) | Err(_) => {
                return Err("has a selector with an unknown 'pseudoattribute_type'".to_owned());
            }
        },
        None => {
            let text = "has a selector with neither 'attribute_name' nor 'pseudoattribute_type'";
            return Err(text.to_owned());
        }
    };
    let predicate = asked.predicate.as_ref().and_then(|predicate| predicate.predicate.as_ref());
    let predicate = predicate.ok_or("has a constraint without a known predicate")?;
    Ok(Constraint { selector, predicate: compiled(predicate)? })
}

fn compiled(told: &Told) -> Result<Predicate, String> {
    use attribute_constraint::predicate::{TextEquals, TextMatches, TextNotEquals, TextNotMatches};
    Ok(match told {
        Told::Exists(_) => Predicate::Exists,
        Told::NotExists(_) => Predicate::NotExists,
        Told::TextEquals(TextEquals { value }) => {
            Predicate::Equals(bounded("text_equals", value.as_deref().unwrap_or_default())?)
        }
        Told::TextNotEquals(TextNotEquals { value }) => {
            Predicate::NotEquals(bounded("text_not_equals", value.as_deref().unwrap_or_default())?)
        }
        Told::TextMatches(TextMatches { regex }) => {
            Predicate::Matches(expression(regex.as_deref().unwrap_or_default())?)
        }
        Told::TextNotMatches(TextNotMatches { regex }) => {
            Predicate::NotMatches(expression(regex.as_deref().unwrap_or_default())?)
        }
    })
}

fn bounded(field: &str, text: &str) -> Result<String, String> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("has a '{field}' of {} bytes, more than {MAX_TEXT_BYTES}", text.len()));
    }
    Ok(text.to_owned())
}

/// Compiles an expression that must match the whole text.
fn expression(pattern: &str) -> Result<Regex, String> {
    let too_complex = |why: String| format!("has a regular expression that is too complex: {why}");
    if pattern.len() > MAX_REGEX_BYTES {
        return Err(too_complex(format!("{} bytes are more than {MAX_REGEX_BYTES}", pattern.len())));
    }
    let parse = |unicode: bool| {
        let mut parser = ParserBuilder::new();
        let mut parser = parser.unicode(unicode).utf8(unicode).nest_limit(MAX_NESTING).build();
        parser.parse(pattern).map_err(|error| refused(pattern, &error))
    };
    // Bytes are what the limit counts; what cannot be said in bytes is counted as it is.
    let tree = parse(false).or_else(|_| parse(true))?;
    let steps = program_size(&tree);
    if steps > MAX_PROGRAM {
        let why = format!("'{pattern}' has {steps} steps, more than {MAX_PROGRAM}");
        return Err(too_complex(why));
    }
    RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
        .size_limit(MAX_COMPILED_BYTES)
        .nest_limit(MAX_NESTING + 1)
        .build()
        .map_err(|error| refused(pattern, &error))
}

fn refused(pattern: &str, error: &dyn fmt::Display) -> String {
    // The parser draws its complaint over several lines; the last one says it.
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim().to_owned();
    format!("has the regular expression '{pattern}', which cannot be used: {last}")
}

/// Roughly the number of instructions of a machine for this expression.
fn program_size(tree: &Hir) -> usize {
    match tree.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Bytes(_)) => 1,
        HirKind::Class(Class::Unicode(class)) => class.ranges().len().max(1),
        HirKind::Repetition(repetition) => {
            let copies = repetition.max.unwrap_or(repetition.min).max(1) as usize;
            program_size(&repetition.sub).saturating_add(1).saturating_mul(copies)
        }
        HirKind::Capture(capture) => program_size(&capture.sub).saturating_add(2),
        HirKind::Concat(parts) => parts.iter().map(program_size).fold(0, usize::saturating_add),
        HirKind::Alternation(parts) => {
            parts.iter().map(program_size).fold(parts.len() - 1, usize::saturating_add)
        }
    }
}

/// The agents that a framework's constraints keep from it, for each of these roles of its. A role without constraints keeps none.
pub fn excluded<'a>(
    constraints: Option<&OfferConstraints>,
    roles: &[String],
    agents: impl Iterator<Item = &'a AgentInfo> + Clone,
) -> BTreeMap<String, Vec<AgentId>> {
    // What a framework said was checked when it said it.
    let compiled = constraints.and_then(|constraints| compile(constraints).ok()).unwrap_or_default();
    let excluded = |role: &String| {
        let Some(of_role) = compiled.get(role.as_str()) else { return (role.clone(), Vec::new()) };
        let shut_out = agents.clone().filter(|info| {
            let (hostname, domain) = (info.hostname(), info.domain.as_ref());
            !of_role.admit(&Place { hostname, domain, attributes: &info.attributes })
        });
        (role.clone(), shut_out.map(|info| ids::of(info.id.as_ref())).collect())
    };
    roles.iter().map(excluded).collect()
}

impl RoleConstraints {
    /// Whether the framework wants to hear of an agent like this.
    pub(crate) fn admit(&self, place: &Place<'_>) -> bool {
        self.groups.iter().any(|group| group.iter().all(|constraint| constraint.holds(place)))
    }
}

impl Constraint {
    fn holds(&self, place: &Place<'_>) -> bool {
        let fault = place.domain.and_then(|domain| domain.fault_domain.as_ref());
        let found = match &self.selector {
            Selector::Hostname => Found::Text(place.hostname),
            Selector::Region => Found::of(
                fault.map(|fault| fault.region.as_ref().map(|region| region.name()).unwrap_or_default()),
            ),
            Selector::Zone => {
                Found::of(fault.map(|fault| fault.zone.as_ref().map(|zone| zone.name()).unwrap_or_default()))
            }
            // The first one with this name counts.
            Selector::Attribute(name) => match place.attributes.iter().find(|one| one.name() == name) {
                None => Found::Nothing,
                Some(one) if one.r#type() == value::Type::Text => {
                    Found::Text(one.text.as_ref().map(|text| text.value()).unwrap_or_default())
                }
                Some(_) => Found::Other,
            },
        };
        self.predicate.holds(&found)
    }
}

impl<'a> Found<'a> {
    fn of(text: Option<&'a str>) -> Self {
        text.map_or(Self::Nothing, Self::Text)
    }
}

impl Predicate {
    fn holds(&self, found: &Found<'_>) -> bool {
        match (self, found) {
            (Self::Exists, found) => !matches!(found, Found::Nothing),
            (Self::NotExists, found) => matches!(found, Found::Nothing),
            // What is no text passes every test of texts.
            (_, Found::Other) => true,
            (Self::Equals(_) | Self::Matches(_), Found::Nothing) => false,
            (Self::NotEquals(_) | Self::NotMatches(_), Found::Nothing) => true,
            (Self::Equals(wanted), Found::Text(text)) => wanted == text,
            (Self::NotEquals(wanted), Found::Text(text)) => wanted != text,
            (Self::Matches(regex), Found::Text(text)) => regex.is_match(text),
            (Self::NotMatches(regex), Found::Text(text)) => !regex.is_match(text),
        }
    }
}

#[cfg(test)]
#[path = "constraints_tests.rs"]
mod tests;
