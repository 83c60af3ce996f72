const data = read();
const [slices, rows, columns] = data.shape;
const plane = rows * columns;
const { words } = data;
/** What the reader chose. */
const state = { map: 0, image: 0, slice: 0, level: 255, opacity: data.opacity, ring: null };
/** By map: which pixels are marked, and how many regions they form. */
let marked = null;
let settling = 0;

/** The pixels of a PNG file of eight bits, gray or in colors, as the page's own program writes it: exact in every browser. */
async function decoded(png) {
  const bytes = Uint8Array.from(atob(png), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const parts = [];
  let width = 0, height = 0, channels = 1;
  for (let at = 8; at < bytes.length;) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") [width, height, channels] = [view.getUint32(at + 8), view.getUint32(at + 12), body[9] === 2 ? 3 : 1];
    if (kind === "IDAT") parts.push(body);
    at += length + 12;
  }
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  const line = width * channels;
  const pixels = new Uint8Array(line * height);
  for (let row = 0; row < height; row++) {
    const from = row * (line + 1) + 1, to = row * line, filter = raw[from - 1];
    for (let i = 0; i < line; i++) {
      const left = i >= channels ? pixels[to + i - channels] : 0;
      const above = row > 0 ? pixels[to + i - line] : 0;
      let guess = 0;
      if (filter === 1) guess = left;
      else if (filter === 2) guess = above;
      else if (filter === 3) guess = (left + above) >> 1;
      else if (filter === 4) {
        const corner = i >= channels && row > 0 ? pixels[to + i - line - channels] : 0;
        const sum = left + above - corner;
        const [a, b, c] = [Math.abs(sum - left), Math.abs(sum - above), Math.abs(sum - corner)];
        guess = a <= b && a <= c ? left : b <= c ? above : corner;
      }
      pixels[to + i] = raw[from + i] + guess;
    }
  }
  return { pixels, channels };
}

const map = () => data.maps[state.map];
const edge = (own, level) => own.levels.low + level * own.levels.step;

/** By level the color of a map and how much it hides at full opacity. */
function palette(own) {
  const stops = data.colors.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const [low, high] = own.colors;
  const table = new Float32Array(4 * 256);
  for (let level = 0; level < 256; level++) {
    const position = Math.min(1, Math.max(0, (edge(own, level) - low) / (high - low)));
    const at = position * (stops.length - 1), first = Math.min(Math.floor(at), stops.length - 2), part = at - first;
    const color = stops[first].map((value, i) => value + (stops[first + 1][i] - value) * part);
    table.set([...color, level === 0 ? 0 : position], 4 * level);
  }
  return table;
}

/** Which pixels reach a level, without regions smaller than the model leaves out, and the regions counted. */
function regions(own, level) {
  const { pixels } = own.sheet;
  const marks = new Uint8Array(pixels.length);
  const smallest = own.smallest / (data.reduction * data.reduction);
  const stack = new Int32Array(pixels.length);
  let [found, size] = [0, 0];
  for (let start = 0; start < pixels.length; start++) {
    if (pixels[start] < level || marks[start]) continue;
    let [end, next] = [1, 0];
    stack[0] = start;
    marks[start] = 1;
    while (next < end) {
      const place = stack[next++];
      const slice = Math.floor(place / plane), row = Math.floor(place / columns) % rows, column = place % columns;
      for (let k = Math.max(0, slice - 1); k <= Math.min(slices - 1, slice + 1); k++)
        for (let i = Math.max(0, row - 1); i <= Math.min(rows - 1, row + 1); i++)
          for (let j = Math.max(0, column - 1); j <= Math.min(columns - 1, column + 1); j++) {
            const other = k * plane + i * columns + j;
            if (!marks[other] && pixels[other] >= level) {
              marks[other] = 1;
              stack[end++] = other;
            }
          }
    }
    if (end >= smallest) {
      found++;
      size += end;
    } else for (let i = 0; i < end; i++) marks[stack[i]] = 2;
  }
  for (let i = 0; i < marks.length; i++) if (marks[i] === 2) marks[i] = 0;
  return { marks, found, size };
}

