//! Every predicate against every kind of thing, and what is too much.

use tepui_proto::resources::parse_attributes;
use tepui_proto::v1::scheduler::attribute_constraint::Selector as WireSelector;
use tepui_proto::v1::scheduler::attribute_constraint::predicate;
use tepui_proto::v1::scheduler::offer_constraints::role_constraints::Group;

use super::*;

fn attribute(name: &str) -> Wire {
    Wire::AttributeName(name.to_owned())
}

fn pseudo(kind: PseudoattributeType) -> Wire {
    Wire::PseudoattributeType(kind as i32)
}

fn equals(value: &str) -> Told {
    Told::TextEquals(predicate::TextEquals { value: Some(value.to_owned()) })
}

fn not_equals(value: &str) -> Told {
    Told::TextNotEquals(predicate::TextNotEquals { value: Some(value.to_owned()) })
}

fn matches(regex: &str) -> Told {
    Told::TextMatches(predicate::TextMatches { regex: Some(regex.to_owned()) })
}

fn not_matches(regex: &str) -> Told {
    Told::TextNotMatches(predicate::TextNotMatches { regex: Some(regex.to_owned()) })
}

fn one(selector: Wire, predicate: Told) -> AttributeConstraint {
    AttributeConstraint {
        selector: Some(WireSelector { selector: Some(selector) }),
        predicate: Some(attribute_constraint::Predicate { predicate: Some(predicate) }),
    }
}

fn of_groups(groups: Vec<Vec<AttributeConstraint>>) -> OfferConstraints {
    let groups = groups.into_iter().map(|attribute_constraints| Group { attribute_constraints }).collect();
    let mut constraints = OfferConstraints::default();
    constraints.role_constraints.insert("r".to_owned(), Asked { groups });
    constraints
}

fn holds(attributes: &str, groups: Vec<Vec<AttributeConstraint>>) -> bool {
    let attributes = parse_attributes(attributes).unwrap();
    let region = tepui_proto::v1::domain_info::fault_domain::RegionInfo { name: Some("north".to_owned()) };
    let zone = tepui_proto::v1::domain_info::fault_domain::ZoneInfo { name: Some("n-1".to_owned()) };
    let fault = tepui_proto::v1::domain_info::FaultDomain { region: Some(region), zone: Some(zone) };
    let domain = DomainInfo { fault_domain: Some(fault) };
    let place = Place { hostname: "host-7", domain: Some(&domain), attributes: &attributes };
    compile(&of_groups(groups)).unwrap()["r"].admit(&place)
}

fn refusal(constraint: AttributeConstraint) -> String {
    compile(&of_groups(vec![vec![constraint]])).unwrap_err()
}

#[test]
fn texts_numbers_and_nothing() {
    let exists = || Told::Exists(predicate::Exists {});
    let not_exists = || Told::NotExists(predicate::NotExists {});
    // Predicate; on `rack:a1`; on `rack:7` (a number); on no such attribute.
    let table: Vec<(&dyn Fn() -> Told, bool, bool, bool)> = vec![
        (&exists, true, true, false),
        (&not_exists, false, false, true),
        (&|| equals("a1"), true, true, false),
        (&|| equals("a"), false, true, false),
        (&|| not_equals("a1"), false, true, true),
        (&|| not_equals("a"), true, true, true),
        (&|| matches("a[0-9]"), true, true, false),
        (&|| matches("a"), false, true, false),
        (&|| not_matches("a[0-9]"), false, true, true),
        (&|| not_matches("a"), true, true, true),
    ];
    for (number, (predicate, text, other, nothing)) in table.into_iter().enumerate() {
        let on = |attributes: &str| holds(attributes, vec![vec![one(attribute("rack"), predicate())]]);
        assert_eq!((on("rack:a1"), on("rack:7"), on("zone:a1")), (text, other, nothing), "row {number}");
    }
}

