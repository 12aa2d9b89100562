"use strict";
// What raters said: kept in the browser, saved to files, and sent to `softcord qc open` where it runs.

const softcord = { entries: new Map(), ratings: new Map(), report_name: "", served: location.protocol.startsWith("http") };

softcord.raterKey = (key, rater) => key + "\n" + rater;

softcord.storeKey = () => "softcord:" + softcord.report_name;

softcord.readStore = () => {
  try {
    const list = JSON.parse(localStorage.getItem(softcord.storeKey()) || "[]");
    return Array.isArray(list) ? list : [];
  } catch (error) {
    return [];
  }
};

softcord.clean = (r) => ({
  key: String(r.key || ""), source: String(r.source || ""), result: String(r.result || ""),
  rater: String(r.rater || "").slice(0, 60), rating: ["pass", "fail", "artifact"].includes(r.rating) ? r.rating : "",
  rank: /^[0-9]$/.test(String(r.rank ?? "")) ? Number(r.rank) : null,
  comment: String(r.comment || "").slice(0, 9999), time: String(r.time || ""),
});

// Take in ratings from anywhere; of two by one rater on one entry, the later counts. Returns what changed.
softcord.merge = (list) => {
  const changed = [];
  for (const raw of list) {
    const r = softcord.clean(raw);
    if (!r.key) continue;
    const id = softcord.raterKey(r.key, r.rater);
    const old = softcord.ratings.get(id);
    if (!old || old.time < r.time) {
      softcord.ratings.set(id, r);
      changed.push(r);
    }
  }
  return changed;
};

// Other tabs write here too: what they wrote is taken in before anything is written.
softcord.keep = () => {
  softcord.merge(softcord.readStore());
  try {
    localStorage.setItem(softcord.storeKey(), JSON.stringify([...softcord.ratings.values()]));
    return true;
  } catch (error) {
    return false;
  }
};

softcord.mine = (key) => softcord.ratings.get(softcord.raterKey(key, softcord.rater())) ||
  { rating: "", rank: null, comment: "" };

softcord.of = (key) => [...softcord.ratings.values()].filter((r) => r.key === key && (r.rating || r.rank !== null || r.comment));

softcord.verdicts = () => {
  const found = new Map();
  for (const r of softcord.ratings.values()) {
    if (!r.rating) continue;
    if (!found.has(r.key)) found.set(r.key, new Map());
    found.get(r.key).set(r.rater, r.rating);
  }
  return found;
};

// Always later than what it replaces, also where a clock goes backwards.
softcord.now = (old) => {
  let time = new Date();
  if (old && new Date(old) >= time) time = new Date(new Date(old).getTime() + 1);
  return time.toISOString();
};

softcord.rate = (key, change) => {
  const entry = softcord.entries.get(key), rater = softcord.rater();
  const old = softcord.ratings.get(softcord.raterKey(key, rater));
  const r = softcord.clean({ ...(old || {}), ...change, key, rater, source: entry.source,
    result: entry.origin.result, time: softcord.now(old && old.time) });
  softcord.ratings.set(softcord.raterKey(key, rater), r);
  const kept = softcord.keep();
  if (softcord.served) softcord.sync();
  else softcord.say(kept ? "kept in this browser; save a file to hand back" : "NOT KEPT: this browser stores nothing. Save a file.", !kept);
};

// ---- the server

softcord.sync = async () => {
  if (softcord.syncing) { softcord.again = true; return; }
  softcord.syncing = true;
  try {
    const reply = await fetch("ratings", { cache: "no-store" });
    if (!reply.ok) throw new Error(reply.status);
    const theirs = await reply.json();
    const known = new Map(theirs.map((r) => [softcord.raterKey(r.key, r.rater), r.time]));
    if (softcord.merge(theirs).length) { softcord.keep(); softcord.refresh(); }
    // what is kept of an entry that was removed stays here: the folder takes no rating of it
    const unsent = [...softcord.ratings.values()].filter((r) => softcord.entries.has(r.key) && (known.get(softcord.raterKey(r.key, r.rater)) || "") < r.time);
    if (unsent.length) {
      const sent = await fetch("ratings", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(unsent) });
      if (!sent.ok) throw new Error(sent.status);
    }
    softcord.say("saved in the folder");
  } catch (error) {
    softcord.say("NOT SAVED in the folder: softcord qc open does not answer. Kept in this browser until it runs again.", true);
  } finally {
    softcord.syncing = false;
    if (softcord.again) { softcord.again = false; softcord.sync(); }
  }
};

// ---- files

