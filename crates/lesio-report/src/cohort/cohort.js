const data = read();
const { words } = data;
const SHOWN = 50;
/** A further column with more values than this is searched, not chosen from. */
const MOST_VALUES = 40;
const MOST_GROUPS = 12;
const BINS = 48;
const STATUSES = ["abnormal", "cannot-tell", "failed", "normal"];
const collator = new Intl.Collator("en", { numeric: true });

const state = { predictor: 0, query: "", statuses: new Set(STATUSES), values: {}, sort: "suspicion", down: false, page: 0, by: -1 };
let listed = [];

const result = (row) => row.r[state.predictor] || null;
const status = (row) => row.e !== undefined ? "failed" : result(row) ? result(row).k : "cannot-tell";
const value = (row, key) => result(row) ? result(row)[key] : null;
const size = (row) => value(row, "v") !== null ? value(row, "v") : value(row, "u");
/** A case has a volume, or a number of pixels: a folder may hold scans and pictures. */
const sized = (row) => value(row, "v") !== null ? number(value(row, "v"), 3) + "\u00a0ml"
  : value(row, "u") === null ? "\u2013" : counted(value(row, "u"), words.unit, words.units);
const volumes = data.rows.some((row) => row.r.some((own) => own && own.v !== null));
const subjects = data.rows.some((row) => row.s !== undefined);

/** Values of each further column that has few of them. */
const choices = data.further.map((_, column) => {
  const values = new Set(data.rows.map((row) => row.f ? row.f[column] : ""));
  const few = values.size > 1 && values.size <= MOST_VALUES && values.size <= Math.max(2, data.rows.length / 2);
  return few ? [...values].sort(collator.compare) : [];
});

/** The columns of the table: key, title, what is sorted by, whether the highest comes first. */
const sorts = [
  ["suspicion", "Most suspicious first", null, false],
  ["name", "case", (row) => row.n, false],
  ["verdict", "verdict", (row) => STATUSES.indexOf(status(row)), false],
  ["p", "p-value", (row) => value(row, "p"), false],
  ["score", "score", (row) => value(row, "x"), true],
  ["findings", "findings", (row) => value(row, "c"), true],
  ["size", volumes ? "volume" : words.units, volumes ? (row) => value(row, "v") : size, true],
  ...(subjects ? [["subject", words.subject, (row) => row.s || row.n, false]] : []),
  ...data.further.map((name, column) => ["further" + column, name, (row) => row.f ? row.f[column] : "", false]),
];
const sortOf = (key) => sorts.find((sort) => sort[0] === key) || sorts[0];

/** Abnormal ones first, each kind by its scores. */
function bySuspicion(a, b) {
  const order = STATUSES.indexOf(status(a)) - STATUSES.indexOf(status(b));
  if (order) return order;
  const [left, right] = [value(a, "x"), value(b, "x")];
  return (right === null ? -Infinity : right) - (left === null ? -Infinity : left) || 0;
}

function compare([key, , of, highest]) {
  const turn = state.down !== highest ? -1 : 1;
  if (key === "suspicion") return (a, b) => turn * bySuspicion(a, b);
  return (a, b) => {
    const [left, right] = [of(a), of(b)];
    // What is not known comes last, whichever way.
    if (left === right) return 0;
    if (left === null || left === "") return 1;
    if (right === null || right === "") return -1;
    return turn * (typeof left === "string" ? collator.compare(left, right) : left - right);
  };
}

function matches(row, query) {
  if (!query) return true;
  const own = result(row);
  const texts = [row.n, row.s, row.e, own && own.w, ...(row.f || [])];
  return texts.some((text) => text && text.toLowerCase().includes(query));
}

function select() {
  const query = state.query.trim().toLowerCase();
  const chosen = Object.entries(state.values);
  const all = STATUSES.map((own) => [own, data.rows.filter((row) => status(row) === own).length]).filter(([, many]) => many);
  find("summary").textContent = all.map(([own, many]) => `${count(many)} ${NAMES[own]}`).join(", ") +
    (data.predictors.length > 1 ? `, by ${data.predictors[state.predictor]}.` : ".");
  const within = data.rows.filter((row) =>
    chosen.every(([column, wanted]) => (row.f ? row.f[column] : "") === wanted) && matches(row, query));
  const counts = Object.fromEntries(STATUSES.map((own) => [own, 0]));
  within.forEach((row) => { counts[status(row)]++; });
  for (const own of STATUSES) find("count-" + own).textContent = count(counts[own]);
  listed = within.filter((row) => state.statuses.has(status(row))).sort(compare(sortOf(state.sort)));
}

function cell(title, className, ...children) {
  return make("td", { role: "cell", class: className, "data-title": title }, ...children);
}

