//! The search against systems whose true capacity is known.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod systems;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use loadr_capacity::{
    CONFIDENCE, Ending, Finding, Found, Settings, State, Subject, System, search,
};
use systems::{MM1, Model, Objective, Simulated, root};

/// A system, what it must hold, and from where on it does not.
struct Case {
    name: &'static str,
    model: Model,
    objective: Objective,
    truth: f64,
}

fn settings(objective: Objective) -> Settings {
    Settings {
        slos: vec![objective.slo()],
        min_rate: 10.0,
        max_rate: 1e6,
        precision: 0.02,
        step_secs: 10,
        confirm_secs: 60,
        probes_max: 60,
    }
}

/// What came of many searches of one system.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    searches: u64,
    /// Those that ended with a rate confirmed.
    found: u64,
    /// In which the boundary, and the rate confirmed, are within 3 % of the truth.
    boundary_close: u64,
    sustained_close: u64,
    /// In which the interval holds it.
    covered: u64,
    probes: u64,
    secs: f64,
    bias: f64,
}

fn many(case: &Case, seeds: u64) -> Tally {
    let tally = Mutex::new(Tally::default());
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    one(case, seed, &tally);
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

fn one(case: &Case, seed: u64, tally: &Mutex<Tally>) {
    let settings = settings(case.objective);
    let mut system = Simulated::new(case.model, &[case.objective], seed);
    let found = search(&settings, Vec::new(), &mut system, &mut |_| Ok(())).unwrap();
    let close = |rate: f64| u64::from((rate / case.truth - 1.0).abs() <= 0.03);
    let sustained = found.confirmed.map_or(0.0, |at| found.probes[at].ask.rate);
    let boundary = found.boundary.unwrap();
    let mut tally = tally.lock().unwrap();
    tally.searches += 1;
    tally.found += u64::from(found.ending == Ending::Found);
    tally.boundary_close += close(boundary.rate);
    tally.sustained_close += close(sustained);
    tally.covered += u64::from((boundary.low..=boundary.high).contains(&case.truth));
    tally.probes += found.probes.len() as u64;
    tally.secs += system.spent;
    tally.bias += boundary.rate / case.truth - 1.0;
}

/// P(T > t) of M/M/c by Erlang's C formula.
fn mmc_beyond(servers: u32, service: f64, rate: f64, t: f64) -> f64 {
    let (c, mu) = (f64::from(servers), 1.0 / service);
    let load = rate / mu;
    if load >= c {
        return 1.0;
    }
    let mut blocking = 1.0;
    for k in 1..=servers {
        blocking = load * blocking / (f64::from(k) + load * blocking);
    }
    let waits = blocking / (1.0 - load / c * (1.0 - blocking));
    let theta = c * mu - rate;
    let both = (theta * (-mu * t).exp() - mu * (-theta * t).exp()) / (theta - mu);
    (1.0 - waits) * (-mu * t).exp() + waits * both
}

/// P(W + D > t) of M/D/1 by Crommelin's sum (1932).
fn md1_beyond(service: f64, rate: f64, t: f64) -> f64 {
    let load = rate * service;
    if load >= 1.0 {
        return 1.0;
    }
    let wait = t - service;
    let mut sum = 0.0;
    for k in 0..=(wait / service) as u32 {
        let x = rate * (f64::from(k) * service - wait);
        let mut term = (-x).exp();
        for i in 1..=k {
            term *= x / f64::from(i);
        }
        sum += term;
    }
    1.0 - (1.0 - load) * sum
}

/// The share that M/M/1 with room for `room` rejects.
fn blocked(room: i32, service: f64, rate: f64) -> f64 {
    let load = rate * service;
    if (load - 1.0).abs() < 1e-9 {
        return 1.0 / f64::from(room + 1);
    }
    (1.0 - load) * load.powi(room) / (1.0 - load.powi(room + 1))
}

/// Of the systems without a formula: by long runs, to a thousandth.
const PAUSES_TRUTH: f64 = 876.9;
const DEGRADES_TRUTH: f64 = 843.3;

fn cases() -> Vec<Case> {
    let exact = |objective: Objective, share: &dyn Fn(f64) -> f64| {
        let (Objective::Within(allowed, _) | Objective::Failures(allowed)) = objective;
        root(1.0, 1000.0, allowed, share, 60)
    };
    let within = Objective::Within(0.01, 0.05);
    let fails = Objective::Failures(0.01);
    let mmc = Model {
        servers: 8,
        service: 0.008,
        ..MM1
    };
    let mmc_within = Objective::Within(0.01, 0.08);
    let md1 = Model {
        is_fixed: true,
        ..MM1
    };
    let md1_within = Objective::Within(0.01, 0.02);
    let rejects = Model {
        room: Some(10),
        ..MM1
    };
    let pauses = Model {
        pause: Some((0.5, 0.02)),
        ..MM1
    };
    let pauses_within = Objective::Within(0.01, 0.06);
    let degrades = Model {
        degrades: Some((10, 1.08)),
        ..MM1
    };
    let degrades_within = Objective::Within(0.01, 0.05);
    let cold = Model {
        cold: Some((0.3, 1.5)),
        ..MM1
    };
    let case = |name, model, objective, truth| Case {
        name,
        model,
        objective,
        truth,
    };
    let mm1_truth = 1000.0 - 100f64.ln() / 0.05;
    vec![
        case("M/M/1", MM1, within, mm1_truth),
        case(
            "M/M/8",
            mmc,
            mmc_within,
            exact(mmc_within, &|r| mmc_beyond(8, 0.008, r, 0.08)),
        ),
        case(
            "M/D/1",
            md1,
            md1_within,
            exact(md1_within, &|r| md1_beyond(0.001, r, 0.02)),
        ),
        case(
            "M/M/1/10",
            rejects,
            fails,
            exact(fails, &|r| blocked(10, 0.001, r)),
        ),
        case("pauses", pauses, pauses_within, PAUSES_TRUTH),
        case("degrades", degrades, degrades_within, DEGRADES_TRUTH),
        case("cold", cold, within, mm1_truth),
    ]
}

/// `LOADR_CAPACITY_SEEDS=400` is the long version.
#[test]
fn the_truth_is_found_within_3_percent_and_the_interval_holds_it_as_often_as_it_claims() {
    let seeds = std::env::var("LOADR_CAPACITY_SEEDS").map_or(40, |n| n.parse().unwrap());
    for case in cases() {
        let tally = many(&case, seeds);
        let n = tally.searches as f64;
        let share = |count: u64| count as f64 / n;
        println!(
            "{:<9} truth {:6.1}/s: boundary within 3 % {:5.1} %, sustained {:5.1} %, interval holds it {:5.1} %; \
             {:.0} probes, {:.0} s, bias {:+.2} %",
            case.name,
            case.truth,
            share(tally.boundary_close) * 100.0,
            share(tally.sustained_close) * 100.0,
            share(tally.covered) * 100.0,
            tally.probes as f64 / n,
            tally.secs / n,
            tally.bias / n * 100.0
        );
        assert_eq!(tally.found, seeds, "{}", case.name);
        assert!(
            share(tally.boundary_close) >= 0.95,
            "{}: {tally:?}",
            case.name
        );
        assert!(
            share(tally.sustained_close) >= 0.95 - 2.0 * (0.95_f64 * 0.05 / n).sqrt(),
            "{}: {tally:?}",
            case.name
        );
        // As often as it claims, but for what chance takes from so many seeds (two standard errors).
        let chance = (CONFIDENCE * (1.0 - CONFIDENCE) / n).sqrt();
        assert!(
            share(tally.covered) >= CONFIDENCE - 2.0 * chance,
            "{}: {tally:?}",
            case.name
        );
    }
}

#[test]
fn the_truths_without_a_formula_are_those_of_long_runs() {
    for case in cases() {
        let (Objective::Within(allowed, _) | Objective::Failures(allowed)) = case.objective;
        if case.model.cold.is_some() {
            continue;
        }
        let share = |factor| {
            let rate = case.truth * factor;
            Simulated::long_run(case.model, case.objective, rate, 6000.0, 5)
        };
        let (below, above) = (share(0.99), share(1.01));
        assert!(
            below < allowed && allowed < above,
            "{}: {below} {allowed} {above}",
            case.name
        );
    }
}

/// Eight places of 4 ms and arrivals by the clock: 2,000 a second, and not one more.
const PLACES: Model = Model {
    servers: 8,
    service: 0.004,
    is_fixed: true,
    is_even: true,
    ..MM1
};
const WITHIN: Objective = Objective::Within(0.01, 0.05);

fn found(settings: &Settings, model: Model) -> Found {
    let mut system = Simulated::new(model, &[WITHIN], 3);
    search(settings, Vec::new(), &mut system, &mut |_| Ok(())).unwrap()
}

#[test]
fn a_step_is_found_between_the_probes_on_its_sides() {
    let settings = Settings {
        step_secs: 4,
        confirm_secs: 30,
        ..settings(WITHIN)
    };
    let found = found(&settings, PLACES);
    let boundary = found.boundary.unwrap();
    assert_eq!(found.ending, Ending::Found);
    assert!((boundary.rate / 2000.0 - 1.0).abs() < 0.02, "{boundary:?}");
    assert!(
        (boundary.low..=boundary.high).contains(&2000.0),
        "{boundary:?}"
    );
    let sustained = found.probes[found.confirmed.unwrap()].ask.rate;
    assert!((0.95..=1.0).contains(&(sustained / 2000.0)), "{sustained}");
    let secs: f64 = found
        .probes
        .iter()
        .map(|p| p.measured.secs + f64::from(p.ask.warm_up_secs))
        .sum();
    assert!(secs < 170.0, "{secs}");
    assert!(found.probes.iter().any(|p| p.abandoned.is_some()));
}

#[test]
fn every_other_ending_is_told_apart() {
    let whole = settings(WITHIN);
    let slow = Model {
        service: 0.2,
        ..MM1
    };
    let ended = found(&whole, slow);
    assert_eq!(ended.ending, Ending::FailsAtLowest);
    assert_eq!(ended.probes.len(), 2);

    let capped = Settings {
        max_rate: 500.0,
        ..whole.clone()
    };
    let ended = found(&capped, PLACES);
    assert_eq!(ended.ending, Ending::NothingBreaks);
    assert_eq!(ended.probes[ended.confirmed.unwrap()].ask.rate, 500.0);

    let mortal = Model {
        dies_after: Some(20_000),
        ..PLACES
    };
    let ended = found(&whole, mortal);
    assert_eq!(
        ended.ending,
        Ending::TargetGone("connection refused".to_owned())
    );
    assert!(ended.bracket.0.is_some());

    let dead = Model {
        dies_after: Some(0),
        ..PLACES
    };
    let mut system = Simulated::new(dead, &[WITHIN], 3);
    let _ = system.probe(
        &loadr_capacity::Ask {
            number: 1,
            phase: loadr_capacity::Phase::Double,
            rate: 10.0,
            warm_up_secs: 1,
            judged_secs: 1,
        },
        &mut |_| true,
    );
    let ended = search(&whole, Vec::new(), &mut system, &mut |_| Ok(())).unwrap();
    assert_eq!(
        ended.ending,
        Ending::TargetDown("connection refused".to_owned())
    );
    assert!(ended.probes.is_empty());
}

#[test]
fn a_generator_in_the_way_never_counts_against_the_system() {
    let limited = Model {
        generator_limit: Some(700.0),
        ..PLACES
    };
    let ended = found(&settings(WITHIN), limited);
    assert_eq!(ended.ending, Ending::LimitedByGenerator);
    let sustained = ended.probes[ended.confirmed.unwrap()].ask.rate;
    assert!((500.0..=700.0).contains(&sustained), "{sustained}");
    let finding = Finding::new(ended, &settings(WITHIN), subject(), Some((350.0, None)));
    assert!(
        finding.sentence.contains("at least"),
        "{}",
        finding.sentence
    );
    assert!(
        finding.sentence.contains("limited by this generator"),
        "{}",
        finding.sentence
    );
    assert!(finding.sentence.contains("at most"), "{}", finding.sentence);
    assert!(finding.boundary.is_none());
    assert_eq!(finding.exit_code, 98);
}

#[test]
fn what_the_system_refused_counts_whatever_the_generator_is_like() {
    let failures = Objective::Failures(0.01);
    let rejects = Model {
        room: Some(10),
        generator_limit: Some(1.0),
        ..MM1
    };
    let settings = settings(failures);
    let run = |model| {
        let mut system = Simulated::new(model, &[failures], 3);
        search(&settings, Vec::new(), &mut system, &mut |_| Ok(())).unwrap()
    };
    let told = run(rejects);
    assert_eq!(told.ending, Ending::Found);
    let boundary = told.boundary.unwrap();
    assert!((boundary.rate / 713.1 - 1.0).abs() < 0.05, "{boundary:?}");
    // The same, but what failed may have failed because of how it was sent.
    let spoilt = run(Model {
        spoils: true,
        ..rejects
    });
    assert_eq!(spoilt.ending, Ending::LimitedByGenerator);
    assert!(spoilt.boundary.is_none());
}

fn subject() -> Subject {
    Subject {
        plan: "shop".to_owned(),
        plan_hash: "0".repeat(64),
        scenario: "buy".to_owned(),
        seed: 1,
        started_ms: 0,
        ended_ms: 0,
        notes: Vec::new(),
    }
}

#[test]
fn a_search_that_goes_on_from_its_file_makes_only_the_probes_that_are_missing() {
    let settings = Settings {
        step_secs: 4,
        ..settings(WITHIN)
    };
    let whole = found(&settings, PLACES);
    for made in [0, 3, 9, whole.probes.len()] {
        let mut state = State::new("hash".to_owned(), settings.clone(), 7);
        state.probes = whole.probes[..made].to_vec();
        let state = State::read(&state.to_json(), "hash", &settings).unwrap();
        let mut system = Simulated::new(PLACES, &[WITHIN], 3);
        let mut kept = Vec::new();
        let again = search(&settings, state.probes, &mut system, &mut |probes| {
            kept.push(probes.len());
            Ok(())
        })
        .unwrap();
        assert_eq!(again.ending, whole.ending);
        let asked = |probes: &[loadr_capacity::Probe]| -> Vec<_> {
            let one = |p: &loadr_capacity::Probe| (p.ask.number, p.measured.requests, p.verdict);
            probes.iter().take(made).map(one).collect()
        };
        assert_eq!(asked(&again.probes), asked(&whole.probes));
        assert_eq!(kept, (made + 1..=again.probes.len()).collect::<Vec<_>>());
        assert!((again.boundary.unwrap().rate / 2000.0 - 1.0).abs() < 0.02);
    }
}

#[test]
fn a_file_of_another_search_is_refused_with_what_differs() {
    let settings = settings(WITHIN);
    let text = State::new("hash".to_owned(), settings.clone(), 7).to_json();
    let other = Settings {
        step_secs: 5,
        ..settings.clone()
    };
    for (text, hash, settings, part) in [
        (text.as_str(), "another", &settings, "another plan"),
        (
            text.as_str(),
            "hash",
            &other,
            "`--step-duration` was 10 and is 5",
        ),
        (&text[..text.len() / 2], "hash", &settings, "no JSON"),
        ("{}", "hash", &settings, "no state"),
        (
            "{\"kind\":\"capacity-state\",\"format\":9}",
            "hash",
            &settings,
            "format 9",
        ),
        (
            "{\"kind\":\"capacity-state\",\"format\":1}",
            "hash",
            &settings,
            "not whole",
        ),
    ] {
        let error = State::read(text, hash, settings).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn what_was_found_is_said_in_every_form() {
    let settings = Settings {
        step_secs: 4,
        ..settings(WITHIN)
    };
    let finding = Finding::new(
        found(&settings, PLACES),
        &settings,
        subject(),
        Some((1500.0, Some(0.03))),
    );
    let text = loadr_capacity::text(&finding);
    for part in [
        "`buy` of shop sustains 1,9",
        "90 % interval",
        "% of it; at 3 % growth a month",
        "PROBES",
        "CROSS-CHECK",
    ] {
        assert!(text.replace('\n', " ").contains(part), "{part}: {text}");
    }
    let page = loadr_capacity::report(&finding);
    assert!(page.contains("<svg") && page.contains("p(99)&lt;50ms") && !page.contains("<script"));
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    assert_eq!(page.matches("<tr>").count(), finding.probes.len() + 1);
    let little = &finding.little;
    assert_eq!(little.probes, 0, "nobody counted");
}

#[test]
fn a_hostile_name_is_inert_in_every_form_and_the_page_lets_nothing_run() {
    let settings = Settings {
        step_secs: 4,
        ..settings(WITHIN)
    };
    let hostile = "a\u{1b}[31m\u{9b}2J\r\n\u{202e}b<script>&\"'";
    let mut subject = subject();
    subject.plan = hostile.to_owned();
    subject.scenario = hostile.to_owned();
    subject.notes = vec![hostile.to_owned()];
    let finding = Finding::new(found(&settings, PLACES), &settings, subject, None);
    let text = loadr_capacity::text(&finding);
    let page = loadr_capacity::report(&finding);
    for shown in [&text, &page] {
        let is_seen = |c: char| c == '\n' || !loadr_figures::is_hidden(c);
        assert!(shown.chars().all(is_seen), "{shown:?}");
        assert!(shown.contains("\\u{1b}[31m\\u{9b}2J"), "{shown}");
    }
    assert!(!page.contains("<script"));
    let policy = page.find("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'");
    // Before anything that it is about.
    assert!(policy.unwrap() < page.find("<title>").unwrap());
}
