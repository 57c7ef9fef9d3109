// Draws one panel of a dashboard, from the answers of Prometheus. The kinds are those that the dashboards have.
"use strict";

const COLORS = ["#3871dc", "#e0752d", "#56a64b", "#8f3bb8", "#0a9fb5", "#e0b400", "#1f9e89", "#a352cc", "#6b7280"];
const RED = "#c4162a";
const GRID = { stroke: "#eee", width: 1 };

const small = (v) => (v === 0 ? "0" : String(Number(v.toPrecision(3))));
function scaled(v, base, names) {
  let i = 0;
  while (Math.abs(v) >= base && i < names.length - 1) { v /= base; i += 1; }
  return `${small(v)} ${names[i]}`.trim();
}
function seconds(v) {
  const a = Math.abs(v);
  if (a === 0 || (a >= 1 && a < 120)) return `${small(v)} s`;
  if (a < 1e-3) return `${small(v * 1e6)} µs`;
  if (a < 1) return `${small(v * 1e3)} ms`;
  if (a < 7200) return `${small(v / 60)} min`;
  return a < 172800 ? `${small(v / 3600)} h` : `${small(v / 86400)} d`;
}
const UNITS = {
  s: seconds,
  ms: (v) => seconds(v / 1e3),
  percentunit: (v) => `${small(v * 100)} %`,
  percent: (v) => `${small(v)} %`,
  reqps: (v) => `${small(v)} /s`,
  bytes: (v) => scaled(v, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]),
  Bps: (v) => scaled(v, 1000, ["B/s", "kB/s", "MB/s", "GB/s"]),
  hertz: (v) => scaled(v, 1000, ["Hz", "kHz", "MHz", "GHz"]),
  watt: (v) => `${small(v)} W`,
  celsius: (v) => `${small(v)} °C`,
  currencyUSD: (v) => `$${small(v)}`,
  short: (v) => scaled(v, 1000, ["", "k", "M", "G"]),
};
// "17:50", and of more than two days "30 Nov".
function clock(t, span) {
  const at = new Date(t * 1e3), two = (n) => String(n).padStart(2, "0");
  if (span[1] - span[0] > 172800) return at.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  return `${two(at.getHours())}:${two(at.getMinutes())}`;
}
const unitOf = (panel) => UNITS[panel.fieldConfig?.defaults?.unit] ?? small;
const stepsOf = (panel) => panel.fieldConfig?.defaults?.thresholds?.steps ?? [];

function legend(format, labels) {
  if (format) return format.replace(/{{\s*(\w+)\s*}}/g, (_, name) => labels[name] ?? "").trim();
  const pairs = Object.entries(labels).filter(([name]) => name !== "__name__");
  return pairs.map(([name, value]) => `${name}=${value}`).join(" ") || labels.__name__ || "value";
}

// A word that every series of a panel has says nothing there: tiles and legends are narrow.
function shortened(series) {
  const words = series.map((s) => s.name.split(" "));
  const common = new Set(series.length > 1 ? words[0].filter((word) => words.every((all) => all.includes(word))) : []);
  return series.map((s, i) => ({ ...s, name: words[i].filter((word) => !common.has(word)).join(" ") || s.name }));
}

// {name, labels, points: [[seconds, number]]} of every series of every query; NaN is no point.
function seriesOf(answers) {
  return answers.flatMap(({ target, result }) => result.map((found) => ({
    name: legend(target.legendFormat, found.metric),
    labels: found.metric,
    points: (found.values ?? [found.value]).map(([t, v]) => [t, Number(v)]).filter(([, v]) => !Number.isNaN(v)),
  })));
}

function aligned(series) {
  const times = [...new Set(series.flatMap((s) => s.points.map(([t]) => t)))].sort((a, b) => a - b);
  const columns = series.map((s) => {
    const known = new Map(s.points);
    return times.map((t) => (Number.isFinite(known.get(t)) ? known.get(t) : null));
  });
  return [times, ...columns];
}

