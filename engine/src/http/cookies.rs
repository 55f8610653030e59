//! A virtual user's cookies (RFC 6265, with the public suffixes that section 5.3 asks for).

use std::time::{SystemTime, UNIX_EPOCH};

/// The most bytes of one cookie's name and value (section 6.1 asks for no less).
const COOKIE_BYTES_MAX: usize = 4096;
/// The most cookies of one domain (section 6.1).
const COOKIES_OF_DOMAIN_MAX: usize = 50;
/// The most cookies of a virtual user; browsers keep more, a session does not need them.
const COOKIES_MAX: usize = 300;
/// The longest that a cookie is kept, in seconds: 400 days, as browsers have it.
const AGE_MAX: u64 = 400 * 24 * 3600;

/// Where a request goes, as far as cookies care.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit<'u> {
    /// Lower case.
    pub(crate) host: &'u str,
    /// Without the query.
    pub(crate) path: &'u [u8],
    pub(crate) tls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Cookie {
    name: Box<[u8]>,
    value: Box<[u8]>,
    /// Lower case, without a leading dot.
    domain: Box<str>,
    host_only: bool,
    path: Box<[u8]>,
    secure: bool,
    /// Seconds since 1970; `u64::MAX` for one that lives as long as the virtual user.
    expires: u64,
}

/// The cookies of one virtual user, the oldest first. Empty it costs no memory.
#[derive(Debug, Default)]
pub(crate) struct Jar {
    cookies: Vec<Cookie>,
}