#[test]
fn the_first_attribute_with_the_name_counts() {
    assert!(holds("rack:a;rack:b", vec![vec![one(attribute("rack"), equals("a"))]]));
    assert!(!holds("rack:a;rack:b", vec![vec![one(attribute("rack"), equals("b"))]]));
}

#[test]
fn groups_are_alternatives_and_constraints_add_up() {
    let a = || one(attribute("x"), equals("1x"));
    let b = || one(attribute("y"), equals("2y"));
    assert!(holds("x:1x;y:2y", vec![vec![a(), b()]]));
    assert!(!holds("x:1x", vec![vec![a(), b()]]));
    assert!(holds("x:1x", vec![vec![a()], vec![b()]]));
    assert!(!holds("z:1x", vec![vec![a()], vec![b()]]));
}

#[test]
fn hosts_regions_and_zones() {
    use PseudoattributeType::{Hostname, Region, Zone};
    assert!(holds("", vec![vec![one(pseudo(Hostname), matches("host-[0-9]+"))]]));
    assert!(!holds("", vec![vec![one(pseudo(Hostname), equals("host"))]]));
    assert!(holds("", vec![vec![one(pseudo(Region), equals("north")), one(pseudo(Zone), equals("n-1"))]]));
    let nowhere = Place { hostname: "h", domain: None, attributes: &[] };
    let zone = |predicate| compile(&of_groups(vec![vec![one(pseudo(Zone), predicate)]])).unwrap();
    assert!(!zone(equals(""))["r"].admit(&nowhere));
    assert!(zone(not_equals("n-1"))["r"].admit(&nowhere));
}

#[test]
fn expressions_match_whole_texts() {
    let matches_all = |pattern: &str, text: &str| expression(pattern).unwrap().is_match(text);
    assert!(matches_all("a|ab", "ab"));
    assert!(!matches_all("a|b", "ab"));
    assert!(matches_all("(?i)RACK", "rack"));
    assert!(!matches_all("a", "a\n"));
    assert!(matches_all(".", "é"));
}

#[test]
fn what_is_too_complex_or_wrong_is_refused() {
    for complex in [
        "(a{50}){50}",
        "a{1000}",
        "(((a{10}){10}){10}){10}",
        r"\p{Lu}+",
        &"x".repeat(101),
        &"y".repeat(2_000),
    ] {
        let reason = refusal(one(attribute("x"), matches(complex)));
        assert!(reason.contains("too complex") && reason.contains("role 'r'"), "{reason}");
    }
    for wrong in ["(", "a)(b", "[", "*", r"\8"] {
        let reason = refusal(one(attribute("x"), not_matches(wrong)));
        assert!(reason.contains("cannot be used"), "{reason}");
    }
    for fine in ["rack-[a-z0-9]{1,20}", r"\d+\.\w+", "(a|b|c)*d?", ".*"] {
        expression(fine).unwrap();
    }
}

#[test]
fn selectors_and_predicates_must_be_known() {
    let mut unset = one(attribute("x"), equals("y"));
    unset.selector = Some(WireSelector::default());
    assert!(refusal(unset).contains("selector"));
    assert!(refusal(one(pseudo(PseudoattributeType::Unknown), equals("y"))).contains("pseudoattribute_type"));
    assert!(refusal(one(Wire::PseudoattributeType(77), equals("y"))).contains("pseudoattribute_type"));
    let mut unset = one(attribute("x"), equals("y"));
    unset.predicate = Some(attribute_constraint::Predicate::default());
    assert!(refusal(unset).contains("predicate"));
    assert!(compile(&of_groups(vec![])).unwrap_err().contains("no groups"));
    assert!(compile(&of_groups(vec![vec![]])).unwrap_err().contains("empty group"));
    let many = vec![vec![one(attribute("x"), equals("y")); 1_001]];
    assert!(compile(&of_groups(many)).unwrap_err().contains("more than 1000"));
    assert!(refusal(one(attribute(&"x".repeat(5_000)), equals("y"))).contains("attribute_name"));
}
