"use strict";
// What the run says, put where it belongs. Names come from plans and servers: they are set as text and never as markup.

const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token");
const withToken = (path) => (token === null ? path : `${path}?token=${encodeURIComponent(token)}`);

/** Text from outside: what steers or reorders a line is made visible, as the terminal does. */
function inert(text) {
  return String(text).replace(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

const bdi = (text) => make("bdi", {}, inert(text));
const cell = (content, cls = "") => make("td", { class: cls }, content);
const row = (...cells) => make("tr", {}, ...cells);

/** The most seconds that the charts keep; beyond them every other one goes, as in what the run keeps. */
const POINTS_MAX = 7200;
const SECONDS_SHOWN = 30;

let about = null, state = null, points = [], latest = null, isOver = false, charts = [], failing = new Set();

function tile(id, name) {
  const big = make("dd", { class: "big", id }, "–"), small = make("dd", { class: "small", id: `${id}-more` });
  $("tiles").append(make("div", {}, make("dt", { id: `${id}-name` }, name), big, small));
}

function setTile(id, big, small, cls = "") {
  $(id).textContent = big;
  $(id).className = `big ${cls}`;
  $(`${id}-more`).textContent = small;
}

function say(text) {
  if ($("said").textContent !== text) $("said").textContent = text;
}

function begin(told) {
  about = told.about;
  points = [];
  latest = null;
  failing = new Set();
  document.title = `${inert(about.name)} · loadr-fast`;
  $("name").textContent = inert(about.name);
  const cores = about.cores.length === 1 ? `1 ${about.core_is}` : `${about.cores.length} ${about.core_is}s`;
  $("core").textContent = about.core_is === "core" ? "Core" : "Segment";
  $("scenarios").replaceChildren(
    about.scenarios.length === 1 ? make("span", {}, "scenario ", bdi(about.scenarios[0])) : `${about.scenarios.length} scenarios`,
    ` · ${cores} · ${about.length_secs === null ? "until it is stopped" : `at most ${show.secs(about.length_secs)}`}`,
  );
  $("version").textContent = told.version;
  $("tiles").replaceChildren();
  $("charts").replaceChildren();
  cross.charts = [];
  cross.at = null;
  tile("rps", "Requests/s");
  tile("p50", about.is_open ? "Response p50" : "Latency p50");
  tile("p99", about.is_open ? "Response p99" : "Latency p99");
  tile("failed", "Failed");
  tile("users", "Virtual users");
  tile("total", "Requests");
  charts = makeCharts();
  $("aims").replaceChildren();
  $("controls").hidden = false;
}

const COLORS = ["a", "b", "c", "d", "e", "f", "g", "h"];

/** A line for each shard, or, where they are too many to tell apart, the most, the middle and the least. */
function shardSeries(of) {
  const cores = about.cores;
  if (cores.length <= COLORS.length) {
    return cores.map((core, index) => ({ name: `${about.core_is} ${core}`, cls: COLORS[index], of: (p) => (p.shards[index] ? of(p.shards[index]) : null) }));
  }
  const sorted = (p) => p.shards.map(of).sort((x, y) => x - y);
  return [
    { name: "most", cls: "c", of: (p) => sorted(p).at(-1) },
    { name: "middle", cls: "a", of: (p) => sorted(p)[Math.floor(p.shards.length / 2)] },
    { name: "least", cls: "d", of: (p) => sorted(p)[0] },
  ];
}

function makeCharts() {
  const parent = $("charts");
  const main = (p) => (about.is_open ? p.response : p.latency);
  const percentile = (key) => (p) => main(p)?.[key] ?? null;
  const latency = [
    { name: "p50", cls: "a", of: percentile("p50") },
    { name: "p95", cls: "b", of: percentile("p95") },
    { name: "p99", cls: "c", of: percentile("p99") },
  ];
  if (about.is_open) latency.push({ name: "service p99", cls: "g", dashed: true, of: (p) => p.latency?.p99 ?? null });
  const users = [{ name: "there", cls: "a", of: (p) => p.vus }];
  if (about.wants_vus) users.push({ name: "wanted", cls: "g", dashed: true, of: (p) => p.vus_wanted });
  const requests = [{ name: "requests", cls: "a", of: (p) => p.rps }];
  if (about.wants_rate) {
    requests.push({ name: "iterations", cls: "d", of: (p) => p.iterations_ps });
    requests.push({ name: "iterations wanted", cls: "g", dashed: true, of: (p) => p.iterations_wanted_ps });
  }
  return [
    new Chart(parent, { id: "chart-rps", title: "Requests per second", format: show.rate, series: requests }),
    new Chart(parent, { id: "chart-latency", title: about.is_open ? "Response time" : "Latency", format: show.ms, series: latency, hasLog: true }),
    new Chart(parent, { id: "chart-failed", title: "Failed requests", format: show.share, floor: 0.01, ceiling: 1, series: [{ name: "failed", cls: "h", of: (p) => p.error_rate }] }),
    new Chart(parent, { id: "chart-users", title: "Virtual users", format: show.count, floor: 1, series: users }),
    new Chart(parent, { id: "chart-cpu", title: "CPU of each shard", format: show.share, floor: 1, ceiling: 1, series: shardSeries((s) => s.cpu) }),
    new Chart(parent, { id: "chart-lag", title: "Generator lag p99", format: show.ms, series: shardSeries((s) => s.lag_p99_ms), hasLog: true }),
  ];
}

function second(told) {
  latest = told.frame;
  points.push(latest.point);
  if (points.length > POINTS_MAX) points = points.filter((_, index) => index % 2 === 0);
  setPhase(told.state);
  showFrame(latest);
  showControl(told);
  for (const chart of charts) chart.show(points);
  if ($("seconds-part").open) showSeconds();
}

function setPhase(phase) {
  if ($("phase").textContent === phase) return;
  $("phase").textContent = phase;
  $("phase").className = `badge ${phase}`;
  say(`The run is ${phase}.`);
}

function showFrame(frame) {
  const p = frame.point, l = about.is_open ? p.response : p.latency;
  const left = frame.left_secs === null ? "until it is stopped" : frame.left_secs > 0 ? `${show.secs(frame.left_secs)} left` : "the last iterations may finish";
  const planned = frame.iterations_planned === null ? left : `${show.count(frame.iterations)} of ${show.count(frame.iterations_planned)} iterations`;
  $("clock").textContent = `${show.secs(p.at_secs)} · ${planned}`;
  $("done").value = frame.share_done;
  $("done").textContent = show.share(frame.share_done);
  setTile("rps", show.rate(p.rps), `${show.rate(p.iterations_ps)} iterations/s`);
  setTile("p50", l ? show.ms(l.p50) : "–", l ? `p90 ${show.ms(l.p90)}` : "nothing finished");
  setTile("p99", l ? show.ms(l.p99) : "–", l ? `max ${show.ms(l.max)}` : "nothing finished");
  setTile("failed", show.share(p.error_rate), `${show.count(frame.failed)} in all`, p.error_rate > 0 ? "bad" : frame.failed > 0 ? "" : "good");
  setTile("users", show.count(p.vus), p.vus_wanted === null ? `at most ${show.count(frame.vus_max)}` : `${show.count(p.vus_wanted)} wanted`);
  const dropped = frame.dropped === null ? `${show.count(frame.iterations)} iterations` : `${show.count(frame.dropped)} iterations dropped`;
  setTile("total", show.count(frame.requests), dropped, frame.dropped > 0 ? "bad" : "");
  showThresholds(frame.thresholds);
  showErrors(frame.errors, frame.failed);
  $("shards").replaceChildren(...p.shards.map((shard, index) => {
    const meter = make("meter", { min: 0, max: 1, low: 0.8, high: 0.95, optimum: 0, value: shard.cpu, "aria-label": `CPU of ${about.core_is} ${about.cores[index]}` });
    return row(cell(String(about.cores[index]), "n"), make("td", {}, meter, show.share(shard.cpu)), cell(show.ms(shard.lag_p99_ms), "n"), cell(show.count(shard.vus), "n"));
  }));
}

function showThresholds(thresholds) {
  $("thresholds-part").hidden = thresholds.length === 0;
  $("thresholds").replaceChildren(...thresholds.map((t) => row(
    make("td", { class: t.passed ? "w good" : "w bad" }, t.passed ? "✓ yes" : "✗ no"),
    make("td", {}, bdi(`${t.metric}: ${t.expression}`)),
    cell(t.observed === null ? "no samples" : t.observed.toFixed(3), "n"),
  )));
  for (const t of thresholds) {
    const name = `${t.metric}: ${t.expression}`;
    if (!t.passed && !failing.has(name)) say(`The threshold ${inert(name)} fails.`);
    if (t.passed) failing.delete(name); else failing.add(name);
  }
}

/** A status from 400 on fails a request and is no error of its own. */
function showErrors(errors, failed) {
  const rows = errors.map((e) => row(cell(show.count(e.count), "n"), cell(e.kind, "w bad"), make("td", {}, bdi(e.example))));
  $("errors").replaceChildren(...(rows.length > 0 ? rows : [row(make("td", { colSpan: 3 }, failed > 0 ? `none; ${show.count(failed)} failed by their status` : "none"))]));
}

function showSeconds() {
  const columns = [["at", (p) => show.secs(p.at_secs)], ["requests/s", (p) => show.rate(p.rps)], ["iterations/s", (p) => show.rate(p.iterations_ps)]];
  const of = (key) => (p) => { const l = about.is_open ? p.response : p.latency; return l ? show.ms(l[key]) : "–"; };
  for (const key of ["p50", "p90", "p95", "p99", "max"]) columns.push([key, of(key)]);
  columns.push(["failed", (p) => show.share(p.error_rate)], ["VUs", (p) => show.count(p.vus)]);
  about.cores.forEach((core, index) => columns.push([`CPU ${core}`, (p) => (p.shards[index] ? show.share(p.shards[index].cpu) : "–")]));
  $("seconds-head").replaceChildren(row(...columns.map(([name]) => make("th", { scope: "col", class: "n" }, name))));
  const shown = points.slice(-SECONDS_SHOWN).reverse();
  $("seconds").replaceChildren(...shown.map((p) => row(...columns.map(([, of]) => cell(of(p), "n")))));
}

/** How it ended: bad news first, then every figure of the summary. */
function end(summary) {
  isOver = true;
  source.close();
  const failed = summary.thresholds.filter((t) => !t.passed).length;
  const isBad = summary.exit_code !== 0 || summary.generator.bottleneck;
  $("phase").textContent = "ended";
  $("phase").className = `badge ${isBad ? "failed" : "running"}`;
  $("controls").hidden = true;
  $("aims").hidden = true;
  $("clock").textContent = `after ${show.ms(summary.duration_secs * 1e3)}`;
  $("done").value = 1;
  showVerdict(summary, failed, isBad);
  showWhole(summary);
  showThresholds(summary.thresholds);
  const fails = summary.metrics.find((m) => m.metric === "http_req_failed")?.agg;
  showErrors(summary.errors, Math.round((fails?.rate ?? 0) * (fails?.count ?? 0)));
  showFinal(summary);
  if ($("seconds-part").open) showSeconds();
  say(`The run has ended with exit code ${summary.exit_code}${failed > 0 ? `; ${failed} of ${summary.thresholds.length} thresholds failed` : ""}.`);
}

function showVerdict(summary, failed, isBad) {
  const verdict = $("verdict"), { generator } = summary;
  const reasons = [...generator.reasons];
  if (summary.aborted !== null) reasons.push(`Ended early: ${summary.aborted}`);
  if (failed > 0) reasons.push(`${failed} of ${summary.thresholds.length} thresholds failed`);
  if (summary.iterations_interrupted > 0) reasons.push(`${show.count(summary.iterations_interrupted)} iterations were cancelled: what they waited for is in no figure`);
  reasons.push(...generator.notes);
  const title = generator.bottleneck ? "The generator may have been the bottleneck" : isBad ? "The run did not go well" : "The run went well";
  const file = URL.createObjectURL(new Blob([JSON.stringify(summary, null, 2) + "\n"], { type: "application/json" }));
  verdict.className = isBad ? "bad-news" : "";
  verdict.replaceChildren(
    make("h2", {}, title),
    make("ul", {}, ...reasons.map((reason) => make("li", {}, bdi(reason)))),
    make("p", {}, `Exit code ${summary.exit_code}. `, make("a", { href: file, download: "summary.json" }, "Save the summary as JSON")),
  );
  verdict.hidden = false;
}

/** The tiles, for the whole run. */
function showWhole(summary) {
  const of = (name) => summary.metrics.find((m) => m.metric === name)?.agg ?? {};
  const l = of(about.is_open ? "http_req_response" : "http_req_duration"), requests = of("http_reqs"), fails = of("http_req_failed"), vus = of("vus");
  setTile("rps", show.rate(requests.per_second ?? 0), "over the whole run");
  setTile("p50", show.ms(l.med), `p90 ${show.ms(l.p90)}`);
  setTile("p99", show.ms(l.p99), `max ${show.ms(l.max)}`);
  const count = Math.round((fails.rate ?? 0) * (fails.count ?? 0));
  setTile("failed", show.share(fails.rate ?? 0), `${show.count(count)} in all`, count > 0 ? "bad" : "good");
  setTile("users", show.count(vus.max ?? 0), "at most at once");
  setTile("total", show.count(requests.count ?? 0), `${show.count(of("iterations").count ?? 0)} iterations`);
}

function part(title, head, rows) {
  const table = make("table", {}, make("thead", {}, row(...head.map(([name, cls = "n"]) => make("th", { scope: "col", class: cls }, name)))), make("tbody", {}, ...rows));
  return make("section", {}, make("h2", {}, title), make("div", { class: "wide", tabIndex: 0, role: "region", "aria-label": title }, table));
}

const PERCENTILES = ["avg", "min", "med", "p90", "p95", "p99", "p999", "max"];
const TREND_HEAD = [["avg"], ["min"], ["p50"], ["p90"], ["p95"], ["p99"], ["p99.9"], ["max"]];
const trendCells = (agg) => PERCENTILES.map((key) => cell(show.ms(agg[key]), "n"));
const heading = (content) => make("th", { scope: "row", class: "long" }, content);

function showFinal(summary) {
  const trends = summary.metrics.filter((m) => m.kind === "trend");
  const bytes = (n) => `${show.rate(n / 1e6)} MB`;
  const others = summary.metrics.filter((m) => m.kind !== "trend").map((m) => {
    const { agg } = m, isBytes = m.metric.startsWith("data_");
    const value = { counter: () => (isBytes ? bytes(agg.count) : show.count(agg.count)), rate: () => show.share(agg.rate), gauge: () => String(Math.round(agg.last * 100) / 100) }[m.kind]();
    const more = { counter: () => (isBytes ? `${bytes(agg.per_second)}/s` : `${show.rate(agg.per_second)}/s`), rate: () => `of ${show.count(agg.count)}`, gauge: () => `min ${Math.round(agg.min * 100) / 100}, max ${Math.round(agg.max * 100) / 100}` }[m.kind]();
    return row(heading(m.metric), cell(value, "n"), cell(more, "n"));
  });
  const requests = summary.snapshot.series.filter((s) => s.metric === "http_req_response").sort((x, y) => y.agg.p95 - x.agg.p95);
  const parts = [
    part("Requests, slowest first", [["Request", ""], ["Ended in", ""], ["Count"], ...TREND_HEAD], requests.map((s) => row(
      heading(bdi(`${s.tags.method} ${s.tags.name}`)), cell(inert([s.tags.status, s.tags.error_kind].filter(Boolean).join(" "))), cell(show.count(s.agg.count), "n"), ...trendCells(s.agg)))),
    part("Durations", [["Metric", ""], ["Count"], ...TREND_HEAD], trends.map((m) => row(heading(m.metric), cell(show.count(m.agg.count), "n"), ...trendCells(m.agg)))),
    part("Counts and rates", [["Metric", ""], ["Value"], ["More"]], others),
  ];
  if (summary.checks.length > 0) {
    parts.unshift(part("Checks", [["Check", ""], ["Passes"], ["Fails"], ["Most frequent failure", ""]], summary.checks.map((c) => row(
      heading(bdi(c.name)), cell(show.count(c.passes), "n"), cell(show.count(c.fails), c.fails > 0 ? "n bad" : "n"), make("td", { class: "long" }, c.details.length > 0 ? bdi(c.details[0].text) : "")))));
  }
  if (summary.plugins.length > 0) {
    parts.push(part("Plugins", [["Plugin", ""], ["Calls"], ["Errors"]], summary.plugins.map((p) => row(heading(bdi(p.name)), cell(show.count(p.calls), "n"), cell(show.count(p.errors), p.errors > 0 ? "n bad" : "n")))));
  }
  $("final").replaceChildren(...parts);
  $("final").hidden = false;
}

/** Asks the run for something; what it says against it is shown. */
async function ask(wish) {
  const headers = { "Content-Type": "application/json" };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  try {
    const answer = await fetch("/control", { method: "POST", headers, body: JSON.stringify(wish) });
    if (!answer.ok) say((await answer.json().catch(() => ({}))).error ?? `refused with status ${answer.status}`);
    return answer.ok;
  } catch {
    say("The run cannot be reached.");
    return false;
  }
}

// A stop cannot be taken back, so the button asks once more.
let unsure = null;
$("stop").addEventListener("click", async () => {
  const button = $("stop");
  if (unsure === null) {
    button.textContent = "Really stop?";
    button.classList.add("sure");
    unsure = setTimeout(settle, 4000);
    return;
  }
  settle();
  button.disabled = await ask({ do: "stop" });
});

function settle() {
  clearTimeout(unsure);
  unsure = null;
  $("stop").textContent = "Stop";
  $("stop").classList.remove("sure");
}

$("pause").addEventListener("click", () => ask({ do: state === "paused" ? "resume" : "pause" }));

/** For each scenario that takes one, a field for its number of virtual users and one for its rate. */
function showControl(told) {
  state = told.state;
  $("pause").textContent = state === "paused" ? "Go on" : "Pause";
  const isOn = state === "running" || state === "paused";
  $("pause").disabled = !isOn;
  $("stop").disabled = !isOn;
  const takers = told.scenarios.filter((s) => s.takes_vus || s.takes_rate);
  $("aims").hidden = takers.length === 0;
  if ($("aims").childElementCount === 0) {
    for (const [index, scenario] of takers.entries()) {
      if (scenario.takes_vus) $("aims").append(aim(scenario, `vus-${index}`, "Virtual users", scenario.max_vus, 1, (vus) => ({ do: "vus", vus })));
      if (scenario.takes_rate) $("aims").append(aim(scenario, `rate-${index}`, "Iterations/s", 1e8, "any", (per_second) => ({ do: "rate", per_second })));
    }
  }
  for (const control of $("aims").querySelectorAll("input, button")) control.disabled = !isOn;
}

function aim(scenario, id, what, max, step, wish) {
  const field = make("input", { id, type: "number", min: 0, max, step });
  const button = make("button", { type: "button" }, "Set");
  const set = async () => {
    if (field.value === "" || !field.checkValidity()) return say(`${what}: a number from 0 to ${max}.`);
    if (await ask({ ...wish(Number(field.value)), scenario: scenario.name })) say(`${what} of ${inert(scenario.name)}: ${field.value}.`);
  };
  button.addEventListener("click", set);
  field.addEventListener("keydown", (event) => event.key === "Enter" && set());
  return make("span", {}, make("label", { htmlFor: id }, `${what} of `, bdi(scenario.name)), field, button);
}

$("seconds-part").addEventListener("toggle", () => about && showSeconds());

let losses = 0;
const source = new EventSource(withToken("/events"));
const told = (name, f) => source.addEventListener(name, (event) => { losses = 0; f(JSON.parse(event.data)); });
told("about", begin);
told("past", (past) => { points = past; for (const chart of charts) chart.show(points); });
told("second", second);
told("end", end);
source.addEventListener("error", () => {
  if (isOver) return;
  $("phase").textContent = "connection lost";
  $("phase").className = "badge lost";
  losses += 1;
  if (losses > 10 || source.readyState === EventSource.CLOSED) {
    source.close();
    say("The run's process cannot be reached any more; load the page again if it goes on.");
    $("controls").hidden = true;
    $("aims").hidden = true;
  }
});
