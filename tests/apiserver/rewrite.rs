//! deploy/rewrite/README.md: what is older is rewritten by the commands of that page, and nothing else comes of it.

use crate::lab::Lab;
use crate::page;
use crate::plugin::KeyName;
use crate::shell::{Shell, shown};

const PAGE: &str = "deploy/rewrite/README.md";
const OLDER: usize = 12;
/// What argocd-secret and the token of a service account are: applied without data, which a controller fills in.
const APPLIED: &str = "\
kubectl apply -f - <<'Y'
apiVersion: v1
kind: Secret
metadata: {name: filled, namespace: suite}
type: Opaque
Y
";

/// The commands of a section that are typed at this place.
fn commands(section: &str, place: &[&str]) -> String {
    page::blocks(PAGE)
        .into_iter()
        .find(|it| it.section == section && it.language == "sh" && it.place == place)
        .unwrap_or_else(|| panic!("{PAGE} has no commands under {section:?} for {place:?}"))
        .text
}

/// Secrets under the key that is active.
fn older(lab: &Lab) -> Vec<String> {
    let names: Vec<String> = (0..OLDER).map(|number| format!("older-{number}")).collect();
    for name in &names {
        lab.api().create_secret(name, name).unwrap();
    }
    names
}

pub fn right_after_a_rotation_it_waits_for_each_kube_apiserver_and_leaves_nothing_under_the_old_key() {
    let lab = Lab::start();
    let second = lab.control_plane.another_api_server("second");
    let urls = [lab.control_plane.api_server().url(), second.url()];
    let shell = Shell::of(&lab);
    shell.with_servers(&urls);
    let names = older(&lab);
    let look = commands("Look into etcd", &[]);
    shell.must(&look);

    let new = lab.plugin.rotate();
    let before = shell.type_in(&look);
    assert!(!before.status.success() && shown(&before).contains("/suite/older-0"));
    let said = shell.must(&commands("Rewrite", &[]));

    for url in urls {
        assert!(said.contains(&format!("{url} encrypts by ")), "{said}");
    }
    assert!(
        said.contains(&format!("secrets: {OLDER} rewritten, 0 were up to date")),
        "{said}"
    );
    for name in &names {
        assert_eq!(lab.key_of_secret(name), new.id, "{name}");
        assert_eq!(lab.api().password(name).as_ref(), Ok(name));
    }
    assert_eq!(shell.must(&look), "");
    let again = shell.must(&commands("Rewrite", &[]));
    assert!(
        again.contains(&format!("secrets: 0 rewritten, {OLDER} were up to date")),
        "{again}"
    );
}

pub fn what_a_controller_filled_in_is_still_there_after_the_next_apply() {
    let lab = Lab::start();
    let shell = Shell::of(&lab);
    shell.must(APPLIED);
    shell.must(
        "kubectl --namespace suite patch secret filled --patch \
         '{\"data\": {\"password\": \"a2VwdA==\"}, \"metadata\": {\"labels\": {\"by\": \"controller\"}}}'",
    );
    let before = lab.api().object("secrets", "filled").unwrap();

    let new = lab.plugin.rotate();
    shell.must(&commands("Rewrite", &[]));

    assert_eq!(lab.key_of_secret("filled"), new.id);
    let mut after = lab.api().object("secrets", "filled").unwrap();
    assert_ne!(
        after["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
    after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
    assert_eq!(after, before, "nothing but its version is another");
    let applied = shell.must(APPLIED);
    assert!(applied.contains("unchanged"), "{applied}");
    assert_eq!(lab.api().password("filled").as_deref(), Ok("kept"));
}

pub fn an_object_that_cannot_be_read_is_named_and_stops_no_other() {
    let lab = Lab::start();
    let shell = Shell::of(&lab);
    let names = older(&lab);
    shell.must("kubectl create namespace elsewhere; kubectl --namespace elsewhere create secret generic one");
    lab.api().create_secret("damaged", "gone").unwrap();
    damage(&lab, "/registry/secrets/suite/damaged");

    let new = lab.plugin.rotate();
    let listed = shell.type_in(&commands("Rewrite", &[]));
    assert_eq!(listed.status.code(), Some(1), "{}", shown(&listed));
    let why = "NOT REWRITTEN: the secrets of suite, since they cannot be listed";
    assert!(shown(&listed).contains(why), "{}", shown(&listed));
    assert!(shown(&listed).contains("/registry/secrets/suite/damaged"));
    assert_eq!(key_at(&lab, "/registry/secrets/elsewhere/one"), new.id);

    let named = shell.type_in(&commands("When one cannot be read", &["unreadable"]));
    assert_eq!(named.status.code(), Some(1), "{}", shown(&named));
    let told = shown(&named);
    let failed: Vec<&str> = told.lines().filter(|it| it.contains("NOT REWRITTEN")).collect();
    assert_eq!(failed.len(), 1, "{told}");
    assert!(failed[0].contains("secrets suite/damaged: "), "{told}");
    all_under(&lab, &names, &new);
}

/// One bit of the sealed object, which comes first behind the provider's name.
fn damage(lab: &Lab, key: &str) {
    let mut value = lab.etcd().value(key);
    value["k8s:enc:kms:v2:kekring:".len() + 80] ^= 1;
    lab.etcd().put(key, &value);
}

fn key_at(lab: &Lab, key: &str) -> String {
    kekring::cluster::object::parse(&lab.etcd().value(key))
        .unwrap()
        .object
        .key_id
}

fn all_under(lab: &Lab, names: &[String], key: &KeyName) {
    for name in names {
        assert_eq!(lab.key_of_secret(name), key.id, "{name}");
    }
}
