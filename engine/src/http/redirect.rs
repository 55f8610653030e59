//! Redirects (RFC 9110 section 15.4): where a `Location` leads, and what of the request goes there.

use loadr_config::{Authority, Escape};

/// The longest `Location` that is followed, in bytes.
const LOCATION_BYTES_MAX: usize = 16 * 1024;

/// An absolute URL without its fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) authority: Authority,
    /// Path and query, from the `/`.
    pub(crate) target: Vec<u8>,
}

/// Whether a status asks for another request, to where its `Location` says.
#[inline]
pub(crate) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Whether the request goes on as a GET without content. RFC 9110 allows it for 301 and 302, and every client does it.
pub(crate) fn becomes_get(status: u16, method: &[u8]) -> bool {
    matches!(status, 301..=303) && method != b"HEAD"
}

/// Resolves a `Location` (RFC 3986 section 5.2).
///
/// # Errors
/// Why it cannot be followed.
pub(crate) fn resolve(base: &Place, location: &[u8]) -> Result<Place, String> {
    if location.len() > LOCATION_BYTES_MAX {
        return Err(format!(
            "`Location` is longer than {} KiB",
            LOCATION_BYTES_MAX >> 10
        ));
    }
    let end = location.iter().position(|&b| b == b'#');
    let mut reference = Vec::with_capacity(location.len());
    Escape::Url.write(&location[..end.unwrap_or(location.len())], &mut reference);
    let shown = || String::from_utf8_lossy(&location[..location.len().min(80)]).into_owned();
    let (tls, rest) = match scheme(&reference) {
        Some((b"http", rest)) => (false, rest),
        Some((b"https", rest)) => (true, rest),
        Some(_) => {
            return Err(format!("`Location: {}` is neither http nor https", shown()));
        }
        None => (base.authority.tls, reference.as_slice()),
    };
    let (authority, path) = if let Some(rest) = rest.strip_prefix(b"//") {
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?'));
        let (host, path) = rest.split_at(end.unwrap_or(rest.len()));
        let host = std::str::from_utf8(host).unwrap_or_default();
        let authority = Authority::read(host, tls)
            .map_err(|why| format!("`Location: {}` cannot be followed: {why}", shown()))?;
        (authority, path)
    } else if tls == base.authority.tls && rest.len() == reference.len() {
        (base.authority.clone(), rest)
    } else {
        return Err(format!("`Location: {}` has no host", shown()));
    };
    let (path, query) = split_query(path);
    let (base_path, base_query) = split_query(&base.target);
    let own_host = rest.starts_with(b"//");
    let mut target = match path.first() {
        Some(b'/') => without_dots(path),
        None if own_host => b"/".to_vec(),
        // The same document, with its query unless there is another.
        None => base_path.to_vec(),
        Some(_) => {
            let folder = base_path
                .iter()
                .rposition(|&b| b == b'/')
                .map_or(0, |at| at + 1);
            let merged = [&base_path[..folder], path].concat();
            without_dots(&merged)
        }
    };
    if path.is_empty() && query.is_empty() && !own_host {
        target.extend_from_slice(base_query);
    }
    target.extend_from_slice(query);
    Ok(Place { authority, target })
}

/// The scheme in lower case, where there is one, and what follows its colon.
fn scheme(reference: &[u8]) -> Option<(&'static [u8], &[u8])> {
    let end = reference
        .iter()
        .position(|b| matches!(b, b':' | b'/' | b'?'))?;
    if reference[end] != b':' {
        return None;
    }
    let rest = &reference[end + 1..];
    match &reference[..end] {
        scheme if scheme.eq_ignore_ascii_case(b"http") => Some((b"http", rest)),
        scheme if scheme.eq_ignore_ascii_case(b"https") => Some((b"https", rest)),
        _ => Some((b"other", rest)),
    }
}

/// A path, and its query with the `?`.
pub(crate) fn split_query(target: &[u8]) -> (&[u8], &[u8]) {
    target.split_at(
        target
            .iter()
            .position(|&b| b == b'?')
            .unwrap_or(target.len()),
    )
}

/// RFC 3986 section 5.2.4, for a path that begins with a slash.
fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut ends_in_folder = false;
    for segment in path.split(|&b| b == b'/').skip(1) {
        ends_in_folder = matches!(segment, b"." | b"..");
        match segment {
            b"." => {}
            b".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if ends_in_folder || out.is_empty() {
        out.push(b'/');
    }
    out
}

/// What changes from one request to the one that a redirect asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// Goes on as a GET without content.
    pub(crate) to_get: bool,
    /// Another scheme, host or port: what was meant for the first one stays there.
    pub(crate) is_foreign: bool,
}

