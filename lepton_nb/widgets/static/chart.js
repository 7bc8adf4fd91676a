// The view of a live chart: it holds the points, draws the newest state, and says when that is done.

const LIBRARIES = Symbol.for("lepton-nb.plotly");
const FRAME_MS = 40;
// A view that hears nothing for so long says again what it shows: an answer or a frame is lost where a connection is.
const IDLE_MS = [2000, 10000];
// Pixels; in less, a legend goes below the plot and words are smaller.
const NARROW = 420;
const ARRAYS = { f8: Float64Array, f4: Float32Array, i4: Int32Array, i2: Int16Array, u1: Uint8Array };
const CONFIG = {
  displaylogo: false,
  // A chart is sent nowhere.
  showSendToCloud: false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  doubleClick: "reset+autosize",
};

async function library(model) {
  const id = model.get("_library").slice("IPY_MODEL_".length);
  const source = await model.widget_manager.get_model(id);
  const known = (globalThis[LIBRARIES] ??= {});
  return (known[source.get("version")] ??= evaluate(source.get("script")));
}

// As a module of its own: a page's AMD loader is not asked, and another plotly.js on the page stays what it is.
async function evaluate(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const text = await new Response(stream).text();
  const source = `const module = { exports: {} };\n${text}\nexport default module.exports;`;
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const before = Object.getOwnPropertyDescriptor(window, "Plotly");
  try {
    return (await import(address)).default;
  } finally {
    URL.revokeObjectURL(address);
    if (before) Object.defineProperty(window, "Plotly", before);
    else delete window.Plotly;
  }
}

