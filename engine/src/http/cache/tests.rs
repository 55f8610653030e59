//! The cache by the RFC's words, with a clock of the test's own.
#![allow(clippy::unwrap_used)]

use super::*;

/// 2026-01-31T12:00:00Z.
const START: Now = Now {
    ns: 1_000 * NS,
    unix_secs: 1_769_860_800,
};
const DATE: &str = "Sat, 31 Jan 2026 12:00:00 GMT";

fn after(secs: u64) -> Now {
    Now {
        ns: START.ns + secs * NS,
        unix_secs: START.unix_secs + secs,
    }
}

fn request(fields: &str) -> Vec<u8> {
    format!("GET /a HTTP/1.1\r\nhost: h\r\n{fields}\r\n").into_bytes()
}

fn headers(fields: &str) -> Vec<Header<'_>> {
    fields
        .lines()
        .map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            Header {
                name,
                value: value.as_bytes(),
            }
        })
        .collect()
}

fn keep_at(cache: &mut Cache, asked: &str, status: u16, fields: &str, now: Now) {
    let fresh = Fresh {
        status,
        headers: &headers(fields),
        body: b"body",
        delay_ns: 0,
    };
    cache.store(0, b"/a", &request(asked), &fresh, now);
}

fn kept(asked: &str, status: u16, fields: &str) -> Cache {
    let mut cache = Cache::default();
    keep_at(&mut cache, asked, status, fields, START);
    cache
}

/// What is found, the request as it goes out, and the response if there is one.
fn ask(cache: &mut Cache, fields: &str, now: Now) -> (Found, String, String) {
    let (mut asked, mut out) = (request(fields), Vec::new());
    let (found, head_len) = cache.look_up(0, (b"GET", b"/a"), &mut asked, now, &mut out);
    assert!(head_len <= out.len());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (found, text(asked), text(out))
}

fn found(cache: &mut Cache, fields: &str, now: Now) -> Found {
    ask(cache, fields, now).0
}

#[test]
fn a_response_is_used_while_it_is_fresh_and_not_a_second_longer() {
    let mut cache = kept(
        "",
        200,
        "Cache-Control: max-age=60\nX-A: 1\nConnection: x-b\nX-B: 2",
    );
    let (what, _, response) = ask(&mut cache, "", after(59));
    assert_eq!(what, Found::Fresh);
    assert_eq!(
        response,
        "HTTP/1.1 200 \r\nCache-Control: max-age=60\r\nX-A: 1\r\nAge: 59\r\n\r\nbody"
    );
    // Without a validator there is nothing to ask with.
    assert_eq!(found(&mut cache, "", after(60)), Found::Nothing);
}

#[test]
fn max_age_goes_before_expires_and_expires_counts_from_date() {
    let soon = "Sat, 31 Jan 2026 12:01:00 GMT";
    let both = format!("Cache-Control: max-age=10\nExpires: {soon}\nDate: {DATE}");
    let mut cache = kept("", 200, &both);
    assert_eq!(found(&mut cache, "", after(9)), Found::Fresh);
    assert_eq!(found(&mut cache, "", after(10)), Found::Nothing);
    let mut cache = kept("", 200, &format!("Expires: {soon}\nDate: {DATE}"));
    assert_eq!(found(&mut cache, "", after(59)), Found::Fresh);
    assert_eq!(found(&mut cache, "", after(60)), Found::Nothing);
    // The two old forms of a date; one that is none has passed.
    for old in [
        "Saturday, 31-Jan-26 12:01:00 GMT",
        "Sat Jan 31 12:01:00 2026",
    ] {
        let mut cache = kept("", 200, &format!("Expires: {old}\nDate: {DATE}"));
        assert_eq!(found(&mut cache, "", after(59)), Found::Fresh, "{old}");
    }
    for none in ["0", "-1", "soon"] {
        let mut cache = kept("", 200, &format!("Expires: {none}\nETag: \"1\""));
        assert_eq!(found(&mut cache, "", START), Found::Stale, "{none}");
    }
}

#[test]
fn what_a_response_aged_before_it_came_counts() {
    // By `Age`, by `Date`, and by the time that the request took.
    let mut cache = kept("", 200, "Cache-Control: max-age=60\nAge: 50");
    assert_eq!(found(&mut cache, "", after(9)), Found::Fresh);
    assert_eq!(found(&mut cache, "", after(10)), Found::Nothing);
    let mut cache = Cache::default();
    let fields = format!("Cache-Control: max-age=60\nDate: {DATE}");
    keep_at(&mut cache, "", 200, &fields, after(50));
    assert_eq!(found(&mut cache, "", after(59)), Found::Fresh);
    assert_eq!(found(&mut cache, "", after(60)), Found::Nothing);
    let fresh = Fresh {
        status: 200,
        headers: &headers("Cache-Control: max-age=60\nAge: 1"),
        body: b"",
        delay_ns: 20 * NS,
    };
    let mut cache = Cache::default();
    cache.store(0, b"/a", &request(""), &fresh, START);
    assert_eq!(found(&mut cache, "", after(38)), Found::Fresh);
    assert_eq!(found(&mut cache, "", after(39)), Found::Nothing);
    // A target whose clock goes ahead does not make it younger than new.
    let ahead = "Cache-Control: max-age=60\nDate: Sat, 31 Jan 2026 13:00:00 GMT";
    assert_eq!(
        found(&mut kept("", 200, ahead), "", after(60)),
        Found::Nothing
    );
}

