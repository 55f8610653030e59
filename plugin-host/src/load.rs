//! From a path to a checked plugin. Nothing in the file is trusted: sizes are looked at before bytes are read, the manifest
//! cannot point out of its package, and guest code runs under the same limits as later.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Component as PathPart, Path, PathBuf};
use std::sync::Arc;

use serde_json::Map;
use wasmtime::component::{ComponentExportIndex, ComponentType, InstancePre, Lift};

use crate::compiled::Keeping;
use crate::error::{CallError, LoadError};
use crate::exports;
use crate::host::HostInner;
use crate::instance::{LOAD_TIMEOUT, start};
use crate::limits::Limits;
use crate::manifest::{self, Kind, MANIFEST_BYTES_MAX, Manifest, Reads};
use crate::plugin::Plugin;
use crate::sandbox::{self, Guest};

/// The largest component that is read, in bytes. A Python guest has 18 MB.
pub(crate) const COMPONENT_BYTES_MAX: u64 = 128 << 20;

/// How much memory a plugin may have while it is loaded, in bytes: no run's limits are known yet.
const LOAD_MEMORY_BYTES: u64 = 256 << 20;

/// `info` of the interface.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Info {
    name: String,
    version: String,
    kind: String,
    description: String,
}

/// Loads a `.wasm` file or a package directory.
pub(crate) fn load(
    host: &Arc<HostInner>,
    path: &Path,
    keeping: &Keeping<'_>,
) -> Result<Plugin, LoadError> {
    let meta = fs::metadata(path)
        .map_err(|error| LoadError::new(path, format!("cannot be read: {error}")))?;
    let (manifest, entry) = if meta.is_dir() {
        let manifest = package(path)?;
        let entry = entry(path, &manifest.entry)?;
        (Some(manifest), entry)
    } else {
        (None, path.to_owned())
    };
    let bytes = read(&entry, COMPONENT_BYTES_MAX, "a component")?;
    check_preamble(&bytes, &entry)?;
    let code = keeping.component(&host.engine, &bytes).map_err(|error| {
        let why = crate::error::short(&error.root_cause().to_string());
        LoadError::new(&entry, format!("is not a valid component: {why}; build it again, or copy it again if it was cut short"))
    })?;
    let functions = exports::find(&host.engine, &code.component, &entry)?;
    let linked = sandbox::link(&host.engine, &code.component)
        .map_err(|message| LoadError::new(&entry, message))?;
    let info = describe(host, &linked, &functions.describe)
        .map_err(|error| LoadError::new(&entry, failed_to_describe(&error)))?;
    let manifest = match manifest {
        Some(manifest) => agree(manifest, &info, &path.join(MANIFEST))?,
        None => made_up(info)
            .map_err(|message| LoadError::new(&entry, format!("describe(): {message}")))?,
    };
    let exported = match manifest.kind {
        Kind::Extractor => functions.extract.is_some(),
        Kind::Assertion => functions.check.is_some(),
    };
    if !exported {
        let kind = manifest.kind.as_str();
        return Err(LoadError::new(
            &entry,
            format!(
                "calls itself kind \"{kind}\", but does not export loadr:plugin/{kind}; correct the kind or export it"
            ),
        ));
    }
    Ok(Plugin::new(
        Arc::clone(host),
        manifest,
        linked,
        functions,
        code.origin,
        *blake3::hash(&bytes).as_bytes(),
    ))
}

pub(crate) const MANIFEST: &str = "plugin.toml";

/// Reads and checks a package's manifest.
pub(crate) fn package(dir: &Path) -> Result<Manifest, LoadError> {
    let path = dir.join(MANIFEST);
    if !path.exists() {
        return Err(LoadError::new(
            dir,
            "is a directory without a plugin.toml; name a package directory or a .wasm file",
        ));
    }
    let bytes = read(&path, MANIFEST_BYTES_MAX, "a manifest")?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| LoadError::new(&path, "is not UTF-8 text"))?;
    manifest::parse(text).map_err(|message| LoadError::new(&path, message))
}

/// The component's path, which must be inside the package, links followed.
fn entry(dir: &Path, entry: &str) -> Result<PathBuf, LoadError> {
    let manifest = dir.join(MANIFEST);
    let outside = || {
        LoadError::new(
            &manifest,
            format!(
                "entry {entry:?} leads out of the package; name a file inside it, such as \"plugin.wasm\""
            ),
        )
    };
    if !is_inside(entry) {
        return Err(outside());
    }
    let missing = |error| {
        LoadError::new(
            &manifest,
            format!("entry {entry:?} cannot be read: {error}"),
        )
    };
    let root = dir.canonicalize().map_err(missing)?;
    let file = root.join(entry).canonicalize().map_err(missing)?;
    if file.starts_with(&root) {
        Ok(file)
    } else {
        Err(outside())
    }
}

