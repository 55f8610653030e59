//! The side-by-side run: every client once a round, in an order that rotates, against one target.

use std::cell::RefCell;
use std::rc::Rc;

use crate::clients::{Client, loadr, peers};
use crate::machine::Machine;
use crate::measure::{Contender, SHORT_SECONDS, in_turn};
use crate::report::{Comparison, print};
use crate::serve::Server;
use crate::work::{Plan, Work};
use crate::{CompareArguments, Outcome};

pub(crate) fn run(arguments: &CompareArguments) -> Outcome<()> {
    check(arguments)?;
    let (mut clients, notes) = peers();
    clients.insert(0, loadr(arguments.loadr.as_deref())?);
    clients.push(Client::Floor);
    for note in &notes {
        eprintln!("note: {note}");
    }
    let machine = Machine::here();
    let server = Rc::new(RefCell::new(Server::start(
        &[arguments.server_core],
        false,
    )?));
    let work = Work {
        address: server.borrow().address,
        is_tls: false,
        path: arguments.path.clone(),
        connections: arguments.connections,
        cores: vec![arguments.client_core],
        is_split: false,
        plan: arguments.plan.clone().map_or(Plan::Simple, Plan::File),
    };
    // Uncounted: what is slow once only is slow here.
    Client::Floor.run(&work, SHORT_SECONDS)?;
    let contenders: Vec<Contender> = clients
        .into_iter()
        .map(|client| Contender {
            name: client.name(),
            client,
            work: work.clone(),
            server: Some(Rc::clone(&server)),
        })
        .collect();
    let rounds = in_turn(
        &contenders,
        arguments.pairs,
        arguments.seconds,
        arguments.subtract_startup,
    )?;
    let comparison = Comparison::new(machine, arguments, &contenders, rounds);
    print(&comparison);
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&comparison)?;
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

fn check(arguments: &CompareArguments) -> Outcome<()> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    for core in [arguments.client_core, arguments.server_core] {
        if !cores.iter().any(|id| id.id == core) {
            let all: Vec<String> = cores.iter().map(|id| id.id.to_string()).collect();
            return Err(
                format!("there is no core {core} here; there are {}", all.join(", ")).into(),
            );
        }
    }
    if arguments.client_core == arguments.server_core {
        return Err(
            "client and server need a core each: give --client-core and --server-core".into(),
        );
    }
    if !arguments.path.starts_with('/')
        || arguments.path.contains(|c: char| c <= ' ' || c >= '\x7f')
    {
        return Err("--path must begin with / and be of printable ASCII".into());
    }
    if arguments.subtract_startup && arguments.seconds <= SHORT_SECONDS {
        return Err("--subtract-startup needs --seconds of at least 2".into());
    }
    Ok(())
}
