// The map: items as points, coloured by category; recommended ones ringed, watched ones filled dark.

const HUES = [212, 24, 145, 340, 48, 270, 178, 8, 95, 305, 195, 70];

export function colour(place) {
  const dark = isDark();
  if (place < 0 || place >= HUES.length) return dark ? "hsl(220 8% 55%)" : "hsl(220 8% 62%)";
  return `hsl(${HUES[place]} ${dark ? "70% 66%" : "68% 46%"})`;
}

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export class ItemMap {
  constructor(canvas, tip, open) {
    this.canvas = canvas;
    this.tip = tip;
    this.data = null;
    this.recommended = new Set();
    this.watched = new Set();
    this.only = -1;
    this.at = -1;
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("pointermove", (event) => this.point(event));
    canvas.addEventListener("pointerleave", () => this.show(-1));
    canvas.addEventListener("click", (event) => { this.point(event); this.pick(open); });
    canvas.addEventListener("keydown", (event) => this.key(event, open));
    canvas.addEventListener("blur", () => this.show(-1));
  }

  load(data) {
    this.data = data;
    this.place = new Map(data.items.map((id, at) => [String(id), at]));
    this.draw();
  }

  mark(recommended, watched) {
    this.recommended = new Set(recommended.map(String));
    this.watched = new Set(watched.map(String));
    this.draw();
  }

  pick(open) {
    if (this.at >= 0) open(this.data.items[this.at]);
  }

  // The arrows go from one recommended item to the next, so that the map can be read without a mouse.
  key(event, open) {
    const marked = [...this.recommended].map((id) => this.place?.get(id)).filter((at) => at !== undefined);
    if (!marked.length) return;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      const next = marked.indexOf(this.at) + step;
      this.show(marked[(next + marked.length) % marked.length]);
    } else if (event.key === "Enter") {
      this.pick(open);
    } else {
      return;
    }
    event.preventDefault();
  }

  position(at) {
    const { width, height } = this.canvas.getBoundingClientRect();
    const edge = 12;
    return [
      width / 2 + this.data.x[at] * (width / 2 - edge),
      height / 2 - this.data.y[at] * (height / 2 - edge),
    ];
  }

  point(event) {
    if (!this.data) return;
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = 14 ** 2, found = -1;
    for (let at = 0; at < this.data.items.length; at++) {
      if (this.only >= 0 && this.data.category[at] !== this.only) continue;
      const [px, py] = this.position(at);
      const marked = this.recommended.has(String(this.data.items[at])) ? 0.3 : 1;
      const distance = ((px - x) ** 2 + (py - y) ** 2) * marked;
      if (distance < best) [best, found] = [distance, at];
    }
    this.show(found);
  }

  show(at) {
    if (at === this.at) return;
    this.at = at;
    this.tip.hidden = at < 0;
    if (at >= 0) {
      const [x, y] = this.position(at);
      const { width } = this.canvas.getBoundingClientRect();
      const category = this.data.categories[this.data.category[at]];
      this.tip.textContent = category ? `${this.data.titles[at]} · ${category}` : this.data.titles[at];
      this.tip.style.left = `${Math.max(4, Math.min(x - 80, width - 200))}px`;
      this.tip.style.top = `${y + 14}px`;
    }
    this.draw();
  }

  draw() {
    const { canvas, data } = this;
    const { width, height } = canvas.getBoundingClientRect();
    if (!data || !width) return;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink");
    const circle = (at, radius) => {
      const [x, y] = this.position(at);
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
    };
    const small = data.items.length > 3000 ? 1.4 : 2.1;
    for (let at = 0; at < data.items.length; at++) {
      const faint = this.only >= 0 && data.category[at] !== this.only;
      pen.globalAlpha = faint ? 0.08 : 0.6;
      pen.fillStyle = colour(data.category[at]);
      circle(at, small);
      pen.fill();
    }
    pen.globalAlpha = 1;
    for (let at = 0; at < data.items.length; at++) {
      const id = String(data.items[at]);
      if (this.watched.has(id)) {
        pen.fillStyle = ink;
        circle(at, 2);
        pen.fill();
      }
    }
    for (const id of this.recommended) {
      const at = this.place.get(id);
      if (at === undefined) continue;
      pen.fillStyle = colour(data.category[at]);
      pen.strokeStyle = ink;
      pen.lineWidth = 1.6;
      circle(at, 5.5);
      pen.fill();
      pen.stroke();
    }
    if (this.at >= 0) {
      pen.strokeStyle = ink;
      pen.lineWidth = 2;
      circle(this.at, 9);
      pen.stroke();
    }
  }
}