const canvas = find("canvas");
const flat = document.createElement("canvas");
[flat.width, flat.height] = [columns, rows];
/** Canvas pixels for a pixel of the image. */
const across = Math.max(1, Math.ceil(640 / Math.max(columns, rows * data.aspect)));
[canvas.width, canvas.height] = [columns * across, Math.max(1, Math.round(rows * across * data.aspect))];
/** Not a whole number if the sides of a pixel are unequal. */
const down = canvas.height / rows;

function draw() {
  const own = map(), picture = data.images[state.image].sheet, first = state.slice * plane;
  const context = flat.getContext("2d"), image = context.createImageData(columns, rows);
  const { channels, pixels } = picture, colors = own.palette, levels = own.sheet.pixels, out = image.data;
  for (let i = 0; i < plane; i++) {
    const at = (first + i) * channels, color = 4 * levels[first + i], share = colors[color + 3] * state.opacity;
    for (let channel = 0; channel < 3; channel++) {
      const below = pixels[channels === 3 ? at + channel : at];
      out[4 * i + channel] = below + (colors[color + channel] - below) * share;
    }
    out[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  const shown = canvas.getContext("2d");
  shown.imageSmoothingEnabled = false;
  shown.drawImage(flat, 0, 0, canvas.width, canvas.height);
  if (find("outlines").checked) outline(shown, own, first);
  if (state.ring && state.ring[0] === state.slice) ring(shown, state.ring);
}

function outline(shown, own, first) {
  const is = (row, column) => {
    if (row < 0 || column < 0 || row >= rows || column >= columns) return false;
    const place = first + row * columns + column;
    return marked ? marked.marks[place] === 1 : own.sheet.pixels[place] >= state.level;
  };
  shown.beginPath();
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      if (!is(row, column)) continue;
      const [left, top, right, bottom] = [column * across, row * down, (column + 1) * across, (row + 1) * down];
      const line = (...ends) => { shown.moveTo(ends[0], ends[1]); shown.lineTo(ends[2], ends[3]); };
      if (!is(row - 1, column)) line(left, top, right, top);
      if (!is(row + 1, column)) line(left, bottom, right, bottom);
      if (!is(row, column - 1)) line(left, top, left, bottom);
      if (!is(row, column + 1)) line(right, top, right, bottom);
    }
  for (const [width, color] of [[4, "rgba(0,0,0,.55)"], [2, "#fff"]]) {
    [shown.lineWidth, shown.strokeStyle] = [width * canvas.width / 800 + .5, color];
    shown.stroke();
  }
}

function ring(shown, [, row, column]) {
  shown.beginPath();
  const radius = Math.max(canvas.width, canvas.height) / 28;
  shown.arc((column + .5) * across, (row + .5) * down, radius, 0, 2 * Math.PI);
  for (const [width, color] of [[6, "rgba(0,0,0,.6)"], [3, "#00d8ff"]]) {
    [shown.lineWidth, shown.strokeStyle] = [width * canvas.width / 800 + .5, color];
    shown.stroke();
  }
}

/** Marks at once by level, and after a moment by regions. */
function mark() {
  clearTimeout(settling);
  marked = null;
  find("marked").textContent = "";
  settling = setTimeout(() => {
    const own = map();
    marked = regions(own, state.level);
    const { found, size } = marked, all = size * data.reduction * data.reduction;
    const about = data.reduction > 1 ? "About " : "";
    const volume = data.voxel_ml ? ` (${number(all * data.voxel_ml, 3)} ml)` : "";
    const text = counted(found, "region", "regions") + ", " + counted(all, words.unit, words.units) + volume;
    find("marked").textContent = `${about}${text} marked at a score of ${number(edge(own, state.level))} or more.`;
    find("marked").dataset.regions = found;
    find("marked").dataset.size = all;
    draw();
  }, 80);
  update();
}

function update() {
  const own = map(), is = own.levels.threshold === state.level;
  find("slice").value = state.slice;
  find("slice-text").textContent = `${state.slice} (0 to ${slices - 1})`;
  find("threshold").value = state.level;
  const exact = is && own.threshold !== null ? own.threshold : edge(own, state.level);
  find("threshold-text").textContent = number(exact) + (is ? ", the model\u2019s" : "");
  find("threshold").setAttribute("aria-valuetext", find("threshold-text").textContent);
  find("opacity").value = Math.round(100 * state.opacity);
  find("opacity-text").textContent = Math.round(100 * state.opacity) + " %";
  find("reset").disabled = own.levels.threshold === null || is;
  const what = data.is_picture ? "The image" : `Slice ${state.slice}`;
  const side = data.left_to_right ? "; its left is the subject\u2019s left" : "";
  canvas.setAttribute("aria-label", `${what} with the map of ${own.name}${side}`);
  draw();
}

/** The highest score of each slice, as colors above the slider. */
function strip() {
  const own = map(), target = find("strip");
  target.width = slices;
  const context = target.getContext("2d"), image = context.createImageData(slices, 1);
  for (let slice = 0; slice < slices; slice++) {
    let highest = 0;
    for (let i = slice * plane; i < (slice + 1) * plane; i++) highest = Math.max(highest, own.sheet.pixels[i]);
    image.data.set([...own.palette.subarray(4 * highest, 4 * highest + 3), 255], 4 * slice);
  }
  context.putImageData(image, 0, 0);
}

function verdict() {
  const own = map(), line = find("verdict"), parts = [];
  if (own.status) line.replaceChildren(badge(own.status)); else line.replaceChildren();
  if (own.p_value !== null) parts.push(`p = ${number(own.p_value, 3)}`);
  const digits = apart(own.score, own.case_threshold);
  if (own.score !== null) parts.push(`score ${number(own.score, digits)}`);
  if (own.case_threshold !== null) parts.push(`abnormal from ${number(own.case_threshold, digits)}`);
  parts.push(`by ${own.name}`);
  line.append(" " + parts.join(", ") + (own.reason ? `: ${own.reason}` : ""));
}

function colorBar() {
  const own = map(), [low, high] = own.colors, digits = apart(low, high, 3);
  find("colors").style.background = `linear-gradient(to right, ${data.colors.join(",")})`;
  const ticks = [[low, 0], [high, 1]].map(([value, at]) =>
    make("span", {}, at ? number(value, digits) + " or more" : `score ${number(value, digits)} or less`));
  find("ticks").replaceChildren(...ticks);
}

function findings() {
  const own = map(), found = own.findings, none = find("findings-none");
  none.hidden = Boolean(found && found.length);
  none.textContent = found ? "Nothing reaches the threshold." : "The model was not calibrated for this predictor: there is no threshold.";
  find("findings").hidden = !none.hidden;
  const volume = data.voxel_ml !== null && data.voxel_ml !== undefined;
  const names = ["", ...(data.is_picture ? [] : ["slice"]), words.units, ...(volume ? ["ml"] : []), "peak", "p"];
  const heads = names.map((name) => make("th", { scope: "col", role: "columnheader" }, name || "finding"));
  find("findings").tHead.replaceChildren(make("tr", { role: "row" }, ...heads));
  const lines = (found || []).map((finding, place) => {
    const show = make("button", { type: "button" }, String(place + 1));
    const where = data.is_picture ? "" : `, slice ${finding.peak_at[0]}`;
    show.setAttribute("aria-label", `Show finding ${place + 1}${where}`);
    const line = make("tr", { role: "row" });
    const go = () => {
      const [slice, row, column] = finding.peak_at, by = data.reduction;
      state.ring = [slice, Math.floor(row / by), Math.floor(column / by)];
      state.slice = slice;
      for (const other of find("findings").tBodies[0].rows) other.classList.toggle("chosen", other === line);
      update();
    };
    line.addEventListener("click", go);
    const values = [...(data.is_picture ? [] : [finding.peak_at[0]]), count(finding.pixels),
      ...(volume ? [number(finding.volume_ml, 3)] : []), number(finding.peak), number(finding.p_value, 3)];
    const cells = values.map((value) => make("td", { role: "cell" }, String(value)));
    line.append(make("td", { role: "cell" }, show), ...cells);
    return line;
  });
  find("findings").tBodies[0].replaceChildren(...lines);
}

function choose(place) {
  state.map = place;
  const own = map();
  state.ring = null;
  state.level = own.levels.threshold === null ? 255 : own.levels.threshold;
  const step = `The map is shown in 255 steps of ${number(own.levels.step, 3)}, from ${number(edge(own, 1))} to ${number(edge(own, 255))}; `;
  const kept = data.reduction > 1
    ? ` Sides are shown at 1/${data.reduction} of their ${words.units}: of an image the mean, of a map the highest score.` : "";
  const exact = own.levels.threshold === null ? "" : "The threshold of the model lies exactly at a step. ";
  const broken = own.not_finite + data.images.reduce((sum, image) => sum + image.not_finite, 0);
  find("steps").textContent = `${step}a threshold is right to within one. ${exact}`.trim() + kept +
    (own.threshold === null ? ` Colors are those of this ${words.case} alone.` : ` Colors and steps are the same for all ${words.cases}.`) +
    (broken ? ` ${counted(broken, "value is", "values are")} not finite.` : "");
  verdict();
  colorBar();
  findings();
  strip();
  mark();
}

function move(to) {
  state.slice = Math.min(slices - 1, Math.max(0, to));
  update();
}

function listen() {
  const on = (id, event, what, options) => find(id).addEventListener(event, what, options);
  on("slice", "input", (event) => move(Number(event.target.value)));
  on("threshold", "input", (event) => { state.level = Number(event.target.value); mark(); });
  on("opacity", "input", (event) => { state.opacity = Number(event.target.value) / 100; update(); });
  on("reset", "click", () => { state.level = map().levels.threshold; mark(); });
  on("outlines", "change", draw);
  on("predictor", "change", (event) => choose(Number(event.target.value)));
  on("image", "change", (event) => { state.image = Number(event.target.value); draw(); });
  on("controls", "submit", (event) => event.preventDefault());
  if (slices === 1) return;
  let turned = 0;
  on("view", "wheel", (event) => {
    if (event.ctrlKey) return;
    event.preventDefault();
    turned += event.deltaMode === 0 ? event.deltaY : 40 * event.deltaY;
    const steps = Math.trunc(turned / 40);
    turned -= 40 * steps;
    if (steps) move(state.slice + steps);
  }, { passive: false });
  on("view", "keydown", (event) => {
    const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -slices, End: slices };
    if (!(event.key in by)) return;
    event.preventDefault();
    move(state.slice + by[event.key]);
  });
}

