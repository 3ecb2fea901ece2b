//! TLS to etcd from files: whose certificates are believed, and who we are.
//!
//! The files are looked at again before every use: a renewed certificate counts for the next connection, and what was
//! connected with the old one is not used again. While a renewal is half done, what was read before stays in use.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::OFlags;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use super::error::EtcdError;
use super::file;

/// Where certificates and key lie, each as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that may have signed the members' certificates; no others are believed.
    pub ca: PathBuf,
    /// Our certificate with its chain, and its key; none where etcd knows its clients by password alone.
    pub identity: Option<Identity>,
}

/// A client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, then those that lead to its authority.
    pub cert: PathBuf,
    /// Its key, PKCS #8, PKCS #1 or SEC 1. Its mode must grant others nothing.
    pub key: PathBuf,
}

/// How long our certificate is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Then too.
    Good,
    /// Now, and not then.
    Soon,
    /// Not now.
    Expired,
    /// The authority of etcd's own certificates did not sign it, or the files do not say.
    Unknown(String),
}

/// Which state of the files a connection was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<(u64, i64, i64, u64)>);

pub(super) struct Tls {
    files: TlsFiles,
    read: Mutex<Option<Arc<Loaded>>>,
}

/// What a connection is made with.
pub(super) struct Loaded {
    pub(super) config: Arc<ClientConfig>,
    pub(super) stamp: Stamp,
    /// Why newer files are not in use.
    pub(super) trouble: Option<String>,
}

impl Tls {
    pub(super) fn new(files: TlsFiles) -> Self {
        Self {
            files,
            read: Mutex::default(),
        }
    }

    /// As the files are now; as they last were where they do not fit together now.
    pub(super) fn load(&self) -> Result<Arc<Loaded>, EtcdError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.files.stamp();
        if let (Ok(now), Some(before)) = (&stamp, read.as_ref())
            && before.stamp == *now
            && before.trouble.is_none()
        {
            return Ok(Arc::clone(before));
        }
        let fresh = stamp.and_then(|stamp| Ok((self.files.config()?, stamp)));
        let loaded = match (fresh, read.as_ref()) {
            (Ok((config, stamp)), _) => Loaded {
                config: Arc::new(config),
                stamp,
                trouble: None,
            },
            (Err(why), Some(before)) => Loaded {
                config: Arc::clone(&before.config),
                stamp: before.stamp.clone(),
                trouble: Some(why.to_string()),
            },
            (Err(why), None) => return Err(why),
        };
        let loaded = Arc::new(loaded);
        *read = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    /// What to say of a connection that failed: a certificate that either side does not accept is for a person to mend.
    pub(super) fn failure(&self, why: &rustls::Error) -> EtcdError {
        let ca = self.files.ca.display();
        let identity = match &self.files.identity {
            Some(identity) => identity.cert.display().to_string(),
            None => "no client certificate".into(),
        };
        match why {
            rustls::Error::InvalidCertificate(_) => EtcdError::Denied(format!(
                "its certificate is not accepted: {why}; check that {ca} is the authority of etcd's certificates \
                 and that the certificate names this host"
            )),
            rustls::Error::AlertReceived(alert) if is_about_a_certificate(*alert) => {
                EtcdError::Denied(format!(
                    "it does not accept our certificate ({identity}): {why}; check that it has not expired and that \
                 etcd's trusted authority signed it"
                ))
            }
            _ => EtcdError::Unavailable(format!("it does not speak TLS 1.3 with us: {why}")),
        }
    }
}

impl TlsFiles {
    fn stamp(&self) -> Result<Stamp, EtcdError> {
        let mut paths = vec![&self.ca];
        if let Some(identity) = &self.identity {
            paths.extend([&identity.cert, &identity.key]);
        }
        let of = |path: &PathBuf| {
            let about = fs::metadata(path).map_err(|why| file::unreadable(path, &why))?;
            Ok((about.ino(), about.ctime(), about.ctime_nsec(), about.size()))
        };
        Ok(Stamp(
            paths.into_iter().map(of).collect::<Result<_, EtcdError>>()?,
        ))
    }

    /// How long our certificate is good for, as `now` and `then` are since 1970; `None` where there is none. It is judged
    /// by the authority that signed etcd's own.
    pub fn validity(&self, now: Duration, then: Duration) -> Option<Validity> {
        let identity = self.identity.as_ref()?;
        let unknown = |why: String| Validity::Unknown(why);
        let judged = || -> Result<Validity, Validity> {
            let chain = certificates(&identity.cert).map_err(|why| unknown(why.to_string()))?;
            let roots = self.roots().map_err(|why| unknown(why.to_string()))?;
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let judge = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let judge = judge.build().map_err(|why| unknown(why.to_string()))?;
            let Some((ours, between)) = chain.split_first() else {
                return Ok(unknown("there is no certificate".into()));
            };
            let at = |time| judge.verify_client_cert(ours, between, UnixTime::since_unix_epoch(time));
            Ok(match (at(now), at(then)) {
                (Ok(_), Ok(_)) => Validity::Good,
                (Ok(_), Err(_)) => Validity::Soon,
                (Err(rustls::Error::InvalidCertificate(why)), _) if is_over(&why) => Validity::Expired,
                (Err(why), _) => unknown(why.to_string()),
            })
        };
        Some(judged().unwrap_or_else(|unknown| unknown))
    }

    fn roots(&self) -> Result<RootCertStore, EtcdError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca)? {
            roots
                .add(certificate)
                .map_err(|why| EtcdError::Denied(format!("cannot use {}: {why}", self.ca.display())))?;
        }
        Ok(roots)
    }

    fn config(&self) -> Result<ClientConfig, EtcdError> {
        let roots = self.roots()?;
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| EtcdError::Config(format!("cannot speak TLS: {why}")))?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(certificates(&identity.cert)?, key(&identity.key)?)
                .map_err(|why| {
                    EtcdError::Denied(format!(
                        "cannot use {} with {}: {why}; a certificate and its key must be renewed together",
                        identity.cert.display(),
                        identity.key.display()
                    ))
                })?,
        };
        // RFC 9113: HTTP/2 is agreed on in the handshake, and etcd insists.
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, EtcdError> {
    let bytes = file::contents(path, &file::open(path, OFlags::empty())?)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(EtcdError::Denied(format!(
            "{} holds no certificate; expected PEM",
            path.display()
        ))),
        Err(why) => Err(EtcdError::Denied(format!(
            "cannot read {}: {why}",
            path.display()
        ))),
    }
}

/// Nothing of what the file holds is ever in an error.
fn key(path: &Path) -> Result<PrivateKeyDer<'static>, EtcdError> {
    let shown = path.display();
    let file = file::open(path, OFlags::empty())?;
    let mode = file
        .metadata()
        .map_err(|why| file::unreadable(path, &why))?
        .mode();
    if mode & 0o007 != 0 {
        return Err(EtcdError::Denied(format!(
            "{shown} has mode {:04o}: everybody can use it; `chmod 0600 {shown}`",
            mode & 0o7777
        )));
    }
    PrivateKeyDer::from_pem_slice(&file::contents(path, &file)?).map_err(|_| {
        EtcdError::Denied(format!(
            "{shown} holds no key that can be read; expected PEM, without a passphrase"
        ))
    })
}

fn is_over(why: &CertificateError) -> bool {
    matches!(
        why,
        CertificateError::Expired | CertificateError::ExpiredContext { .. }
    )
}

/// RFC 8446, section 6.2.
fn is_about_a_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::CertificateRequired
    )
}