function line(row) {
  const own = result(row), now = status(row);
  const picture = own && own.i
    ? make("img", { src: own.i, alt: "", width: 56, height: 56, loading: "lazy", decoding: "async" }) : make("span", { class: "no-picture" });
  const name = own && own.l ? make("a", { href: own.l }, row.n) : make("span", {}, row.n);
  const further = data.further.map((title, column) => [title, row.f ? row.f[column] : ""]).filter(([, text]) => text !== "");
  if (row.s !== undefined) further.unshift([words.subject, row.s]);
  const about = further.map(([title, text]) => make("span", {}, make("i", {}, title), " " + text));
  const why = row.e !== undefined ? row.e : own ? own.w : null;
  const exact = (text, number) => make("span", { title: number === null ? null : String(number) }, text);
  const shown = (key, digits) => exact(number(value(row, key), digits), value(row, key));
  const digits = apart(value(row, "x"), value(row, "t"));
  const found = size(row);
  return make("tr", { role: "row", class: now },
    cell("", "picture", picture),
    make("th", { role: "rowheader", scope: "row" }, name, about.length ? make("div", { class: "about-case" }, ...about) : null),
    cell("", "verdict-cell", badge(now), why ? make("div", { class: "why" }, why) : null),
    cell("p", "number", shown("p", 3)),
    cell("score", "number", shown("x", digits)),
    cell("threshold", "number", shown("t", digits)),
    cell("findings", "number", exact(value(row, "c") === null ? "\u2013" : count(value(row, "c")), null)),
    cell(volumes ? "volume" : words.units, "number", volumes ? sized(row) : found === null ? "\u2013" : count(found)));
}

function table() {
  const pages = Math.max(1, Math.ceil(listed.length / SHOWN));
  state.page = Math.min(pages - 1, Math.max(0, state.page));
  const first = state.page * SHOWN, last = Math.min(listed.length, first + SHOWN);
  find("cases").tBodies[0].replaceChildren(...listed.slice(first, last).map(line));
  find("listed").textContent = listed.length === 0 ? `No ${words.case} matches.`
    : `${count(listed.length)} of ${counted(data.rows.length, words.case, words.cases)}` + (pages > 1 ? `, ${count(first + 1)} to ${count(last)} shown` : "");
  find("page").textContent = `Page ${count(state.page + 1)} of ${count(pages)}`;
  document.querySelector(".pages").hidden = pages === 1;
  for (const id of ["first", "previous"]) find(id).disabled = state.page === 0;
  for (const id of ["next", "last"]) find(id).disabled = state.page === pages - 1;
  for (const head of find("cases").tHead.rows[0].cells) {
    if (!head.dataset.sort) continue;
    const is = head.dataset.sort === state.sort;
    head.setAttribute("aria-sort", is ? (sortOf(state.sort)[3] !== state.down ? "descending" : "ascending") : "none");
  }
}

function heads() {
  const columns = [null, "name", "verdict", "p", "score", null, "findings", "size"];
  const titles = ["", "case", "verdict", "p", "score", "threshold", "findings", volumes ? "volume" : words.units];
  const cells = columns.map((key, place) => {
    const head = make("th", { scope: "col", role: "columnheader", class: place > 2 ? "number" : "" });
    if (!key) head.append(titles[place] || make("span", { class: "unseen" }, "picture"));
    else {
      head.dataset.sort = key;
      const button = make("button", { type: "button" }, titles[place]);
      button.addEventListener("click", () => sortBy(key, state.sort === key && !state.down));
      head.append(button);
    }
    return head;
  });
  find("cases").tHead.replaceChildren(make("tr", { role: "row" }, ...cells));
}

function sortBy(key, down) {
  [state.sort, state.down, state.page] = [key, down, 0];
  refresh();
}

/** Bars of scores, those of abnormal cases on top; the threshold lies between two bars. */
function histogram(rows, range, label) {
  const [low, width, threshold] = range;
  const bins = Array.from({ length: BINS }, () => ({ normal: 0, "cannot-tell": 0, abnormal: 0 }));
  const scored = rows.filter((row) => value(row, "x") !== null);
  for (const row of scored) {
    // What is below a threshold that it nearly reaches is not shown beyond it.
    let bin = Math.floor((value(row, "x") - low) / width);
    const edge = threshold === null ? null : Math.round((threshold - low) / width);
    if (edge !== null) bin = value(row, "x") >= threshold ? Math.max(bin, edge) : Math.min(bin, edge - 1);
    bins[Math.min(BINS - 1, Math.max(0, bin))][status(row)]++;
  }
  const highest = Math.max(1, ...bins.map((bin) => bin.normal + bin["cannot-tell"] + bin.abnormal));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const add = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, own] of Object.entries(attributes)) element.setAttribute(key, own);
    svg.append(element);
  };
  svg.setAttribute("viewBox", `0 0 ${BINS * 10} 60`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  bins.forEach((bin, place) => {
    let top = 60;
    for (const kind of ["normal", "cannot-tell", "abnormal"]) {
      if (!bin[kind]) continue;
      // One case of thousands is still seen.
      const height = Math.max(3, 55 * bin[kind] / highest);
      top -= height;
      add("rect", { class: kind, x: place * 10 + 1, y: top.toFixed(2), width: 8, height: height.toFixed(2) });
    }
  });
  add("line", { class: "base", x1: 0, x2: BINS * 10, y1: 60, y2: 60 });
  if (threshold !== null) {
    const at = 10 * (threshold - low) / width;
    add("line", { class: "threshold", x1: at, x2: at, y1: 0, y2: 60 });
  }
  return svg;
}

