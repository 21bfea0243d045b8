// The best use of a budget, found in the page: what a law's columns are worth where every run costs the same.

const AROUND = 10;  // by what factor the figure goes beyond the path of the optimum
const ANYWHERE = 1500, ALONG = 64;  // places of the grid that a search begins with: of an optimum, and of a place of a curve
const CURVE = 33;  // places of a curve

// The least loss at one budget, with its columns. `given`: columns that are not free, such as a place along a curve.
function bestUse(law, allocation, budget, given = {}) {
  const most = Object.keys(given).length ? ALONG : ANYWHERE;
  const {cost, free, ends, fixed} = allocation, spends = free.at(-1);
  const sought = free.slice(0, -1).filter(name => !(name in given));
  const powers = Object.entries(cost.powers).filter(([name]) => name !== spends);
  const columns = places => {
    const found = {...fixed, ...given};
    sought.forEach((name, k) => { found[name] = places.map(place => Math.exp(place[k])); });
    found[spends] = places.map((_, i) => Math.exp((Math.log(budget / cost.scale)
      - d3.sum(powers, ([name, power]) => power * Math.log(typeof found[name] === "number" ? found[name] : found[name][i]))) / cost.powers[spends]));
    return found;
  };
  const losses = places => Array.from(predict(law.program, columns(places), places.length), one => Number.isFinite(one) ? one : Infinity);
  const box = sought.map(name => ends[name].map(Math.log));
  const grid = count => box.reduce((places, [low, high]) => places.flatMap(place => d3.range(count).map(k => [...place, low + (high - low) * k / (count - 1)])), [[]]);
  const side = box.length ? Math.max(3, Math.floor(most ** (1 / box.length))) : 1;
  let places = grid(side), values = losses(places), k = d3.minIndex(values), place = places[k], least = values[k];
  // A pattern search from there: the best of a place's neighbours, nearer where that is the place itself.
  const steps = box.reduce((some, _, k) => some.flatMap(one => [-1, 0, 1].map(step => [...one, step])), [[]]).filter(one => one.some(Boolean));
  for (let radius = 1, round = 0; box.length && radius > 1e-9 && round < 400; round++) {
    places = steps.map(step => place.map((one, i) => Math.min(box[i][1], Math.max(box[i][0], one + step[i] * radius * (box[i][1] - box[i][0]) / (side - 1)))));
    values = losses(places);
    k = d3.minIndex(values);
    if (values[k] < least) [place, least] = [places[k], values[k]];
    else radius /= 2;
  }
  const found = columns([place]);
  return {loss: least, at: Object.fromEntries(Object.entries(found).map(([name, value]) => [name, typeof value === "number" ? value : value[0]]))};
}

// Half the width of a measurement's interval at the optimum, in ln of the loss: between the budgets that Python has asked.
function halfAlong(path, budget) {
  const at = Math.log(budget), known = path.map(one => [Math.log(one.budget), Math.log(one.loss_high / one.loss_low) / 2]);
  const k = Math.max(1, Math.min(known.length - 1, known.findIndex(([place]) => place >= at) + (at > known.at(-1)[0] ? known.length : 0)));
  const [[from, first], [to, second]] = [known[k - 1], known[k]];
  return first + (second - first) * Math.max(0, Math.min(1, (at - from) / (to - from)));
}

const short = value => value.toPrecision(3).replace("e+", "e");

const budgets = new Map();  // by the number of a task: what its field says, and who draws it

function budgetOf(number) {
  if (!budgets.has(number)) budgets.set(number, {value: FACTS.tasks[number].allocation.measured, heard: []});
  return budgets.get(number);
}

function lawOf(task) {
  return task.laws.find(law => law.law === task.allocation.law && law.program);
}

function budget(root) {
  const find = name => root.querySelector(`[data-part=${name}]`), known = budgetOf(+root.dataset.task);
  const task = FACTS.tasks[+root.dataset.task], {path, free} = task.allocation, law = lawOf(task);
  const [low, high] = [path[0].budget / 10, path.at(-1).budget * 10], span = Math.log(high / low);
  const words = name => name.replaceAll("_", " ");
  function show() {
    const best = bestUse(law, task.allocation, known.value), half = halfAlong(path, known.value);
    const ends = [measured(best.loss * Math.exp(-half)), measured(best.loss * Math.exp(half))].sort((a, b) => a - b);
    find("value").textContent = number(measured(best.loss), 4);
    find("ends").textContent = `90% between ${number(ends[0], 4)} and ${number(ends[1], 4)}`;
    find("best").textContent = free.map(name => `${words(name)} ${number(best.at[name])}`).join(", ");
    find("best").dataset.at = JSON.stringify(best.at);
    find("slider").setAttribute("aria-valuetext", number(known.value));
    for (const redraw of known.heard) redraw();
  }
  find("budget").addEventListener("input", event => {
    const value = Number(event.target.value.replaceAll(",", ""));
    event.target.setCustomValidity(value > 0 && Number.isFinite(value) ? "" : "a positive number, such as 1e21");
    if (!event.target.reportValidity()) return;
    known.value = value;
    find("slider").value = Math.round(1000 * Math.log(value / low) / span);
    show();
  });
  find("slider").addEventListener("input", event => {
    known.value = low * Math.exp(span * event.target.value / 1000);
    find("budget").value = short(known.value);
    find("budget").setCustomValidity("");
    show();
  });
  find("budget").value = short(known.value);
  find("slider").value = Math.round(1000 * Math.log(known.value / low) / span);
  show();
}

