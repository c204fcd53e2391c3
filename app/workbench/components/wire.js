/** What Python packed (see `_parcel`): `{note, blobs}`, a JSON note and the bytes it speaks of. */
function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 4 + view.getUint32(0, true);
  const note = JSON.parse(new TextDecoder().decode(bytes.subarray(4, start)));
  let end = start;
  const blobs = note.sizes.map((size) => bytes.slice(end, (end += size)));
  return { note, blobs };
}

/** An image from encoded bytes, its pixels as they are: no colour management, no alpha tricks. */
function decodeImage(bytes) {
  const exact = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  return createImageBitmap(new Blob([bytes]), exact);
}

/** Mask bits as base64, lowest bit first, to one byte (0 or 1) a token. */
function maskFromBits(bits, count) {
  const packed = Uint8Array.from(atob(bits), (char) => char.charCodeAt(0));
  return Uint8Array.from({ length: count }, (_, i) => (packed[i >> 3] >> (i & 7)) & 1);
}

/** Inverse of `maskFromBits`. */
function maskToBits(mask) {
  const packed = new Uint8Array(Math.ceil(mask.length / 8));
  mask.forEach((hidden, i) => (packed[i >> 3] |= hidden << (i & 7)));
  return btoa(String.fromCharCode(...packed));
}

/** The instance that lives on an element: components are called again on every new message. */
function instanceOn(element, make) {
  const home = (instanceOn.homes ??= new WeakMap());
  if (home.has(element)) return home.get(element);
  element.addEventListener("pointerover", placeTip);
  element.addEventListener("focusin", placeTip);
  home.set(element, make());
  return home.get(element);
}

const TIP_WIDTH = 260; // px, with its margin

/** A tooltip opens to the left where there is no room to the right. */
function placeTip(event) {
  const owner = event.target.closest("[data-tip]");
  if (!owner) return;
  const beyond = owner.getBoundingClientRect().left + TIP_WIDTH > window.innerWidth;
  owner.dataset.side = beyond ? "end" : "start";
}

/** Makes the address bar a link to this state; another clip is a step in the browser's history. */
function showInAddress(query) {
  const clipOf = (search) => new URLSearchParams(search).get("clip");
  const before = clipOf(location.search);
  const change = before && before !== clipOf(query) ? "pushState" : "replaceState";
  history[change](history.state, "", `?${query}`);
}
