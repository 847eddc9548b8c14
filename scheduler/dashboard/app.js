// The operator's page: follows one master's event stream and shows what it says.
//
// Three parts: `Live` keeps a picture of all objects and changes to another master when its own is gone; `Table` and the
// small builders below it turn objects into elements, by text only; the renderers at the end say what is shown where.

const SILENCE_MS = 12_000; // heartbeats come every five seconds
const CONNECT_MS = 4_000;
const RENDER_MS = 200;
const MAX_ROWS = 100;
const MAX_ENDED_TASKS = 500;

// ---------------------------------------------------------------------------------------------------------- live picture

class Live {
  constructor(changed) {
    this.objects = new Map(); // kind → Map(id → object)
    this.fresh = null; // a snapshot that is still arriving
    this.connected = false;
    this.from = location.host;
    this.attempt = 0;
    this.clock = null; // { wall: the master's clock, at: ours }
    this.changed = changed;
    this.connect();
  }

  all(kind) {
    return [...(this.objects.get(kind)?.values() ?? [])];
  }

  one(kind, id) {
    return this.objects.get(kind)?.get(id);
  }

  now() {
    return this.clock ? this.clock.wall + (performance.now() - this.clock.at) : Date.now();
  }

  connect() {
    const source = new EventSource(`${location.protocol}//${this.from}/tepui/v1/events`);
    this.source = source;
    this.expect(CONNECT_MS);
    const on = (name, act) =>
      source.addEventListener(name, (event) => {
        if (this.source !== source) return;
        this.expect(SILENCE_MS);
        try {
          act(JSON.parse(event.data));
        } catch (error) {
          console.warn("unreadable event", name, error);
        }
      });
    on("snapshot-begin", () => { this.fresh = new Map(); });
    on("object", ({ kind, id, object }) => this.put(kind, id, object));
    on("ready", () => {
      this.objects = this.fresh ?? this.objects;
      this.fresh = null;
      this.connected = true;
      this.attempt = 0;
      this.changed();
    });
    on("heartbeat", ({ wall_ms }) => {
      if (typeof wall_ms === "number") this.clock = { wall: wall_ms, at: performance.now() };
      this.changed();
    });
    source.onerror = () => { if (this.source === source) this.lost(); };
  }

  put(kind, id, object) {
    const objects = this.fresh ?? this.objects;
    if (!objects.has(kind)) objects.set(kind, new Map());
    const table = objects.get(kind);
    if (object === null || object === undefined) table.delete(id);
    else table.set(id, object);
    if (kind === "task" && object && !object.live) forgetEnded(table);
    if (!this.fresh) this.changed();
  }

  expect(within) {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.lost(), within);
  }

  // The next attempt goes to another master, the one that leads first; the page's own comes around again.
  lost() {
    clearTimeout(this.watchdog);
    this.source.close();
    this.source = null;
    this.fresh = null;
    this.connected = false;
    const others = this.all("master").map((master) => master.api).filter(isAddress).sort();
    const leader = this.one("leadership", "leadership")?.leader_api;
    const known = [...new Set([location.host, leader, ...others].filter(isAddress))];
    const place = known.indexOf(this.from);
    this.from = known[(place + 1) % known.length] ?? location.host;
    this.attempt += 1;
    const wait = Math.min(250 * 1.5 ** Math.min(this.attempt, 10), 5000);
    setTimeout(() => this.connect(), wait);
    this.changed();
  }
}

const isAddress = (text) => typeof text === "string" && /^[\w.-]+(:\d+)?$/.test(text);

// Masters keep a bounded history and do not say what they forget, so this page bounds its own.
function forgetEnded(table) {
  const ended = [...table].filter(([, task]) => !task.live);
  for (const [id] of ended.slice(0, Math.max(0, ended.length - MAX_ENDED_TASKS))) table.delete(id);
}

// ------------------------------------------------------------------------------------------------------------- building

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function setText(id, text) {
  const node = document.getElementById(id);
  if (node.textContent !== text) node.textContent = text;
}

// Rows are kept and only what differs is touched, so that focus, selection and open details survive.
class Table {
  constructor(id, columns, empty) {
    this.columns = columns;
    this.empty = empty;
    this.rows = new Map();
    this.body = el("tbody");
    const heads = columns.map((column) => el("th", { scope: "col", class: column.kind }, column.name));
    document.getElementById(id).replaceChildren(el("thead", {}, el("tr", {}, ...heads)), this.body);
  }

