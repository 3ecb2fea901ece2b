//! The product's YAML, from its source: `cli` needs it at this path.
#![allow(dead_code, unused_imports)]

#[path = "../../src/config/yaml/mod.rs"]
pub mod yaml;
