/** A tour of the page: a few stops, each beside what it speaks of, to be left at any time. */
class Tour {
  constructor(stops, back) {
    this.stops = stops;
    this.back = back; // what gets the focus afterwards
    this.at = 0;
    this.card = document.createElement("div");
    this.card.className = "vjepa-tour";
    this.card.setAttribute("role", "dialog");
    this.card.setAttribute("aria-label", "Tour");
    this.card.addEventListener("click", (event) => this.act(event.target.dataset.act));
    this.escape = (event) => event.key === "Escape" && this.end();
    document.addEventListener("keydown", this.escape, true);
    document.body.append(this.card);
    this.show();
  }

  act(name) {
    if (name === "leave" || (name === "next" && this.at === this.stops.length - 1)) return this.end();
    if (!name) return;
    this.at += name === "next" ? 1 : -1;
    this.show();
  }

  show() {
    const { place, title, told } = this.stops[this.at];
    const last = this.at === this.stops.length - 1;
    this.card.innerHTML = `<b></b><p></p><footer><small>${this.at + 1} of ${this.stops.length}</small>
      <button type="button" data-act="leave">Leave</button>
      <button type="button" data-act="back" ${this.at ? "" : "disabled"}>Back</button>
      <button type="button" data-act="next">${last ? "Done" : "Next"}</button></footer>`;
    this.card.querySelector("b").textContent = title;
    this.card.querySelector("p").textContent = told;
    this.put(findDeep(place));
    this.card.querySelector('[data-act="next"]').focus({ preventScroll: true });
  }

  /** Beside its subject: below it where there is room, else above. */
  put(subject) {
    subject?.scrollIntoView({ block: "nearest" });
    const { left, top, bottom } = subject?.getBoundingClientRect() ?? { left: 16, top: 96, bottom: 96 };
    const { offsetWidth: width, offsetHeight: height } = this.card;
    const below = bottom + height + 16 < innerHeight;
    const y = below ? bottom + 8 : Math.max(8, Math.min(top - height - 8, innerHeight - height - 8));
    this.card.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
    this.card.style.top = `${y}px`;
    this.mark(subject);
  }

  mark(subject) {
    if (this.marked) this.marked.style.boxShadow = "";
    this.marked = subject;
    if (subject) subject.style.boxShadow = "0 0 0 3px var(--st-primary-color, #b03a09)";
  }

  end() {
    this.mark(null);
    document.removeEventListener("keydown", this.escape, true);
    this.card.remove();
    this.back.focus();
  }
}

/** The first element that a selector finds, in the page or in the shadow of one of its parts. */
function findDeep(selector) {
  const roots = [document, ...[...document.querySelectorAll("*")].map((host) => host.shadowRoot)];
  return roots.reduce((found, root) => found ?? root?.querySelector(selector), null);
}

function makeTourButton(stops) {
  const item = document.createElement("li");
  item.className = "tour-item";
  item.innerHTML = '<button type="button" class="tour">Tour</button>';
  const button = item.firstChild;
  button.addEventListener("click", () => new Tour(stops, button));
  return item;
}