  show(items, key) {
    const wanted = new Set(items.map(key));
    for (const [id, row] of this.rows) {
      if (!wanted.has(id)) {
        row.node.remove();
        this.rows.delete(id);
      }
    }
    this.note?.remove();
    this.note = null;
    let before = this.body.firstChild;
    for (const item of items) {
      const row = this.row(key(item));
      if (row.node !== before) this.body.insertBefore(row.node, before);
      else before = before.nextSibling;
      this.fill(row, item);
    }
    if (items.length === 0) {
      this.note = el("tr", {}, el("td", { class: "empty", colspan: this.columns.length }, this.empty));
      this.body.append(this.note);
    }
  }

  row(id) {
    if (!this.rows.has(id)) {
      const cells = this.columns.map((column) => el("td", { class: column.kind }));
      this.rows.set(id, { node: el("tr", {}, ...cells), cells, shown: [] });
    }
    return this.rows.get(id);
  }

  fill(row, item) {
    this.columns.forEach((column, index) => {
      const value = column.value(item);
      const mark = JSON.stringify(value);
      if (row.shown[index] === mark) return;
      row.shown[index] = mark;
      const cell = row.cells[index];
      if (column.build) column.build(cell, value);
      else cell.textContent = value ?? "";
    });
  }
}

function badge(cell, [text, tone]) {
  cell.replaceChildren(el("span", { class: `badge ${tone}` }, text));
}

function bar(cell, { used, total, unit, what }) {
  if (!cell.firstChild) {
    const fill = el("div", { class: "fill" });
    cell.append(el("div", { class: "bar" }, el("div", { class: "text" }), el("div", { class: "track", "aria-hidden": "true" }, fill)));
  }
  const share = total > 0 ? Math.min(1, used / total) : 0;
  cell.querySelector(".text").textContent = `${amount(used, unit)} of ${amount(total, unit)}`;
  cell.querySelector(".bar").setAttribute("title", `${what}: ${Math.round(share * 100)} % allocated`);
  cell.querySelector(".fill").style.width = `${share * 100}%`;
}

function spark(values, label) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const width = Math.max(values.length, 30);
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", `0 0 ${width} 20`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const highest = Math.max(...values, 1e-9);
  values.forEach((value, index) => {
    const height = Math.max(0.4, (value / highest) * 19);
    const rect = document.createElementNS(space, "rect");
    const set = { x: width - values.length + index + 0.1, y: 20 - height, width: 0.8, height };
    for (const [name, number] of Object.entries(set)) rect.setAttribute(name, number.toFixed(2));
    if (index === values.length - 1) rect.setAttribute("class", "last");
    svg.append(rect);
  });
  return svg;
}

// ------------------------------------------------------------------------------------------------------------ formatting

const finite = (value) => (typeof value === "number" && Number.isFinite(value) ? value : undefined);
const number = (value, digits = 0) =>
  finite(value) === undefined ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits });

function amount(value, unit) {
  if (unit !== "MB") return number(value, 2);
  return value >= 10_240 ? `${number(value / 1024, 1)} GB` : `${number(value)} MB`;
}

