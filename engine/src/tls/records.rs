//! The records of a TLS 1.3 connection after its handshake (RFC 8446, section 5): sealed and opened with the keys that rustls
//! has agreed on, in the buffers at hand. rustls keeps what is secret about the connection: it derives new keys, and stores
//! tickets. Its own record layer is as safe and makes two allocations and three copies more for every request.

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce,
    UnboundKey,
};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, ExtractedSecrets,
    HandshakeType, InvalidMessage, PeerMisbehaved,
};

/// Kind, version and length.
const HEAD_BYTES: usize = 5;
/// The most plain text in a record (section 5.1).
pub(super) const PLAIN_BYTES_MAX: usize = 1 << 14;
/// The most that a record may have after its head (section 5.2).
const SEALED_BYTES_MAX: usize = PLAIN_BYTES_MAX + 256;
/// The longest message about the connection that is taken: a ticket has 64 KiB at most, and a few fields.
const MESSAGE_BYTES_MAX: usize = (64 << 10) + 1024;
/// How many records in a row may have no plain text in them: empty ones, changes of keys, tickets and their pieces.
const QUIET_RECORDS_MAX: u32 = 64;
/// A message that says that keys change; its last byte would ask the peer for the same.
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];
/// An alert that ends the connection.
const FATAL: u8 = 2;

/// One way of a connection.
pub(super) struct Way {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    /// Of the next record.
    sequence: u64,
}

impl Way {
    pub(super) fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, Error> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(Error::General("a cipher that is not known here".to_owned())),
        };
        let key = UnboundKey::new(algorithm, key.as_ref())
            .map_err(|_| Error::General("a key of the wrong length".to_owned()))?;
        let iv = iv.as_ref().try_into();
        Ok(Self {
            key: LessSafeKey::new(key),
            iv: iv.map_err(|_| Error::General("a nonce of the wrong length".to_owned()))?,
            sequence,
        })
    }

    /// Section 5.3. None is used twice: the number only goes up, and starts anew only with a new key.
    fn nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(nonce)
    }

    /// Appends a record with this in it, which is not longer than [`PLAIN_BYTES_MAX`].
    pub(super) fn seal(
        &mut self,
        kind: ContentType,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let sealed_len = plain.len() + 1 + MAX_TAG_LEN;
        let head = head(sealed_len);
        out.reserve(HEAD_BYTES + sealed_len);
        out.extend_from_slice(&head);
        let start = out.len();
        out.extend_from_slice(plain);
        out.push(kind.into());
        let nonce = self.nonce();
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(head), &mut out[start..])
            .map_err(|_| Error::EncryptError)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// What is in a record, and of what kind; `record`: what is after its head.
    pub(super) fn open<'r>(
        &mut self,
        head: [u8; HEAD_BYTES],
        record: &'r mut [u8],
    ) -> Result<(ContentType, &'r [u8]), Error> {
        let nonce = self.nonce();
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(head), record)
            .map_err(|_| Error::DecryptError)?;
        // With its kind (section 5.4).
        if opened.len() > PLAIN_BYTES_MAX + 1 {
            return Err(Error::PeerSentOversizedRecord);
        }
        // The kind is before what the record was filled up with.
        let end = opened.iter().rposition(|byte| *byte != 0);
        let end = end.ok_or_else(|| unexpected(ContentType::Unknown(0)))?;
        let kind = ContentType::from(opened[end]);
        // Only plain text may be empty.
        if end == 0 && kind != ContentType::ApplicationData {
            return Err(unexpected(kind));
        }
        Ok((kind, &opened[..end]))
    }
}

/// The head of a record: all of them say that they are plain text of TLS 1.2.
fn head(sealed_len: usize) -> [u8; HEAD_BYTES] {
    let [.., high, low] = sealed_len.to_be_bytes();
    [ContentType::ApplicationData.into(), 3, 3, high, low]
}

fn unexpected(got_type: ContentType) -> Error {
    Error::InappropriateMessage {
        expect_types: vec![ContentType::ApplicationData],
        got_type,
    }
}

/// Both ways of a connection.
pub(super) struct Records {
    kernel: KernelConnection<ClientConnectionData>,
    sending: Way,
    receiving: Way,
    /// So many records may be sealed with one key.
    pub(super) sealed_max: u64,
    /// The begin of a message about the connection.
    message: Vec<u8>,
    /// Records in a row without plain text.
    quiet_records: u32,
    /// The server asked for new keys of ours, and nothing has been sealed with them yet: that is an answer to all that it
    /// asks meanwhile (section 4.6.3).
    is_update_unsent: bool,
}

impl Records {
    pub(super) fn new(
        secrets: ExtractedSecrets,
        kernel: KernelConnection<ClientConnectionData>,
    ) -> Result<Self, Error> {
        let suite = kernel.negotiated_cipher_suite().tls13();
        let suite = suite.ok_or(Error::HandshakeNotComplete)?;
        Ok(Self {
            sending: Way::new(secrets.tx)?,
            receiving: Way::new(secrets.rx)?,
            sealed_max: suite.common.confidentiality_limit,
            kernel,
            message: Vec::new(),
            quiet_records: 0,
            is_update_unsent: false,
        })
    }