impl Jar {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.cookies.is_empty()
    }

    /// Takes a `Set-Cookie` field (section 5.2 and 5.3). One that is not allowed is passed over, as browsers do.
    pub(crate) fn store(&mut self, field: &[u8], visit: Visit<'_>) {
        let now = now();
        let Some(cookie) = parse(field, visit, now) else {
            return;
        };
        let same = |old: &Cookie| {
            old.name == cookie.name && old.domain == cookie.domain && old.path == cookie.path
        };
        if let Some(at) = self.cookies.iter().position(same) {
            if cookie.expires <= now {
                self.cookies.remove(at);
            } else {
                // It keeps its age (section 5.3, item 11.3).
                self.cookies[at] = cookie;
            }
            return;
        }
        if cookie.expires <= now {
            return;
        }
        self.cookies.retain(|old| old.expires > now);
        let of_domain = |old: &&Cookie| old.domain == cookie.domain;
        if self.cookies.iter().filter(of_domain).count() >= COOKIES_OF_DOMAIN_MAX {
            let oldest = self
                .cookies
                .iter()
                .position(|old| old.domain == cookie.domain);
            oldest.map(|at| self.cookies.remove(at));
        } else if self.cookies.len() >= COOKIES_MAX {
            self.cookies.remove(0);
        }
        self.cookies.push(cookie);
    }

    /// Appends a whole `cookie` field with what goes along (section 5.4); nothing when there is none.
    pub(crate) fn write(&self, visit: Visit<'_>, out: &mut Vec<u8>) {
        let now = now();
        let start = out.len();
        // Longer paths first, and older cookies first among equals. Picked one after another instead of sorted: there
        // are few, and this needs no memory.
        let mut longest = usize::MAX;
        loop {
            let fits = |cookie: &&Cookie| {
                cookie.expires > now
                    && (visit.tls || !cookie.secure)
                    && path_matches(visit.path, &cookie.path)
                    && if cookie.host_only {
                        *cookie.domain == *visit.host
                    } else {
                        domain_matches(visit.host, &cookie.domain)
                    }
            };
            let of_len = |len: usize| {
                self.cookies
                    .iter()
                    .filter(fits)
                    .filter(move |c| c.path.len() == len)
            };
            let next = self
                .cookies
                .iter()
                .filter(fits)
                .map(|c| c.path.len())
                .filter(|len| *len < longest)
                .max();
            let Some(len) = next else { break };
            longest = len;
            for cookie in of_len(len) {
                out.extend_from_slice(if out.len() == start {
                    b"cookie: "
                } else {
                    b"; "
                });
                if !cookie.name.is_empty() {
                    out.extend_from_slice(&cookie.name);
                    out.push(b'=');
                }
                out.extend_from_slice(&cookie.value);
            }
        }
        if out.len() > start {
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn parse(field: &[u8], visit: Visit<'_>, now: u64) -> Option<Cookie> {
    let mut parts = field.split(|&b| b == b';');
    let pair = parts.next()?;
    let equals = pair.iter().position(|&b| b == b'=')?;
    let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
    // RFC 6265bis section 5.6: control characters have no place in one.
    if name.is_empty()
        || name.len() + value.len() > COOKIE_BYTES_MAX
        || field.iter().any(|&b| b.is_ascii_control() && b != b'\t')
    {
        return None;
    }
    let (mut domain, mut path, mut secure) = (None, None, false);
    let (mut expires, mut max_age) = (None, None);
    for part in parts {
        let equals = part.iter().position(|&b| b == b'=').unwrap_or(part.len());
        let name = part[..equals].trim_ascii();
        let value = part.get(equals + 1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"expires") {
            expires = date(value).or(expires);
        } else if name.eq_ignore_ascii_case(b"max-age") {
            max_age = age(value).or(max_age);
        } else if name.eq_ignore_ascii_case(b"domain") && !value.is_empty() {
            domain = Some(value.strip_prefix(b".").unwrap_or(value));
        } else if name.eq_ignore_ascii_case(b"path") {
            path = value.starts_with(b"/").then_some(value);
        } else if name.eq_ignore_ascii_case(b"secure") {
            secure = true;
        }
    }
    if secure && !visit.tls {
        return None;
    }
    let (domain, host_only) = match domain {
        None => (visit.host.to_owned(), true),
        Some(domain) => {
            let domain = std::str::from_utf8(domain).ok()?.to_ascii_lowercase();
            if domain == visit.host {
                // A host that is itself a public suffix has cookies of its own alone.
                let host_only = is_public_suffix(&domain) || is_address(&domain);
                (domain, host_only)
            } else if domain_matches(visit.host, &domain) && !is_public_suffix(&domain) {
                (domain, false)
            } else {
                return None;
            }
        }
    };
    let expires = match (max_age, expires) {
        (Some(seconds), _) => seconds.map_or(0, |s| now.saturating_add(s.min(AGE_MAX))),
        (None, Some(at)) => at.min(now.saturating_add(AGE_MAX)),
        (None, None) => u64::MAX,
    };
    Some(Cookie {
        name: name.into(),
        value: value.into(),
        domain: domain.into(),
        host_only,
        path: path.unwrap_or_else(|| default_path(visit.path)).into(),
        secure,
        expires,
    })
}

/// Section 5.2.2: `None` when it is no number; `Some(None)` for now or earlier.
fn age(value: &[u8]) -> Option<Option<u64>> {
    let (negative, digits) = match value.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, value),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = digits.iter().fold(0_u64, |n, d| {
        n.saturating_mul(10).saturating_add(u64::from(d - b'0'))
    });
    Some((!negative && seconds > 0).then_some(seconds))
}

/// Section 5.1.4.
fn default_path(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) if at > 0 && path.starts_with(b"/") => &path[..at],
        _ => b"/",
    }
}

/// Section 5.1.4.
fn path_matches(path: &[u8], cookie: &[u8]) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|rest| rest.is_empty() || cookie.ends_with(b"/") || rest.starts_with(b"/"))
}

/// Section 5.1.3.
fn domain_matches(host: &str, domain: &str) -> bool {
    host == domain
        || !is_address(host)
            && host
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
}

fn is_address(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok()
}

/// `com` and `co.uk`, but not `localhost`, which is nobody's suffix.
fn is_public_suffix(domain: &str) -> bool {
    psl::suffix(domain.as_bytes())
        .is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == domain.as_bytes())
}