function span(ms) {
  if (finite(ms) === undefined) return "–";
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.floor((ms % 3_600_000) / 60_000)} min`;
}

const clockTime = (ms) => (finite(ms) ? new Date(ms).toLocaleTimeString("en-GB") : "–");
// Event times may lie beyond what a date can hold: the end of all input is the highest number there is.
const eventTime = (ms) => {
  if (finite(ms) === undefined) return "–";
  if (Math.abs(ms) > 8.64e15) return ms > 0 ? "end of input" : "–";
  return new Date(ms).toISOString().replace("T", " ").slice(0, 19);
};
const short = (id) => (id && id.length > 20 ? `…${id.slice(-12)}` : id ?? "");
const stateName = (state) => (state ?? "").replace(/^(TASK|DRIVER)_/, "").toLowerCase();

const TONES = {
  running: "good", registered: "good", finished: "good",
  staging: "warn", starting: "warn", queued: "warn", backoff: "warn", killing: "warn", disconnected: "warn",
  failed: "bad", lost: "bad", error: "bad", unreachable: "bad", dropped: "bad", gone: "bad",
};
const stateBadge = (state) => [stateName(state) || "unknown", TONES[stateName(state)] ?? ""];

// -------------------------------------------------------------------------------------------------------------- renderers

const tables = {
  masters: new Table("masters", [
    { name: "Master", value: (m) => `${m.node_id}` },
    { name: "Part", value: (m) => [m.leader ? "leader" : m.voter ? "standby" : "learner", m.leader ? "good" : ""], build: badge },
    {
      name: "API",
      value: (m) => [m.api, m.self],
      build: (cell, [api, self]) =>
        cell.replaceChildren(
          isAddress(api) ? el("a", { href: `${location.protocol}//${api}/` }, api) : `${api}`,
          self ? " (this one)" : "",
        ),
    },
    { name: "Log agrees up to", kind: "number", value: (m) => number(m.matched_index ?? m.applied_index) },
  ], "No master is known."),
  drivers: new Table("drivers", [
    { name: "Driver", kind: "id", value: (d) => d.name },
    { name: "State", value: (d) => stateBadge(d.state), build: badge },
    { name: "Generation", kind: "number", value: (d) => number(d.generation) },
    { name: "Restarts", kind: "number", value: (d) => number(d.restarts) },
    { name: "Agent", value: (d) => agentName(d.agent_id) },
    {
      name: "Now",
      value: (d) => (finite(d.next_launch_in_ms) !== undefined ? `next launch in ${span(d.next_launch_in_ms)}` : d.message ?? ""),
    },
    { name: "Last attempts", value: (d) => (d.attempts ?? []).map(attemptLine).reverse(), build: attempts },
  ], "No driver was submitted."),
  agents: new Table("agents", [
    { name: "Agent", kind: "id", value: (a) => short(a.agent_id) },
    { name: "Host", value: (a) => `${a.hostname}:${a.port}` },
    { name: "State", value: (a) => stateBadge(a.state), build: badge },
    { name: "CPUs", value: (a) => share(a, "cpus", ""), build: bar },
    { name: "Memory", value: (a) => share(a, "mem", "MB"), build: bar },
    { name: "Disk", value: (a) => share(a, "disk", "MB"), build: bar },
    { name: "Tasks", kind: "number", value: (a) => number(a.tasks) },
  ], "No agent is registered."),
  frameworks: new Table("frameworks", [
    { name: "Framework", kind: "id", value: (f) => short(f.framework_id) },
    { name: "Name", value: (f) => f.name },
    { name: "State", value: (f) => (f.internal ? ["part of the masters", ""] : f.connected ? ["connected", "good"] : ["away", "warn"]), build: badge },
    { name: "Roles", value: (f) => (f.roles ?? []).join(", ") },
    { name: "User", value: (f) => f.user },
    { name: "Tasks", kind: "number", value: (f) => number(f.tasks) },
  ], "No framework is subscribed."),
  tasks: new Table("tasks", [
    { name: "Task", kind: "id", value: (t) => t.task_id },
    { name: "Name", value: (t) => t.name },
    { name: "Framework", value: (t) => live.one("framework", t.framework_id)?.name ?? short(t.framework_id) },
    { name: "Agent", value: (t) => agentName(t.agent_id) },
    { name: "State", value: (t) => stateBadge(t.state), build: badge },
    { name: "CPUs", kind: "number", value: (t) => number(t.cpus, 2) },
    { name: "Memory", kind: "number", value: (t) => amount(t.mem, "MB") },
    { name: "Since", kind: "number", value: (t) => clockTime((t.timestamp ?? 0) * 1000) },
    { name: "Message", value: (t) => t.message ?? "" },
  ], "No task."),
};

function agentName(id) {
  const agent = live.one("agent", id);
  return agent ? `${agent.hostname}:${agent.port}` : short(id);
}

function share(agent, name, unit) {
  return { used: agent.allocated?.[name] ?? 0, total: agent.total?.[name] ?? 0, unit, what: name };
}

