"use strict";

// What has been counted -> what people read. Knows nothing of the page.

const NOTHING = "–";
const RATE_WINDOW = 10;
const WINDOW = 60;

// The value below which so great a part is, in seconds, as far as buckets can tell; null for none.
function quantile(part, buckets, bounds) {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let rank = part * total;
  const place = buckets.findIndex((count) => (rank -= count) <= 0 && count > 0);
  if (place >= bounds.length) return Infinity;
  const lower = place > 0 ? bounds[place - 1] : 0;
  return lower + (bounds[place] - lower) * (1 + rank / buckets[place]);
}

function whole(count) {
  return count.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ",");
}

// With a fraction where it matters, so that the next one hardly ever differs in width.
function short(value) {
  return value >= 10 || value === 0 ? whole(value) : value.toFixed(1);
}

function latency(seconds, bounds) {
  if (seconds === null) return NOTHING;
  if (seconds === Infinity) return `>${bounds[bounds.length - 1]} s`;
  if (seconds <= bounds[0]) return `<${bounds[0] * 1000} ms`;
  return seconds < 1 ? `${short(seconds * 1000)} ms` : `${short(seconds)} s`;
}

function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const place = Math.min(4, Math.floor(Math.log10(bytes) / 3));
  return `${short(bytes / 1000 ** place)} ${["", "kB", "MB", "GB", "TB"][place]}`;
}

function lasting(seconds) {
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (minutes < 1) return `${Math.max(0, Math.floor(seconds))} s`;
  if (hours < 1) return `${minutes} min`;
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function clock(epoch) {
  return new Date(epoch * 1000).toTimeString().slice(0, 8);
}

// Counters as they were at several times; what they have grown by is what goes on.
class Past {
  #samples = [];

  // `counts` has, by key, total_requests, total_errors and the buckets of answers.
  add(time, counts) {
    // A clock that is set back leaves no samples that are later than this one.
    const isOf = (each) => each.time < time && each.time >= time - WINDOW - 0.5;
    this.#samples = [...this.#samples.filter(isOf), { time, counts }];
  }

  // Per second, in the last `within` seconds; null as long as nobody knows.
  rate(key, within = RATE_WINDOW) {
    const [before, now] = this.#ends(within);
    if (before === now) return null;
    return this.#grown(before, now, key, "total_requests") / (now.time - before.time);
  }

  errors(key) {
    const [before, now] = this.#ends(WINDOW);
    return before === now ? null : this.#grown(before, now, key, "total_errors");
  }

  answers(key) {
    const [before, now] = this.#ends(WINDOW);
    const old = before.counts.get(key)?.answers;
    const buckets = now.counts.get(key)?.answers ?? [];
    return buckets.map((count, place) => Math.max(0, count - (old ? old[place] : 0)));
  }

  #ends(within) {
    const now = this.#samples[this.#samples.length - 1];
    return [this.#samples.find((each) => each.time >= now.time - within - 0.5), now];
  }

  // A worker that has been started anew counts from zero.
  #grown(before, now, key, name) {
    const grown = (now.counts.get(key)?.[name] ?? 0) - (before.counts.get(key)?.[name] ?? 0);
    return Math.max(0, grown);
  }
}
