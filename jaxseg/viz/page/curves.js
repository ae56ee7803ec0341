// Line charts as SVG: one for each of `panels`, {title, series: [{name, x, y, shown}]}, with a tooltip at the step
// that is pointed at (or reached by the arrow keys) and a button for each curve.
const NS = "http://www.w3.org/2000/svg";
const EDGE = { left: 52, right: 12, top: 10, bottom: 24 };

function node(name, attributes, parent, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return parent.appendChild(made);
}

function written(value) {
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size >= 1e5 || size < 1e-3) return value.toExponential(2).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

// Least and greatest; as arguments of Math.min 130,000 values would be too many.
function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return [low, high];
}

// Round numbers from low to high, about `count` of them; powers of ten on a logarithmic axis.
function ticks(low, high, count, logarithmic) {
  if (logarithmic) {
    const found = [];
    for (let e = Math.floor(low); e <= Math.ceil(high); e++)
      for (const m of high - low < 1.5 ? [1, 2, 5] : [1]) {
        const at = e + Math.log10(m);
        if (at >= low && at <= high) found.push(at);
      }
    return found;
  }
  const rough = (high - low) / count;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((m) => m * unit >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-6; k++) found.push(k * step);
  return found;
}

// Exponential moving average without the pull of its beginning.
function smoothed(values, weight) {
  let sum = 0;
  let total = 0;
  return values.map((value) => {
    sum = sum * weight + value;
    total = total * weight + 1;
    return sum / total;
  });
}

