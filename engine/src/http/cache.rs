//! A private cache (RFC 9111): what a virtual user keeps of responses, when it may use them again, and what it asks the
//! target before it does. Nothing here does I/O, and the time is given.
//!
//! Kept are responses to GET that say how long they are fresh (`max-age`, `Expires`) or can be validated (`ETag`,
//! `Last-Modified`). There are no heuristics: one that says neither how long it is fresh is validated each time. Nothing
//! is served stale unless the request's `max-stale` allows it.

use httparse::Header;

mod control;
mod fields;

pub(crate) use fields::{is_conditional, is_safe};

use control::Control;
use fields::{field, is_kept_field, same_field_value};

/// The most responses that a virtual user keeps.
const ENTRIES_MAX: usize = 512;
/// The most bytes that these come to.
const BYTES_MAX: usize = 4 << 20;
/// The most bytes of one.
const ENTRY_BYTES_MAX: usize = 1 << 20;
/// What an entry costs beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 256;

const NS: u64 = 1_000_000_000;

/// When something is, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// The monotonic clock, by which things age.
    pub(crate) ns: u64,
    /// Seconds since 1970, which `Date` and `Expires` are held against.
    pub(crate) unix_secs: u64,
}

/// A response to keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh<'r> {
    pub(crate) status: u16,
    pub(crate) headers: &'r [Header<'r>],
    /// Whole, as it came.
    pub(crate) body: &'r [u8],
    /// How long the request was under way.
    pub(crate) delay_ns: u64,
}

/// What the cache has for a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The request does without the cache.
    Bypass,
    /// Nothing that fits.
    Nothing,
    /// A response that must be validated; the fields to ask with are added to the request.
    Stale,
    /// A response to use as it is.
    Fresh,
}

/// Names in lower case, and the value of each that there is.
type Vary = Vec<(Box<str>, Option<Box<[u8]>>)>;

#[derive(Debug)]
struct Entry {
    origin: u32,
    target: Box<[u8]>,
    /// What `Vary` names, in lower case, and the values that the request had.
    vary: Vary,
    status: u16,
    /// Name and value, as they came.
    fields: Vec<(Box<str>, Box<[u8]>)>,
    body: Box<[u8]>,
    /// How long it is fresh, and how old it was when it came.
    lifetime_ns: u64,
    initial_age_ns: u64,
    received_ns: u64,
    /// It is never used without being validated.
    no_cache: bool,
    /// Not even `max-stale` allows that it is used stale.
    must_revalidate: bool,
    used: u64,
}

/// What one virtual user keeps.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: Vec<Entry>,
    bytes: usize,
    uses: u64,
}

impl Cache {
    /// Looks for a response to the request (its head, names in lower case). One that is fresh is written to `out` as a
    /// head, with its body behind it; where it lies is what the first number says.
    pub(crate) fn look_up(
        &mut self,
        origin: u32,
        (method, target): (&[u8], &[u8]),
        request: &mut Vec<u8>,
        now: Now,
        out: &mut Vec<u8>,
    ) -> (Found, usize) {
        if method != b"GET" || is_conditional(request) {
            return (Found::Bypass, 0);
        }
        let asked = Control::of_request(request);
        if asked.no_store {
            return (Found::Bypass, 0);
        }
        let Some(at) = self.position(origin, target, request) else {
            return (Found::Nothing, 0);
        };
        self.uses += 1;
        let entry = &mut self.entries[at];
        entry.used = self.uses;
        let age_ns = entry.age_ns(now.ns);
        if entry.may_be_used(&asked, age_ns) {
            let head_len = entry.write(age_ns / NS, out);
            return (Found::Fresh, head_len);
        }
        if entry.add_validators(request) {
            return (Found::Stale, 0);
        }
        (Found::Nothing, 0)
    }

    /// Keeps a response, if it may be kept and is of use; what was there before goes.
    pub(crate) fn store(
        &mut self,
        origin: u32,
        target: &[u8],
        request: &[u8],
        fresh: &Fresh<'_>,
        now: Now,
    ) {
        let before = self.position(origin, target, request);
        if let Some(at) = before {
            self.remove(at);
        }
        let Some(entry) = Entry::of(origin, target, request, fresh, now) else {
            return;
        };
        let cost = entry.cost();
        if cost > ENTRY_BYTES_MAX {
            return;
        }
        while self.entries.len() >= ENTRIES_MAX || self.bytes + cost > BYTES_MAX {
            let oldest = self.entries.iter().enumerate().min_by_key(|(_, e)| e.used);
            let Some((at, _)) = oldest else { break };
            self.remove(at);
        }
        self.bytes += cost;
        self.uses += 1;
        let used = self.uses;
        self.entries.push(Entry { used, ..entry });
    }

