// Rates and quantiles from counters at several times. Does not know the page.

const RATE_SECONDS = 10;
const HISTORY_SECONDS = 60;

// The quantile in seconds (0.5 is the median), estimated within its bucket; null without values.
function quantile(fraction, buckets, bounds) {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let rank = fraction * total;
  const index = buckets.findIndex((count) => (rank -= count) <= 0 && count > 0);
  if (index >= bounds.length) return Infinity;
  const lower = index > 0 ? bounds[index - 1] : 0;
  return lower + (bounds[index] - lower) * (1 + rank / buckets[index]);
}

// Samples of counters in the last minute.
class CounterHistory {
  #samples = [];

  // `counters` maps keys to total_requests, total_errors and answers, the buckets of durations.
  add(time, counters) {
    // After the clock was set back, samples that are later than this one are dropped.
    const isRecent = (sample) => sample.time < time && sample.time >= time - HISTORY_SECONDS - 0.5;
    this.#samples = [...this.#samples.filter(isRecent), { time, counters }];
  }

  // Requests per second in the last `seconds`; null until there are two samples.
  rate(key, seconds = RATE_SECONDS) {
    const [first, last] = this.#ends(seconds);
    if (first === last) return null;
    return this.#increase(first, last, key, "total_requests") / (last.time - first.time);
  }

  errors(key) {
    const [first, last] = this.#ends(HISTORY_SECONDS);
    return first === last ? null : this.#increase(first, last, key, "total_errors");
  }

  durations(key) {
    const [first, last] = this.#ends(HISTORY_SECONDS);
    const before = first.counters.get(key)?.answers;
    const buckets = last.counters.get(key)?.answers ?? [];
    return buckets.map((count, index) => Math.max(0, count - (before ? before[index] : 0)));
  }

  #ends(seconds) {
    const last = this.#samples[this.#samples.length - 1];
    return [this.#samples.find((sample) => sample.time >= last.time - seconds - 0.5), last];
  }

  // Never negative: after a restart a counter begins at zero.
  #increase(first, last, key, name) {
    const before = first.counters.get(key)?.[name] ?? 0;
    return Math.max(0, (last.counters.get(key)?.[name] ?? 0) - before);
  }
}