async function start() {
  for (const sheet of [...data.images, ...data.maps]) {
    sheet.sheet = await decoded(sheet.png);
    sheet.png = null;
  }
  data.maps.forEach((own) => { own.palette = palette(own); });
  const options = (id, list) => {
    find(id).replaceChildren(...list.map((own, place) => make("option", { value: place }, own.name)));
    find(id + "-row").hidden = list.length < 2;
  };
  options("predictor", data.maps);
  options("image", data.images);
  find("slice-row").hidden = slices === 1;
  find("slice").max = slices - 1;
  find("view").tabIndex = slices === 1 ? -1 : 0;
  find("view").setAttribute("aria-label", data.is_picture ? "Image" : "Slices");
  for (const side of document.querySelectorAll(".edge")) side.hidden = !data.left_to_right;
  const keys = slices === 1 ? ""
    : "Change the slice with the mouse wheel over it, or with the arrow keys, Page Up, Page Down, Home and End while it has the focus.";
  const sides = data.left_to_right ? "The left (L) of a slice is the subject\u2019s left." : "";
  find("keys").textContent = [keys, sides].filter(Boolean).join(" ");
  listen();
  // The first slice shown is that of the highest score.
  const { pixels } = data.maps[0].sheet;
  let highest = 0;
  for (let i = 0; i < pixels.length; i++) if (pixels[i] > pixels[highest]) highest = i;
  state.slice = Math.floor(highest / plane);
  const first = data.maps[0].findings;
  if (first && first.length) state.slice = first[0].peak_at[0];
  find("viewer").hidden = false;
  choose(0);
  document.body.dataset.ready = "yes";
}

if (data.maps.length && data.images.length) start().catch((error) => {
  find("verdict").textContent = `The slices cannot be shown by this browser: ${error.message}`;
});
