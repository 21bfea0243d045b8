// Puts the page to work. Without it every part has its still figure and its table.

function hero(root) {
  const task = FACTS.tasks[0], slice = task.slices[+root.dataset.slice], best = task.laws[0];
  const title = name => task.columns.find(one => one.name === name) ?? {name, title: name.replaceAll("_", " ")};
  const colour = k => LEVELS[slice.lines.length > 1 ? Math.round(k * (LEVELS.length - 1) / (slice.lines.length - 1)) : 0];
  const points = slice.lines.flatMap((line, k) => line.x.map((x, i) => ({k, x: Math.log(x), y: place(line.loss[i]), loss: line.loss[i], held_out: line.held_out[i], level: line.level})));
  const curves = slice.lines.flatMap((line, k) => (line.median ? line.at : []).map((x, i) => ({k, x: Math.log(x), y: place(line.median[i]), low: place(line.low[i]), high: place(line.high[i])})));
  const [low, high] = d3.extent(points, point => Math.exp(point.x));
  const inner = d3.max(points.filter(point => !point.held_out), point => point.x);
  chart(root, width => {
    const height = Math.min(430, Math.max(290, width * 0.58));
    const span = d3.extent(points, point => point.y), room = 0.25 * (span[1] - span[0]);
    const y = metricAxis([...points.map(point => point.y), ...curves.map(one => Math.max(span[0] - room, Math.min(span[1] + room, one.y)))], height);
    const x = columnAxis({...title(slice.along), levels: [...new Set(points.map(point => Math.exp(point.x)))].sort((a, b) => a - b)}, low / 1.08, high * 1.08, width);
    // Labels at the ends of the lines, moved apart where they would hide each other.
    const names = slice.by ? d3.groups(curves, one => one.k).map(([, some]) => ({...some.at(-1)})).sort((a, b) => a.y - b.y) : [];
    const gap = 14 * (y.domain[1] - y.domain[0]) / (height - 66);
    names.forEach((one, k) => { one.y = Math.max(one.y, y.domain[0] + gap / 2, k ? names[k - 1].y + gap : -Infinity); });
    return Plot.plot({
      width, height, marginLeft: 52, marginBottom: 42, marginTop: 24, marginRight: 56, style: STYLE, x, y, ariaLabel: root.getAttribute("aria-label"),
      marks: [
        inner < Math.log(high) ? Plot.rectX([0], {x1: inner + 0.02 * (Math.log(high) - Math.log(low)), x2: x.domain[1], fill: "var(--shade)"}) : null,
        Plot.gridY(y.ticks, {stroke: "var(--grid)", strokeOpacity: 1}),
        Plot.areaY(curves, {x: "x", y1: "low", y2: "high", z: "k", fill: one => colour(one.k), fillOpacity: 0.14, clip: true}),
        Plot.line(curves, {x: "x", y: "y", z: "k", stroke: one => colour(one.k), strokeWidth: 2, clip: true}),
        Plot.dot(points, {x: "x", y: "y", r: 3.6, stroke: point => colour(point.k), fill: point => point.held_out ? "var(--paper)" : colour(point.k), strokeWidth: 1.6}),
        names.length ? Plot.text(names, {x: "x", y: "y", text: one => number(slice.lines[one.k].level), fill: one => colour(one.k), textAnchor: "start", dx: 8, fontWeight: 600}) : null,
        inner < Math.log(high) ? Plot.text([0], {x: (inner + x.domain[1]) / 2, frameAnchor: "top", text: () => "held out", fill: "var(--muted)", dy: 4}) : null,
        Plot.tip(points, Plot.pointer({x: "x", y: "y", title: point => [`${number(measured(point.loss), 4)} ${point.held_out ? "held out" : "fitted"}`, `${slice.along.replaceAll("_", " ")} ${exact(Math.exp(point.x))}`, ...(slice.by ? [`${slice.by.replaceAll("_", " ")} ${exact(point.level)}`] : [])].join("\n"), fill: "var(--paper)", stroke: "var(--grid)"})),
      ],
    });
  });
}

