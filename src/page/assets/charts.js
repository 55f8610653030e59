"use strict";
// Line charts over the seconds of a run, with one crosshair for all of them. All text goes in as text.

/** A new element: its name, its properties, what is in it. */
function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") element.className = value;
    else if (key.startsWith("aria-") || key === "scope" || key === "role") element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

function makeSvg(name, attributes = {}, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

const show = {
  count: (n) => whole.format(n),
  rate: (n) => (n === 0 ? "0" : n < 100 ? n.toFixed(n < 10 ? 2 : 1) : whole.format(n)),
  share: (n) => n === 0 ? "0 %" : `${(n * 100).toFixed(n < 0.1 ? 2 : n < 1 ? 1 : 0)} %`,
  /** Milliseconds with the unit that fits. */
  ms(ms) {
    if (!(ms > 0)) return "0";
    const [value, unit] = ms < 1 ? [ms * 1e3, "µs"] : ms < 1e3 ? [ms, "ms"] : [ms / 1e3, "s"];
    return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0) + " " + unit;
  },
  secs(secs) {
    const s = Math.round(secs);
    if (s < 60) return `${s}s`;
    const two = (n) => String(n).padStart(2, "0");
    return s < 3600 ? `${Math.floor(s / 60)}m${two(s % 60)}s` : `${Math.floor(s / 3600)}h${two(Math.floor(s / 60) % 60)}m`;
  },
};

/** Round steps that cut 0 to `most` in about `parts`. */
function steps(most, parts) {
  const raw = most / parts;
  const magnitude = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * magnitude >= raw) * magnitude;
  const at = [];
  for (let value = 0; value <= most * 1.0001; value += step) at.push(value);
  return { step, at };
}

const MARGIN = { top: 8, right: 8, bottom: 20, left: 58 };

/** The second that all charts point at; null for the latest. */
const cross = { at: null, charts: [], set(at) { this.at = at; for (const chart of this.charts) chart.draw(); } };

class Chart {
  /** `series`: name, cls (a colour), of (a point to a number or null), dashed. `floor`: the least height of the scale. */
  constructor(parent, { id, title, format, series, floor = 0, ceiling = null, hasLog = false }) {
    Object.assign(this, { title, format, series, floor, ceiling, points: [], isLog: false });
    this.caption = make("figcaption", {}, make("h2", {}, title));
    this.keys = series.map(({ name, cls, dashed }) => {
      const value = make("b", {});
      const key = make("span", { class: "key" }, make("i", { class: `s-${cls}${dashed ? " dashed" : ""}` }), name + " ", value);
      this.caption.append(key);
      return value;
    });
    if (hasLog) {
      const button = make("button", { type: "button", class: "scale", "aria-pressed": "false" }, "log scale");
      button.addEventListener("click", () => {
        this.isLog = !this.isLog;
        button.setAttribute("aria-pressed", this.isLog);
        button.textContent = this.isLog ? "linear scale" : "log scale";
        this.draw();
      });
      this.caption.append(button);
    }
    this.svg = makeSvg("svg", { tabindex: "0", role: "img" });
    this.spoken = make("p", { class: "skip", "aria-live": "polite" });
    parent.append(make("figure", { id }, this.caption, this.svg, this.spoken));
    this.svg.addEventListener("pointermove", (event) => cross.set(this.secondAt(event.clientX)));
    this.svg.addEventListener("pointerleave", () => cross.set(null));
    this.svg.addEventListener("blur", () => cross.set(null));
    this.svg.addEventListener("keydown", (event) => this.step(event));
    new ResizeObserver(() => this.draw()).observe(this.svg);
    cross.charts.push(this);
  }

  show(points) {
    this.points = points;
    this.draw();
  }

  domain() {
    const last = this.points.at(-1)?.at_secs ?? 0;
    const first = this.points[0]?.at_secs ?? 0;
    return [Math.min(first, Math.max(0, last - 10)), Math.max(last, first + 10)];
  }

  secondAt(clientX) {
    const box = this.svg.getBoundingClientRect();
    const [from, to] = this.domain();
    const share = (clientX - box.left - MARGIN.left) / Math.max(1, box.width - MARGIN.left - MARGIN.right);
    return this.nearest(from + share * (to - from))?.at_secs ?? null;
  }

  nearest(secs) {
    let best = null;
    for (const point of this.points) {
      if (best === null || Math.abs(point.at_secs - secs) < Math.abs(best.at_secs - secs)) best = point;
    }
    return best;
  }