#[test]
fn what_may_not_be_kept_is_not() {
    for (asked, status, fields) in [
        ("", 200, "Cache-Control: no-store, max-age=60"),
        ("", 200, "Cache-Control: max-age=60\nVary: *"),
        (
            "cache-control: no-store\r\n",
            200,
            "Cache-Control: max-age=60",
        ),
        ("", 206, "Cache-Control: max-age=60"),
        ("", 304, "Cache-Control: max-age=60"),
        ("", 299, "Cache-Control: max-age=60"),
        // Nothing says how long, and nothing can be asked.
        ("", 200, "X-A: 1"),
        ("", 200, "Cache-Control: no-cache"),
        ("", 200, "Cache-Control: max-age=0"),
        ("", 200, "Cache-Control: s-maxage=60"),
        ("", 302, "ETag: \"1\""),
        ("", 503, "ETag: \"1\""),
    ] {
        let cache = kept(asked, status, fields);
        assert!(cache.entries.is_empty(), "{status} {fields}");
        assert_eq!(cache.bytes, 0);
    }
    for (status, fields) in [
        (200, "ETag: \"1\""),
        (404, "Cache-Control: max-age=60"),
        (301, "Cache-Control: max-age=60"),
        (302, "Cache-Control: max-age=60"),
        (200, "Cache-Control: private, max-age=60"),
    ] {
        assert_eq!(
            kept("", status, fields).entries.len(),
            1,
            "{status} {fields}"
        );
    }
}

#[test]
fn a_stale_response_is_asked_about_with_what_it_said() {
    let modified = "Fri, 30 Jan 2026 00:00:00 GMT";
    let fields = format!("Cache-Control: max-age=1\nETag: W/\"x\"\nLast-Modified: {modified}");
    let mut cache = kept("", 200, &fields);
    let (what, asked, response) = ask(&mut cache, "", after(2));
    assert_eq!((what, response.as_str()), (Found::Stale, ""));
    assert_eq!(
        asked,
        format!(
            "GET /a HTTP/1.1\r\nhost: h\r\nif-none-match: W/\"x\"\r\nif-modified-since: {modified}\r\n\r\n"
        )
    );
    // `no-cache` asks however fresh it is; so does a request that says it.
    let mut cache = kept("", 200, "Cache-Control: no-cache, max-age=60\nETag: \"1\"");
    assert_eq!(found(&mut cache, "", START), Found::Stale);
    let mut cache = kept("", 200, "Cache-Control: max-age=60\nETag: \"1\"");
    assert_eq!(found(&mut cache, "", START), Found::Fresh);
    for asked in ["cache-control: no-cache\r\n", "pragma: no-cache\r\n"] {
        assert_eq!(found(&mut cache, asked, START), Found::Stale, "{asked}");
    }
    let both = "cache-control: max-age=60\r\npragma: no-cache\r\n";
    assert_eq!(found(&mut cache, both, START), Found::Fresh);
}

#[test]
fn a_304_makes_a_response_fresh_and_changes_its_fields_but_those_of_its_content() {
    let mut cache = kept(
        "",
        200,
        "Cache-Control: max-age=1\nETag: \"1\"\nContent-Type: a\nContent-Length: 4\nAge: 0\nX-A: 1",
    );
    let said = Fresh {
        status: 304,
        headers: &headers(
            "Cache-Control: max-age=60\nETag: \"1\"\nX-A: 2\nX-C: 3\nContent-Type: b",
        ),
        body: b"",
        delay_ns: 0,
    };
    let (mut asked, mut out) = (request(""), Vec::new());
    let (what, _) = cache.look_up(0, (b"GET", b"/a"), &mut asked, after(5), &mut out);
    assert_eq!(what, Found::Stale);
    let len = cache
        .freshen(0, b"/a", &asked, &said, after(5), &mut out)
        .unwrap();
    assert_eq!(
        std::str::from_utf8(&out).unwrap(),
        "HTTP/1.1 200 \r\nContent-Type: a\r\nContent-Length: 4\r\nCache-Control: max-age=60\r\nETag: \"1\"\r\n\
         X-A: 2\r\nX-C: 3\r\nAge: 0\r\n\r\nbody"
    );
    assert_eq!(&out[len..], b"body");
    assert_eq!(cache.bytes, cache.entries[0].cost());
    assert_eq!(found(&mut cache, "", after(64)), Found::Fresh);
    assert_eq!(found(&mut cache, "", after(65)), Found::Stale);
    assert_eq!(
        cache.freshen(0, b"/b", &asked, &said, START, &mut out),
        None
    );
}

