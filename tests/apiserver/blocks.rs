//! Two blocks of resources, each with a provider of its own, on one socket.

use std::collections::BTreeSet;
use std::fs;

use crate::etcd::etcd_key;
use crate::form::Form;
use crate::lab::{Lab, NEW_KEY_IN_USE};
use crate::plugin::{KeyName, Plugin};
use crate::wait::wait_for;

/// Each resource, and the provider of its block.
const BLOCKS: [(&str, &str); 2] = [("secrets", "kekring"), ("configmaps", "kekring-configmaps")];

pub fn two_providers_on_one_socket_keep_their_names_and_a_rotation_moves_both() {
    let mut lab = Lab::with(Plugin::start_new, |plugin| Some(two_blocks(plugin)));
    let old = lab.plugin.active_key();
    let first = write(&lab, "first");
    assert_eq!(forms(&lab, &first), both(&old));
    assert_eq!(
        seeds(&lab, &first).len(),
        2,
        "each provider has a seed of its own"
    );

    let new = lab.plugin.rotate();
    let mut names = vec![first];
    wait_for("both under the new key", NEW_KEY_IN_USE, || {
        lab.api().health("/readyz").unwrap();
        let name = write(&lab, &format!("next-{}", names.len()));
        names.push(name.clone());
        (forms(&lab, &name) == both(&new)).then_some(())
    });

    assert_eq!(forms(&lab, &names[0]), both(&old), "a rotation rewrites nothing");
    for (resource, _) in BLOCKS {
        let object = lab.api().object(resource, &names[0]).unwrap();
        lab.api().replace(resource, &names[0], &object).unwrap();
    }
    assert_eq!(forms(&lab, &names[0]), both(&new));
    lab.control_plane.restart_api_server();
    for name in &names {
        assert_eq!(&lab.api().password(name).unwrap(), name);
        let map = lab.api().object("configmaps", name).unwrap();
        assert_eq!(map["data"]["text"], name.as_str());
    }
}

/// The second block is merged into the configuration that has the first.
fn two_blocks(plugin: &Plugin) -> String {
    let [(first, _), (second, _)] = BLOCKS;
    let file = plugin.ring_dir().with_file_name("first-block.yaml");
    fs::write(&file, plugin.encryption(&["--resources", first])).unwrap();
    plugin.encryption(&["--resources", second, "--merge", file.to_str().unwrap()])
}

/// One object in each block.
fn write(lab: &Lab, name: &str) -> String {
    lab.api().create_secret(name, name).unwrap();
    lab.api().create_config_map(name, name).unwrap();
    name.to_owned()
}

fn forms(lab: &Lab, name: &str) -> [Form; 2] {
    BLOCKS.map(|(resource, _)| lab.form(resource, name))
}

fn both(key: &KeyName) -> [Form; 2] {
    BLOCKS.map(|(_, provider)| Form::Kms {
        provider: provider.into(),
        key_id: key.id.clone(),
    })
}

fn seeds(lab: &Lab, name: &str) -> BTreeSet<Vec<u8>> {
    let seed = |(resource, _)| {
        let value = lab.etcd().value(&etcd_key(resource, name));
        kekring::cluster::object::parse(&value)
            .unwrap()
            .object
            .encrypted_dek_source
    };
    BLOCKS.map(seed).into_iter().collect()
}
