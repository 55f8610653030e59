//! What requests are made of beside constants: secrets, data sources, made values, files, multipart bodies.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;

use loadr_config::{Compiled, DataMode, DataPick, Failure, OnEof, Program, Template};
use support::{compile, errors, good, lines, options, plan_with_request, shown};
use tempfile::TempDir;

/// A folder with these files in it.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn compile_in(folder: &TempDir, plan: &str) -> Result<Compiled, Failure> {
    loadr_config::compile(plan, &folder.path().join("plan.yaml"), &options())
}

fn good_in(folder: &TempDir, plan: &str) -> Program {
    match compile_in(folder, plan) {
        Ok(compiled) => compiled.program,
        Err(failure) => panic!("{failure}\nin the plan:\n{plan}"),
    }
}

fn errors_in(folder: &TempDir, plan: &str) -> Vec<String> {
    lines(&compile_in(folder, plan).unwrap_err().diagnostics)
}

/// The plan around the keys of one request with these lines above it. `url` is there.
fn plan(above: &str, keys: &str) -> String {
    format!(
        "{above}\n{}",
        plan_with_request(&format!("url: http://h/\n{keys}"))
    )
}

fn body(program: &Program) -> String {
    shown(program.requests[0].body.as_ref().unwrap(), &program.vars)
}

/// The whole of a template that is known before the run.
fn sent(template: &Template) -> String {
    String::from_utf8(template.constant().unwrap().concat()).unwrap()
}

#[test]
fn secrets_are_sent_and_kept_out_of_names_and_debug_prints() {
    let folder = folder(&[("key.txt", b"f1le\n"), ("crlf.txt", b" a b \r\n")]);
    let plan = plan(
        "secrets: { token: { env: TOKEN }, key: { file: key.txt }, odd: { file: crlf.txt } }",
        "name: \"with ${secrets.token}\"\nheaders: { authorization: 'Bearer ${secrets.token}' }\nparams: { k: '${secrets.odd}' }\n\
         body: { json: { a: '${secrets.key}', b: 'x${secrets.token}' } }\nchecks: [ { type: body_contains, value: '${secrets.key}' } ]",
    );
    let program = good_in(&folder, &plan);
    let request = &program.requests[0];
    assert_eq!(request.name, "with ${secrets.token}");
    assert_eq!(program.checks, ["body contains `${secrets.key}`"]);
    let head = sent(&request.head);
    assert!(
        head.starts_with("POST /?k=%20a%20b%20 HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nauthorization: Bearer t0k\r\n"), "{head}");
    assert_eq!(
        sent(request.body.as_ref().unwrap()),
        r#"{"a":"f1le","b":"xt0k"}"#
    );
    assert!(head.contains("\r\ncontent-length: 23\r\n"), "{head}");
    let debug = format!("{program:?} {:?}", options());
    for secret in ["t0k", "f1le", "116, 48, 107", "102, 49, 108, 101"] {
        assert!(!debug.contains(secret), "{secret} is in the debug print");
    }
    assert_eq!(
        program.secrets.redact("got f1le for t0k"),
        "got *** for ***"
    );
}

#[test]
fn a_plans_hash_does_not_depend_on_its_secrets() {
    let with = |content: &[u8]| {
        let folder = folder(&[("key.txt", content)]);
        let plan = plan(
            "secrets: { key: { file: key.txt } }",
            "body: '${secrets.key}'",
        );
        good_in(&folder, &plan).plan_hash
    };
    assert_eq!(with(b"one"), with(b"another"));
}

