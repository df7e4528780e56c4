// One event -> everything that the page shows and announces. Does not know the connection.

const ANNOUNCEMENT_INTERVAL = 10000;
// With more ports the table scrolls, so that the sections below stay near.
const MAX_UNSCROLLED_PORTS = 20;
const LOCAL = /^(localhost|127(\.\d+){3}|\[::1\])$/;

// The domain and port of hosts that lead to ports, as this browser reaches them; null if none.
function siteOf({ suffixes, local_port, any_port }) {
  const isLocal = LOCAL.test(location.hostname);
  const suffix = suffixes.find((candidate) => (candidate === "localhost") === isLocal);
  const port = isLocal ? local_port : any_port;
  return suffix === undefined || port === null ? null : `${suffix}:${port}`;
}

function renderHint() {
  // A wildcard address includes the host name by which this page was reached.
  const address = state.proxy.addresses.find((candidate) => !candidate.startsWith("unix:"))
    ?.replace(/^(0\.0\.0\.0|\[::\]):/, `${location.hostname || "localhost"}:`);
  const hint = byId("hint");
  const field = "X-Cmux-Port-Internal";
  const example = state.ports.find((entry) => entry.own === null && entry.reached)?.port ?? 3000;
  const texts = site !== null
    ? ["A link opens the port in the browser. Programs use the same host, or send ",
      `${field}: ${example}`, ` to ${address ?? "the proxy"}.`]
    : ["No host name leads to a port here. Send the port in a header field: ",
      `curl -H '${field}: ${example}' http://${address ?? "PROXY"}/`, ""];
  texts.forEach((text, index) => setText(hint.children[index], text));
}

function renderTotals() {
  const { requests, tunnels: open, clients, all, bounds } = state;
  const count = counterHistory.errors("all");
  const rate = counterHistory.rate("all");
  const durations = counterHistory.durations("all");
  setText(byId("all-rate"), rate === null ? NOTHING : decimal(rate));
  setText(byId("all-p50"), latency(quantile(0.5, durations, bounds), bounds));
  setText(byId("all-p99"), latency(quantile(0.99, durations, bounds), bounds));
  setText(byId("all-errors"), count === null ? NOTHING : integer(count));
  setClass(byId("all-errors"), "bad", count > 0);
  setText(byId("all-requests"), integer(requests));
  setText(byId("all-tunnels"), integer(open));
  renderChart(counterHistory.rate("all", 1));
  setText(byId("version"), state.build.version);
  const workers = state.workers === 1 ? "1 worker" : `${state.workers} workers`;
  setText(byId("about"),
    `Listens on ${state.proxy.addresses.join(", ") || "inherited sockets"}. ` +
    `${workers}, ${state.build.build}, ${state.build.loop}. ${integer(clients)} connected, ` +
    `${integer(all.total_requests)} requests so far.`);
}

const rates = [];

function renderChart(rate) {
  if (rate === null) return;
  rates.push(rate);
  if (rates.length > HISTORY_SECONDS) rates.shift();
  const top = Math.max(...rates, 1);
  const left = HISTORY_SECONDS - rates.length;
  const points = rates.map((value, x) => `${left + x},${(19 - 18 * value / top).toFixed(2)}`);
  byId("chart").setAttribute("d", `M${points.join("L")}`);
}

function renderPorts() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = state.ports.filter((entry) => {
    const text = [entry.port, entry.workspace, entry.host, noteOf(entry), processOf(entry)]
      .join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  ports.update(shown, keyOfPort);
  setClass(byId("ports-box"), "many", shown.length > MAX_UNSCROLLED_PORTS);
  const hasServer = state.ports.some((entry) => entry.own === null);
  const empty = byId("ports-empty");
  setVisible(empty, shown.length === 0 || !hasServer || state.more_ports > 0);
  if (shown.length === 0) setText(empty, "No port matches the filter.");
  else if (!hasServer) setText(empty, "No other port listens here. Start a server, " +
    "for example python3 -m http.server 3000, and it appears within a second.");
  else setText(empty, `${integer(state.more_ports)} more ports are not shown.`);
}

function renderLists() {
  errors.update(state.errors, (_entry, index) => String(index));
  tunnels.update(state.open_tunnels, (_entry, index) => String(index));
  for (const [name, list] of [["errors", state.errors], ["tunnels", state.open_tunnels]]) {
    setVisible(byId(name), list.length > 0);
    setVisible(byId(`${name}-empty`), list.length === 0);
  }
  const [count, all] = [state.open_tunnels.length, state.tunnels];
  const part = all > count ? `The ${integer(count)} oldest of ${integer(all)}` : "All tunnels";
  setText(byId("tunnels-caption"),
    `${part}, the oldest first. In is bytes from the client, Out is bytes to it.`);
}

// Screen readers announce errors, at most every 10 seconds, and no other changes.
const announced = { lastError: null, total: null, pending: 0, at: -Infinity };

function announceErrors() {
  const newest = state.errors[0]?.time ?? 0;
  const total = state.all.total_errors;
  if (announced.lastError !== null) {
    const listed = state.errors.filter((entry) => entry.time > announced.lastError);
    announced.pending += Math.max(listed.length, total - announced.total, 0);
  }
  [announced.lastError, announced.total] = [newest, total];
  const isTooSoon = performance.now() - announced.at < ANNOUNCEMENT_INTERVAL;
  if (announced.pending === 0 || isTooSoon) return;
  const [entry] = state.errors;
  const last = entry ? ` The last: ${errorOf(entry)}, port ${targetOf(entry)}.` : "";
  const count = announced.pending === 1 ? "An error" : `${announced.pending} errors`;
  setText(byId("announcement"), `${count}.${last}`);
  [announced.pending, announced.at] = [0, performance.now()];
}

// Boxes that scroll can be reached with the keyboard; boxes that do not are skipped by Tab.
function updateTabStops() {
  for (const box of document.querySelectorAll(".box")) {
    const index = box.scrollHeight > box.clientHeight ? 0 : -1;
    if (box.tabIndex !== index) box.tabIndex = index;
  }
}

function render(event) {
  state = event;
  site = siteOf(state.proxy);
  const counters = new Map(state.ports.filter((entry) => entry.asked !== null)
    .map((entry) => [keyOfPort(entry), entry.asked]));
  counterHistory.add(state.time, counters.set("all", state.all));
  renderHint();
  renderTotals();
  renderPorts();
  renderLists();
  announceErrors();
  updateTabStops();
}
