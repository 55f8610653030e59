//! Sessions against rustls's own server, in memory.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use loadr_config::{Location, Tls, TlsVersion};
use proptest::prelude::*;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::ServerConnection;
use rustls::{ContentType, HandshakeKind, ServerConfig, SupportedProtocolVersion};

use super::records::{PLAIN_BYTES_MAX, Way};
use super::session::Session;
use super::{client_config, for_shard};

const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn server_config(versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    server_with(ring::default_provider(), versions)
}

fn server_with(
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let secret = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], secret)
        .unwrap();
    config.ticketer = ring::Ticketer::new().unwrap();
    config.enable_secret_extraction = true;
    config
}

fn our_config() -> Arc<rustls::ClientConfig> {
    let tls = Tls {
        insecure_skip_verify: true,
        ca_file: None,
        cert_file: None,
        key_file: None,
        server_name: None,
        min_version: TlsVersion::V1_2,
        max_version: TlsVersion::V1_3,
        location: Location {
            path: String::new(),
            line: 0,
            column: 0,
        },
    };
    for_shard(&client_config(&tls).unwrap())
}

/// A client of ours and a server, and what goes between them.
struct Pair {
    ours: Session,
    server: ServerConnection,
    /// What the server has read.
    heard: Vec<u8>,
}

impl Pair {
    /// Shakes hands.
    fn new(config: &Arc<rustls::ClientConfig>, server: ServerConfig) -> Self {
        let mut pair = Self {
            ours: Session::new(config, "localhost").unwrap(),
            server: ServerConnection::new(Arc::new(server)).unwrap(),
            heard: Vec::new(),
        };
        while !pair.ours.is_open() || pair.server.is_handshaking() {
            pair.server_gets().unwrap();
            pair.we_get(usize::MAX).unwrap();
        }
        pair
    }

    fn of(versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self::new(&our_config(), server_config(versions))
    }

    /// What the server has to send.
    fn server_says(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// In pieces of so many bytes.
    fn we_get(&mut self, piece: usize) -> Result<(), String> {
        let mut bytes = self.server_says();
        let piece = piece.min(bytes.len()).max(1);
        bytes
            .chunks_mut(piece)
            .try_for_each(|piece| self.ours.receive(piece))
    }

    fn server_gets(&mut self) -> Result<(), rustls::Error> {
        let bytes = self.ours.outgoing().to_vec();
        self.ours.sent();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            self.server.read_tls(&mut rest).unwrap();
            self.server.process_new_packets()?;
            let _ = self.server.reader().read_to_end(&mut self.heard);
        }
        Ok(())
    }

    /// What we say, as the server reads it.
    fn ask(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.ours.seal(bytes).unwrap();
        self.server_gets().unwrap();
        std::mem::take(&mut self.heard)
    }

    /// What the server says, as we read it.
    fn answer(&mut self, bytes: &[u8], piece: usize) -> Vec<u8> {
        self.server.set_buffer_limit(None);
        self.server.writer().write_all(bytes).unwrap();
        self.we_get(piece).unwrap();
        let read = self.ours.plain().to_vec();
        self.ours.consume(read.len());
        read
    }

    /// Both ways still work.
    fn talk(&mut self) {
        assert_eq!(
            self.ask(b"GET / HTTP/1.1\r\n\r\n"),
            b"GET / HTTP/1.1\r\n\r\n"
        );
        assert_eq!(
            self.answer(b"HTTP/1.1 204\r\n\r\n", 7),
            b"HTTP/1.1 204\r\n\r\n"
        );
    }
}

#[test]
fn what_one_side_says_the_other_reads_whatever_its_length_and_split() {
    let long: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
    for versions in [TLS13, TLS12] {
        let mut pair = Pair::of(versions);
        for len in [0, 1, 100, 16_383, 16_384, 16_385, 100_000] {
            assert_eq!(pair.ask(&long[..len]), &long[..len], "{len}");
            for piece in [1, 5, 1000, usize::MAX] {
                assert_eq!(pair.answer(&long[..len], piece), &long[..len], "{len}");
            }
        }
    }
}