#[test]
fn a_secret_that_cannot_be_read_or_used_is_located_and_not_shown() {
    let folder = folder(&[
        ("bad.txt", b"hush\xff\xfe"),
        ("empty.txt", b"\n"),
        ("lines.txt", b"hush\nhush"),
        ("large.txt", &[b'h'; 70_000]),
    ]);
    fs::create_dir(folder.path().join("dir")).unwrap();
    let with = |secret: &str, keys: &str| {
        errors_in(&folder, &plan(&format!("secrets: {{ s: {secret} }}"), keys))
    };
    for (secret, keys, message) in [
        (
            "{ env: TOKNE }",
            "",
            "1:22: secrets.s.env: the environment variable `TOKNE` is not set | did you mean `TOKEN`?",
        ),
        (
            "{ env: EMPTY }",
            "",
            "1:12: secrets.s: the secret `s` is empty",
        ),
        (
            "{ file: gone.txt }",
            "",
            "1:23: secrets.s.file: the secret's file `gone.txt` cannot be read: No such file or directory (os error 2)",
        ),
        (
            "{ file: dir }",
            "",
            "1:23: secrets.s.file: the secret's file `dir` is a directory, not a file",
        ),
        (
            "{ file: /dev/null }",
            "",
            "1:23: secrets.s.file: the secret's file `/dev/null` is not a regular file",
        ),
        (
            "{ file: bad.txt }",
            "",
            "1:23: secrets.s.file: the secret's file `bad.txt` is not UTF-8",
        ),
        (
            "{ file: large.txt }",
            "",
            "1:23: secrets.s.file: the secret's file `large.txt` is larger than 64 KiB",
        ),
        (
            "{ file: empty.txt }",
            "",
            "1:12: secrets.s: the secret `s` is empty",
        ),
        (
            "{ env: TOKEN, file: x }",
            "",
            "1:29: secrets.s.file: a secret has one key; this one has `env` and `file` | begin a new item with `- `, or check the indentation",
        ),
        (
            "{}",
            "",
            "1:15: secrets.s: a secret needs a key: `env` and `file`",
        ),
        (
            "{ file: lines.txt }",
            "headers: { a: 'x${secrets.s}' }",
            "12:25: scenarios.s.flow[0].request.headers.a: the secret has a control character, which a header value cannot have",
        ),
        (
            "{ env: TOKEN }",
            "body: '${secrets.x}'",
            "12:17: scenarios.s.flow[0].request.body: there is no secret `x` | secrets are listed under `secrets` at the top level",
        ),
        (
            "{ env: TOKEN }",
            "tags: { a: '${secrets.s}' }",
            "12:22: scenarios.s.flow[0].request.tags.a: a tag's value cannot hold a secret: `${secrets.s}` | it is shown in results and messages: `${env.NAME}` can be",
        ),
    ] {
        assert_eq!(with(secret, keys), [message], "{secret} {keys}");
    }
    for url in [
        "http://${secrets.s}/",
        "http://h${secrets.s}",
        "${secrets.s}",
    ] {
        let plan = format!(
            "secrets: {{ s: {{ env: TOKEN }} }}\n{}",
            plan_with_request(&format!("url: '{url}'"))
        );
        let found = errors_in(&folder, &plan);
        assert!(
            found.len() == 1 && found[0].contains("the URL's host cannot be a secret"),
            "{found:?}"
        );
    }
}

