// The live page of a globalcounter server. It listens to /api/live, which sends the last ten minutes and
// then each new second, asks /api/hot now and then, and searches topics when somebody types. If the server
// wants a token, it asks for one, and keeps it until its tab is closed.

import { drawCluster, showCluster } from "./cluster.js";

const SECONDS = 600;
const HOT_EVERY = 2; // seconds
const FOUND = 20; // topics of a search that are shown

const $ = (id) => document.getElementById(id);
let seconds = [];
let version = "";

// ---- Figures ----

const withUnit = (number, units, base, digits = 3) => {
  let unit = 0;
  while (Math.abs(number) >= base * 0.9995 && unit < units.length - 1) {
    number /= base;
    unit += 1;
  }
  const text = unit === 0 && Number.isInteger(number) ? String(number) : number.toPrecision(digits);
  return units[unit] ? `${text} ${units[unit]}` : text;
};
const count = (number) => (number < 1000 ? String(Math.round(number * 10) / 10) : withUnit(number, ["", "k", "M", "G", "T"], 1000));
const bytes = (number) => withUnit(number, ["B", "KiB", "MiB", "GiB", "TiB"], 1024);
const whole = (number) => number.toLocaleString("en");
const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;

function time(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1e-6) return `${Math.round(value * 1e9)} ns`;
  if (value < 1e-3) return `${(value * 1e6).toPrecision(3)} µs`;
  if (value < 1) return `${(value * 1e3).toPrecision(3)} ms`;
  return `${value.toPrecision(3)} s`;
}

function age(value) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = parts.findIndex(([length]) => value >= length);
  if (at < 0) return "0 s";
  const [length, unit] = parts[at];
  const rest = parts[at + 1] ? Math.floor((value % length) / parts[at + 1][0]) : 0;
  return `${Math.floor(value / length)} ${unit}${rest > 0 ? ` ${rest} ${parts[at + 1][1]}` : ""}`;
}

function show(id, text, note) {
  $(id).textContent = text;
  if (note !== undefined) $(`${id}-note`).textContent = note;
}

function showFigures(now) {
  const { requests, latency, connections, topics, commits } = now;
  const dialects = ["framed", "classic", "resp"].filter((name) => requests[name] > 0);
  const of = dialects.map((name) => (dialects.length > 1 ? `${name} ${count(requests[name])}` : name)).join(", ");
  show("requests", `${count(requests.all)}/s`, requests.all > 0 ? `${of} · ${requests.batch.toFixed(1)} per read` : "");
  show("latency", time(latency.p99), `p50 ${time(latency.p50)} · p99.9 ${time(latency.p999)}`);
  show("connections", whole(connections.used), `${whole(now.resp_connections)} of Redis clients`);
  show("topics", count(topics.used), `${bytes(now.topics_bytes)} of memory`);
  show("cpu", `${now.cpu.toFixed(2)} cores`, `${bytes(now.resident_bytes)} resident`);
  if (commits) {
    const last = commits.last_commit_seconds === null ? "no commit yet" : `last commit ${age(commits.last_commit_seconds)} ago`;
    show("durability", now.durability, `${last} · ${count(commits.commits)}/s, ${time(commits.seconds)} each`);
  } else {
    show("durability", "none", "topics are only in memory");
  }
  $("about").textContent = `${version} · up ${age(now.uptime_seconds)} · ${location.host}`;
}

// ---- Tables ----

function cell(content) {
  const td = document.createElement("td");
  td.append(content);
  return td;
}

function bar(value, max, limits) {
  const meter = document.createElement("meter");
  Object.assign(meter, { min: 0, max: Math.max(max, 1e-9), ...limits, value });
  return meter;
}

function fill(id, rows, nothing, columns) {
  const lines = rows.map(({ cells, warn }) => {
    const tr = document.createElement("tr");
    tr.classList.toggle("warn", Boolean(warn));
    tr.append(...cells.map(cell));
    return tr;
  });
  if (lines.length === 0) {
    const tr = document.createElement("tr");
    const td = cell(nothing);
    td.colSpan = columns;
    td.className = "empty";
    tr.append(td);
    lines.push(tr);
  }
  $(id).replaceChildren(...lines);
}

function showTables(now) {
  fill("shards", now.workers.map((worker, number) => ({
    cells: [String(number), count(worker.requests), bar(worker.cpu, 1, {}), whole(worker.connections),
      whole(worker.waiting_batches), time(worker.longest_turn)],
  })), "", 6);

  const limits = [["connections", now.connections, whole], ["topics", now.topics, count], ["open files", now.files, whole]];
  if (now.commits?.log.limit > 0) limits.push(["log until a checkpoint", now.commits.log, bytes]);
  fill("limits", limits.map(([name, { used, limit }, format]) => ({
    cells: [name, format(used), format(limit), bar(used, limit, { low: limit * 0.8, high: limit * 0.95, optimum: 0 })],
    warn: name !== "log until a checkpoint" && used > limit * 0.95,
  })), "", 4);

  const sum = (figure) => seconds.reduce((total, second) => total + figure(second), 0);
  const trouble = [
    ["requests refused", (second) => second.requests.errors],
    ["connections refused", (second) => second.connections_refused],
    ["datagrams dropped", (second) => second.datagrams_dropped],
    ["reads put off", (second) => second.stalls],
  ].map(([name, figure]) => ({ cells: [name, count(figure(now)), whole(Math.round(sum(figure)))], warn: figure(now) > 0 }));
  if (now.skipped_numbers > 0) trouble.push({ cells: ["numbers that the start may have skipped", "", whole(now.skipped_numbers)] });
  if (now.commits?.checkpoints_failed > 0) trouble.push({ cells: ["checkpoints that failed", "", whole(now.commits.checkpoints_failed)], warn: true });
  fill("trouble", trouble, "", 3);
}

