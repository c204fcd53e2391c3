const HISTORY = 200;
const LARGEST = 3; // patches across the brush

/** The playing clip under a sheet of tokens that can be hidden and shown. */
class Painter {
  constructor(root) {
    this.root = root;
    this.film = root.querySelector(".film");
    this.ink = root.querySelector(".ink");
    this.strip = root.querySelector(".strip");
    this.tool = "brush";
    this.size = 1; // patches across brush and eraser
    this.range = [0, 0]; // first and last time step that strokes apply to
    this.cell = null; // [row, column] under the pointer
    this.drag = null; // the stroke in progress
    this.picking = new Picking();
    this.addIcons();
    this.leave = this.listen();
    this.chooseTool("brush");
    this.setSize(1);
    this.showPlay();
    this.showHistory();
  }

  /** A message from Python: another clip, or a mask that replaces the painted one. */
  receive({ note, blobs }, { send, sendThing, sendPick }) {
    Object.assign(this, { send, sendThing });
    Object.assign(this.picking, { send: sendPick, clip: note.clip.id });
    this.offer(note.picks);
    stage.setClip(note.clip, blobs[0]);
    if (note.rev === this.rev) return;
    const { grid, bits } = note.mask;
    const mask = maskFromBits(bits, grid[0] * grid[1] * grid[2]);
    if (String(grid) !== String(stage.grid)) stage.done = stage.undone = []; // of another model
    else if (this.rev !== undefined) this.remember(stage.mask);
    this.rev = note.rev;
    if (String(grid) !== String(stage.grid) || !this.strip.children.length) this.layStrip(grid);
    stage.setMask(grid, mask);
    if (stage.clip) this.draw();
  }

  /** Where answers do not depend on the mask, a press asks about patches, and hides none. */
  offer(picks) {
    if (picks === this.picks) return;
    this.picks = picks;
    this.root.querySelector('[data-tool="pick"]').hidden = !picks;
    this.root.querySelectorAll(".hint").forEach((hint) => (hint.hidden = hint.dataset.picks !== String(picks)));
    this.chooseTool(picks ? "pick" : "brush");
  }

  // ---- what listens to what

  listen() {
    const { ink, strip, root } = this;
    ink.addEventListener("pointerdown", (event) => this.press(event));
    ink.addEventListener("pointermove", (event) => this.move(event));
    ink.addEventListener("pointerup", () => this.release());
    ink.addEventListener("pointercancel", () => this.cancel());
    ink.addEventListener("pointerenter", () => this.takeKeys());
    ink.addEventListener("focus", () => ink.matches(":focus-visible") && this.hover(this.cell ?? middleCell()));
    ink.addEventListener("pointerleave", () => this.hover(null));
    strip.addEventListener("pointerdown", (event) => this.pressStrip(event));
    strip.addEventListener("pointermove", (event) => this.moveStrip(event));
    strip.addEventListener("keydown", (event) => this.stripKey(event));
    root.querySelector(".painter").addEventListener("keydown", (event) => this.key(event));
    root.querySelectorAll("[data-tool]").forEach((button) => {
      button.addEventListener("click", () => this.chooseTool(button.dataset.tool));
    });
    root.querySelectorAll("[data-act]").forEach((button) => {
      button.addEventListener("click", () => this.act(button.dataset.act));
    });
    const resized = new ResizeObserver(() => this.drawInk());
    resized.observe(ink);
    const leave = [
      stage.on("clip", () => this.draw()),
      stage.on("frame", () => this.draw()),
      stage.on("mask", () => this.drawMask()),
      stage.on("selection", () => this.drawInk()),
      stage.on("play", () => this.showPlay()),
      () => resized.disconnect(),
    ];
    return () => leave.forEach((stop) => stop());
  }

  /** Keys never reach Streamlit, which would rerun on R and clear its caches on C. */
  key(event) {
    event.stopPropagation();
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    const act = command ? { z: event.shiftKey ? "redo" : "undo", y: "redo" }[key] : KEYS[key];
    const moves = event.shiftKey && ARROWS[key];
    const onButton = event.target.matches("button") && (key === " " || key === "enter");
    if (onButton || event.altKey || !(act || moves)) return;
    event.preventDefault();
    if (moves) this.hover(cellBeside(this.cell, moves));
    else this.act(act);
  }

  /** Shortcuts work as soon as the pointer is over the clip, unless someone types elsewhere. */
  takeKeys() {
    const quietly = { preventScroll: true, focusVisible: false };
    if (document.activeElement === document.body) this.ink.focus(quietly);
  }

