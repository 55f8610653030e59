//! A TLS 1.3 server that shakes hands by rustls and seals its records itself (RFC 8446, section 5): it says what it is told
//! to, change of keys included, and allocates nothing for a request and its answer.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a failed unwrap is a failed test; each test file uses a part"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ConnectionTrafficSecrets, ServerConfig};

const HEAD_BYTES: usize = 5;
const TAG_BYTES: usize = 16;
/// The most plain text in a record.
const PLAIN_BYTES_MAX: usize = 1 << 14;
/// More than any flight of a handshake here.
const FLIGHT_BYTES_MAX: usize = 1 << 15;

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Keys of one direction.
struct Way {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

impl Way {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Self {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => panic!("a cipher that is not known here"),
        };
        Self {
            key: LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).unwrap()),
            iv: iv.as_ref().try_into().unwrap(),
            sequence,
        }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = u128::from(self.sequence).to_be_bytes();
        self.sequence += 1;
        let nonce = nonce.last_chunk_mut::<NONCE_LEN>().unwrap();
        for (byte, of_iv) in nonce.iter_mut().zip(self.iv) {
            *byte ^= of_iv;
        }
        Nonce::assume_unique_for_key(*nonce)
    }
}

/// One connection, after its handshake.
pub struct Sealing {
    stream: TcpStream,
    kernel: KernelConnection<ServerConnectionData>,
    sending: Way,
    receiving: Way,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    /// What the client has said.
    plain: Vec<u8>,
    /// How often the client has changed its keys.
    pub updates: u32,
}

impl Sealing {
    /// Shakes hands; `None` when the client leaves before, as the probe before a run does.
    pub fn accept(mut stream: TcpStream, config: &Arc<ServerConfig>) -> Option<Self> {
        let mut tls = UnbufferedServerConnection::new(Arc::clone(config)).unwrap();
        let (mut incoming, mut outgoing, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let UnbufferedStatus { mut discard, state } = tls.process_tls_records(&mut incoming);
            let (mut is_blocked, mut is_done) = (false, false);
            match state.ok()? {
                ConnectionState::EncodeTlsData(mut encode) => {
                    let start = outgoing.len();
                    outgoing.resize(start + FLIGHT_BYTES_MAX, 0);
                    let len = encode.encode(&mut outgoing[start..]).unwrap();
                    outgoing.truncate(start + len);
                }
                ConnectionState::TransmitTlsData(transmit) => {
                    stream.write_all(&outgoing).ok()?;
                    outgoing.clear();
                    transmit.done();
                }
                // The first request comes with the end of the handshake.
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.unwrap();
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                ConnectionState::BlockedHandshake => is_blocked = true,
                ConnectionState::WriteTraffic(_) => is_done = true,
                _ => return None,
            }
            incoming.drain(..discard);
            if is_done {
                break;
            }
            if is_blocked {
                read_more(&mut stream, &mut incoming)?;
            }
        }
        let (secrets, kernel) = tls.dangerous_into_kernel_connection().unwrap();
        Some(Self {
            stream,
            kernel,
            sending: Way::new(secrets.tx),
            receiving: Way::new(secrets.rx),
            incoming,
            outgoing,
            plain,
            updates: 0,
        })
    }

    /// Waits for a request, which has no content; `None` when the client has left.
    pub fn take_request(&mut self) -> Option<()> {
        loop {
            if let Some(end) = self.plain.windows(4).position(|w| w == b"\r\n\r\n") {
                self.plain.drain(..end + 4);
                return Some(());
            }
            while !self.open_next() {
                read_more(&mut self.stream, &mut self.incoming)?;
            }
        }
    }

    /// Takes the next record; false when it is not whole.
    fn open_next(&mut self) -> bool {
        let Some((&head, rest)) = self.incoming.split_first_chunk::<HEAD_BYTES>() else {
            return false;
        };
        let len = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if rest.len() < len {
            return false;
        }
        let nonce = self.receiving.nonce();
        let record = &mut self.incoming[HEAD_BYTES..HEAD_BYTES + len];
        let opened = self
            .receiving
            .key
            .open_in_place(nonce, Aad::from(head), record);
        match opened.unwrap() {
            [content @ .., APPLICATION_DATA] => self.plain.extend_from_slice(content),
            // A change of keys that asks for none.
            [24, 0, 0, 1, 0, HANDSHAKE] => {
                self.receiving = Way::new(self.kernel.update_rx_secret().unwrap());
                self.updates += 1;
            }
            other => panic!("the client says {other:?}"),
        }
        self.incoming.drain(..HEAD_BYTES + len);
        true
    }

    /// Seals plain text, in as many records as it needs. [`Sealing::flush`] sends it.
    pub fn say(&mut self, plain: &[u8]) {
        for plain in plain.chunks(PLAIN_BYTES_MAX) {
            self.seal(APPLICATION_DATA, plain);
        }
    }

    /// Seals a change of the server's keys, which asks the client for one or does not.
    pub fn update_keys(&mut self, asks: bool) {
        self.seal(HANDSHAKE, &[24, 0, 0, 1, u8::from(asks)]);
        self.sending = Way::new(self.kernel.update_tx_secret().unwrap());
    }

    fn seal(&mut self, kind: u8, content: &[u8]) {
        let [high, low] = ((content.len() + 1 + TAG_BYTES) as u16).to_be_bytes();
        let head = [APPLICATION_DATA, 3, 3, high, low];
        self.outgoing.extend_from_slice(&head);
        let start = self.outgoing.len();
        self.outgoing.extend_from_slice(content);
        self.outgoing.push(kind);
        let nonce = self.sending.nonce();
        let sealed = &mut self.outgoing[start..];
        let tag = self
            .sending
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(head), sealed)
            .unwrap();
        self.outgoing.extend_from_slice(tag.as_ref());
    }

    /// Sends what was sealed; `None` when the client has left.
    pub fn flush(&mut self) -> Option<()> {
        self.stream.write_all(&self.outgoing).ok()?;
        self.outgoing.clear();
        Some(())
    }
}

fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut more = [0; 4096];
    let len = stream.read(&mut more).ok().filter(|len| *len > 0)?;
    bytes.extend_from_slice(&more[..len]);
    Some(())
}

/// Accepts connections until the process ends, and does this with each in a thread of its own.
pub fn serve(
    mut config: ServerConfig,
    each: impl Fn(Sealing) -> Option<()> + Clone + Send + 'static,
) -> SocketAddr {
    config.enable_secret_extraction = true;
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, each) = (Arc::clone(&config), each.clone());
            std::thread::spawn(move || {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                Sealing::accept(stream, &config).and_then(each)
            });
        }
    });
    address
}
