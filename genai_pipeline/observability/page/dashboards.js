// The page of dashboards: reads the JSON that Grafana reads, and asks the Prometheus of this machine.
"use strict";

const at = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const variables = {};
let drawing = 0;

async function prometheus(path, fields) {
  const answer = await fetch(`/prometheus/api/v1/${path}?${new URLSearchParams(fields)}`);
  const text = await answer.text();
  let said;
  try { said = JSON.parse(text); } catch { throw new Error(text.slice(0, 300) || `HTTP ${answer.status}`); }
  if (said.status !== "success") throw new Error(said.error ?? `HTTP ${answer.status}`);
  return said.data;
}

// A choice of several values is a pattern, and so is "all".
const filled = (text) => text.replace(/\$\{?([a-z_]+)(?::\w+)?\}?/g, (whole, name) => variables[name] ?? whole);

function remember(name, value) {
  asked.set(name, value);
  history.replaceState(null, "", `?${asked}`);
}

async function chooseVariable(variable) {
  const [, selector, label] = /^label_values\((.*),\s*(\w+)\)$/s.exec(variable.query.query ?? variable.query);
  const values = await prometheus(`label/${label}/values`, { "match[]": filled(selector) });
  const all = variable.includeAll ? [[variable.allValue ?? ".*", "all"]] : [];
  const options = [...all, ...values.map((value) => [value, value])];
  const given = asked.get(`var-${variable.name}`);
  const chosen = options.some(([value]) => value === given) ? given : options[0]?.[0] ?? "";
  const select = document.createElement("select");
  for (const [value, words] of options) select.add(new Option(words, value, false, value === chosen));
  select.onchange = () => { remember(`var-${variable.name}`, select.value); draw(); };
  variables[variable.name] = chosen;
  const shown = document.createElement("label");
  shown.append(`${variable.label ?? variable.name} `, select);
  return shown;
}

async function chooseVariables(board) {
  const shown = [];
  for (const variable of board.templating.list) {
    if (variable.type === "query") shown.push(await chooseVariable(variable));
  }
  at("variables").replaceChildren(...shown);
}

async function marksOf(board, span, step) {
  const found = await Promise.all(board.annotations.list.filter((a) => a.enable && a.expr).map(async (mark) => {
    const { result } = await prometheus("query_range", { query: filled(mark.expr), start: span[0], end: span[1], step });
    const times = new Set(result.flatMap((s) => s.values.map(([t, v]) => (mark.useValueForTime ? Number(v) / 1e3 : t))));
    return [...times].filter((t) => t >= span[0]).map((t) => ({ at: t, color: mark.iconColor, name: mark.name }));
  }));
  return found.flat();
}

function frame(panel) {
  const section = document.createElement("section"), { x, w, h } = panel.gridPos;
  if (panel.type === "row") {
    section.className = "row";
    section.textContent = panel.title;
    return { section };
  }
  section.style.gridColumn = `${x + 1} / span ${w}`;
  section.style.height = `${h * 34}px`;
  const title = Object.assign(document.createElement("h2"), { textContent: panel.title, title: panel.description ?? "" });
  const body = Object.assign(document.createElement("div"), { className: "body" });
  section.append(title, body);
  section.dataset.panel = panel.title;
  return { section, body };
}

async function fill({ section, body }, panel, when) {
  try {
    const answers = await Promise.all(panel.targets.map(async (target) => {
      const query = filled(target.expr);
      const data = target.instant
        ? await prometheus("query", { query, time: when.span[1] })
        : await prometheus("query_range", { query, start: when.span[0], end: when.span[1], step: when.step });
      return { target, result: data.result };
    }));
    const hasData = drawPanel(body, panel, answers, when);
    if (!hasData) body.append(Object.assign(document.createElement("span"), { className: "note", textContent: "No data" }));
    section.dataset.state = hasData ? "data" : "empty";
  } catch (error) {
    body.replaceChildren(Object.assign(document.createElement("span"), { className: "error", textContent: error.message }));
    section.dataset.state = "error";
  }
}

async function draw() {
  const mine = ++drawing;
  document.body.dataset.state = "drawing";
  at("problem").textContent = "";
  try {
    const board = await (await fetch(`/dashboards/${at("board").value}.json`)).json();
    document.title = board.title;
    at("about").textContent = board.description ?? "";
    const seconds = Number(at("range").value), end = Math.floor(Date.now() / 1e3);
    const step = Math.max(5, Math.round(seconds / 240));
    const when = { span: [end - seconds, end], step };
    Object.assign(variables, { __rate_interval: `${Math.max(60, 4 * step)}s`, __interval: `${step}s` });
    await chooseVariables(board);
    when.marks = await marksOf(board, when.span, step);
    if (mine !== drawing) return;
    const framed = board.panels.map((panel) => [frame(panel), panel]);
    at("panels").replaceChildren(...framed.map(([{ section }]) => section));
    await Promise.all(framed.filter(([, panel]) => panel.targets).map(([place, panel]) => fill(place, panel, when)));
    document.body.dataset.marks = when.marks.length;
  } catch (error) {
    at("problem").textContent = error.message;
    document.body.dataset.state = "failed";
    return;
  }
  if (mine === drawing) document.body.dataset.state = "drawn";
}

async function start() {
  const boards = await (await fetch("/dashboards")).json();
  for (const { name, title } of boards) at("board").add(new Option(title, name));
  const named = location.pathname.split("/")[2];  // as Grafana has it: /d/<uid>
  at("board").value = boards.some((b) => b.name === named) ? named : "genai-service";
  if (asked.get("range")) at("range").value = asked.get("range");
  at("board").onchange = () => { history.replaceState(null, "", `/d/${at("board").value}?${asked}`); draw(); };
  at("range").onchange = () => { remember("range", at("range").value); draw(); };
  await draw();
  setInterval(() => { if (!document.hidden) draw(); }, 30000);
}

start();
