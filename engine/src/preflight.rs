//! What can be found out before the run: names, reachable targets, the machine's limits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use loadr_config::{Diagnostic, Location, Program};
use loadr_ring::{Ring, Settings};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::ClientConfig;

use crate::addresses::{Addresses, Resolve, can_dial, look_up, route};
use crate::schedule::Slice;
use crate::tls::client_config;

/// How long a target may take to accept the first connection.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);
/// What the executor's own rings may lock, in bytes.
const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

/// Which processors are online.
const CPUS_ONLINE: &str = "/sys/devices/system/cpu/online";

/// What a shard opens for its executor and its ring (six of them), with room for what opens and closes.
const FILES_OF_SHARD: u64 = 8;
/// What else the process has open: about ten, and the files of sysfs that say where a core is.
const FILES_OF_PROCESS: u64 = 64;

/// Makes sure that this machine can run so many shards of its slice of the program.
///
/// # Errors
/// The first thing that is missing, with the command that mends it.
pub(crate) fn check_machine(program: &Program, slice: Slice, shards: usize) -> Result<(), String> {
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
    // Read to pin shards, by a library that ends the process where it cannot.
    std::fs::read_to_string(CPUS_ONLINE).map_err(|error| {
        format!(
            "cannot read {CPUS_ONLINE}, which says what cores there are: {error}: mount /sys here"
        )
    })?;
    // A shard's table of sockets may be as large as the number of descriptors allowed.
    let users: u64 = program
        .scenarios
        .iter()
        .map(|s| u64::from(slice.share(s.executor.vus_max())))
        .sum();
    // Each branch of a parallel step has connections of its own.
    let lanes: u64 = program
        .scenarios
        .iter()
        .map(|s| u64::from(slice.share(s.executor.vus_max())) * u64::from(s.lanes))
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

/// What is wrong with the plan's TLS settings and the files that they name, as a run would find before it begins; nothing
/// where no request goes over TLS.
#[must_use]
pub fn tls_problems(program: &Program) -> Vec<Diagnostic> {
    tls(program).err().unwrap_or_default()
}

/// The address of every origin, each tried once.
///
/// # Errors
/// Every origin that has no address or takes no connection, where the plan first names it.
pub(crate) fn resolve(
    program: &Program,
    resolver: &dyn Resolve,
) -> Result<Addresses, Vec<Diagnostic>> {
    let mut addresses = Vec::new();
    let mut problems = Vec::new();
    problems.extend(source_ips(program));
    if let Some(proxy) = &program.proxy {
        let place = (proxy.host.as_str(), proxy.port);
        match reach(place, &proxy.authority, program, resolver) {
            Ok(address) => addresses.resize(program.origins.len(), address),
            Err((message, help)) => {
                let message = format!("the proxy: {message}");
                problems.push(diagnostic(&proxy.location, message, help));
            }
        }
    } else {
        for origin in &program.origins {
            let place = (origin.host.as_str(), origin.port);
            match reach(place, &origin.authority, program, resolver) {
                Ok(address) => addresses.push(address),
                Err((message, help)) => problems.push(diagnostic(&origin.location, message, help)),
            }
        }
    }
    if problems.is_empty() {
        Ok(addresses.into())
    } else {
        Err(problems)
    }
}

/// What of `engine.source_ips` is no address of this machine.
fn source_ips(program: &Program) -> Option<Diagnostic> {
    let location = program.engine.source_ips_at.as_ref()?;
    for ip in &program.engine.source_ips {
        if let Err(error) = UdpSocket::bind((*ip, 0)) {
            let message = format!("cannot dial from {ip}: {error}");
            let help = format!(
                "it must be an address of this machine: `ip address add {ip} dev INTERFACE`, or \
                 `ip route add local {ip} dev lo` where packets to it are led here"
            );
            return Some(diagnostic(location, message, &help));
        }
    }
    None
}

fn reach(
    (host, port): (&str, u16),
    authority: &str,
    program: &Program,
    resolver: &dyn Resolve,
) -> Result<SocketAddr, (String, &'static str)> {
    let (host, port) = route(program, host, port);
    let candidates = look_up(resolver, host, port).map_err(|error| {
        (
            format!("cannot resolve the host `{host}`: {error}"),
            "check the name, or use an address",
        )
    })?;
    let mut last = None;
    let has_any = !candidates.is_empty();
    let sources = &program.engine.source_ips;
    for address in candidates.into_iter().filter(|a| can_dial(sources, *a)) {
        match TcpStream::connect_timeout(&address, REACH_TIMEOUT) {
            Ok(_) => return Ok(address),
            Err(error) => last = Some((address, error)),
        }
    }
    Err(match last {
        Some((address, error)) => (
            format!("cannot connect to {authority} ({address}): {error}"),
            "start the target, or correct its host and port",
        ),
        None if has_any => (
            format!(
                "none of `engine.source_ips` reaches the host `{host}`: its addresses are of the other family"
            ),
            "dial from addresses of its family too",
        ),
        None => (
            format!("the host `{host}` has no address"),
            "check the name",
        ),
    })
}

/// Makes sure that as many local ports can be had as the plan can have connections open to one address.
///
/// # Errors
/// The first address for which they do not suffice, with what mends it.
pub(crate) fn check_ports(
    program: &Program,
    slice: Slice,
    addresses: &[SocketAddr],
) -> Result<(), String> {
    let read = |name: &str| {
        let path = format!("/proc/sys/net/ipv4/{name}");
        std::fs::read_to_string(path).unwrap_or_default()
    };
    // Where it cannot be read, what is missing shows in the run.
    let Some(range) = port_range(&read("ip_local_port_range")) else {
        return Ok(());
    };
    let ports = usable_ports(range, &read("ip_local_reserved_ports"));
    for (address, connections) in connections(program, slice, addresses) {
        let sources = &program.engine.source_ips;
        let sources = sources
            .iter()
            .filter(|ip| ip.is_ipv4() == address.is_ipv4());
        let sources = sources.count().max(1) as u64;
        if connections > ports * sources {
            let from = if sources == 1 {
                "one address".to_owned()
            } else {
                format!("each of {sources} addresses")
            };
            return Err(format!(
                "the plan can have {connections} connections open to {address}, and from {from} there are {ports} local \
                 ports: dial from more addresses with `engine.source_ips` or `--source-ips`, or widen the range with \
                 `sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`"
            ));
        }
    }
    Ok(())
}

/// By address: the most connections that can be open to it. A virtual user keeps one to each origin that its scenario
/// names, and so does each of its branches.
fn connections(
    program: &Program,
    slice: Slice,
    addresses: &[SocketAddr],
) -> BTreeMap<SocketAddr, u64> {
    let pairs: BTreeSet<_> = program
        .requests
        .iter()
        .map(|request| (request.scenario, request.origin))
        .collect();
    let mut connections = BTreeMap::new();
    for (scenario, origin) in pairs {
        let scenario = &program.scenarios[scenario.at()];
        let users = u64::from(slice.share(scenario.executor.vus_max())) * u64::from(scenario.lanes);
        if let Some(address) = addresses.get(origin.at()) {
            *connections.entry(*address).or_default() += users;
        }
    }
    connections
}

/// The first and the last port of `ip_local_port_range`.
fn port_range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first <= last => Some((first, last)),
        _ => None,
    }
}

