//! Who is let in. A browser sends its user's requests for any page that is open in it; that a request comes from this
//! machine says nothing. So a name in `Host` that some other site may own is refused (DNS rebinding), as is whatever says
//! that it comes from another origin, and nothing is changed without an origin or a token that a foreign page cannot have.

use std::net::IpAddr;

use loadr_http::Request;

/// What must hold for a request.
pub(super) struct Gate {
    token: Option<String>,
}

/// Why a request is refused: what to tell it, with a status.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) u16, pub(super) &'static str);

impl Gate {
    pub(super) fn new(token: Option<String>) -> Self {
        Self { token }
    }

    /// Lets a request in, or says why not. `changes` when it would change something.
    pub(super) fn admit(&self, request: &Request, changes: bool) -> Result<(), Refused> {
        let Some(host) = request.header("host") else {
            return Err(Refused(400, "the request has no Host"));
        };
        // A page at an IP address, or at this name, cannot be somebody else's. Behind a token any name will do.
        if !is_own_name(host) && self.token.is_none() {
            return Err(Refused(
                403,
                "this name is not the machine's: open the page by the address that was printed",
            ));
        }
        let origin = request.header("origin");
        let is_own = |origin: &str| {
            origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"))
                .is_some_and(|from| from.eq_ignore_ascii_case(host))
        };
        if origin.is_some_and(|origin| !is_own(origin)) {
            return Err(Refused(403, "another origin may not ask"));
        }
        let bearer = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        if let Some(token) = &self.token {
            let shown = bearer.or_else(|| request.query("token"));
            if !shown.is_some_and(|shown| is_same(shown, token)) {
                return Err(Refused(
                    401,
                    "the token is missing or wrong: open /?token=TOKEN with that of --ui-token",
                ));
            }
        }
        // A form of another site has no way to set either.
        let has_proof = origin.is_some() || self.token.is_some() && bearer.is_some();
        if changes && !has_proof {
            return Err(Refused(
                403,
                "what changes the run must say where it comes from: Origin, or the token in Authorization",
            ));
        }
        Ok(())
    }
}

/// Whether a `Host` is an IP address or `localhost`. Its port may be another, as through a tunnel.
fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((ip, "")) => ip,
            Some((ip, port)) if is_port(port) => ip,
            _ => return false,
        },
        None => match host.find(':') {
            Some(at) if is_port(&host[at..]) => &host[..at],
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':')
        .is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Takes as long for a wrong token whose beginning is right as for any other of its length.
fn is_same(shown: &str, token: &str) -> bool {
    let differing = shown
        .bytes()
        .zip(token.bytes())
        .fold(0, |bits, (a, b)| bits | (a ^ b));
    shown.len() == token.len() && std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TOKEN: &str = "0123456789abcdef";

    fn request(target: &str, headers: &[(&str, &str)]) -> Request {
        let mut text = format!("GET {target} HTTP/1.1\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let (mut here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
        there.write_all(text.as_bytes()).unwrap();
        Request::read(&mut here, &crate::page::server::LIMITS).unwrap()
    }

    fn status(gate: &Gate, target: &str, headers: &[(&str, &str)], changes: bool) -> u16 {
        let request = request(target, headers);
        gate.admit(&request, changes)
            .err()
            .map_or(200, |refused| refused.0)
    }

    #[test]
    fn only_names_that_nobody_else_can_own_are_let_in() {
        let gate = Gate::new(None);
        let own = [
            "127.0.0.1:7070",
            "localhost:7070",
            "LOCALHOST",
            "[::1]:7070",
            "[::1]",
            "10.0.0.5:8080",
        ];
        for host in own {
            assert_eq!(status(&gate, "/", &[("Host", host)], false), 200, "{host}");
        }
        let foreign = [
            "evil.example",
            "evil.example:7070",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1]evil",
            "127.0.0.1:x",
            "[::1",
            "",
        ];
        for host in foreign {
            assert_eq!(status(&gate, "/", &[("Host", host)], false), 403, "{host}");
        }
        assert_eq!(status(&gate, "/", &[], false), 400);
    }

    #[test]
    fn another_origin_may_not_ask_and_changes_need_one() {
        let gate = Gate::new(None);
        let at = |origin: Option<&str>, changes| {
            let mut headers = vec![("Host", "127.0.0.1:7070")];
            headers.extend(origin.map(|origin| ("Origin", origin)));
            status(&gate, "/control", &headers, changes)
        };
        assert_eq!(at(Some("http://127.0.0.1:7070"), true), 200);
        assert_eq!(at(None, false), 200);
        assert_eq!(at(None, true), 403);
        for foreign in [
            "null",
            "http://evil.example",
            "http://127.0.0.1:7071",
            "http://127.0.0.1:7070.evil.example",
            "127.0.0.1:7070",
        ] {
            assert_eq!(
                (at(Some(foreign), false), at(Some(foreign), true)),
                (403, 403)
            );
        }
        // Without a token there is none to show.
        let bearer = [("Host", "127.0.0.1:1"), ("Authorization", "Bearer x")];
        assert_eq!(status(&gate, "/control", &bearer, true), 403);
    }

    #[test]
    fn a_token_is_asked_of_every_request_and_opens_any_name() {
        let gate = Gate::new(Some(TOKEN.to_owned()));
        let host = ("Host", "loadbox.example:7070");
        assert_eq!(status(&gate, "/", &[host], false), 401);
        assert_eq!(
            status(&gate, "/?token=0123456789abcdeX", &[host], false),
            401
        );
        assert_eq!(
            status(&gate, "/?token=0123456789abcdef0", &[host], false),
            401
        );
        let shown = format!("/events?x=1&token={TOKEN}");
        assert_eq!(status(&gate, &shown, &[host], false), 200);
        assert_eq!(status(&gate, &shown, &[host], true), 403);
        let bearer = format!("Bearer {TOKEN}");
        let bearer = ("Authorization", bearer.as_str());
        assert_eq!(status(&gate, "/control", &[host, bearer], true), 200);
        let foreign = ("Origin", "http://evil.example");
        assert_eq!(
            status(&gate, "/control", &[host, bearer, foreign], true),
            403
        );
    }
}