#[test]
fn sources_are_read_with_all_their_keys() {
    let folder = folder(&[
        ("users.csv", b"user;pass word\nann;1\nbob;2\n"),
        ("skus.json", br#"[ { "sku": "W-1", "qty": 2 } ]"#),
    ]);
    let program = good_in(
        &folder,
        &plan(
            "data:\n  users: { type: csv, path: users.csv, delimiter: ';', mode: per_vu, pick: shuffle, on_eof: stop }\n  \
             skus: { type: json, path: ./skus.json, pick: random }\n  \
             more: { type: inline, rows: [ { a: 1.10, b: x, c: null }, { b: [1, two], a: 0x1F, c: true } ] }",
            "headers: { x: '${data.users.user}' }\nbody: { json: { p: '${data.users.pass word}', s: '${data.skus.sku}', q: '${data.skus.qty}', q2: 'q${data.skus.qty}', a: '${data.more.a}' } }",
        ),
    );
    let [users, skus, more] = program.data.as_slice() else {
        panic!()
    };
    assert_eq!(
        (users.mode, users.pick, users.on_eof, users.table.rows()),
        (DataMode::PerVu, DataPick::Shuffle, OnEof::Stop, 2)
    );
    assert_eq!(
        (skus.mode, skus.pick, skus.on_eof),
        (DataMode::Shared, DataPick::Random, OnEof::Recycle)
    );
    assert_eq!(more.table.cell(0, 0).bytes, b"1.10");
    assert_eq!(more.table.cell(1, 0).bytes, b"31");
    assert_eq!(more.table.cell(1, 1).bytes, br#"[1,"two"]"#);
    assert!(more.table.cell(0, 2).is_json && !more.table.cell(0, 1).is_json);
    assert_eq!(
        body(&program),
        r#"{"p":"<data 0.1:Json>","s":<data 1.0:JsonValue>,"q":<data 1.1:JsonValue>,"q2":"q<data 1.1:Json>","a":<data 2.0:JsonValue>}"#
    );
}

#[test]
fn a_source_that_cannot_be_read_is_located() {
    let folder = folder(&[
        ("a.csv", b"a,b\n1,2\n3\n"),
        ("bytes.csv", b"a\n\xff\n"),
        ("empty.csv", b""),
        ("twice.csv", b"a,a\n1,2\n"),
        ("map.json", b"{}"),
        ("cut.json", b"[{\"a\": 1},\n{\"a\""),
    ]);
    fs::create_dir(folder.path().join("dir")).unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let looked = |name: &str| {
        format!(
            "it was looked for as `{}`",
            folder.path().join(name).display()
        )
    };
    for (source, message) in [
        (
            "type: csv, path: gone.csv",
            format!("1:31: data.d.path: the data file `gone.csv` cannot be read: No such file or directory (os error 2) | {}", looked("gone.csv")),
        ),
        (
            "type: csv, path: dir",
            format!("1:31: data.d.path: the data file `dir` is a directory, not a file | {}", looked("dir")),
        ),
        (
            "type: json, path: pipe",
            format!("1:32: data.d.path: the data file `pipe` is not a regular file | {}", looked("pipe")),
        ),
        (
            "type: csv, path: a.csv",
            "1:31: data.d.path: `a.csv`: line 3 has 1 column, the first row has 2 | a cell with the delimiter or a line break in it stands in double quotes".to_owned(),
        ),
        ("type: csv, path: bytes.csv", "1:31: data.d.path: `bytes.csv`: line 2 is not UTF-8 | save it as UTF-8".to_owned()),
        ("type: csv, path: empty.csv", "1:31: data.d.path: `empty.csv` is empty".to_owned()),
        ("type: csv, path: twice.csv", "1:31: data.d.path: `twice.csv` has the column `a` twice | columns are found by their names".to_owned()),
        (
            "type: csv, path: a.csv, delimiter: ab",
            "1:49: data.d.delimiter: `ab` is not a delimiter | write one ASCII character, such as `,`, `;` or `\"\\t\"`".to_owned(),
        ),
        (
            "type: json, path: map.json",
            "1:32: data.d.path: `map.json`: line 1, column 2: expected a list of objects, found an object | write `[ { \"column\": \"value\" }, … ]`".to_owned(),
        ),
        (
            "type: json, path: cut.json",
            "1:32: data.d.path: `cut.json`: line 2, column 4: EOF while parsing an object | write `[ { \"column\": \"value\" }, … ]`".to_owned(),
        ),
        ("type: inline, rows: []", "1:34: data.d.rows: the list is empty".to_owned()),
        ("type: inline, rows: [ 1 ]", "1:36: data.d.rows[0]: expected a mapping, found `1`".to_owned()),
        ("type: csv", "1:12: data.d: a `csv` source needs `path` | The file, from the plan's folder".to_owned()),
        ("path: a.csv", "1:12: data.d: a data source needs `type` | there are `csv`, `json` and `inline`".to_owned()),
        ("type: cvs, path: a.csv", "1:20: data.d.type: unknown type `cvs` | did you mean `csv`?".to_owned()),
        ("type: json, path: map.json, mode: all", "1:48: data.d.mode: unknown value `all` | there are `shared` and `per_vu`".to_owned()),
    ] {
        // The source is used: that must not be an error of its own.
        let plan = plan(&format!("data: {{ d: {{ {source} }} }}"), "body: '${data.d.a}'");
        let found = errors_in(&folder, &plan);
        assert!(found.contains(&message), "{source}: {found:#?}");
        assert!(found.iter().all(|line| line.starts_with("1:")), "{found:#?}");
    }
    let many = ["{ a: 1 }"; 3].join(", ");
    let plan = plan(
        &format!("data: {{ 'a.b': {{ type: inline, rows: [ {many} ] }} }}"),
        "",
    );
    assert_eq!(
        errors_in(&folder, &plan),
        [
            "1:9: data[\"a.b\"]: `a.b` is not a name for a data source | letters, digits, `_` and `-` make one"
        ]
    );
}

#[test]
fn cells_that_do_not_exist_are_located_with_what_does() {
    let above = "data: { users: { type: inline, rows: [ { name: ann, age: 7 }, { name: bob } ] } }";
    for (slot, message) in [
        (
            "data.user.name",
            "there is no data source `user` | did you mean `users`?",
        ),
        (
            "data.orders.name",
            "there is no data source `orders` | sources are listed under `data` at the top level",
        ),
        (
            "data.users.nmae",
            "`users` has no column `nmae` | did you mean `name`?",
        ),
        (
            "data.users.email",
            "`users` has no column `email` | there are `name`, `age`",
        ),
        (
            "data.users",
            "`${data.users}` names no column | write `${data.SOURCE.COLUMN}`",
        ),
        (
            "data.users.age",
            "row 2 of `users` has no `age` | every row needs it, if only as `\"\"`",
        ),
    ] {
        let found = errors(&plan(above, &format!("body: '${{{slot}}}'")));
        let message = format!("12:17: scenarios.s.flow[0].request.body: {message}");
        assert_eq!(found, [message], "{slot}");
    }
    let found = errors(&plan(above, "tags: { a: '${data.users.name}' }"));
    assert!(
        found[0].contains("cannot depend on what is known only in the run"),
        "{found:?}"
    );
}

#[test]
fn a_csv_with_a_quote_that_may_be_open_is_a_warning() {
    let folder = folder(&[("a.csv", b"a,b\n1,\"2\n3,4\n")]);
    let plan = plan("data: { d: { type: csv, path: a.csv } }", "");
    let warnings = lines(&compile_in(&folder, &plan).unwrap().warnings);
    assert_eq!(
        warnings,
        [
            "1:31: data.d.path: `a.csv` has an odd number of double quotes: one of them may not be closed | a quote inside a quoted cell is written twice"
        ]
    );
}

#[test]
fn made_values_can_stand_wherever_others_can() {
    let program = good(&plan_with_request(
        "name: 'n ${uuid}'\nurl: 'http://h/${random.hex(4)}?at=${now.iso}'\nparams: { n: '${counter}' }\nheaders: { x: '${uuid}' }\n\
         body: { json: { id: '${uuid}', n: '${counter}', r: '${random.int(1, 6)}', t: '${now.unix_ms}', at: '${now.iso}', s: '${random.alnum(3)}!' } }",
    ))
    .program;
    let request = &program.requests[0];
    assert_eq!(request.name, "n ${uuid}");
    let head = shown(&request.head, &[]);
    assert!(
        head.starts_with("POST /<Hex(4):Url>?at=<Iso:Url>&n=<Counter:Component> HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nx: <Uuid:Header>\r\n"), "{head}");
    assert_eq!(
        body(&program),
        r#"{"id":"<Uuid:Json>","n":<Counter:None>,"r":<Int { least: 1, most: 6 }:None>,"t":<UnixMs:None>,"at":"<Iso:Json>","s":"<Alnum(3):Json>!"}"#
    );
}

#[test]
fn wrong_placeholders_are_located() {
    for (slot, message) in [
        (
            "random.int(6,1)",
            "`${random.int(6,1)}` begins above its end | write `${random.int(1,6)}`",
        ),
        (
            "random.hex",
            "`${random.hex}` needs a number in parentheses | write how many: `${random.hex(16)}`",
        ),
        (
            "uuid.v4",
            "unknown placeholder `${uuid.v4}` | there is `${uuid}`",
        ),
        (
            "rnadom.hex(3)",
            "unknown namespace `rnadom` in `${rnadom.hex(3)}` | did you mean `random`?",
        ),
    ] {
        let found = errors(&plan_with_request(&format!(
            "url: http://h/\nbody: 'a${{{slot}}}'"
        )));
        let message = format!("11:17: scenarios.s.flow[0].request.body: {message}");
        assert_eq!(found, [message], "{slot}");
    }
    let found = errors(&plan_with_request(
        "url: http://h/\nextract: [ { type: header, name: uuid, header: a } ]",
    ));
    assert!(
        found[0].contains("`${uuid}` has a meaning of its own"),
        "{found:?}"
    );
}

#[test]
fn a_files_content_is_the_body_as_it_is_and_is_read_once() {
    let content = b"\x00\xff ${vu} $${\r\n";
    let folder = folder(&[("payload.bin", content), ("empty", b"")]);
    let two = plan("", "body: { file: '${vars.dir}/payload.bin' }").replace("shop: 7", "dir: .")
        + "      - request: { url: 'http://h/', method: PUT, body: { file: ./payload.bin }, headers: { content-type: a/b } }\n\
           \x20     - request: { url: 'http://h/', body: { file: empty } }\n";
    let program = good_in(&folder, &two);
    let [first, second, empty] = program.requests.as_slice() else {
        panic!()
    };
    let bytes =
        |template: &Option<Template>| template.as_ref().unwrap().constant().unwrap().concat();
    assert_eq!(bytes(&first.body), content);
    assert_eq!(
        (first.method.as_str(), bytes(&second.body)),
        ("POST", content.to_vec())
    );
    assert!(sent(&first.head).ends_with("\r\ncontent-length: 14\r\n\r\n"));
    assert!(!sent(&first.head).contains("content-type"));
    assert!(sent(&second.head).contains("\r\ncontent-type: a/b\r\n"));
    assert!(empty.body.is_none() && sent(&empty.head).contains("\r\ncontent-length: 0\r\n"));
    let found = errors_in(&folder, &plan("", "body: { file: gone.bin }"));
    assert!(
        found.len() == 1 && found[0].starts_with("12:25: scenarios.s.flow[0].request.body.file: the file `gone.bin` cannot be read: No such file"),
        "{found:?}"
    );
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_read() {
    let folder = folder(&[]);
    let file = fs::File::create(folder.path().join("large")).unwrap();
    // Sparse: it takes no room on the disk.
    file.set_len(300 << 20).unwrap();
    let found = errors_in(&folder, &plan("", "body: { file: large }"));
    assert!(
        found[0].contains("the file `large` is larger than 256 MiB"),
        "{found:?}"
    );
    let found = errors_in(
        &folder,
        &plan("data: { d: { type: csv, path: large } }", ""),
    );
    assert!(
        found[0].contains("the data file `large` is larger than 256 MiB"),
        "{found:?}"
    );
    file.set_len(200 << 20).unwrap();
    fs::File::create(folder.path().join("second"))
        .unwrap()
        .set_len(200 << 20)
        .unwrap();
    let found = errors_in(
        &folder,
        &plan(
            "",
            "body: { multipart: [ { name: a, file: large }, { name: b, file: second } ] }",
        ),
    );
    assert!(
        found[0].contains("the plan's requests come to more than 256 MiB"),
        "{found:?}"
    );
}

#[test]
fn multipart_names_are_escaped_and_the_length_is_right() {
    let folder = folder(&[("b.bin", b"\r\n--\x00")]);
    let program = good_in(
        &folder,
        &plan(
            "secrets: { k: { env: TOKEN } }\ndefaults: { http: { headers: { content-type: application/json } } }",
            "body:\n  multipart:\n    - { name: \"a\\\"\\r\\nb\", value: 'x ${secrets.k}' }\n    - { name: meta, value: '{}', content_type: application/json }\n    \
             - { name: f, file: b.bin }\n    - { name: g, file: b.bin, filename: \"ü\\\".png\", content_type: image/png }",
        ),
    );
    let request = &program.requests[0];
    let head = sent(&request.head);
    let boundary = head
        .split("boundary=")
        .nth(1)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap()
        .to_owned();
    let expected = [
        "--B\r\ncontent-disposition: form-data; name=\"a%22%0D%0Ab\"\r\n\r\nx t0k\r\n",
        "--B\r\ncontent-disposition: form-data; name=\"meta\"\r\ncontent-type: application/json\r\n\r\n{}\r\n",
        "--B\r\ncontent-disposition: form-data; name=\"f\"; filename=\"b.bin\"\r\ncontent-type: application/octet-stream\r\n\r\n\r\n--\0\r\n",
        "--B\r\ncontent-disposition: form-data; name=\"g\"; filename=\"ü%22.png\"\r\ncontent-type: image/png\r\n\r\n\r\n--\0\r\n",
        "--B--\r\n",
    ]
    .concat()
    .replace("--B", &format!("--{boundary}"));
    assert_eq!(sent(request.body.as_ref().unwrap()), expected);
    assert!(
        head.contains(&format!("\r\ncontent-length: {}\r\n", expected.len())),
        "{head}"
    );
    assert!(!head.contains("application/json"), "{head}");
    assert!(boundary.len() <= 70 && head.starts_with("POST "), "{head}");
}

#[test]
fn parts_with_mistakes_are_located() {
    let found = errors(&plan(
        "",
        "body:\n  multipart:\n    - { name: a }\n    - { name: a, value: b, file: c }\n    - { value: b }\n    - { name: '${vars.x}', value: b }\n    \
         - { name: a, value: b, content_type: \"a\\nb\" }\n    - { name: a, file: gone }\n    - { name: a, valeu: b, file: gone }",
    ));
    let at = "scenarios.s.flow[0].request.body.multipart";
    for (place, message) in [
        ("14:17", "[0]: a part needs `value` or `file`"),
        (
            "15:17",
            "[1]: a part has either `value` or `file`, not both",
        ),
        ("16:17", "[2]: a part needs `name`"),
        ("17:25", "[3].name: there is no variable `x`"),
        (
            "18:52",
            "[4].content_type: a header value cannot have the control character",
        ),
        ("19:34", "[5].file: the file `gone` cannot be read"),
        (
            "20:28",
            "[6].valeu: unknown key `valeu` | did you mean `value`?",
        ),
    ] {
        let start = format!("{place}: {at}{message}");
        assert!(
            found.iter().any(|line| line.starts_with(&start)),
            "{start} is not in {found:#?}"
        );
    }
    let found = errors(&plan("", "body: { multipart: [] }"));
    assert!(found[0].contains("the list is empty"), "{found:?}");
}

#[test]
fn a_content_type_by_hand_hides_the_boundary_and_is_a_warning() {
    let keys = "headers: { Content-Type: multipart/form-data }\nbody: { multipart: [ { name: a, value: b } ] }";
    let compiled = compile(&plan("", keys)).unwrap();
    assert_eq!(
        lines(&compiled.warnings),
        [
            "12:22: scenarios.s.flow[0].request.headers.Content-Type: `content-type` is set, so the target is not told the parts' boundary | leave it out: the body sets it"
        ]
    );
}

#[test]
fn variables_can_hold_the_environment_and_no_secret() {
    let above = "secrets: { k: { env: TOKEN } }";
    let with = |value: &str| {
        plan(above, "body: '${vars.shop}'").replace("shop: 7", &format!("shop: '{value}'"))
    };
    assert_eq!(
        sent(
            good(&with("at ${env.HOST}")).program.requests[0]
                .body
                .as_ref()
                .unwrap()
        ),
        "at env.test"
    );
    let found = errors(&with("${secrets.k}"));
    assert!(
        found[0].contains("`${secrets.k}` cannot be used in `variables`"),
        "{found:?}"
    );
    let found = errors(&with("${env.HOTS}"));
    assert!(
        found[0].contains("`HOTS` is not set | did you mean `HOST`?"),
        "{found:?}"
    );
}

#[test]
fn paths_are_relative_to_the_plans_folder() {
    let folder = folder(&[("users.csv", b"a\n1\n")]);
    let plan = plan(
        "data: { d: { type: csv, path: users.csv } }",
        "body: '${data.d.a}'",
    );
    assert_eq!(good_in(&folder, &plan).data[0].table.rows(), 1);
    let elsewhere = loadr_config::compile(&plan, Path::new("/plans/plan.yaml"), &options());
    let found = lines(&elsewhere.unwrap_err().diagnostics);
    assert!(found[0].contains("`/plans/users.csv`"), "{found:?}");
}
