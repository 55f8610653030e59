//! The Rust plugins under `examples/plugins`, as they are committed.

use std::path::PathBuf;

use loadr_plugin_host::{CallError, Host, Instance, Kind, Limits, Plugin};

fn load(name: &str) -> Plugin {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/plugins")
        .join(name);
    Host::new().unwrap().load(&path).unwrap()
}

fn extract(
    instance: &mut Instance,
    body: &[u8],
    config: &str,
) -> Result<Option<String>, CallError> {
    let mut out = Vec::new();
    let found = instance.extract(body, &[("server", "test")], config, &mut out)?;
    Ok(found.then(|| String::from_utf8(out).unwrap()))
}

#[test]
fn order_id_is_what_its_source_says() {
    let plugin = load("order-id");
    assert_eq!(
        (plugin.name(), plugin.version(), plugin.kind()),
        ("order-id", "0.1.0", Kind::Extractor)
    );
    assert!(plugin.exports().extractor && !plugin.exports().assertion);
    let mut instance = plugin.instantiate(&Limits::default()).unwrap();
    let mut check = |body: &[u8], config: &str| extract(&mut instance, body, config).unwrap();
    assert_eq!(
        check(b"a id=ORDER-42; b", "{}").as_deref(),
        Some("ORDER-42")
    );
    let defaults = serde_json::to_string(plugin.default_config()).unwrap();
    assert_eq!(
        check(b"a id=ORDER-42; b", &defaults).as_deref(),
        Some("ORDER-42")
    );
    assert_eq!(
        check(b"<b>x</b>", r#"{"left":"<b>","right":"</b>"}"#).as_deref(),
        Some("x")
    );
    assert_eq!(
        check(b"a\"b\"c", r#"{"left":"\"","right":"\""}"#).as_deref(),
        Some("b")
    );
    assert_eq!(check(b"no order", "{}"), None);
    assert_eq!(check(b"id=no end", "{}"), None);
    assert_eq!(check(b"id=;", "{}").as_deref(), Some(""));
    assert_eq!(check(b"id=\xff;", "{}"), None);
    assert_eq!(check(b"", "{}"), None);
    assert_eq!(check("iid=ä;".as_bytes(), "{}").as_deref(), Some("ä"));
    let mut large = vec![b'i'; 256 << 10];
    large.extend_from_slice(b"id=last;");
    assert_eq!(check(&large, "{}").as_deref(), Some("last"));
}

#[test]
fn order_id_traps_on_a_config_it_cannot_read() {
    let mut instance = load("order-id").instantiate(&Limits::default()).unwrap();
    assert_eq!(
        extract(&mut instance, b"id=1;", "[").unwrap_err().kind(),
        "plugin_trap"
    );
    assert_eq!(
        extract(&mut instance, b"id=1;", "{}").unwrap().as_deref(),
        Some("1")
    );
}

/// It keeps what it has read of configurations, and not more of them than a few.
#[test]
fn order_id_follows_the_configuration_of_each_call() {
    let mut instance = load("order-id").instantiate(&Limits::default()).unwrap();
    let body = b"<0>a</><1>b</><2>c</>";
    for round in 0..3 {
        for (marker, value) in ["a", "b", "c"].into_iter().enumerate() {
            let config = format!(r#"{{"left":"<{marker}>","right":"</>"}}"#);
            let found = extract(&mut instance, body, &config).unwrap();
            assert_eq!(found.as_deref(), Some(value), "round {round}");
        }
    }
    for marker in 0..100 {
        let config = format!(r#"{{"left":"<{marker}>","right":"</>"}}"#);
        let found = extract(&mut instance, body, &config).unwrap();
        assert_eq!(found.is_some(), marker < 3, "{config}");
    }
}

#[test]
fn a_long_value_comes_back_whole_although_the_guest_frees_it() {
    let mut instance = load("order-id").instantiate(&Limits::default()).unwrap();
    for len in [1, 15, 16, 64, 1000, 100_000] {
        let value: String = ('a'..='z').cycle().take(len).collect();
        assert_eq!(
            extract(&mut instance, format!("id={value};").as_bytes(), "{}").unwrap(),
            Some(value)
        );
    }
}

#[test]
fn many_calls_leave_no_trace_in_the_guests_memory() {
    // A guest that lost a byte on each call would run into this cap.
    let limits = Limits {
        memory_bytes: 2 << 20,
        ..Limits::default()
    };
    let mut instance = load("order-id").instantiate(&limits).unwrap();
    let mut out = Vec::new();
    for _ in 0..100_000 {
        assert!(
            instance
                .extract(b"id=ORDER-42;", &[], "{}", &mut out)
                .unwrap()
        );
    }
}

#[test]
fn order_check_is_what_its_source_says() {
    let plugin = load("order-check");
    assert_eq!(
        (plugin.name(), plugin.version(), plugin.kind()),
        ("order-check", "0.1.0", Kind::Assertion)
    );
    assert!(plugin.exports().assertion && !plugin.exports().extractor);
    let mut instance = plugin.instantiate(&Limits::default()).unwrap();
    let mut check = |status: u16, body: &[u8], config: &str| {
        let mut detail = "left over".to_owned();
        let pass = instance
            .check(
                status,
                body,
                &[("server", "test")],
                12.5,
                config,
                &mut detail,
            )
            .unwrap();
        assert_eq!(pass, detail.is_empty(), "{detail}");
        detail
    };
    assert_eq!(check(200, b"an order", "{}"), "");
    assert_eq!(check(404, b"an order", "{}"), "status 404, expected 200");
    assert_eq!(check(404, b"an order", r#"{"status":404}"#), "");
    assert_eq!(check(200, b"", "{}"), "the body is empty");
    assert_eq!(check(200, b"an order", r#"{"must_contain":"order"}"#), "");
    assert_eq!(
        check(200, b"an orde", r#"{"must_contain":"order"}"#),
        "the body does not contain \"order\""
    );
    assert_eq!(check(200, b"x", r#"{"max_ms":12}"#), "slower than 12 ms");
    assert_eq!(check(200, b"x", r#"{"max_ms":13}"#), "");
    assert!(check(200, b"x", "[").starts_with("the config cannot be read: "));
}

#[test]
fn json_shape_is_what_its_source_says() {
    let plugin = load("json-shape");
    assert_eq!(
        (plugin.name(), plugin.version(), plugin.kind()),
        ("json-shape", "0.1.0", Kind::Assertion)
    );
    assert!(plugin.exports().assertion && !plugin.exports().extractor);
    let mut instance = plugin.instantiate(&Limits::default()).unwrap();
    let mut check = |body: &str, config: &str| {
        let mut detail = "left over".to_owned();
        let pass = instance
            .check(200, body.as_bytes(), &[], 12.5, config, &mut detail)
            .unwrap();
        assert_eq!(pass, detail.is_empty(), "{detail}");
        detail
    };
    let order = r#"{"fields":{"order":"string","state":["confirmed","shipped"]}}"#;
    for (body, config, detail) in [
        (r#"{"order":"7","state":"confirmed"}"#, order, ""),
        (r#"{"state":"shipped","more":[{}],"order":"\n"}"#, order, ""),
        (r#"{"state":"shipped"}"#, order, "order: missing"),
        (
            r#"{"order":7}"#,
            order,
            "order: a number, expected a string",
        ),
        (
            r#"{"order":"7","state":"lost"}"#,
            order,
            r#"state: "lost", expected one of "confirmed", "shipped""#,
        ),
        ("[]", order, "the body: an array, expected an object"),
        (
            r#"{"a":{"b":[{"c":1},{"c":1.5}]}}"#,
            r#"{"fields":{"a":{"b[]":{"c":"integer"}}}}"#,
            "a.b[1].c: a number, expected an integer",
        ),
        (
            r#"{"a":null}"#,
            r#"{"fields":{"a?":"string","b[]?":"any"}}"#,
            "",
        ),
        (
            r#"{"a":null}"#,
            r#"{"fields":{"a":"string"}}"#,
            "a: null, expected a string",
        ),
        (
            r#"{"m":[[1],[2,true]]}"#,
            r#"{"fields":{"m[][]":"number"}}"#,
            "m[1][1]: a boolean, expected a number",
        ),
        (
            r#"[{"id":1},{"id":2.0},{}]"#,
            r#"{"each":{"id":"integer"}}"#,
            "[2].id: missing",
        ),
        (
            r#"{"a":1.0,"b":true}"#,
            r#"{"fields":{"a":[1],"b":[null,true]}}"#,
            "",
        ),
        (r#"{"a":2}"#, r#"{"fields":{"a":[1]}}"#, "a: 2, expected 1"),
        (
            "{}",
            "{}",
            "the config cannot be used: it has neither `fields` (for an object) nor `each` (for an array)",
        ),
    ] {
        assert_eq!(check(body, config), detail, "{body} {config}");
    }
    for body in ["", "{", r#"{"order":"7","state":"shipped"} x"#] {
        assert!(check(body, order).starts_with("the body is not JSON: "));
    }
    let deep = "[".repeat(100_000);
    assert!(check(&format!("{{\"x\":{deep}"), order).starts_with("the body is not JSON: "));
    assert!(check("{}", r#"{"fields":{"a":"text"}}"#).contains("unknown type \"text\""));
    assert!(check("{}", r#"{"field":{}}"#).contains("unknown key `field`"));
}
