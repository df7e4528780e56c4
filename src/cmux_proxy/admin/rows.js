// The rows of the three tables: ports, last errors and open tunnels.

const counterHistory = new CounterHistory();
// The last event, and the domain and port of hosts that lead to ports, null if there is none.
let state = null;
let site = null;

const ports = new TableRows(byId("ports"), buildPort, fillPort);
const errors = new TableRows(byId("errors"), buildError, fillError);
const tunnels = new TableRows(byId("tunnels"), buildTunnel, fillTunnel);

function keyOfPort({ port, host, reached, workspace }) {
  return [port, host, reached ? "" : workspace].join(" ");
}

function buildPort(row) {
  const head = header(row);
  const parts = { name: make("span", "port", head) };
  parts.link = make("a", "", parts.name);
  parts.plain = make("span", "", parts.name);
  parts.workspace = make("span", "tag", head);
  parts.note = make("span", "tag", head);
  parts.process = make("span", "process", head);
  for (const [name, extra] of [["rate", ""], ["p50", " optional"], ["p99", ""], ["errors", ""],
    ["open", " optional"], ["total", " optional"]]) parts[name] = cell(row, `number${extra}`);
  return parts;
}

function fillPort(parts, entry) {
  const link = site !== null && entry.label !== null ? `http://${entry.label}.${site}/` : null;
  setVisible(parts.link, link !== null);
  setVisible(parts.plain, link === null);
  setText(link === null ? parts.plain : parts.link, String(entry.port));
  if (link !== null && parts.link.getAttribute("href") !== link) parts.link.href = link;
  setText(parts.workspace, entry.workspace ?? "");
  setText(parts.note, noteOf(entry));
  setText(parts.process, processOf(entry));
  setClass(parts.process, "bad", entry.listens === false);
  parts.process.title = entry.at
    .map(({ address, command }) => `${address} ${command ?? ""}`).join("\n");
  fillFigures(parts, keyOfPort(entry), entry.asked);
}

function noteOf({ own, reached, isolated, workspace, host }) {
  if (own !== null) return own === "admin" ? "this page" : "the proxy";
  if (!reached) return "not through the proxy";
  if (workspace !== null) return isolated ? "isolated" : host;
  return "";
}

// The command without the folder of its program, whose name says more.
function processOf({ at: sockets, listens, host }) {
  if (sockets.length === 0) return listens === false ? "nothing listens" : `at ${host}`;
  const [{ pid, command, address }] = sockets;
  if (pid === null) return `a process of another user, at ${address}`;
  const others = new Set(sockets.map((socket) => socket.pid)).size - 1;
  const more = others > 0 ? ` and ${others} more` : "";
  return `${(command ?? "unknown").replace(/^\S*\//, "").slice(0, 90)} (pid ${pid})${more}`;
}

function fillFigures(parts, key, activity) {
  const count = activity ? counterHistory.errors(key) : null;
  for (const [name, value, format] of [
    ["rate", activity ? counterHistory.rate(key) : null, decimal],
    ["errors", count, integer],
    ["open", activity ? activity.requests + activity.tunnels : null, integer],
    ["total", activity ? activity.total_requests : null, integer],
  ]) {
    setText(parts[name], value === null ? NOTHING : format(value));
    setClass(parts[name], "none", !value);
  }
  setClass(parts.errors, "bad", count > 0);
  const durations = counterHistory.durations(key);
  for (const [name, fraction] of [["p50", 0.5], ["p99", 0.99]]) {
    const value = quantile(fraction, durations, state.bounds);
    setText(parts[name], latency(value, state.bounds));
    setClass(parts[name], "none", value === null);
  }
}

function targetOf({ port, workspace }) {
  return [port ?? NOTHING, workspace].filter((part) => part !== null).join(" ");
}

function buildError(row) {
  const time = make("time", "", header(row, "time"));
  return { time, port: cell(row, "port"), request: cell(row), error: cell(row) };
}

function fillError(parts, entry) {
  setText(parts.time, timeOfDay(entry.time));
  const exact = new Date(entry.time * 1000).toISOString();
  if (parts.time.dateTime !== exact) parts.time.dateTime = exact;
  setText(parts.port, targetOf(entry));
  setText(parts.request, requestOf(entry));
  setText(parts.error, errorOf(entry) + (entry.count > 1 ? `, ${entry.count} times` : ""));
}

function requestOf({ method, path }) {
  return method === null ? "not readable" : `${method} ${path ?? ""}`;
}

function errorOf({ status, error }) {
  return [status || "aborted", error?.replaceAll("_", " ")].filter(Boolean).join(" ");
}

function buildTunnel(row) {
  return {
    port: header(row, "port"), request: cell(row), client: cell(row, "client optional"),
    age: cell(row, "number"), received: cell(row, "number optional"), sent: cell(row, "number"),
  };
}

function fillTunnel(parts, entry) {
  setText(parts.port, targetOf(entry));
  setText(parts.request, `${entry.kind === "connect" ? "CONNECT" : "upgrade"} ${entry.path ?? ""}`);
  setText(parts.client, entry.client ?? "unix");
  setText(parts.age, duration(state.time - entry.since));
  setText(parts.received, size(entry.bytes_in));
  setText(parts.sent, size(entry.bytes_out));
}
