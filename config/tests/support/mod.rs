//! What the tests share: compiling text, and errors as lines.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;
use std::sync::LazyLock;

use loadr_config::{Compiled, Diagnostic, Failure, Options, Piece, Source, Template};

/// The options of most tests: an environment with one variable.
pub(crate) fn options() -> Options {
    let environment = [("HOST", "env.test"), ("TOKEN", "t0k"), ("EMPTY", "")];
    Options {
        environment: environment
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        ..Options::default()
    }
}

pub(crate) fn compile(text: &str) -> Result<Compiled, Failure> {
    loadr_config::compile(text, Path::new("/plans/plan.yaml"), &options())
}

static SCHEMA: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&loadr_config::schema()).unwrap());

/// Where a plan does not fit the JSON Schema of plans, and why.
pub(crate) fn schema_errors(text: &str) -> Vec<String> {
    let document: serde_json::Value = serde_yaml::from_str(text).unwrap();
    SCHEMA
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect()
}

/// The compiled plan; the errors when there are any are the panic's message.
pub(crate) fn good(text: &str) -> Compiled {
    match compile(text) {
        Ok(compiled) => {
            let misfits = schema_errors(text);
            assert!(misfits.is_empty(), "{misfits:#?}\nin the plan:\n{text}");
            compiled
        }
        Err(failure) => panic!("{failure}\nin the plan:\n{text}"),
    }
}

/// The errors, each as it is printed but on one line.
pub(crate) fn errors(text: &str) -> Vec<String> {
    match compile(text) {
        Ok(_) => Vec::new(),
        Err(failure) => lines(&failure.diagnostics),
    }
}

pub(crate) fn warnings(text: &str) -> Vec<String> {
    lines(&good(text).warnings)
}

pub(crate) fn lines(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics
        .iter()
        .map(|d| d.to_string().replace("\n  help: ", " | "))
        .collect()
}

/// A sound plan around the keys of one request, which are indented here. They begin on line 10 in column 11.
pub(crate) fn plan_with_request(keys: &str) -> String {
    let mut plan = String::from(
        "plugins: [ { name: judge } ]\nvariables: { shop: 7, list: [1, two] }\n\
         scenarios:\n  s:\n    executor: constant-vus\n    vus: 1\n    duration: 1s\n    flow:\n      - request:\n",
    );
    for line in keys.lines() {
        plan.push_str("          ");
        plan.push_str(line);
        plan.push('\n');
    }
    plan
}

/// A template with its holes named, as a test can compare it.
pub(crate) fn shown(template: &Template, vars: &[String]) -> String {
    template
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Literal(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Piece::BodyLength => "<length>".to_owned(),
            Piece::Secret(_) => "<secret>".to_owned(),
            Piece::File(bytes) => format!("<file of {}>", bytes.len()),
            Piece::Value { source, escape } => {
                let name = match source {
                    Source::Var(id) => vars[id.at()].clone(),
                    Source::Vu => "vu".to_owned(),
                    Source::Iteration => "iteration".to_owned(),
                    Source::Data { source, column } => format!("data {}.{column}", source.0),
                    Source::Made(made) => format!("{made:?}"),
                };
                format!("<{name}:{escape:?}>")
            }
        })
        .collect()
}