  act(name) {
    const acts = {
      undo: () => this.travel(stage.done, stage.undone),
      redo: () => this.travel(stage.undone, stage.done),
      clear: () => this.change((mask) => mask.fill(0)),
      invert: () => this.change((mask) => mask.forEach((hidden, i) => (mask[i] = 1 - hidden))),
      play: () => stage.play(!stage.playing),
      back: () => stage.stepBy(-1),
      next: () => stage.stepBy(1),
      all: () => this.setRange(0, stage.grid[0] - 1),
      size: () => this.setSize((this.size % LARGEST) + 1),
      smaller: () => this.setSize(this.size - 1),
      larger: () => this.setSize(this.size + 1),
      paint: () => this.cell && this.paintCell(),
    };
    if (acts[name]) acts[name]();
    else this.chooseTool(name);
  }

  setSize(size) {
    this.size = Math.min(Math.max(size, 1), LARGEST);
    const button = this.root.querySelector('[data-act="size"]');
    this.setIcon(button, `size${this.size}`);
    button.setAttribute("aria-label", `Size of brush and eraser: ${this.size}`);
  }

  /** What a key does at the cell under the cursor. */
  paintCell() {
    if (this.tool === "thing") this.pickThing(this.cell);
    else if (this.tool === "pick") this.pick(this.cell), this.picking.end();
    else this.change((mask) => this.dab(mask, this.cell));
  }

  /** Asks Python to hide the thing at a cell; the id tells it that this is a new click. */
  pickThing(cell) {
    const id = `${Date.now()}-${Math.random()}`;
    this.sendThing({ clip: stage.clipId, id, token: tokenAt(cell) });
  }

  /** What is selected belongs to the time step on screen, which stays. */
  pick(cell, adds = false) {
    stage.play(false);
    this.picking.begin(cell, adds);
  }

  chooseTool(tool) {
    this.tool = tool;
    this.root.querySelectorAll("[data-tool]").forEach((button) => {
      button.setAttribute("aria-pressed", button.dataset.tool === tool);
    });
  }

  // ---- strokes

  press(event) {
    if (event.button !== 0 || !stage.clip) return;
    this.ink.setPointerCapture(event.pointerId);
    this.root.querySelectorAll(".hint").forEach((hint) => hint.remove()); // they have done their work
    const cell = cellUnder(this.ink, event);
    if (this.tool === "thing") return this.pickThing(cell);
    if (this.tool === "pick") return this.pick(cell, event.shiftKey);
    this.drag = { from: cell, last: cell, before: stage.mask.slice(), points: [] };
    this.move(event);
  }

  move(event) {
    const cell = cellUnder(this.ink, event);
    if (this.drag) this.drag.points.push(pointUnder(this.ink, event));
    if (this.drag) this.stroke(cell);
    this.picking.move(cell);
    this.hover(cell);
  }

  /** Extends the stroke in progress to a cell. */
  stroke(cell) {
    const { from, last, before, points } = this.drag;
    const anew = ["rectangle", "lasso"].includes(this.tool);
    const mask = (anew ? before : stage.mask).slice();
    if (this.tool === "rectangle") this.fill(mask, from, cell);
    else if (this.tool === "lasso") cellsInside(points).forEach((one) => this.fill(mask, one, one));
    else cellsBetween(last, cell).forEach((between) => this.dab(mask, between));
    this.drag.last = cell;
    stage.setMask(stage.grid, mask);
  }

  release() {
    this.picking.end();
    if (!this.drag) return;
    const { before } = this.drag;
    this.drag = null;
    this.commit(before);
  }

  cancel() {
    if (this.drag) stage.setMask(stage.grid, this.drag.before);
    this.drag = this.picking.drag = null;
  }

  /** Brush or eraser at a cell. */
  dab(mask, [row, column]) {
    const [, rows, columns] = stage.grid;
    const [top, left] = [row, column].map((at) => at - Math.floor((this.size - 1) / 2));
    const corner = (at, count) => Math.min(Math.max(at, 0), count - 1);
    const from = [corner(top, rows), corner(left, columns)];
    const to = [corner(top + this.size - 1, rows), corner(left + this.size - 1, columns)];
    this.fill(mask, from, to);
  }

  /** Hides (or, with the eraser, shows) a block of cells at the chosen time steps. */
  fill(mask, from, to) {
    const [, rows, columns] = stage.grid;
    const [top, bottom] = [from[0], to[0]].sort((a, b) => a - b);
    const [left, right] = [from[1], to[1]].sort((a, b) => a - b);
    for (let step = this.range[0]; step <= this.range[1]; step++) {
      for (let row = top; row <= bottom; row++) {
        const start = (step * rows + row) * columns;
        mask.fill(this.tool === "eraser" ? 0 : 1, start + left, start + right + 1);
      }
    }
  }

  change(edit) {
    const before = stage.mask;
    const mask = before.slice();
    edit(mask);
    stage.setMask(stage.grid, mask);
    this.commit(before);
  }

  // ---- history

  commit(before) {
    if (sameMask(before, stage.mask)) return;
    this.remember(before);
    this.tell();
  }

