//! What the plugin must not answer, and how large its answers may be.

use prost::Message;

use crate::client::{Client, Failure, Opened, Stored};
use crate::golang::Program;
use crate::lab::{
    API, Lab, PROVIDER, encryption_configuration, holds, key, key_id, key_in_state, parse, rotate, verb,
};
use crate::support::Plugin;

pub fn unknown_key(program: &'static Program) {
    let mut lab = Lab::start(program);
    let (old, own) = (lab.active(), lab.write("own"));
    let stranger = Plugin::start();
    lab.client.load("stranger", &encryption_configuration(&stranger));
    let foreign = lab.client.write("stranger", &key("foreign"), "foreign").unwrap();

    // Not only the first time: an error is not cached, and neither are bytes.
    for _ in 0..2 {
        let why = lab.read(&foreign).unwrap_err();
        assert_eq!(why.code, "NotFound", "{why:?}");
        assert!(why.text.contains("is not in the ring"), "{why:?}");
    }

    rotate(&lab.plugin, &[]);
    verb(&lab.plugin, &["keys", "suspend", &old]);
    lab.load();
    for _ in 0..2 {
        let why = lab.read(&own).unwrap_err();
        assert_eq!(why.code, "FailedPrecondition", "{why:?}");
    }
    verb(&lab.plugin, &["keys", "resume", &old]);
    assert_eq!(lab.read(&own).unwrap(), holds("own", true));
    lab.client.health(API).unwrap();
}

pub fn tampered(program: &'static Program) {
    let mut lab = Lab::start(program);
    let object = lab.write("object");
    rotate(&lab.plugin, &[]);
    lab.load();

    let bent = bent_copies(&object, &lab.active(), &key_in_state(&lab.plugin, "pre-active"));
    let (results, _) = lab.client.read_all(API, &bent);
    // Nothing wrong was cached in its place.
    let opened = lab.read(&object).unwrap();

    assert!(bent.len() > 142, "{} copies", bent.len());
    for (copy, result) in bent.iter().zip(results) {
        let why = result.unwrap_err();
        let what = parse(copy).object;
        assert_eq!(why.code, "InvalidArgument", "{what:?}: {why:?}");
    }
    assert_eq!(opened, holds("object", true));
}

/// Every byte of the ciphertext bent, one too many and one too few; other keys of the ring; an annotation.
fn bent_copies(object: &Stored, active: &str, next: &str) -> Vec<Stored> {
    let right = parse(object).object;
    let mut wrong = Vec::new();
    for position in 0..right.encrypted_dek_source.len() {
        let mut copy = right.clone();
        copy.encrypted_dek_source[position] ^= 1;
        wrong.push(copy);
    }
    let mut longer = right.clone();
    longer.encrypted_dek_source.push(0);
    let mut shorter = right.clone();
    shorter.encrypted_dek_source.pop();
    wrong.extend([longer, shorter]);
    for key_id in [
        active,
        next,
        &right.key_id.to_uppercase(),
        &format!("{} ", right.key_id),
        &right.key_id[..right.key_id.len() - 1],
    ] {
        let mut copy = right.clone();
        key_id.clone_into(&mut copy.key_id);
        wrong.push(copy);
    }
    let mut annotated = right;
    annotated
        .annotations
        .insert("kek.example.com".to_owned(), b"x".to_vec());
    wrong.push(annotated);
    wrong
        .iter()
        .map(|copy| Stored {
            key: object.key.clone(),
            value: [
                format!("k8s:enc:kms:v2:{PROVIDER}:").into_bytes(),
                copy.encode_to_vec(),
            ]
            .concat(),
        })
        .collect()
}

/// The plugin is not told the place: kube-apiserver authenticates it with the data, under the seed that we gave back.
pub fn moved(program: &'static Program) {
    let mut lab = Lab::start(program);
    let object = lab.write("object");
    let elsewhere = Stored {
        key: key("elsewhere"),
        value: object.value.clone(),
    };

    for _ in ["what is cached", "and after a start"] {
        let moved: Result<Opened, Failure> = lab.read(&elsewhere);
        let why = moved.unwrap_err().text;
        assert!(why.contains("message authentication failed"), "{why}");
        assert_eq!(lab.read(&object).unwrap(), holds("object", false));
        lab.load();
    }
}

/// The client validates each answer by kube-apiserver's own `ValidateEncryptedObject`.
pub fn limits(program: &'static Program) {
    let plugin = Plugin::start();
    let mut client = Client::start(program);

    for round in 0..3 {
        // A seed, the keys of older data, and the largest that we take.
        for length in [32, 16, 24, 1, 512] {
            let plain = vec![u8::try_from(round).unwrap(); length];
            let sealed = client.encrypt(&plugin.socket, &plain).unwrap();
            let opened = client.decrypt(&plugin.socket, &sealed.key_id, &sealed.ciphertext, "");

            assert!((1..=64).contains(&sealed.key_id.len()), "{sealed:?}");
            assert!(sealed.key_id.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(sealed.annotations, 0);
            let most = if length == 32 { 144 } else { 1024 };
            assert!(
                sealed.ciphertext.len() <= most,
                "{} for {length}",
                sealed.ciphertext.len()
            );
            assert_eq!(opened.unwrap(), plain);
        }
        rotate(&plugin, &[]);
    }
    for length in [0, 513] {
        let why = client.encrypt(&plugin.socket, &vec![0; length]).unwrap_err();
        assert_eq!(why.code, "InvalidArgument", "{why:?}");
    }
    let sealed = client.encrypt(&plugin.socket, &[7; 32]).unwrap();
    let annotated = client.decrypt(
        &plugin.socket,
        &sealed.key_id,
        &sealed.ciphertext,
        "kek.example.com",
    );
    assert_eq!(annotated.unwrap_err().code, "InvalidArgument");
    let long = client.decrypt(&plugin.socket, &"k".repeat(1025), &sealed.ciphertext, "");
    assert_eq!(long.unwrap_err().code, "InvalidArgument");
    let large = client.decrypt(&plugin.socket, &sealed.key_id, &[1; 1025], "");
    assert_eq!(large.unwrap_err().code, "InvalidArgument");
    assert!(key_id_is_kept(&mut client, &plugin));
}

/// What Encrypt names is what Status names and what lies in etcd, byte for byte.
fn key_id_is_kept(client: &mut Client, plugin: &Plugin) -> bool {
    client.load(API, &encryption_configuration(plugin));
    let object = client.write(API, &key("object"), "object").unwrap();
    let told = client.status(&plugin.socket).unwrap().key_id;
    let sealed = client.encrypt(&plugin.socket, &[1; 32]).unwrap().key_id;
    key_id(&object) == told && sealed == told
}
