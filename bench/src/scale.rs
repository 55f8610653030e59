//! How the load grows with the cores: a shard and a thread of the target on each core, on one core, two, four and so on
//! in turn. Beside the most, as many processes as cores, which share nothing: what those lose is the machine's doing.

use std::cell::RefCell;
use std::rc::Rc;

use serde::Serialize;

use crate::clients::loadr;
use crate::machine::Machine;
use crate::measure::{Contender, SHORT_SECONDS, Sample, in_turn};
use crate::report::{Ratio, Spread};
use crate::serve::Server;
use crate::work::{Plan, Work};
use crate::{Outcome, ScaleArguments};

const CONNECTIONS_PER_CORE: u32 = 64;
const STEPS: [(&str, usize); 7] = [
    (ONE, 1),
    ("2 cores", 2),
    ("4 cores", 4),
    ("8 cores", 8),
    ("16 cores", 16),
    ("32 cores", 32),
    ("64 cores", 64),
];
/// What the others are compared with.
const ONE: &str = "1 core";
const PROCESSES: &str = "as processes";

#[derive(Debug, Serialize)]
struct Scaling {
    machine: Machine,
    seconds: u64,
    pairs: u32,
    steps: Vec<Step>,
    /// Every sample, in the order in which they ran.
    rounds: Vec<Vec<Sample>>,
}

#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    requests_per_second: Spread,
    cpu_us_per_request: Spread,
    /// Of one core, round by round.
    requests_per_second_of_one: Spread,
    cpu_per_request_of_one: Spread,
}

pub(crate) fn run(arguments: &ScaleArguments) -> Outcome<()> {
    let machine = Machine::here();
    let contenders = contenders(arguments, &machine)?;
    // Uncounted: what is slow once only is slow here.
    for contender in &contenders {
        contender.client.run(&contender.work, SHORT_SECONDS)?;
    }
    let rounds = in_turn(&contenders, arguments.pairs, arguments.seconds, false)?;
    let failed: u64 = rounds.iter().flatten().map(|sample| sample.failed).sum();
    if failed > 0 {
        return Err(format!("{failed} requests failed: this is no figure").into());
    }
    let scaling = Scaling {
        machine,
        seconds: arguments.seconds,
        pairs: arguments.pairs,
        steps: contenders
            .iter()
            .filter_map(|contender| Step::new(contender.name, &rounds))
            .collect(),
        rounds,
    };
    scaling.print();
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&scaling)?;
        std::fs::write(path, text + "\n")
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

fn contenders(arguments: &ScaleArguments, machine: &Machine) -> Outcome<Vec<Contender>> {
    let most = arguments.cores.unwrap_or(machine.cores);
    if most < 2 || most > machine.cores {
        return Err(format!(
            "there is nothing to compare with {most} of the {} cores that are here: from 2 on there is",
            machine.cores
        )
        .into());
    }
    let client = loadr(arguments.loadr.as_deref())?;
    let on = |name, count: usize, is_split| -> Outcome<Contender> {
        let cores: Vec<usize> = (0..count).collect();
        let server = Server::start(&cores, false)?;
        Ok(Contender {
            name,
            client: client.clone(),
            work: Work {
                address: server.address,
                is_tls: false,
                path: "/".to_owned(),
                connections: CONNECTIONS_PER_CORE * count as u32,
                cores,
                is_split,
                plan: Plan::Simple,
            },
            server: Some(Rc::new(RefCell::new(server))),
        })
    };
    let steps = STEPS.iter().filter(|(_, count)| *count <= most);
    let mut contenders: Vec<Contender> = steps
        .map(|&(name, count)| on(name, count, false))
        .collect::<Outcome<_>>()?;
    let largest = contenders.last().map_or(0, |c| c.work.cores.len());
    contenders.push(on(PROCESSES, largest, true)?);
    Ok(contenders)
}

impl Step {
    fn new(name: &'static str, rounds: &[Vec<Sample>]) -> Option<Self> {
        let ratio = Ratio::new(name, ONE, rounds)?;
        let samples = || rounds.iter().flatten().filter(|s| s.client == name);
        Some(Self {
            name,
            requests_per_second: Spread::of(samples().map(|s| s.requests_per_second).collect()),
            cpu_us_per_request: Spread::of(samples().map(|s| s.cpu_us_per_request).collect()),
            requests_per_second_of_one: ratio.requests_per_second,
            cpu_per_request_of_one: ratio.cpu_per_request,
        })
    }
}

impl Scaling {
    /// As Markdown.
    fn print(&self) {
        println!(
            "| | requests/s | ÷ one core | CPU µs per request | ÷ one core | spread |\n|---|---|---|---|---|---|"
        );
        for step in &self.steps {
            let cpu = step.cpu_per_request_of_one;
            println!(
                "| {} | {:.0} | {:.2} | {:.2} | {:.3} | {:.3} – {:.3} |",
                step.name,
                step.requests_per_second.median,
                step.requests_per_second_of_one.median,
                step.cpu_us_per_request.median,
                cpu.median,
                cpu.min,
                cpu.max
            );
        }
        let machine = &self.machine;
        println!(
            "\n{}, {} cores, Linux {}, tcp {}, load {:.2} as it began; {CONNECTIONS_PER_CORE} connections a core, the target on \
             the same cores; {} rounds of {} s in turn, medians.",
            machine.cpu,
            machine.cores,
            machine.kernel,
            machine.congestion_control,
            machine.load_before,
            self.pairs,
            self.seconds,
        );
    }
}