    /// The target has said 304: the kept response takes over what it says, and is written to `out`. `None` when it is
    /// gone.
    pub(crate) fn freshen(
        &mut self,
        origin: u32,
        target: &[u8],
        request: &[u8],
        said: &Fresh<'_>,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let at = self.position(origin, target, request)?;
        let before = self.entries[at].cost();
        let entry = &mut self.entries[at];
        entry.update(said, now);
        let cost = entry.cost();
        let head_len = entry.write(entry.age_ns(now.ns) / NS, out);
        self.bytes = self.bytes - before + cost;
        Some(head_len)
    }

    /// Forgets every response to this target (RFC 9111 section 4.4).
    pub(crate) fn invalidate(&mut self, origin: u32, target: &[u8]) {
        let is_it = |e: &Entry| e.origin == origin && *e.target == *target;
        while let Some(at) = self.entries.iter().position(is_it) {
            self.remove(at);
        }
    }

    fn position(&self, origin: u32, target: &[u8], request: &[u8]) -> Option<usize> {
        self.entries
            .iter()
            .position(|e| e.origin == origin && *e.target == *target && e.fits(request))
    }

    fn remove(&mut self, at: usize) {
        let entry = self.entries.swap_remove(at);
        self.bytes -= entry.cost();
    }
}

impl Entry {
    /// `None` when the response must not be kept, or would never be used.
    fn of(origin: u32, target: &[u8], request: &[u8], fresh: &Fresh<'_>, now: Now) -> Option<Self> {
        let said = Control::of_response(fresh.headers);
        if said.no_store || Control::of_request(request).no_store {
            return None;
        }
        let is_explicit = said.max_age.is_some() || has(fresh.headers, "expires");
        // Those that the RFCs define as cacheable (RFC 9110 section 15.1); others that are understood, when they say for
        // how long. A part (206) is not.
        let is_known = match fresh.status {
            200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501 => true,
            302 | 307 | 400 | 401 | 403 | 500 | 502..=504 => is_explicit,
            _ => false,
        };
        if !is_known {
            return None;
        }
        let mut entry = Self {
            origin,
            target: target.into(),
            vary: vary(fresh.headers, request)?,
            status: fresh.status,
            fields: kept_fields(fresh.headers),
            body: fresh.body.into(),
            lifetime_ns: 0,
            initial_age_ns: 0,
            received_ns: now.ns,
            no_cache: false,
            must_revalidate: false,
            used: 0,
        };
        entry.take_time(&said, fresh.delay_ns, now);
        let is_of_use = entry.lifetime_ns > 0 && !entry.no_cache;
        (is_of_use || entry.has_validator()).then_some(entry)
    }

    /// How fresh it is, from its fields (RFC 9111 sections 4.2.1 and 4.2.3).
    fn take_time(&mut self, said: &Control, delay_ns: u64, now: Now) {
        let date = self
            .value("date")
            .and_then(http_date)
            .unwrap_or(now.unix_secs);
        let lifetime_secs = match said.max_age {
            Some(secs) => secs,
            // A date that is none has passed.
            None => self.value("expires").map_or(0, |expires| {
                http_date(expires).map_or(0, |at| at.saturating_sub(date))
            }),
        };
        let apparent_secs = now.unix_secs.saturating_sub(date);
        let age_secs = self.value("age").and_then(control::seconds).unwrap_or(0);
        self.lifetime_ns = lifetime_secs.saturating_mul(NS);
        self.initial_age_ns = apparent_secs
            .saturating_mul(NS)
            .max(age_secs.saturating_mul(NS).saturating_add(delay_ns));
        self.received_ns = now.ns;
        self.no_cache = said.no_cache;
        self.must_revalidate = said.must_revalidate;
    }

    /// Takes over the fields of a 304 (RFC 9111 section 3.2).
    fn update(&mut self, said: &Fresh<'_>, now: Now) {
        let new = kept_fields(said.headers);
        // What describes the content describes what is kept of it.
        let is_of_content = |name: &str| {
            [
                "content-length",
                "content-encoding",
                "content-type",
                "content-range",
            ]
            .iter()
            .any(|n| name.eq_ignore_ascii_case(n))
        };
        let new: Vec<_> = new
            .into_iter()
            .filter(|(name, _)| !is_of_content(name))
            .collect();
        // An old `Age` was that of another message.
        self.fields.retain(|(name, _)| {
            !name.eq_ignore_ascii_case("age")
                && !new.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
        });
        self.fields.extend(new);
        let headers: Vec<Header<'_>> = self
            .fields
            .iter()
            .map(|(name, value)| Header { name, value })
            .collect();
        let control = Control::of_response(&headers);
        self.take_time(&control, said.delay_ns, now);
    }