/// Appends the request `sent`, changed to go to `place`.
pub(crate) fn rewrite(sent: &[u8], place: &Place, change: Change, out: &mut Vec<u8>) {
    let end = head_len(sent);
    let (head, content) = sent.split_at(end);
    let mut lines = head
        .split(|&b| b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let method = method(lines.next().unwrap_or_default());
    out.extend_from_slice(if change.to_get { b"GET" } else { method });
    out.push(b' ');
    out.extend_from_slice(&place.target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for line in lines.filter(|line| !line.is_empty()) {
        // Names are in lower case: they were written by this program.
        let name = line.split(|&b| b == b':').next().unwrap_or_default();
        match name {
            b"host" if change.is_foreign => {
                out.extend_from_slice(b"host: ");
                out.extend_from_slice(place.authority.text.as_bytes());
                out.extend_from_slice(b"\r\n");
                continue;
            }
            b"authorization" | b"cookie" | b"proxy-authorization" if change.is_foreign => continue,
            b"content-length" | b"content-type" | b"content-encoding" | b"expect"
                if change.to_get =>
            {
                continue;
            }
            _ => {}
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if !change.to_get {
        out.extend_from_slice(content);
    }
}

/// How long the head of a request is, with its empty line.
pub(crate) fn head_len(sent: &[u8]) -> usize {
    memchr::memmem::find(sent, b"\r\n\r\n").map_or(sent.len(), |at| at + 4)
}

/// The method of a request.
pub(crate) fn method(sent: &[u8]) -> &[u8] {
    sent.split(|&b| b == b' ').next().unwrap_or_default()
}

/// The target of a request.
pub(crate) fn target(sent: &[u8]) -> &[u8] {
    sent.split(|&b| b == b' ').nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: &str, tls: bool, target: &str) -> Place {
        Place {
            authority: Authority::read(host, tls).unwrap(),
            target: target.into(),
        }
    }

    #[test]
    fn references_resolve_as_the_rfc_has_them() {
        let base = place("a", false, "/b/c/d;p?q");
        // RFC 3986 section 5.4, without those whose scheme or lack of a host HTTP has no use for.
        for (reference, target) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g#s", "/b/c/g"),
            (";x", "/b/c/;x"),
            ("g;x?y#s", "/b/c/g;x?y"),
            ("", "/b/c/d;p?q"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../g", "/g"),
            ("../../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("./g/.", "/b/c/g/"),
            ("g;x=1/../y", "/b/c/y"),
            ("g?y/../x", "/b/c/g?y/../x"),
            ("a b\u{e9}", "/b/c/a%20b%C3%A9"),
        ] {
            let got = resolve(&base, reference.as_bytes()).unwrap();
            assert_eq!(got, place("a", false, target), "{reference}");
        }
        for (reference, expected) in [
            ("//g", place("g", false, "/")),
            ("//g?x", place("g", false, "/?x")),
            ("http://G:80/x", place("g", false, "/x")),
            ("HTTPS://g", place("g", true, "/")),
            ("https://g:444/../x", place("g:444", true, "/x")),
            ("http://[::1]:8/", place("[::1]:8", false, "/")),
        ] {
            assert_eq!(
                resolve(&base, reference.as_bytes()),
                Ok(expected),
                "{reference}"
            );
        }
        for bad in [
            "ftp://a/",
            "javascript:x",
            "http:g",
            "https:/g",
            "http://",
            "http://a b/",
            "http://u:p@h/",
        ] {
            assert!(resolve(&base, bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(resolve(&base, &[b'a'; LOCATION_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn what_goes_along_depends_on_status_and_origin() {
        let sent = b"POST /a HTTP/1.1\r\nhost: a\r\nauthorization: x\r\ncookie: y=1\r\nx: 1\r\ncontent-type: t\r\ncontent-length: 2\r\n\r\nhi";
        let there = place("b", true, "/z");
        let get = |to_get, is_foreign| {
            let mut out = Vec::new();
            rewrite(sent, &there, Change { to_get, is_foreign }, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            get(true, true),
            "GET /z HTTP/1.1\r\nhost: b\r\nx: 1\r\n\r\n"
        );
        assert_eq!(
            get(false, false),
            "POST /z HTTP/1.1\r\nhost: a\r\nauthorization: x\r\ncookie: y=1\r\nx: 1\r\ncontent-type: t\r\ncontent-length: 2\r\n\r\nhi"
        );
        for status in [301, 302, 303] {
            assert!(becomes_get(status, b"POST") && !becomes_get(status, b"HEAD"));
        }
        assert!(!becomes_get(307, b"POST") && !becomes_get(308, b"POST"));
    }
}
