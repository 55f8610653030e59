//! One connection's TLS: received records in, plain text out, and the other way round. The ring's buffers are read and
//! written through; what is kept between two calls is a record that is not whole.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedStatus,
};
use rustls::{AlertDescription, ClientConfig, Error, InvalidMessage, ProtocolVersion};

use super::records::Records;

/// What a record has beside its plain text, at most: head, nonce, type and tag.
const RECORD_BYTES_MORE: usize = 64;
/// Memory beyond this is given back when it is empty.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Who works on the records.
enum Layer {
    /// In the handshake, and with TLS 1.2.
    Rustls(Box<UnbufferedClientConnection>),
    Ours(Box<Records>),
    /// What is wrong has been said.
    Broken,
}

pub(crate) struct Session {
    layer: Layer,
    /// Received, and not a whole record yet.
    incoming: Vec<u8>,
    /// To be sent.
    outgoing: Vec<u8>,
    plain: Vec<u8>,
    /// How much of `plain` is consumed.
    consumed: usize,
    is_open: bool,
    /// The server sends nothing more.
    is_closed: bool,
}

impl Session {
    /// `name`: what the server must be; sent as SNI unless it is an address. The first records are ready to be sent.
    ///
    /// # Errors
    /// For people.
    pub(crate) fn new(config: &Arc<ClientConfig>, name: &str) -> Result<Self, String> {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("`{name}` cannot be the name of a TLS server"))?;
        let connection = UnbufferedClientConnection::new(Arc::clone(config), name)
            .map_err(|error| error.to_string())?;
        let mut session = Self {
            layer: Layer::Rustls(Box::new(connection)),
            incoming: Vec::new(),
            outgoing: Vec::new(),
            plain: Vec::new(),
            consumed: 0,
            is_open: false,
            is_closed: false,
        };
        session.process_incoming(None)?;
        Ok(session)
    }

    /// Whether the handshake is done, as far as sending goes.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Takes received bytes, which it decrypts where they lie.
    ///
    /// # Errors
    /// What is wrong with them; an alert for the peer may be ready to be sent.
    pub(crate) fn receive(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        if self.is_closed {
            // Nothing after the end is looked at (RFC 8446, section 6.1).
            return Ok(());
        }
        if self.incoming.is_empty() {
            // Mostly whole records; what is left over is the start of one.
            let taken = self.process(bytes, None)?;
            self.incoming.extend_from_slice(&bytes[taken..]);
        } else {
            self.incoming.extend_from_slice(bytes);
            self.process_incoming(None)?;
        }
        if self.is_closed {
            self.incoming = Vec::new();
        }
        Ok(())
    }

    /// Encrypts bytes after what is already to be sent.
    ///
    /// # Errors
    /// When the connection cannot carry them.
    pub(crate) fn seal(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Layer::Ours(records) = &mut self.layer {
            return records
                .seal(bytes, &mut self.outgoing)
                .map_err(|error| error.to_string());
        }
        self.process_incoming(Some(bytes))?;
        // With what it has just sealed rustls has sent all that it had to say: an answer to a change of keys waits for that.
        let is_said = self.is_open && !bytes.is_empty();
        match &self.layer {
            Layer::Rustls(connection)
                if is_said
                    && !self.is_closed
                    && self.incoming.is_empty()
                    && connection.protocol_version() == Some(ProtocolVersion::TLSv1_3) =>
            {
                self.take_over()
            }
            _ => Ok(()),
        }
    }

    /// Records are ours once the handshake of TLS 1.3 is done and nothing of the server's is half read.
    #[cold]
    fn take_over(&mut self) -> Result<(), String> {
        if let Layer::Rustls(connection) = std::mem::replace(&mut self.layer, Layer::Broken) {
            let records = connection
                .dangerous_into_kernel_connection()
                .and_then(|(secrets, kernel)| Records::new(secrets, kernel))
                .map_err(|error| error.to_string())?;
            self.layer = Layer::Ours(Box::new(records));
        }
        Ok(())
    }

    /// Whether records are sealed and opened here.
    #[cfg(test)]
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.layer, Layer::Ours(_))
    }

    /// Has keys changed after so many records.
    #[cfg(test)]
    pub(super) fn limit_sealed(&mut self, sealed_max: u64) {
        if let Layer::Ours(records) = &mut self.layer {
            records.sealed_max = sealed_max;
        }
    }

    /// Plain text that is not consumed.
    #[inline]
    pub(crate) fn plain(&self) -> &[u8] {
        &self.plain[self.consumed..]
    }

    #[inline]
    pub(crate) fn consume(&mut self, len: usize) {
        self.consumed += len;
        if self.consumed >= self.plain.len() {
            self.consumed = 0;
            empty(&mut self.plain);
        }
    }

    /// What is to be sent; [`Session::sent`] once it is.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    pub(crate) fn sent(&mut self) {
        empty(&mut self.outgoing);
    }

    /// [`Session::process`] with what was left over.
    fn process_incoming(&mut self, plain: Option<&[u8]>) -> Result<(), String> {
        let mut incoming = std::mem::take(&mut self.incoming);
        let taken = self.process(&mut incoming, plain);
        self.incoming = incoming;
        match taken? {
            all if all == self.incoming.len() => empty(&mut self.incoming),
            some => drop(self.incoming.drain(..some)),
        }
        Ok(())
    }

    /// Works off what was received, up to where more is needed, and encrypts `plain` where there is any. How many of the
    /// bytes were worked off.
    fn process(&mut self, incoming: &mut [u8], mut plain: Option<&[u8]>) -> Result<usize, String> {
        let connection = match &mut self.layer {
            Layer::Rustls(connection) => connection,
            Layer::Ours(records) => {
                return match records.open(incoming, &mut self.plain, &mut self.outgoing) {
                    Ok(taken) => Ok(taken),
                    Err(Error::AlertReceived(AlertDescription::CloseNotify)) => {
                        self.is_closed = true;
                        Ok(incoming.len())
                    }
                    Err(error) => {
                        self.layer = Layer::Broken;
                        Err(said(&error, true))
                    }
                };
            }
            Layer::Broken => return Err("the TLS connection is broken".to_owned()),
        };
        let mut at = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                connection.process_tls_records(&mut incoming[at..]);
            let state = match state {
                Ok(state) => state,
                Err(error) => {
                    // What is left to say is its alert; while there is, nothing more is read.
                    while connection.wants_write()
                        && let Ok(ConnectionState::EncodeTlsData(data)) =
                            connection.process_tls_records(&mut []).state
                    {
                        encode(data, &mut self.outgoing)?;
                    }
                    self.layer = Layer::Broken;
                    return Err(said(&error, self.is_open));
                }
            };
            let is_done = match state {
                ConnectionState::EncodeTlsData(data) => {
                    encode(data, &mut self.outgoing)?;
                    false
                }
                ConnectionState::TransmitTlsData(transmit) => {
                    transmit.done();
                    false
                }
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|error| error.to_string())?;
                        discard += record.discard;
                        self.plain.extend_from_slice(record.payload);
                    }
                    false
                }
                ConnectionState::WriteTraffic(mut traffic) => {
                    self.is_open = true;
                    if let Some(bytes) = plain.take() {
                        append(
                            &mut self.outgoing,
                            bytes.len() + RECORD_BYTES_MORE,
                            |space| {
                                traffic.encrypt(bytes, space).map_err(|error| match error {
                                    EncryptError::InsufficientSize(needed) => Some(needed),
                                    EncryptError::EncryptExhausted => None,
                                })
                            },
                        )?;
                    }
                    true
                }
                ConnectionState::PeerClosed => {
                    self.is_closed = true;
                    false
                }
                // Early data is for servers.
                ConnectionState::BlockedHandshake
                | ConnectionState::Closed
                | ConnectionState::ReadEarlyData(_) => true,
                _ => return Err("TLS is in a state that this program does not know".to_owned()),
            };
            at += discard;
            if is_done {
                break;
            }
        }
        match plain {
            Some(_) => Err("the TLS connection cannot carry a request".to_owned()),
            None => Ok(at),
        }
    }
}

