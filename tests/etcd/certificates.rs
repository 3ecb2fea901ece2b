//! An authority for one trial, and what it signs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kekring::etcd::{Identity, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// Signs, and keeps everything in a directory.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
}

impl Authority {
    pub fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            issuer,
            dir: dir.to_owned(),
        };
        fs::write(authority.ca_of(name), authority.issuer.pem()).unwrap();
        authority
    }

    pub fn ca_of(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.ca.pem"))
    }

    /// A certificate for a server of these names, and for a client.
    pub fn sign(&self, name: &str, hosts: &[&str]) -> Identity {
        self.sign_until(name, hosts, 2100)
    }

    /// The same, good until the beginning of a year.
    pub fn sign_until(&self, name: &str, hosts: &[&str], year: i32) -> Identity {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let pair = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&pair, &*self.issuer).unwrap();
        let identity = Identity {
            cert: self.dir.join(format!("{name}.pem")),
            key: self.dir.join(format!("{name}.key")),
        };
        replace(&identity.cert, &certificate.pem());
        replace(&identity.key, &pair.serialize_pem());
        identity
    }
}

/// Renamed into place, as renewals do.
fn replace(path: &Path, text: &str) {
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, text).unwrap();
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(unfinished, path).unwrap();
}

/// What a client is given.
pub fn files(ca: PathBuf, identity: Option<Identity>) -> TlsFiles {
    TlsFiles { ca, identity }
}
