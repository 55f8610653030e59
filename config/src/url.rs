//! Origins: what stands between a URL's scheme and its path. RFC 3986 section 3.2, narrowed to what HTTP needs.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::diagnostic::shown;

/// A host name's most bytes (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 253;

/// Where a URL goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// Whether it is reached over TLS (`https`).
    pub tls: bool,
    /// Lower case; an IPv6 literal without its brackets.
    pub host: String,
    /// The scheme's default filled in.
    pub port: u16,
    /// What `Host` says: the port is left out when it is the scheme's default.
    pub text: String,
}

impl Authority {
    /// Reads what stands between a URL's `//` and its path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str, tls: bool) -> Result<Self, String> {
        authority(text, tls).map_err(|(message, _)| message)
    }

    /// Whether two are one origin: scheme, host and port are the same.
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        (self.tls, self.port) == (other.tls, other.port) && self.host == other.host
    }
}

/// What is wrong with a URL and what to write instead.
pub(crate) type Wrong = (String, Option<String>);

/// The scheme and what follows its `://`, when there is one before the first of `/?#`.
pub(crate) fn scheme(url: &str) -> Option<(&str, &str)> {
    let head = url.split(['?', '#']).next()?;
    let (scheme, _) = head.split_once("://")?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    valid.then(|| (scheme, &url[scheme.len() + 3..]))
}

/// Whether the scheme means TLS; an error when it is not one that this version speaks.
pub(crate) fn check_scheme(scheme: &str) -> Result<bool, Wrong> {
    if scheme.eq_ignore_ascii_case("http") {
        return Ok(false);
    }
    if scheme.eq_ignore_ascii_case("https") {
        return Ok(true);
    }
    let message = format!("`{}://` is not available in this version", shown(scheme));
    let help = "`http://` and `https://` are";
    Err((message, Some(help.to_owned())))
}

/// Reads an entry of `hosts`: a host with a port or without.
pub(crate) fn route_end(text: &str) -> Result<(String, Option<u16>), Wrong> {
    let authority = authority(text, false)?;
    // The port is the default one as well when it is written; only then it counts.
    let has_port = !text.ends_with(']') && text.contains(':');
    Ok((authority.host, has_port.then_some(authority.port)))
}

/// Reads `host`, `host:port`, `[v6]`, `[v6]:port`.
pub(crate) fn authority(text: &str, tls: bool) -> Result<Authority, Wrong> {
    let wrong = |message: String| (message, None);
    if text.contains('@') {
        let help = "write an `authorization` header";
        // What stands before the `@` may be a password, so it is not repeated.
        return Err((
            "a user name in the URL is not supported".to_owned(),
            Some(help.to_owned()),
        ));
    }
    let (host, port, is_v6) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or_else(|| wrong(format!("the address `{}` has no closing `]`", shown(text))))?;
        let address: Ipv6Addr = host
            .parse()
            .map_err(|_| wrong(format!("`{}` is not an IPv6 address", shown(host))))?;
        let port = match after {
            "" => None,
            _ => Some(after.strip_prefix(':').ok_or_else(|| {
                wrong(format!(
                    "`{}` after the address is not a port",
                    shown(after)
                ))
            })?),
        };
        (address.to_string(), port, true)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        if port.is_some_and(|port| port.contains(':')) {
            let help = format!("write an IPv6 address in brackets: `[{}]`", shown(text));
            return Err((format!("`{}` is not a host", shown(text)), Some(help)));
        }
        (name(host)?, port, false)
    };
    let default_port = if tls { 443 } else { 80 };
    let port = match port {
        // RFC 3986 allows an empty port.
        None | Some("") => default_port,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => {
                return Err(wrong(format!(
                    "the port `{}` is not between 1 and 65535",
                    shown(port)
                )));
            }
        },
        Some(port) => return Err(wrong(format!("`{}` is not a port", shown(port)))),
    };
    let shown_host = if is_v6 {
        format!("[{host}]")
    } else {
        host.clone()
    };
    let text = if port == default_port {
        shown_host
    } else {
        format!("{shown_host}:{port}")
    };
    Ok(Authority {
        tls,
        host,
        port,
        text,
    })
}

/// A host name or IPv4 address, in lower case.
fn name(host: &str) -> Result<String, Wrong> {
    if host.is_empty() {
        return Err(("the URL has no host".to_owned(), None));
    }
    if host.len() > MAX_HOST {
        return Err((
            format!("a host name has at most {MAX_HOST} characters"),
            None,
        ));
    }
    if !host.is_ascii() {
        let help = "write it in its ASCII form, which begins with `xn--`";
        return Err((
            format!("the host `{}` is not ASCII", shown(host)),
            Some(help.to_owned()),
        ));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let labels = host.strip_suffix('.').unwrap_or(host);
    if !host.bytes().all(allowed)
        || labels
            .split('.')
            .any(|label| label.is_empty() || label.len() > 63)
    {
        return Err((format!("`{}` is not a host", shown(host)), None));
    }
    // A name cannot end in a number: it would be an address (WHATWG URL, section 3.5).
    let last = labels.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) && labels.parse::<Ipv4Addr>().is_err() {
        return Err((format!("`{}` is not an IPv4 address", shown(host)), None));
    }
    Ok(host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn authorities_are_read() {
        for (text, host, port, shown) in [
            ("localhost", "localhost", 80, "localhost"),
            ("LocalHost:80", "localhost", 80, "localhost"),
            ("example.com:8080", "example.com", 8080, "example.com:8080"),
            ("example.com.", "example.com.", 80, "example.com."),
            ("127.0.0.1:1", "127.0.0.1", 1, "127.0.0.1:1"),
            ("[::1]", "::1", 80, "[::1]"),
            (
                "[2001:DB8::0:1]:65535",
                "2001:db8::1",
                65535,
                "[2001:db8::1]:65535",
            ),
            ("h:", "h", 80, "h"),
        ] {
            let expected = Authority {
                tls: false,
                host: host.to_owned(),
                port,
                text: shown.to_owned(),
            };
            assert_eq!(authority(text, false).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_bad_authority_is_named() {
        for (text, message) in [
            ("", "the URL has no host"),
            (":80", "the URL has no host"),
            ("user:secret@h", "a user name in the URL is not supported"),
            ("h:0", "the port `0` is not between 1 and 65535"),
            ("h:65536", "the port `65536` is not between 1 and 65535"),
            ("h:+1", "`+1` is not a port"),
            ("h:http", "`http` is not a port"),
            ("[::1", "the address `[::1` has no closing `]`"),
            ("[::g]", "`::g` is not an IPv6 address"),
            ("[fe80::1%eth0]", "`fe80::1%eth0` is not an IPv6 address"),
            ("[::1]x", "`x` after the address is not a port"),
            ("::1", "`::1` is not a host"),
            ("a b", "`a b` is not a host"),
            ("a..b", "`a..b` is not a host"),
            ("münchen.de", "the host `münchen.de` is not ASCII"),
            ("256.1.1.1", "`256.1.1.1` is not an IPv4 address"),
            ("1.2.3", "`1.2.3` is not an IPv4 address"),
        ] {
            assert_eq!(authority(text, false).unwrap_err().0, message, "{text}");
        }
    }
}
