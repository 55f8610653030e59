"use strict";
(() => {
  const NS = "http://www.w3.org/2000/svg";
  const HEIGHT = 210, TOP = 8, BOTTOM = 24, RIGHT = 12;
  const { charts } = JSON.parse(document.getElementById("data").textContent);
  const said = document.getElementById("said");

  const svg = (name, attributes, parent) => {
    const node = document.createElementNS(NS, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (parent) parent.append(node);
    return node;
  };
  const html = (name, className, text, parent) => {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  };

  // Figures as the tables show them.
  const three = v => v < 10 ? v.toFixed(2) : v < 100 ? v.toFixed(1) : v.toFixed(0);
  const milliseconds = ms => ms <= 0 ? "0" : ms < 1 ? three(ms * 1e3) + " µs" : ms < 1e3 ? three(ms) + " ms" : three(ms / 1e3) + " s";
  const grouped = v => v >= 1e4 ? Math.round(v).toLocaleString("en").replaceAll(",", "\u202f") : v >= 100 ? v.toFixed(0) : String(+v.toFixed(2));
  const show = (v, unit) => v == null ? "–" : unit === "ms" ? milliseconds(v) : unit === "%" ? (v > 0 && v < 0.01 ? "< 0.01" : v.toFixed(2)) + " %" : grouped(v) + unit;
  const short = (v, unit) => {
    if (unit === "ms") return v === 0 ? "0" : v < 1 ? +(v * 1e3).toPrecision(3) + " µs" : v < 1e3 ? +v.toPrecision(3) + " ms" : +(v / 1e3).toPrecision(3) + " s";
    const text = v >= 1e6 ? +(v / 1e6).toPrecision(3) + " M" : v >= 1e4 ? +(v / 1e3).toPrecision(3) + " k" : String(+v.toPrecision(3));
    return unit === "%" ? text + " %" : text;
  };
  const clock = t => t < 60 ? +t.toFixed(1) + " s" : Math.floor(t / 60) + ":" + String(Math.floor(t % 60)).padStart(2, "0");

  // 1, 2 and 5 times powers of ten: at least up to the largest value.
  const ticks = (most, wanted) => {
    if (!(most > 0)) return [0, 1];
    const rough = most / wanted, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= rough * 0.999);
    const all = [];
    for (let i = 0; i * step < most + step; i++) all.push(+(i * step).toPrecision(12));
    return all;
  };
  const timeStep = (span, wanted) => [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400]
    .find(s => s >= span / wanted) || span / wanted;

  // The place of an x on its axis, in units of the axis.
  const scales = {
    time: x => x,
    // Halfway between 99 and 99.9 as between 90 and 99.
    percentile: p => Math.min(5, -Math.log10(Math.max(1e-7, 1 - p / 100))),
  };

  const nearest = (xs, x) => {
    let low = 0, high = xs.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (xs[middle] < x) low = middle + 1; else high = middle;
    }
    return low > 0 && x - xs[low - 1] < xs[low] - x ? low - 1 : low;
  };

  const views = [];

  class View {
    constructor(chart, figure) {
      this.chart = chart;
      this.figure = figure;
      this.plot = figure.querySelector(".plot");
      this.place = scales[chart.scale];
      const legend = figure.querySelector(".legend");
      this.at = html("span", "", "", legend);
      this.values = chart.lines.map(line => {
        const item = html("span", "", undefined, legend);
        html("span", "swatch f-" + line.color, undefined, item);
        item.append(line.name + " ");
        return html("b", "", "", item);
      });
      this.xs = [...new Set(chart.lines.flatMap(line => line.x))].sort((a, b) => a - b);
      figure.addEventListener("pointermove", event => this.point(event));
      figure.addEventListener("pointerdown", event => this.point(event));
      figure.addEventListener("pointerleave", () => moveAll(this.chart.scale, null));
      figure.addEventListener("keydown", event => this.key(event));
      figure.addEventListener("blur", () => moveAll(this.chart.scale, null));
      new ResizeObserver(() => this.draw()).observe(this.plot);
      this.draw();
    }

    draw() {
      const width = Math.max(220, this.plot.clientWidth);
      if (width === this.width) return;
      this.width = width;
      const { chart, xs } = this;
      const most = Math.max(0, ...chart.lines.map(line => line.y.reduce((m, v) => v > m ? v : m, 0)));
      const yTicks = ticks(most, 4);
      const top = yTicks[yTicks.length - 1];
      const left = 10 + 6.4 * Math.max(...yTicks.map(v => short(v, chart.unit).length));
      const first = chart.scale === "time" ? 0 : this.place(xs[0] ?? 0);
      const last = this.place(xs[xs.length - 1] ?? 1) || 1;
      this.x = x => left + (this.place(x) - first) / (last - first || 1) * (width - left - RIGHT);
      this.y = y => TOP + (1 - y / top) * (HEIGHT - TOP - BOTTOM);
      this.plot.replaceChildren();
      const root = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, "aria-hidden": "true" }, this.plot);
      for (const tick of yTicks) {
        svg("line", { x1: left, x2: width - RIGHT, y1: this.y(tick), y2: this.y(tick), class: tick ? "grid" : "axis" }, root);
        svg("text", { x: left - 6, y: this.y(tick) + 4, "text-anchor": "end" }, root).textContent = short(tick, chart.unit);
      }
      for (const [x, text] of this.xTicks(xs[xs.length - 1] ?? 1, width)) {
        svg("line", { x1: this.x(x), x2: this.x(x), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4, class: "axis" }, root);
        svg("text", { x: this.x(x), y: HEIGHT - 6, "text-anchor": "middle" }, root).textContent = text;
      }
      for (const line of chart.lines) {
        let path = "", isOn = false;
        line.x.forEach((x, i) => {
          if (line.y[i] == null) { isOn = false; return; }
          // A point between two gaps is a dot: a line to where it is.
          path += `${isOn ? "L" : "M"}${this.x(x).toFixed(1)} ${this.y(line.y[i]).toFixed(1)}${isOn ? "" : "h0"}`;
          isOn = true;
        });
        svg("path", { d: path, class: "series s-" + line.color }, root);
      }
      this.cross = svg("line", { y1: TOP, y2: HEIGHT - BOTTOM, class: "cross", visibility: "hidden" }, root);
      this.dots = chart.lines.map(line => svg("circle", { r: 4, class: "dot f-" + line.color, visibility: "hidden" }, root));
    }

    xTicks(end, width) {
      if (this.chart.scale === "percentile") {
        return [0, 50, 90, 99, 99.9, 99.99, 99.999].filter(p => p <= end && (p !== 50 || width > 480)).map(p => [p, p + " %"]);
      }
      const step = timeStep(end, Math.max(2, width / 90)), all = [];
      for (let i = 0; i * step <= end * 1.0001; i++) all.push([i * step, clock(i * step)]);
      return all;
    }

    point(event) {
      if (event.type === "pointermove" && event.pointerType === "touch" && !event.isPrimary) return;
      const box = this.plot.getBoundingClientRect();
      const wanted = event.clientX - box.left;
      const at = nearest(this.xs.map(x => this.x(x)), wanted);
      moveAll(this.chart.scale, this.xs[at]);
    }

    key(event) {
      const { xs } = this, now = this.now == null ? -1 : nearest(xs, this.now);
      const to = { ArrowRight: now + 1, ArrowLeft: now < 0 ? xs.length - 1 : now - 1, Home: 0, End: xs.length - 1 }[event.key];
      if (event.key === "Escape") return moveAll(this.chart.scale, null);
      if (to === undefined || !xs.length) return;
      event.preventDefault();
      moveAll(this.chart.scale, xs[Math.max(0, Math.min(xs.length - 1, to))]);
      said.textContent = this.at.textContent + " " + this.chart.lines.map((line, i) => line.name + " " + this.values[i].textContent).join(", ");
    }

    // Shows the values at an x; none where a line has no point near it.
    move(x) {
      this.now = x;
      this.at.textContent = x == null ? "" : this.chart.scale === "time" ? "at " + clock(x) + ":" : "p" + x + ":";
      this.cross.setAttribute("visibility", x == null ? "hidden" : "visible");
      if (x != null) { this.cross.setAttribute("x1", this.x(x)); this.cross.setAttribute("x2", this.x(x)); }
      this.chart.lines.forEach((line, i) => {
        const at = x == null || !line.x.length ? -1 : nearest(line.x, x);
        const isNear = at >= 0 && (this.chart.scale === "percentile" ? line.x[at] === x : Math.abs(line.x[at] - x) <= 1.5 * (line.x[1] - line.x[0] || 1));
        const value = isNear ? line.y[at] : null;
        this.values[i].textContent = x == null ? "" : show(value, this.chart.unit);
        this.dots[i].setAttribute("visibility", value == null ? "hidden" : "visible");
        if (value != null) { this.dots[i].setAttribute("cx", this.x(line.x[at])); this.dots[i].setAttribute("cy", this.y(value)); }
      });
    }
  }

  const moveAll = (scale, x) => views.filter(view => view.chart.scale === scale).forEach(view => view.move(x));

  for (const chart of charts) {
    const figure = document.getElementById("chart-" + chart.id);
    if (figure) views.push(new View(chart, figure));
  }

  // Tables: sorted by a heading, filtered by a text.
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = html("button", "", head.textContent);
      button.type = "button";
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const isNumber = head.classList.contains("n");
        const down = head.ariaSort ? head.ariaSort === "ascending" : isNumber;
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = row => isNumber ? +row.cells[column].dataset.v : row.cells[column].textContent;
        const order = (a, b) => isNumber ? key(a) - key(b) : key(a).localeCompare(key(b), "en", { numeric: true });
        body.append(...[...body.rows].sort((a, b) => down ? order(b, a) : order(a, b)));
      });
    });
  }
  for (const input of document.querySelectorAll("input[data-filter]")) {
    const table = document.getElementById(input.dataset.filter);
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase();
      for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
  }
})();