/// Section 5.1.1: every date that servers have ever sent; seconds since 1970, and 0 for what is before.
fn date(value: &[u8]) -> Option<u64> {
    const MONTHS: [&[u8]; 12] = [
        b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov",
        b"dec",
    ];
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || *b == b':' || *b >= 0x80;
    for token in value.split(|b| !is_part(b)).filter(|t| !t.is_empty()) {
        let number = leading(token, 4);
        if time.is_none()
            && let Some(found) = clock(token)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some((found, 1..=2)) = number
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(at) = token
                .get(..3)
                .and_then(|t| MONTHS.iter().position(|m| m.eq_ignore_ascii_case(t)))
        {
            month = Some(at as u64 + 1);
        } else if year.is_none()
            && let Some((found, 2..=4)) = number
        {
            year = Some(match found {
                70..=99 => found + 1900,
                0..=69 => found + 2000,
                found => found,
            });
        }
    }
    let ((hour, minute, second), day, month, year) = (time?, day?, month?, year?);
    if !(1..=31).contains(&day) || year < 1601 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Howard Hinnant's days from civil, for years from 1601 on.
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let seconds = (hour * 60 + minute) * 60 + second;
    Some((days * 86_400 + seconds).saturating_sub(719_468 * 86_400))
}

/// The number that a token begins with and how many digits it has, when they are at most `most`.
fn leading(token: &[u8], most: usize) -> Option<(u64, usize)> {
    let len = token.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 || len > most {
        return None;
    }
    let number = token[..len]
        .iter()
        .fold(0, |n, d| n * 10 + u64::from(d - b'0'));
    Some((number, len))
}