#[test]
fn a_request_that_varies_finds_only_its_own() {
    let fields = "Cache-Control: max-age=60\nVary: Accept-Language, X-A";
    let mut cache = kept("accept-language: en, de\r\n", 200, fields);
    for (asked, expected) in [
        ("accept-language: en, de\r\n", Found::Fresh),
        ("accept-language: en,de\r\n", Found::Fresh),
        (
            "accept-language: en\r\naccept-language: de\r\n",
            Found::Fresh,
        ),
        ("accept-language: de\r\n", Found::Nothing),
        ("accept-language: en, de\r\nx-a: 1\r\n", Found::Nothing),
        ("", Found::Nothing),
    ] {
        assert_eq!(found(&mut cache, asked, START), expected, "{asked}");
    }
    // Both are kept side by side, and one replaces its like.
    keep_at(&mut cache, "accept-language: de\r\n", 200, fields, START);
    keep_at(&mut cache, "accept-language: de\r\n", 200, fields, START);
    assert_eq!(cache.entries.len(), 2);
}

#[test]
fn a_request_says_how_old_or_stale_a_response_may_be() {
    let mut cache = kept("", 200, "Cache-Control: max-age=60\nETag: \"1\"");
    for (asked, secs, expected) in [
        ("max-age=10", 10, Found::Fresh),
        ("max-age=10", 11, Found::Stale),
        ("min-fresh=20", 39, Found::Fresh),
        ("min-fresh=20", 40, Found::Stale),
        ("max-stale=20", 80, Found::Fresh),
        ("max-stale=20", 81, Found::Stale),
        ("max-stale", 10_000, Found::Fresh),
    ] {
        let asked = format!("cache-control: {asked}\r\n");
        assert_eq!(
            found(&mut cache, &asked, after(secs)),
            expected,
            "{asked} {secs}"
        );
    }
    let strict = "Cache-Control: max-age=60, must-revalidate\nETag: \"1\"";
    let stale = "cache-control: max-stale\r\n";
    assert_eq!(
        found(&mut kept("", 200, strict), stale, after(61)),
        Found::Stale
    );
}

#[test]
fn conditions_and_ranges_of_the_plan_do_without_the_cache() {
    let mut cache = kept("", 200, "Cache-Control: max-age=60\nETag: \"1\"");
    for asked in [
        "if-none-match: \"2\"\r\n",
        "if-modified-since: x\r\n",
        "if-match: \"1\"\r\n",
        "if-unmodified-since: x\r\n",
        "if-range: \"1\"\r\n",
        "range: bytes=0-1\r\n",
        "cache-control: no-store\r\n",
    ] {
        assert_eq!(found(&mut cache, asked, START), Found::Bypass, "{asked}");
    }
    let mut asked = request("");
    let (what, _) = cache.look_up(0, (b"HEAD", b"/a"), &mut asked, START, &mut Vec::new());
    assert_eq!(what, Found::Bypass);
}

#[test]
fn other_targets_and_origins_are_others_and_an_invalidated_one_is_gone() {
    let mut cache = kept("", 200, "Cache-Control: max-age=60");
    for (origin, target) in [(1, &b"/a"[..]), (0, b"/b"), (0, b"/a?x")] {
        let (what, _) = cache.look_up(
            origin,
            (b"GET", target),
            &mut request(""),
            START,
            &mut Vec::new(),
        );
        assert_eq!(what, Found::Nothing);
        cache.invalidate(origin, target);
    }
    assert_eq!(found(&mut cache, "", START), Found::Fresh);
    cache.invalidate(0, b"/a");
    assert_eq!(found(&mut cache, "", START), Found::Nothing);
    assert_eq!(cache.bytes, 0);
}

#[test]
fn what_a_user_keeps_has_bounds_and_the_least_used_goes_first() {
    let mut cache = Cache::default();
    let fields = headers("Cache-Control: max-age=60");
    let store = |cache: &mut Cache, target: &str, len: usize| {
        let fresh = Fresh {
            status: 200,
            headers: &fields,
            body: &vec![b'x'; len],
            delay_ns: 0,
        };
        cache.store(0, target.as_bytes(), &request(""), &fresh, START);
    };
    store(&mut cache, "/a", 10);
    for i in 0..ENTRIES_MAX {
        assert_eq!(found(&mut cache, "", START), Found::Fresh, "{i}");
        store(&mut cache, &format!("/{i}"), 10);
        assert!(cache.entries.len() <= ENTRIES_MAX);
    }
    let has = |cache: &Cache, target: &str| {
        cache
            .entries
            .iter()
            .any(|e| *e.target == *target.as_bytes())
    };
    assert!(has(&cache, "/a") && !has(&cache, "/0") && has(&cache, "/1"));
    for i in 0..20 {
        store(&mut cache, &format!("/large-{i}"), ENTRY_BYTES_MAX - 1000);
        assert!(cache.bytes <= BYTES_MAX);
    }
    assert_eq!(
        cache.bytes,
        cache.entries.iter().map(Entry::cost).sum::<usize>()
    );
    store(&mut cache, "/too-large", ENTRY_BYTES_MAX);
    assert!(!has(&cache, "/too-large") && has(&cache, "/large-19"));
}