softcord.yamlText = (text) => /^[A-Za-z0-9_.\/][A-Za-z0-9_.\/+@=,-]*$/.test(text) ? text
  : JSON.stringify(text).replace(/[\u007f-\uffff]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));

softcord.asYaml = (rating) => {
  const groups = { FILES_SEG: [], FILES_LABEL: [] };
  for (const [key, said] of softcord.verdicts()) {
    const entry = softcord.entries.get(key);
    if (!entry || said.get(softcord.rater()) !== rating) continue;
    const list = groups[entry.kind === "labels" ? "FILES_LABEL" : "FILES_SEG"];
    if (!list.includes(entry.source)) list.push(entry.source);
  }
  return Object.entries(groups).filter(([, list]) => list.length)
    .map(([name, list]) => name + ":\n" + list.map((file) => "- " + softcord.yamlText(file) + "\n").join("")).join("") || "{}\n";
};

const COLUMNS = ["key", "source", "result", "subject", "contrast", "rating", "rank", "rater", "time", "comment"];

softcord.asRows = () => [...softcord.ratings.values()].filter((r) => r.rating || r.rank !== null || r.comment).map((r) => {
  const entry = softcord.entries.get(r.key) || {};
  return { ...r, subject: entry.subject || "", contrast: entry.contrast || "" };
});

softcord.asTsv = () => {
  const cell = (value) => { const text = String(value ?? ""); return /["\t\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text; };
  return [COLUMNS, ...softcord.asRows().map((r) => COLUMNS.map((name) => r[name]))].map((row) => row.map(cell).join("\t") + "\n").join("");
};

softcord.asJson = () => JSON.stringify({ softcord_ratings: 1, report: softcord.report_name, ratings: softcord.asRows() }, null, 1) + "\n";

softcord.fromTsv = (text) => {
  const rows = [[""]];
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i], row = rows[rows.length - 1];
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') { row[row.length - 1] += c; i++; }
      else if (c === '"') quoted = false;
      else row[row.length - 1] += c;
    } else if (c === '"' && row[row.length - 1] === "") quoted = true;
    else if (c === "\t") row.push("");
    else if (c === "\n") rows.push([""]);
    else if (c !== "\r") row[row.length - 1] += c;
  }
  const [names, ...values] = rows.filter((row) => row.length > 1);
  return (values || []).map((row) => Object.fromEntries(names.map((name, i) => [name, row[i] ?? ""])));
};

// SCT's form: lists of files under FILES_…; of each, its full path or only its name is known.
softcord.fromYaml = (text, name) => {
  const rating = ["artifact", "fail", "pass"].find((word) => name.toLowerCase().includes(word));
  if (!rating) throw new Error(name + ": call the file qc_fail.yml or qc_artifact.yml, so that it says what is in it");
  const found = [];
  for (const line of text.split(/\r?\n/)) {
    const item = /^\s*-\s+(.*?)\s*$/.exec(line);
    if (!item) continue;
    let file = item[1];
    if (file.startsWith('"')) file = JSON.parse(file);
    else if (file.startsWith("'")) file = file.slice(1, -1).replaceAll("''", "'");
    const entries = [...softcord.entries.values()];
    let hits = entries.filter((e) => e.source === file);
    if (!hits.length) hits = entries.filter((e) => e.name === file.split(/[\/\\]/).pop());
    if (hits.length && new Set(hits.map((e) => e.source)).size === 1) {
      for (const e of hits) found.push({ key: e.key, source: e.source, result: e.origin.result, rater: softcord.rater(), rating });
    } else found.push(null);
  }
  return found;
};

softcord.load = async (files) => {
  let taken = 0, unknown = 0;
  for (const file of files) {
    const text = (await file.text()).replace(/^\ufeff/, "");
    let list;
    if (/\.ya?ml$/i.test(file.name)) {
      list = softcord.fromYaml(text, file.name).map((r) => {
        if (!r) return null;
        const old = softcord.ratings.get(softcord.raterKey(r.key, r.rater));
        return { ...(old || {}), ...r, time: softcord.now(old && old.time) };
      });
    } else {
      list = /\.json$/i.test(file.name) ? JSON.parse(text).ratings : softcord.fromTsv(text);
      if (!Array.isArray(list)) throw new Error(file.name + ": holds no ratings");
    }
    const known = list.filter((r) => r && softcord.entries.has(r.key));
    unknown += list.length - known.length;
    taken += softcord.merge(known).length;
  }
  softcord.keep();
  softcord.refresh();
  if (softcord.served) await softcord.sync();
  softcord.say(taken + " ratings loaded" + (unknown ? ", " + unknown + " of files that are not on this page (or not by one name)" : ""), unknown > 0);
};

softcord.saveFile = (name, text) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