// ---- Charts ----

// A canvas knows no variables of CSS.
const probe = document.body.appendChild(document.createElement("i"));
probe.hidden = true;
function color(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

// Draws lines over the last `span` samples; the newest is at the right edge. `log`: a logarithmic scale.
function chart(canvas, lines, span, format, log = false) {
  const scale = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const draw = canvas.getContext("2d");
  draw.scale(scale, scale);
  const size = Math.max(11, Math.min(18, height / 16));
  draw.font = `${size}px system-ui, sans-serif`;
  draw.textBaseline = "middle";
  const top = size * 1.7, bottom = height - size * 1.7, right = width - size;

  const values = lines.flatMap(({ values }) => values).filter((value) => value > 0);
  const high = Math.max(...values, log ? 1e-6 : 1);
  const low = log ? Math.min(...values, high / 10) : 0;
  const [floor, ceiling] = log ? [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))] : [0, niceCeiling(high)];
  const marks = log
    ? Array.from({ length: ceiling - floor + 1 }, (_, i) => 10 ** (floor + i))
    : [0, ceiling / 2, ceiling];
  const left = Math.max(...marks.map((mark) => draw.measureText(format(mark)).width)) + size;
  const y = (value) => {
    const position = log ? Math.log10(Math.max(value, 10 ** floor)) : value;
    return bottom - ((position - floor) / Math.max(ceiling - floor, 1e-12)) * (bottom - top);
  };
  for (const mark of marks) {
    draw.strokeStyle = color("--line");
    draw.beginPath();
    draw.moveTo(left, y(mark));
    draw.lineTo(right, y(mark));
    draw.stroke();
    draw.fillStyle = color("--faint");
    draw.textAlign = "right";
    draw.fillText(format(mark), left - 6, y(mark));
  }
  draw.textAlign = "left";
  draw.fillText(`${age(span)} ago`, left, height - size / 2);
  draw.textAlign = "right";
  draw.fillText("now", right, height - size / 2);
  let labelAt = left;
  for (const { name, values, color: line } of lines) {
    const x = (i) => right - ((values.length - 1 - i) / (span - 1)) * (right - left);
    draw.strokeStyle = draw.fillStyle = color(line);
    draw.lineWidth = 1.6;
    draw.beginPath();
    let drawing = false;
    values.forEach((value, i) => {
      if (value === null || value === undefined) {
        drawing = false;
        return;
      }
      if (drawing) draw.lineTo(x(i), y(value));
      else draw.moveTo(x(i), y(value));
      drawing = true;
    });
    draw.stroke();
    draw.textAlign = "left";
    draw.fillText(name, labelAt, size / 2 + 1);
    labelAt += draw.measureText(name).width + size;
  }
}

function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function drawCharts() {
  const of = (figure) => seconds.map(figure);
  const span = Math.max(seconds.length, 60);
  chart($("requests-chart"), [
    { name: "all", color: "--blue", values: of((second) => second.requests.all) },
    { name: "refused", color: "--red", values: of((second) => second.requests.errors) },
  ], span, count);
  chart($("latency-chart"), [
    { name: "p50", color: "--green", values: of((second) => second.latency.p50) },
    { name: "p99", color: "--blue", values: of((second) => second.latency.p99) },
    { name: "p99.9", color: "--orange", values: of((second) => second.latency.p999) },
  ], span, time, true);
}

// ---- What is asked of the server ----

const TOKEN = "globalcounter-token";

// A header is bytes; each character of this string is one.
const bytesOf = (text) => String.fromCharCode(...new TextEncoder().encode(text));

