// What all charts share: axes in logarithms with round ticks, numbers for people, colours of the page.

const FITTED = "#0b7bb8", HELD_OUT = "#d55e00";
const LEVELS = ["#665ddb", "#a845a8", "#de5170", "#f08a3c", "#d9ae2b"];
const SYMBOLS = ["circle", "square", "triangle", "diamond", "star"];
const METRIC = FACTS.metric;
const SIGN = METRIC.direction === "higher" ? -1 : 1;

const place = loss => SIGN * Math.log(loss);
const lossOf = where => Math.exp(SIGN * where);
const inverse = METRIC.direction === "higher" && METRIC.best === undefined;

function measured(loss) {
  if (METRIC.direction !== "higher") return loss + (METRIC.floor ?? 0);
  return METRIC.best !== undefined ? METRIC.best - loss : (METRIC.floor ?? 0) + 1 / loss;
}

function number(value, digits = 3) {
  const size = Math.abs(value);
  for (const [scale, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]])
    if (scale * 0.9995 <= size && size < scale * 999.5) return `${+(value / scale).toPrecision(digits)}${letter}`;
  return String(+value.toPrecision(digits)).replace("e+", "e");
}

function exact(value) {
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) && Math.abs(value) < 1e9 ? value.toLocaleString("en-US") : number(value, 6);
}

// Round numbers within [low, high] that lie well on a logarithmic axis.
function logTicks(low, high, most) {
  const decades = d3.range(Math.floor(Math.log10(low)) - 1, Math.ceil(Math.log10(high)) + 1);
  const edge = value => low * (1 - 1e-9) <= value && value <= high * (1 + 1e-9);
  let inside = [];
  for (const digits of [[1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
    inside = decades.flatMap(k => digits.map(m => +`${m}e${k}`)).filter(edge);
    if (inside.length <= most) break;
  }
  for (const stride of [2, 3, 5, 10]) {
    if (inside.length <= most) break;
    inside = decades.filter(k => k % stride === 0).map(k => +`1e${k}`).filter(edge);
  }
  return inside.length >= 3 && high / low > 5 ? inside : d3.ticks(low, high, most);
}

function columnAxis(column, low, high, width) {
  const levels = column.levels ?? [];
  const few = levels.length > 1 && levels.length <= Math.max(3, width / 70)
    && Math.min(...d3.pairs(levels, (a, b) => Math.log(b / a))) > Math.log(high / low) * 46 / width;
  const ticks = few ? levels : logTicks(low, high, Math.max(3, Math.floor(width / 80)));
  return {domain: [Math.log(low), Math.log(high)], ticks: ticks.map(Math.log), tickFormat: x => number(Math.exp(x)),
    label: column.title, labelAnchor: "center", labelArrow: "none"};
}

function metricAxis(places, height, room = 0.05) {
  const finite = places.filter(Number.isFinite);
  let [low, high] = finite.length ? d3.extent(finite) : [-1, 1];
  const width = Math.max(high - low, 0.02);
  [low, high] = [low - room * width, high + room * width];
  const bounds = [low, high].map(one => Math.exp(SIGN * one * (inverse ? -1 : 1))).sort((a, b) => a - b);
  const losses = logTicks(...bounds, Math.max(3, Math.floor(height / 45))).map(one => inverse ? 1 / one : one);
  const arrow = METRIC.direction === "higher" ? "higher is better" : "lower is better";
  return {domain: [low, high], ticks: losses.map(place), tickFormat: y => number(measured(lossOf(y)), 4),
    label: `${METRIC.name.replaceAll("_", " ")} (${arrow})`, labelArrow: "none"};
}

const STYLE = {background: "transparent", color: "var(--ink)", fontFamily: "var(--font)", fontSize: "12px", overflow: "visible"};

// Draws now, and again whenever the place it is drawn in changes its width.
function chart(target, draw) {
  let width = 0;
  const redraw = () => {
    width = target.clientWidth;
    if (width) target.replaceChildren(draw(width));
  };
  new ResizeObserver(() => { if (Math.abs(target.clientWidth - width) > 1) redraw(); }).observe(target);
  redraw();
  return redraw;
}

const CELLS = new Map((FACTS.cells?.rows ?? []).map(cell => [cell.id, cell]));

// What a mark says of its cell when it is pointed at.
function tell(cell, lines) {
  const known = CELLS.get(cell);
  const config = known ? Object.entries(known.config).map(([name, value]) => `${name.replaceAll("_", " ")} ${exact(value)}`) : [];
  return [...lines, ...config, ...(cell ? [`cell ${cell}${known?.url ? " (click: its W&B run)" : ""}`] : [])].join("\n");
}

function openOnClick(plot) {
  plot.addEventListener("click", () => {
    const url = CELLS.get(plot.value?.cell)?.url;
    if (url) window.open(url, "_blank", "noopener");
  });
  return plot;
}

function options(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => {
    const option = document.createElement("option");
    [option.value, option.textContent, option.selected] = [value, text, value === chosen];
    return option;
  }));
}
