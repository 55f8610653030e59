//! One connection without its socket: bytes in, bytes out, and what it waits for. No I/O here.

use crate::body::{BodyReader, Framing};
use crate::orders::Orders;
use crate::reply::{self, Form, PIECE_BYTES, Stream};
use crate::request::{Head, Persist, Refusal};
use crate::routes::Route;

/// After a refusal the rest of the request is read and thrown away for so long, because closing a socket
/// with unread bytes would reset the connection and could take the answer with it.
const LINGER_NS: u64 = 100_000_000;
/// No further request is answered in one go once so much is rendered.
const OUT_BYTES_ENOUGH: usize = PIECE_BYTES;
/// The longest request and the longest response that are remembered (see [`Memo`]).
const MEMO_REQUEST_BYTES_MAX: usize = 2 * 1024;
const MEMO_REPLY_BYTES_MAX: usize = 16 * 1024;
/// How many requests for `/slots` a thread serves at once.
const SLOTS: usize = 8;
/// Echoes longer than this do not keep their memory.
const ECHO_BYTES_KEPT: usize = 64 * 1024;

/// What the connections of one thread share.
pub(crate) struct Service {
    memos: [Memo; 4],
    /// Which memo is replaced next.
    oldest: usize,
    pub(crate) orders: Orders,
    /// Memory of echoes that were said, for those to come.
    #[expect(clippy::vec_box, reason = "it is the boxes that go round")]
    echoes: Vec<Box<Echo>>,
    /// Requests answered.
    pub(crate) requests: u64,
    /// When the bytes now handled were received.
    pub(crate) now_ns: u64,
    /// When each place of `/slots` is free again.
    slots_ns: [u64; SLOTS],
}