function unpack(array, buffers) {
  if (array === undefined) return undefined;
  const view = array.data ?? buffers[array.buffer];
  const kind = ARRAYS[array.dtype];
  // A copy: what arrives need not lie at a multiple of the size of its numbers.
  return new kind(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

function joined(old, at, more) {
  const all = new more.constructor(at + more.length);
  all.set(old.subarray(0, at));
  all.set(more, at);
  return all;
}

function isDark(element) {
  for (let one = element; one; one = one.parentElement) {
    const parts = getComputedStyle(one).backgroundColor.match(/[\d.]+/g)?.map(Number);
    if (parts && (parts.length < 4 || parts[3] > 0.5)) {
      return 0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2] < 128;
    }
  }
  return matchMedia("(prefers-color-scheme: dark)").matches && !document.body.dataset.jpThemeLight;
}

class View {
  constructor(model, el, plotly) {
    Object.assign(this, { model, el, plotly, traces: [], layout: {}, number: 0, drawn: 0, stopped: false });
    this.busy = this.dirty = false;
    this.root = document.createElement("div");
    this.root.className = "lepton-chart";
    this.root.tabIndex = 0;
    this.root.setAttribute("role", "figure");
    this.plot = document.createElement("div");
    this.words = document.createElement("p");
    this.words.className = "lepton-chart-words";
    this.words.id = `lepton-chart-${crypto.randomUUID?.() ?? Math.random().toString(36).slice(2)}`;
    this.root.setAttribute("aria-describedby", this.words.id);
    this.root.append(this.plot, this.words);
    el.append(this.root);
    this.dark = isDark(el);
  }

  start() {
    const { model } = this;
    this.heard = (content, buffers) => content.kind === "frame" && this.take(content, buffers);
    this.ranged = () => this.showRange();
    this.chosen = () => {
      this.dirty = true;
      this.later();
    };
    this.named = () => this.root.setAttribute("aria-label", model.get("label"));
    model.on("msg:custom", this.heard);
    model.on("change:x_range", this.ranged);
    model.on("change:label", this.named);
    model.on("change:hidden", this.chosen);
    this.named();
    const state = model.get("_frame");
    this.take(state, []);
    model.send({ kind: "ready", width: this.width, seen: state.revision });
    this.sized = new ResizeObserver(() => this.resize());
    this.sized.observe(this.root);
    this.themed = new MutationObserver(() => this.checkTheme());
    for (const one of [document.documentElement, document.body]) {
      this.themed.observe(one, { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-light"] });
    }
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.schemed = () => setTimeout(() => this.checkTheme(), 100);
    this.scheme.addEventListener("change", this.schemed);
    this.seen = () => document.hidden || this.later();
    document.addEventListener("visibilitychange", this.seen);
    this.root.addEventListener("keydown", (event) => this.key(event));
  }

  get width() {
    return Math.round(this.root.clientWidth || 800);
  }

  take(frame, buffers) {
    if (!frame.whole && frame.number <= this.number) return;
    this.number = Math.max(this.number, frame.number);
    clearTimeout(this.idle);
    if (frame.layout) this.layout = frame.layout;
    if (frame.whole) this.traces.length = frame.traces.length;
    for (const part of frame.traces) {
      const old = this.traces[part.index];
      const trace = part.options ? { ...part.options } : { ...old };
      if (part.x && part.at !== undefined) {
        if (!old?.x || old.x.length < part.at) return this.model.send({ kind: "again" });
        trace.x = joined(old.x, part.at, unpack(part.x, buffers));
        trace.y = joined(old.y, part.at, unpack(part.y, buffers));
      } else if (part.x) {
        trace.x = unpack(part.x, buffers);
        trace.y = unpack(part.y, buffers);
      }
      this.traces[part.index] = trace;
    }
    if (frame.text !== undefined) this.words.textContent = frame.text;
    this.dirty = true;
    this.later();
  }

  later() {
    if (this.busy || !this.dirty || this.stopped) return;
    this.busy = true;
    if (document.hidden) {
      // Nobody looks, and a hidden page gets no animation frames: the points are kept, the drawing waits.
      this.answer(this.number);
      this.busy = false;
    } else {
      requestAnimationFrame(() => this.draw());
    }
  }

  async draw() {
    const began = performance.now();
    const number = this.number;
    this.dirty = false;
    try {
      if (!this.stopped) await this.react();
    } finally {
      const left = FRAME_MS - (performance.now() - began);
      if (left > 0) await new Promise((done) => setTimeout(done, left));
      this.busy = false;
      if (!this.stopped) {
        this.root.dataset.frame = number;
        if (number) this.answer(number);
        this.later();
      }
    }
  }

  answer(number) {
    this.model.send({ kind: "shown", number });
    clearTimeout(this.idle);
    const ask = (time) => {
      if (this.stopped || time >= IDLE_MS.length) return;
      this.idle = setTimeout(() => {
        this.model.send({ kind: "idle", number: this.number });
        ask(time + 1);
      }, IDLE_MS[time]);
    };
    ask(0);
  }

  async react() {
    const first = !this.plot.on;
    this.squeezed = this.narrow;
    const layout = this.styled();
    this.drawing = true;
    try {
      await this.plotly.react(this.plot, this.coloured(), layout, { ...CONFIG, responsive: false });
    } finally {
      this.drawing = false;
    }
    if (first) {
      this.plot.on("plotly_relayout", (event) => this.moved(event));
      this.root.dataset.ready = "true";
    }
  }

  styled() {
    const ink = this.dark ? "#e8e8e8" : "#262626";
    const grid = this.dark ? "#474747" : "#e2e2e2";
    const layout = { ...this.layout, autosize: true, datarevision: ++this.drawn, uirevision: "kept" };
    delete layout.width;
    layout.paper_bgcolor ??= "rgba(0,0,0,0)";
    layout.plot_bgcolor ??= "rgba(0,0,0,0)";
    layout.font = { color: ink, ...layout.font };
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: ink, activecolor: "#0072B2", ...layout.modebar };
    layout.hoverlabel = { bgcolor: this.dark ? "#303030" : "#ffffff", ...layout.hoverlabel };
    layout.hoverlabel.font = { color: ink, ...layout.hoverlabel.font };
    for (const name of new Set(["xaxis", "yaxis", ...Object.keys(layout).filter((key) => /^[xy]axis\d+$/.test(key))])) {
      const axis = { gridcolor: grid, linecolor: grid, zerolinecolor: grid, ...layout[name] };
      // Plotly writes into the range that it is given, and what was told to the kernel must stay as it was told. An axis
      // without one says so outright: plotly.js takes it for moved by a reader where the figure before gave it a range.
      layout[name] = axis.range ? { ...axis, range: [...axis.range] } : { autorange: true, ...axis };
    }
    const range = this.model.get("x_range");
    for (const name of range && !layout.xaxis.range ? this.followers(layout) : []) {
      layout[name] = { ...layout[name], range: [...range], autorange: false };
    }
    if (this.dark) {
      layout.shapes = layout.shapes?.map((shape) => ({ ...shape, line: this.light(shape.line) }));
    }
    if (this.narrow) this.squeeze(layout);
    return layout;
  }

  get narrow() {
    return this.width < NARROW;
  }

  squeeze(layout) {
    const small = (font) => ({ ...font, size: Math.min(font?.size ?? 12, this.width < NARROW / 1.5 ? 8 : 10) });
    layout.font = small(layout.font);
    layout.legend = {
      ...layout.legend, orientation: "h", x: 0, xanchor: "left", xref: "paper", y: 0, yanchor: "bottom", yref: "container",
    };
    layout.annotations = layout.annotations?.map((note) => ({ ...note, font: small(note.font) }));
  }

  light(style) {
    return this.dark && /^(#0{3}|#0{6}|black)$/.test(style?.color) ? { ...style, color: "#ffffff" } : style;
  }

  coloured() {
    const hidden = new Set(this.model.get("hidden"));
    return this.traces.map((one) => {
      const shown = hidden.has(one.name) ? { ...one, visible: "legendonly" } : one;
      // A trace without a marker must not get one that is undefined: Plotly looks into what is named.
      const inked = ["line", "marker"].filter((part) => this.dark && one[part]);
      return { ...shown, ...Object.fromEntries(inked.map((part) => [part, this.light(one[part])])) };
    });
  }

  // Plotly tells of each move: the kernel sends what can be seen of it, and linked charts follow.
  moved(event) {
    if (this.drawing) return;
    let range;
    if (event["xaxis.autorange"]) range = null;
    else if (event["xaxis.range"]) range = [...event["xaxis.range"]];
    else if ("xaxis.range[0]" in event) range = [event["xaxis.range[0]"], event["xaxis.range[1]"]];
    if (range === undefined || JSON.stringify(range) === JSON.stringify(this.model.get("x_range"))) return;
    this.model.set("x_range", range);
    this.model.save_changes();
  }

  // The x axes that show the range of the first: with times, all that have times.
  followers(layout) {
    const names = Object.keys(layout).filter((key) => /^xaxis\d*$/.test(key));
    const timed = layout.xaxis?.type === "date";
    return names.filter((name) => name === "xaxis" || (timed && layout[name].type === "date" && !layout[name].matches));
  }

  showRange() {
    const range = this.model.get("x_range");
    const axis = this.plot._fullLayout?.xaxis;
    if (!axis) return;
    const same = range ? !axis.autorange && JSON.stringify(axis.range) === JSON.stringify(range) : axis.autorange;
    if (same) return;
    const change = {};
    for (const name of this.followers(this.plot._fullLayout)) {
      if (range) change[`${name}.range`] = [...range];
      change[`${name}.autorange`] = !range;
    }
    this.plotly.relayout(this.plot, change);
  }

  key(event) {
    const axis = this.plot._fullLayout?.xaxis;
    if (!axis || event.target !== this.root || event.ctrlKey || event.metaKey || event.altKey) return;
    const [low, high] = axis.range.map((end) => axis.r2l(end));
    const moves = { ArrowLeft: [-0.1, -0.1], ArrowRight: [0.1, 0.1], "+": [0.1, -0.1], "=": [0.1, -0.1], "-": [-0.125, 0.125] };
    let change;
    if (event.key === "Home" || event.key === "0") change = { "xaxis.autorange": true, "yaxis.autorange": true };
    else if (moves[event.key]) {
      const ends = [low + moves[event.key][0] * (high - low), high + moves[event.key][1] * (high - low)];
      change = { "xaxis.range[0]": axis.l2r(ends[0]), "xaxis.range[1]": axis.l2r(ends[1]) };
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.plotly.relayout(this.plot, change);
  }

  resize() {
    if (!this.plot.on || this.stopped || !this.root.clientWidth) return;
    if (this.narrow !== this.squeezed) {
      this.dirty = true;
      this.later();
    }
    this.plotly.Plots.resize(this.plot);
    if (Math.abs(this.width - (this.told ?? 0)) > 0.1 * this.width) {
      this.told = this.width;
      this.model.send({ kind: "width", width: this.width });
    }
  }

  checkTheme() {
    const dark = isDark(this.el);
    if (dark === this.dark || this.stopped) return;
    this.dark = dark;
    this.dirty = true;
    this.later();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.idle);
    this.model.off("msg:custom", this.heard);
    this.model.off("change:x_range", this.ranged);
    this.model.off("change:label", this.named);
    this.model.off("change:hidden", this.chosen);
    this.sized.disconnect();
    this.themed.disconnect();
    this.scheme.removeEventListener("change", this.schemed);
    document.removeEventListener("visibilitychange", this.seen);
    try {
      this.model.send({ kind: "gone" });
    } catch {
      // The kernel is gone already.
    }
    if (this.plot.on) this.plotly.purge(this.plot);
  }
}

async function render({ model, el }) {
  const view = new View(model, el, await library(model));
  view.start();
  return () => view.stop();
}

export default { render };
