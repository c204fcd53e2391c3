const RESOLUTION = 224; // px of a picture's side
const GAP = 0.16; // between two tokens, in patches
const WORKS = { awaited: ["dropped", "context", "predictor"], preview: ["decoder"] };

/** The clip's way through the model: pictures of this clip, in step with the painter. */
class Way {
  constructor(root) {
    this.root = root;
    this.list = root.querySelector("ol");
    this.about = root.querySelector(".about");
    this.open = null; // the part that is told about
    const elsewhere = (event) => !event.composedPath().includes(this.root) && this.show(null);
    const escape = (event) => event.key === "Escape" && this.show(null, true);
    document.addEventListener("pointerdown", elsewhere);
    document.addEventListener("keydown", escape, true);
    const leave = [
      () => document.removeEventListener("pointerdown", elsewhere),
      () => document.removeEventListener("keydown", escape, true),
      ...["frame", "clip", "mask"].map((type) => stage.on(type, () => this.draw())),
      ...["answer", "preview"].map((type) => stage.on(type, () => this.refresh())),
    ];
    this.leave = () => leave.forEach((stop) => stop());
  }

  receive({ note }) {
    this.links = note.links;
    this.parts = note.parts.map((part) => ({ ...part, item: this.makeItem(part) }));
    this.parts.find(({ branch }) => branch)?.item.classList.add("first");
    this.list.replaceChildren(...this.parts.map(({ item }) => item), makeTourButton(note.tour));
    this.refresh();
  }

  makeItem(part) {
    const item = document.createElement("li");
    item.dataset.part = part.name;
    item.classList.toggle("branch", part.branch);
    item.innerHTML = `<button type="button" aria-expanded="false"><canvas aria-hidden="true"></canvas><span></span></button>`;
    item.querySelector("span").textContent = part.title;
    item.querySelector("button").addEventListener("click", () => this.toggle(part.name));
    return item;
  }

  toggle(name) {
    this.show(this.open?.name === name ? null : this.parts.find((part) => part.name === name));
  }

  /** Tells about a part, or closes what is told. */
  show(part, focus = false) {
    const before = this.open;
    this.open = part;
    this.parts.forEach(({ name, item }) => {
      item.querySelector("button").setAttribute("aria-expanded", name === part?.name);
    });
    this.about.hidden = !part;
    if (part) this.putBelow(part.item);
    if (part) this.tell(part);
    else if (focus) before?.item.querySelector("button").focus();
  }

  /** What is told stands below its part, as far as there is room. */
  putBelow(item) {
    const room = this.root.querySelector(".way").clientWidth - this.about.offsetWidth;
    const left = item.offsetLeft - this.list.scrollLeft;
    this.about.style.left = `${Math.max(0, Math.min(left, room))}px`;
  }

  tell({ title, told, source }) {
    this.about.innerHTML = `<canvas aria-hidden="true"></canvas><div><h2></h2><p></p><nav></nav></div>`;
    this.about.querySelector("h2").textContent = title;
    const links = { ...this.links, [source]: `reading?file=${source}` };
    const anchors = Object.entries(links).map(([text, href]) =>
      Object.assign(document.createElement("a"), { textContent: text, href, target: "_blank", rel: "noopener" }),
    );
    this.about.querySelector("nav").replaceChildren(...anchors);
    this.words = told;
    this.draw();
  }

  /** The numbers of this clip and mask in the words; what stands between ** is bold. */
  filled() {
    const [steps, rows, columns] = stage.grid;
    const hidden = stage.mask.reduce((sum, bit) => sum + bit, 0);
    const numbers = {
      frames: stage.clip.frames,
      size: stage.clip.size,
      tokens: stage.mask.length,
      hidden,
      visible: stage.mask.length - hidden,
      tubelet: stage.clip.frames / steps,
      patch: stage.patch,
      grid: `${steps} x ${rows} x ${columns}`,
    };
    const said = this.words.replace(/\{(\w+)\}/g, (_, name) => numbers[name]);
    return said.replace(/\*\*(.+?)\*\*/g, "<b>$1</b>");
  }

