/** Canvases that play in step with the painter, each with a layer of token colours to click on. */
class Views {
  constructor(root) {
    this.root = root;
    this.grid = root.querySelector(".grid");
    this.blend = root.querySelector("input");
    this.cell = null; // [row, column] under the pointer, in every view
    this.picking = new Picking();
    this.shown = []; // one {note, layer, figure} a view
    this.blend.addEventListener("input", () => this.draw());
    const resized = new ResizeObserver(() => this.drawInk());
    resized.observe(this.grid);
    const leave = [
      stage.on("frame", () => this.draw()),
      stage.on("clip", () => this.draw()),
      stage.on("mask", () => this.drawInk()),
      stage.on("selection", () => this.drawInk()),
      () => resized.disconnect(),
    ];
    this.leave = () => leave.forEach((stop) => stop());
  }

  /** A message from Python: other layers, another selection, or both. */
  receive({ note, blobs }, send) {
    this.clip = note.clip;
    Object.assign(this.picking, { send, clip: note.clip });
    const [colours, ...layers] = blobs;
    this.colours = colours;
    if (!this.picking.drag) stage.select(note.selection);
    this.layOut(note.views);
    this.shown.forEach((view, i) => this.fill(view, note.views[i], layers[i]));
    showInAddress(note.query);
    this.draw();
    this.root.querySelector(".views").dataset.shown = note.query;
  }

  // ---- the figures

  /** Makes figures where there are others than the last time. */
  layOut(notes) {
    const names = notes.map((note) => note.name).join();
    if (names === this.laidOut) return;
    this.laidOut = names;
    this.shown = notes.map((note) => ({ figure: this.makeFigure(note) }));
    this.grid.style.setProperty("--columns", Math.min(notes.length, 4));
    this.grid.classList.toggle("many", notes.length > 3);
    this.grid.replaceChildren(...this.shown.map((view) => view.figure));
  }

  makeFigure({ name }) {
    const figure = document.createElement("figure");
    figure.dataset.view = name;
    figure.innerHTML = `<div class="screen">
        <canvas class="film"></canvas>
        <canvas class="ink" tabindex="0" role="application"></canvas>
      </div>
      <figcaption><span tabindex="0"></span><output></output><small></small></figcaption>`;
    this.listen(figure.querySelector(".ink"));
    return figure;
  }

  /** What the figure shows from now on. */
  fill(view, note, layer) {
    const { figure } = view;
    Object.assign(view, { note, layer: note.scale ? new Float32Array(layer.buffer) : layer });
    view.outline = marks(note.outline, note.grid);
    const title = figure.querySelector("figcaption span");
    title.textContent = note.title;
    title.dataset.tip = note.tip;
    figure.querySelector(".ink").setAttribute("aria-label", `${note.title}. ${HOW_TO_SELECT}`);
    const legend = figure.querySelector("small");
    if (note.scale) showScale(legend, this.colours, note.scale);
    else legend.replaceChildren();
  }

  // ---- selecting

  listen(ink) {
    ink.addEventListener("pointerdown", (event) => this.press(ink, event));
    ink.addEventListener("pointermove", (event) => this.move(cellUnder(ink, event)));
    ink.addEventListener("pointerup", () => this.picking.end());
    ink.addEventListener("pointercancel", () => this.picking.end());
    ink.addEventListener("pointerleave", () => this.hover(null));
    ink.addEventListener("keydown", (event) => this.key(event));
    ink.addEventListener("focus", () => ink.matches(":focus-visible") && this.hover(this.cell ?? middleCell()));
  }

  /** A press stops the clip: what is selected belongs to the time step on screen. */
  press(ink, event) {
    if (event.button !== 0 || !stage.clip) return;
    ink.setPointerCapture(event.pointerId);
    stage.play(false);
    const cell = cellUnder(ink, event);
    this.picking.begin(cell, event.shiftKey);
    this.hover(cell);
  }

  move(cell) {
    this.picking.move(cell);
    this.hover(cell);
  }

  /** Keys never reach Streamlit, which would rerun on R and clear its caches on C. */
  key(event) {
    event.stopPropagation();
    const name = event.key.toLowerCase();
    const moves = ARROWS[name];
    if (!moves && !["enter", " ", "escape"].includes(name)) return;
    event.preventDefault();
    if (moves) this.hover(cellBeside(this.cell, moves));
    else if (name === " ") stage.play(!stage.playing);
    else this.selectByKey(name, event.shiftKey);
  }

  selectByKey(name, adds) {
    if (name === "enter" && !this.cell) return;
    if (name === "enter") this.picking.begin(this.cell, adds);
    else stage.select([]);
    this.picking.drag = null;
    this.picking.tell();
  }

  hover(cell) {
    if (String(cell) === String(this.cell)) return;
    this.cell = cell;
    this.drawInk();
  }

  // ---- pictures

  draw() {
    if (!stage.clip) return;
    this.shown.forEach((view) => this.drawFilm(view));
    this.drawInk();
  }

  drawFilm(view) {
    const canvas = view.figure.querySelector(".film");
    const { size } = stage.clip;
    if (canvas.width !== size) canvas.width = canvas.height = size;
    const context = canvas.getContext("2d");
    stage.drawFrame(context);
    if (stage.clipId !== this.clip) return; // the layers of this clip are still to come
    context.globalAlpha = Number(this.blend.value);
    const { patch } = stage;
    if (view.note.dropsHidden) stage.forHidden((_, x, y) => context.clearRect(x, y, patch, patch));
    stage.forEach((token, x, y) => {
      const colour = this.colourAt(view, token);
      if (!colour) return;
      context.fillStyle = colour;
      context.fillRect(x, y, patch, patch);
    });
    context.globalAlpha = 1;
  }

  /** What a view paints over a token; nothing where it has no value. */
  colourAt({ note, layer }, token) {
    if (!note.scale) return rgb(layer, token);
    return Number.isFinite(layer[token]) && colourOf(layer[token], note.scale, this.colours);
  }

  drawInk() {
    if (!stage.clip) return;
    this.shown.forEach((view) => {
      const canvas = view.figure.querySelector(".ink");
      const scale = window.devicePixelRatio;
      canvas.width = canvas.clientWidth * scale;
      canvas.height = canvas.clientHeight * scale;
      const side = canvas.width / stage.grid[2];
      const context = canvas.getContext("2d");
      strokeTwice(context, outlineOf(view.outline, side), scale, this.accent());
      drawSelection(context, side, scale);
      if (this.cell) drawGrid(context, side, scale, this.cell);
      this.showValue(view);
    });
  }

  accent() {
    return getComputedStyle(this.root.querySelector(".views")).accentColor;
  }

  /** The number under the pointer. */
  showValue({ figure, note, layer }) {
    const value = this.cell && note.scale ? layer[tokenAt(this.cell)] : NaN;
    const said = Number.isFinite(value) ? `${note.unit} ${short(value)}` : "";
    figure.querySelector("output").textContent = said;
  }
}

const HOW_TO_SELECT =
  "Click a patch to select it, drag over several, shift adds. Arrows move, enter selects, escape selects nothing, space plays.";

export default function ({ parentElement, data, setStateValue }) {
  const views = instanceOn(parentElement, () => new Views(parentElement));
  views.receive(unpack(data), (pick) => setStateValue("pick", pick));
  return () => views.leave();
}
