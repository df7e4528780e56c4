// DOM helpers, and tables whose rows keep their elements. Only changes are written, only as text.

function byId(id) {
  return document.getElementById(id);
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setClass(node, name, isSet) {
  if (node.classList.contains(name) !== isSet) node.classList.toggle(name, isSet);
}

function setVisible(node, isVisible) {
  if (node.hidden === isVisible) node.hidden = !isVisible;
}

function make(tag, className, parent) {
  const node = document.createElement(tag);
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

// Rows by key. `build` gets an empty row and returns its parts; `fill` gets the parts and an entry.
class TableRows {
  #body;
  #build;
  #fill;
  #rows = new Map();

  constructor(table, build, fill) {
    this.#body = table.tBodies[0];
    this.#build = build;
    this.#fill = fill;
  }

  // Shows these entries in this order. Entries that stay have to keep their relative order.
  update(entries, keyOf) {
    const entryByKey = new Map(entries.map((entry, index) => [keyOf(entry, index), entry]));
    for (const [key, { row }] of this.#rows) {
      // A row that has the keyboard focus stays, because its removal would lose the focus.
      if (entryByKey.has(key) || row.contains(document.activeElement)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    let next = this.#body.firstElementChild;
    for (const [key, entry] of entryByKey) {
      while (next && !entryByKey.has(next.dataset.key)) next = next.nextElementSibling;
      const { row, parts } = this.#rows.get(key) ?? this.#create(key);
      if (row === next) next = next.nextElementSibling;
      else this.#body.insertBefore(row, next);
      this.#fill(parts, entry, row);
    }
  }

  #create(key) {
    const row = make("tr");
    row.dataset.key = key;
    const created = { row, parts: this.#build(row) };
    this.#rows.set(key, created);
    return created;
  }
}
