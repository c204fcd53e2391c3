const GLOBE =
  '<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="8"/>' +
  '<path d="M4 12h16M12 4c5 5 5 11 0 16M12 4c-5 5-5 11 0 16"/></svg>';

function makeTile(tile, picture, pick) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "tile";
  button.title = tile.help || tile.title;
  button.dataset.clip = tile.name;
  button.setAttribute("role", "radio");
  button.setAttribute("aria-checked", tile.chosen);
  button.tabIndex = tile.chosen ? 0 : -1; // one stop on the way of the Tab key; arrows do the rest
  button.innerHTML = '<div class="picture"></div><div class="caption"></div>';
  button.querySelector(".caption").textContent = tile.title;
  showPicture(button.querySelector(".picture"), picture);
  button.addEventListener("click", () => {
    button.classList.add("busy"); // until Python sends the row again
    pick(tile.name);
  });
  return button;
}

function showPicture(place, picture) {
  if (!picture.length) place.innerHTML = GLOBE;
  else place.style.backgroundImage = `url(${URL.createObjectURL(new Blob([picture]))})`;
}

const BESIDE = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/** Arrows go from tile to tile, as in any group of radio buttons; enter or space chooses. */
function moveOn(event) {
  const tiles = [...event.currentTarget.children];
  const at = tiles.indexOf(event.target.closest(".tile"));
  const by = BESIDE[event.key];
  event.stopPropagation(); // Streamlit has keys of its own
  if (!by || at < 0) return;
  event.preventDefault();
  tiles[(at + by + tiles.length) % tiles.length].focus();
}

/** Scrolls the row alone, never the page. */
function bringIntoView(row, tile) {
  if (!tile) return;
  const { left, right } = row.getBoundingClientRect();
  const box = tile.getBoundingClientRect();
  if (box.right > right) row.scrollLeft += box.right - right + 4;
  if (box.left < left) row.scrollLeft -= left - box.left + 4;
}

export default function ({ parentElement, data, setTriggerValue }) {
  const { note, blobs } = unpack(data);
  const row = parentElement.querySelector(".picker");
  const focused = row.querySelector(":focus")?.dataset.clip;
  const pick = (name) => setTriggerValue("pick", name);
  const tiles = note.tiles.map((tile, i) => makeTile(tile, blobs[i], pick));
  if (!note.tiles.some(({ chosen }) => chosen)) tiles[0].tabIndex = 0;
  row.replaceChildren(...tiles);
  row.onkeydown = moveOn;
  tiles.find((tile) => tile.dataset.clip === focused)?.focus();
  bringIntoView(row, tiles.find((tile) => tile.getAttribute("aria-checked") === "true"));
}