function scores() {
  const target = find("scores");
  const all = data.rows.map((row) => value(row, "x")).filter((score) => score !== null).sort((a, b) => a - b);
  const thresholds = data.rows.map((row) => value(row, "t")).filter((own) => own !== null);
  const threshold = thresholds.length ? thresholds[0] : null;
  if (!all.length) {
    target.replaceChildren(make("p", {}, "No scores."));
    find("scores-note").textContent = "";
    return;
  }
  // The highest scores may be far away: the last bar holds them.
  let low = all[0], high = all[Math.ceil(.99 * all.length) - 1];
  if (threshold !== null) [low, high] = [Math.min(low, threshold), Math.max(high, threshold)];
  if (high <= low) high = low + Math.max(1e-9, Math.abs(low) * .01);
  let width = (high - low) / (BINS - 1);
  if (threshold !== null && threshold > low) {
    const bars = Math.min(BINS - 1, Math.max(1, Math.round((threshold - low) / width)));
    width = (threshold - low) / bars;
  }
  const range = [low, width, threshold];
  const groups = new Map();
  for (const row of listed) {
    const name = state.by < 0 ? "" : (row.f && row.f[state.by]) || "none";
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(row);
  }
  const last = (name) => name === "none";
  let named = [...groups].sort((a, b) => last(a[0]) - last(b[0]) || collator.compare(a[0], b[0]));
  if (named.length > MOST_GROUPS) {
    const rest = named.slice(MOST_GROUPS - 1);
    named = [...named.slice(0, MOST_GROUPS - 1), [`${rest.length} other values`, rest.flatMap(([, rows]) => rows)]];
  }
  const lines = named.map(([name, rows]) => {
    const counts = STATUSES.map((own) => [own, rows.filter((row) => status(row) === own).length]).filter(([, own]) => own > 0);
    const text = counts.map(([own, many]) => `${count(many)} ${NAMES[own]}`).join(", ");
    const title = name === "" ? counted(rows.length, words.case, words.cases) : name;
    const label = `Scores of ${title}: ${text}`;
    return make("div", { class: "group" }, make("div", { class: "group-name" }, make("b", {}, title), make("span", {}, text)),
      rows.some((row) => value(row, "x") !== null) ? histogram(rows, range, label) : null);
  });
  const digits = apart(low, low + BINS * width, 3);
  const ends = [number(low, digits), number(low + BINS * width, digits) + (all[all.length - 1] > low + BINS * width ? " or more" : "")];
  const axis = make("div", { class: "axis", "aria-hidden": "true" }, make("span", {}, ends[0]), make("span", {}, ends[1]));
  if (threshold !== null) {
    const at = 100 * (threshold - low) / (BINS * width);
    const mark = make("span", { class: "at-threshold" + (at > 60 ? " before" : "") }, "abnormal from " + number(threshold));
    mark.style.left = at + "%";
    axis.append(mark);
  }
  target.replaceChildren(...lines, make("div", { class: "group" }, make("div", {}), axis));
  find("scores-note").textContent = `Number of listed ${words.cases} by score of ${data.predictors[state.predictor] || "the map"}; each row has its own height.` +
    (all[all.length - 1] > low + BINS * width ? " The last bar holds all higher scores." : "");
}

function refresh(sameRows = false) {
  if (!sameRows) {
    select();
    scores();
  }
  table();
  find("sort").value = state.sort + (state.down ? " down" : "");
  remember();
}

