//! The worked configurations of `filter-config/` load as they stand, and hold what their systems demand.

use scopegate::config::{Loaded, parse_yaml};

const FILES: [(&str, &str); 5] = [
    ("teamcenter.yaml", include_str!("../filter-config/teamcenter.yaml")),
    ("appian-erp.yaml", include_str!("../filter-config/appian-erp.yaml")),
    ("infor-suites.yaml", include_str!("../filter-config/infor-suites.yaml")),
    ("thingworx-billing.yaml", include_str!("../filter-config/thingworx-billing.yaml")),
    ("otk-branches.yaml", include_str!("../filter-config/otk-branches.yaml")),
];

fn load(name: &str, text: &str) -> Loaded {
    parse_yaml(text).unwrap_or_else(|errors| panic!("{name}: {errors}"))
}

#[test]
fn each_file_loads_without_a_warning_and_names_its_schema() {
    for (name, text) in FILES {
        assert_eq!(load(name, text).warnings, [], "{name}");
        assert!(text.starts_with("# yaml-language-server: $schema=./schema.json\n"), "{name}");
    }
}