function looksOf(panel, name, i) {
  const custom = panel.fieldConfig?.defaults?.custom ?? {};
  const looks = { stroke: COLORS[i % COLORS.length], width: custom.lineWidth ?? 1, fill: custom.fillOpacity ?? 0 };
  for (const { matcher, properties } of panel.fieldConfig?.overrides ?? []) {
    const [, pattern] = /^\/(.*)\/$/.exec(matcher.options) ?? [];
    if (matcher.id !== "byRegexp" || !pattern || !new RegExp(pattern).test(name)) continue;
    for (const { id, value } of properties) {
      if (id === "color") looks.stroke = value.fixedColor === "red" ? RED : value.fixedColor;
      if (id === "custom.lineStyle" && value.fill === "dash") looks.dash = value.dash;
      if (id === "custom.fillOpacity") looks.fill = value;
    }
  }
  const alpha = Math.round(looks.fill * 2.55).toString(16).padStart(2, "0");
  return { ...looks, fill: looks.fill && /^#/.test(looks.stroke) ? looks.stroke + alpha : undefined };
}

// Dashed lines of thresholds, and the marks of cut-overs and rollbacks.
function marksOn(panel, marks) {
  const dashed = (panel.fieldConfig?.defaults?.custom?.thresholdsStyle?.mode ?? "off") !== "off";
  const limits = dashed ? stepsOf(panel).map((s) => s.value).filter((v) => v !== null && v !== undefined) : [];
  return (u) => {
    const { left, top, width, height } = u.bbox;
    const line = (x1, y1, x2, y2, color) => {
      u.ctx.save(); u.ctx.strokeStyle = color; u.ctx.lineWidth = 1.5; u.ctx.setLineDash([8, 6]);
      u.ctx.beginPath(); u.ctx.moveTo(x1, y1); u.ctx.lineTo(x2, y2); u.ctx.stroke(); u.ctx.restore();
    };
    for (const limit of limits) {
      const y = u.valToPos(limit, "y", true);
      if (y >= top && y <= top + height) line(left, y, left + width, y, RED);
    }
    for (const mark of marks) {
      const x = u.valToPos(mark.at, "x", true);
      if (x >= left && x <= left + width) line(x, top, x, top + height, mark.color);
    }
  };
}

// The legend takes the room that it needs, and the graph the rest of the panel.
function plot(body, { scales, values, ...options }, data, span) {
  const width = Math.max(120, body.clientWidth - 4);
  const axes = [
    { grid: GRID, size: 30, space: 64, values: (u, ticks) => ticks.map((t) => clock(t, span)) },
    { grid: GRID, size: 64, values },
  ];
  const made = new uPlot({ width, height: 120, scales: { x: { range: () => span }, ...scales }, axes, ...options }, data, body);
  const below = made.root.querySelector(".u-legend")?.offsetHeight ?? 0;
  made.setSize({ width, height: Math.max(90, body.clientHeight - below) });
}

function drawTimeseries(body, panel, series, { span, marks }) {
  const unit = unitOf(panel);
  const value = (u, v) => (v === null || v === undefined ? "" : unit(v));
  const least = panel.fieldConfig?.defaults?.min;
  const range = (u, low, high) => uPlot.rangeNum(least ?? low, high > (least ?? low) ? high : (least ?? low) + 1, 0.1, true)
    .map((v, i) => (i === 0 && least !== undefined ? least : v));
  const labels = shortened(series).map((s) => s.name);
  plot(body, {
    scales: { y: { range } },
    values: (u, ticks) => ticks.map(unit),
    series: [{}, ...series.map((s, i) => ({ label: labels[i], value, spanGaps: false, ...looksOf(panel, s.name, i) }))],
    cursor: { sync: { key: "board" } },
    hooks: { draw: [marksOn(panel, marks)] },
  }, aligned(series), span);
}

function drawHeatmap(body, panel, series, { span, marks }) {
  const unit = UNITS[panel.options?.yAxis?.unit] ?? small;
  const bounds = series.map((s) => ({ ...s, le: Number(s.labels.le === "+Inf" ? Infinity : s.labels.le) }));
  const [times, ...cumulated] = aligned(bounds.sort((a, b) => a.le - b.le));
  const cells = cumulated.map((row, i) => row.map((v, t) => Math.max(0, (v ?? 0) - (i ? cumulated[i - 1][t] ?? 0 : 0))));
  const most = Math.max(...cells.flat(), 0);
  const used = cells.flatMap((row, i) => (row.some((v) => v > 0) ? [i] : []));
  const [low, high] = used.length ? [Math.max(0, used[0] - 1), used[used.length - 1] + 2] : [0, cells.length];
  const paint = (u) => {
    const step = times.length > 1 ? times[1] - times[0] : 1;
    cells.forEach((row, i) => row.forEach((v, t) => {
      if (!v || i < low || i >= high) return;
      const x = u.valToPos(times[t] - step, "x", true), right = u.valToPos(times[t], "x", true);
      const y = u.valToPos(i + 1, "y", true), bottom = u.valToPos(i, "y", true);
      u.ctx.fillStyle = `rgba(224, 117, 45, ${0.15 + 0.85 * Math.sqrt(v / most)})`;
      u.ctx.fillRect(x, y, Math.max(1, right - x - 1), Math.max(1, bottom - y - 1));
    }));
  };
  const names = (u, ticks) => ticks.map((v) => (Number.isInteger(v) && v > 0 && bounds[v - 1]
    ? (Number.isFinite(bounds[v - 1].le) ? unit(bounds[v - 1].le) : "more") : ""));
  plot(body, {
    scales: { y: { range: [low, high] } },
    values: names,
    legend: { show: false },
    series: [{}, { paths: () => null, points: { show: false } }],
    hooks: { draw: [paint, marksOn(panel, marks)] },
  }, [times, times.map(() => null)], span);
}

function colorAt(panel, value) {
  const passed = stepsOf(panel).filter((s) => s.value === null || s.value === undefined || value >= s.value);
  const color = passed.length ? passed[passed.length - 1].color : "";
  return { green: "#2f8f3f", red: RED }[color] ?? "";
}

function drawFigures(body, panel, series, as) {
  const box = document.createElement("div");
  const known = shortened(series.filter(({ points }) => points.length));
  box.className = known.length > 2 ? "figures many" : "figures";
  for (const { name, points } of known) {
    const last = points[points.length - 1][1], one = document.createElement("div");
    one.className = "figure";
    const number = document.createElement("b"), under = document.createElement("span");
    number.textContent = unitOf(panel)(last);
    number.style.color = colorAt(panel, last);
    under.textContent = under.title = name;
    one.append(number);
    if (as === "gauge") {
      const { min = 0, max = 1 } = panel.fieldConfig?.defaults ?? {};
      one.append(Object.assign(document.createElement("meter"), { min, max, value: last }));
    }
    one.append(under);
    box.append(one);
  }
  body.append(box);
  return box.childElementCount > 0;
}

function drawTable(body, panel, series) {
  const given = (panel.transformations ?? []).find((t) => t.id === "organize")?.options ?? {};
  const known = [...new Set(series.flatMap((s) => Object.keys(s.labels)))].filter((name) => name !== "__name__");
  const order = given.indexByName ?? {};
  const columns = given.includeByName ? Object.keys(given.includeByName) : [...known, "Value"];
  columns.sort((a, b) => (order[a] ?? 99) - (order[b] ?? 99));
  const table = document.createElement("table"), head = table.createTHead().insertRow(), rows = table.createTBody();
  for (const name of columns) head.append(Object.assign(document.createElement("th"), { textContent: name }));
  for (const { labels, points } of series) {
    const row = rows.insertRow();
    for (const name of columns) {
      row.insertCell().textContent = name === "Value" ? unitOf(panel)(points[points.length - 1]?.[1] ?? NaN) : labels[name] ?? "";
    }
  }
  body.append(table);
}

// Draws a panel. Returns whether it has data.
function drawPanel(body, panel, answers, when) {
  const series = seriesOf(answers);
  if (panel.type === "table") { drawTable(body, panel, series); return series.length > 0; }
  if (!series.some((s) => s.points.length)) return false;
  if (panel.type === "stat" || panel.type === "gauge") return drawFigures(body, panel, series, panel.type);
  if (panel.type === "heatmap") drawHeatmap(body, panel, series, when);
  else if (panel.type === "timeseries") drawTimeseries(body, panel, series, when);
  else throw new Error(`this page does not draw panels of the kind ${panel.type}`);
  return true;
}
