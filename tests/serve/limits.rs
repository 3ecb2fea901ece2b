//! Every field of every message, at and beyond its limits.

use std::collections::HashMap;

use kekring::proto::kms;
use prost::Message;
use tonic::Code;

use crate::client::Client;
use crate::support::Plugin;

/// `DecryptRequest` and `EncryptRequest` with bytes where the protocol has text: the same on the wire.
#[derive(Clone, PartialEq, Message)]
struct RawDecrypt {
    #[prost(bytes, tag = "1")]
    ciphertext: Vec<u8>,
    #[prost(bytes, tag = "2")]
    uid: Vec<u8>,
    #[prost(bytes, tag = "3")]
    key_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RawEncrypt {
    #[prost(bytes, tag = "1")]
    plaintext: Vec<u8>,
    #[prost(bytes, tag = "2")]
    uid: Vec<u8>,
}

const ENCRYPT: &str = "/v2.KeyManagementService/Encrypt";
const DECRYPT: &str = "/v2.KeyManagementService/Decrypt";

fn setting() -> (Plugin, Client) {
    let plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    (plugin, client)
}

#[test]
fn plaintext_of_1_to_512_bytes_comes_back_and_other_lengths_are_refused() {
    let (_plugin, client) = setting();

    for length in [1, 31, 32, 33, 511, 512] {
        let plaintext = vec![7; length];
        let sealed = client.encrypt(&plaintext).unwrap();

        assert_eq!(client.decrypt(&sealed).unwrap(), plaintext, "{length} bytes");
        assert_eq!(sealed.ciphertext.len(), length + 110);
        assert!(sealed.annotations.is_empty());
    }
    for length in [0, 513, 1024, 60_000] {
        let status = client.encrypt(&vec![7; length]).unwrap_err();

        assert_eq!(status.code(), Code::InvalidArgument, "{length} bytes");
        assert!(status.message().contains("1 to 512"), "{}", status.message());
    }
}

#[test]
fn ciphertext_of_any_other_length_or_content_is_refused_with_one_text() {
    let (_plugin, client) = setting();
    let sealed = client.encrypt(&[7; 32]).unwrap();
    let decrypt = |ciphertext: Vec<u8>| {
        client.decrypt_with(kms::DecryptRequest {
            ciphertext,
            key_id: sealed.key_id.clone(),
            ..Default::default()
        })
    };

    for length in [0, 1025, 60_000] {
        let status = decrypt(vec![1; length]).unwrap_err();

        assert_eq!(status.code(), Code::InvalidArgument, "{length} bytes");
        let says = format!("ciphertext is {length} bytes, 1 to 1024 are accepted");
        assert_eq!(status.message(), says, "by its length, before any key is used");
    }
    let mut texts = Vec::new();
    for length in [1, 31, 32, 33, 110, 111, 141, 1024] {
        texts.push(decrypt(vec![1; length]).unwrap_err());
    }
    for position in 0..sealed.ciphertext.len() {
        let mut bent = sealed.ciphertext.clone();
        bent[position] ^= 1;
        texts.push(decrypt(bent).unwrap_err());
    }
    for status in texts {
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(
            status.message(),
            "the ciphertext does not decrypt under this key_id"
        );
    }
}

#[test]
fn a_key_id_that_is_no_name_of_ours_is_refused() {
    let (_plugin, client) = setting();
    let sealed = client.encrypt(&[7; 32]).unwrap();
    let refusal = |key_id: &str| {
        let request = kms::DecryptRequest {
            ciphertext: sealed.ciphertext.clone(),
            key_id: key_id.to_owned(),
            ..Default::default()
        };
        client.decrypt_with(request).unwrap_err()
    };
    let code = |key_id: &str| refusal(key_id).code();

    let huge = "k".repeat(1025);
    let upper = sealed.key_id.to_uppercase();
    let newline = format!("{}\n", sealed.key_id);
    for bad in [
        "",
        "k",
        "1",
        "../../etc/passwd",
        "k1-\u{0}\u{1b}[31m",
        &huge,
        &upper,
        &newline,
    ] {
        assert_eq!(code(bad), Code::InvalidArgument, "{bad:?}");
    }
    assert!(refusal(&huge).message().starts_with("key_id is 1025 bytes"));
    assert_eq!(code("k7-00112233445566778899aabbccddeeff"), Code::NotFound);
}

#[test]
fn a_key_id_of_another_key_does_not_decrypt() {
    let (plugin, client) = setting();
    let mut sealed = client.encrypt(&[7; 32]).unwrap();
    sealed.key_id = plugin.json(&["keys", "list"])["keys"][1]["id"]
        .as_str()
        .unwrap()
        .to_owned();

    let status = client.decrypt(&sealed).unwrap_err();

    assert_eq!(
        status.message(),
        "the ciphertext does not decrypt under this key_id"
    );
}

#[test]
fn any_uid_of_up_to_256_bytes_is_taken_and_longer_ones_are_refused() {
    let (_plugin, client) = setting();
    let encrypt = |uid: &str| {
        let request = kms::EncryptRequest {
            plaintext: vec![7; 32],
            uid: uid.to_owned(),
        };
        client
            .encrypt_with(request)
            .map(|_| ())
            .map_err(|status| status.code())
    };

    let sealed = client.encrypt(&[7; 32]).unwrap();
    let decrypt = |uid: &str| {
        let request = kms::DecryptRequest {
            ciphertext: sealed.ciphertext.clone(),
            key_id: sealed.key_id.clone(),
            uid: uid.to_owned(),
            ..Default::default()
        };
        client
            .decrypt_with(request)
            .map(|_| ())
            .map_err(|status| status.code())
    };

    for good in ["", "a", "a\nb\u{1b}[31m\u{0}", "üñí", &"x".repeat(256)] {
        assert_eq!((encrypt(good), decrypt(good)), (Ok(()), Ok(())), "{good:?}");
    }
    for long in ["x".repeat(257), "x".repeat(50_000)] {
        assert_eq!(encrypt(&long), Err(Code::InvalidArgument));
        assert_eq!(decrypt(&long), Err(Code::InvalidArgument));
    }
}

#[test]
fn text_that_is_not_utf_8_is_the_callers_mistake() {
    let (_plugin, client) = setting();
    let bad = vec![0xff, 0xfe];

    let encrypt = RawEncrypt {
        plaintext: vec![7; 32],
        uid: bad.clone(),
    };
    let by_uid = RawDecrypt {
        ciphertext: vec![1; 142],
        uid: bad.clone(),
        key_id: b"k1".to_vec(),
    };
    let by_key_id = RawDecrypt {
        ciphertext: vec![1; 142],
        uid: Vec::new(),
        key_id: bad,
    };

    assert_eq!(client.code(ENCRYPT, encrypt), Code::InvalidArgument);
    assert_eq!(client.code(DECRYPT, by_uid), Code::InvalidArgument);
    assert_eq!(client.code(DECRYPT, by_key_id), Code::InvalidArgument);
}

#[test]
fn annotations_are_never_ours_and_are_refused() {
    let (_plugin, client) = setting();
    let sealed = client.encrypt(&[7; 32]).unwrap();

    for size in [0, 1, 32_000] {
        let mut altered = sealed.clone();
        altered.annotations = HashMap::from([("a.example.com".to_owned(), vec![1; size])]);
        let status = client.decrypt(&altered).unwrap_err();

        assert_eq!(status.code(), Code::InvalidArgument, "{size} bytes");
        assert!(status.message().contains("annotations"));
    }
}

#[test]
fn a_message_over_64_kib_is_refused_by_its_size_and_the_connection_goes_on() {
    let (_plugin, client) = setting();

    for size in [65_536, 1_048_576] {
        let status = client.encrypt(&vec![7; size]).unwrap_err();

        assert_eq!(status.code(), Code::ResourceExhausted, "{size} bytes: {status:?}");
    }
    assert_eq!(client.status().unwrap().healthz, "ok");
}

#[test]
fn unknown_methods_and_services_are_unimplemented() {
    let (_plugin, client) = setting();
    let empty = kms::StatusRequest {};

    assert_eq!(
        client.code("/v2.KeyManagementService/Other", empty),
        Code::Unimplemented
    );
    assert_eq!(
        client.code("/v1beta1.KeyManagementService/Version", empty),
        Code::Unimplemented
    );
    assert_eq!(client.code("/v2.KeyManagementService/Status", empty), Code::Ok);
}

#[test]
fn unknown_fields_of_a_request_are_passed_over() {
    let (_plugin, client) = setting();

    // A StatusRequest has no fields; this one has two.
    let newer = RawEncrypt {
        plaintext: vec![1],
        uid: vec![2],
    };

    assert_eq!(client.code("/v2.KeyManagementService/Status", newer), Code::Ok);
}

#[test]
fn the_answer_to_status_is_what_kube_apiserver_accepts() {
    let (plugin, client) = setting();

    let status = client.status().unwrap();

    assert_eq!((status.version.as_str(), status.healthz.as_str()), ("v2", "ok"));
    assert_eq!(status.key_id, plugin.json(&["status"])["active"]);
    assert!(status.key_id.len() <= 64 && status.key_id.chars().all(|c| c.is_ascii_graphic()));
    assert_eq!(client.encrypt(&[1; 32]).unwrap().key_id, status.key_id);
}
