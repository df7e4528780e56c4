"use strict";

// Numbers -> texts for people. Does not know the page.

const NOTHING = "–";

function integer(count) {
  return count.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ",");
}

// Small values have one decimal, so that the width of a cell rarely changes.
function decimal(value) {
  return value >= 10 || value === 0 ? integer(value) : value.toFixed(1);
}

function latency(seconds, bounds) {
  if (seconds === null) return NOTHING;
  if (seconds === Infinity) return `>${bounds[bounds.length - 1]} s`;
  if (seconds <= bounds[0]) return `<${bounds[0] * 1000} ms`;
  return seconds < 1 ? `${decimal(seconds * 1000)} ms` : `${decimal(seconds)} s`;
}

function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const power = Math.min(4, Math.floor(Math.log10(bytes) / 3));
  return `${decimal(bytes / 1000 ** power)} ${["", "kB", "MB", "GB", "TB"][power]}`;
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  if (minutes < 1) return `${Math.max(0, Math.floor(seconds))} s`;
  if (hours < 1) return `${minutes} min`;
  return hours < 24 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function timeOfDay(epoch) {
  return new Date(epoch * 1000).toTimeString().slice(0, 8);
}
