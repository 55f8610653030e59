//! Where a virtual user's cache stands: before a request goes out, and after its response has come.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::exchange::{Answer, Broken, Call};
use super::state::Shard;
use crate::clock::now_ns;
use crate::http::cache::{Cache, Found, Fresh, Now, is_safe};
use crate::http::redirect::{resolve, target};
use crate::http::{Expected, Response, note, parse_head};

/// The cache of a virtual user, as one of its lanes uses it.
#[derive(Debug, Default)]
pub(super) struct Caching {
    cache: Rc<RefCell<Cache>>,
    asked: RefCell<Asked>,
    /// A kept response as it would come.
    kept: RefCell<Vec<u8>>,
}

/// The request that was looked for last.
#[derive(Debug, Default)]
struct Asked {
    /// As it goes out, with what the cache asks of the target.
    bytes: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Its response is none of the cache's business.
    #[default]
    Bypass,
    /// Its response may be kept.
    Plain,
    /// It asks whether what is kept still holds.
    Validates,
}

impl Caching {
    /// The request that [`Shard::kept_answer`] made ready; false when it did not.
    pub(super) fn take_asked(&self, head: &mut Vec<u8>) -> bool {
        head.clear();
        head.extend_from_slice(&self.asked.borrow().bytes);
        !head.is_empty()
    }

    /// For what runs beside the user: the same cache, requests of its own.
    pub(super) fn beside(&self) -> Self {
        Self {
            cache: Rc::clone(&self.cache),
            ..Self::default()
        }
    }
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Now {
        ns: now_ns(),
        unix_secs: since.map_or(0, |since| since.as_secs()),
    }
}

impl Shard {
    /// The answer that a user's cache gives. Boxed, because hardly any request has one and all users wait with it.
    #[inline]
    pub(super) fn kept_answer(&self, call: Call<'_>) -> Option<Box<Result<Answer, Broken>>> {
        let caching = call.caching?;
        let answer = self.look_in_cache(call, caching).transpose()?;
        Some(Box::new(answer))
    }

    /// What is kept for a request, judged; else the request is made ready to go out, see [`Caching::take_asked`].
    fn look_in_cache(&self, call: Call<'_>, caching: &Caching) -> Result<Option<Answer>, Broken> {
        let mut asked = caching.asked.borrow_mut();
        asked.state = State::Bypass;
        asked.bytes.clear();
        // A GET with content means what only its target knows (RFC 9110 section 9.3.1).
        if call.method() != "GET" || call.request.body.is_some() {
            return Ok(None);
        }
        {
            let mut scratch = self.scratch.borrow_mut();
            let (_, body) = &mut *scratch;
            self.render_request(call, &mut asked.bytes, body)
                .map_err(Broken::Unsent)?;
            if call.request.http.sends_cookies && !call.own.jar.borrow().is_empty() {
                self.add_cookies(call, &mut asked.bytes, body);
            }
        }
        let mut kept = caching.kept.borrow_mut();
        let target = target(&asked.bytes).to_vec();
        let (found, head_len) = caching.cache.borrow_mut().look_up(
            call.origin.0,
            (call.method().as_bytes(), &target),
            &mut asked.bytes,
            now(),
            &mut kept,
        );
        asked.state = match found {
            Found::Bypass => State::Bypass,
            Found::Nothing => State::Plain,
            Found::Stale => State::Validates,
            Found::Fresh => {
                drop(asked);
                return self.answer_kept(call, &kept, head_len, 0).map(Some);
            }
        };
        Ok(None)
    }

    /// After a response: keeps it, or puts what was kept in the place of a 304. `None`: the response is to be judged as
    /// it is.
    pub(super) fn attend_cache(
        &self,
        call: Call<'_>,
        caching: &Caching,
        response: &Response<'_>,
        duration_ns: u64,
    ) -> Option<Result<Answer, Broken>> {
        let asked = caching.asked.borrow();
        let (origin, target) = (call.origin.0, target(&asked.bytes));
        let fresh = Fresh {
            status: response.status,
            headers: response.headers,
            body: response.body,
            delay_ns: duration_ns,
        };
        if !is_safe(call.method().as_bytes()) {
            if matches!(response.status, 200..=399) {
                self.invalidate(call, caching, response);
            }
            return None;
        }
        match asked.state {
            State::Bypass => None,
            State::Validates if response.status == 304 => {
                let mut kept = caching.kept.borrow_mut();
                let mut cache = caching.cache.borrow_mut();
                let bytes = &asked.bytes;
                let head_len = cache.freshen(origin, target, bytes, &fresh, now(), &mut kept)?;
                drop(cache);
                Some(self.answer_kept(call, &kept, head_len, duration_ns))
            }
            State::Plain | State::Validates => {
                // One that is cut off, or was not read, is not kept.
                if response.body.len() as u64 == response.body_len {
                    let mut cache = caching.cache.borrow_mut();
                    cache.store(origin, target, &asked.bytes, &fresh, now());
                }
                None
            }
        }
    }

    /// What a change of the target makes of what is kept (RFC 9111 section 4.4).
    fn invalidate(&self, call: Call<'_>, caching: &Caching, response: &Response<'_>) {
        let place = self.place(call);
        let mut cache = caching.cache.borrow_mut();
        cache.invalidate(call.origin.0, &place.target);
        for header in response.headers {
            let names = ["location", "content-location"];
            if names.iter().any(|n| header.name.eq_ignore_ascii_case(n))
                && let Ok(other) = resolve(&place, header.value)
                && other.authority.same_origin(&place.authority)
            {
                cache.invalidate(call.origin.0, &other.target);
            }
        }
    }

    /// Answers with a kept response. Its cookies were taken when it came.
    fn answer_kept(
        &self,
        call: Call<'_>,
        kept: &[u8],
        head_len: usize,
        duration_ns: u64,
    ) -> Result<Answer, Broken> {
        let mut space = crate::http::header_space();
        let expected = Expected {
            to_head_request: true,
            headers_max: self.program.limits.headers_max,
        };
        let (head, headers) = parse_head(&kept[..head_len], &mut space, expected)
            .ok()
            .flatten()
            .ok_or(Broken::Failed(crate::error_kind::ErrorKind::Protocol, 0))?;
        let body = &kept[head_len..];
        let response = Response {
            status: head.status,
            notes: head.notes & !(note::ANY | note::COOKIE),
            headers,
            body,
            body_len: body.len() as u64,
        };
        self.answer(
            call,
            &response,
            call.wanted(&self.program.limits).notes,
            duration_ns,
        )
    }
}
