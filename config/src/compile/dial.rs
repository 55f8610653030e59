//! How connections are made: `defaults.http.proxy` and `engine.source_ips`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Compiler;
use super::builder::Fragment;
use crate::diagnostic::shown;
use crate::node::At;
use crate::program::{Hidden, Proxy};
use crate::url::{Wrong, authority, scheme};

/// The most addresses to dial from: with 28,000 ports each they reach further than any machine's memory.
const MAX_SOURCE_IPS: usize = 1 << 16;

/// What no output may show of a proxy: its password, as it is written and as it is sent.
pub(super) type Credentials = Vec<String>;

impl Compiler<'_> {
    /// `defaults.http.proxy`, and what of it is secret.
    pub(super) fn proxy(&mut self) -> Option<(Proxy, Credentials)> {
        let text = self.plan.http.proxy.as_ref()?;
        let fragments = self.fold(text)?;
        let proxy = match proxy(&fragments, &text.at) {
            Ok(proxy) => proxy,
            Err((message, help)) => {
                self.report.error(&text.at, message, help);
                return None;
            }
        };
        for pair in &self.plan.http.hosts {
            let host = pair.name.text.split(':').next().unwrap_or_default();
            if !host.eq_ignore_ascii_case(&proxy.0.host) {
                let message = format!("`{}` is for the proxy to resolve", shown(&pair.name.text));
                let help = "with a `proxy` only the proxy's own name is looked up here".to_owned();
                self.report.warning(&pair.name.at, message, Some(help));
            }
        }
        Some(proxy)
    }

    /// `engine.source_ips`, each once.
    pub(super) fn source_ips(&mut self) -> Vec<IpAddr> {
        let plan = self.plan;
        let mut source_ips = Vec::new();
        for text in &plan.engine.source_ips {
            for one in text.text.split(',').map(str::trim) {
                if let Err((message, help)) = addresses(one, &mut source_ips) {
                    self.report.error(&text.at, message, help);
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        source_ips.retain(|ip| seen.insert(*ip));
        source_ips
    }
}

fn proxy(fragments: &[Fragment], at: &At) -> Result<(Proxy, Credentials), Wrong> {
    let wrong = |message: &str, help: &str| (message.to_owned(), Some(help.to_owned()));
    const FORM: &str = "write `http://HOST:PORT`, or `http://USER:PASSWORD@HOST:PORT`";
    if fragments.iter().any(|f| matches!(f, Fragment::Value(_))) {
        let help =
            "it must be known before the run: `${env.NAME}`, `${vars.name}` and `${secrets.x}` are";
        return Err(wrong(
            "the proxy depends on what is known only in the run",
            help,
        ));
    }
    let Some((Fragment::Text(first), rest)) = fragments.split_first() else {
        return Err(wrong("the proxy does not begin with `http://`", FORM));
    };
    let first = match scheme(first) {
        Some((scheme, first)) if scheme.eq_ignore_ascii_case("http") => first,
        // What stands before an `@` may be a password, so nothing of it is repeated.
        Some((scheme, _)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            let message = format!("a proxy is not reached by `{}://` here", shown(scheme));
            return Err((message, Some(FORM.to_owned())));
        }
        _ => return Err(wrong("the proxy does not begin with `http://`", FORM)),
    };
    let mut parts = vec![Fragment::Text(first.to_owned())];
    parts.extend_from_slice(rest);
    let is_end = |part: &Fragment| matches!(part, Fragment::Text(text) if text.contains('@'));
    let mut host = String::new();
    let mut user: Option<Vec<Fragment>> = None;
    if let Some(end) = parts.iter().rposition(is_end) {
        let mut after = parts.split_off(end);
        if let Fragment::Text(text) = after.remove(0)
            && let Some((before, behind)) = text.rsplit_once('@')
        {
            parts.push(Fragment::Text(before.to_owned()));
            after.insert(0, Fragment::Text(behind.to_owned()));
        }
        user = Some(std::mem::replace(&mut parts, after));
    }
    for part in parts {
        match part {
            Fragment::Text(text) => host.push_str(&text),
            Fragment::Secret(_) | Fragment::Value(_) => {
                return Err(wrong(
                    "the proxy's host cannot be a secret: it is shown",
                    FORM,
                ));
            }
        }
    }
    let host = host.strip_suffix('/').unwrap_or(&host);
    if host.contains(['/', '?', '#']) {
        return Err(wrong("a proxy has no path", FORM));
    }
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && !port.contains(']'));
    if !has_port {
        return Err(wrong("the proxy has no port", FORM));
    }
    let authority = authority(host, false)?;
    let (authorization, credentials) = match user {
        Some(user) => {
            let (value, credentials) = basic(&user)?;
            (Some(Hidden::new(value.into_bytes())), credentials)
        }
        None => (None, Vec::new()),
    };
    let proxy = Proxy {
        host: authority.host,
        port: authority.port,
        // Its port too when it is 80.
        authority: host.to_ascii_lowercase(),
        authorization,
        location: at.location(),
    };
    Ok((proxy, credentials))
}

/// The value of `Proxy-Authorization` (RFC 7617), and what of it is secret.
fn basic(userinfo: &[Fragment]) -> Result<(String, Credentials), Wrong> {
    let (mut user, mut password): (Vec<u8>, Option<Vec<u8>>) = (Vec::new(), None);
    let mut written = String::new();
    for part in userinfo {
        match part {
            Fragment::Text(text) => {
                let rest = match (&password, text.split_once(':')) {
                    (None, Some((before, after))) => {
                        percent_decode(before, &mut user)?;
                        password = Some(Vec::new());
                        after
                    }
                    _ => text,
                };
                if password.is_some() {
                    written.push_str(rest);
                }
                percent_decode(rest, password.as_mut().unwrap_or(&mut user))?;
            }
            // As it is: what is secret is not written in a URL.
            Fragment::Secret(secret) => password
                .as_mut()
                .unwrap_or(&mut user)
                .extend_from_slice(secret.as_bytes()),
            Fragment::Value(_) => {}
        }
    }
    if user.contains(&b':') {
        let message = "the proxy's user name has a colon, which no password can follow".to_owned();
        return Err((message, None));
    }
    let password = password.unwrap_or_default();
    let token = STANDARD.encode([&user[..], b":", &password].concat());
    let mut credentials = vec![token.clone(), written];
    credentials.extend(String::from_utf8(password));
    Ok((format!("Basic {token}"), credentials))
}

fn percent_decode(text: &str, out: &mut Vec<u8>) -> Result<(), Wrong> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            let message = "the proxy's user or password has a `%` without two digits".to_owned();
            return Err((message, Some("write `%25` for a literal `%`".to_owned())));
        };
        out.push((high << 4 | low) as u8);
    }
    Ok(())
}