// Sends a request with the token, if there is one. If the server refuses it, shows the form.
async function request(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${bytesOf(token)}` } : {};
  const reply = await fetch(path, { ...options, headers });
  if ([401, 403, 429].includes(reply.status)) {
    const reason = (await reply.text()).trim();
    askForToken(token ? reason : "");
    throw new Refused(reason);
  }
  return reply;
}

class Refused extends Error {}

function askForToken(note) {
  $("login").hidden = false;
  $("login-note").textContent = note;
  setState("a token is needed", "waiting");
}

async function ask(path) {
  const reply = await request(path);
  if (!reply.ok && reply.status !== 404) throw new Error((await reply.json()).error ?? reply.statusText);
  return reply.json();
}

function topicButton(topic) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = topic === "" ? "(empty)" : topic;
  button.title = topic;
  button.addEventListener("click", () => watch(topic));
  return button;
}

async function showHot() {
  const { topics } = await ask("api/hot");
  fill("hot", topics.map(({ topic, requests_per_second: rate, share }) => ({
    cells: [topicButton(topic), count(rate), bar(share, 1, {})],
  })), "no requests", 3);
}

let search = 0;

async function find(prefix) {
  search += 1;
  const mine = search;
  let found = [], cursor = 0, looked = 0;
  // The server ends a search after 25 ms and says where to continue.
  do {
    const query = new URLSearchParams({ prefix, cursor, limit: FOUND - found.length });
    const page = await ask(`api/topics?${query}`);
    if (mine !== search) return; // somebody typed on
    found = found.concat(page.topics);
    cursor = page.cursor;
    looked += 1;
    $("search-note").textContent = cursor && found.length < FOUND ? `searching${".".repeat(looked % 4)}` : "";
  } while (cursor && found.length < FOUND);
  found.sort((one, other) => (one.topic < other.topic ? -1 : 1));
  fill("found", found.map(({ topic, sum }) => ({ cells: [topicButton(topic), whole(sum)] })), "no such topic", 2);
  $("search-note").textContent = cursor ? `some ${found.length} of more; type on to see fewer` : "Choose a topic to watch it.";
}

let watched = null;

function watch(topic) {
  watched = topic === null ? null : { topic, sums: [] };
  $("watch").hidden = watched === null;
  if (watched) {
    $("watched").textContent = topic;
    look().catch(() => {});
  }
}

async function look() {
  if (!watched) return;
  const { topic, sums } = watched;
  const { sum } = await ask(`api/topics/${encodeURIComponent(topic)}`);
  if (watched?.topic !== topic) return;
  sums.push({ at: performance.now() / 1000, sum: sum ?? null });
  if (sums.length > 121) sums.shift();
  $("watched-sum").textContent = sum === undefined ? "does not exist" : whole(sum);
  drawWatched();
}

function drawWatched() {
  const { sums } = watched;
  const rates = sums.slice(1).map((second, i) => {
    const before = sums[i];
    if (second.sum === null || before.sum === null || second.sum < before.sum) return null;
    return (second.sum - before.sum) / (second.at - before.at);
  });
  $("watched-rate").textContent = rates.length > 0 && rates.at(-1) !== null ? `${count(rates.at(-1))} numbers per second` : "";
  chart($("watched-chart"), [{ name: "numbers per second", color: "--blue", values: rates }], 120, count);
}

// What the panel of the cluster uses.
const tools = { ask, bar, color, count, fill, time, whole };

// ---- What happens when ----

function setState(text, state) {
  $("state").textContent = text;
  $("state").dataset.state = state;
}

// Only what just arrived tells the state: figures are also drawn again when the server is gone.
function showState() {
  const now = seconds.at(-1);
  if (now) setState(now.state, now.state === "ready" ? "ready" : "waiting");
  else setState("loading", "waiting");
}

function showSecond() {
  const now = seconds.at(-1);
  if (!now) return;
  showFigures(now);
  showTables(now);
  showCluster(now.cluster, tools);
  drawCharts();
}

// Yields the server-sent events of a reply. EventSource cannot send a token.
async function* eventsOf(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const field = (name) => lines.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim();
      if (field("data")) yield { name: field("event"), data: JSON.parse(field("data")) };
    }
  }
}

function receive({ name, data }) {
  if (name === "history") {
    seconds = data;
    $("login").hidden = true;
    showState();
    showSecond();
    ask("version").then((about) => { version = about.version; showSecond(); }).catch(() => {});
    showHot().catch(() => {});
  } else {
    seconds.push(data);
    if (seconds.length > SECONDS) seconds.shift();
    showState();
    showSecond();
    look().catch(() => {});
    if (seconds.length % HOT_EVERY === 0 || seconds.length === SECONDS) showHot().catch(() => {});
  }
}

let listening = new AbortController();

// Listens until the server refuses the token; then the form continues.
async function listen() {
  listening.abort();
  listening = new AbortController();
  const { signal } = listening;
  while (!signal.aborted) {
    try {
      const reply = await request("api/live", { signal });
      if (!reply.ok) throw new Error(reply.statusText);
      for await (const event of eventsOf(reply)) receive(event);
    } catch (error) {
      if (signal.aborted || error instanceof Refused) return;
      setState("the server does not answer; trying again", "gone");
    }
    // The server also ends a stream that is ten minutes old.
    await new Promise((resolve) => { setTimeout(resolve, 1000); });
  }
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, $("token").value.trim());
  $("token").value = "";
  listen();
});

let typing;
$("prefix").addEventListener("input", ({ target }) => {
  clearTimeout(typing);
  typing = setTimeout(() => find(target.value).catch((error) => { $("search-note").textContent = error.message; }), 150);
});
$("search").addEventListener("submit", (event) => event.preventDefault());
$("unwatch").addEventListener("click", () => watch(null));
function drawAgain() {
  drawCharts();
  drawCluster(tools);
  if (watched) drawWatched();
}
addEventListener("resize", drawAgain);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);
listen();
