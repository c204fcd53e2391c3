/** Numbers as colours: `colours` is a table of 256 RGB triples, `[low, high]` its two ends. */
function colourOf(value, [low, high], colours) {
  const share = (value - low) / (high - low);
  return rgb(colours, Math.round(255 * Math.min(Math.max(share, 0), 1)));
}

/** The triple at an index of a table, for a canvas or for CSS. */
function rgb(colours, index) {
  return `rgb(${colours.subarray(3 * index, 3 * index + 3).join(" ")})`;
}

/** A legend: low, the colours between, high. */
function showScale(place, colours, range) {
  const stops = Array.from({ length: 9 }, (_, i) => rgb(colours, Math.round((i * 255) / 8)));
  const [low, high] = range.map(short);
  place.className = "scale";
  place.innerHTML = `${low}<i style="background:linear-gradient(90deg,${stops})"></i>${high}`;
}

/** .42 for 0.42, 178 for 178.00. */
function short(value) {
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return value.toFixed(2).replace(/^(-?)0\./, "$1.").replace(/^-?\.00$/, "0");
}