/// How many ports of the range are not set aside by `ip_local_reserved_ports` (such as `8080,9000-9010`).
fn usable_ports((first, last): (u16, u16), reserved: &str) -> u64 {
    let within = |text: &str| -> Option<u64> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let (from, to) = (from.parse::<u16>().ok()?, to.parse::<u16>().ok()?);
        let (from, to) = (from.max(first), to.min(last));
        Some(u64::from(to) + 1)
            .filter(|_| from <= to)
            .map(|end| end - u64::from(from))
    };
    let reserved: u64 = reserved.trim().split(',').filter_map(within).sum();
    (u64::from(last - first) + 1).saturating_sub(reserved)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_are_set_aside_are_none_to_dial_from() {
        assert_eq!(port_range("32768\t60999\n"), Some((32768, 60999)));
        assert_eq!(port_range(""), None);
        assert_eq!(port_range("9 8"), None);
        assert_eq!(usable_ports((32768, 60999), "\n"), 28232);
        assert_eq!(usable_ports((1000, 1009), "1,1000-1003,1009-2000,5000"), 5);
        assert_eq!(usable_ports((1000, 1009), "1-65535"), 0);
    }

    #[test]
    fn a_user_counts_for_each_origin_of_its_scenario_and_for_each_of_its_branches() {
        let plan = "
scenarios:
  a: { executor: constant-vus, vus: 10, duration: 1s, flow: [ { request: { url: 'http://one:1/' } }, { request: { url: 'http://one:1/b' } }, { request: { url: 'http://two:2/' } } ] }
  b: { executor: constant-vus, vus: 5, duration: 1s, flow: [ { parallel: { branches: [ [ { request: { url: 'http://one:1/' } } ], [ { request: { url: 'http://one:1/' } } ] ] } } ] }
";
        let options = loadr_config::Options::default();
        let file = std::path::Path::new("plan.yaml");
        let program = loadr_config::compile(plan, file, &options).unwrap().program;
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let apart = connections(&program, Slice::of(None), &[address(1), address(2)]);
        assert_eq!(apart, BTreeMap::from([(address(1), 25), (address(2), 10)]));
        // Behind a proxy all go to one address.
        let together = connections(&program, Slice::of(None), &[address(9), address(9)]);
        assert_eq!(together, BTreeMap::from([(address(9), 35)]));
    }
}