  /** Arrow keys move the crosshair, and what is there is said. */
  step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") return cross.set(null);
    if (by === undefined || this.points.length === 0) return;
    event.preventDefault();
    const at = this.points.indexOf(this.nearest(cross.at ?? Infinity) ?? this.points.at(-1));
    const from = at < 0 ? this.points.length - 1 : at;
    const point = this.points[Math.min(this.points.length - 1, Math.max(0, from + by))];
    cross.set(point.at_secs);
    this.spoken.textContent = `${show.secs(point.at_secs)}: ${this.said(point)}`;
  }

  said(point) {
    const of = ({ name, of }) => {
      const value = of(point);
      return `${name} ${value === null || value === undefined ? "none" : this.format(value)}`;
    };
    return this.series.map(of).join(", ");
  }

  draw() {
    const width = this.svg.clientWidth, height = this.svg.clientHeight;
    if (width === 0 || height === 0) return;
    const [from, to] = this.domain();
    const inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
    let most = this.floor, least = Infinity;
    for (const point of this.points) {
      for (const { of } of this.series) {
        const value = of(point);
        if (value > most) most = value;
        if (value > 0 && value < least) least = value;
      }
    }
    if (this.ceiling !== null) most = Math.min(most, this.ceiling);
    if (!(most > 0)) most = 1;
    const isLog = this.isLog && least < most;
    let ticks;
    const low = isLog ? 10 ** Math.floor(Math.log10(least)) : 0;
    if (isLog) {
      most = 10 ** Math.ceil(Math.log10(most));
      ticks = [];
      for (let value = low; value <= most * 1.0001; value *= 10) ticks.push(value);
    } else {
      const { at, step } = steps(most, 4);
      if (at.at(-1) < most * 0.999) at.push(at.at(-1) + step);
      ticks = at;
      most = at.at(-1);
    }
    const x = (secs) => MARGIN.left + ((secs - from) / (to - from)) * inner.width;
    const share = isLog
      ? (value) => Math.log10(Math.max(value, low) / low) / Math.log10(most / low)
      : (value) => Math.min(1, value / most);
    const y = (value) => MARGIN.top + (1 - share(value)) * inner.height;
    const parts = [];
    for (const value of ticks) {
      parts.push(makeSvg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }));
      parts.push(makeSvg("text", { x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, this.format(value)));
    }
    const { at: times } = steps(to, Math.max(2, Math.min(6, Math.floor(inner.width / 60))));
    for (const secs of times.filter((secs) => secs >= from && secs <= to)) {
      const anchor = x(secs) > width - 24 ? "end" : "middle";
      parts.push(makeSvg("text", { x: x(secs), y: height - 5, "text-anchor": anchor }, show.secs(secs)));
    }
    for (const { of, cls, dashed } of this.series) {
      let path = "", isDown = false;
      for (const point of this.points) {
        const value = of(point);
        if (value === null || value === undefined) { isDown = false; continue; }
        path += `${isDown ? "L" : "M"}${x(point.at_secs).toFixed(1)} ${y(value).toFixed(1)}`;
        isDown = true;
      }
      // One second is a line of no length: a dot, by its round ends.
      if (this.points.length === 1 && path !== "") path += "h0.1";
      parts.push(makeSvg("path", { d: path, class: `s-${cls}${dashed ? " dashed" : ""}`, fill: "none" }));
    }
    const pointed = cross.at === null ? null : this.nearest(cross.at);
    if (pointed !== null) {
      const at = x(pointed.at_secs);
      parts.push(makeSvg("line", { class: "cross", x1: at, x2: at, y1: MARGIN.top, y2: height - MARGIN.bottom }));
      const anchor = at > width / 2 ? ["end", -5] : ["start", 5];
      parts.push(makeSvg("text", { x: at + anchor[1], y: MARGIN.top + 8, "text-anchor": anchor[0] }, show.secs(pointed.at_secs)));
      for (const { of, cls } of this.series) {
        const value = of(pointed);
        if (value !== null && value !== undefined) parts.push(makeSvg("circle", { cx: at, cy: y(value), r: 3, class: `s-${cls}` }));
      }
    }
    this.svg.replaceChildren(...parts);
    const shown = pointed ?? this.points.at(-1);
    this.series.forEach(({ of }, index) => {
      const value = shown ? of(shown) : null;
      this.keys[index].textContent = value === null || value === undefined ? "–" : this.format(value);
    });
    const latest = this.points.at(-1);
    this.svg.setAttribute("aria-label", `${this.title} over time. ${latest ? `Now ${this.said(latest)}. ` : ""}Arrow keys go through the seconds.`);
  }
}
