"use strict";
// The table: sort, filter, search. Every word of a file's name is text, never markup.

softcord.VERDICT = { pass: "✓ pass", fail: "✗ fail", artifact: "⚠ artifact" };

const entities = (e) => Object.entries(e.entities).filter(([name]) => name !== "sub").map(([name, value]) => name + "-" + value).join(" ");
const number = (value, digits) => value === null || value === undefined ? "–" : value.toFixed(digits);

// Worst first: no cord, then many flags, then low confidence.
const badness = (e) => (e.flags.some((flag) => flag.code === "no_cord") ? 1e6 : 0) + 1e3 * e.flags.length + (e.confidence === null ? 0 : 1 - e.confidence);

// The subject has a column of its own.
const shortName = (e) => (e.subject && e.name.startsWith(e.subject + "_") ? e.name.slice(e.subject.length + 1) : e.name).replace(/\.nii(\.gz)?$/, "");

const HEADS = [
  { name: "Rating", value: (e) => softcord.mine(e.key).rating, cell: (e, td) => softcord.ratingCell(e, td) },
  { name: "#", title: "rank", value: (e) => softcord.mine(e.key).rank ?? -1, cell: (e, td) => { td.textContent = softcord.mine(e.key).rank ?? ""; } },
  { name: "Subject", value: (e) => e.subject },
  { name: "File", value: (e) => e.name, text: shortName },
  { name: "Flags", value: (e) => e.flags.length, down: true, cell: (e, td) => softcord.flagCell(e, td) },
  { name: "CSA, mm²", value: (e) => e.mean_area_mm2, text: (e) => number(e.mean_area_mm2, 1), number: true, title: "mean area across the cord" },
  { name: "Vol., mm³", value: (e) => e.volume_mm3, text: (e) => number(e.volume_mm3, 0), number: true },
  { name: "Conf.", value: (e) => e.confidence ?? 2, text: (e) => number(e.confidence, 2), number: true, title: "share of the volume that lies in voxels which are more than half cord" },
  { name: "Contrast", value: (e) => e.contrast },
  { name: "Entities", value: entities },
  { name: "Model", value: (e) => (e.origin.model + " " + e.origin.version).trim() },
  { name: "Segmentation", value: (e) => e.origin.result.split("/").pop() },
];

softcord.rowOf = new Map();
softcord.order = [];
softcord.sorting = { by: null, down: false };

softcord.flagCell = (e, td) => {
  if (e.flags.length > 1) td.append(e.flags.length + ": ");
  for (const flag of e.flags) {
    const mark = document.createElement("span");
    mark.className = "flag";
    mark.textContent = flag.code;
    mark.title = flag.reason;
    td.append(mark, " ");
  }
};

softcord.ratingCell = (e, td) => {
  const mine = softcord.mine(e.key);
  td.textContent = softcord.VERDICT[mine.rating] || "";
  td.className = "verdict " + mine.rating;
  const others = [...(softcord.said.get(e.key) || [])];
  if (new Set(others.map(([, rating]) => rating)).size > 1) {
    const mark = document.createElement("span");
    mark.className = "conflict";
    mark.textContent = " ≠";
    mark.title = "raters disagree: " + others.map(([rater, rating]) => (rater || "unnamed") + " " + rating).join(", ");
    td.append(mark);
  } else if (!mine.rating && others.length) td.append("(" + others.map(([rater, rating]) => (rater || "unnamed") + ": " + rating).join(", ") + ")");
};

softcord.makeHeads = () => {
  const row = document.getElementById("heads");
  HEADS.forEach((head, i) => {
    const th = document.createElement("th"), button = document.createElement("button");
    button.textContent = head.name;
    button.title = head.title || "sort";
    button.addEventListener("click", () => {
      const same = softcord.sorting.by === i;
      softcord.sorting = { by: i, down: same ? !softcord.sorting.down : Boolean(head.down) };
      softcord.arrange();
    });
    th.append(button);
    if (head.number) th.className = "number";
    row.append(th);
  });
};

softcord.makeRow = (e) => {
  const tr = document.createElement("tr");
  tr.dataset.key = e.key;
  for (const head of HEADS) {
    const td = document.createElement("td");
    if (head.number) td.className = "number";
    if (head.cell) head.cell(e, td);
    else { td.textContent = head.text ? head.text(e) : head.value(e); td.title = head.value(e); }
    tr.append(td);
  }
  tr.words = [e.subject, e.name, e.contrast, e.source, e.origin.result, e.origin.model, entities(e), ...e.flags.map((flag) => flag.code)].join(" ").toLowerCase();
  softcord.rowOf.set(e.key, tr);
  return tr;
};

softcord.updateRow = (e) => {
  const cells = softcord.rowOf.get(e.key).children;
  for (const i of [0, 1]) { cells[i].replaceChildren(); HEADS[i].cell(e, cells[i]); }
};

// Sort and filter; rows move, none is made anew.
softcord.arrange = () => {
  const value = (id) => document.getElementById(id).value;
  const words = value("search").toLowerCase().split(/\s+/).filter(Boolean);
  const rating = value("by-rating"), flag = value("by-flag"), contrast = value("by-contrast");
  const { by, down } = softcord.sorting;
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const name = (a, b) => compare(a.subject, b.subject) || compare(a.name, b.name) || compare(a.key, b.key);
  const list = [...softcord.entries.values()];
  if (by === null) list.sort((a, b) => badness(b) - badness(a) || name(a, b));
  else list.sort((a, b) => (down ? -1 : 1) * compare(HEADS[by].value(a), HEADS[by].value(b)) || name(a, b));
  const shown = list.filter((e) => {
    const mine = softcord.mine(e.key).rating, said = softcord.said.get(e.key);
    if (rating === "none" ? mine : rating === "conflict" ? !said || new Set(said.values()).size < 2 : rating && mine !== rating) return false;
    if (flag === "none" ? e.flags.length : flag === "any" ? !e.flags.length : flag && !e.flags.some((f) => f.code === flag)) return false;
    if (contrast && e.contrast !== contrast) return false;
    const text = softcord.rowOf.get(e.key).words;
    return words.every((word) => text.includes(word));
  });
  softcord.order = shown.map((e) => e.key);
  document.getElementById("rows").replaceChildren(...shown.map((e) => softcord.rowOf.get(e.key)));
  document.getElementById("nothing").hidden = shown.length > 0;
  [...document.getElementById("heads").children].forEach((th, i) => th.setAttribute("aria-sort", i !== by ? "none" : down ? "descending" : "ascending"));
  softcord.count();
};

softcord.count = () => {
  const all = [...softcord.entries.keys()], rated = all.filter((key) => softcord.mine(key).rating).length;
  const shown = softcord.order.length === all.length ? "" : softcord.order.length + " shown of ";
  document.getElementById("counts").textContent = `${shown}${all.length} results, ${rated} rated`;
};

softcord.makeFilters = () => {
  const fill = (id, values) => {
    const select = document.getElementById(id), known = new Set([...select.options].map((option) => option.value));
    for (const value of [...new Set(values)].sort()) if (value && !known.has(value)) select.append(new Option(value, value));
  };
  const list = [...softcord.entries.values()];
  fill("by-flag", list.flatMap((e) => e.flags.map((flag) => flag.code)));
  fill("by-contrast", list.map((e) => e.contrast));
};
