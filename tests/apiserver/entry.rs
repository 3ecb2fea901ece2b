//! The way in from what encrypted before, and the way out back to it. At each step everything is read, also by a
//! kube-apiserver whose caches are empty.

use std::collections::BTreeMap;

use crate::form::Form;
use crate::lab::Lab;
use crate::phases::Origin;
use crate::plugin::Plugin;
use crate::shell::Shell;

/// Objects of each resource that each step adds.
const EACH: usize = 8;
const RESOURCES: [&str; 2] = ["secrets", "configmaps"];

pub fn from_no_encryption_in_and_out_again_everything_is_readable_at_every_step() {
    in_and_out(Origin::Identity, &Form::Plain);
}

pub fn from_aescbc_in_and_out_again_everything_is_readable_at_every_step() {
    in_and_out(Origin::AesCbc, &Form::AesCbc);
}

fn in_and_out(origin: Origin, form: &Form) {
    let mut lab = Lab::with(Plugin::start_new, |_| origin.configuration().map(str::to_owned));
    let ours = Form::ours(&lab.plugin.active_key().id);
    let mut objects = Objects::default();
    objects.add(&lab, "before");
    assert_eq!(objects.forms(&lab), objects.all(form));

    for (phase, written, rewritten) in [
        ("read", form, false),
        ("write", &ours, true),
        ("exit", form, true),
    ] {
        let encryption = origin.phase(&lab.plugin, phase, &lab.control_plane.encryption_file());
        configure(&mut lab, Some(&encryption));
        objects.are_readable(&lab);
        let added = objects.add(&lab, phase);
        assert_eq!(added.forms(&lab), added.all(written), "{phase}");
        if rewritten {
            objects.rewrite(&lab);
            assert_eq!(objects.forms(&lab), objects.all(written), "{phase}");
        }
        println!("\n{phase}: {:?}", objects.forms(&lab));
        lab.control_plane.restart_api_server();
        objects.are_readable(&lab);
    }
    assert!(lab.plugin.stop().success());
    configure(&mut lab, origin.configuration());
    objects.are_readable(&lab);
    lab.control_plane.restart_api_server();
    objects.are_readable(&lab);
    objects.add(&lab, "after");
    assert_eq!(objects.forms(&lab), objects.all(form));
}

/// A running kube-apiserver takes a new configuration; it is started again to have its first one, or none any more.
fn configure(lab: &mut Lab, encryption: Option<&str>) {
    match encryption {
        Some(encryption) if lab.control_plane.encryption_file().exists() => {
            lab.control_plane.reload(encryption);
        }
        _ => {
            lab.control_plane.configure(encryption);
            lab.control_plane.restart_api_server();
        }
    }
}

/// The objects so far: the text of each is its name.
#[derive(Default)]
pub struct Objects(Vec<String>);

impl Objects {
    /// Adds some, and returns these.
    pub fn add(&mut self, lab: &Lab, name: &str) -> Self {
        let added = Self((0..EACH).map(|number| format!("{name}-{number}")).collect());
        for name in &added.0 {
            lab.api().create_secret(name, name).unwrap();
            lab.api().create_config_map(name, name).unwrap();
        }
        self.0.extend(added.0.iter().cloned());
        added
    }

    pub fn are_readable(&self, lab: &Lab) {
        let api = lab.api();
        for name in &self.0 {
            assert_eq!(api.password(name).as_ref(), Ok(name), "Secret {name}");
            let map = api
                .object("configmaps", name)
                .map(|map| map["data"]["text"].clone());
            assert_eq!(map, Ok(name.as_str().into()), "ConfigMap {name}");
        }
    }

    /// By the command of the pages.
    pub fn rewrite(&self, lab: &Lab) {
        let command = format!("bash deploy/rewrite/rewrite.sh {}", RESOURCES.join(" "));
        print!("{}", Shell::of(lab).must(&command));
    }

    /// How many lie in etcd in which form.
    pub fn forms(&self, lab: &Lab) -> BTreeMap<Form, usize> {
        let mut forms = BTreeMap::new();
        for resource in RESOURCES {
            for name in &self.0 {
                *forms.entry(lab.form(resource, name)).or_default() += 1;
            }
        }
        forms
    }

    pub fn all(&self, form: &Form) -> BTreeMap<Form, usize> {
        BTreeMap::from([(form.clone(), self.0.len() * RESOURCES.len())])
    }
}