function residuals(root) {
  const find = name => root.querySelector(`[data-part=${name}]`);
  const task = FACTS.tasks[+root.dataset.task], laws = task.laws.filter(law => law.predicted), {columns, loss, held_out, cells} = task.points;
  options(find("law"), laws.map((law, k) => [String(k), law.law]), "0");
  options(find("x"), task.columns.map(one => [one.name, one.title]), task.columns[0].name);
  const redraw = chart(find("chart"), width => {
    const law = laws[+find("law").value], axis = task.columns.find(one => one.name === find("x").value);
    const room = Math.log(axis.high / axis.low) * 0.05, height = 320;
    const gap = axis.levels?.length > 1 ? Math.min(...d3.pairs(axis.levels, (a, b) => Math.log(b / a))) * 0.3 : 0;
    const points = loss.map((one, k) => ({x: Math.log(columns[axis.name][k]) + gap * (k * 0.618034 % 1 - 0.5) * 0.8 + (held_out[k] ? gap : -gap) * 0.6,
      y: Math.log(one / law.predicted[k]), held_out: held_out[k], cell: cells?.[k], loss: one, predicted: law.predicted[k]})).filter(point => Number.isFinite(point.y));
    const reach = Math.max(0.01, d3.max(points, point => Math.abs(point.y))) * 1.05;
    // Percentages that are round, as many as fit.
    const ticks = [...d3.ticks(100 * Math.expm1(-reach), 0, 4), ...d3.ticks(0, 100 * Math.expm1(reach), 4)].filter(one => one > -100).map(one => Math.log1p(one / 100));
    const bins = axis.levels?.length > 1 ? axis.levels.map(Math.log) : d3.range(8).map(k => Math.log(axis.low) + Math.log(axis.high / axis.low) * (k + 0.5) / 8);
    const medians = d3.flatRollup(points, some => d3.median(some, point => point.y), point => point.held_out, point => d3.leastIndex(bins, one => Math.abs(one - point.x)))
      .map(([out, bin, y]) => ({held_out: out, x: bins[bin] + (out ? gap : -gap) * 0.6, y}));
    return openOnClick(Plot.plot({
      width, height, marginLeft: 58, marginBottom: 44, style: STYLE, ariaLabel: "residuals",
      x: {...columnAxis(axis, axis.low, axis.high, width), domain: [Math.log(axis.low) - room, Math.log(axis.high) + room]},
      y: {domain: [-reach, reach], label: "measured against predicted", labelArrow: "none", tickFormat: y => (y > 0 ? "+" : "") + `${+(100 * Math.expm1(y)).toPrecision(3)}%`, ticks},
      marks: [
        Plot.gridY(ticks, {stroke: "var(--grid)", strokeOpacity: 1}), Plot.ruleY([0], {stroke: "var(--muted)"}),
        Plot.dot(points, {x: "x", y: "y", r: 2, fill: point => point.held_out ? HELD_OUT : FITTED, fillOpacity: 0.4}),
        Plot.dot(medians, {x: "x", y: "y", r: 5.5, fill: one => one.held_out ? HELD_OUT : FITTED, stroke: "var(--paper)", strokeWidth: 2}),
        Plot.tip(points, Plot.pointer({x: "x", y: "y", title: point => tell(point.cell, [`measured ${number(measured(point.loss), 4)}`, `predicted ${number(measured(point.predicted), 4)}`]), fill: "var(--paper)", stroke: "var(--grid)"})),
      ],
    }));
  });
  for (const name of ["law", "x"]) find(name).addEventListener("change", redraw);
}

function learningCurves(root) {
  const points = FACTS.cells.curves.flatMap(curve => curve.step.map((step, k) => ({cell: curve.cell, x: Math.log(step), y: place(curve.loss[k]), loss: curve.loss[k], step, held_out: curve.held_out ?? false})));
  const [low, high] = d3.extent(points, point => point.step);
  chart(root, width => {
    const height = Math.min(380, Math.max(280, width * 0.5)), y = metricAxis(points.map(point => point.y), height);
    return openOnClick(Plot.plot({
      width, height, marginLeft: 58, marginBottom: 44, marginTop: 26, style: STYLE, x: columnAxis({title: "optimiser steps"}, low, Math.max(high, low * 1.01), width), y, ariaLabel: "learning curves",
      marks: [
        Plot.gridY(y.ticks, {stroke: "var(--grid)", strokeOpacity: 1}),
        Plot.line(points, {x: "x", y: "y", z: "cell", stroke: point => point.held_out ? HELD_OUT : FITTED, strokeWidth: 1, strokeOpacity: 0.45}),
        Plot.line(points, Plot.pointer({x: "x", y: "y", z: "cell", stroke: "var(--ink)", strokeWidth: 2})),
        Plot.tip(points, Plot.pointer({x: "x", y: "y", title: point => tell(point.cell, [`${number(measured(point.loss), 4)} at step ${exact(point.step)}`]), fill: "var(--paper)", stroke: "var(--grid)"})),
      ],
    }));
  });
}

function reliability(root) {
  const laws = FACTS.ledger.reliability, points = laws.flatMap((one, k) => one.level.map((level, i) => ({law: one.law, k, level, held: one.held[i]})));
  chart(root, width => {
    const side = Math.min(width, 380), axis = {domain: [0, 1], ticks: 5, tickFormat: "%"};
    return Plot.plot({
      width: side, height: side * 0.94, marginLeft: 52, marginBottom: 42, style: STYLE, ariaLabel: "reliability of the intervals",
      x: {...axis, label: "nominal", labelAnchor: "center", labelArrow: "none"}, y: {...axis, label: "held", labelArrow: "none"},
      color: {domain: laws.map(one => one.law), range: laws.map((_, k) => LEVELS[k % LEVELS.length]), legend: true},
      symbol: {domain: laws.map(one => one.law), range: laws.map((_, k) => SYMBOLS[k % SYMBOLS.length])},
      marks: [
        Plot.line([[0, 0], [1, 1]], {stroke: "var(--muted)", strokeDasharray: "4,3"}),
        Plot.line(points, {x: "level", y: "held", stroke: "law", z: "law"}),
        Plot.dot(points, {x: "level", y: "held", fill: "law", symbol: "law", r: 3}),
        Plot.tip(points, Plot.pointer({x: "level", y: "held", title: one => `${one.law}: ${Math.round(100 * one.level)}% intervals held ${Math.round(100 * one.held)}%`, fill: "var(--paper)", stroke: "var(--grid)"})),
      ],
    });
  });
}

const PARTS = {hero, explorer, residuals, budget, isoflops, learningCurves, reliability};
for (const root of document.querySelectorAll("[data-live]")) PARTS[root.dataset.live](root);