function attemptLine(attempt) {
  const ran = attempt.ended_at_ms ? `ran ${span(attempt.ended_at_ms - attempt.started_at_ms)}` : `since ${clockTime(attempt.started_at_ms)}`;
  const text = [`generation ${attempt.generation}`, stateName(attempt.state), agentName(attempt.agent_id), ran, attempt.message];
  return text.filter(Boolean).join(", ");
}

function attempts(cell, lines) {
  if (lines.length === 0) {
    cell.textContent = "";
    return;
  }
  const open = cell.querySelector("details")?.open ?? false;
  const list = el("ol", {}, ...lines.map((line) => el("li", {}, line)));
  const details = el("details", {}, el("summary", {}, lines[0]), list);
  details.open = open;
  const focused = cell.contains(document.activeElement);
  cell.replaceChildren(details);
  if (focused) details.querySelector("summary").focus();
}

function limited(name, items, key) {
  const shown = items.slice(0, MAX_ROWS);
  tables[name].show(shown, key);
  setText(`more-${name}`, items.length > shown.length ? `and ${number(items.length - shown.length)} more` : "");
}

function renderHead() {
  const leadership = live.one("leadership", "leadership") ?? {};
  const cluster = live.one("cluster", "cluster") ?? {};
  const self = live.all("master").find((master) => master.self);
  setText("cluster-name", cluster.name || leadership.cluster_id || "");
  const connection = document.getElementById("connection");
  setText("connection", live.connected ? "live" : "connection lost");
  connection.className = `badge ${live.connected ? "good" : "bad"}`;
  const source = document.getElementById("source");
  setText("source", self ? `from master ${self.node_id}, ${leadership.standby ? "a standby" : "the leader"}` : "");
  source.className = `badge ${leadership.standby ? "warn" : "good"}`;
  document.body.classList.toggle("stale", !live.connected);
  renderBanner(leadership);
  setText("foot", `Tepui ${cluster.version ?? ""} · applied index ${number(leadership.applied_index)} · cluster ${leadership.cluster_id || "not created yet"}`);
}

function renderBanner(leadership) {
  const banner = document.getElementById("banner");
  let parts = null;
  let bad = false;
  if (!live.connected) {
    bad = true;
    parts = [`The connection is lost. What you see may be old; trying ${live.from} …`];
  } else if (leadership.leader === null || leadership.leader === undefined) {
    bad = true;
    parts = ["No master leads right now. Tasks go on; nothing new is decided."];
  } else if (leadership.standby) {
    parts = [`This is a standby: it shows what it has applied, offers excepted. Master ${leadership.leader} leads`];
    if (isAddress(leadership.leader_api)) {
      parts.push(" at ", el("a", { href: `${location.protocol}//${leadership.leader_api}/` }, leadership.leader_api));
    }
    parts.push(".");
  }
  const mark = JSON.stringify([bad, parts?.map((part) => part.textContent ?? part)]);
  if (banner.dataset.mark === mark) return;
  banner.dataset.mark = mark;
  banner.hidden = parts === null;
  banner.className = bad ? "banner bad" : "banner";
  banner.replaceChildren(...(parts ?? []));
}

function renderTiles() {
  const leadership = live.one("leadership", "leadership") ?? {};
  const cluster = live.one("cluster", "cluster") ?? {};
  const agents = live.all("agent");
  const sum = (field, name) => agents.filter((a) => a.state !== "unreachable").reduce((all, a) => all + (a[field]?.[name] ?? 0), 0);
  const states = taskCounts();
  const running = states.get("TASK_RUNNING") ?? 0;
  const up = agents.filter((agent) => !["disconnected", "unreachable"].includes(agent.state)).length;
  const elected = finite(leadership.elected_ms) ? `for ${span(live.now() - leadership.elected_ms)}` : "";
  const used = (name) => `${number(sum("allocated", name), 2)} / ${number(sum("total", name), 2)}`;
  const gigabytes = (field) => number(sum(field, "mem") / 1024, 1);
  const tiles = [
    ["Leader", leadership.leader ? `master ${leadership.leader}` : "none", `epoch ${number(leadership.epoch)} ${elected}`],
    ["Agents", `${number(up)} / ${number(cluster.agents ?? agents.length)}`, "registered / known"],
    ["CPUs", used("cpus"), "allocated / total"],
    ["Memory", `${gigabytes("allocated")} / ${gigabytes("total")} GB`, "allocated / total"],
    ["Tasks running", number(running), `${number(cluster.live_tasks)} live`],
    ["Frameworks", number(live.all("framework").filter((f) => f.connected).length), "connected"],
  ];
  const box = document.getElementById("tiles");
  if (box.childElementCount !== tiles.length) {
    const tile = () => el("div", { class: "tile" }, el("div", { class: "label" }), el("div", { class: "figure" }), el("div", { class: "note" }));
    box.replaceChildren(...tiles.map(tile));
  }
  tiles.forEach((texts, index) => {
    texts.forEach((text, part) => { box.children[index].children[part].textContent = text; });
  });
}

