// What all pages share: paper, storage, elements, times, statuses, things to copy.
"use strict";
window.visql = window.visql || {};

(() => {
  const root = document.documentElement;

  visql.up = root.dataset.up || "";
  visql.icons = { ok: "✓", warn: "▲", error: "■", failed: "✖", missing: "○", unjudged: "?", none: "–" };
  visql.words = { ok: "ok", warn: "warning", error: "error", failed: "failed", missing: "missing", unjudged: "not judged", none: "nothing to judge" };

  // A browser may forbid storage; then nothing is remembered, and all else works.
  visql.store = {
    get(key, otherwise) {
      try {
        const text = localStorage.getItem("visql." + key);
        return text === null ? otherwise : JSON.parse(text);
      } catch {
        return otherwise;
      }
    },
    set(key, value) {
      try {
        localStorage.setItem("visql." + key, JSON.stringify(value));
        return true;
      } catch {
        return false;
      }
    },
  };

  // Text from data only ever becomes text: no markup is made of it.
  visql.el = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === false || value === null || value === undefined) continue;
      if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  };

  visql.pill = (status, text) =>
    visql.el("span", { class: "pill s-" + status },
      visql.el("span", { "aria-hidden": "true" }, visql.icons[status]), text || visql.words[status]);

  visql.number = (value, digits) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    const text = digits >= 8 ? value.toExponential(2) : value.toFixed(digits);
    return text.replace("-", "−");
  };

  visql.ago = (seconds) => {
    for (const [limit, size, unit] of [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"]]) {
      if (Math.round(seconds / size) * size < limit) return `${Math.max(0, Math.round(seconds / size))} ${unit}`;
    }
    return `${Math.round(seconds / 86400)} d`;
  };

  visql.since = (text) => (text ? (Date.now() - Date.parse(text)) / 1000 : NaN);

  visql.hint = (text) => {
    const box = visql.el("div", { class: "hint", role: "status" }, text);
    document.body.append(box);
    setTimeout(() => box.remove(), 1600);
  };

  visql.download = (name, type, text) => {
    const address = URL.createObjectURL(new Blob([text], { type }));
    const link = visql.el("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  };

  visql.copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // not allowed here: the old way
      const area = visql.el("textarea", {});
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    visql.hint("copied");
  };

  // Loads a script of data once; a page opened as a file may not ask for data in any other way.
  const loading = {};
  visql.load = (path) => {
    loading[path] = loading[path] || new Promise((done, failed) => {
      const script = visql.el("script", { src: visql.up + path, on: { load: done, error: failed } });
      document.head.append(script);
    });
    return loading[path];
  };

  // Paper: as the system says, until somebody chooses.
  const chosen = visql.store.get("theme", "");
  if (chosen) root.dataset.theme = chosen;
  visql.toggleTheme = () => {
    const now = root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    visql.store.set("theme", root.dataset.theme);
  };

  function heartbeat(box) {
    const beat = window.visqlHeartbeat;
    if (!beat) return;
    const silent = visql.since(beat.beat);
    const look = beat.last_look ? `last look ${visql.ago(visql.since(beat.last_look))} ago` : "no look yet";
    const limit = beat.state === "done" ? Math.max(3 * beat.interval, 300) : 300;
    let status = "ok";
    let text = `${look}; ${beat.doing || beat.state}`;
    if (beat.state === "stopped") [status, text] = ["warn", `stopped ${visql.ago(silent)} ago; ${look}`];
    else if (silent > limit) [status, text] = ["error", `no heartbeat for ${visql.ago(silent)}; ${look}`];
    else if (beat.state === "waiting" && beat.next_look) {
      text = `${look}, next in ${visql.ago(-visql.since(beat.next_look))}`;
    }
    const failure = beat.failure ? [" ", visql.pill("error", beat.failure)] : [];
    box.replaceChildren(visql.pill(status, status === "ok" ? "live" : "live mode"), " ", text, ...failure);
  }

  function start() {
    document.getElementById("theme")?.addEventListener("click", visql.toggleTheme);
    for (const box of document.querySelectorAll("[data-ago]")) {
      const text = box.dataset.ago || visql.built;
      if (text) box.textContent = `${visql.ago(visql.since(text))} ago`;
    }
    const live = document.getElementById("heartbeat");
    if (live) {
      heartbeat(live);
      setInterval(() => heartbeat(live), 10000);
    }
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-copy]");
      if (button) visql.copy(button.parentElement.querySelector("pre").textContent);
      for (const menu of document.querySelectorAll("details.menu[open]")) {
        if (!menu.contains(event.target)) menu.open = false;
      }
    });
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
