//! What a response asks for beside being judged: to keep a cookie, to go on elsewhere, to be decoded.

use arrayvec::ArrayVec;

use super::exchange::{Answer, Broken, Call};
use super::hop::Moved;
use super::state::Shard;
use crate::clock::now_ns;
use crate::error_kind::ErrorKind;
use crate::http::redirect::{resolve, split_query};
use crate::http::{Response, Visit, note};

/// The most codings that are looked at: more than the decoder takes, so that it refuses them.
const CODINGS_MAX: usize = 8;

impl Shard {
    /// `heeded`: the notes that the request cares for.
    #[cold]
    pub(super) fn attend(
        &self,
        call: Call<'_>,
        response: &Response<'_>,
        heeded: u8,
        duration_ns: u64,
    ) -> Result<Answer, Broken> {
        let has = |note: u8| response.notes & heeded & note != 0;
        if has(note::COOKIE) {
            let place = self.place(call);
            let visit = Visit {
                host: &place.authority.host,
                path: split_query(&place.target).0,
                tls: place.authority.tls,
            };
            let mut jar = call.own.jar.borrow_mut();
            for header in response.headers {
                if header.name.eq_ignore_ascii_case("set-cookie") {
                    jar.store(header.value, visit);
                }
            }
        }
        if has(note::ANY)
            && let Some(caching) = call.caching
            && let Some(answer) = self.attend_cache(call, caching, response, duration_ns)
        {
            return answer;
        }
        if has(note::REDIRECT) {
            let is_location = |name: &str| name.eq_ignore_ascii_case("location");
            let location = response.headers.iter().find(|h| is_location(h.name));
            let location = location.map_or(&b""[..], |header| header.value);
            let place = resolve(&self.place(call), location).map_err(Broken::Redirect)?;
            let moved = Moved {
                status: response.status,
                place,
            };
            return Ok(Answer::Redirect(Box::new(moved)));
        }
        if has(note::CODED) {
            let is_coding = |name: &str| name.eq_ignore_ascii_case("content-encoding");
            let fields = response.headers.iter().filter(|h| is_coding(h.name));
            let codings: ArrayVec<&[u8], CODINGS_MAX> = fields
                .flat_map(|field| field.value.split(|&b| b == b','))
                .map(<[u8]>::trim_ascii)
                .filter(|coding| !coding.is_empty())
                .take(CODINGS_MAX)
                .collect();
            let mut decoder = self.decoder.borrow_mut();
            let body = decoder
                .decode(&codings, response.body, self.program.limits.body_bytes_max)
                .map_err(|kind| Broken::Failed(kind, 0))?;
            // The time of a request ends with its decoded body.
            if self.tasks.borrow().is_past_deadline(call.task, now_ns()) {
                return Err(Broken::Failed(ErrorKind::Timeout, 0));
            }
            let decoded = Response {
                body,
                body_len: body.len() as u64,
                ..*response
            };
            return Ok(Answer::Judged(self.judge(call, &decoded, duration_ns)));
        }
        Ok(Answer::Judged(self.judge(call, response, duration_ns)))
    }
}
