//! Certificates, and what a TLS server is made of with them.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a failed unwrap is a failed test; each test file uses a part"
)]

use std::fs;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// An authority, a server's and a client's certificate, as files.
pub struct Pki {
    folder: tempfile::TempDir,
    server: rcgen::Certificate,
    server_key: KeyPair,
    roots: RootCertStore,
}

impl Pki {
    pub fn new() -> Self {
        Self::of("tests")
    }

    /// Of an authority with this name.
    pub fn of(authority: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, authority);
        params.distinguished_name = name;
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let signed = |names: &[&str]| {
            let key = KeyPair::generate().unwrap();
            let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
            let params = CertificateParams::new(names).unwrap();
            (params.signed_by(&key, &authority).unwrap(), key)
        };
        let (server, server_key) = signed(&["shop.test", "127.0.0.1"]);
        let (client, client_key) = signed(&["client.test"]);
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        write("ca.pem", authority.pem());
        write("client.pem", client.pem());
        write("client.key", client_key.serialize_pem());
        write("empty.pem", String::new());
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        Self {
            folder,
            server,
            server_key,
            roots,
        }
    }

    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// What a plan's `tls` has to trust the server.
    pub fn trust(&self) -> String {
        format!("ca_file: \"{}\"", self.file("ca.pem"))
    }

    /// What a plan's `tls` has to show the client's certificate.
    pub fn show(&self) -> String {
        format!(
            "cert_file: \"{}\", key_file: \"{}\"",
            self.file("client.pem"),
            self.file("client.key")
        )
    }

    /// A server of `shop.test` and 127.0.0.1; `wants_client`: one that demands a certificate of this authority.
    pub fn server(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        wants_client: bool,
    ) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap();
        let builder = if wants_client {
            let roots = Arc::new(self.roots.clone());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.server_key.serialize_der()));
        let mut config = builder
            .with_single_cert(vec![self.server.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}
