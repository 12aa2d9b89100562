"use strict";
// The page as a whole: load the rows, show the entry that is chosen, listen to keys.

const $ = (id) => document.getElementById(id);
const PACK = 100, BATCH = 128, MOST_KEPT = 24;

softcord.loaded = new Map(); // key -> promise of an entry's pictures
softcord.waiting = new Map();
softcord.current = null;
softcord.said = new Map();
softcord.rater = () => $("rater").value.trim();
softcord.say = (text, isBad) => { $("saved").textContent = text; $("saved").className = isBad ? "bad" : ""; };

// ---- what the scripts of the folder call

softcord.report = (name) => { softcord.report_name = name; };
softcord.add = (record) => {
  const old = softcord.entries.get(record.key);
  if (!old || old.drawn <= record.drawn) softcord.entries.set(record.key, record);
};
softcord.entry = (entry) => { softcord.waiting.get("entry " + entry.record.key)?.(entry); };
softcord.volume = (key, content) => { softcord.waiting.get("volume " + key)?.(content); };

softcord.script = (address) => new Promise((resolve) => {
  const element = document.createElement("script");
  element.async = true;
  const done = (isThere) => { element.remove(); resolve(isThere); };
  element.onload = () => done(true);
  element.onerror = () => done(false);
  element.src = address;
  document.head.append(element);
});

// Full blocks of rows first; then row by row, until half a batch is missing: rows may have been removed.
softcord.loadRows = async () => {
  let packs = 0;
  for (let there = [true]; there.every(Boolean); packs += there.filter(Boolean).length) {
    const first = packs;
    there = await Promise.all(Array.from({ length: 4 }, (_, i) => softcord.script(`index/pack-${first + i}.js`)));
    const missing = there.indexOf(false);
    if (missing >= 0) there.fill(false, missing);
  }
  for (let start = packs * PACK; ; start += BATCH) {
    const there = await Promise.all(Array.from({ length: BATCH }, (_, i) => softcord.script(`index/${start + i}.js`)));
    if (!there.slice(BATCH / 2).some(Boolean)) return;
  }
};

softcord.ask = async (kind, folder, key) => {
  let content = null;
  softcord.waiting.set(kind + " " + key, (value) => { content = value; });
  await softcord.script(`${folder}/${encodeURIComponent(key)}.js`);
  softcord.waiting.delete(kind + " " + key);
  return content;
};

softcord.fetchEntry = (key) => {
  if (!softcord.loaded.has(key)) {
    softcord.loaded.set(key, softcord.ask("entry", "entries", key).then(async (entry) => {
      if (entry) await Promise.all([softcord.prepareView(entry.axial), softcord.prepareView(entry.sagittal)]);
      return entry;
    }));
  } else { // used again: it goes last
    const kept = softcord.loaded.get(key);
    softcord.loaded.delete(key);
    softcord.loaded.set(key, kept);
  }
  while (softcord.loaded.size > MOST_KEPT) softcord.loaded.delete(softcord.loaded.keys().next().value);
  return softcord.loaded.get(key);
};

// ---- the chosen entry

softcord.show = async (key) => {
  if (softcord.current) softcord.rowOf.get(softcord.current)?.classList.remove("current");
  softcord.current = key;
  softcord.closeViewer();
  $("detail").hidden = !key;
  if (!key) return;
  const record = softcord.entries.get(key), row = softcord.rowOf.get(key);
  row.classList.add("current");
  row.scrollIntoView({ block: "nearest" });
  softcord.describe(record);
  let entry = null, problem = "The pictures of this entry are missing: its file was removed, or is being written.";
  try { entry = await softcord.fetchEntry(key); } catch (error) { problem = "This entry cannot be drawn: " + error.message; }
  if (softcord.current !== key) return; // someone was faster
  $("problem").hidden = Boolean(entry);
  $("problem").textContent = entry ? "" : problem;
  $("views").hidden = $("curve").hidden = !entry;
  if (!entry) { softcord.loaded.delete(key); return; }
  softcord.shown = entry;
  softcord.drawGrey($("axial").querySelector(".grey"), entry.axial);
  softcord.drawGrey($("sagittal").querySelector(".grey"), entry.sagittal);
  // a long cord must not push the curve off the screen
  $("sagittal").style.width = `min(100%, max(6rem, ${(100 * entry.sagittal.width / entry.sagittal.height).toFixed(1)}vh - 32rem * ${(entry.sagittal.width / entry.sagittal.height).toFixed(3)}))`;
  softcord.overlay();
  softcord.drawCurve($("curve"), entry.curve);
  softcord.drawScale($("scale"), record, entry.labels);
  document.body.dataset.shown = key;
  const at = softcord.order.indexOf(key);
  for (const next of [at + 1, at + 2]) if (softcord.order[next]) softcord.fetchEntry(softcord.order[next]).catch(() => null);
};