// The cluster's own count is right even if this page does not hold all tasks; a moment's own count is newer.
function taskCounts() {
  const counted = live.one("cluster", "cluster")?.tasks ?? {};
  const tasks = live.all("task");
  const total = Object.values(counted).reduce((all, count) => all + count, 0);
  if (total > tasks.length + MAX_ENDED_TASKS) return new Map(Object.entries(counted));
  const counts = new Map();
  for (const task of tasks) counts.set(task.state, (counts.get(task.state) ?? 0) + 1);
  return counts;
}

let chosenState = null;

function renderTasks() {
  const counts = taskCounts();
  const order = [...counts.keys()].sort();
  if (chosenState && !counts.has(chosenState)) chosenState = null;
  const box = document.getElementById("task-states");
  const wanted = [null, ...order];
  const mark = JSON.stringify(wanted);
  if (box.dataset.mark !== mark) {
    box.dataset.mark = mark;
    box.replaceChildren(...wanted.map((state) => {
      const button = el("button", { type: "button" });
      button.addEventListener("click", () => { chosenState = state; render(); });
      return button;
    }));
  }
  const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
  wanted.forEach((state, index) => {
    const button = box.children[index];
    button.textContent = state === null ? `all ${number(all)}` : `${stateName(state)} ${number(counts.get(state))}`;
    button.setAttribute("aria-pressed", `${state === chosenState}`);
  });
  const tasks = live.all("task").filter((task) => chosenState === null || task.state === chosenState);
  tasks.sort((a, b) => Number(b.live) - Number(a.live) || (b.timestamp ?? 1e12) - (a.timestamp ?? 1e12) || a.task_id.localeCompare(b.task_id));
  limited("tasks", tasks, (task) => `${task.framework_id}/${task.task_id}`);
  const beyond = (chosenState === null ? all : counts.get(chosenState) ?? 0) - Math.min(tasks.length, MAX_ROWS);
  setText("more-tasks", beyond > 0 ? `and ${number(beyond)} more` : "");
  setText("n-tasks", number(all));
}

function renderStreams() {
  const registers = live.all("register").filter((register) => register.key === "stream");
  document.getElementById("streams-section").hidden = registers.length === 0;
  const box = document.getElementById("streams");
  for (const card of [...box.children]) {
    if (!registers.some((register) => register.scope === card.dataset.scope)) card.remove();
  }
  for (const register of registers) {
    let card = [...box.children].find((child) => child.dataset.scope === register.scope);
    if (!card) {
      card = el("article", { class: "card", "data-scope": register.scope }, el("h3"), el("dl", { class: "facts" }), el("div", { class: "charts" }));
      box.append(card);
    }
    renderStream(card, register);
  }
}