function panel(place, { title, series }, smoothing) {
  const box = place.appendChild(document.createElement("section"));
  box.className = "panel";
  const heading = box.appendChild(document.createElement("h3"));
  heading.textContent = title;
  const svg = node("svg", { tabindex: 0, role: "img" }, box);
  const tip = box.appendChild(document.createElement("div"));
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  let logarithmic = false;
  let cursor = null; // the step that is pointed at

  const shown = () => series.filter((one) => one.shown);
  const value = (y) => (logarithmic ? Math.log10(y) : y);

  function draw() {
    svg.replaceChildren();
    const [width, height] = [box.clientWidth - 24, svg.clientHeight];
    if (width < 60) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const curves = shown();
    const weight = Number(smoothing.value);
    const xs = series.flatMap((one) => one.x);
    const ys = curves.flatMap((one) => one.y.map(value)).filter(Number.isFinite);
    let [x0, x1] = extent(xs);
    if (x0 === x1) [x0, x1] = [x0 - 1, x1 + 1];
    let [y0, y1] = ys.length ? extent(ys) : [0, 1];
    const size = Math.max(Math.abs(y0), Math.abs(y1));
    // What differs by rounding alone is one value: between such numbers there are none for ticks.
    const room = (y1 - y0 > size * 1e-6 ? y1 - y0 : size || 1) * 0.06;
    [y0, y1] = [y0 >= 0 && y0 < room && !logarithmic ? 0 : y0 - room, y1 + room];
    const px = (x) => EDGE.left + ((x - x0) / (x1 - x0)) * (width - EDGE.left - EDGE.right);
    const py = (y) => EDGE.top + (1 - (value(y) - y0) / (y1 - y0)) * (height - EDGE.top - EDGE.bottom);
    for (const at of ticks(y0, y1, 5, logarithmic)) {
      const real = logarithmic ? 10 ** at : at;
      node("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: py(real), y2: py(real) }, svg);
      node("text", { x: EDGE.left - 6, y: py(real) + 4, "text-anchor": "end" }, svg, written(Number(real.toPrecision(6))));
    }
    for (const at of ticks(x0, x1, Math.max(2, width / 90), false)) {
      node("text", { x: px(at), y: height - 6, "text-anchor": "middle" }, svg, written(at));
    }
    for (const one of curves) {
      const line = (values) => values.map((y, i) => `${i ? "L" : "M"}${px(one.x[i]).toFixed(1)},${py(y).toFixed(1)}`).join("");
      const colour = `stroke: ${one.colour}`;
      if (weight) node("path", { class: "faint", d: line(one.y), style: colour }, svg);
      const values = smoothed(one.y, weight);
      node("path", { d: line(values), style: colour }, svg);
      if (one.x.length < 40)
        values.forEach((y, i) => node("circle", { cx: px(one.x[i]), cy: py(y), r: 2.6, style: `fill: ${one.colour}` }, svg));
    }
    svg.setAttribute("aria-label", `${title}: ${curves.map((one) => `${one.name} ends at ${written(one.y.at(-1))}`).join(", ")}`);
    tip.hidden = cursor === null || !curves.length;
    if (!tip.hidden) point(curves, weight, px, py, width, height);
  }

  function point(curves, weight, px, py, width, height) {
    node("line", { class: "cursor", x1: px(cursor), x2: px(cursor), y1: EDGE.top, y2: height - EDGE.bottom }, svg);
    tip.replaceChildren(document.createElement("b"));
    tip.firstChild.textContent = `step ${cursor}`;
    const rows = curves.flatMap((one) => {
      const i = one.x.indexOf(cursor);
      return i < 0 ? [] : [[one, smoothed(one.y, weight)[i]]];
    });
    for (const [one, y] of rows.sort((a, b) => b[1] - a[1]).slice(0, 14)) {
      node("circle", { cx: px(cursor), cy: py(y), r: 4, style: `fill: ${one.colour}` }, svg);
      const row = tip.appendChild(document.createElement("div"));
      row.append(key(one), one.name, Object.assign(document.createElement("b"), { textContent: written(y) }));
    }
    const side = px(cursor) > width / 2;
    tip.style.left = side ? "auto" : `${px(cursor) + 24}px`;
    tip.style.right = side ? `${width - px(cursor) + 24}px` : "auto";
    tip.style.top = "3rem";
  }

  function key(one) {
    const made = document.createElement("span");
    made.className = "swatch";
    made.style.background = one.colour;
    return made;
  }

  const steps = [...new Set(series.flatMap((one) => one.x))].sort((a, b) => a - b);
  const point_at = (event) => {
    const frame = svg.getBoundingClientRect();
    const part = (event.clientX - frame.left - EDGE.left) / (frame.width - EDGE.left - EDGE.right);
    const wanted = steps[0] + part * (steps.at(-1) - steps[0]);
    cursor = steps.reduce((a, b) => (Math.abs(b - wanted) < Math.abs(a - wanted) ? b : a));
    draw();
  };
  const leave = () => { cursor = null; draw(); };
  svg.addEventListener("pointermove", point_at);
  svg.addEventListener("pointerdown", point_at);
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    const at = cursor === null ? (move > 0 ? 0 : steps.length - 1) : steps.indexOf(cursor) + move;
    cursor = steps[Math.min(steps.length - 1, Math.max(0, at))];
    draw();
  });

  const [least, greatest] = extent(series.flatMap((one) => one.y));
  if (least > 0 && greatest > 10 * least) {
    const button = heading.appendChild(document.createElement("button"));
    button.textContent = "log scale";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      logarithmic = !logarithmic;
      button.setAttribute("aria-pressed", logarithmic);
      button.textContent = logarithmic ? "linear scale" : "log scale";
      draw();
    });
  }
  const keys = box.appendChild(document.createElement("div"));
  keys.className = "keys";
  for (const one of series.length > 1 ? series : []) {
    const button = keys.appendChild(document.createElement("button"));
    button.append(key(one), one.name);
    button.setAttribute("aria-pressed", one.shown);
    button.addEventListener("click", () => {
      one.shown = !one.shown;
      button.setAttribute("aria-pressed", one.shown);
      draw();
    });
  }
  return draw;
}

function curves(place, panels, smoothing) {
  for (const { series } of panels) series.forEach((one, i) => { one.colour = `var(--c${i % 12})`; });
  const draws = panels.map((one) => panel(place, one, smoothing));
  const all = () => draws.forEach((draw) => draw());
  smoothing.addEventListener("input", all);
  new ResizeObserver(all).observe(place);
  all();
}
