//! Deliveries over HTTP.

use std::fs;
use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use loadr_config::{Hidden, Receiver};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::tally::Tally;

/// How long connecting may take that only sees whether somebody is there.
const REACH_TIMEOUT: Duration = Duration::from_secs(1);
/// The most that is read of an answer.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// The most of it that an error repeats.
const ERROR_BYTES_MAX: usize = 200;
/// The most bytes of a file of certificates.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// Who takes deliveries.
pub(crate) struct Client {
    agent: Agent,
    url: String,
    headers: Vec<(String, String)>,
    timeout: Duration,
}

/// Why a delivery failed.
pub(crate) struct Failure {
    pub(crate) text: String,
    /// The receiver has judged it: another try would end the same.
    pub(crate) is_final: bool,
}

impl Failure {
    fn of(text: String) -> Self {
        Self {
            text,
            is_final: false,
        }
    }
}

impl Client {
    pub(crate) fn new(receiver: &Receiver) -> Result<Self, String> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // What goes to a receiver goes there and nowhere else.
            .proxy(None)
            .user_agent(concat!("loadr-fast/", env!("CARGO_PKG_VERSION")));
        if receiver.tls {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let roots = roots(receiver)?;
            let tls = TlsConfig::builder()
                .provider(TlsProvider::Rustls)
                .root_certs(roots)
                .disable_verification(receiver.insecure_skip_verify)
                .unversioned_rustls_crypto_provider(provider);
            config = config.tls_config(tls.build());
        }
        let headers = receiver.headers.iter();
        Ok(Self {
            agent: config.build().new_agent(),
            url: text(&receiver.url),
            headers: headers
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
            timeout: receiver.timeout,
        })
    }

    /// Sends a body and waits for a status below 300. The answer's body.
    pub(crate) fn post(
        &self,
        headers: &[(&str, &str)],
        body: &[u8],
        tally: &Tally,
    ) -> Result<Vec<u8>, Failure> {
        self.post_to(&self.url, headers, body, tally)
    }

    /// The same to another URL.
    pub(crate) fn post_to(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        tally: &Tally,
    ) -> Result<Vec<u8>, Failure> {
        let timeout = tally
            .time_for(self.timeout)
            .ok_or_else(|| Failure::of("there was no time left".to_owned()))?;
        let mut request = self.agent.post(url);
        let own = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        for (name, value) in headers.iter().copied().chain(own) {
            request = request.header(name, value);
        }
        let sent = request
            .config()
            .timeout_global(Some(timeout))
            .build()
            .send(body);
        let mut response = sent.map_err(|error| Failure::of(error.to_string()))?;
        let status = response.status().as_u16();
        let mut answer = Vec::new();
        let reader = response.body_mut().as_reader();
        let read = reader.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
        if status < 300 {
            return match read {
                Ok(_) => Ok(answer),
                Err(error) => Err(Failure::of(error.to_string())),
            };
        }
        let said = String::from_utf8_lossy(&answer);
        let said: String = said
            .trim()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let said = &said[..said.floor_char_boundary(ERROR_BYTES_MAX)];
        Err(Failure {
            text: format!("it answered {status}: {said}"),
            // Too many requests are not what was wrong with this one.
            is_final: (400..500).contains(&status) && status != 429,
        })
    }
}

/// Texts of a plan are UTF-8.
pub(crate) fn text(hidden: &Hidden) -> String {
    String::from_utf8_lossy(hidden.bytes()).into_owned()
}

fn roots(receiver: &Receiver) -> Result<RootCerts, String> {
    if let Some(path) = &receiver.ca_file {
        let certificates = certificates(path)?;
        if certificates.is_empty() {
            return Err(format!("{} holds no certificate", path.display()));
        }
        return Ok(RootCerts::new_with_certs(&certificates));
    }
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() && !receiver.insecure_skip_verify {
        return Err(
            "the system has no root certificates: install ca-certificates, or set `ca_file`"
                .to_owned(),
        );
    }
    let certificates: Vec<Certificate<'static>> = found
        .certs
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    Ok(RootCerts::new_with_certs(&certificates))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let fail = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    let mut pem = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| fail(&error))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(fail(&error)),
        }
    }
    Ok(certificates)
}

/// Whether somebody is there to connect to.
pub(crate) fn reach(receiver: &Receiver) -> Result<(), String> {
    let addresses = (receiver.host.as_str(), receiver.port)
        .to_socket_addrs()
        .map_err(|error| format!("cannot resolve `{}`: {error}", receiver.host))?;
    let mut last = "it has no address".to_owned();
    for address in addresses.take(4) {
        match TcpStream::connect_timeout(&address, REACH_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = format!("cannot connect to {address}: {error}"),
        }
    }
    Err(last)
}