#[test]
fn every_cipher_of_tls_1_3_is_spoken() {
    let default = ring::default_provider();
    let of_1_3 = default.cipher_suites.iter().filter(|s| s.tls13().is_some());
    let mut spoken = 0;
    for suite in of_1_3 {
        let provider = CryptoProvider {
            cipher_suites: vec![*suite],
            ..ring::default_provider()
        };
        let mut pair = Pair::new(&our_config(), server_with(provider, TLS13));
        pair.talk();
        pair.talk();
        assert!(pair.ours.is_ours(), "{suite:?}");
        spoken += 1;
    }
    assert_eq!(spoken, 3);
}

#[test]
fn tickets_are_kept_and_sessions_resumed() {
    for versions in [TLS13, TLS12] {
        let (ours, server) = (our_config(), server_config(versions));
        let mut first = Pair::new(&ours, server.clone());
        first.talk();
        assert_eq!(first.server.handshake_kind(), Some(HandshakeKind::Full));
        let mut second = Pair::new(&ours, server);
        second.talk();
        let kind = second.server.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Resumed), "{versions:?}");
    }
}

#[test]
fn keys_change_when_the_server_wants_it_and_when_they_are_used_up() {
    let mut pair = Pair::of(TLS13);
    pair.talk();
    for _ in 0..100 {
        pair.server.refresh_traffic_keys().unwrap();
        pair.talk();
    }
    pair.ours.limit_sealed(4);
    for _ in 0..20 {
        pair.talk();
    }
    let long = [b'x'; 10 * PLAIN_BYTES_MAX];
    assert_eq!(pair.ask(&long), long);
}

#[test]
fn a_server_that_only_changes_keys_is_left() {
    let mut pair = Pair::of(TLS13);
    pair.talk();
    let refused = (0..100).find_map(|_| {
        pair.server.refresh_traffic_keys().unwrap();
        pair.we_get(usize::MAX).err()
    });
    let why = refused.expect("it is refused");
    assert!(why.contains("TooManyEmptyFragments"), "{why}");
}

#[test]
fn the_end_is_understood_and_nothing_after_it_is_read() {
    let mut pair = Pair::of(TLS13);
    pair.talk();
    pair.server.writer().write_all(b"last").unwrap();
    pair.server.send_close_notify();
    let mut bytes = pair.server_says();
    bytes.extend_from_slice(b"nobody reads this");
    pair.ours.receive(&mut bytes).unwrap();
    assert_eq!(pair.ours.plain(), b"last");
}

#[test]
fn a_record_that_was_touched_is_an_error_that_the_server_is_told() {
    // Its kind, its length, its first byte, its tag.
    for (at, told) in [
        (0, "UnexpectedMessage"),
        (4, "BadRecordMac"),
        (5, "BadRecordMac"),
        (30, "BadRecordMac"),
    ] {
        let mut pair = Pair::of(TLS13);
        pair.talk();
        pair.server.writer().write_all(b"abcdefghijklmnop").unwrap();
        let mut bytes = pair.server_says();
        // A longer record would only be waited for.
        bytes[at] -= 1;
        assert!(pair.ours.receive(&mut bytes).is_err(), "{at}");
        assert!(pair.ours.plain().is_empty());
        let why = pair.server_gets().unwrap_err().to_string();
        assert!(why.contains(told), "{at}: {why}");
    }
    let mut pair = Pair::of(TLS13);
    pair.talk();
    let mut long = [23, 3, 3, 0x41, 1, 0];
    let why = pair.ours.receive(&mut long).unwrap_err();
    assert!(why.contains("excess record size"), "{why}");
}

#[test]
fn a_server_whose_certificate_is_not_trusted_is_told_so() {
    for versions in [TLS13, TLS12] {
        let provider = Arc::new(ring::default_provider());
        let trusting_nobody = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let mut pair = Pair {
            ours: Session::new(&Arc::new(trusting_nobody), "localhost").unwrap(),
            server: ServerConnection::new(Arc::new(server_config(versions))).unwrap(),
            heard: Vec::new(),
        };
        pair.server_gets().unwrap();
        let why = pair.we_get(usize::MAX).unwrap_err();
        assert!(why.contains("UnknownIssuer"), "{why}");
        let told = pair.server_gets().unwrap_err().to_string();
        assert!(told.contains("UnknownCA"), "{told}");
        // That was all.
        assert!(pair.ours.receive(&mut [22, 3, 3, 0, 0]).is_err());
        assert!(pair.ours.outgoing().is_empty());
    }
}

