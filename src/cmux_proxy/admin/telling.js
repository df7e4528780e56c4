// What is written when something has been told, and the connection over which it is.

const RETRY = 3000;
const PATIENCE = 6000;
const PAUSE_OF_NEWS = 10000;
// More ports than that do not push the rest of the page away.
const MANY = 20;
const LOCAL = /^(localhost|127(\.\d+){3}|\[::1\])$/;

// The end of hosts that lead to a port, as this browser sees it; null if none does.
function siteOf({ suffixes, local_port, any_port }) {
  const isLocal = LOCAL.test(location.hostname);
  const suffix = suffixes.find((each) => (each === "localhost") === isLocal);
  const port = isLocal ? local_port : any_port;
  return suffix === undefined || port === null ? null : `${suffix}:${port}`;
}

function sayWay() {
  // What listens on all addresses does so on the one by which this page was found.
  const address = told.proxy.addresses.find((each) => !each.startsWith("unix:"))
    ?.replace(/^(0\.0\.0\.0|\[::\]):/, `${location.hostname || "localhost"}:`);
  const way = at("way");
  const field = "X-Cmux-Port-Internal";
  const example = told.ports.find((entry) => entry.own === null && entry.reached)?.port ?? 3000;
  const words = site !== null
    ? ["A link opens the port in the browser. Programs may use its host too, or send ",
      `${field}: ${example}`, ` to ${address ?? "the proxy"}.`]
    : ["No host leads to a port here. Send the port in a field, and the workspace in another: ",
      `curl -H '${field}: ${example}' http://${address ?? "PROXY"}/`, ""];
  words.forEach((text, place) => say(way.children[place], text));
}

function sayAll() {
  const { requests, tunnels: open, clients, all, bounds } = told;
  const count = past.errors("all");
  const rate = past.rate("all");
  const answers = past.answers("all");
  say(at("all-rate"), rate === null ? NOTHING : short(rate));
  say(at("all-p50"), latency(quantile(0.5, answers, bounds), bounds));
  say(at("all-p99"), latency(quantile(0.99, answers, bounds), bounds));
  say(at("all-errors"), count === null ? NOTHING : whole(count));
  mark(at("all-errors"), "bad", count > 0);
  say(at("all-requests"), whole(requests));
  say(at("all-tunnels"), whole(open));
  draw(past.rate("all", 1));
  say(at("version"), told.build.version);
  const workers = told.workers === 1 ? "1 worker" : `${told.workers} workers`;
  say(at("about"), `Listens on ${told.proxy.addresses.join(", ") || "sockets of its own"}. ` +
    `${workers}, ${told.build.build}, ${told.build.loop}. ${whole(clients)} connected, ` +
    `${whole(all.total_requests)} requests so far.`);
}

const rates = [];

function draw(rate) {
  if (rate === null) return;
  rates.push(rate);
  if (rates.length > WINDOW) rates.shift();
  const most = Math.max(...rates, 1);
  const from = WINDOW - rates.length;
  const points = rates.map((each, place) => `${from + place},${(19 - 18 * each / most).toFixed(2)}`);
  at("chart").setAttribute("d", `M${points.join("L")}`);
}

function sayPorts() {
  const words = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = told.ports.filter((entry) => {
    const text = [entry.port, entry.workspace, entry.host, kindOf(entry), whoIs(entry)].join(" ");
    return words.every((word) => text.toLowerCase().includes(word));
  });
  ports.update(shown, keyOfPort);
  mark(at("ports-box"), "many", shown.length > MANY);
  const isLonely = told.ports.every((entry) => entry.own !== null);
  const empty = at("ports-empty");
  show(empty, shown.length === 0 || isLonely || told.more_ports > 0);
  if (shown.length === 0) say(empty, "No port is like that. Change the filter, or empty it.");
  else if (isLonely) say(empty, "Nothing else listens here. Start a server, " +
    "for example python3 -m http.server 3000, and it appears within a second.");
  else say(empty, `And ${whole(told.more_ports)} more.`);
}

function sayLists() {
  errors.update(told.errors, (_entry, place) => String(place));
  tunnels.update(told.open_tunnels, (_entry, place) => String(place));
  for (const [name, list] of [["errors", told.errors], ["tunnels", told.open_tunnels]]) {
    show(at(name), list.length > 0);
    show(at(`${name}-empty`), list.length === 0);
  }
  const [count, all] = [told.open_tunnels.length, told.tunnels];
  const part = all > count ? `The ${whole(count)} oldest of ${whole(all)}` : "All of them";
  say(at("tunnels-caption"), `${part}, the oldest first. In is what came from the client.`);
}

// Screen readers hear of errors, and not of every tick.
const news = { last: null, failed: null, count: 0, spoken: -Infinity };

function sayNews() {
  const newest = told.errors[0]?.time ?? 0;
  const failed = told.all.total_errors;
  if (news.last !== null) {
    const own = told.errors.filter((entry) => entry.time > news.last);
    news.count += Math.max(own.length, failed - news.failed, 0);
  }
  [news.last, news.failed] = [newest, failed];
  if (news.count === 0 || performance.now() - news.spoken < PAUSE_OF_NEWS) return;
  const [entry] = told.errors;
  const what = entry ? ` The last: ${errorOf(entry)}, port ${place(entry)}.` : "";
  say(at("news"), `${news.count === 1 ? "An error" : `${news.count} errors`}.${what}`);
  [news.count, news.spoken] = [0, performance.now()];
}

// What scrolls can be reached by the keyboard, and what does not is no stop on the way.
function haveScrolled() {
  for (const box of document.querySelectorAll(".box")) {
    const index = box.scrollHeight > box.clientHeight ? 0 : -1;
    if (box.tabIndex !== index) box.tabIndex = index;
  }
}

function take(event) {
  told = JSON.parse(event.data);
  site = siteOf(told.proxy);
  const counts = new Map(told.ports.filter((entry) => entry.asked !== null)
    .map((entry) => [keyOfPort(entry), entry.asked]));
  past.add(told.time, counts.set("all", told.all));
  [sayState, sayWay, sayAll, sayPorts, sayLists, sayNews, haveScrolled].forEach((step) => step());
}

function sayState() {
  if (at("state").classList.contains("lost")) say(at("news"), "Connected again.");
  at("state").className = "state live";
  say(at("state-text"), told.draining ? "Shutting down" : "Live");
  show(at("notice"), false);
}

let source = null;
let timer = 0;

function listen() {
  source = new EventSource("events");
  source.onmessage = (event) => {
    expect();
    take(event);
  };
  source.onerror = lose;
  expect();
}

// A connection over which nothing comes is none.
function expect() {
  clearTimeout(timer);
  timer = setTimeout(lose, PATIENCE);
}

function rest() {
  clearTimeout(timer);
  source?.close();
}

function lose() {
  rest();
  timer = setTimeout(listen, RETRY);
  if (at("state").classList.contains("lost")) return;
  at("state").className = "state lost";
  say(at("state-text"), "Not connected");
  const since = told === null ? "" : ` All below is from ${clock(told.time)}.`;
  const text = `No connection to the proxy.${since} Trying again every ${RETRY / 1000} seconds.`;
  say(at("notice"), text);
  show(at("notice"), true);
  say(at("news"), text);
}

// Nobody looks at a hidden page, and to tell it costs the proxy something.
document.addEventListener("visibilitychange", () => {
  rest();
  if (!document.hidden) listen();
});
at("filter").addEventListener("input", () => told !== null && sayPorts());
if (!document.hidden) listen();
