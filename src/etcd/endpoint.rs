//! Where a member of etcd listens.
//!
//! Plain HTTP is for loopback alone: anything else would send a ring's stored bytes, and a password, past whoever
//! listens, and would take the ring from whoever answers.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http::Uri;
use http::uri::Scheme;
use rustls::pki_types::ServerName;

use super::error::EtcdError;

/// etcd's own port for clients.
const PORT: u16 = 2379;

/// One member's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    /// The name that its certificate must be for; none with plain HTTP.
    name: Option<ServerName<'static>>,
}

impl Endpoint {
    /// From `https://HOST[:PORT]`, or `http://` with a loopback address or `localhost`.
    pub fn parse(text: &str) -> Result<Self, EtcdError> {
        let wrong = |why: &str| EtcdError::Config(format!("cannot use the etcd endpoint {text:?}: {why}"));
        let uri: Uri = text
            .parse()
            .map_err(|_| wrong("it is no URL; write https://HOST:2379"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(wrong("write https://HOST:2379"));
        };
        if authority.as_str().contains('@') {
            return Err(EtcdError::Config(
                "an etcd endpoint holds a user: name it by itself, and its password in a file".into(),
            ));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("nothing may follow host and port"));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => PORT,
            None => return Err(wrong("its port is no port")),
        };
        if port == 0 {
            return Err(wrong("its port is 0"));
        }
        let name = if *scheme == Scheme::HTTPS {
            let name = ServerName::try_from(host.clone());
            Some(name.map_err(|_| wrong("its host is neither a name nor an address"))?)
        } else if *scheme == Scheme::HTTP {
            if !is_loopback(&host) {
                return Err(wrong(
                    "plain http is for loopback addresses (127.0.0.0/8, ::1, localhost): on a network it \
                     would show and take anything; use https",
                ));
            }
            None
        } else {
            return Err(wrong("write https://HOST:2379"));
        };
        Ok(Self { host, port, name })
    }

    /// The TCP port that is connected to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is `https://`.
    pub fn is_secured(&self) -> bool {
        self.name.is_some()
    }

    /// Whether its host is a name, which is looked up before each connection.
    pub fn is_named(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// What its certificate must be for; none with plain HTTP.
    pub(super) fn server_name(&self) -> Option<&ServerName<'static>> {
        self.name.as_ref()
    }

    /// What a request says it is for: host and port as they are shown, without the scheme's name for TLS.
    pub(super) fn origin(&self) -> Uri {
        self.to_string()
            .parse()
            // Both parts come from a URL; a request without an origin fails and names no other host.
            .unwrap_or_default()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.name.is_some() { "https" } else { "http" };
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => write!(f, "{scheme}://[{address}]:{}", self.port),
            Err(_) => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Endpoint, EtcdError};

    #[test]
    fn takes_what_an_operator_writes() {
        for (text, shown) in [
            ("https://10.0.0.1:2379", "https://10.0.0.1:2379"),
            ("https://etcd-0.example", "https://etcd-0.example:2379"),
            ("https://[fd00::1]:1/", "https://[fd00::1]:1"),
            ("http://127.3.2.1:2379", "http://127.3.2.1:2379"),
            ("http://[::1]:2379", "http://[::1]:2379"),
            ("http://LOCALHOST:2379", "http://LOCALHOST:2379"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();

            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(
                endpoint.origin().to_string().to_lowercase(),
                format!("{shown}/").to_lowercase()
            );
        }
    }

    #[test]
    fn tells_what_it_takes_to_reach_it() {
        for (text, port, secured, named) in [
            ("https://10.0.0.1", 2379, true, false),
            ("https://[fd00::1]:1", 1, true, false),
            ("http://localhost:4001", 4001, false, true),
            ("https://etcd-0.example:2379", 2379, true, true),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();

            assert_eq!(endpoint.port(), port, "{text}");
            assert_eq!(endpoint.is_secured(), secured, "{text}");
            assert_eq!(endpoint.is_named(), named, "{text}");
        }
    }

    #[test]
    fn refuses_plain_http_off_loopback_and_says_why() {
        for text in [
            "http://10.0.0.1:2379",
            "http://localhost.example:2379",
            "http://0.0.0.0:2379",
            "http://[::ffff:127.0.0.1]:2379",
            "http://etcd",
        ] {
            let refused = Endpoint::parse(text).unwrap_err();

            assert!(matches!(refused, EtcdError::Config(_)), "{refused}");
            assert!(
                refused.to_string().contains("plain http is for loopback"),
                "{refused}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_endpoint() {
        for text in [
            "",
            "127.0.0.1:2379",
            "unix:///run/etcd",
            "ftp://localhost:2379",
            "https://a:b",
            "https://a:",
            "https://a:0",
            "https://a:70000",
            "https://a/x",
            "https://a?x",
            "https://-_-:1",
            "https://",
        ] {
            assert!(
                matches!(Endpoint::parse(text), Err(EtcdError::Config(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_password_in_an_endpoint_is_not_repeated() {
        let refused = Endpoint::parse("https://root:hunter2@10.0.0.1:2379").unwrap_err();

        assert!(!refused.to_string().contains("hunter2"), "{refused}");
    }
}
