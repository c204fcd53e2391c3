/** Canvases that play in step with the painter. */
class Panels {
  constructor(root) {
    this.root = root;
    this.frame = root.querySelector(".panels");
    this.grid = root.querySelector(".grid");
    this.blend = root.querySelector("input");
    this.answer = null;
    this.panels = []; // one {note, content, figure} a panel
    this.blend.addEventListener("input", () => this.draw());
    this.player = root.querySelector(".player");
    this.player.addEventListener("click", () => stage.play(!stage.playing));
    const elsewhere = (event) => this.clickElsewhere(event);
    const escape = (event) => event.key === "Escape" && this.enlarge(null);
    document.addEventListener("pointerdown", elsewhere);
    document.addEventListener("keydown", escape, true); // before the painter, which keeps its keys
    const leave = [
      () => document.removeEventListener("pointerdown", elsewhere),
      () => document.removeEventListener("keydown", escape, true),
      stage.on("play", () => this.showPlay()),
      stage.on("asked", () => this.refresh()),
      stage.on("preview", () => this.refresh()),
      stage.on("frame", () => this.draw()),
      stage.on("clip", () => this.refresh()),
      stage.on("mask", () => this.refresh()),
    ];
    this.leave = () => leave.forEach((stop) => stop());
  }

  /** A message from Python: an answer, or word that there is none (yet). */
  async receive({ note, blobs }) {
    this.latest = note;
    const [colours, ...parts] = blobs;
    const contents = await Promise.all(note.panels.map(({ kind }, i) => contentOf(kind, parts[i])));
    if (this.latest !== note) return; // a later answer was decoded first
    this.answer = { note, colours, mask: note.fixed ? null : unpackMask(note.mask) };
    this.frame.classList.toggle("fixed", Boolean(note.fixed));
    this.frame.classList.toggle("pairs", Boolean(note.pairs));
    if (note.clip?.id === stage.clipId) showInAddress(note.query); // not of a clip that was left
    this.layOut(note.panels);
    this.panels.forEach((panel, i) => this.fill(panel, note.panels[i], contents[i]));
    if (note.film) stage.setFilm(note.film);
    this.player.hidden = !note.film;
    if (!note.fixed) {
      const panels = Object.fromEntries(this.panels.map((panel) => [panel.note.name, panel]));
      stage.answer = { panels, colours };
    }
    this.showPlay();
    this.refresh();
  }

  // ---- the panels

  /** Makes figures where there are others than the last time. */
  layOut(notes) {
    const names = notes.map(({ name }) => name).join();
    if (names === this.laidOut) return;
    this.laidOut = names;
    this.panels = notes.map((note) => ({ figure: this.makeFigure(note) }));
    if (this.answer.note.fixed) {
      this.grid.style.setProperty("--columns", notes.length);
      this.grid.style.setProperty("--few", Math.min(notes.length, 3));
    }
    this.grid.replaceChildren(...this.panels.map(({ figure }) => figure));
  }

  /** Whoever is disturbed by what moves can stop it, also where there is no painter. */
  showPlay() {
    this.player.textContent = stage.playing ? "Pause" : "Play";
  }

  makeFigure({ name, kind, title }) {
    const figure = document.createElement("figure");
    figure.dataset.panel = name;
    figure.dataset.kind = ["original", "masked"].includes(kind) ? "given" : "answer";
    figure.innerHTML = `<div class="card">
      <button type="button" aria-label="Enlarge ${title}"><canvas></canvas></button>
      <figcaption><span></span><small></small></figcaption>
    </div>`;
    figure.querySelector("button").addEventListener("click", () => this.enlarge(figure));
    const canvas = figure.querySelector("canvas");
    canvas.addEventListener("pointermove", (event) => this.showValue(canvas, name, event));
    return figure;
  }

  /** What a figure shows from now on, and a legend for its colours. */
  fill(panel, note, content) {
    Object.assign(panel, { note, content });
    panel.figure.dataset.content = content ? "here" : "none"; // the clip itself is no content
    const title = panel.figure.querySelector("span");
    title.textContent = note.title;
    title.dataset.tip = note.tip;
    panel.figure.querySelector("button").setAttribute("aria-description", note.tip);
    const side = panel.figure.querySelector("small");
    side.className = "";
    if (note.scale) showScale(side, this.answer.colours, note.scale);
    else side.textContent = note.side;
  }

  /** The number under the pointer, as the browser's own tooltip. */
  showValue(canvas, name, event) {
    const { note, content } = this.panels.find((panel) => panel.note.name === name);
    if (note.kind !== "values") return;
    const [, rows, columns] = stage.grid;
    const row = Math.floor((event.offsetY / canvas.clientHeight) * rows);
    const column = Math.floor((event.offsetX / canvas.clientWidth) * columns);
    const value = content?.[(stage.step * rows + row) * columns + column];
    canvas.title = Number.isFinite(value) ? `${note.title} ${short(value)}` : "visible";
  }

  /** Whatever is clicked beside an enlarged panel, it goes back to its place. */
  clickElsewhere(event) {
    const large = this.grid.querySelector(".large .card");
    if (large && !event.composedPath().includes(large)) this.enlarge(null);
  }

  enlarge(figure) {
    const open = figure && !figure.classList.contains("large");
    this.grid.querySelector(".large")?.classList.remove("large");
    if (open) figure.classList.add("large");
  }

