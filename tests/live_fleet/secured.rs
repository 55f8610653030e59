//! Buses that let in only who they know, as NATS has it: TLS, users, tokens, credentials.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::common::target;
use crate::fleet::{Fleet, plan};
use crate::nats::Nats;

/// Runs a fleet of two over the bus; what its first segment said, and its exit code.
fn run(bus: &[&str]) -> (Option<i32>, String) {
    let target = target();
    let text = plan(
        &target,
        "",
        "executor: shared-iterations, vus: 2, iterations: 10",
    );
    let mut fleet = Fleet::new(bus, &text);
    fleet.run_all(2, &["--bus-wait", "20s"]);
    let second = fleet.left(1);
    let first = fleet.left(0);
    assert_eq!(
        first.code, second.code,
        "{}\n{}",
        first.stderr, second.stderr
    );
    if first.code == Some(0) {
        assert_eq!(first.count("http_reqs") + second.count("http_reqs"), 10);
    }
    (first.code, first.stderr)
}

#[test]
fn tls_is_spoken_with_a_server_that_is_known_and_with_no_other() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let nats = Nats::with("TLS", |folder| {
        fs::write(folder.join("cert.pem"), &certificate).unwrap();
        fs::write(folder.join("key.pem"), &key).unwrap();
        let at = folder.display();
        format!(
            "tls {{ cert_file: \"{at}/cert.pem\", key_file: \"{at}/key.pem\" }}\n\
             authorization {{ user: me, password: \"p@ss word\" }}\n"
        )
    });
    let Some(nats) = nats else { return };
    let port = nats.address.port();
    let ca = nats.folder.path().join("cert.pem");
    let ca = ca.to_str().unwrap();
    let url = format!("tls://me:p%40ss%20word@localhost:{port}");
    let (code, said) = run(&["--bus", &url, "--bus-ca", ca]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("p%40ss") && !said.contains("p@ss"), "{said}");

    let (code, said) = run(&["--bus", &url]);
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot connect to the bus"), "{said}");
    let wrong = format!("tls://me:guess@localhost:{port}");
    let (code, said) = run(&["--bus", &wrong, "--bus-ca", ca]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("authorization") && !said.contains("guess"),
        "{said}"
    );
    let (code, said) = run(&["--bus", &url, "--bus-ca", "/nowhere/ca.pem"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("--bus-ca /nowhere/ca.pem"), "{said}");
}

#[test]
fn a_token_in_the_url_is_shown_to_the_server() {
    let Some(nats) = Nats::with("a token", |_| {
        "authorization { token: \"s3cr3t\" }\n".to_owned()
    }) else {
        return;
    };
    let (code, said) = run(&["--bus", &format!("nats://s3cr3t@{}", nats.address)]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["--bus", &nats.url()]);
    assert_eq!(code, Some(1));
    assert!(said.contains("authorization"), "{said}");
}

/// A claim, signed as NATS signs them.
fn signed(by: &KeyPair, subject: &KeyPair, name: &str, claim: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = encode(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let body = encode(&json!({
        "jti": name, "iat": 1_700_000_000, "iss": by.public_key(), "sub": subject.public_key(), "name": name, "nats": claim,
    }));
    let text = format!("{head}.{body}");
    let signature = URL_SAFE_NO_PAD.encode(by.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

#[test]
fn a_creds_file_is_as_good_as_nats_makes_it() {
    let (operator, account, user) = (
        KeyPair::new_operator(),
        KeyPair::new_account(),
        KeyPair::new_user(),
    );
    let limits = json!({ "subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1, "wildcards": true });
    let account_jwt = signed(
        &operator,
        &account,
        "load",
        &json!({ "type": "account", "version": 2, "limits": limits }),
    );
    // It may speak on fleets' subjects and no others.
    let fleets = json!({ "allow": ["loadr.>"] });
    let claim = json!({ "type": "user", "version": 2, "pub": fleets, "sub": fleets, "subs": -1, "data": -1, "payload": -1 });
    let creds = |jwt: &str, seed: &str| {
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n\
             ------END USER NKEY SEED------\n"
        )
    };
    let operator_jwt = signed(
        &operator,
        &operator,
        "op",
        &json!({ "type": "operator", "version": 2 }),
    );
    let nats = Nats::with("credentials", |_| {
        format!(
            "operator: \"{operator_jwt}\"\nresolver: MEMORY\nresolver_preload: {{ {}: \"{account_jwt}\" }}\n",
            account.public_key()
        )
    });
    let Some(nats) = nats else { return };
    let good = nats.folder.path().join("good.creds");
    fs::write(
        &good,
        creds(
            &signed(&account, &user, "segment", &claim),
            &user.seed().unwrap(),
        ),
    )
    .unwrap();
    let (code, said) = run(&["--bus", &nats.url(), "--bus-creds", good.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");

    // Signed by nobody whom the server knows.
    let forged = nats.folder.path().join("forged.creds");
    let stranger = KeyPair::new_account();
    fs::write(
        &forged,
        creds(
            &signed(&stranger, &user, "segment", &claim),
            &user.seed().unwrap(),
        ),
    )
    .unwrap();
    let (code, said) = run(&[
        "--bus",
        &nats.url(),
        "--bus-creds",
        forged.to_str().unwrap(),
    ]);
    assert_eq!(code, Some(1));
    assert!(said.contains("authorization"), "{said}");
    let none = nats.folder.path().join("none.creds");
    let (code, said) = run(&["--bus", &nats.url(), "--bus-creds", none.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(said.contains("none.creds"), "{said}");
}