  refresh() {
    const busy = WORKS[stage.answer?.phase] ?? [];
    this.parts?.forEach(({ name, item }) => item.classList.toggle("busy", busy.includes(name)));
    this.draw();
  }

  draw() {
    if (!stage.clip || !this.parts) return;
    this.parts.forEach(({ name, item }) => drawPart(name, item.querySelector("canvas")));
    if (!this.open) return;
    drawPart(this.open.name, this.about.querySelector("canvas"));
    this.about.querySelector("p").innerHTML = this.filled();
  }
}

/** One part's picture of the time step on screen. */
function drawPart(name, canvas) {
  if (canvas.width !== RESOLUTION) canvas.width = canvas.height = RESOLUTION;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, RESOLUTION, RESOLUTION);
  PICTURES[name](context);
}

const PICTURES = {
  clip(context) {
    const { size } = stage.clip;
    const top = stage.frame * size;
    context.drawImage(stage.sheet, 0, top, size, size, 0, 0, RESOLUTION, RESOLUTION);
  },
  tokens: (context) => drawTokens(context, () => true),
  dropped: (context) => drawTokens(context, (token) => !stage.mask[token]),
  /** A sequence: where a token came from is in its position's code, no longer in its place. */
  context(context) {
    let place = 0;
    drawTokens(context, (token) => !stage.mask[token], () => place++);
  },
  predictor(context) {
    eachCell((token, cell) => {
      const [x, y, side] = cellBox(cell);
      context.fillStyle = stage.mask[token] ? "#8f8f8f" : "#3a7ca5";
      context.fillRect(x, y, side, side);
      if (!stage.mask[token]) return;
      context.fillStyle = "#fff";
      context.font = `600 ${0.7 * side}px sans-serif`;
      context.textAlign = "center";
      context.fillText("?", x + side / 2, y + 0.75 * side);
    });
  },
  decoder(context) {
    const sheet = stage.preview?.clip === stage.clipId ? stage.preview.sheet : null;
    if (sheet) drawTokens(context, (token) => stage.mask[token], (cell) => cell, sheet);
  },
  target(context) {
    drawTokens(context, (token) => stage.mask[token]);
    context.globalAlpha = 0.3; // its features of these are not asked for
    drawTokens(context, (token) => !stage.mask[token]);
    context.globalAlpha = 1;
  },
  error(context) {
    const { note, content } = stage.answer?.panels.error ?? {};
    if (!content) return;
    eachCell((token, cell) => {
      if (!Number.isFinite(content[token])) return;
      const [x, y, side] = cellBox(cell);
      context.fillStyle = colourOf(content[token], note.scale, stage.answer.colours);
      context.fillRect(x, y, side, side);
    });
  },
};

/** Calls back with (token, cell) for the time step on screen. */
function eachCell(callback) {
  const [, rows, columns] = stage.grid;
  const first = stage.step * rows * columns;
  for (let cell = 0; cell < rows * columns; cell++) callback(first + cell, cell);
}

/** Left, top and side of a cell, with a gap around it. */
function cellBox(cell) {
  const columns = stage.grid[2];
  const side = RESOLUTION / columns;
  const inner = side * (1 - GAP);
  const [row, column] = [Math.floor(cell / columns), cell % columns];
  return [column * side + (side - inner) / 2, row * side + (side - inner) / 2, inner];
}

/** Pieces of the frame on screen, those that are `wanted`, each at the cell that `place` gives. */
function drawTokens(context, wanted, place = (cell) => cell, sheet = stage.sheet) {
  const { patch, clip } = stage;
  const columns = stage.grid[2];
  eachCell((token, cell) => {
    if (!wanted(token)) return;
    const [x, y, side] = cellBox(place(cell));
    const left = (cell % columns) * patch;
    const top = stage.frame * clip.size + Math.floor(cell / columns) * patch;
    context.drawImage(sheet, left, top, patch, patch, x, y, side, side);
  });
}

export default function ({ parentElement, data }) {
  const way = instanceOn(parentElement, () => new Way(parentElement));
  way.receive(unpack(data));
  return () => way.leave();
}
