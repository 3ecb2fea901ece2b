//! The workflow starts what runs here anyway: it holds nothing that only its own machine could try.

use std::fs;

use serde_json::Value;

use crate::support::in_repository;

/// What a step has in front of its command, to be root with the path and the home of the user.
const AS_ROOT: &str = "sudo --preserve-env env \"HOME=$HOME\" \"PATH=$PATH\" ";

#[test]
fn every_command_of_the_workflow_is_ci_run_or_a_suite_that_ci_run_runs() {
    let workflow = fs::read_to_string(in_repository(".github/workflows/ci.yml")).unwrap();
    let workflow: Value = serde_saphyr::from_str(&workflow).unwrap();
    let jobs = workflow["jobs"].as_object().unwrap();
    let manifest = fs::read_to_string(in_repository("Cargo.toml")).unwrap();

    let steps = jobs.values().flat_map(|job| job["steps"].as_array().unwrap());
    let commands: Vec<&str> = steps.filter_map(|step| step["run"].as_str()).collect();

    assert!(
        commands.contains(&format!("{AS_ROOT}.ci/run").as_str()),
        "{commands:?}"
    );
    for command in commands {
        let command = command.strip_prefix(AS_ROOT).unwrap();
        if let Some(suite) = command.strip_prefix("cargo test --locked --test ") {
            // `.ci/run` runs every suite.
            assert!(
                manifest.contains(&format!("[[test]]\nname = \"{suite}\"\n")),
                "{suite}"
            );
        } else {
            assert_eq!(command, ".ci/run");
        }
    }
}

#[test]
fn every_action_is_pinned_to_a_commit() {
    let workflow = fs::read_to_string(in_repository(".github/workflows/ci.yml")).unwrap();

    let uses: Vec<&str> = workflow
        .lines()
        .filter_map(|line| line.split_once("uses: "))
        .map(|(_, it)| it)
        .collect();

    assert!(uses.len() >= 2, "{uses:?}");
    for action in uses {
        let (commit, version) = action.split_once('@').unwrap().1.split_once(" # v").unwrap();
        assert!(
            commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{action}"
        );
        assert!(!version.is_empty(), "{action}");
    }
}