    /// Appends records with this in them.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        for plain in plain.chunks(PLAIN_BYTES_MAX) {
            // The last that a key may seal says that it was the last.
            if self.sending.sequence + 1 >= self.sealed_max {
                self.update_sending(out)?;
            }
            self.is_update_unsent = false;
            self.sending
                .seal(ContentType::ApplicationData, plain, out)?;
        }
        Ok(())
    }

    /// Opens the records that `bytes` begin with where they lie, and appends what is in them; how many bytes these were.
    /// What the server is to be told goes to `out`: when there is an error, what it was.
    ///
    /// # Errors
    /// What is wrong, after what was before it; [`AlertDescription::CloseNotify`] is the end, where nothing is wrong.
    pub(super) fn open(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        let mut at = 0;
        loop {
            match self.open_next(&mut bytes[at..], plain, out) {
                Ok(0) => return Ok(at),
                Ok(len) => at += len,
                Err(error) => {
                    if let Some(alert) = alert(&error) {
                        // That there is an error is said in any case.
                        let said = [FATAL, alert.into()];
                        let _ = self.sending.seal(ContentType::Alert, &said, out);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The length of the record; 0 when it is not whole.
    fn open_next(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        let Some((head, rest)) = bytes.split_first_chunk_mut::<HEAD_BYTES>() else {
            return Ok(0);
        };
        let [kind, _, _, high, low] = *head;
        let kind = ContentType::from(kind);
        if kind != ContentType::ApplicationData {
            return Err(unexpected(kind));
        }
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > SEALED_BYTES_MAX {
            return Err(Error::PeerSentOversizedRecord);
        }
        let Some(record) = rest.get_mut(..len) else {
            return Ok(0);
        };
        let (kind, content) = self.receiving.open(*head, record)?;
        let is_plain = kind == ContentType::ApplicationData && self.message.is_empty();
        if is_plain && !content.is_empty() {
            self.quiet_records = 0;
            plain.extend_from_slice(content);
            return Ok(HEAD_BYTES + len);
        }
        self.quiet_records += 1;
        if self.quiet_records > QUIET_RECORDS_MAX {
            return Err(Error::PeerMisbehaved(PeerMisbehaved::TooManyEmptyFragments));
        }
        if !is_plain {
            self.take_message(kind, content, out)?;
        }
        Ok(HEAD_BYTES + len)
    }

    /// What a record says about the connection.
    #[cold]
    fn take_message(
        &mut self,
        kind: ContentType,
        content: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        match kind {
            ContentType::Handshake => {
                self.message.extend_from_slice(content);
                self.take_handshakes(out)
            }
            // A message that has begun goes on before anything else comes (section 5.1).
            _ if !self.message.is_empty() => Err(unexpected(kind)),
            ContentType::Alert => match content {
                [_, description] => match AlertDescription::from(*description) {
                    // A warning that the end follows.
                    AlertDescription::UserCanceled => Ok(()),
                    other => Err(Error::AlertReceived(other)),
                },
                _ => Err(unexpected(kind)),
            },
            _ => Err(unexpected(kind)),
        }
    }

    /// Every message that is whole.
    fn take_handshakes(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let all = std::mem::take(&mut self.message);
        // Mostly one that is whole, else what came of one: as many times as records in a row may have no plain text.
        let mut rest = all.as_slice();
        while let [kind, a, b, c, after @ ..] = rest {
            let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if len > MESSAGE_BYTES_MAX {
                return Err(Error::General(
                    "the server says too much about the connection".to_owned(),
                ));
            }
            let Some((message, after)) = after.split_at_checked(len) else {
                break;
            };
            match HandshakeType::from(*kind) {
                HandshakeType::NewSessionTicket => {
                    self.kernel.handle_new_session_ticket(message)?;
                }
                // New keys are for the next record on (section 5.1).
                HandshakeType::KeyUpdate if after.is_empty() => self.update_keys(message, out)?,
                other => {
                    return Err(Error::InappropriateHandshakeMessage {
                        expect_types: vec![HandshakeType::NewSessionTicket],
                        got_type: other,
                    });
                }
            }
            rest = after;
        }
        let done = all.len() - rest.len();
        self.message = all;
        self.message.drain(..done);
        Ok(())
    }

    /// The server has new keys, and may want us to have some, too (section 4.6.3).
    fn update_keys(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let wants_ours = match message {
            [0] => false,
            [1] => true,
            _ => return Err(InvalidMessage::InvalidKeyUpdate.into()),
        };
        self.receiving = Way::new(self.kernel.update_rx_secret()?)?;
        if wants_ours && !self.is_update_unsent {
            self.update_sending(out)?;
            self.is_update_unsent = true;
        }
        Ok(())
    }

    fn update_sending(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.sending
            .seal(ContentType::Handshake, &KEY_UPDATE, out)?;
        self.sending = Way::new(self.kernel.update_tx_secret()?)?;
        Ok(())
    }
}

/// What the server is told of an error (section 6.2).
fn alert(error: &Error) -> Option<AlertDescription> {
    match error {
        Error::AlertReceived(_) => None,
        Error::DecryptError => Some(AlertDescription::BadRecordMac),
        Error::InvalidMessage(InvalidMessage::InvalidKeyUpdate) => {
            Some(AlertDescription::IllegalParameter)
        }
        Error::PeerSentOversizedRecord => Some(AlertDescription::RecordOverflow),
        Error::InvalidMessage(_) | Error::General(_) => Some(AlertDescription::DecodeError),
        _ => Some(AlertDescription::UnexpectedMessage),
    }
}
