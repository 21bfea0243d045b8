"use strict";
// A law in the page: the program that Python recorded, run over whole columns at once. See `pipeline.report.program`.

const OPERATIONS = [
  (a, b) => a + b, (a, b) => a - b, (a, b) => a * b, (a, b) => a / b, a => -a, Math.exp, Math.log, Math.log1p,
  Math.expm1, Math.abs, (a, b) => Math.max(a, b), (a, b) => Math.min(a, b), Math.tanh, Math.sqrt, (a, b) => a ** b, (a, b) => +(a < b), (a, b) => +(a >= b),
  (a, b, c) => a ? b : c,
];

// Predicted losses at `rows` places; `columns` maps a name to one number or to an array of them.
function predict(program, columns, rows) {
  const registers = program.columns.map(name => {
    const value = columns[name];
    return typeof value === "number" ? Math.log(value) : Float64Array.from(value, Math.log);
  });
  for (const [code, ...operands] of program.code) {
    const operation = OPERATIONS[code];
    const [a, b, c] = operands.map(one => one >= 0 ? registers[one] : program.constants[-1 - one]);
    if (typeof a === "number" && typeof (b ?? 0) === "number" && typeof (c ?? 0) === "number") {
      registers.push(operation(a, b, c));
      continue;
    }
    const at = x => typeof x === "number" || x === undefined ? () => x : k => x[k];
    const [first, second, third] = [at(a), at(b), at(c)];
    const out = new Float64Array(rows);
    for (let k = 0; k < rows; k++) out[k] = operation(first(k), second(k), third(k));
    registers.push(out);
  }
  const answer = registers[registers.length - 1];
  return typeof answer === "number" ? new Float64Array(rows).fill(Math.exp(answer)) : answer.map(Math.exp);
}

// Half the width of the interval in ln of the loss at one place: cubic between the places of the grid (Catmull and Rom's
// spline in every column), which bends as smoothly as the width itself.
function halfWidth(interval, columns) {
  let corners = [[0, 1]];
  interval.columns.forEach((name, k) => {
    const places = interval.places[k], last = places.length - 1;
    const share = Math.log(columns[name] / places[0]) / Math.log(places[last] / places[0]) * last;
    const left = Math.max(0, Math.min(last - 1, Math.floor(share))), t = Math.max(0, Math.min(1, share - left));
    const weights = new Map();
    const add = (where, weight) => weights.set(where, (weights.get(where) ?? 0) + weight);
    // Beyond either end the grid goes on in a straight line.
    const spread = (where, weight) => {
      if (where < 0) { add(0, 2 * weight); add(1, -weight); }
      else if (where > last) { add(last, 2 * weight); add(last - 1, -weight); }
      else add(where, weight);
    };
    spread(left - 1, (-t + 2 * t * t - t ** 3) / 2);
    spread(left, (2 - 5 * t * t + 3 * t ** 3) / 2);
    spread(left + 1, (t + 4 * t * t - 3 * t ** 3) / 2);
    spread(left + 2, (-t * t + t ** 3) / 2);
    corners = corners.flatMap(([place, weight]) => Array.from(weights, ([where, one]) => [place * places.length + where, weight * one]))
      .filter(([, weight]) => weight !== 0);
  });
  return Math.exp(corners.reduce((sum, [place, weight]) => sum + weight * Math.log(interval.half[place]), 0));
}
