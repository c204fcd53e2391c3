/** Panels that stand for the clip itself, beside those of the answer. */
const GIVEN = [
  {
    kind: "original",
    title: "original",
    tip: "The clip as it is: what is true behind the mask.",
  },
  {
    kind: "masked",
    title: "model sees",
    tip: "All that the context encoder gets: hidden tokens are dropped before it.",
  },
];
const ANSWERED = [
  {
    kind: "ceiling",
    title: "ceiling",
    tip: "Decoded from the true features of the hidden tokens: as good as this decoder gets. What differs from a sample is the predictor's doing.",
  },
  {
    kind: "error",
    title: "error",
    tip: "How far each predicted token is from the true one (L1 distance of features). Bright is far.",
  },
];
const SAMPLE_TIP =
  "The predicted features of the hidden tokens, decoded to pixels. Each sample starts from other noise: what they share the model knows, where they differ it does not.";

/** Canvases that play in step with the painter. */
class Panels {
  constructor(root) {
    this.root = root;
    this.frame = root.querySelector(".panels");
    this.grid = root.querySelector(".grid");
    this.blend = root.querySelector("input");
    this.answer = null;
    this.blend.addEventListener("input", () => this.draw());
    root.addEventListener("keydown", (event) => event.key === "Escape" && this.enlarge(null));
    const leave = [
      stage.on("frame", () => this.draw()),
      stage.on("clip", () => this.refresh()),
      stage.on("mask", () => this.refresh()),
    ];
    this.leave = () => leave.forEach((stop) => stop());
  }

  /** A message from Python: an answer, or word that there is none (yet). */
  async receive({ note, blobs }) {
    this.latest = note;
    const [colours, error, ceiling, ...samples] = blobs;
    const sheets = await Promise.all([ceiling, ...samples].filter(Boolean).map(decodeImage));
    if (this.latest !== note) return; // a later answer was decoded first
    const { grid, bits } = note.mask;
    this.answer = {
      note,
      colours,
      mask: maskFromBits(bits, grid[0] * grid[1] * grid[2]),
      error: error && new Float32Array(error.buffer),
      ceiling: sheets[0],
      samples: sheets.slice(1),
    };
    showInAddress(note.query);
    this.layOut(note.seeds);
    this.refresh();
  }

  // ---- the panels

  layOut(seeds) {
    const count = Math.max(seeds.length, 4);
    const samples = Array.from({ length: count }, (_, i) => ({
      kind: "sample",
      index: i,
      title: `sample ${i + 1}`,
      tip: SAMPLE_TIP,
      side: seeds.length ? `seed ${seeds[i]}` : "",
    }));
    const wanted = JSON.stringify([samples, this.answer.note.range]);
    if (wanted === this.laidOut) return;
    this.laidOut = wanted;
    this.views = [...samples, ...GIVEN, ...ANSWERED].map((view) => ({
      ...view,
      figure: this.makeFigure(view),
    }));
    this.grid.replaceChildren(...this.views.map((view) => view.figure));
    this.addScale();
  }

  makeFigure({ kind, index, title, tip, side = "" }) {
    const figure = document.createElement("figure");
    figure.dataset.panel = kind === "sample" ? `sample-${index}` : kind;
    figure.dataset.kind = ["original", "masked"].includes(kind) ? "given" : "answer";
    figure.innerHTML = `<div class="card">
      <button type="button" aria-label="Enlarge ${title}"><canvas></canvas></button>
      <figcaption><span>${title}</span><small>${side}</small></figcaption>
    </div>`;
    figure.querySelector("span").dataset.tip = tip;
    figure.querySelector("button").addEventListener("click", () => this.enlarge(figure));
    return figure;
  }

  /** A legend for the colours of the error, and the value under the pointer. */
  addScale() {
    const { colours, note } = this.answer;
    if (!note.range) return;
    const { figure } = this.views.find(({ kind }) => kind === "error");
    showScale(figure.querySelector("small"), colours, note.range);
    const canvas = figure.querySelector("canvas");
    canvas.addEventListener("pointermove", (event) => this.showError(canvas, event));
  }

  showError(canvas, event) {
    const [, rows, columns] = stage.grid;
    const row = Math.floor((event.offsetY / canvas.clientHeight) * rows);
    const column = Math.floor((event.offsetX / canvas.clientWidth) * columns);
    const error = this.answer.error?.[(stage.step * rows + row) * columns + column];
    canvas.title = Number.isFinite(error) ? `error ${short(error)}` : "visible";
  }

  enlarge(figure) {
    const open = figure && !figure.classList.contains("large");
    this.grid.querySelector(".large")?.classList.remove("large");
    if (open) figure.classList.add("large");
  }

  // ---- pictures

  /** Marks the answer as out of date while the painter shows another mask or clip than its own. */
  refresh() {
    if (!this.answer) return;
    const { note, mask } = this.answer;
    const current = note.clip.id === stage.clipId && mask.every((bit, i) => bit === stage.mask[i]);
    this.frame.dataset.answer = !current || note.waiting ? "awaited" : "shown";
    this.draw();
  }

  draw() {
    if (!stage.clip || !this.answer) return;
    this.views.forEach((view) => {
      const canvas = view.figure.querySelector("canvas");
      const { size } = stage.clip;
      if (canvas.width !== size) canvas.width = canvas.height = size;
      const context = canvas.getContext("2d");
      stage.drawFrame(context);
      this.painters[view.kind].call(this, context, view);
    });
  }

  /** How each kind of panel treats the hidden tokens; all else stays the clip's own pixels. */
  painters = {
    original() {},
    masked(context) {
      stage.forHidden((_, x, y) => context.clearRect(x, y, stage.patch, stage.patch));
    },
    sample(context, { index }) {
      this.drawDecoded(context, this.answer.samples[index]);
    },
    ceiling(context) {
      this.drawDecoded(context, this.answer.ceiling);
    },
    error(context) {
      this.drawErrors(context);
    },
  };

  /** Decoded pixels over the true ones; hatching where nothing is decoded yet. */
  drawDecoded(context, sheet) {
    const { size } = stage.clip;
    const { patch } = stage;
    const top = stage.frame * size;
    stage.forHidden((token, x, y) => {
      if (!this.decoded(token, sheet)) return context.clearRect(x, y, patch, patch);
      context.globalAlpha = Number(this.blend.value);
      context.drawImage(sheet, x, top + y, patch, patch, x, y, patch, patch);
      context.globalAlpha = 1;
    });
  }

  drawErrors(context) {
    const { patch, clip } = stage;
    context.fillStyle = "rgb(16 17 20 / 60%)";
    context.fillRect(0, 0, clip.size, clip.size);
    stage.forHidden((token, x, y) => {
      context.clearRect(x, y, patch, patch);
      if (!this.decoded(token, this.answer.error)) return;
      const { colours, error, note } = this.answer;
      context.fillStyle = colourOf(error[token], note.range, colours);
      context.fillRect(x, y, patch, patch);
    });
  }

  /** Whether the answer says something about a token of the clip on screen. */
  decoded(token, part) {
    return part && this.answer.mask[token] && this.answer.note.clip.id === stage.clip.id;
  }
}

export default function ({ parentElement, data }) {
  const panels = instanceOn(parentElement, () => new Panels(parentElement));
  panels.receive(unpack(data));
  return () => panels.leave();
}