/// `hh:mm:ss`
fn clock(token: &[u8]) -> Option<(u64, u64, u64)> {
    let mut parts = token
        .split(|&b| b == b':')
        .map(|part| leading(part, 2).map(|(n, _)| n));
    Some((parts.next()??, parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &'static str) -> Visit<'static> {
        let (tls, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://").unwrap()),
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        Visit {
            host,
            path: path.as_bytes(),
            tls,
        }
    }

    fn sent(jar: &Jar, url: &'static str) -> String {
        let mut out = Vec::new();
        jar.write(at(url), &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What goes to `to` after `set` came from `from`.
    fn after(from: &'static str, set: &[&str], to: &'static str) -> String {
        let mut jar = Jar::default();
        for field in set {
            jar.store(field.as_bytes(), at(from));
        }
        sent(&jar, to)
            .trim_start_matches("cookie: ")
            .trim_end()
            .to_owned()
    }

    #[test]
    fn cookies_go_where_domain_path_and_scheme_allow() {
        let from = "https://a.example.com/x/y";
        for (set, to, expected) in [
            ("n=1", "https://a.example.com/x/z", "n=1"),
            ("n=1", "https://a.example.com/x", "n=1"),
            ("n=1", "https://a.example.com/xy", ""),
            ("n=1", "https://a.example.com/", ""),
            ("n=1; Path=/", "http://a.example.com/", "n=1"),
            ("n=1; path=nonsense", "https://a.example.com/x/", "n=1"),
            ("n=1; Path=/; Secure", "http://a.example.com/", ""),
            ("n=1; Path=/; secure", "https://a.example.com/", "n=1"),
            ("n=1; Path=/", "https://example.com/", ""),
            ("n=1; Path=/", "https://b.a.example.com/", ""),
            (
                "n=1; Path=/; Domain=example.com",
                "https://b.example.com/",
                "n=1",
            ),
            (
                "n=1; Path=/; Domain=.EXAMPLE.com",
                "https://example.com/",
                "n=1",
            ),
            (
                "n=1; Path=/; Domain=example.com",
                "https://badexample.com/",
                "",
            ),
            ("n=1; Path=/; Domain=com", "https://a.example.com/", ""),
            ("n=1; Path=/; Domain=other.com", "https://other.com/", ""),
            (
                "n=1; Path=/; Domain=b.a.example.com",
                "https://b.a.example.com/",
                "",
            ),
            (" n = 1 2 ;Path=/", "https://a.example.com/", "n=1 2"),
            ("n=; Path=/", "https://a.example.com/", "n="),
            ("n=a=b; Path=/", "https://a.example.com/", "n=a=b"),
            ("=1; Path=/", "https://a.example.com/", ""),
            ("n; Path=/", "https://a.example.com/", ""),
            ("n=1; Path=/; Max-Age=0", "https://a.example.com/", ""),
            ("n=1; Path=/; Max-Age=-1", "https://a.example.com/", ""),
            ("n=1; Path=/; Max-Age=60", "https://a.example.com/", "n=1"),
            ("n=1; Path=/; Max-Age=x", "https://a.example.com/", "n=1"),
            (
                "n=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
                "https://a.example.com/",
                "",
            ),
            (
                "n=1; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=9",
                "https://a.example.com/",
                "n=1",
            ),
            (
                "n=1; Path=/; Expires=Wed, 01 Jan 2200 00:00:00 GMT",
                "https://a.example.com/",
                "n=1",
            ),
        ] {
            assert_eq!(after(from, &[set], to), expected, "{set} to {to}");
        }
        assert_eq!(after("http://h/", &["n=1; Secure"], "https://h/"), "");
        assert_eq!(
            after(
                "http://127.0.0.1/",
                &["n=1; Domain=127.0.0.1"],
                "http://127.0.0.1/"
            ),
            "n=1"
        );
        assert_eq!(
            after(
                "http://127.0.0.1/",
                &["n=1; Domain=0.0.1"],
                "http://127.0.0.1/"
            ),
            ""
        );
        assert_eq!(
            after(
                "http://localhost/",
                &["n=1; Domain=localhost"],
                "http://localhost/"
            ),
            "n=1"
        );
    }

    #[test]
    fn longer_paths_come_first_then_older_cookies_and_a_new_value_keeps_its_place() {
        let set = [
            "a=1; Path=/",
            "b=1; Path=/x",
            "c=1; Path=/",
            "d=1; Path=/x",
            "a=2; Path=/",
        ];
        assert_eq!(after("http://h/", &set, "http://h/x"), "b=1; d=1; a=2; c=1");
        let gone = ["a=1; Path=/", "b=1; Path=/", "a=; Path=/; Max-Age=0"];
        assert_eq!(after("http://h/", &gone, "http://h/"), "b=1");
    }

    #[test]
    fn a_jar_is_bounded() {
        let mut jar = Jar::default();
        for i in 0..60 {
            jar.store(format!("n{i}=1; Path=/").as_bytes(), at("http://h/"));
        }
        let line = sent(&jar, "http://h/");
        assert!(
            line.starts_with("cookie: n10=1; n11=1;") && line.ends_with("n59=1\r\n"),
            "{line}"
        );
        for i in 0..400 {
            let field = format!("n{i}=1; Domain=h{i}.example.com");
            jar.store(
                field.as_bytes(),
                Visit {
                    host: &format!("h{i}.example.com"),
                    path: b"/",
                    tls: false,
                },
            );
        }
        assert_eq!(jar.cookies.len(), COOKIES_MAX);
        let mut jar = Jar::default();
        jar.store(
            format!("n={}", "x".repeat(COOKIE_BYTES_MAX)).as_bytes(),
            at("http://h/"),
        );
        jar.store(b"n=a\x01b", at("http://h/"));
        assert!(jar.is_empty());
    }

    #[test]
    fn dates_of_every_kind_are_read() {
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("29 Feb 2024 00:00:00", Some(1_709_164_800)),
            ("1 Mar 2000 00:00:00", Some(951_868_800)),
            ("1 Jan 1601 00:00:00", Some(0)),
            ("1 Jan 1600 00:00:00", None),
            ("32 Jan 2000 00:00:00", None),
            ("1 Jan 2000 24:00:00", None),
            ("1 Jan 2000", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(date(text.as_bytes()), seconds, "{text}");
        }
    }
}
