// An exposure beside another one: the address ends in #compare=NAME.
"use strict";

(() => {
  const el = visql.el;
  const NAME = /^[\w][\w.+-]*$/;

  // The group of an exposure: as its name tells, else the one of this page.
  function group(name) {
    const own = document.querySelector("[data-compare]").dataset;
    const found = own.inName ? new RegExp(own.inName).exec(name) : null;
    return own.inName ? (found ? found[1] : "") : own.group;
  }

  async function table(name) {
    const key = group(name);
    if (!key) return null;
    try {
      await visql.load(`data/${key}.js`);
    } catch {
      return null;
    }
    const data = visql.groups[key];
    const at = Object.fromEntries(data.columns.map((column, i) => [column.key, i]));
    const row = data.rows.find((r) => r[at.name] === name);
    return row ? { data, row } : null;
  }

  function text(found, i) {
    const column = found.data.columns[i];
    const value = found.row[i];
    if (column.kind === "status") return visql.pill(found.data.statuses[value]);
    if (column.kind === "number") return visql.number(value, column.digits);
    return column.kind === "time" ? value.replace("T", " ") : String(value);
  }

  function numbers(a, b) {
    const body = el("tbody", {});
    const place = a.data.columns.findIndex((column) => column.key === "name");
    const names = [a, b].map((found) => el("th", { scope: "col", class: "mono" }, found.row[place]));
    const head = el("thead", {}, el("tr", {}, el("td", {}), ...names));
    a.data.columns.forEach((column, i) => {
      if (column.key === "name" || (a.row[i] === null && b.row[i] === null)) return;
      const label = column.unit ? `${column.label} [${column.unit}]` : column.label;
      body.append(el("tr", {}, el("th", { scope: "row" }, label), el("td", {}, text(a, i)), el("td", {}, text(b, i))));
    });
    return el("div", { class: "wide across" }, el("table", {}, head, body));
  }

  function address(pattern, name, ending) {
    const safe = encodeURIComponent(name);
    const fields = document.querySelector("[data-compare]").dataset.fields.split(" ");
    const words = group(name).split("/");
    const filled = fields.reduce((path, field, i) => path.replaceAll(`{${field}}`, words[i]), pattern);
    return filled.replaceAll("{exposure}", safe).replace("{ending}", ending);
  }

  function picture(pattern, name, ending, title) {
    const source = address(pattern, name, ending);
    const image = el("img", { src: source, alt: `${title}, ${name}`, loading: "lazy", on: {
      error: () => link.replaceWith(el("p", { class: "none" }, "not there")),
    } });
    const link = el("a", { href: source }, image);
    return el("figure", {}, link);
  }

  async function compare(box, name) {
    const out = document.getElementById("compared");
    if (!name || !NAME.test(name)) {
      out.replaceChildren();
      return;
    }
    const own = box.dataset.compare;
    const [a, b] = [await table(own), await table(name)];
    const parts = [el("h3", {}, `${own} and ${name}`)];
    if (!b) parts.push(el("p", { class: "none across" }, "No such exposure on this site."));
    else {
      parts.push(el("p", { class: "across" }, el("a", { href: `${visql.up}exposures/${group(name)}/${encodeURIComponent(name)}.html` }, `Page of ${name}`)));
      if (a) parts.push(numbers(a, b));
      for (const figure of document.querySelectorAll("[data-ending]")) {
        const [ending, title] = [figure.dataset.ending, figure.dataset.title];
        parts.push(el("h3", {}, title), picture(box.dataset.pattern, own, ending, title), picture(box.dataset.pattern, name, ending, title));
      }
    }
    out.replaceChildren(...parts);
    out.scrollIntoView({ block: "start" });
  }

  function start() {
    const box = document.querySelector("[data-compare]");
    if (!box) return;
    const input = document.getElementById("compare");
    const follow = () => {
      const name = new URLSearchParams(location.hash.slice(1)).get("compare") || "";
      input.value = name || input.value;
      compare(box, name);
    };
    input.addEventListener("focus", async () => {
      const found = await table(box.dataset.compare);
      const list = document.getElementById("exposures");
      if (!found || list.children.length) return;
      const place = found.data.columns.findIndex((column) => column.key === "name");
      list.append(...found.data.rows.map((row) => el("option", { value: row[place] })));
    }, { once: true });
    box.addEventListener("submit", (event) => {
      event.preventDefault();
      location.hash = input.value.trim() ? `compare=${encodeURIComponent(input.value.trim())}` : "";
    });
    box.querySelector("[data-none]").addEventListener("click", () => {
      input.value = "";
      location.hash = "";
    });
    window.addEventListener("hashchange", follow);
    if (location.hash.includes("compare=")) follow();
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
