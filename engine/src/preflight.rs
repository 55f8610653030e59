//! What can be found out before the run: names, reachable targets, the machine's limits.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use loadr_config::{Diagnostic, Location, Origin, Program};
use loadr_ring::{Ring, Settings};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::ClientConfig;

use crate::tls::client_config;

/// How long a target may take to accept the first connection.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);
/// What the executor's own rings may lock, in bytes.
const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

/// What a shard opens for its executor and its ring (six of them), with room for what opens and closes.
const FILES_OF_SHARD: u64 = 8;
/// What else the process has open: about ten, and the files of sysfs that say where a core is.
const FILES_OF_PROCESS: u64 = 64;

/// Makes sure that this machine can run so many shards of the program.
///
/// # Errors
/// The first thing that is missing, with the command that mends it.
pub(crate) fn check_machine(program: &Program, shards: usize) -> Result<(), String> {
    let (memlock, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)
        .map_err(|error| format!("cannot read the limit on locked memory: {error}"))?;
    if memlock < MEMLOCK_BYTES_MIN && setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard).is_err()
        || hard < MEMLOCK_BYTES_MIN
    {
        return Err(format!(
            "the limit on locked memory is {} KiB, and io_uring needs 512 KiB: raise it with `ulimit -l 65536`, \
             or in /etc/security/limits.conf",
            memlock / 1024
        ));
    }
    // A shard's table of sockets may be as large as the number of descriptors allowed.
    let users: u64 = program
        .scenarios
        .iter()
        .map(|s| u64::from(s.executor.vus_max()))
        .sum();
    // Each branch of a parallel step has connections of its own.
    let lanes: u64 = program
        .scenarios
        .iter()
        .map(|s| u64::from(s.executor.vus_max()) * u64::from(s.lanes))
        .sum();
    let connections = (lanes * program.origins.len().max(1) as u64).div_ceil(shards.max(1) as u64);
    let table = Settings::for_connections(u32::try_from(connections).unwrap_or(u32::MAX)).sockets;
    let sockets = u64::from(table).max(FILES_OF_PROCESS + FILES_OF_SHARD * shards as u64);
    let (files, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(|error| format!("cannot read the limit on open files: {error}"))?;
    if files < sockets {
        if hard < sockets {
            return Err(format!(
                "{users} virtual users on {shards} cores need {sockets} open files, and {hard} are allowed: raise the \
                 limit with `ulimit -n {sockets}`"
            ));
        }
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
            .map_err(|error| format!("cannot raise the limit on open files to {hard}: {error}"))?;
    }
    Ring::new(&Settings::for_connections(1))
        .map(drop)
        .map_err(|error| error.to_string())
}

/// What TLS connections need, when the plan has any.
///
/// # Errors
/// A setting or file that cannot be used, where the plan has it.
pub(crate) fn tls(program: &Program) -> Result<Option<Arc<ClientConfig>>, Vec<Diagnostic>> {
    if !program.origins.iter().any(|origin| origin.tls) {
        return Ok(None);
    }
    let settings = &program.tls;
    match client_config(settings) {
        Ok(config) => Ok(Some(Arc::new(config))),
        Err(message) => Err(vec![diagnostic(
            &settings.location,
            message,
            "see `defaults.http.tls`",
        )]),
    }
}

/// The address of every origin, each tried once.
///
/// # Errors
/// Every origin that has no address or takes no connection, where the plan first names it.
pub(crate) fn resolve(program: &Program) -> Result<Arc<[SocketAddr]>, Vec<Diagnostic>> {
    let mut addresses = Vec::new();
    let mut problems = Vec::new();
    for origin in &program.origins {
        match reach(origin, program) {
            Ok(address) => addresses.push(address),
            Err((message, help)) => problems.push(diagnostic(&origin.location, message, help)),
        }
    }
    if problems.is_empty() {
        Ok(addresses.into())
    } else {
        Err(problems)
    }
}

fn reach(origin: &Origin, program: &Program) -> Result<SocketAddr, (String, &'static str)> {
    let candidates = program
        .route(&origin.host, origin.port)
        .to_socket_addrs()
        .map_err(|error| {
            (
                format!("cannot resolve the host `{}`: {error}", origin.host),
                "check the name, or use an address",
            )
        })?;
    let mut last = None;
    for address in candidates {
        match TcpStream::connect_timeout(&address, REACH_TIMEOUT) {
            Ok(_) => return Ok(address),
            Err(error) => last = Some((address, error)),
        }
    }
    Err(match last {
        Some((address, error)) => (
            format!(
                "cannot connect to {} ({address}): {error}",
                origin.authority
            ),
            "start the target, or correct its host and port",
        ),
        None => (
            format!("the host `{}` has no address", origin.host),
            "check the name",
        ),
    })
}

fn diagnostic(location: &Location, message: String, help: &str) -> Diagnostic {
    Diagnostic {
        path: location.path.clone(),
        line: location.line,
        column: location.column,
        message,
        help: Some(help.to_owned()),
    }
}
