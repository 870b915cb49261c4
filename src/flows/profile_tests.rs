// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::engine::steps::Mode;
use crate::flows::vmware::choices::{KernelChoice, UpdateChoice};
use serde_json::json;

#[allow(clippy::needless_pass_by_value, reason = "what is made in place is handed over in place")]
fn with(flows: Value) -> Value {
    json!({"version": 2, "name": "x", "flows": flows})
}

fn refused(value: Value) -> String {
    Profile::from_json(value).unwrap_err().to_string()
}

#[test]
fn an_unknown_field_is_refused_by_name_wherever_it_stands() {
    assert!(Profile::from_json(with(json!({"vmware": {}, "tuning": {}, "wayland": {}}))).is_ok());
    assert!(refused(with(json!({"vmware": {"kernel": "all"}}))).contains("`kernel`"));
    assert!(refused(with(json!({"tuning": {"sets": {}}}))).contains("`sets`"));
    assert!(refused(with(json!({"vmwear": {}}))).contains("`vmwear`"));
    let mut extra = with(json!({}));
    extra["owner"] = json!("me");
    assert!(refused(extra).contains("`owner`"));
}

#[test]
fn a_newer_profile_is_told_apart_from_a_broken_one() {
    let newer = json!({"version": 3, "name": "x", "flows": {}, "new": 1});
    assert_eq!(Profile::from_json(newer).unwrap_err(), ProfileError::Newer(3));
    assert_eq!(Profile::from_json(json!({"name": "x"})).unwrap_err(), ProfileError::NoVersion);
    assert!(matches!(Profile::from_json(json!([1])).unwrap_err(), ProfileError::Wrong(_)));
}

#[test]
fn a_profile_of_version_1_is_read_as_one_of_today() {
    let old = include_bytes!("../../tests/profiles/v1-desk.json");
    let profile = Profile::from_bytes(old).unwrap();
    assert_eq!((profile.version, profile.name.as_str()), (VERSION, "desk"));
    let vmware = profile.flows.vmware.as_ref().unwrap();
    assert_eq!((&vmware.kernels, vmware.mode), (&KernelChoice::Newest(2), Mode::Optimized));
    assert_eq!(vmware.updates, UpdateChoice::Hook);
    assert!(!vmware.boot);
    // And written as one, from where it comes back the same.
    assert_eq!(Profile::from_bytes(profile.text().as_bytes()).unwrap(), profile);
    assert!(refused(json!({"version": 1, "name": "x", "flow": "vgpu", "choices": {}})).contains("`vgpu`"));
}

#[test]
fn a_profile_of_all_flows_is_carried_out_in_a_fixed_order() {
    let all = include_bytes!("../../tests/profiles/v2-fleet.json");
    let profile = Profile::from_bytes(all).unwrap();
    let flows: Vec<&str> = profile.requests().iter().map(|(flow, _)| *flow).collect();
    assert_eq!(flows, ["vmware", "wayland", "tuning"]);
}

#[test]
fn what_is_hostile_is_refused_before_it_costs_anything() {
    let deep = [b"{\"version\":2,\"name\":\"x\",\"flows\":".to_vec(), vec![b'['; 500_000]].concat();
    assert!(matches!(Profile::from_bytes(&deep).unwrap_err(), ProfileError::NotJson(_)));
    let long = vec![b' '; usize::try_from(LIMIT).unwrap() + 1];
    assert_eq!(Profile::from_bytes(&long).unwrap_err(), ProfileError::TooLong);
    for name in ["", "..", "../x", "a/b", ".hidden", "-x", "a\nb", &"x".repeat(65)] {
        assert!(refused(json!({"version": 2, "name": name, "flows": {}})).contains("name"), "{name:?}");
    }
    assert!(Profile::from_json(json!({"version": 2, "name": "desk-2.old", "flows": {}})).is_ok());
}

#[test]
fn a_profile_names_no_archive_of_a_machine() {
    let sealed = json!({"vmware": {"source": {"sealed": {"sha256": "00", "name": "/home/ada/x.tar"}}}});
    assert!(refused(with(sealed)).contains("no archives"));
}

#[test]
fn two_profiles_differ_in_settings_that_are_named_and_not_in_what_they_leave_to_the_default() {
    let read = |flows: Value| Profile::from_json(with(flows)).unwrap();
    let one = read(json!({"vmware": {}}));
    assert_eq!(differences(&one, &read(json!({"vmware": {"mode": "vanilla"}}))), []);
    let other = read(json!({"vmware": {"mode": "optimized"}, "tuning": {}}));
    let names: Vec<String> = differences(&one, &other).into_iter().map(|d| d.setting).collect();
    assert_eq!(names, ["flows.tuning", "flows.vmware.mode"]);
}

#[test]
fn one_failure_counts_more_than_any_change() {
    let flow = |result| FlowApplied {
        flow: "vmware".into(),
        result,
        message: String::new(),
        digest: None,
        steps: vec![],
        files: vec![],
        warnings: vec![],
        needs_reboot: false,
        run: None,
        kernels: vec![],
        error: None,
    };
    assert_eq!(Applied::together(&[]), Outcome::Ok);
    assert_eq!(Applied::together(&[flow(Outcome::Ok), flow(Outcome::Changed)]), Outcome::Changed);
    let all = [flow(Outcome::Changed), flow(Outcome::Failed), flow(Outcome::Skipped)];
    assert_eq!(Applied::together(&all), Outcome::Failed);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let _ = Profile::from_bytes(&bytes);
    }

    #[test]
    fn any_damage_to_a_good_profile_is_read_without_panic(at in 0usize..2000, with in proptest::prelude::any::<u8>()) {
        let mut bytes = include_bytes!("../../tests/profiles/v2-fleet.json").to_vec();
        let at = at % bytes.len();
        bytes[at] = with;
        let _ = Profile::from_bytes(&bytes);
    }
}
