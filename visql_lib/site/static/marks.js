// Seen exposures and notes on them: in this browser, and those the site was built with.
"use strict";

(() => {
  const KEY = "marks";
  const listeners = [];
  let own = clean(visql.store.get(KEY, {}));

  function clean(marks) {
    const found = {};
    if (marks === null || typeof marks !== "object") return found;
    for (const [name, mark] of Object.entries(marks)) {
      if (mark === null || typeof mark !== "object") continue;
      found[name] = { seen: Boolean(mark.seen), note: String(mark.note || "").slice(0, 2000), at: String(mark.at || "") };
    }
    return found;
  }

  function merged(a, b) {
    const found = { ...a };
    for (const [name, mark] of Object.entries(b)) {
      if (!found[name] || mark.at > found[name].at) found[name] = mark;
    }
    return found;
  }

  const all = () => merged(clean(visql.shared || {}), own);

  function tell() {
    for (const listener of listeners) listener();
  }

  visql.marks = {
    get: (name) => all()[name] || { seen: false, note: "", at: "" },
    all,
    onChange: (listener) => listeners.push(listener),
    set(name, change) {
      own = clean(visql.store.get(KEY, {})); // another tab may have written
      own[name] = { ...this.get(name), ...change, at: new Date().toISOString() };
      if (!visql.store.set(KEY, own)) visql.hint("this browser remembers nothing: export your marks");
      tell();
    },
    exportFile() {
      const text = JSON.stringify({ visql_marks: 1, marks: all() }, null, 1);
      visql.download(`visql_marks_${new Date().toISOString().slice(0, 10)}.json`, "application/json", text);
    },
    async importFile(file) {
      try {
        const values = JSON.parse(await file.text());
        if (values.visql_marks !== 1) throw new TypeError("not marks");
        const marks = clean(values.marks);
        own = merged(own, marks);
        visql.store.set(KEY, own);
        visql.hint(`${Object.keys(marks).length} marks read`);
        tell();
      } catch {
        visql.hint("that is not a file of marks");
      }
    },
  };

  function start() {
    for (const button of document.querySelectorAll("[data-marks=export]")) {
      button.addEventListener("click", () => visql.marks.exportFile());
    }
    for (const input of document.querySelectorAll("input[data-marks=import]")) {
      input.addEventListener("change", async () => {
        if (input.files[0]) await visql.marks.importFile(input.files[0]);
        input.value = "";
      });
    }
    const box = document.querySelector("[data-mark]");
    if (!box) return;
    const name = box.dataset.mark;
    const [seen, note] = [box.querySelector("input[type=checkbox]"), box.querySelector("textarea")];
    const show = () => {
      const mark = visql.marks.get(name);
      seen.checked = mark.seen;
      if (document.activeElement !== note) note.value = mark.note;
    };
    seen.addEventListener("change", () => visql.marks.set(name, { seen: seen.checked }));
    note.addEventListener("change", () => visql.marks.set(name, { note: note.value }));
    visql.marks.onChange(show);
    show();
  }

  window.addEventListener("storage", (event) => {
    if (event.key !== "visql." + KEY) return;
    own = clean(visql.store.get(KEY, {}));
    tell();
  });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