softcord.look = () => ({ on: $("overlay").checked, style: $("style").value, opacity: $("opacity").value / 100, threshold: Number($("threshold").value) || 0.5 });

softcord.overlay = () => {
  const entry = softcord.shown;
  if (!entry) return;
  for (const id of ["axial", "sagittal"]) {
    softcord.drawOver($(id).querySelector(".over"), entry[id], softcord.look(), entry.record.kind === "labels");
    $(id).querySelector(".grey").style.filter = `brightness(${$("brightness").value}%) contrast(${$("contrast").value}%)`;
  }
};

softcord.describe = (record) => {
  $("title").textContent = [record.subject, record.name].filter(Boolean).join("  ·  ");
  $("result").textContent = record.origin.result.split("/").pop();
  $("threshold").value = Math.max(0.01, record.origin.threshold);
  const flags = $("flags");
  flags.replaceChildren();
  if (!record.flags.length) { flags.textContent = "No flags."; flags.className = "fine"; }
  else {
    flags.className = "";
    for (const flag of record.flags) {
      const line = document.createElement("span"), mark = document.createElement("span");
      mark.className = "flag";
      mark.textContent = flag.code;
      line.append(mark, " " + flag.reason);
      flags.append(line);
    }
  }
  const facts = {
    "Image": record.source, "Segmentation": record.origin.result, "Grid": record.grid,
    "Volume": record.volume_mm3.toFixed(0) + " mm³", "Mean area": record.mean_area_mm2.toFixed(1) + " mm² across the cord",
    "Volume of a series": record.origin.volumes === "mean" ? "" : String(record.origin.volumes), "Model": [record.origin.model, record.origin.version, record.origin.sha256].filter(Boolean).join(" "),
    "Made": record.origin.date, "Others": "",
  };
  const others = softcord.of(record.key).filter((r) => r.rater !== softcord.rater());
  facts.Others = others.map((r) => `${r.rater || "unnamed"}: ${r.rating || "–"}${r.rank === null ? "" : ", rank " + r.rank}${r.comment ? ", “" + r.comment + "”" : ""}`).join("; ");
  $("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value).map(([name, value]) => {
    const tr = document.createElement("tr"), th = document.createElement("th"), td = document.createElement("td");
    th.textContent = name;
    td.textContent = value;
    tr.append(th, td);
    return tr;
  }));
  softcord.showJudgement();
};

softcord.showJudgement = () => {
  if (!softcord.current) return;
  const mine = softcord.mine(softcord.current);
  for (const button of document.querySelectorAll("[data-rating]")) button.setAttribute("aria-pressed", String(button.dataset.rating === mine.rating));
  $("rank").value = mine.rank ?? "";
  if (document.activeElement !== $("comment")) $("comment").value = mine.comment;
};

// ---- rating

softcord.change = (change, key = softcord.current) => {
  if (!key) return;
  softcord.rate(key, change);
  softcord.said = softcord.verdicts();
  softcord.updateRow(softcord.entries.get(key));
  if (key === softcord.current) softcord.showJudgement();
  softcord.count();
};

// After ratings came from elsewhere
softcord.refresh = () => {
  softcord.said = softcord.verdicts();
  for (const e of softcord.entries.values()) softcord.updateRow(e);
  if (softcord.current) softcord.describe(softcord.entries.get(softcord.current));
  softcord.count();
};

softcord.cycle = () => {
  const order = ["", "pass", "fail", "artifact"];
  softcord.change({ rating: order[(order.indexOf(softcord.mine(softcord.current).rating) + 1) % order.length] });
};

softcord.move = (step) => {
  const n = softcord.order.length, at = softcord.order.indexOf(softcord.current);
  if (!n) return;
  const next = at < 0 ? 0 : Math.min(n - 1, Math.max(0, at + step));
  if (softcord.order[next] !== softcord.current) softcord.show(softcord.order[next]);
};

softcord.nextUnrated = () => {
  const n = softcord.order.length, at = softcord.order.indexOf(softcord.current);
  for (let i = 1; i <= n; i++) {
    const key = softcord.order[(at + i) % n];
    if (!softcord.mine(key).rating) { softcord.show(key); return; }
  }
  softcord.say("All that are shown are rated.");
};

// ---- keys and clicks

