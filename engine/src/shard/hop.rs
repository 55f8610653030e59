//! The bytes of a request: as the step renders them, as a redirect changes them, with cookies in them.

use loadr_config::{Made, OriginId, Request};

use super::caching::Caching;
use super::client::Client;
use super::exchange::{Broken, Call};
use super::state::{Prepared, Shard};
use crate::http::redirect::{
    Change, Place, becomes_get, head_len, method, rewrite, split_query, target,
};
use crate::http::{RenderError, Visit, render};

/// Where a response sends its request.
pub(super) struct Moved {
    pub(super) status: u16,
    pub(super) place: Place,
}

/// A request that was redirected.
pub(super) struct Hop {
    pub(super) origin: OriginId,
    place: Place,
    /// Head and content, without cookies from the jar.
    bytes: Vec<u8>,
    /// How many redirects led to it.
    count: u32,
}

impl Hop {
    /// A request as it was sent, to be sent once more or judged by.
    pub(super) fn again(shard: &Shard, origin: OriginId, bytes: Vec<u8>) -> Box<Self> {
        let place = Place {
            authority: shard.authority(origin),
            target: target(&bytes).to_vec(),
        };
        Box::new(Self {
            origin,
            place,
            bytes,
            count: 0,
        })
    }

    pub(super) fn method(&self) -> &str {
        std::str::from_utf8(method(&self.bytes)).unwrap_or_default()
    }
}

impl Shard {
    /// Makes a request's bytes in `head`; `body` is only lent.
    pub(super) fn render_request(
        &self,
        call: Call<'_>,
        head: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) -> Result<(), RenderError> {
        head.clear();
        body.clear();
        match (call.hop, &self.prepared[call.id.at()]) {
            (Some(hop), _) => {
                head.extend_from_slice(&hop.bytes);
                if call.request.http.traces {
                    self.renew_trace(head);
                }
            }
            (None, Prepared::Static(bytes)) => head.extend_from_slice(bytes),
            (None, Prepared::Templated { .. }) => {
                let vars = &*call.own.vars.borrow();
                let Request {
                    head: template,
                    body: content,
                    ..
                } = call.request;
                if let Some(content) = content {
                    render(content, vars, 0, body)?;
                }
                render(template, vars, body.len(), head)?;
                head.extend_from_slice(body);
            }
        }
        Ok(())
    }

    /// A redirected request is another one of the same trace (W3C Trace Context, section 3.2.2.4).
    #[cold]
    fn renew_trace(&self, head: &mut [u8]) {
        const FIELD: &[u8] = b"\r\ntraceparent: 00-";
        const TRACE_LEN: usize = 32 + 1;
        const PARENT_LEN: u32 = 16;
        let mut parent = Vec::new();
        self.feed.make(Made::Hex(PARENT_LEN), &mut parent);
        let end = head_len(head);
        let at = memchr::memmem::find(&head[..end], FIELD).map(|at| at + FIELD.len() + TRACE_LEN);
        if let Some(old) = at.and_then(|at| head.get_mut(at..at + parent.len())) {
            old.copy_from_slice(&parent);
        }
    }

    /// Puts what the jar has for the request into its head; `line` is only lent.
    #[cold]
    pub(super) fn add_cookies(&self, call: Call<'_>, head: &mut Vec<u8>, line: &mut Vec<u8>) {
        line.clear();
        let authority = self.authority(call.origin);
        let visit = Visit {
            host: &authority.host,
            path: split_query(target(head)).0,
            tls: authority.tls,
        };
        call.own.jar.borrow().write(visit, line);
        // Before the empty line.
        let at = head_len(head).saturating_sub(2);
        head.splice(at..at, line.iter().copied());
    }

    /// The URL that a request went to.
    pub(super) fn place(&self, call: Call<'_>) -> Place {
        if let Some(hop) = call.hop {
            return hop.place.clone();
        }
        if let Some(sent) = call.sent {
            return Place {
                authority: self.authority(call.origin),
                target: target(sent).to_vec(),
            };
        }
        let mut scratch = self.scratch.borrow_mut();
        let (head, body) = &mut *scratch;
        // It was sent, so it renders, and it is not kept, so it renders to the same.
        let _ = self.render_request(call, head, body);
        Place {
            authority: self.authority(call.origin),
            target: target(head).to_vec(),
        }
    }
}

impl Client {
    /// The request that a redirect asks for.
    pub(super) async fn follow(
        &mut self,
        call: Call<'_>,
        moved: Moved,
    ) -> Result<Box<Hop>, Broken> {
        let count = call.hop.map_or(1, |hop| hop.count + 1);
        if count > call.request.http.redirects {
            let most = call.request.http.redirects;
            return Err(Broken::Redirect(format!("more than {most} redirects")));
        }
        let origin = self.origin(&moved.place.authority).await?;
        let before = self.shard.authority(call.origin);
        let mut bytes = Vec::new();
        let mut scratch = self.shard.scratch.borrow_mut();
        let (head, body) = &mut *scratch;
        let asked = call.caching.and_then(Caching::asked_plain);
        let sent = match (&asked, call.hop) {
            (Some(asked), None) => &**asked,
            (None, None) if call.is_kept(&self.shard) => self.sent.as_slice(),
            _ => {
                let rendered = self.shard.render_request(call, head, body);
                rendered.map_err(Broken::Unsent)?;
                head.as_slice()
            }
        };
        let change = Change {
            to_get: becomes_get(moved.status, method(sent)),
            is_foreign: !before.same_origin(&moved.place.authority),
        };
        rewrite(sent, &moved.place, change, &mut bytes);
        Ok(Box::new(Hop {
            origin,
            place: moved.place,
            bytes,
            count,
        }))
    }
}
