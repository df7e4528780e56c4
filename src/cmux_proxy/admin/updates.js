// The connection to /events: what is shown when it is live or lost, and when it is opened again.

const RETRY_DELAY = 3000;
// An event comes every second; without one for this time the connection counts as lost.
const EVENT_TIMEOUT = 6000;

let source = null;
let timer = 0;

function connect() {
  source = new EventSource("events");
  source.onmessage = (message) => {
    startTimeout();
    take(JSON.parse(message.data));
  };
  source.onerror = lose;
  startTimeout();
}

function startTimeout() {
  clearTimeout(timer);
  timer = setTimeout(lose, EVENT_TIMEOUT);
}

function disconnect() {
  clearTimeout(timer);
  source?.close();
}

function isLost() {
  return byId("state").classList.contains("lost");
}

function take(event) {
  if (isLost()) setText(byId("announcement"), "Connected again.");
  byId("state").className = "state live";
  setText(byId("state-text"), event.draining ? "Shutting down" : "Live");
  setVisible(byId("notice"), false);
  render(event);
}

function lose() {
  disconnect();
  timer = setTimeout(connect, RETRY_DELAY);
  if (isLost()) return;
  byId("state").className = "state lost";
  setText(byId("state-text"), "Not connected");
  const since = state === null ? "" : ` All values below are from ${timeOfDay(state.time)}.`;
  const text = `No connection to the proxy.${since} Trying again every ${RETRY_DELAY / 1000} seconds.`;
  setText(byId("notice"), text);
  setVisible(byId("notice"), true);
  setText(byId("announcement"), text);
}

// A hidden page needs no events, and every event costs the proxy work.
document.addEventListener("visibilitychange", () => {
  disconnect();
  if (!document.hidden) connect();
});
byId("filter").addEventListener("input", () => state !== null && renderPorts());
if (!document.hidden) connect();
