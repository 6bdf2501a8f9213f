// The plots of a page: dark and light paper, days shown, groups and exposures hidden.
// Bokeh draws them; what changes with the paper stands in the tags of its models.
"use strict";

(() => {
  const DAY = 86400000;
  let wanted = null; // names of the exposures to show, null: all

  function documents() {
    return (window.Bokeh && window.Bokeh.documents) || [];
  }

  function models(doc) {
    const found = new Set();
    for (const root of doc.roots()) {
      for (const model of root.references()) found.add(model);
    }
    return found;
  }

  function named(name) {
    const found = [];
    for (const doc of documents()) {
      for (const model of models(doc)) if (model.name === name) found.push(model);
    }
    return found;
  }

  // The page's own colours tell, whatever switches them.
  function isDark() {
    for (const element of [document.body, document.documentElement]) {
      const parts = (getComputedStyle(element).backgroundColor.match(/[\d.]+/g) || []).map(Number);
      if (parts.length >= 3 && (parts.length < 4 || parts[3] > 0.5)) {
        return 0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2] < 128;
      }
    }
    return false;
  }

  function paint() {
    const paper = isDark() ? "dark" : "light";
    for (const element of document.querySelectorAll("[data-plots]")) {
      element.dataset.plotsPaper = paper;
    }
    for (const doc of documents()) {
      for (const model of models(doc)) {
        for (const tag of model.tags || []) {
          if (tag && typeof tag === "object") {
            const look = tag instanceof Map ? tag.get(paper) : tag[paper];
            if (look) model.setv(look instanceof Map ? Object.fromEntries(look) : look);
          }
        }
      }
    }
  }

  function groupsShown() {
    const boxes = [...document.querySelectorAll("input[data-plots-group]")];
    return new Set(boxes.filter((box) => box.checked).map((box) => box.dataset.plotsGroup));
  }

  // One table of points and one filter for it in every set of plots.
  function filter() {
    const groups = groupsShown();
    for (const doc of documents()) {
      const all = [...models(doc)];
      for (const shown of all.filter((model) => model.name === "visql-shown")) {
        const source = all.find((model) => model.name === "visql-points" && model.tags.join() === shown.tags.join());
        if (!source) continue;
        const data = source.data instanceof Map ? Object.fromEntries(source.data) : source.data;
        const names = [...(data.name || [])];
        shown.booleans = [...data.group].map(
          (group, i) => groups.has(group) && (wanted === null || wanted.has(names[i])),
        );
      }
    }
  }

  // The exposure that the page is about is marked, and panels of its neighbours show these.
  function mark() {
    const element = document.querySelector("[data-plots-mark]");
    if (!element) return;
    for (const doc of documents()) {
      const all = [...models(doc)];
      for (const chosen of all.filter((model) => model.name === "visql-mark")) {
        const own = (model) => model.tags.filter((tag) => typeof tag === "string").join() === chosen.tags.join();
        const source = all.find((model) => model.name === "visql-points" && own(model));
        if (!source) continue;
        const data = source.data instanceof Map ? Object.fromEntries(source.data) : source.data;
        const at = [...data.name].indexOf(element.dataset.plotsMark);
        chosen.booleans = [...data.name].map((_, i) => i === at);
        if (at < 0) continue;
        for (const line of all.filter((model) => model.name === "visql-mark-line" && own(model))) {
          line.location = data.t[at];
        }
        for (const range of all.filter((model) => model.name === "visql-around" && own(model))) {
          const reach = 10.5;
          range.setv({ start: data.t[at] - reach, end: data.t[at] + reach });
          range.setv({ reset_start: data.t[at] - reach, reset_end: data.t[at] + reach });
        }
      }
    }
  }

  function showDays(days) {
    for (const doc of documents()) {
      for (const model of models(doc)) {
        if (model.type !== "Range1d") continue;
        const { reset_start: start, reset_end: end } = model;
        if (days === "all") model.setv({ start, end });
        else if (model.name === "visql-time") model.setv({ start: Math.max(start, end - days * DAY), end });
      }
    }
  }

  function listen() {
    for (const button of document.querySelectorAll("button[data-plots-days]")) {
      const days = button.dataset.plotsDays;
      button.addEventListener("click", () => showDays(days === "all" ? days : Number(days)));
    }
    for (const box of document.querySelectorAll("input[data-plots-group]")) {
      box.addEventListener("change", filter);
    }
    const watcher = new MutationObserver(paint);
    const options = { attributes: true, attributeFilter: ["class", "style", "data-theme"] };
    watcher.observe(document.documentElement, options);
    watcher.observe(document.body, options);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
    window.addEventListener("pageshow", forget);
  }

  // Coming back to the page, a click on the same point must count again.
  function forget() {
    for (const source of named("visql-points")) source.selected.indices = [];
  }

  // Bokeh fills its list of documents some time after the page is there.
  function whenDrawn(left) {
    const expected = document.querySelectorAll("[data-plots] [data-root-id]").length;
    const there = documents().reduce((sum, doc) => sum + doc.roots().length, 0);
    if (expected && there >= expected) {
      paint();
      filter();
      mark();
    } else if (expected && left > 0) {
      setTimeout(whenDrawn, 30, left - 1);
    }
  }

  function start() {
    if (!document.querySelector("[data-plots]")) return;
    paint();
    listen();
    whenDrawn(1000);
  }

  // For the group's table: show only these exposures, all of them for null.
  window.visqlPlots = {
    show(names) {
      wanted = names === null ? null : new Set(names);
      filter();
    },
    showDays,
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