  remember(mask) {
    stage.done.push(mask);
    if (stage.done.length > HISTORY) stage.done.shift();
    stage.undone = [];
    this.showHistory();
  }

  travel(from, to) {
    if (!stage.travel(from, to)) return;
    this.showHistory();
    this.tell();
  }

  tell() {
    const bits = maskToBits(stage.mask);
    this.send({ clip: stage.clipId, rev: this.rev, bits });
  }

  // ---- the strip of time steps

  layStrip([steps]) {
    const step = () => Object.assign(document.createElement("div"), { className: "step" });
    this.strip.replaceChildren(...Array.from({ length: steps }, step));
    [...this.strip.children].forEach((cell) => cell.append(document.createElement("i")));
    this.setRange(0, steps - 1);
  }

  setRange(from, to) {
    this.range = [Math.min(from, to), Math.max(from, to)];
    [...this.strip.children].forEach((cell, step) => {
      cell.classList.toggle("chosen", step >= this.range[0] && step <= this.range[1]);
    });
  }

  pressStrip(event) {
    this.strip.setPointerCapture(event.pointerId);
    this.anchor = this.stepAt(event);
    this.moveStrip(event);
  }

  moveStrip(event) {
    if (!this.strip.hasPointerCapture(event.pointerId) || !stage.clip) return;
    const step = this.stepAt(event);
    this.setRange(this.anchor, step);
    stage.play(false);
    stage.seek(Math.floor((step * stage.clip.frames) / stage.grid[0]));
  }

  stripKey(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.stopPropagation();
    event.preventDefault();
    const last = stage.grid[0] - 1;
    const [from, to] = this.range;
    const end = Math.min(Math.max(to + by, event.shiftKey ? from : 0), last);
    this.setRange(event.shiftKey ? from : Math.min(Math.max(from + by, 0), last), end);
  }

  stepAt(event) {
    const { left, width } = this.strip.getBoundingClientRect();
    return clampIndex(((event.clientX - left) / width) * stage.grid[0], stage.grid[0]);
  }

  // ---- the cell under the pointer

  hover(cell) {
    if (String(cell) === String(this.cell)) return;
    this.cell = cell;
    this.drawInk();
  }

  // ---- pictures

  draw() {
    const { size } = stage.clip;
    if (this.film.width !== size) this.film.width = this.film.height = size;
    stage.drawFrame(this.film.getContext("2d"));
    if (this.drawnStep !== stage.step) this.drawInk();
    [...this.strip.children].forEach((cell, step) => {
      cell.classList.toggle("now", step === stage.step);
    });
    this.showWhere();
  }

  drawMask() {
    const [steps] = stage.grid;
    const each = stage.mask.length / steps;
    [...this.strip.children].forEach((cell, step) => {
      const hidden = stage.mask.subarray(step * each, (step + 1) * each).reduce((a, b) => a + b, 0);
      cell.firstChild.style.height = `${(100 * hidden) / each}%`;
      cell.firstChild.hidden = !hidden;
    });
    this.drawInk();
  }

  drawInk() {
    if (!stage.clip) return;
    this.drawnStep = stage.step;
    drawInk(this.ink, this.cell, getComputedStyle(this.root.querySelector(".painter")).accentColor);
  }

  addIcons() {
    this.root.querySelectorAll('[data-tool], .group [data-act]:not([data-act="size"])').forEach((button) => {
      this.setIcon(button, button.dataset.tool ?? button.dataset.act);
    });
  }

  setIcon(button, name) {
    button.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
  }

  showPlay() {
    this.setIcon(this.root.querySelector('[data-act="play"]'), stage.playing ? "pause" : "play");
  }

  showHistory() {
    this.root.querySelector('[data-act="undo"]').disabled = !stage.done.length;
    this.root.querySelector('[data-act="redo"]').disabled = !stage.undone.length;
  }

  showWhere() {
    const { frames } = stage.clip;
    this.root.querySelector(".where").textContent = `frame ${stage.frame + 1} / ${frames}`;
  }
}

const KEYS = {
  p: "pick",
  b: "brush",
  r: "rectangle",
  e: "eraser",
  l: "lasso",
  t: "thing",
  "[": "smaller",
  "]": "larger",
  z: "undo",
  y: "redo",
  i: "invert",
  a: "all",
  " ": "play",
  enter: "paint",
  arrowleft: "back",
  arrowright: "next",
};

function sameMask(a, b) {
  return a.length === b.length && a.every((hidden, i) => hidden === b[i]);
}

export default function ({ parentElement, data, setStateValue }) {
  const painter = instanceOn(parentElement, () => new Painter(parentElement));
  painter.receive(unpack(data), {
    send: (stroke) => setStateValue("mask", stroke),
    sendThing: (thing) => setStateValue("thing", thing),
    sendPick: (pick) => setStateValue("pick", pick),
  });
  return () => painter.leave();
}