function renderStream(card, register) {
  const value = register.value && typeof register.value === "object" ? register.value : {};
  const driver = live.one("driver", register.scope) ?? {};
  const stats = Array.isArray(value.stats) ? value.stats.filter((one) => one && typeof one === "object") : [];
  const last = stats.at(-1);
  const [state, tone] = value.finished ? ["finished", "good"] : stateBadge(driver.state);
  card.querySelector("h3").replaceChildren(
    document.createTextNode(value.job ?? register.scope),
    el("span", { class: `badge ${tone}` }, state),
    el("span", { class: "badge" }, `generation ${number(driver.generation ?? register.generation)}`),
  );
  const committed = value.committed ?? {};
  const facts = [
    ["Records committed", number(value.totals?.records ?? committed.records)],
    ["Records/s", value.finished ? "–" : number(recentRate(stats))],
    ["Batch", number(committed.batch)],
    ["Last batch", last ? `${span(last.ms)}${finite(last.commit_ms) !== undefined ? ` + ${span(last.commit_ms)} commit` : ""}` : "–"],
    ["Committed", finite(register.written_ms) ? `${span(live.now() - register.written_ms)} ago` : "–"],
    ["Position", position(committed.position)],
    ["Watermark", eventTime(committed.watermark_ms)],
    ["Planned", value.plan ? `batch ${number(value.plan.batch)}, ${number(value.plan.records)} records` : "–"],
    ["Driver at", value.driver?.address ?? "–"],
    ["Register", `version ${number(register.version)}, ${number(register.bytes)} bytes`],
  ];
  const list = card.querySelector("dl");
  if (list.childElementCount !== facts.length) {
    list.replaceChildren(...facts.map(() => el("div", {}, el("dt"), el("dd"))));
  }
  facts.forEach(([name, text], index) => {
    const [term, detail] = list.children[index].children;
    term.textContent = name;
    if (detail.textContent !== text) detail.textContent = text;
  });
  const charts = card.querySelector(".charts");
  const mark = JSON.stringify([register.version, stats.length]);
  if (charts.dataset.mark === mark) return;
  charts.dataset.mark = mark;
  charts.replaceChildren(
    chart(`Batch time, last ${stats.length}`, stats.map((one) => finite(one.ms) ?? 0), span),
    chart("Records per batch", stats.map((one) => finite(one.records) ?? 0), number),
  );
}

function chart(name, values, format) {
  if (values.length === 0) return el("figure", {}, el("figcaption", {}, `${name}: nothing yet`));
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  const text = `${name}: last ${format(values.at(-1))}, median ${format(middle)}, highest ${format(sorted.at(-1))}`;
  return el("figure", {}, el("figcaption", {}, text), spark(values, text));
}

// Records of the newest batches over the time between their ends.
function recentRate(stats) {
  const recent = stats.slice(-10).filter((one) => finite(one.at) !== undefined);
  if (recent.length < 2) return undefined;
  const time = recent.at(-1).at - recent[0].at;
  const records = recent.slice(1).reduce((sum, one) => sum + (finite(one.records) ?? 0), 0);
  return time > 0 ? (records * 1000) / time : undefined;
}

// A position is a map from file to how far it was read, or, if it grew large, a reference to a file.
function position(value) {
  if (!value || typeof value !== "object") return "–";
  if (value.$file) return "kept in a file";
  const files = Object.entries(value);
  if (files.length === 0) return "at the start";
  const open = files.filter(([, at]) => at && typeof at === "object" && !at.done);
  const done = `${number(files.length - open.length)} files done`;
  const [name, at] = open.at(-1) ?? [];
  return name ? `${done}, ${name} at byte ${number(at.offset)}` : done;
}

// ----------------------------------------------------------------------------------------------------------------- render

let timer = null;

function schedule() {
  timer ??= setTimeout(render, RENDER_MS);
}

function renderTables() {
  const by = (field) => (a, b) => `${a[field]}`.localeCompare(`${b[field]}`, "en", { numeric: true });
  const masters = live.all("master").sort(by("node_id"));
  tables.masters.show(masters, (master) => master.node_id);
  setText("n-masters", number(masters.length));
  const drivers = live.all("driver").sort(by("name"));
  limited("drivers", drivers, (driver) => driver.name);
  setText("n-drivers", number(drivers.length));
  const agents = live.all("agent").sort(by("agent_id"));
  limited("agents", agents, (agent) => agent.agent_id);
  setText("n-agents", number(agents.length));
  const frameworks = live.all("framework").sort(by("framework_id"));
  limited("frameworks", frameworks, (framework) => framework.framework_id);
  setText("n-frameworks", number(frameworks.length));
}

// Values of registers come from any program: what cannot be shown must not take the rest of the page along.
function render() {
  clearTimeout(timer);
  timer = null;
  for (const part of [renderHead, renderTiles, renderStreams, renderTables, renderTasks]) {
    try {
      part();
    } catch (error) {
      console.warn("failed to show a part", part.name, error);
    }
  }
}

const live = new Live(schedule);
setInterval(schedule, 1000); // ages grow by themselves