function isoflops(root) {
  const task = FACTS.tasks[+root.dataset.task], {along, path, curves, cost} = task.allocation, law = lawOf(task);
  const known = budgetOf(+root.dataset.task), axis = task.columns.find(one => one.name === along);
  const xs = path.map(one => one.at[along]), [low, high] = [d3.min(xs) / AROUND, d3.max(xs) * AROUND];
  const colour = d3.scaleLinear(d3.range(LEVELS.length).map(k => k / (LEVELS.length - 1)), LEVELS).clamp(true);
  const share = budget => Math.log(budget / path[0].budget) / Math.log(path.at(-1).budget / path[0].budget);
  const points = curves.flatMap(curve => curve.x.map((x, k) => ({x: Math.log(x), y: place(curve.loss[k]), budget: curve.budget})).filter(one => one.x >= Math.log(low) && one.x <= Math.log(high)));
  const optima = path.map(one => ({...one, x: Math.log(one.at[along]), y: place(one.loss),
    x1: Math.log(Math.max(low, one.low[along])), x2: Math.log(Math.min(high, one.high[along]))}));
  const redraw = chart(root, width => {
    const height = Math.min(440, Math.max(300, width * 0.6)), span = d3.extent(optima, one => one.y);
    const now = law && bestUse(law, task.allocation, known.value), own = !law ? [] : d3.range(CURVE).map(k => low * (high / low) ** (k / (CURVE - 1)))
      .map(x => ({x: Math.log(x), y: place(bestUse(law, task.allocation, known.value, {[along]: x}).loss)})).filter(one => Number.isFinite(one.y));
    const room = 1.2 * Math.max(span[1] - span[0], 0.02), inside = y => Math.max(span[0] - room, Math.min(span[1] + room, y));
    const y = metricAxis([...points.map(one => inside(one.y)), ...(now ? [place(now.loss)] : [])], height);
    const x = columnAxis({...axis, levels: []}, low, high, width);
    return Plot.plot({
      width, height, marginLeft: 58, marginBottom: 44, marginTop: 26, style: STYLE, x, y, ariaLabel: `loss along ${along} at equal cost`,
      marks: [
        Plot.gridY(y.ticks, {stroke: "var(--grid)", strokeOpacity: 1}),
        Plot.line(points, {x: "x", y: "y", z: "budget", stroke: one => colour(share(one.budget)), strokeWidth: 1.4, clip: true}),
        Plot.ruleY(optima, {x1: "x1", x2: "x2", y: "y", stroke: one => colour(share(one.budget)), strokeWidth: 5, strokeOpacity: 0.3, clip: true}),
        Plot.line(optima, {x: "x", y: "y", stroke: "var(--ink)", clip: true}),
        Plot.dot(optima, {x: "x", y: "y", r: 4, fill: "var(--ink)", clip: true}),
        Plot.text(optima, {x: "x", y: "y", text: one => number(one.budget), dy: -11, fill: "var(--muted)", clip: true}),
        Plot.line(own, {x: "x", y: "y", stroke: "var(--accent)", strokeWidth: 2.6, clip: true}),
        now ? Plot.dot([0], {x: Math.log(now.at[along]), y: place(now.loss), r: 6, fill: "var(--accent)", stroke: "var(--paper)", strokeWidth: 2, clip: true}) : null,
        Plot.tip(optima, Plot.pointer({x: "x", y: "y", title: one => [`${number(one.budget)} ${cost.unit}`, number(measured(one.loss), 4),
          ...task.allocation.free.map(name => `${name.replaceAll("_", " ")} ${number(one.at[name])}`)].join("\n"), fill: "var(--paper)", stroke: "var(--grid)"})),
      ],
    });
  });
  known.heard.push(redraw);
}