/// Whether a manifest's `entry` stays in the package, as far as its text goes.
pub(crate) fn is_inside(entry: &str) -> bool {
    let plain = |part| matches!(part, PathPart::Normal(_) | PathPart::CurDir);
    !entry.is_empty() && Path::new(entry).components().all(plain)
}

/// The bytes of a regular file of at most `max` bytes. A pipe or device is refused before it is read.
pub(crate) fn read(path: &Path, max: u64, what: &str) -> Result<Vec<u8>, LoadError> {
    let failed = |error| LoadError::new(path, format!("cannot be read: {error}"));
    let meta = fs::metadata(path).map_err(failed)?;
    if !meta.is_file() {
        return Err(LoadError::new(
            path,
            format!("is not a regular file; name {what}"),
        ));
    }
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that a file that grew meanwhile is seen as too large.
    File::open(path)
        .and_then(|file| file.take(max + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > max {
        let size = meta.len().max(bytes.len() as u64);
        return Err(LoadError::new(
            path,
            format!("is too large for {what}: {size} bytes, at most {max} are read"),
        ));
    }
    Ok(bytes)
}

/// Tells a core module and what is no WebAssembly at all from a component, which the compiler's own message does less
/// clearly.
fn check_preamble(bytes: &[u8], path: &Path) -> Result<(), LoadError> {
    match bytes {
        [b'\0', b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(LoadError::new(
            path,
            "is a core WebAssembly module, not a component; build it for the target wasm32-wasip2, or turn it into a \
             component with `wasm-tools component new`",
        )),
        [] => Err(LoadError::new(path, "is empty; build the component again")),
        _ => Err(LoadError::new(
            path,
            "is not a WebAssembly component; name the .wasm file that the build made",
        )),
    }
}

/// Runs the guest's start functions and `describe()`.
fn describe(
    host: &HostInner,
    linked: &InstancePre<Guest>,
    function: &ComponentExportIndex,
) -> Result<Info, CallError> {
    let limits = Limits {
        call_timeout: LOAD_TIMEOUT,
        memory_bytes: LOAD_MEMORY_BYTES,
    };
    let run = || {
        let (mut store, instance) = start(
            linked,
            Guest::new(host.ticker.user(), &limits),
            LOAD_TIMEOUT,
        )?;
        let describe = instance.get_typed_func::<(), (Info,)>(&mut store, function)?;
        let (info,) = describe.call(&mut store, ())?;
        Ok(info)
    };
    run().map_err(|error: wasmtime::Error| CallError::from_engine(&error))
}

fn failed_to_describe(error: &CallError) -> String {
    match error {
        CallError::Timeout => {
            format!(
                "did not start and describe itself within {} ms; its start functions or describe() do not end",
                LOAD_TIMEOUT.as_millis()
            )
        }
        CallError::Trap(message) => format!("failed while starting or in describe(): {message}"),
    }
}

/// Holds the manifest against what the component says of itself.
fn agree(mut manifest: Manifest, info: &Info, path: &Path) -> Result<Manifest, LoadError> {
    let pairs = [
        ("name", manifest.name.as_str(), info.name.as_str()),
        ("version", &manifest.version, &info.version),
        ("kind", manifest.kind.as_str(), &info.kind),
    ];
    for (key, written, described) in pairs {
        if written != described {
            let described = crate::error::short(described);
            return Err(LoadError::new(
                path,
                format!(
                    "says {key} = {written:?}, but the component's describe() says {described:?}; make them agree"
                ),
            ));
        }
    }
    if manifest.description.is_none() {
        manifest.description = Some(crate::error::short(&info.description));
    }
    Ok(manifest)
}

/// The manifest of a bare component.
fn made_up(info: Info) -> Result<Manifest, String> {
    manifest::check_name(&info.name)?;
    Ok(Manifest {
        kind: Kind::parse(&info.kind)?,
        name: info.name,
        version: crate::error::short(&info.version),
        entry: String::new(),
        description: Some(crate::error::short(&info.description)),
        reads: Reads::default(),
        config: Map::new(),
    })
}
