// Tables whose rows stay where they are: only what is different is written, and only as text.

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function mark(node, name, isSet) {
  if (node.classList.contains(name) !== isSet) node.classList.toggle(name, isSet);
}

function show(node, isShown) {
  if (node.hidden === isShown) node.hidden = !isShown;
}

function make(kind, className, parent) {
  const node = document.createElement(kind);
  if (className) node.className = className;
  if (parent) parent.append(node);
  return node;
}

function cell(row, className) {
  return make("td", className, row);
}

function header(row, className) {
  const node = make("th", className, row);
  node.scope = "row";
  return node;
}

// Rows by key. `build` gets an empty row and returns its parts; `fill` gets those and the entry.
class Rows {
  #body;
  #build;
  #fill;
  #known = new Map();

  constructor(table, build, fill) {
    this.#body = table.tBodies[0];
    this.#build = build;
    this.#fill = fill;
  }

  // Show these entries in this order, which has to be the same for those that stay.
  update(entries, keyOf) {
    const wanted = new Map(entries.map((entry, place) => [keyOf(entry, place), entry]));
    for (const [key, { row }] of this.#known) {
      // Whoever is there with the keyboard is not to be thrown out.
      if (wanted.has(key) || row.contains(document.activeElement)) continue;
      row.remove();
      this.#known.delete(key);
    }
    let next = this.#body.firstElementChild;
    for (const [key, entry] of wanted) {
      while (next && !wanted.has(next.dataset.key)) next = next.nextElementSibling;
      const { row, parts } = this.#known.get(key) ?? this.#start(key);
      if (row === next) next = next.nextElementSibling;
      else this.#body.insertBefore(row, next);
      this.#fill(parts, entry, row);
    }
  }

  #start(key) {
    const row = make("tr");
    row.dataset.key = key;
    const known = { row, parts: this.#build(row) };
    this.#known.set(key, known);
    return known;
  }
}
