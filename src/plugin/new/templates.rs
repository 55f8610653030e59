//! What each project consists of. The files are in `src/plugin/templates`; `{{…}}` in them is replaced.

use super::{Kind, Language};

/// A file of a project.
pub(super) struct File {
    /// Relative to the project.
    pub(super) path: String,
    pub(super) text: String,
    pub(super) is_script: bool,
}

/// `Source("a", "b")`: the template `b` becomes the file `a`.
struct Source(&'static str, &'static str);

macro_rules! template {
    ($path:literal) => {
        include_str!(concat!("../templates/", $path))
    };
}

const WIT: &str = include_str!("../../../plugin-host/wit/loadr.wit");

/// All files of a project.
pub(super) fn project(name: &str, language: Language, kind: Kind) -> Vec<File> {
    let mut sources = vec![
        Source("plugin.toml", template!("common/plugin.toml")),
        Source("README.md", template!("common/README.md")),
        Source("body.txt", template!("common/body.txt")),
        Source("wit/loadr.wit", WIT),
        Source(
            "plan.yaml",
            match kind {
                Kind::Extractor => template!("common/extractor.yaml"),
                Kind::Assertion => template!("common/assertion.yaml"),
            },
        ),
    ];
    sources.extend(match language {
        Language::Rust => rust(kind),
        Language::Python => python(kind),
        Language::Javascript => javascript(kind),
        Language::Go => go(kind),
    });
    let module = name.replace('-', "_");
    let (contract, config) = match kind {
        Kind::Extractor => (
            "An extractor: the text between `left` and `right` in the body, or nothing where one of them is missing.",
            "left = \"id=\"\nright = \";\"",
        ),
        Kind::Assertion => (
            "An assertion: the status is 200 and the body contains `text`.",
            "text = \"ORDER-\"",
        ),
    };
    let (world, description) = match kind {
        Kind::Extractor => (
            "loadr-plugin",
            "Takes the text between two others out of the body",
        ),
        Kind::Assertion => (
            "loadr-assertion-plugin",
            "Checks the status and what the body contains",
        ),
    };
    let build = format!("```bash\n{}\n```", build_steps(language).join("\n"));
    let fill = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{module}}", &module)
            .replace("{{kind}}", kind.name())
            .replace("{{world}}", world)
            .replace("{{description}}", description)
            .replace("{{contract}}", contract)
            .replace("{{config}}", config)
            .replace("{{build}}", &build)
    };
    sources
        .into_iter()
        .map(|Source(path, text)| File {
            path: path.to_owned(),
            text: fill(text),
            is_script: path.ends_with(".sh"),
        })
        .chain([File {
            path: ".gitignore".to_owned(),
            text: gitignore(language).to_owned(),
            is_script: false,
        }])
        .collect()
}

/// What makes the component, the tools included.
pub(super) fn build_steps(language: Language) -> &'static [&'static str] {
    match language {
        Language::Rust => &["rustup target add wasm32-wasip2", "./build.sh"],
        Language::Python => &["pip install -r requirements.txt", "./build.sh"],
        Language::Javascript => &["npm install", "./build.sh"],
        Language::Go => &["go mod tidy", "npm install", "./build.sh"],
    }
}

fn gitignore(language: Language) -> &'static str {
    match language {
        Language::Rust => "target/\n",
        Language::Python => "__pycache__/\n",
        Language::Javascript => "node_modules\n",
        Language::Go => "node_modules\ncore.wasm\n",
    }
}

fn rust(kind: Kind) -> Vec<Source> {
    vec![
        Source("Cargo.toml", template!("rust/Cargo.toml.txt")),
        Source("build.sh", template!("rust/build.sh")),
        Source(
            "src/lib.rs",
            match kind {
                Kind::Extractor => template!("rust/extractor.rs.txt"),
                Kind::Assertion => template!("rust/assertion.rs.txt"),
            },
        ),
    ]
}

fn python(kind: Kind) -> Vec<Source> {
    vec![
        Source("requirements.txt", template!("python/requirements.txt")),
        Source("build.sh", template!("python/build.sh")),
        Source(
            "app.py",
            match kind {
                Kind::Extractor => template!("python/extractor.py"),
                Kind::Assertion => template!("python/assertion.py"),
            },
        ),
    ]
}

fn javascript(kind: Kind) -> Vec<Source> {
    vec![
        Source("package.json", template!("javascript/package.json")),
        Source("build.sh", template!("javascript/build.sh")),
        Source(
            "plugin.js",
            match kind {
                Kind::Extractor => template!("javascript/extractor.js"),
                Kind::Assertion => template!("javascript/assertion.js"),
            },
        ),
    ]
}

/// The files marked so in their first line are what `wit-bindgen go` makes of the interface.
fn go(kind: Kind) -> Vec<Source> {
    let mut sources = vec![
        Source("go.mod", template!("go/go.mod.txt")),
        Source("package.json", template!("go/package.json")),
        Source("component.mjs", template!("go/component.mjs")),
        Source("build.sh", template!("go/build.sh")),
        Source("heap/heap.go", template!("go/heap.go")),
        Source(
            "loadr_plugin_meta/wit_bindings.go",
            template!("go/meta_bindings.go"),
        ),
        Source("export_loadr_plugin_meta/meta.go", template!("go/meta.go")),
    ];
    match kind {
        Kind::Extractor => sources.extend([
            Source("wit_exports.go", template!("go/extractor/wit_exports.go")),
            Source(
                "export_loadr_plugin_extractor/plugin.go",
                template!("go/extractor/plugin.go"),
            ),
        ]),
        Kind::Assertion => sources.extend([
            Source("wit_exports.go", template!("go/assertion/wit_exports.go")),
            Source(
                "loadr_plugin_assertion/wit_bindings.go",
                template!("go/assertion/bindings.go"),
            ),
            Source(
                "export_loadr_plugin_assertion/plugin.go",
                template!("go/assertion/plugin.go"),
            ),
        ]),
    }
    sources
}
