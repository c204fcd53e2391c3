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

export default function ({ parentElement, data, setTriggerValue }) {
  const { note, blobs } = unpack(data);
  const pick = (name) => setTriggerValue("pick", name);
  const tiles = note.tiles.map((tile, i) => makeTile(tile, blobs[i], pick));
  parentElement.querySelector(".picker").replaceChildren(...tiles);
}
