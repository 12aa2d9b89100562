"use strict";
// Pictures: grey below, the shares of cord above, drawn as an outline, in colours, or both.

// Blue over green to yellow, as viridis: told apart by people with any colour vision, and in grey.
const SCALE = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const LINE = [0, 229, 255];
// Okabe and Ito's colours, for labels
const LABELS = [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167]];

softcord.colour = (share) => {
  const at = Math.min(share, 0.9999) * (SCALE.length - 1), low = Math.floor(at), part = at - low;
  return SCALE[low].map((value, i) => value + (SCALE[low + 1][i] - value) * part);
};

softcord.decode = (address) => new Promise((resolve, reject) => {
  const image = new Image();
  image.onload = () => resolve(image);
  image.onerror = () => reject(new Error("a picture is damaged"));
  image.src = address;
});

// Decode a view once; keep its shares as numbers.
softcord.prepareView = async (view) => {
  if (view.shares) return view;
  const [grey, share] = await Promise.all([softcord.decode(view.grey), softcord.decode(view.share)]);
  const canvas = document.createElement("canvas");
  canvas.width = view.width; canvas.height = view.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(share, 0, 0);
  const pixels = context.getImageData(0, 0, view.width, view.height).data;
  view.shares = new Uint8Array(view.width * view.height);
  for (let i = 0; i < view.shares.length; i++) view.shares[i] = pixels[4 * i];
  view.image = grey;
  return view;
};

softcord.drawGrey = (canvas, view) => {
  canvas.width = view.width; canvas.height = view.height;
  const context = canvas.getContext("2d");
  context.drawImage(view.image, 0, 0);
};

softcord.drawOver = (canvas, view, look, isLabels) => {
  const { width, height, shares } = view, n = shares.length;
  canvas.width = width; canvas.height = height;
  const context = canvas.getContext("2d");
  if (look.on) {
    const image = context.createImageData(width, height), out = new Uint32Array(image.data.buffer);
    const pack = (rgb, alpha) => new Uint32Array(Uint8ClampedArray.of(rgb[0], rgb[1], rgb[2], alpha).buffer)[0];
    const table = new Uint32Array(256), lines = new Uint32Array(256), side = new Uint8Array(256);
    const level = Math.max(1, look.threshold * 255);
    for (let v = 1; v < 256; v++) {
      const rgb = isLabels ? LABELS[(v - 1) % LABELS.length] : softcord.colour(v / 255);
      table[v] = pack(rgb, 255 * look.opacity * (isLabels ? 1 : Math.min(1, 0.25 + v / 255)));
      lines[v] = pack(isLabels ? rgb : LINE, 255);
      side[v] = isLabels ? v : v > level ? 1 : 0;
    }
    if (look.style !== "line") for (let i = 0; i < n; i++) if (shares[i]) out[i] = table[shares[i]];
    if (look.style !== "fill") {
      for (let row = 0; row < height - 1; row++) {
        for (let i = row * width, end = i + width - 1; i < end; i++) {
          const a = shares[i], b = shares[i + 1], c = shares[i + width];
          if (!(a | b | c) || (side[a] === side[b] && side[a] === side[c])) continue;
          out[i] = out[i + 1] = out[i + width] = lines[Math.max(a, b, c)];
        }
      }
    }
    context.putImageData(image, 0, 0);
  }
  context.font = `bold ${Math.max(13, Math.round(width / 52))}px system-ui, sans-serif`;
  context.textBaseline = "top";
  context.lineWidth = 3;
  context.strokeStyle = "#000";
  context.fillStyle = "#fff";
  for (const [text, row, column] of view.words) {
    context.strokeText(text, column, row);
    context.fillText(text, column, row);
  }
};

softcord.drawScale = (box, record, names) => {
  box.replaceChildren();
  if (record.kind === "labels") {
    names.forEach((name, i) => {
      const mark = document.createElement("span");
      mark.className = "label-colour";
      mark.style.backgroundColor = "rgb(" + LABELS[i % LABELS.length].join() + ")";
      box.append(mark, name + " ");
    });
    return;
  }
  const canvas = document.createElement("canvas");
  canvas.width = 80; canvas.height = 10;
  const context = canvas.getContext("2d");
  for (let x = 0; x < 80; x++) { context.fillStyle = "rgb(" + softcord.colour(x / 79).map(Math.round).join() + ")"; context.fillRect(x, 0, 1, 10); }
  box.append("0 ", canvas, " 1 share of cord");
};

// ---- areas along the cord

const WHY = { gaps: "no cord here", area_jump: "area jumps", area_out_of_range: "outside healthy range" };

softcord.drawCurve = (figure, curve) => {
  figure.replaceChildren();
  if (!curve) return;
  const W = 900, H = 190, left = 44, right = 8, top = 10, bottom = 30;
  const make = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "area along the cord" });
  const n = curve.areas.length, most = Math.max(...curve.areas, ...curve.high) * 1.08;
  const x = (i) => left + (n > 1 ? (n - 1 - i) / (n - 1) : 0.5) * (W - left - right); // superior on the left
  const y = (area) => top + (1 - area / most) * (H - top - bottom);
  const path = (values) => values.map((value, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const back = curve.low.map((value, i) => `L${x(i).toFixed(1)} ${y(value).toFixed(1)}`).reverse().join("");
  svg.append(make("path", { class: "norm", d: path(curve.high) + back + "Z" }));
  for (let area = 0; area <= most; area += most > 160 ? 50 : 25) {
    svg.append(make("line", { class: "grid", x1: left, x2: W - right, y1: y(area), y2: y(area) }));
    svg.append(make("text", { x: left - 6, y: y(area) + 4, "text-anchor": "end" }, area));
  }
  const step = Math.max(1, Math.ceil(n / 12));
  for (let i = 0; i < n; i += step) svg.append(make("text", { x: x(i), y: H - bottom + 15, "text-anchor": "middle" }, curve.first + i));
  for (let i = 0; i < n; i++) {
    const level = curve.levels[i];
    if (level && level !== curve.levels[i - 1]) {
      const name = level < 8 ? "C" + level : level < 20 ? "T" + (level - 7) : "L" + (level - 19);
      svg.append(make("text", { x: x(i), y: top + 8, "text-anchor": "end", class: "level" }, name));
      svg.append(make("line", { class: "grid", x1: x(i), x2: x(i), y1: top, y2: H - bottom }));
    }
  }
  svg.append(make("path", { class: "areas", d: path(curve.areas) }));
  for (const [why, slices] of Object.entries(curve.marks)) {
    for (const k of slices) {
      const i = k - curve.first, cx = x(i), cy = y(curve.areas[i] || 0);
      const mark = make("path", { class: "mark", d: `M${cx - 5} ${cy - 7}h10l-5 8z` });
      mark.append(make("title", {}, `slice ${k}: ${WHY[why] || why}`));
      svg.append(mark);
    }
  }
  svg.append(make("text", { x: (W + left) / 2, y: H - 2, "text-anchor": "middle" }, "slice, superior on the left"));
  const words = document.createElement("figcaption");
  const marks = Object.entries(curve.marks).map(([why, slices]) => `${WHY[why] || why}: ${slices.length}`).join(", ");
  words.textContent = "Area across the cord, mm². Band: 99.8 % of healthy people, " + (curve.levels.some(Boolean) ? "by level" : "any level") + "." + (marks ? " ▼ " + marks + " slices." : "");
  words.title = curve.caution;
  figure.append(svg, words);
};
