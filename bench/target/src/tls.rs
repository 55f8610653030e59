//! A connection's TLS, by rustls: sealed bytes in, plain bytes out, and back. No I/O here.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};

/// What all connections of a target have in common: TLS 1.2 and 1.3, and a certificate for `localhost` and the address that
/// it signed itself.
pub(crate) fn config(address: IpAddr) -> io::Result<(Arc<ServerConfig>, CertificateDer<'static>)> {
    let names = ["localhost".to_owned(), address.to_string()];
    let signed = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let key = PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der());
    let certificate = CertificateDer::from(signed.cert);
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], PrivateKeyDer::from(key))
        .map_err(io::Error::other)?;
    Ok((Arc::new(config), certificate))
}

/// The server's end of one connection.
pub(crate) struct Session(ServerConnection);

impl Session {
    pub(crate) fn new(config: &Arc<ServerConfig>) -> Result<Box<Self>, rustls::Error> {
        let mut session = ServerConnection::new(Arc::clone(config))?;
        // What is sealed is taken out at once.
        session.set_buffer_limit(None);
        Ok(Box::new(Self(session)))
    }

    /// Takes what the socket received, appends what is in it, and returns whether the client has said that nothing follows.
    /// After an error there is an alert to send, and nothing else.
    pub(crate) fn open(
        &mut self,
        mut sealed: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<bool, rustls::Error> {
        while !sealed.is_empty() {
            let read = self.0.read_tls(&mut sealed);
            let read = read.map_err(|error| rustls::Error::General(error.to_string()))?;
            let state = self.0.process_new_packets()?;
            let there = state.plaintext_bytes_to_read();
            if there > 0 {
                let start = plain.len();
                plain.resize(start + there, 0);
                let read = self.0.reader().read(&mut plain[start..]);
                plain.truncate(start + read.unwrap_or(0));
            }
            // What follows the end counts for nothing, and is not read.
            if read == 0 || state.peer_has_closed() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Seals what is there to say, and with it what the session itself has to say, in the place of `plain`; `is_last`: and
    /// that nothing follows. `spare` is memory for it.
    pub(crate) fn seal(&mut self, plain: &mut Vec<u8>, spare: &mut Vec<u8>, is_last: bool) {
        // Memory is the only thing that could fail these.
        let _ = self.0.writer().write_all(plain);
        if is_last {
            self.0.send_close_notify();
        }
        spare.clear();
        while self.0.wants_write() && self.0.write_tls(spare).is_ok() {}
        std::mem::swap(plain, spare);
    }
}