  // ---- pictures

  /**
   * Marks the answer as out of date while the painter shows another mask or clip than its own, or
   * while Python works at another question.
   */
  refresh() {
    if (!this.answer) return;
    if (this.answer.note.fixed) return this.draw();
    const phase = this.phase();
    this.frame.dataset.answer = phase;
    Object.assign(stage.answer, { phase, note: this.answer.note });
    stage.emit("answer");
    this.frame.dataset.hidden = stage.mask.some(Boolean) ? "something" : "nothing";
    const status = this.root.querySelector(".status");
    const said = SAID[phase];
    if (status.textContent !== said) status.textContent = said;
    this.draw();
  }

  phase() {
    const { note } = this.answer;
    const asked = !stage.asked || note.question === stage.asked;
    if (asked && !note.waiting && isAbout(note.clip.id, note.mask.bits)) return "shown";
    return this.previewed() ? "preview" : "awaited";
  }

  /** Whether there is a preview of what the painter shows. */
  previewed() {
    const { preview, asked } = stage;
    return preview?.question === asked && isAbout(preview.clip, preview.mask.bits);
  }

  draw() {
    if (!stage.reel || !this.answer) return;
    if (this.answer.note.fixed) return this.panels.forEach((panel) => drawFilm(panel));
    if (!stage.clip) return;
    this.panels.forEach((panel) => {
      const canvas = panel.figure.querySelector("canvas");
      const { size } = stage.clip;
      if (canvas.width !== size) canvas.width = canvas.height = size;
      const context = canvas.getContext("2d");
      stage.drawFrame(context);
      this.painters[panel.note.kind].call(this, context, panel);
    });
  }

  /** How each kind of panel treats the hidden tokens; all else stays the clip's own pixels. */
  painters = {
    original() {},
    masked(context) {
      stage.forHidden((_, x, y) => context.clearRect(x, y, stage.patch, stage.patch));
    },
    pixels(context, panel) {
      this.drawPixels(context, panel);
    },
    values(context, { note, content }) {
      const { colours } = this.answer;
      this.drawColours(context, content, (token) => colourOf(content[token], note.scale, colours));
    },
    colours(context, { content }) {
      this.drawColours(context, content, (token) => rgb(content, token));
    },
  };

  /** The answer's pixels over the true ones; hatching where there are none yet. */
  drawPixels(context, panel) {
    const { size } = stage.clip;
    const early = this.frame.dataset.answer === "preview" && PREVIEWED.test(panel.note.name);
    const sheet = early ? stage.preview.sheet : panel.content;
    if (this.frame.dataset.hidden === "nothing") context.clearRect(0, 0, size, size);
    const { patch } = stage;
    const top = stage.frame * size;
    stage.forHidden((token, x, y) => {
      if (!early && !this.answered(token, sheet)) return context.clearRect(x, y, patch, patch);
      context.globalAlpha = Number(this.blend.value);
      context.drawImage(sheet, x, top + y, patch, patch, x, y, patch, patch);
      context.globalAlpha = 1;
    });
  }

  /** One colour a hidden token, and the clip in the dark. */
  drawColours(context, content, colourOfToken) {
    if (this.frame.dataset.hidden === "nothing") {
      return context.clearRect(0, 0, stage.clip.size, stage.clip.size);
    }
    const { patch, clip } = stage;
    context.fillStyle = "rgb(16 17 20 / 60%)";
    context.fillRect(0, 0, clip.size, clip.size);
    stage.forHidden((token, x, y) => {
      context.clearRect(x, y, patch, patch);
      if (!this.answered(token, content)) return;
      context.fillStyle = colourOfToken(token);
      context.fillRect(x, y, patch, patch);
    });
  }

  /** Whether the answer says something about a token of the clip on screen. */
  answered(token, content) {
    return content && this.answer.mask[token] && this.answer.note.clip.id === stage.clip.id;
  }
}

/** A film of its own, of any clip: it begins again when it has fewer frames. */
function drawFilm({ figure, content }) {
  const canvas = figure.querySelector("canvas");
  const { width, height } = content;
  if (canvas.width !== width) canvas.width = canvas.height = width;
  const top = (stage.frame % (height / width)) * width;
  canvas.getContext("2d").drawImage(content, 0, top, width, width, 0, 0, width, width);
}

const PREVIEWED = /^(expected|sample)/; // panels that a preview stands in for
const SAID = {
  awaited: "The model is at work.",
  preview: "A preview is shown; samples follow.",
  shown: "The answer is shown.",
};

function unpackMask({ grid, bits }) {
  return maskFromBits(bits, grid[0] * grid[1] * grid[2]);
}

/** Whether the painter shows this clip with this mask. */
function isAbout(clip, bits) {
  return clip === stage.clipId && bits === maskToBits(stage.mask);
}

/** What a panel draws from: a picture, or numbers; nothing while there is no answer. */
function contentOf(kind, bytes) {
  if (!bytes.length) return null;
  if (kind === "values") return new Float32Array(bytes.buffer);
  return ["pixels", "frames"].includes(kind) ? decodeImage(bytes) : bytes;
}

export default function ({ parentElement, data }) {
  const panels = instanceOn(parentElement, () => new Panels(parentElement));
  panels.receive(unpack(data));
  return () => panels.leave();
}