/// A session, and a server's way to it with which anything can be said.
fn hostile() -> (Session, Way) {
    let mut pair = Pair::of(TLS13);
    pair.talk();
    let secrets = pair.server.dangerous_extract_secrets().unwrap();
    (pair.ours, Way::new(secrets.tx).unwrap())
}

/// What we make of records of these kinds with this in them; what we read of them.
fn told(records: &[(u8, &[u8])]) -> Result<Vec<u8>, String> {
    let (mut ours, mut server) = hostile();
    let mut bytes = Vec::new();
    for (kind, content) in records {
        server
            .seal(ContentType::from(*kind), content, &mut bytes)
            .unwrap();
    }
    ours.receive(&mut bytes)?;
    Ok(ours.plain().to_vec())
}

#[test]
fn records_without_plain_text_have_an_end() {
    let ticket: &[u8] = &[4, 0, 0, 15, 0, 0, 14, 16, 1, 2, 3, 4, 1, 7, 0, 1, 9, 0, 0];
    let in_pieces: Vec<(u8, &[u8])> = ticket.chunks(1).map(|piece| (22, piece)).collect();
    let few = in_pieces.repeat(3);
    assert_eq!(told(&few).unwrap(), b"");
    // Plain text between them, and not an empty piece of it, begins the count anew.
    let with = |between: &'static [u8]| [few.clone(), vec![(23, between)], few.clone()].concat();
    assert_eq!(told(&with(b"x")).unwrap(), b"x");
    for many in [with(b""), vec![(23, b""); 100], vec![(21, &[1, 90]); 100]] {
        let error = told(&many).expect_err("it has no end");
        assert!(error.contains("TooManyEmptyFragments"), "{error}");
    }
}

#[test]
fn a_server_that_asks_for_new_keys_again_and_again_gets_one_answer() {
    let mut pair = Pair::of(TLS13);
    pair.talk();
    for _ in 0..20 {
        pair.server.refresh_traffic_keys().unwrap();
        pair.we_get(usize::MAX).unwrap();
    }
    pair.ours.seal(b"x").unwrap();
    // A record with the change, of five bytes, and one with the letter; each has a head, a kind and a tag.
    assert_eq!(
        pair.ours.outgoing().len(),
        (5 + 5 + 1 + 16) + (5 + 1 + 1 + 16)
    );
    pair.server_gets().unwrap();
    assert_eq!(pair.heard, b"x");
    pair.heard.clear();
    pair.talk();
}

/// A server that says something before the client has finished the handshake, but for the last byte of that.
fn early(says: &[u8], closes: bool) -> (Pair, u8) {
    let mut config = server_config(TLS13);
    config.send_half_rtt_data = true;
    let mut pair = Pair {
        ours: Session::new(&our_config(), "localhost").unwrap(),
        server: ServerConnection::new(Arc::new(config)).unwrap(),
        heard: Vec::new(),
    };
    pair.server_gets().unwrap();
    pair.server.writer().write_all(says).unwrap();
    if closes {
        pair.server.send_close_notify();
    }
    let mut flight = pair.server_says();
    let last = flight.pop().unwrap();
    pair.ours.receive(&mut flight).unwrap();
    (pair, last)
}

#[test]
fn a_change_of_keys_around_the_end_of_the_handshake_loses_nothing() {
    let (mut pair, last) = early(b"early", false);
    assert!(pair.ours.is_open());
    // Half a record is there: rustls goes on.
    assert_eq!(pair.ask(b"a"), b"a");
    assert!(!pair.ours.is_ours());
    pair.server.refresh_traffic_keys().unwrap();
    let mut rest = vec![last];
    rest.extend(pair.server_says());
    pair.ours.receive(&mut rest).unwrap();
    assert_eq!(pair.ours.plain(), b"early");
    pair.ours.consume(5);
    for _ in 0..3 {
        pair.talk();
    }
    assert!(pair.ours.is_ours());
}

#[test]
fn an_end_before_the_end_of_the_handshake_is_one() {
    let (mut pair, last) = early(b"early", true);
    pair.ours.receive(&mut [last]).unwrap();
    assert_eq!(pair.ours.plain(), b"early");
    pair.ours.consume(5);
    for _ in 0..3 {
        pair.ours.receive(&mut [23, 3, 3, 0, 1, 0]).unwrap();
    }
    assert_eq!(pair.ask(b"a"), b"a");
    pair.ours.receive(&mut [23, 3, 3, 0, 1, 0]).unwrap();
    assert!(pair.ours.plain().is_empty());
}

