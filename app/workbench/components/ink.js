const HATCH = 9; // px between two lines

/** Draws over the clip: hatching on hidden tokens, their outline, and the grid under the pointer. */
function drawInk(canvas, cell, accent) {
  const scale = window.devicePixelRatio;
  canvas.width = canvas.clientWidth * scale;
  canvas.height = canvas.clientHeight * scale;
  const context = canvas.getContext("2d");
  const side = canvas.width / stage.grid[2]; // of a patch, in pixels of the screen
  drawHatching(context, side, scale);
  context.strokeStyle = accent;
  context.lineWidth = 2 * scale;
  context.stroke(outlineOf(stage.mask, side));
  drawSelection(context, side, scale);
  if (cell) drawGrid(context, side, scale, cell);
}

/** Marked by lines, not by colour alone. */
function drawHatching(context, side, scale) {
  const unit = side / stage.patch;
  const hidden = new Path2D();
  stage.forHidden((_, x, y) => hidden.rect(x * unit, y * unit, side + 0.5, side + 0.5));
  context.fillStyle = "rgb(16 17 20 / 58%)";
  context.fill(hidden);
  context.save();
  context.clip(hidden);
  context.strokeStyle = "rgb(255 255 255 / 62%)";
  context.lineWidth = 1.4 * scale;
  context.stroke(diagonals(context.canvas.width, HATCH * scale));
  context.restore();
}

/** The border around the marked tokens (one byte each) of the current time step. */
function outlineOf(tokens, side) {
  const [, rows, columns] = stage.grid;
  const first = stage.step * rows * columns;
  const inside = (row, column) => row >= 0 && row < rows && column >= 0 && column < columns;
  const marked = (row, column) =>
    inside(row, column) ? tokens[first + row * columns + column] : 0;
  const path = new Path2D();
  for (let row = 0; row <= rows; row++) {
    for (let column = 0; column <= columns; column++) {
      const [x, y] = [column * side, row * side];
      if (marked(row, column) !== marked(row - 1, column)) line(path, x, y, x + side, y);
      if (marked(row, column) !== marked(row, column - 1)) line(path, x, y, x, y + side);
    }
  }
  return path;
}

/** All patches in fine lines, the one under the pointer in bold ones. */
function drawGrid(context, side, scale, [row, column]) {
  const { width } = context.canvas;
  const lines = new Path2D();
  for (let at = side; at < width - 1; at += side) {
    line(lines, at, 0, at, width);
    line(lines, 0, at, width, at);
  }
  context.strokeStyle = "rgb(255 255 255 / 28%)";
  context.lineWidth = scale;
  context.stroke(lines);
  context.strokeStyle = "#fff";
  context.lineWidth = 2 * scale;
  const inner = side - 2 * scale;
  context.strokeRect(column * side + scale, row * side + scale, inner, inner);
}

/** The tokens that are lit up in every view. */
function drawSelection(context, side, scale) {
  strokeTwice(context, outlineOf(marks(stage.selected, stage.grid), side), scale, "#fff");
}

/** Token indices as one byte a token. */
function marks(tokens, [steps, rows, columns]) {
  const marked = new Uint8Array(steps * rows * columns);
  tokens.forEach((token) => (marked[token] = 1));
  return marked;
}

/** A line that is seen on any ground: dark below, colour above. */
function strokeTwice(context, path, scale, colour) {
  context.strokeStyle = "rgb(0 0 0 / 75%)";
  context.lineWidth = 4 * scale;
  context.stroke(path);
  context.strokeStyle = colour;
  context.lineWidth = 2 * scale;
  context.stroke(path);
}

/** The [row, column] under a pointer on an element that shows the whole frame. */
function cellUnder(element, event) {
  const { left, top, width, height } = element.getBoundingClientRect();
  const [, rows, columns] = stage.grid;
  return [
    clampIndex(((event.clientY - top) / height) * rows, rows),
    clampIndex(((event.clientX - left) / width) * columns, columns),
  ];
}

/** The same as a point: [down, right] in patches. */
function pointUnder(element, event) {
  const { left, top, width, height } = element.getBoundingClientRect();
  const [, rows, columns] = stage.grid;
  return [((event.clientY - top) / height) * rows, ((event.clientX - left) / width) * columns];
}

/** The cells whose middle lies inside a line that is closed at its ends, and those it begins in. */
function cellsInside(points) {
  const [, rows, columns] = stage.grid;
  const cells = [points[0].map((at, axis) => clampIndex(at, axis ? columns : rows))];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (isInside([row + 0.5, column + 0.5], points)) cells.push([row, column]);
    }
  }
  return cells;
}

/** Whether a point lies inside a closed line: a ray from it crosses the line an odd number of times. */
function isInside([y, x], points) {
  return points.reduce((inside, [fromY, fromX], i) => {
    const [toY, toX] = points[(i + 1) % points.length];
    const crosses = fromY > y !== toY > y && x < ((toX - fromX) * (y - fromY)) / (toY - fromY) + fromX;
    return crosses ? !inside : inside;
  }, false);
}

/** The cell that lies so far down and to the right of another, within the frame. */
function cellBeside(cell, [down, right]) {
  const [, rows, columns] = stage.grid;
  const [row, column] = cell ?? middleCell();
  return [clampIndex(row + down, rows), clampIndex(column + right, columns)];
}

/** Where the cursor begins for who comes by keys. */
function middleCell() {
  return stage.grid.slice(1).map((count) => count >> 1);
}

function clampIndex(value, count) {
  return Math.min(Math.max(Math.floor(value), 0), count - 1);
}

/** The cells on the straight way from one to another, so that a fast brush leaves no gaps. */
function cellsBetween([row, column], [toRow, toColumn]) {
  const steps = Math.max(Math.abs(toRow - row), Math.abs(toColumn - column), 1);
  return Array.from({ length: steps + 1 }, (_, i) => [
    Math.round(row + ((toRow - row) * i) / steps),
    Math.round(column + ((toColumn - column) * i) / steps),
  ]);
}

/** Index of a cell's token at the time step on screen. */
function tokenAt([row, column]) {
  const [, rows, columns] = stage.grid;
  return (stage.step * rows + row) * columns + column;
}

/** Selects the patches that a press goes over, with shift beside those before, and tells Python. */
class Picking {
  drag = null; // tokens of the press in progress, and its last cell

  begin(cell, adds) {
    this.drag = { last: cell, tokens: new Set(adds ? stage.selected : []) };
    this.move(cell);
  }

  move(cell) {
    if (!this.drag) return;
    const { last, tokens } = this.drag;
    cellsBetween(last, cell).forEach((between) => tokens.add(tokenAt(between)));
    this.drag.last = cell;
    stage.select(tokens);
  }

  end() {
    if (!this.drag) return;
    this.drag = null;
    this.tell();
  }

  /** The id tells Python that this is a new choice, even of the same tokens. */
  tell() {
    const id = `${Date.now()}-${Math.random()}`;
    this.send({ clip: this.clip, id, tokens: [...stage.selected] });
  }
}

const ARROWS = { arrowleft: [0, -1], arrowright: [0, 1], arrowup: [-1, 0], arrowdown: [1, 0] };

function line(path, x, y, toX, toY) {
  path.moveTo(x, y);
  path.lineTo(toX, toY);
}

function diagonals(size, gap) {
  const path = new Path2D();
  for (let at = -size; at < size; at += gap) line(path, at, size, at + size, 0);
  return path;
}
