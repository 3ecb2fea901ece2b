//! Which `Host` the telemetry listener answers to. Loopback keeps other machines out, and not a browser on this one: a page
//! from elsewhere whose name is made to resolve to 127.0.0.1 (DNS rebinding) would read every answer. It cannot choose the
//! name that its requests carry.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::HOST;
use http::{Request, StatusCode, Version};

/// Why a request gets no page.
pub(super) type Refusal = (StatusCode, &'static str);

const ELSEWHERE: Refusal = (
    StatusCode::MISDIRECTED_REQUEST,
    "the Host of this request is none of localhost, 127.0.0.0/8 and [::1]: only those are answered\n",
);
const NOT_ONE: Refusal = (
    StatusCode::BAD_REQUEST,
    "a request has one Host: localhost, or an address of loopback\n",
);

/// Whether the request is for this machine by a name that only this machine has. HTTP/1.0 knows requests without a Host, and
/// no browser sends one.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() < Version::HTTP_11 => {}
        (None, _) | (_, Some(_)) => return Err(NOT_ONE),
        (Some(host), None) if host.to_str().is_ok_and(is_loopback) => {}
        (Some(_), None) => return Err(ELSEWHERE),
    }
    // A proxy's form of a request has it twice, and means this one (RFC 9112, section 3.2.2).
    match request.uri().authority() {
        Some(named) if !is_loopback(named.as_str()) => Err(ELSEWHERE),
        _ => Ok(()),
    }
}

/// With or without a port.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => match address.parse::<Ipv6Addr>() {
            Ok(address) if address.is_loopback() => ("localhost", port),
            _ => return false,
        },
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let named =
        name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|it| it.is_loopback());
    let port = port.strip_prefix(':').unwrap_or(port);
    named && port.bytes().all(|it| it.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn names_of_loopback_are_told_from_those_that_only_look_like_it() {
        for host in [
            "localhost",
            "LocalHost:9476",
            "127.0.0.1",
            "127.0.0.1:9476",
            "127.8.9.10:1",
            "[::1]",
            "[::1]:9476",
            "[0:0::1]:9476",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            ":9476",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:9476",
            "localhost.",
            "localhost@evil.example",
            "evil.example@localhost",
            "127.1",
            "2130706433",
            "0177.0.0.1",
            "0.0.0.0",
            "10.0.0.1:9476",
            "::1",
            "[::]",
            "[::1].evil.example",
            "[::1",
            "[127.0.0.1]",
            "localhost:evil",
            "localhost:1:2",
            " localhost",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
