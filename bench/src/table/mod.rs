//! The whole table of figures with one command: every row's sides in turn, ratio by ratio beside its goal.

mod results;
mod rows;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::clients::{Client, loadr, peers};
use crate::machine::Machine;
use crate::measure::{Contender, SHORT_SECONDS, in_turn};
use crate::memory::Setup;
use crate::nginx::Nginx;
use crate::serve::Server;
use crate::work::{Plan, Work};
use crate::{Outcome, TableArguments};
use results::{Results, RowResult};
use rows::{IDLE, IDLE_BYTES_MAX, IDLE_VUS, IDLE_WHAT, ROWS, Row, Side, Target, Who};

const IDLE_TIMES: usize = 3;

pub(crate) fn run(arguments: &TableArguments) -> Outcome<()> {
    let (rows, is_idle_wanted) = chosen(&arguments.only)?;
    let (peers, notes) = peers();
    for note in &notes {
        eprintln!("note: {note}");
    }
    let setting = Setting {
        loadr: loadr(arguments.loadr.as_deref())?,
        peers,
        arguments,
    };
    let mut results = Results::new(Machine::here(), arguments, setting.versions());
    for row in rows {
        eprintln!("{}: {}", row.name, row.what);
        results.add(row.name, setting.measure(row));
    }
    if is_idle_wanted {
        eprintln!("{IDLE}: {IDLE_WHAT}");
        results.add(IDLE, setting.idle());
    }
    let table = results.markdown();
    print!("{table}");
    if let Some(folder) = &arguments.results {
        let path = results.write(folder)?;
        eprintln!("written to {}", path.display());
    }
    if let Some(readme) = &arguments.readme {
        results::put_into(readme, &table)?;
    }
    Ok(())
}

/// The rows of these names, or all; and whether the one of idle users is among them.
fn chosen(only: &[String]) -> Outcome<(Vec<&'static Row>, bool)> {
    let names: Vec<&str> = ROWS.iter().map(|row| row.name).chain([IDLE]).collect();
    if let Some(name) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("there is no row `{name}`; there are {}", names.join(", ")).into());
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let rows = ROWS.iter().filter(|row| wanted(row.name)).collect();
    Ok((rows, wanted(IDLE)))
}

/// What there is to measure with.
struct Setting<'a> {
    loadr: Client,
    peers: Vec<Client>,
    arguments: &'a TableArguments,
}

impl Setting<'_> {
    fn versions(&self) -> Vec<(&'static str, Option<String>)> {
        let clients = [&self.loadr].into_iter().chain(&self.peers);
        clients.map(|c| (c.name(), c.version())).collect()
    }

    fn client(&self, who: Who) -> Option<Client> {
        let named = |name| self.peers.iter().find(|peer| peer.name() == name).cloned();
        match who {
            Who::Loadr => Some(self.loadr.clone()),
            Who::Floor => Some(Client::Floor),
            Who::Wrk => named("wrk"),
            Who::Oha => named("oha"),
        }
    }

    fn measure(&self, row: &'static Row) -> Outcome<RowResult> {
        let mut targets: Vec<(Target, Running)> = Vec::new();
        let mut contenders = Vec::new();
        for side in row.sides {
            // A peer that is not installed leaves its ratios out.
            let Some(client) = self.client(side.client) else {
                continue;
            };
            if !targets.iter().any(|(target, _)| *target == side.target) {
                targets.push((side.target, self.start(side.target)?));
            }
            let running = targets.iter().find(|(target, _)| *target == side.target);
            let Some((_, running)) = running else {
                continue;
            };
            contenders.push(self.contender(side, client, running)?);
        }
        // Uncounted: what is slow once only is slow here.
        for contender in &contenders {
            contender.client.run(&contender.work, SHORT_SECONDS)?;
        }
        let arguments = self.arguments;
        let rounds = in_turn(&contenders, arguments.pairs, arguments.seconds, false)?;
        Ok(RowResult::new(row, rounds))
    }

    /// Fewer times than a ratio: it hardly varies.
    fn idle(&self) -> Outcome<RowResult> {
        let Client::Loadr(loadr) = &self.loadr else {
            return Err("there is no loadr-fast".into());
        };
        let setup = Setup {
            loadr,
            vus: IDLE_VUS,
            client_core: self.arguments.client_core,
            server_core: self.arguments.server_core,
        };
        let bytes: Outcome<Vec<f64>> = (0..IDLE_TIMES)
            .map(|_| setup.bytes_each().map(|bytes| bytes as f64))
            .collect();
        Ok(RowResult::of_memory(IDLE_WHAT, bytes?, IDLE_BYTES_MAX))
    }

    fn start(&self, target: Target) -> Outcome<Running> {
        let (client, server) = (self.arguments.client_core, self.arguments.server_core);
        let (cores, is_tls): (&[usize], bool) = match target {
            Target::Apart => (&[server], false),
            Target::Tls => (&[server], true),
            Target::Together => (&[client], false),
            Target::TogetherOnBoth => (&[client, server], false),
            Target::Nginx => return Nginx::start(server).map(Running::Nginx),
        };
        let server = Server::start(cores, is_tls)?;
        Ok(Running::Canned(Rc::new(RefCell::new(server))))
    }

    fn contender(&self, side: &Side, client: Client, running: &Running) -> Outcome<Contender> {
        let (client_core, server_core) = (self.arguments.client_core, self.arguments.server_core);
        Ok(Contender {
            name: side.name,
            client,
            work: Work {
                address: match running {
                    Running::Canned(server) => server.borrow().address,
                    Running::Nginx(nginx) => nginx.address,
                },
                is_tls: matches!(side.target, Target::Tls | Target::Nginx),
                path: side.path.to_owned(),
                connections: side.connections,
                cores: match side.target {
                    Target::TogetherOnBoth => vec![client_core, server_core],
                    Target::Apart | Target::Tls | Target::Nginx | Target::Together => {
                        vec![client_core]
                    }
                },
                is_split: side.is_split,
                plan: match side.plan {
                    Some(name) => Plan::File(plan(name)?),
                    None => Plan::Simple,
                },
            },
            server: match running {
                Running::Canned(server) => Some(Rc::clone(server)),
                Running::Nginx(_) => None,
            },
        })
    }
}

/// A target that runs while a row is measured.
enum Running {
    Canned(Rc<RefCell<Server>>),
    Nginx(Nginx),
}

/// A plan of the harness's own.
fn plan(name: &str) -> Outcome<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("plans")
        .join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("there is no {}: run this from its checkout", path.display()).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_is_about_sides_of_its_row_and_every_plan_is_there() {
        for row in ROWS {
            for goal in row.goals {
                for name in [goal.of, goal.to] {
                    assert!(row.sides.iter().any(|side| side.name == name), "{name}");
                }
            }
            for name in row.sides.iter().filter_map(|side| side.plan) {
                plan(name).unwrap();
            }
        }
        assert!(chosen(&["none".into()]).is_err());
        let (all, has_idle) = chosen(&[]).unwrap();
        assert!(all.len() == ROWS.len() && has_idle);
    }
}
