// The rows of the three tables: ports, last errors and open tunnels.

const at = (id) => document.getElementById(id);
const past = new Past();
// What has been told last, and the end of hosts that lead to ports, if they do.
let told = null;
let site = null;

const ports = new Rows(at("ports"), buildPort, fillPort);
const errors = new Rows(at("errors"), buildError, fillError);
const tunnels = new Rows(at("tunnels"), buildTunnel, fillTunnel);

function keyOfPort({ port, host, reached, workspace }) {
  return [port, host, reached ? "" : workspace].join(" ");
}

function buildPort(row) {
  const head = header(row);
  const parts = { name: make("span", "port", head) };
  parts.link = make("a", "", parts.name);
  parts.plain = make("span", "", parts.name);
  parts.workspace = make("span", "tag", head);
  parts.kind = make("span", "tag", head);
  parts.who = make("span", "who", head);
  for (const [name, extra] of [["rate", ""], ["p50", " spare"], ["p99", ""], ["errors", ""],
    ["open", " spare"], ["total", " spare"]]) parts[name] = cell(row, `number${extra}`);
  return parts;
}

function fillPort(parts, entry) {
  const link = site !== null && entry.label !== null ? `http://${entry.label}.${site}/` : null;
  show(parts.link, link !== null);
  show(parts.plain, link === null);
  say(link === null ? parts.plain : parts.link, String(entry.port));
  if (link !== null && parts.link.getAttribute("href") !== link) parts.link.href = link;
  say(parts.workspace, entry.workspace ?? "");
  say(parts.kind, kindOf(entry));
  say(parts.who, whoIs(entry));
  mark(parts.who, "bad", entry.listens === false);
  parts.who.title = entry.at.map((one) => `${one.address} ${one.command ?? ""}`).join("\n");
  fillFigures(parts, keyOfPort(entry), entry.asked);
}

function kindOf({ own, reached, isolated, workspace, host }) {
  if (own !== null) return own === "admin" ? "this page" : "the proxy";
  if (!reached) return "not through the proxy";
  if (workspace !== null) return isolated ? "isolated" : host;
  return "";
}

// Where a program is says little, what it is called says much.
function whoIs({ at: places, listens, host }) {
  if (places.length === 0) return listens === false ? "nothing listens" : `at ${host}`;
  const [{ pid, command, address }] = places;
  if (pid === null) return `a process of another user, at ${address}`;
  const others = new Set(places.map((one) => one.pid)).size - 1;
  const more = others > 0 ? ` and ${others} more` : "";
  return `${(command ?? "unknown").replace(/^\S*\//, "").slice(0, 90)} (pid ${pid})${more}`;
}

function fillFigures(parts, key, asked) {
  const count = asked ? past.errors(key) : null;
  for (const [name, value, format] of [
    ["rate", asked ? past.rate(key) : null, short],
    ["errors", count, whole],
    ["open", asked ? asked.requests + asked.tunnels : null, whole],
    ["total", asked ? asked.total_requests : null, whole],
  ]) {
    say(parts[name], value === null ? NOTHING : format(value));
    mark(parts[name], "none", !value);
  }
  mark(parts.errors, "bad", count > 0);
  const answers = past.answers(key);
  for (const [name, part] of [["p50", 0.5], ["p99", 0.99]]) {
    const value = quantile(part, answers, told.bounds);
    say(parts[name], latency(value, told.bounds));
    mark(parts[name], "none", value === null);
  }
}

function place({ port, workspace }) {
  return [port ?? NOTHING, workspace].filter((part) => part !== null).join(" ");
}

function buildError(row) {
  const time = make("time", "", header(row, "time"));
  return { time, port: cell(row, "port"), request: cell(row), error: cell(row) };
}

function fillError(parts, entry) {
  say(parts.time, clock(entry.time));
  const exact = new Date(entry.time * 1000).toISOString();
  if (parts.time.dateTime !== exact) parts.time.dateTime = exact;
  say(parts.port, place(entry));
  say(parts.request, requestOf(entry));
  say(parts.error, errorOf(entry) + (entry.count > 1 ? `, ${entry.count} times` : ""));
}

function requestOf({ method, path }) {
  return method === null ? "not readable" : `${method} ${path ?? ""}`;
}

function errorOf({ status, error }) {
  return [status || "broken off", error?.replaceAll("_", " ")].filter(Boolean).join(" ");
}

function buildTunnel(row) {
  return {
    port: header(row, "port"), request: cell(row), client: cell(row, "client spare"),
    age: cell(row, "number"), received: cell(row, "number spare"), sent: cell(row, "number"),
  };
}

function fillTunnel(parts, entry) {
  say(parts.port, place(entry));
  say(parts.request, `${entry.kind === "connect" ? "CONNECT" : "upgrade"} ${entry.path ?? ""}`);
  say(parts.client, entry.client ?? "unix");
  say(parts.age, lasting(told.time - entry.since));
  say(parts.received, size(entry.bytes_in));
  say(parts.sent, size(entry.bytes_out));
}