/// A request that was answered, to the byte, and its answer. Load is the same few requests over and over, and
/// comparing costs a tenth of parsing.
#[derive(Default)]
struct Memo {
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Service {
    pub(crate) fn new(orders: Orders) -> Self {
        Self {
            memos: Default::default(),
            oldest: 0,
            orders,
            echoes: Vec::new(),
            requests: 0,
            now_ns: 0,
            slots_ns: [0; SLOTS],
        }
    }

    /// Takes the place of `/slots` that is free first for so long; when that is over.
    fn take_slot(&mut self, ns: u64) -> u64 {
        let mut first = 0;
        for at in 1..SLOTS {
            if self.slots_ns[at] < self.slots_ns[first] {
                first = at;
            }
        }
        let end = self.slots_ns[first].max(self.now_ns) + ns;
        self.slots_ns[first] = end;
        end
    }

    #[inline]
    fn recall(&self, bytes: &[u8]) -> Option<&Memo> {
        self.memos
            .iter()
            .find(|memo| !memo.request.is_empty() && bytes.starts_with(&memo.request))
    }

    fn remember(&mut self, request: &[u8], reply: &[u8]) {
        if request.len() > MEMO_REQUEST_BYTES_MAX || reply.len() > MEMO_REPLY_BYTES_MAX {
            return;
        }
        let oldest = self.oldest;
        self.oldest = (oldest + 1) % self.memos.len();
        let memo = &mut self.memos[oldest];
        memo.request.clear();
        memo.request.extend_from_slice(request);
        memo.reply.clear();
        memo.reply.extend_from_slice(reply);
    }
}

/// A request whose body is still to come, or whose answer is.
#[derive(Debug)]
struct Pending {
    route: Route,
    form: Form,
    echo: Option<Box<Echo>>,
}

/// What an echo says.
#[derive(Debug, Default)]
struct Echo {
    lines: Vec<u8>,
    body: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// A request's head is due.
    Head,
    Body(BodyReader, Pending),
    /// The answer is due at this time.
    Delayed(u64, Pending),
    /// A long body is being made. Then: whether the connection closes.
    Streaming(Stream, bool),
    /// Nothing more is read; closes when all is sent.
    Closing,
    /// Reads and forgets until this time, then closes.
    Lingering(u64),
}

/// See the module's first line.
#[derive(Debug)]
pub(crate) struct Connection {
    state: State,
    /// Received bytes that could not be handled yet.
    pub(crate) input: Vec<u8>,
    /// The peer sends no more.
    pub(crate) has_ended: bool,
}

impl Connection {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Head,
            input: Vec::new(),
            has_ended: false,
        }
    }

    /// As new; what is allocated is kept.
    pub(crate) fn renew(&mut self) {
        self.state = State::Head;
        self.input.clear();
        self.has_ended = false;
    }

    /// Whether a further line end is needed before `input` can lead anywhere: saves parsing a head again for every
    /// piece of it.
    pub(crate) fn is_within_head(&self) -> bool {
        matches!(self.state, State::Head) && !self.input.is_empty()
    }

    /// Whether requests can be handled, or have to wait for something else.
    pub(crate) fn is_reading(&self) -> bool {
        matches!(
            self.state,
            State::Head | State::Body(..) | State::Lingering(_)
        )
    }

    /// When [`Connection::alarm`] is to be called.
    pub(crate) fn alarm_ns(&self) -> Option<u64> {
        match self.state {
            State::Delayed(at, _) | State::Lingering(at) => Some(at),
            _ => None,
        }
    }

    /// Whether a long body is being made.
    pub(crate) fn is_streaming(&self) -> bool {
        matches!(self.state, State::Streaming(..))
    }

    /// Whether to close once all is sent and no input can be handled.
    pub(crate) fn is_over(&self) -> bool {
        match self.state {
            State::Closing => true,
            State::Head | State::Body(..) | State::Lingering(_) => self.has_ended,
            State::Delayed(..) | State::Streaming(..) => false,
        }
    }

    /// Makes the next piece of a long body.
    pub(crate) fn stream(&mut self, out: &mut Vec<u8>) {
        if let State::Streaming(stream, closes) = &mut self.state {
            stream.fill(out);
            if stream.is_done() {
                self.state = if *closes { State::Closing } else { State::Head };
            }
        }
    }

    /// Handles what `bytes` hold, appends the answers to `out`, and returns how many bytes are done with.
    #[inline]
    pub(crate) fn advance(
        &mut self,
        bytes: &[u8],
        service: &mut Service,
        out: &mut Vec<u8>,
    ) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let step = match &mut self.state {
                State::Head if out.len() >= OUT_BYTES_ENOUGH => break,
                State::Head => {
                    if let Some(memo) = service.recall(rest) {
                        out.extend_from_slice(&memo.reply);
                        let len = memo.request.len();
                        service.requests += 1;
                        Ok(len)
                    } else {
                        self.head(rest, service, out)
                    }
                }
                State::Body(..) => self.body(rest, service, out),
                State::Lingering(_) => Ok(rest.len()),
                State::Delayed(..) | State::Streaming(..) | State::Closing => break,
            };
            match step {
                Ok(0) => break,
                Ok(len) => at += len,
                Err(refusal) => {
                    service.requests += 1;
                    let form = Form {
                        persist: Persist::Close,
                        is_head: false,
                        is_old: false,
                    };
                    reply::write_status(out, form, refusal.status());
                    self.state = State::Lingering(service.now_ns + LINGER_NS);
                }
            }
        }
        at
    }

    /// Nothing more is read; it closes when all is sent.
    pub(crate) fn end(&mut self) {
        self.state = State::Closing;
        self.input.clear();
    }

    /// The time of [`Connection::alarm_ns`] has come. Returns whether to close now.
    pub(crate) fn alarm(&mut self, service: &mut Service, out: &mut Vec<u8>) -> bool {
        match std::mem::replace(&mut self.state, State::Head) {
            State::Delayed(at, pending) if at <= service.now_ns => {
                service.requests += 1;
                reply::write_status(out, pending.form, 200);
                self.finish(pending.form.persist);
                false
            }
            State::Lingering(at) if at <= service.now_ns => {
                self.state = State::Closing;
                true
            }
            state => {
                self.state = state;
                false
            }
        }
    }

    fn head(
        &mut self,
        bytes: &[u8],
        service: &mut Service,
        out: &mut Vec<u8>,
    ) -> Result<usize, Refusal> {
        let Some(head) = Head::parse(bytes)? else {
            return Ok(0);
        };
        let route = Route::of(head.target);
        let form = Form {
            persist: match route {
                Route::Close => Persist::Close,
                _ => head.persist,
            },
            is_head: head.method == "HEAD",
            is_old: head.is_old,
        };
        let echo = (route == Route::Echo).then(|| {
            let mut echo = service.echoes.pop().unwrap_or_default();
            for piece in [
                "X-Method: ",
                head.method,
                "\r\nX-Target: ",
                head.target,
                "\r\n",
            ] {
                echo.lines.extend_from_slice(piece.as_bytes());
            }
            echo
        });
        let pending = Pending { route, form, echo };
        if head.framing == Framing::Length(0) {
            let start = out.len();
            self.answer(pending, service, out);
            let is_whole = matches!(self.state, State::Head);
            if is_whole && route.is_constant() && form.persist == Persist::Stay {
                service.remember(&bytes[..head.len], &out[start..]);
            }
        } else {
            if head.expects && bytes.len() == head.len {
                out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            self.state = State::Body(BodyReader::new(head.framing), pending);
        }
        Ok(head.len)
    }

    fn body(
        &mut self,
        bytes: &[u8],
        service: &mut Service,
        out: &mut Vec<u8>,
    ) -> Result<usize, Refusal> {
        let State::Body(reader, pending) = &mut self.state else {
            return Ok(0);
        };
        let len = reader.feed(bytes, |content| {
            if let Some(echo) = &mut pending.echo {
                echo.body.extend_from_slice(content);
            }
        })?;
        if reader.is_done()
            && let State::Body(_, pending) = std::mem::replace(&mut self.state, State::Head)
        {
            self.answer(pending, service, out);
        }
        Ok(len)
    }

    fn answer(&mut self, pending: Pending, service: &mut Service, out: &mut Vec<u8>) {
        let form = pending.form;
        match pending.route {
            Route::Canned | Route::Close => reply::write_canned(out, form),
            Route::Cached => reply::write_cached(out, form),
            Route::Status(status) => reply::write_status(out, form, status),
            Route::Headers => reply::write_headers(out, form),
            Route::Order => reply::write_order(out, form, service.orders.issue()),
            Route::Confirm(number) if service.orders.is_issued(number) => {
                reply::write_confirmation(out, form, number);
            }
            Route::Confirm(_) | Route::Unknown => reply::write_status(out, form, 404),
            Route::Echo => {
                let mut echo = pending.echo.unwrap_or_default();
                reply::write(out, form, 200, &echo.lines, &echo.body);
                echo.lines.clear();
                echo.body.clear();
                if echo.body.capacity() <= ECHO_BYTES_KEPT {
                    service.echoes.push(echo);
                }
            }
            Route::Bytes(total) => {
                reply::write_head(out, form.persist, 200, b"", Some(total));
                return self.begin_stream(Stream::plain(total), form, service, out);
            }
            Route::Chunked(total) if form.is_old => {
                // HTTP/1.0 has no chunks: the end of the connection is the end of the body.
                let form = Form {
                    persist: Persist::Close,
                    ..form
                };
                reply::write_head(out, form.persist, 200, b"", None);
                return self.begin_stream(Stream::plain(total), form, service, out);
            }
            Route::Chunked(total) => {
                let lines = b"Transfer-Encoding: chunked\r\n";
                reply::write_head(out, form.persist, 200, lines, None);
                return self.begin_stream(Stream::chunked(total), form, service, out);
            }
            Route::Delay(ms) => {
                self.state = State::Delayed(service.now_ns + ms * 1_000_000, pending);
                return;
            }
            Route::Slots(ms) => {
                let at = service.take_slot(ms * 1_000_000);
                self.state = State::Delayed(at, pending);
                return;
            }
            Route::Drop => {
                self.state = State::Closing;
                return;
            }
        }
        service.requests += 1;
        self.finish(form.persist);
    }

    fn begin_stream(
        &mut self,
        mut stream: Stream,
        form: Form,
        service: &mut Service,
        out: &mut Vec<u8>,
    ) {
        service.requests += 1;
        self.finish(form.persist);
        if form.is_head {
            return;
        }
        stream.fill(out);
        if !stream.is_done() {
            self.state = State::Streaming(stream, form.persist == Persist::Close);
        }
    }

    /// The answer is rendered.
    fn finish(&mut self, persist: Persist) {
        self.state = match persist {
            Persist::Close => State::Closing,
            Persist::Stay | Persist::StaySaid => State::Head,
        };
    }
}
