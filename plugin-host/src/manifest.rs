//! `plugin.toml`: what a package says about its plugin. Bytes from outside go in, a checked [`Manifest`] or one sentence
//! comes out; nothing here touches the filesystem.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The longest `plugin.toml` that is read, in bytes.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 64 << 10;

/// The longest plugin name, in bytes. The name is also the name of a directory.
const NAME_BYTES_MAX: usize = 64;

/// How deep tables and arrays may nest under `[config]`.
const CONFIG_DEPTH_MAX: usize = 32;

/// What a plugin does, by its own word. A plugin that exports both interfaces serves both whichever it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Takes a value out of a response.
    Extractor,
    /// Judges a response.
    Assertion,
}

impl Kind {
    /// `extractor` or `assertion`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Extractor => "extractor",
            Self::Assertion => "assertion",
        }
    }

    /// Reads a kind; the error is the sentence that says why not.
    pub(crate) fn parse(kind: &str) -> Result<Self, String> {
        match kind {
            "extractor" => Ok(Self::Extractor),
            "assertion" => Ok(Self::Assertion),
            "protocol" | "output" | "service" => Err(format!(
                "kind \"{kind}\" is not supported: such plugins are native code, which would have all the privileges of \
                 this process, and loadr-fast runs sandboxed components only; the kinds are \"extractor\" and \"assertion\""
            )),
            other => Err(format!(
                "kind {:?} is unknown; write \"extractor\" or \"assertion\"",
                crate::error::short(other)
            )),
        }
    }
}

/// What a plugin looks at, so that the rest need not be handed to it. Each header costs two allocations in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    /// Whether it reads the body; if not, it gets an empty one.
    pub body: bool,
    /// Which headers it gets.
    pub headers: ReadHeaders,
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            body: true,
            headers: ReadHeaders::All,
        }
    }
}

/// The response headers a plugin gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadHeaders {
    /// All of them.
    All,
    /// Those of these names, which are lower-case.
    Only(Vec<String>),
}

/// A checked manifest.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) kind: Kind,
    pub(crate) entry: String,
    pub(crate) description: Option<String>,
    pub(crate) reads: Reads,
    pub(crate) config: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    plugin: Section,
    #[serde(default)]
    config: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    name: String,
    version: String,
    kind: String,
    r#type: String,
    entry: String,
    description: Option<String>,
    #[serde(default)]
    reads: ReadsSection,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ReadsSection {
    body: Option<bool>,
    headers: Option<Vec<String>>,
}

/// Reads a manifest. The error is one sentence.
pub(crate) fn parse(text: &str) -> Result<Manifest, String> {
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            1 + text[..span.start.min(text.len())].matches('\n').count()
        });
        format!("line {line}: {}", crate::error::short(error.message()))
    })?;
    let section = file.plugin;
    check_name(&section.name)?;
    check_type(&section.r#type)?;
    let kind = Kind::parse(&section.kind)?;
    if section.version.trim().is_empty() {
        return Err("version is empty; write one, such as \"0.1.0\"".into());
    }
    let headers = match section.reads.headers {
        None => ReadHeaders::All,
        Some(names) => ReadHeaders::Only(
            names
                .into_iter()
                .map(check_header_name)
                .collect::<Result<_, _>>()?,
        ),
    };
    let reads = Reads {
        body: section.reads.body.unwrap_or(true),
        headers,
    };
    let config = file
        .config
        .into_iter()
        .map(|(key, value)| json(value, &key, 0).map(|value| (key, value)))
        .collect::<Result<_, _>>()?;
    Ok(Manifest {
        name: section.name,
        version: section.version,
        kind,
        entry: section.entry,
        description: section.description,
        reads,
        config,
    })
}

/// Whether a plugin may be called so. A name is also a directory's, so nothing in it may mean something to a path.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty()
        || name.len() > NAME_BYTES_MAX
        || !name.bytes().all(legal)
        || name.starts_with('-')
    {
        return Err(format!(
            "the plugin's name {:?} will not do; use 1 to {NAME_BYTES_MAX} letters, digits, `-` and `_`, not starting with `-`",
            crate::error::short(name)
        ));
    }
    Ok(())
}

fn check_type(kind_of_code: &str) -> Result<(), String> {
    match kind_of_code {
        "wasm" => Ok(()),
        "native" => Err("type \"native\" is not supported: native code has all the privileges of this process, and \
             loadr-fast runs sandboxed components only; build the plugin as a WebAssembly component and write \
             type = \"wasm\""
            .into()),
        other => Err(format!("type {:?} is unknown; write type = \"wasm\"", crate::error::short(other))),
    }
}

fn check_header_name(mut name: String) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    if name.is_empty() || !name.bytes().all(legal) {
        return Err(format!(
            "reads.headers: {:?} is not the name of a header",
            crate::error::short(&name)
        ));
    }
    name.make_ascii_lowercase();
    Ok(name)
}

/// The JSON that a TOML value becomes. JSON has no dates and no infinite numbers.
fn json(value: toml::Value, key: &str, depth: usize) -> Result<Value, String> {
    if depth > CONFIG_DEPTH_MAX {
        return Err(format!(
            "config.{key}: nested deeper than {CONFIG_DEPTH_MAX} levels"
        ));
    }
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| {
                format!(
                    "config.{key}: {number} cannot be written in JSON, which the plugin is given"
                )
            })?,
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Datetime(date) => {
            return Err(format!(
                "config.{key}: a date cannot be written in JSON; write it as text: \"{date}\""
            ));
        }
        toml::Value::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| json(item, key, depth + 1))
                .collect::<Result<_, _>>()?,
        ),
        toml::Value::Table(table) => Value::Object(
            table
                .into_iter()
                .map(|(name, item)| {
                    json(item, &format!("{key}.{name}"), depth + 1).map(|item| (name, item))
                })
                .collect::<Result<_, _>>()?,
        ),
    })
}
