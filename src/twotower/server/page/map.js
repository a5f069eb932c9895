// The map: items as dots, coloured by category; over them the recommended items, the user's own, and the user.

const CLOSEST = 40; // the largest zoom
const EDGE = 14; // pixels around the map at zoom 1
const COLOURS = 8;

export const colour = (place) => `--c${place >= 0 && place < COLOURS ? place : "o"}`;

export class ItemMap {
  constructor(canvas, tip, open) {
    Object.assign(this, { canvas, tip, open, data: null, only: -1, at: null, zoom: 1, x: 0, y: 0 });
    this.marks = []; // {id, title, what, x, y, beyond}: what is "recommended", the past of the verb, or "user"
    this.touches = new Map();
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event));
    canvas.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") this.show(null); });
    canvas.addEventListener("click", (event) => { if (!this.dragged) { this.point(event); this.pick(); } });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => this.show(null));
  }

  load(data) {
    this.data = data;
    this.far = new Set(data.beyond);
    this.draw();
  }

  mark(marks) {
    this.marks = marks;
    this.at = null;
    this.tip.hidden = true;
    this.draw();
  }

  pick() {
    if (this.at?.id !== undefined && this.at.what !== "user") this.open(this.at.id);
  }

  // Zoom and pan. The view is centred at (x, y), in the map's own units of -1 to 1.

  zoomed(factor, x = this.x, y = this.y) {
    const before = this.zoom;
    this.zoom = Math.max(1, Math.min(CLOSEST, this.zoom * factor));
    const kept = before / this.zoom; // the point (x, y) stays where it is on the screen
    this.to(x + (this.x - x) * kept, y + (this.y - y) * kept);
  }

  to(x, y) {
    const most = 1 - 1 / this.zoom;
    this.x = Math.max(-most, Math.min(most, x));
    this.y = Math.max(-most, Math.min(most, y));
    this.canvas.style.touchAction = this.zoom > 1 ? "none" : "pan-y"; // one finger scrolls the page until one has zoomed in
    this.draw();
    if (this.at) this.place(this.at);
  }

  whole() {
    this.zoom = 1;
    this.to(0, 0);
  }

  wheel(event) {
    const factor = Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) / 180);
    if (factor < 1 && this.zoom === 1) return; // the page scrolls on
    event.preventDefault();
    this.zoomed(factor, ...this.inverse(event.offsetX, event.offsetY));
  }

  down(event) {
    this.touches.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.dragged = false;
    if (event.pointerType === "mouse" || this.zoom > 1) this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    const before = this.touches.get(event.pointerId);
    if (!before) return this.point(event);
    const now = [event.offsetX, event.offsetY];
    if (!this.dragged && Math.hypot(now[0] - before[0], now[1] - before[1]) < 4) return;
    this.dragged = true;
    const other = [...this.touches].find(([id]) => id !== event.pointerId)?.[1];
    const { half, tall } = this.size();
    if (other) {
      const spread = (of) => Math.hypot(of[0] - other[0], of[1] - other[1]) || 1;
      this.zoomed(spread(now) / spread(before), ...this.inverse((now[0] + other[0]) / 2, (now[1] + other[1]) / 2));
    } else {
      this.to(this.x - (now[0] - before[0]) / (half * this.zoom), this.y + (now[1] - before[1]) / (tall * this.zoom));
    }
    this.touches.set(event.pointerId, now);
  }

  up(event) {
    this.touches.delete(event.pointerId);
  }

  // The arrows go from one marked item to the next, so that the map can be read without a mouse.
  key(event) {
    const step = { ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowLeft: [-1, 0], ArrowUp: [0, 1] }[event.key];
    const items = this.marks.filter((mark) => mark.what !== "user");
    if (step && event.shiftKey) this.to(this.x + (0.4 * step[0]) / this.zoom, this.y + (0.4 * step[1]) / this.zoom);
    else if (step && items.length) {
      const way = step[0] - step[1] > 0 ? 1 : -1;
      const next = items.indexOf(this.at) + (this.at || way > 0 ? way : 0);
      const mark = items[(next + items.length) % items.length];
      const [x, y] = this.position(mark.x, mark.y);
      const { width, height } = this.size();
      if (x < 0 || y < 0 || x > width || y > height) this.to(mark.x, mark.y);
      this.show(mark);
    } else if (event.key === "Enter") this.pick();
    else if (event.key === "+" || event.key === "=") this.zoomed(1.5);
    else if (event.key === "-" || event.key === "−") this.zoomed(1 / 1.5);
    else if (event.key === "0") this.whole();
    else if (event.key === "Escape") this.show(null);
    else return;
    event.preventDefault();
  }

  size() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return { width, height, half: width / 2 - EDGE, tall: height / 2 - EDGE };
  }

  position(x, y, { width, height, half, tall } = this.size()) {
    return [width / 2 + (x - this.x) * this.zoom * half, height / 2 - (y - this.y) * this.zoom * tall];
  }

  inverse(left, top) {
    const { width, height, half, tall } = this.size();
    return [this.x + (left - width / 2) / (half * this.zoom), this.y - (top - height / 2) / (tall * this.zoom)];
  }

  point(event) {
    if (!this.data) return;
    const { data } = this, size = this.size();
    let best = 14 ** 2, found = null;
    const near = (x, y, weight) => {
      const [left, top] = this.position(x, y, size);
      const distance = ((left - event.offsetX) ** 2 + (top - event.offsetY) ** 2) * weight;
      if (distance >= best) return false;
      best = distance;
      return true;
    };
    for (let at = 0; at < data.items.length; at++) {
      if (this.only >= 0 && data.category[at] !== this.only) continue;
      if (near(data.x[at], data.y[at], 1)) {
        found = { id: data.items[at], title: data.titles[at], category: data.categories[data.category[at]], x: data.x[at], y: data.y[at], beyond: this.far.has(at) };
      }
    }
    for (const mark of this.marks) if (near(mark.x, mark.y, 0.3)) found = mark;
    this.show(found);
  }

  show(mark) {
    if (mark === this.at) return;
    this.at = mark;
    this.tip.hidden = !mark;
    if (mark) {
      const more = [mark.category, mark.what === "user" ? null : mark.what, mark.beyond ? "further out than the map" : null];
      this.tip.textContent = [mark.title, ...more.filter(Boolean)].join(" · ");
      this.place(mark);
    }
    this.draw();
  }

  place(mark) {
    const [x, y] = this.position(mark.x, mark.y);
    const { width, height } = this.size();
    this.tip.style.left = `${Math.max(4, Math.min(x - 80, width - 204))}px`;
    this.tip.style.top = `${y > height - 70 ? y - this.tip.offsetHeight - 12 : y + 14}px`;
  }

  draw() {
    const { canvas, data } = this;
    const size = this.size();
    if (!data || !size.width) return;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(size.width * scale);
    canvas.height = Math.round(size.height * scale);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const cache = new Map();
    const paint = (name) => cache.get(name) ?? cache.set(name, style.getPropertyValue(name).trim()).get(name);
    const dot = (x, y, radius) => {
      pen.beginPath();
      pen.arc(...this.position(x, y, size), radius, 0, 2 * Math.PI);
    };
    const radius = (data.items.length > 3000 ? 1.4 : 2) * Math.min(2.5, Math.sqrt(this.zoom));
    for (let at = 0; at < data.items.length; at++) {
      const faint = this.only >= 0 && data.category[at] !== this.only;
      pen.globalAlpha = faint ? 0.08 : 0.6;
      dot(data.x[at], data.y[at], radius);
      if (this.far.has(at)) { // hollow: it lies further out
        pen.strokeStyle = paint(colour(data.category[at]));
        pen.lineWidth = 1;
        pen.stroke();
      } else {
        pen.fillStyle = paint(colour(data.category[at]));
        pen.fill();
      }
    }
    pen.globalAlpha = 1;
    const order = ["", "recommended", "user"]; // drawn on top of each other in this order
    for (const mark of [...this.marks].sort((a, b) => order.indexOf(a.what) - order.indexOf(b.what))) {
      const [x, y] = this.position(mark.x, mark.y, size);
      pen.strokeStyle = paint("--sheet");
      pen.lineWidth = 1.5;
      pen.beginPath();
      if (mark.what === "recommended") {
        pen.arc(x, y, 6, 0, 2 * Math.PI);
        pen.fillStyle = paint("--accent");
      } else if (mark.what === "user") {
        for (const [dx, dy] of [[0, -9], [9, 0], [0, 9], [-9, 0]]) pen.lineTo(x + dx, y + dy);
        pen.closePath();
        pen.fillStyle = paint("--second");
      } else {
        pen.rect(x - 3, y - 3, 6, 6);
        pen.fillStyle = paint("--ink");
      }
      pen.fill();
      pen.stroke();
    }
    if (this.at) {
      pen.strokeStyle = paint("--ink");
      pen.lineWidth = 2;
      dot(this.at.x, this.at.y, 10);
      pen.stroke();
    }
  }
}

// What there is to say of the map: how much it shows, and of how many items.
export function mapNote(data) {
  const share = data.explained.reduce((sum, one) => sum + (one ?? 0), 0);
  const parts = [`Items close together are ${data.past} by the same users. The map shows ${Math.round(100 * share)}% of the variance of the item vectors.`];
  if (data.every > 1) parts.push(`${data.items.length.toLocaleString("en")} of ${data.total.toLocaleString("en")} items are drawn, and all marked ones.`);
  if (data.beyond.length) parts.push(`${data.beyond.length === 1 ? "1 item lies" : `${data.beyond.length} items lie`} further out; ${data.beyond.length === 1 ? "it is" : "they are"} drawn hollow at the edge.`);
  if (data.column) parts.push(`Colours: ${data.column}.`);
  return parts.join(" ");
}