    fn fits(&self, request: &[u8]) -> bool {
        self.vary.iter().all(|(name, value)| {
            same_field_value(field(request, name).as_deref(), value.as_deref())
        })
    }

    fn age_ns(&self, now_ns: u64) -> u64 {
        let resident_ns = now_ns.saturating_sub(self.received_ns);
        self.initial_age_ns.saturating_add(resident_ns)
    }

    /// RFC 9111 sections 4.2 and 5.2.1.
    fn may_be_used(&self, asked: &Control, age_ns: u64) -> bool {
        if self.no_cache || asked.no_cache {
            return false;
        }
        if asked
            .max_age
            .is_some_and(|secs| age_ns > secs.saturating_mul(NS))
        {
            return false;
        }
        let wanted_ns = age_ns.saturating_add(asked.min_fresh.unwrap_or(0).saturating_mul(NS));
        if self.lifetime_ns > wanted_ns {
            return true;
        }
        let late_ns = wanted_ns - self.lifetime_ns;
        !self.must_revalidate
            && asked
                .max_stale
                .is_some_and(|secs| late_ns <= secs.saturating_mul(NS))
    }

    fn has_validator(&self) -> bool {
        self.value("etag").is_some() || self.value("last-modified").is_some()
    }

    /// Makes a request conditional (RFC 9111 section 4.3.1); false when there is nothing to ask with.
    fn add_validators(&self, request: &mut Vec<u8>) -> bool {
        let mut line = Vec::new();
        for (name, asked) in [
            ("etag", "if-none-match"),
            ("last-modified", "if-modified-since"),
        ] {
            if let Some(value) = self.value(name) {
                line.extend_from_slice(asked.as_bytes());
                line.extend_from_slice(b": ");
                line.extend_from_slice(value);
                line.extend_from_slice(b"\r\n");
            }
        }
        // Before the empty line; a GET may have content behind it.
        let end = super::redirect::head_len(request).saturating_sub(2);
        request.splice(end..end, line.iter().copied());
        !line.is_empty()
    }

    fn value(&self, name: &str) -> Option<&[u8]> {
        let is_it = |field: &&(Box<str>, Box<[u8]>)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().find(is_it).map(|(_, value)| &**value)
    }

    /// Writes it as it would come, with its age; how long its head is.
    fn write(&self, age_secs: u64, out: &mut Vec<u8>) -> usize {
        out.clear();
        out.extend_from_slice(format!("HTTP/1.1 {} \r\n", self.status).as_bytes());
        for (name, value) in &self.fields {
            if !name.eq_ignore_ascii_case("age") {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(format!("Age: {age_secs}\r\n\r\n").as_bytes());
        let head_len = out.len();
        out.extend_from_slice(&self.body);
        head_len
    }

    fn cost(&self) -> usize {
        let fields = self.fields.iter().map(|(n, v)| n.len() + v.len() + 32);
        let vary = self
            .vary
            .iter()
            .map(|(n, v)| n.len() + v.as_ref().map_or(0, |v| v.len()) + 32);
        ENTRY_OVERHEAD_BYTES
            + self.target.len()
            + self.body.len()
            + fields.sum::<usize>()
            + vary.sum::<usize>()
    }
}

fn has(headers: &[Header<'_>], name: &str) -> bool {
    headers.iter().any(|h| h.name.eq_ignore_ascii_case(name))
}

/// The fields that are kept: not those of the connection (RFC 9111 section 3.1).
fn kept_fields(headers: &[Header<'_>]) -> Vec<(Box<str>, Box<[u8]>)> {
    headers
        .iter()
        .filter(|header| is_kept_field(header.name, headers))
        .map(|header| (header.name.into(), header.value.into()))
        .collect()
}

/// What the request had of what `Vary` names; `None` when nothing fits it ever (`*`).
fn vary(headers: &[Header<'_>], request: &[u8]) -> Option<Vary> {
    let mut vary = Vec::new();
    let named = headers
        .iter()
        .filter(|h| h.name.eq_ignore_ascii_case("vary"))
        .flat_map(|h| h.value.split(|&b| b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty());
    for name in named {
        let name = std::str::from_utf8(name).ok().filter(|name| *name != "*")?;
        let name = name.to_ascii_lowercase();
        let value = field(request, &name).map(Into::into);
        vary.push((name.into_boxed_str(), value));
    }
    Some(vary)
}

/// A date in any of the three forms of RFC 9110 section 5.6.7, as seconds since 1970.
fn http_date(value: &[u8]) -> Option<u64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH);
    Some(since.map_or(0, |since| since.as_secs()))
}

#[cfg(test)]
mod tests;