/// Appends an address, or those of a CIDR.
fn addresses(text: &str, out: &mut Vec<IpAddr>) -> Result<(), Wrong> {
    let wrong = || {
        let message = format!("`{}` is not an IP address or a CIDR", shown(text));
        let help = "write one such as `10.0.0.17`, `10.0.0.16/28` or `fd00::/120`".to_owned();
        (message, Some(help))
    };
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let Some(prefix) = prefix else {
        if address.is_unspecified() || address.is_multicast() {
            let message = format!("`{address}` is no address to dial from");
            return Err((message, None));
        }
        return push_all(out, std::iter::once(address), 1);
    };
    let bits: u32 = if address.is_ipv4() { 32 } else { 128 };
    let prefix: u32 = match prefix.parse() {
        Ok(prefix) if prefix <= bits && text.bytes().all(|b| b != b'+') => prefix,
        _ => return Err(wrong()),
    };
    let host_bits = bits - prefix;
    let base = match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let mask = 1_u128.checked_shl(host_bits).map_or(u128::MAX, |n| n - 1);
    let (mut first, mut last) = (base & !mask, base | mask);
    if address.is_ipv4() && host_bits >= 2 {
        // The network itself and its broadcast.
        (first, last) = (first + 1, last - 1);
    }
    let count = (last - first).saturating_add(1);
    let all = (first..=last).map(|bits| match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    });
    push_all(out, all, count)
}

fn push_all(
    out: &mut Vec<IpAddr>,
    all: impl Iterator<Item = IpAddr>,
    count: u128,
) -> Result<(), Wrong> {
    if count > (MAX_SOURCE_IPS - out.len()) as u128 {
        let message = format!("these are more than {MAX_SOURCE_IPS} addresses to dial from");
        let help = "write a longer prefix".to_owned();
        return Err((message, Some(help)));
    }
    out.extend(all);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn list(texts: &[&str]) -> Result<Vec<String>, String> {
        let mut out = Vec::new();
        for text in texts {
            addresses(text, &mut out).map_err(|(message, _)| message)?;
        }
        Ok(out.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn addresses_and_networks_are_read() {
        for (text, all) in [
            ("127.0.0.2", &["127.0.0.2"][..]),
            ("10.1.2.7/30", &["10.1.2.5", "10.1.2.6"]),
            ("10.1.2.7/31", &["10.1.2.6", "10.1.2.7"]),
            ("10.1.2.7/32", &["10.1.2.7"]),
            ("::1", &["::1"]),
            ("fd00::/127", &["fd00::", "fd00::1"]),
            ("fd00::5/128", &["fd00::5"]),
        ] {
            assert_eq!(list(&[text]).unwrap(), all, "{text}");
        }
        assert_eq!(list(&["127.1.0.0/16"]).unwrap().len(), 65_534);
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in [
            "",
            "localhost",
            "10.0.0",
            "10.0.0.1/33",
            "10.0.0.1/",
            "10.0.0.1/+8",
            "::1/129",
            "1.2.3.4:80",
        ] {
            let message = list(&[text]).unwrap_err();
            assert!(
                message.contains("is not an IP address or a CIDR"),
                "{message}"
            );
        }
        for text in ["127.0.0.0/8", "::/0", "0.0.0.0/0", "fd00::/64"] {
            assert!(
                list(&[text]).unwrap_err().contains("more than 65536"),
                "{text}"
            );
        }
        for text in ["0.0.0.0", "::", "224.0.0.1"] {
            assert!(
                list(&[text])
                    .unwrap_err()
                    .contains("no address to dial from")
            );
        }
    }

    #[test]
    fn credentials_are_decoded_and_sent_as_the_rfc_has_them() {
        // RFC 7617, section 2.
        let user = [Fragment::Text("Aladdin:open%20sesame".to_owned())];
        let (value, secret) = basic(&user).unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(secret.contains(&"open sesame".to_owned()));
        let user = [
            Fragment::Text("Aladdin:".to_owned()),
            Fragment::Secret("open sesame".into()),
        ];
        assert_eq!(basic(&user).unwrap().0, value);
        assert!(basic(&[Fragment::Text("a%3Ab:c".to_owned())]).is_err());
        assert!(basic(&[Fragment::Text("a%3:c".to_owned())]).is_err());
    }
}
