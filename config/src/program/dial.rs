//! How connections are made: where to, by which way, over which TLS.

use std::path::PathBuf;

use super::Location;
use crate::secret::Hidden;

/// A scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether it is reached over TLS.
    pub tls: bool,
    /// Host name or address literal, without the brackets of an IPv6 literal.
    pub host: String,
    /// The port, the scheme's default filled in.
    pub port: u16,
    /// What the `Host` header says.
    pub authority: String,
    /// Where the first request to it is, for "cannot connect" errors.
    pub location: Location,
}

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its name or address, without the brackets of an IPv6 literal.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Both, for messages.
    pub authority: String,
    /// The value of `Proxy-Authorization`, where the plan has a user.
    pub authorization: Option<Hidden>,
    /// Where the plan has it.
    pub location: Location,
}

/// Where a host is reached instead of where its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Lower case.
    pub host: String,
    /// Only this port of it.
    pub port: Option<u16>,
    /// A name or an address.
    pub to_host: String,
    /// The port as it is when absent.
    pub to_port: Option<u16>,
}

/// How TLS connections are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Whether any certificate is taken.
    pub insecure_skip_verify: bool,
    /// The roots to trust, in PEM form; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, in PEM form; there with `key_file` or not at all.
    pub cert_file: Option<PathBuf>,
    /// Its private key, in PEM form.
    pub key_file: Option<PathBuf>,
    /// What servers must be, and SNI says; the URL's host when absent.
    pub server_name: Option<String>,
    /// The oldest version to speak.
    pub min_version: TlsVersion,
    /// The newest version to speak; not older than `min_version`.
    pub max_version: TlsVersion,
    /// Where the plan has the settings, or would.
    pub location: Location,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}
