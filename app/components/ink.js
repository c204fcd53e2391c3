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
  context.stroke(outlineOfHidden(side));
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

/** The border between hidden and visible tokens of the current time step. */
function outlineOfHidden(side) {
  const [, rows, columns] = stage.grid;
  const first = stage.step * rows * columns;
  const inside = (row, column) => row >= 0 && row < rows && column >= 0 && column < columns;
  const hidden = (row, column) =>
    inside(row, column) ? stage.mask[first + row * columns + column] : 0;
  const path = new Path2D();
  for (let row = 0; row <= rows; row++) {
    for (let column = 0; column <= columns; column++) {
      const [x, y] = [column * side, row * side];
      if (hidden(row, column) !== hidden(row - 1, column)) line(path, x, y, x + side, y);
      if (hidden(row, column) !== hidden(row, column - 1)) line(path, x, y, x, y + side);
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

function line(path, x, y, toX, toY) {
  path.moveTo(x, y);
  path.lineTo(toX, toY);
}

function diagonals(size, gap) {
  const path = new Path2D();
  for (let at = -size; at < size; at += gap) line(path, at, size, at + size, 0);
  return path;
}