const KEYS = {
  ArrowDown: () => softcord.move(1), j: () => softcord.move(1), ArrowUp: () => softcord.move(-1), k: () => softcord.move(-1),
  ArrowRight: () => { $("overlay").checked = !$("overlay").checked; softcord.overlay(); },
  o: () => KEYS.ArrowRight(),
  l: () => { $("style").selectedIndex = ($("style").selectedIndex + 1) % 3; softcord.overlay(); },
  f: () => softcord.cycle(), n: () => softcord.nextUnrated(), v: () => softcord.toggleViewer(),
  c: () => $("comment").focus(), "/": () => { $("search").focus(); $("search").select(); },
  "?": () => ($("keys").open ? $("keys").close() : $("keys").showModal()),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const where = event.target;
  const isTyping = where instanceof HTMLElement && (where.matches("textarea, select") || (where.matches("input") && !["checkbox", "range"].includes(where.type)));
  if (isTyping) {
    if (event.key === "Escape" || event.key === "Enter") where.blur();
    return;
  }
  if ($("keys").open && event.key !== "?") return;
  if (/^[0-9]$/.test(event.key) && softcord.current) {
    const mine = softcord.mine(softcord.current);
    softcord.change({ rank: mine.rank === Number(event.key) ? null : Number(event.key) });
  } else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});

$("rows").addEventListener("click", (event) => { const row = event.target.closest("tr"); if (row) softcord.show(row.dataset.key); });
for (const id of ["search", "by-rating", "by-flag", "by-contrast"]) $(id).addEventListener("input", softcord.arrange);
for (const id of ["overlay", "style", "opacity", "threshold", "brightness", "contrast"]) $(id).addEventListener("input", softcord.overlay);
for (const id of ["overlay", "style"]) $(id).addEventListener("change", () => $(id).blur());
$("worst").addEventListener("click", () => { softcord.sorting = { by: null, down: false }; softcord.arrange(); });
for (const button of document.querySelectorAll("[data-rating]")) {
  button.addEventListener("click", () => { softcord.change({ rating: softcord.mine(softcord.current).rating === button.dataset.rating ? "" : button.dataset.rating }); button.blur(); });
}
for (let rank = 0; rank < 10; rank++) $("rank").append(new Option(rank, rank));
$("rank").addEventListener("change", () => { softcord.change({ rank: $("rank").value === "" ? null : Number($("rank").value) }); $("rank").blur(); });
$("comment").addEventListener("focus", () => { $("comment").dataset.key = softcord.current; });
$("comment").addEventListener("change", () => softcord.change({ comment: $("comment").value }, $("comment").dataset.key));
$("next").addEventListener("click", () => { softcord.nextUnrated(); $("next").blur(); });
$("view").addEventListener("click", () => { softcord.toggleViewer(); $("view").blur(); });
$("help").addEventListener("click", () => KEYS["?"]());
$("rater").addEventListener("change", () => {
  try { localStorage.setItem("softcord:rater", softcord.rater()); } catch (error) { /* said when rating */ }
  softcord.refresh();
});
$("theme").addEventListener("click", () => {
  const isDark = getComputedStyle(document.body).colorScheme.includes("dark");
  document.documentElement.dataset.theme = isDark ? "light" : "dark";
  try { localStorage.setItem("softcord:theme", isDark ? "light" : "dark"); } catch (error) { /* only a colour */ }
});
for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => {
    const kind = button.dataset.save;
    if (kind === "tsv") softcord.saveFile("qc_ratings.tsv", softcord.asTsv());
    else if (kind === "json") softcord.saveFile("qc_ratings.json", softcord.asJson());
    else softcord.saveFile(`qc_${kind}.yml`, softcord.asYaml(kind));
    $("files").open = false;
  });
}
$("load").addEventListener("change", async () => {
  try { await softcord.load([...$("load").files]); } catch (error) { softcord.say(error.message, true); }
  $("load").value = "";
  $("files").open = false;
});
window.addEventListener("storage", (event) => { if (event.key === softcord.storeKey() && softcord.merge(softcord.readStore()).length) softcord.refresh(); });

// ---- start

window.addEventListener("DOMContentLoaded", async () => {
  try {
    $("rater").value = localStorage.getItem("softcord:rater") || "";
    const theme = localStorage.getItem("softcord:theme");
    if (theme) document.documentElement.dataset.theme = theme;
  } catch (error) { softcord.say("NOT KEPT: this browser stores nothing. Save a file.", true); }
  softcord.makeHeads();
  $("counts").textContent = "loading…";
  if (softcord.served) for (const record of await (await fetch("rows")).json()) softcord.add(record);
  else await softcord.loadRows();
  softcord.merge(softcord.readStore());
  softcord.said = softcord.verdicts();
  for (const e of softcord.entries.values()) softcord.makeRow(e);
  softcord.makeFilters();
  softcord.arrange();
  document.body.dataset.ready = softcord.entries.size;
  if (softcord.order.length) softcord.show(softcord.order[0]);
  if (softcord.served) {
    await softcord.sync();
    setInterval(() => { if (!document.hidden) softcord.sync(); }, 4000);
  }
});
