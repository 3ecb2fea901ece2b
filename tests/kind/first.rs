//! What the first look shows, and what kubeadm wrote.

use crate::cluster::{Cluster, NODE};
use crate::form::Form;
use crate::page;
use crate::run::{run, text};

/// In both of them as it is shown, in etcd never.
const PASSWORD: &str = "hunter2";

pub fn a_first_look_shows_a_secret_that_is_ciphertext_in_etcd_and_reads_back(cluster: &Cluster) {
    let key = cluster.active_key();

    let stored = cluster.etcd_value("/registry/secrets/default/first-look");

    println!(
        "\nfrom nothing to the first Secret: {:.0} s\n{}",
        cluster.took.as_secs_f32(),
        cluster.first_look
    );
    println!("{}", cluster.kekring(&["status"]));
    assert!(stored.starts_with(b"k8s:enc:kms:v2:kekring:"));
    assert_eq!(Form::of(&stored), Form::ours(&key));
    for plain in [PASSWORD, "aHVudGVyMg", "password"] {
        assert!(!contains(&stored, plain.as_bytes()), "{plain} is in etcd");
    }
    // `k8s:enc:kms:v2:k`, as the script shows it.
    let shown = "000000 6b 38 73 3a 65 6e 63 3a 6b 6d 73 3a 76 32 3a 6b";
    assert!(cluster.first_look.contains(shown));
    assert!(cluster.first_look.lines().any(|line| line == PASSWORD));
}

pub fn kubeadm_s_own_secrets_were_encrypted_from_the_first_write(cluster: &Cluster) {
    let keys = cluster.etcd_keys("/registry/secrets/");

    let first = "/registry/secrets/kube-system/bootstrap-token-";
    assert!(keys.iter().any(|key| key.starts_with(first)), "{keys:?}");
    for key in keys {
        let form = Form::of(&cluster.etcd_value(&key));
        assert!(matches!(form, Form::Kms { .. }), "{key}: {form:?}");
    }
}

pub fn every_command_of_the_page_runs(cluster: &Cluster) {
    let blocks = page::blocks("deploy/kind/README.md");
    let commands: Vec<&str> = blocks
        .iter()
        .filter(|block| block.language == "sh")
        .flat_map(|block| block.text.lines())
        .collect();

    // These two made this cluster and will delete it, under its own name.
    let (up, down) = ("deploy/kind/first-look.sh up", "deploy/kind/first-look.sh down");
    assert_eq!((commands.first(), commands.last()), (Some(&up), Some(&down)));
    assert!(commands.len() > 5, "{commands:?}");
    for command in &commands[1..commands.len() - 1] {
        let command = command.replace("kekring-control-plane", NODE);
        run(cluster.shell().args(["-euc", &command])).unwrap();
        cluster.wait_until_ready();
    }
}

pub fn one_command_deletes_everything_that_the_first_look_made(cluster: &Cluster) {
    let name = format!("name={NODE}");
    let left = |args: &[&str]| text(&run(&mut cluster.docker(args)).unwrap());
    let (nodes, images) = (
        ["ps", "--all", "--quiet", "--filter", &name],
        ["images", "--quiet", "kekring"],
    );
    let volumes = left(&["volume", "ls", "--quiet"]);
    assert_ne!((left(&nodes), left(&images)), (String::new(), String::new()));

    cluster.delete();

    assert_eq!((left(&nodes), left(&images)), (String::new(), String::new()));
    assert!(left(&["volume", "ls", "--quiet"]).len() < volumes.len());
    assert!(!cluster.files().exists());
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
