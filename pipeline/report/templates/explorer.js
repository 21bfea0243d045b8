// The law as an instrument: a slider a column, a curve or level lines, the points that lie near.

const NEAR = 0.08;  // of a column's range: points further from the slice are not drawn
const REACH = 4;  // how far beyond the largest measured scale one may look

function explorer(root) {
  const find = name => root.querySelector(`[data-part=${name}]`);
  const able = FACTS.tasks.flatMap((task, k) => task.laws.some(law => law.program) ? [k] : []);
  const state = {task: able[0], law: 0, view: "curve", x: null, y: null, at: {}};
  const task = () => FACTS.tasks[state.task];
  const laws = () => task().laws.filter(law => law.program);
  const law = () => laws()[state.law];
  const column = name => task().columns.find(one => one.name === name);
  const top = one => one.role === "input" ? one.high * REACH : one.high;

  function begin() {
    const columns = task().columns;
    // Where most can be seen: the cells of the first picture; else the level, or the place, in the middle.
    const first = task().slices[+root.dataset.slice] ?? task().slices[0];
    state.at = Object.fromEntries(columns.map(one => {
      const level = first && (one.name === first.by ? first.lines.at(-1).level : first.at[one.name]);
      const middle = Math.sqrt(one.fitted_low * one.fitted_high);
      const nearest = d3.least(one.levels ?? [], other => Math.abs(Math.log(other / middle)));
      return [one.name, Number.isFinite(level) ? level : nearest ?? middle];
    }));
    const farthest = d3.greatest(columns, one => one.high / one.fitted_high) ?? columns[0];
    state.x = farthest.name;
    state.at[state.x] = farthest.high;
    state.y = (columns.find(one => one.name !== state.x) ?? farthest).name;
    state.law = 0;
    options(find("law"), laws().map((one, k) => [String(k), one.law]), "0");
    options(find("x"), columns.map(one => [one.name, one.title]), state.x);
    options(find("y"), columns.map(one => [one.name, one.title]), state.y);
    find("view").closest("label").hidden = columns.length < 2;
    sliders();
  }

  function sliders() {
    find("sliders").replaceChildren(...task().columns.map(one => {
      const label = document.createElement("label"), name = document.createElement("span");
      const output = document.createElement("output"), input = document.createElement("input");
      name.textContent = one.title;
      Object.assign(input, {type: "range", min: 0, max: 1000, step: 1, name: one.name});
      const span = Math.log(top(one) / one.low);
      const show = () => {
        output.textContent = number(state.at[one.name], 4);
        output.dataset.value = state.at[one.name];
        input.setAttribute("aria-valuetext", output.textContent);
      };
      input.value = Math.round(1000 * Math.log(state.at[one.name] / one.low) / span);
      input.addEventListener("input", () => {
        const value = one.low * Math.exp(span * input.value / 1000);
        // A level of the grid catches the slider, so that one stands where measurements are.
        const level = d3.least(one.levels ?? [], other => Math.abs(Math.log(other / value)));
        state.at[one.name] = level && Math.abs(Math.log(level / value)) < span * 0.006 ? level : value;
        show();
        redraw();
      });
      show();
      label.append(name, output, input);
      return label;
    }));
  }

  function near() {
    const shown = state.view === "map" ? [state.x, state.y] : [state.x];
    const others = task().columns.filter(one => !shown.includes(one.name));
    const {columns, loss, held_out, cells} = task().points;
    return d3.range(loss.length).map(k => ({
      distance: d3.max(others, one => Math.abs(Math.log(columns[one.name][k] / state.at[one.name])) / Math.log(one.high / one.low)) ?? 0,
      x: Math.log(columns[state.x][k]), y: Math.log(columns[state.y][k]), loss: loss[k], held_out: held_out[k],
      cell: cells?.[k],
    })).filter(point => point.distance <= NEAR);
  }

  function describe(point) {
    return tell(point.cell, [`${number(measured(point.loss), 4)} ${point.held_out ? "held out" : "fitted"}`]);
  }

  function drawCurve(width) {
    const height = Math.min(440, Math.max(300, width * 0.6)), axis = column(state.x), high = top(axis);
    const xs = d3.range(160).map(k => axis.low * (high / axis.low) ** (k / 159));
    const losses = predict(law().program, {...state.at, [state.x]: xs}, xs.length);
    const line = xs.map((x, k) => {
      const half = law().interval ? halfWidth(law().interval, {...state.at, [state.x]: x}) : NaN;
      return {x: Math.log(x), y: place(losses[k]), low: place(losses[k] * Math.exp(-half)), high: place(losses[k] * Math.exp(half))};
    });
    const points = near();
    const y = metricAxis([...points.map(point => place(point.loss)), ...line.map(one => one.y)], height, 0.08);
    const here = predict(law().program, state.at, 1)[0];
    return openOnClick(Plot.plot({
      width, height, marginLeft: 58, marginBottom: 44, marginTop: 26, style: STYLE, x: columnAxis(axis, axis.low, high, width), y, ariaLabel: "prediction along a column",
      marks: [
        Plot.rectX([0], {x1: Math.log(axis.fitted_high), x2: Math.log(high), fill: "var(--shade)"}),
        Plot.gridX(columnAxis(axis, axis.low, high, width).ticks, {stroke: "var(--grid)", strokeOpacity: 1}),
        Plot.gridY(y.ticks, {stroke: "var(--grid)", strokeOpacity: 1}),
        law().interval ? Plot.areaY(line, {x: "x", y1: "low", y2: "high", fill: "var(--accent)", fillOpacity: 0.16, clip: true}) : null,
        Plot.ruleX([Math.log(state.at[state.x])], {stroke: "var(--muted)", strokeDasharray: "2,3"}),
        Plot.line(line, {x: "x", y: "y", stroke: "var(--accent)", strokeWidth: 2.2, clip: true}),
        Plot.dot(points, {x: "x", y: point => place(point.loss), r: 3.6, stroke: point => point.held_out ? HELD_OUT : FITTED,
          fill: point => point.held_out ? "var(--paper)" : FITTED, strokeWidth: 1.6, opacity: point => 1 - 0.75 * point.distance / NEAR}),
        Plot.dot([0], {x: Math.log(state.at[state.x]), y: place(here), r: 5, fill: "var(--accent)", stroke: "var(--paper)", strokeWidth: 2}),
        Plot.tip(points, Plot.pointer({x: "x", y: point => place(point.loss), title: describe, fill: "var(--paper)", stroke: "var(--grid)"})),
      ],
    }));
  }

  function drawMap(width) {
    const height = Math.min(500, Math.max(320, width * 0.72)), [a, b] = [column(state.x), column(state.y)], n = 56;
    const [highA, highB] = [top(a), top(b)];
    // A cell of the raster beyond every edge, which is cut off: level lines end at the edge, not on it.
    const wide = (low, high) => [0, 1].map(end => Math.log(low) + Math.log(high / low) * (end ? n / (n - 1) : -1 / (n - 1)));
    const [spanA, spanB] = [wide(a.low, highA), wide(b.low, highB)];
    const across = ([from, to], k) => Math.exp(from + (to - from) * (k + 0.5) / n);
    const grid = d3.range(n * n).map(k => [across(spanA, k % n), across(spanB, Math.floor(k / n))]);
    const losses = predict(law().program, {...state.at, [a.name]: grid.map(one => one[0]), [b.name]: grid.map(one => one[1])}, n * n);
    const places = Array.from(losses, place), points = near();
    const scale = metricAxis([...places, ...points.map(point => place(point.loss))], 200, 0);
    const box = {x1: Math.log(a.low), x2: Math.log(highA), y1: Math.log(b.low), y2: Math.log(highB)};
    const bends = (law().breaks ?? []).flatMap((one, k) => {
      const rest = d3.sum(Object.entries(one.weights), ([name, w]) => name === a.name || name === b.name ? 0 : w * Math.log(state.at[name]));
      const [wa, wb] = [one.weights[a.name] ?? 0, one.weights[b.name] ?? 0];
      if (!wa && !wb) return [];
      const steep = Math.abs(wb) < Math.abs(wa);
      return [0, 1].map(end => {
        const [x, y] = [end ? box.x2 : box.x1, end ? box.y2 : box.y1];
        return steep ? {k, x: (one.place - rest - wb * y) / wa, y} : {k, x, y: (one.place - rest - wa * x) / wb};
      });
    });
    return openOnClick(Plot.plot({
      width, height, marginLeft: 58, marginBottom: 44, marginTop: 20, style: STYLE, ariaLabel: "level lines of the prediction",
      x: columnAxis(a, a.low, highA, width), y: {...columnAxis(b, b.low, highB, height * 1.6), labelAnchor: "top"},
      color: {type: "linear", domain: scale.domain, scheme: "cividis", reverse: SIGN > 0, legend: true, label: scale.label, ticks: scale.ticks, tickFormat: scale.tickFormat},
      marks: [
        Plot.contour(places, {width: n, height: n, x1: spanA[0], x2: spanA[1], y1: spanB[0], y2: spanB[1], clip: true, fill: d => d, stroke: "white", strokeOpacity: 0.35, strokeWidth: 0.6, thresholds: 18, blur: 0}),
        Plot.ruleX([Math.log(a.fitted_high)], {stroke: "white", strokeOpacity: 0.8, strokeDasharray: "3,3"}),
        Plot.ruleY([Math.log(b.fitted_high)], {stroke: "white", strokeOpacity: 0.8, strokeDasharray: "3,3"}),
        Plot.line(bends, {x: "x", y: "y", z: "k", stroke: "white", strokeWidth: 2.4, strokeDasharray: "8,4", clip: true}),
        Plot.dot(points, {x: "x", y: "y", fill: point => place(point.loss), stroke: point => point.held_out ? "black" : "white", strokeWidth: 1.4, r: 4.5}),
        Plot.dot([0], {x: Math.log(state.at[a.name]), y: Math.log(state.at[b.name]), symbol: "times", stroke: "white", strokeWidth: 2.6, r: 6}),
        Plot.tip(points, Plot.pointer({x: "x", y: "y", title: describe, fill: "var(--paper)", stroke: "var(--grid)"})),
      ],
    }));
  }

  function readout() {
    const loss = predict(law().program, state.at, 1)[0];
    const half = law().interval ? halfWidth(law().interval, state.at) : NaN;
    const ends = [measured(loss * Math.exp(-half)), measured(loss * Math.exp(half))].sort((a, b) => a - b);
    const outside = task().columns.filter(one => state.at[one.name] > one.fitted_high * 1.001 || state.at[one.name] < one.fitted_low * 0.999)
      .map(one => `${one.name.replaceAll("_", " ")} ${number(Math.max(state.at[one.name] / one.fitted_high, one.fitted_low / state.at[one.name]), 2)}×`);
    find("value").textContent = number(measured(loss), 4);
    find("ends").textContent = Number.isFinite(half) ? `90% between ${number(ends[0], 4)} and ${number(ends[1], 4)}` : "";
    find("outside").textContent = outside.length ? `Outside the fitted range: ${outside.join(", ")}` : "Inside the fitted range";
  }

  function update() {
    find("y").closest("label").hidden = state.view !== "map";
    if (state.view === "map" && state.x === state.y)
      state.y = find("y").value = task().columns.find(one => one.name !== state.x).name;
    find("map-note").hidden = state.view !== "map";
    redraw();
  }

  for (const name of ["view", "x", "y"]) find(name).addEventListener("change", event => { state[name] = event.target.value; update(); });
  find("law").addEventListener("change", event => { state.law = +event.target.value; redraw(); });
  if (find("task")) find("task").addEventListener("change", event => { state.task = +event.target.value; begin(); update(); });
  begin();
  let redraw = () => {};
  redraw = (redrawChart => () => { readout(); redrawChart(); })(chart(find("chart"), width => state.view === "map" ? drawMap(width) : drawCurve(width)));
  update();
}