#[test]
fn what_a_server_may_not_say_is_an_error() {
    let said = |why: &str, records: &[(u8, &[u8])]| {
        let error = told(records).expect_err(why);
        assert!(error.contains(why), "{error}, and not {why}");
    };
    // A content of no kind, and of kinds that have no place here.
    said("ContentType(0x0)", &[(0, b"")]);
    said("ChangeCipherSpec", &[(20, &[1])]);
    said("ContentType(0x63)", &[(99, b"x")]);
    // Alerts: empty, too long, fatal.
    said("Alert", &[(21, b"")]);
    said("Alert", &[(21, &[2, 40, 0])]);
    said("HandshakeFailure", &[(21, &[2, 40])]);
    // Of the client's certificate: that it is wanted, and whose it is.
    said("set `tls.cert_file`", &[(21, &[2, 116])]);
    said("see `tls.cert_file`", &[(21, &[2, 48])]);
    // Messages: empty, of another kind, a request for a certificate that was not offered, longer than any.
    said("Handshake", &[(22, b"")]);
    said("ClientHello", &[(22, &[1, 0, 0, 0])]);
    said("CertificateRequest", &[(22, &[13, 0, 0, 0])]);
    said("too much", &[(22, &[4, 0xff, 0, 0])]);
    said("ServerHello", &[(22, &[2, 0, 0, 0])]);
    // A message that something else comes into.
    said("ApplicationData", &[(22, &[4, 0, 0, 9, 0]), (23, b"x")]);
    // Key updates: of another length, with another wish, with something behind them.
    said("InvalidKeyUpdate", &[(22, &[24, 0, 0, 0])]);
    said("InvalidKeyUpdate", &[(22, &[24, 0, 0, 1, 2])]);
    said("KeyUpdate", &[(22, &[24, 0, 0, 1, 0, 4])]);
    // A ticket that is none.
    said("MissingData", &[(22, &[4, 0, 0, 1, 0])]);
}

#[test]
fn what_a_server_may_say_is_taken() {
    // A warning that is none, an empty record, a ticket in three records.
    let ticket: &[u8] = &[4, 0, 0, 15, 0, 0, 14, 16, 1, 2, 3, 4, 1, 7, 0, 1, 9, 0, 0];
    let read = told(&[
        (21, &[1, 90]),
        (23, b"a"),
        (23, b""),
        (22, &ticket[..2]),
        (22, &ticket[2..10]),
        (22, &ticket[10..]),
        (23, b"b"),
    ]);
    assert_eq!(read.unwrap(), b"ab");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_handshake_that_was_touched_is_an_error_or_waited_for(
        is_new in any::<bool>(),
        touched in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        piece in 1..3000_usize,
    ) {
        let versions = if is_new { TLS13 } else { TLS12 };
        let mut pair = Pair {
            ours: Session::new(&our_config(), "localhost").unwrap(),
            server: ServerConnection::new(Arc::new(server_config(versions))).unwrap(),
            heard: Vec::new(),
        };
        pair.server_gets().unwrap();
        let mut flight = pair.server_says();
        for (at, byte) in touched {
            let len = flight.len();
            flight[at.index(len)] = byte;
        }
        // Whoever goes on after an error gets nothing but errors.
        let mut is_broken = false;
        for piece in flight.chunks_mut(piece) {
            let is_taken = pair.ours.receive(piece).is_ok();
            assert!(!(is_broken && is_taken));
            is_broken |= !is_taken;
        }
        assert!(!is_broken || pair.ours.seal(b"x").is_err());
    }

    #[test]
    fn bytes_that_are_no_records_are_errors_or_waited_for(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        messages in proptest::collection::vec((20..25_u8, proptest::collection::vec(any::<u8>(), 0..40)), 0..6),
    ) {
        let (mut ours, mut server) = hostile();
        let mut sealed = Vec::new();
        for (kind, content) in &messages {
            server.seal(ContentType::from(*kind), content, &mut sealed).unwrap();
        }
        let _ = ours.receive(&mut sealed);
        let _ = ours.receive(&mut bytes);
    }
}