/** The choices are part of the address, so that the way back from a case finds them. */
function remember() {
  const kept = new URLSearchParams();
  if (state.query) kept.set("q", state.query);
  if (state.statuses.size < STATUSES.length) kept.set("verdict", [...state.statuses].join(" "));
  if (state.predictor) kept.set("predictor", data.predictors[state.predictor]);
  if (state.sort !== "suspicion" || state.down) kept.set("sort", state.sort + (state.down ? " down" : ""));
  if (state.page) kept.set("page", state.page + 1);
  for (const [column, wanted] of Object.entries(state.values)) kept.append("is", column + " " + wanted);
  const text = kept.toString();
  try {
    history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
  } catch { /* A browser that does not allow it forgets. */ }
}

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  state.query = kept.get("q") || "";
  const wanted = (kept.get("verdict") || "").split(" ").filter((own) => STATUSES.includes(own));
  if (kept.has("verdict")) state.statuses = new Set(wanted);
  state.predictor = Math.max(0, data.predictors.indexOf(kept.get("predictor")));
  const [sort, down] = (kept.get("sort") || "suspicion").split(" ");
  [state.sort, state.down] = [sortOf(sort)[0], down === "down"];
  state.page = Math.max(0, (Number(kept.get("page")) || 1) - 1);
  for (const own of kept.getAll("is")) {
    const space = own.indexOf(" "), column = Number(own.slice(0, space)), wantedValue = own.slice(space + 1);
    if (choices[column] && choices[column].includes(wantedValue)) state.values[column] = wantedValue;
  }
}

function filters() {
  for (const own of STATUSES) {
    const box = make("input", { type: "checkbox", id: "status-" + own });
    box.checked = state.statuses.has(own);
    box.addEventListener("change", () => {
      state.statuses[box.checked ? "add" : "delete"](own);
      state.page = 0;
      refresh();
    });
    find("statuses").append(make("label", { class: "chip " + own }, box, " " + NAMES[own] + " ", make("b", { id: "count-" + own })));
  }
  find("query").value = state.query;
  let waiting = 0;
  find("query").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      [state.query, state.page] = [find("query").value, 0];
      refresh();
    }, 120);
  });
  find("predictor").append(...data.predictors.map((name, place) => make("option", { value: place }, name)));
  find("predictor").value = state.predictor;
  find("predictor-row").hidden = data.predictors.length < 2;
  find("predictor").addEventListener("change", () => {
    [state.predictor, state.page] = [Number(find("predictor").value), 0];
    refresh();
  });
  choices.forEach((values, column) => {
    if (!values.length) return;
    const id = "column-" + column;
    const chooser = make("select", { id }, make("option", { value: "all" }, "all"),
      ...values.map((own, place) => make("option", { value: place }, own === "" ? "none" : own)));
    if (column in state.values) chooser.value = values.indexOf(state.values[column]);
    chooser.addEventListener("change", () => {
      if (chooser.value === "all") delete state.values[column];
      else state.values[column] = values[Number(chooser.value)];
      state.page = 0;
      refresh();
    });
    find("columns").append(make("div", {}, make("label", { for: id }, data.further[column]), chooser));
  });
  for (const [key, title, of, highest] of sorts) {
    if (!of) find("sort").append(make("option", { value: key }, title));
    else for (const down of [false, true]) {
      const text = typeof of(data.rows[0] || { r: [], n: "" }) === "string" ? ["A to Z", "Z to A"] : ["low to high", "high to low"];
      const way = key === "verdict" ? ["abnormal first", "normal first"][Number(down)] : text[Number(highest !== down)];
      find("sort").append(make("option", { value: key + (down ? " down" : "") }, `${title}, ${way}`));
    }
  }
  find("sort").addEventListener("change", () => {
    const [key, down] = find("sort").value.split(" ");
    sortBy(key, down === "down");
  });
  const groups = choices.map((values, column) => [column, values]).filter(([, values]) => values.length);
  find("by").append(make("option", { value: -1 }, "nothing"), ...groups.map(([column]) => make("option", { value: column }, data.further[column])));
  find("by-row").hidden = !groups.length;
  if (groups.length) state.by = groups[0][0];
  find("by").value = state.by;
  find("by").addEventListener("change", () => {
    state.by = Number(find("by").value);
    scores();
  });
  find("clear").addEventListener("click", () => {
    history.replaceState(null, "", location.pathname + location.search);
    Object.assign(state, { query: "", statuses: new Set(STATUSES), values: {}, page: 0 });
    find("query").value = "";
    STATUSES.forEach((own) => { find("status-" + own).checked = true; });
    find("columns").querySelectorAll("select").forEach((chooser) => { chooser.value = "all"; });
    refresh();
  });
  const turn = (to) => () => {
    state.page = to();
    refresh(true);
    find("cases-title").scrollIntoView();
  };
  find("first").addEventListener("click", turn(() => 0));
  find("previous").addEventListener("click", turn(() => state.page - 1));
  find("next").addEventListener("click", turn(() => state.page + 1));
  find("last").addEventListener("click", turn(() => Infinity));
  find("controls").addEventListener("submit", (event) => event.preventDefault());
}

recall();
heads();
filters();
find("app").hidden = false;
refresh();
document.body.dataset.ready = "yes";
