/**
 * What the canvases of a window share: the clip, the mask and its history, the selected tokens, what
 * Python works at, and the clock.
 *
 * Events: "clip" (other frames), "frame" (the clock moved), "mask" (hidden tokens changed),
 * "selection" (other tokens are lit up), "play" (started or stopped), "asked" (Python works at
 * another question), "preview" (what is known of its answer before it is there), "answer" (what the
 * panels show, or how far they are).
 */
class Stage extends EventTarget {
  constructor() {
    super();
    this.clipId = ""; // of the clip that was asked for last
    this.clip = null; // what is on screen: {id, title, frames, size, fps}
    this.film = null; // what plays where there is no clip: {frames, fps}
    this.sheet = null; // all frames, one below the other
    this.grid = [1, 1, 1]; // t, h, w
    this.mask = new Uint8Array(1); // 1 = hidden, in (t, h, w) order
    this.done = []; // masks before this one, the latest last
    this.undone = []; // masks after it
    this.selected = new Set(); // tokens that are lit up in every view
    this.asked = ""; // the question that Python works at, or answered last
    this.preview = null; // {question, clip, mask, sheet}
    this.answer = null; // of the panels: {phase, colours, contents by panel}
    this.frame = 0;
    this.playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.began = 0;
    requestAnimationFrame((now) => this.tick(now));
  }

  /** Subscribes; returns the way out. */
  on(type, listener) {
    this.addEventListener(type, listener);
    return () => this.removeEventListener(type, listener);
  }

  emit(type) {
    this.dispatchEvent(new Event(type));
  }

  async setClip(clip, png) {
    if (this.clipId === clip.id) return;
    this.clipId = clip.id;
    const sheet = await decodeImage(png);
    if (this.clipId !== clip.id) return; // a later choice overtook this one
    if (this.clip) this.select([]); // tokens of the clip before
    this.clip = clip;
    this.sheet = sheet;
    this.frame = clip.opening;
    this.play(this.playing);
    this.emit("clip");
  }

  /** Films that play by themselves begin in their middle: there they show something. */
  setFilm(film) {
    if (!this.film && !this.clip) this.frame = film.frames >> 1;
    this.film = film;
    this.play(this.playing);
  }

  /** What the clock goes by. */
  get reel() {
    return this.clip ?? this.film;
  }

  setMask(grid, mask) {
    this.grid = grid;
    this.mask = mask;
    this.emit("mask");
  }

  /** Goes back to the latest of some masks; the present one is the latest of others from now on. */
  travel(from, to) {
    if (!from.length) return false;
    to.push(this.mask);
    this.setMask(this.grid, from.pop());
    return true;
  }

  /** What Python says before an answer is there: what it works at, and a preview of it. */
  async hear({ question, preview }, sheet) {
    if (!preview) this.asked = question;
    else this.preview = { question, ...preview, sheet: await decodeImage(sheet) };
    this.emit(preview ? "preview" : "asked");
  }

  select(tokens) {
    this.selected = new Set(tokens);
    this.emit("selection");
  }

  /** The time step (row of the token grid) that the current frame belongs to. */
  get step() {
    return this.clip ? Math.floor((this.frame * this.grid[0]) / this.clip.frames) : 0;
  }

  /** Side of a patch in pixels of the clip. */
  get patch() {
    return this.clip.size / this.grid[1];
  }

  tick(now) {
    requestAnimationFrame((next) => this.tick(next));
    if (!this.reel || !this.playing) return;
    const frame = Math.floor(((now - this.began) / 1000) * this.reel.fps) % this.reel.frames;
    if (frame !== this.frame) this.seek(frame);
  }

  seek(frame) {
    this.frame = (frame + this.reel.frames) % this.reel.frames;
    this.emit("frame");
  }

  play(playing) {
    this.playing = playing;
    if (this.reel) this.began = performance.now() - (this.frame / this.reel.fps) * 1000;
    this.emit("play");
  }

  /** Stops and shows the next frame, or the one before. */
  stepBy(frames) {
    this.play(false);
    this.seek(this.frame + frames);
  }

  /** Draws the current frame on a canvas of the clip's own size: pixel for pixel. */
  drawFrame(context, sheet = this.sheet) {
    const { size } = this.clip;
    context.drawImage(sheet, 0, this.frame * size, size, size, 0, 0, size, size);
  }

  /** Calls back with (index, x, y) for every token of the current time step. */
  forEach(callback) {
    const [, rows, columns] = this.grid;
    const first = this.step * rows * columns;
    for (let cell = 0; cell < rows * columns; cell++) {
      const [row, column] = [Math.floor(cell / columns), cell % columns];
      callback(first + cell, column * this.patch, row * this.patch);
    }
  }

  /** The same for those that are hidden. */
  forHidden(callback) {
    this.forEach((token, x, y) => this.mask[token] && callback(token, x, y));
  }
}

const stage = (window.vjepaStage ??= new Stage());