/// An error for people. What a server says of the client's certificate comes when the handshake looks finished here, and is
/// about what the plan says; what the client says of the server's, or of one that speaks no TLS, is what whoever writes a first
/// plan meets.
#[cold]
fn said(error: &Error, is_open: bool) -> String {
    use AlertDescription as Alert;
    let alert = match error {
        Error::AlertReceived(alert) => alert,
        Error::InvalidMessage(InvalidMessage::InvalidContentType) if !is_open => {
            return "what answers there speaks no TLS: write `http://`, or the port that has TLS"
                .to_owned();
        }
        Error::InvalidCertificate(_) => {
            return format!(
                "{error}: `defaults.http.tls` says whom to trust (`ca_file`), or `--insecure` trusts anyone"
            );
        }
        _ => return error.to_string(),
    };
    let why = match alert {
        Alert::CertificateRequired => {
            "the server wants a client certificate: set `tls.cert_file` and `tls.key_file`"
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA => {
            "the server does not take the client certificate, or misses one: see `tls.cert_file`"
        }
        _ => return error.to_string(),
    };
    format!("{error}: {why}")
}

/// Appends what rustls has to say.
fn encode(
    mut data: EncodeTlsData<'_, ClientConnectionData>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    append(out, 0, |space| {
        data.encode(space).map_err(|error| match error {
            EncodeError::InsufficientSize(needed) => Some(needed),
            EncodeError::AlreadyEncoded => None,
        })
    })
}

/// Appends what `write` puts into the space it is given: as much as is guessed, and then what it says it needs.
fn append(
    out: &mut Vec<u8>,
    guess: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> Result<(), String> {
    let start = out.len();
    out.resize(start + guess, 0);
    for _ in 0..2 {
        match write(&mut out[start..]) {
            Ok(len) => {
                out.truncate(start + len);
                return Ok(());
            }
            Err(Some(needed)) => out.resize(start + needed.required_size, 0),
            Err(None) => break,
        }
    }
    Err("the TLS connection cannot encrypt any more".to_owned())
}

fn empty(memory: &mut Vec<u8>) {
    memory.clear();
    if memory.capacity() > KEPT_BYTES_MAX {
        *memory = Vec::new();
    }
}
