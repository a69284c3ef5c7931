//! The configuration's page in docs/ says what the program knows.

use intail::config;

use crate::harness::generated;

#[test]
fn generated_configuration_page_is_true() {
    generated::check("docs/configuration.md", &config::reference());
}
