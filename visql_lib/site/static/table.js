// The table of a group: all its exposures, filtered, sorted, and only the rows in sight drawn.
"use strict";

(() => {
  const EXTRA = 12; // rows drawn beyond each edge
  const LISTS = ["type", "class", "field"];
  const el = visql.el;

  class GroupTable {
    constructor(box, data) {
      this.box = box;
      this.data = data;
      this.group = data.group;
      this.at = Object.fromEntries(data.columns.map((column, i) => [column.key, i]));
      this.text = data.rows.map((row) => row.filter((v) => typeof v === "string").join(" ").toLowerCase());
      this.shown = [];
      this.selected = -1;
      this.pictures = visql.store.get("pictures", true);
      const known = visql.store.get("columns", null);
      const keys = Array.isArray(known) ? known : data.columns.filter((c) => c.show).map((c) => c.key);
      this.keys = data.columns.map((c) => c.key).filter((key) => keys.includes(key) || key === "date");
      this.filter = this.readHash();
      this.build();
      this.apply();
      window.addEventListener("hashchange", () => {
        const next = this.readHash();
        if (JSON.stringify(next) === JSON.stringify(this.filter)) return;
        this.filter = next;
        this.showFilter();
        this.apply();
      });
      visql.marks.onChange(() => (this.filter.unseen ? this.apply() : this.draw(true)));
      window.addEventListener("beforeprint", () => this.draw(true, true));
      window.addEventListener("afterprint", () => this.draw(true));
    }

    value(row, key) {
      return row[this.at[key]];
    }

    status(row, key) {
      return this.data.statuses[this.value(row, key)];
    }

    // --- what is asked for, as the address has it ---------------------------------------------

    readHash() {
      const filter = { q: "", lists: {}, ranges: {}, from: "", to: "", missing: false, unseen: false, sort: "date" };
      const place = new URLSearchParams(location.hash.slice(1));
      for (const [key, value] of place) {
        if (key === "q") filter.q = value;
        else if (key === "day") filter.from = filter.to = value;
        else if (key === "from" || key === "to") filter[key] = value;
        else if (key === "missing" || key === "unseen") filter[key] = value === "1";
        else if (key === "sort" && this.at[value.replace(/^-/, "")] !== undefined) filter.sort = value;
        else if (key.startsWith("r.") && this.at[key.slice(2)] !== undefined) {
          const [low, high] = value.split("..");
          filter.ranges[key.slice(2)] = [low || "", high || ""];
        } else if (this.isList(key)) (filter.lists[key] = filter.lists[key] || []).push(value);
      }
      return filter;
    }

    isList(key) {
      return LISTS.includes(key) || key === "status" || (key.startsWith("cat.") && this.at[key] !== undefined);
    }

    writeHash() {
      const f = this.filter;
      const place = new URLSearchParams();
      if (f.q) place.append("q", f.q);
      for (const [key, values] of Object.entries(f.lists)) for (const value of values) place.append(key, value);
      for (const [key, [low, high]] of Object.entries(f.ranges)) if (low || high) place.append("r." + key, `${low}..${high}`);
      for (const key of ["from", "to"]) if (f[key]) place.append(key, f[key]);
      for (const key of ["missing", "unseen"]) if (f[key]) place.append(key, "1");
      if (f.sort !== "date") place.append("sort", f.sort);
      const text = place.toString();
      if (text === location.hash.slice(1) || (!text && /^#?[a-z]*$/.test(location.hash))) return;
      try {
        history.replaceState(null, "", "#" + text);
      } catch { // a browser that forbids it for files
        location.replace("#" + text);
      }
    }

    // --- filtering and sorting ----------------------------------------------------------------

    matcher() {
      const f = this.filter;
      const tests = [];
      const words = f.q.toLowerCase().split(/\s+/).filter(Boolean);
      if (words.length) tests.push((row, i) => words.every((word) => this.text[i].includes(word)));
      for (const [key, values] of Object.entries(f.lists)) {
        if (!values.length) continue;
        const wanted = new Set(values);
        if (LISTS.includes(key)) tests.push((row) => wanted.has(this.value(row, key)));
        else tests.push((row) => wanted.has(this.status(row, key)));
      }
      for (const [key, [low, high]] of Object.entries(f.ranges)) {
        const [from, to] = [low === "" ? -Infinity : Number(low), high === "" ? Infinity : Number(high)];
        if (low === "" && high === "") continue;
        tests.push((row) => {
          const value = this.value(row, key);
          return value !== null && value >= from && value <= to;
        });
      }
      if (f.from) tests.push((row) => this.value(row, "date") >= f.from);
      if (f.to) tests.push((row) => this.value(row, "date").slice(0, 10) <= f.to);
      if (f.missing) tests.push((row) => this.value(row, "missing") > 0);
      if (f.unseen) {
        const marks = visql.marks.all();
        tests.push((row) => !marks[this.value(row, "name")]?.seen);
      }
      return (row, i) => tests.every((test) => test(row, i));
    }

    apply() {
      const started = performance.now();
      const keep = this.matcher();
      const current = this.shown[this.selected];
      this.shown = [];
      this.data.rows.forEach((row, i) => keep(row, i) && this.shown.push(i));
      const down = this.filter.sort.startsWith("-");
      const key = this.filter.sort.replace(/^-/, "");
      const place = this.at[key];
      const rows = this.data.rows;
      this.shown.sort((i, j) => {
        const [a, b] = [rows[i][place], rows[j][place]];
        if (a === b) return i - j;
        if (a === null || a === "") return 1; // what is not known comes last, both ways
        if (b === null || b === "") return -1;
        return (a < b ? -1 : 1) * (down ? -1 : 1);
      });
      this.selected = this.shown.indexOf(current);
      this.writeHash();
      this.scroller.scrollTop = 0;
      this.draw(true);
      const all = rows.length;
      const n = this.shown.length;
      this.count.textContent = n === all ? `${all} exposures` : `${n} of ${all} exposures`;
      this.clear.disabled = n === all && !this.filter.q;
      for (const menu of this.menus) menu.classList.toggle("on", menu.isOn());
      this.box.dataset.milliseconds = (performance.now() - started).toFixed(1);
      const names = n === all ? null : this.shown.map((i) => this.value(rows[i], "name"));
      window.visqlPlots?.show?.(names);
    }

    // --- drawing ------------------------------------------------------------------------------

    get rowHeight() {
      return this.pictures ? 60 : 32;
    }

    draw(anew, everything) {
      const height = this.rowHeight + 1;
      const n = this.shown.length;
      const inSight = Math.ceil((this.scroller.clientHeight || 600) / height);
      let first = Math.max(0, Math.floor(this.scroller.scrollTop / height) - EXTRA);
      let last = Math.min(n, first + inSight + 2 * EXTRA);
      if (everything) [first, last] = [0, n];
      if (!anew && first === this.first && last === this.last) return;
      [this.first, this.last] = [first, last];
      const marks = visql.marks.all();
      const rows = [];
      if (first > 0) rows.push(this.space(first * height));
      for (let place = first; place < last; place++) rows.push(this.row(place, marks));
      if (last < n) rows.push(this.space((n - last) * height));
      if (!n) rows.push(el("tr", {}, el("td", { colspan: this.keys.length + 2, class: "muted" }, "no exposure is like that")));
      this.body.replaceChildren(...rows);
    }

    space(height) {
      const cell = el("td", { colspan: this.keys.length + 2 });
      cell.style.height = `${height}px`;
      return el("tr", { class: "space", "aria-hidden": "true" }, cell);
    }

    address(row) {
      return `${visql.up}exposures/${this.group}/${encodeURIComponent(this.value(row, "name"))}.html`;
    }

    row(place, marks) {
      const i = this.shown[place];
      const row = this.data.rows[i];
      const name = this.value(row, "name");
      const mark = marks[name] || {};
      const signs = (mark.seen ? "✓" : "") + (mark.note ? "✎" : "");
      const said = [mark.seen ? "seen" : "", mark.note || ""].filter(Boolean).join(": ");
      const cells = [el("td", { class: "mark", title: said }, signs)];
      if (this.pictures) cells.push(this.picture(i, name));
      for (const key of this.keys) cells.push(this.cell(row, key));
      return el("tr", { class: place === this.selected ? "selected" : null, "data-name": name }, ...cells);
    }

    picture(i, name) {
      if (!this.data.thumbs[i]) return el("td", {});
      const source = `${visql.up}thumbs/${this.group}/${encodeURIComponent(name)}.jpg`;
      return el("td", {}, el("img", { src: source, alt: "", loading: "lazy" }));
    }

    cell(row, key) {
      const column = this.data.columns[this.at[key]];
      const value = this.value(row, key);
      if (key === "date") {
        const text = value ? value.replace("T", " ") : this.value(row, "name");
        return el("td", {}, el("a", { href: this.address(row), title: this.value(row, "name") }, text));
      }
      if (column.kind === "status") {
        const status = this.data.statuses[value];
        return el("td", {}, status === "none" && key !== "status" ? "–" : visql.pill(status));
      }
      if (column.kind === "number") return el("td", { class: "number" }, visql.number(value, column.digits));
      return el("td", { title: value.length > 40 ? value : null }, value);
    }

    header() {
      const cells = [el("th", { scope: "col" }, el("span", {}, "Mark"))];
      if (this.pictures) cells.push(el("th", { scope: "col" }, el("span", {}, "Picture")));
      for (const key of this.keys) {
        const column = this.data.columns[this.at[key]];
        const sorted = this.filter.sort === key ? "ascending" : this.filter.sort === "-" + key ? "descending" : null;
        const arrow = sorted === "ascending" ? " ↑" : sorted === "descending" ? " ↓" : "";
        const unit = column.unit ? [" ", el("span", { class: "unit" }, column.unit)] : [];
        const button = el("button", { type: "button", on: { click: () => this.sortBy(key) } }, column.label, ...unit, arrow);
        cells.push(el("th", { scope: "col", class: column.kind === "number" ? "number" : null, "aria-sort": sorted }, button));
      }
      this.head.replaceChildren(el("tr", {}, ...cells));
      this.table.style.setProperty("--row", `${this.rowHeight}px`);
    }

    sortBy(key) {
      this.filter.sort = this.filter.sort === key ? "-" + key : key;
      this.header();
      this.apply();
    }

    // --- what people use ----------------------------------------------------------------------

    build() {
      this.search = el("input", {
        type: "search", id: "search", placeholder: "Search: name, OBS_ID, finding …  ( / )", "aria-label": "Search exposures",
        on: { input: () => { this.filter.q = this.search.value; this.apply(); } },
      });
      this.count = el("span", { class: "muted", role: "status" });
      this.clear = this.button("Clear", () => { location.hash = "exposures"; });
      this.head = el("thead", {});
      this.body = el("tbody", { on: { click: (event) => this.pick(event) } });
      const caption = el("caption", { class: "skip" }, `Exposures of ${this.group}`);
      this.table = el("table", {}, caption, this.head, this.body);
      this.scroller = el("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "Exposures", on: { scroll: () => this.draw(false) } }, this.table);
      this.menus = [this.listMenu("status", "Status"), ...LISTS.map((key) => this.listMenu(key, this.data.columns[this.at[key]].label)),
        this.rangeMenu(), this.categoryMenu(), this.columnMenu()];
      const tools = [
        this.clear, this.count,
        this.button("Pictures", () => this.togglePictures()),
        this.button("CSV", () => this.csv()),
        this.button("Copy link", () => visql.copy(location.href)),
      ];
      this.box.replaceChildren(el("div", { class: "filters", role: "search" }, this.search, ...this.menus, ...tools), this.scroller);
      this.header();
      this.showFilter();
      new ResizeObserver(() => this.draw(true)).observe(this.scroller);
    }

    button(text, act) {
      return el("button", { type: "button", on: { click: act } }, text);
    }

    showFilter() {
      this.search.value = this.filter.q;
      for (const menu of this.menus) menu.show();
      this.header();
    }

    menu(label, content, isOn, show) {
      const menu = el("details", { class: "menu" }, el("summary", {}, label), el("div", {}, ...content));
      menu.isOn = isOn;
      menu.show = show;
      return menu;
    }

    check(key, value, label) {
      const box = el("input", { type: "checkbox", on: { change: () => {
        const kept = (this.filter.lists[key] || []).filter((v) => v !== value);
        this.filter.lists[key] = box.checked ? [...kept, value] : kept;
        this.apply();
      } } });
      box.show = () => { box.checked = (this.filter.lists[key] || []).includes(value); };
      return { box, label: el("label", {}, box, ...label) };
    }

    listMenu(key, label) {
      const counts = new Map();
      for (const row of this.data.rows) {
        const value = key === "status" ? this.status(row, key) : this.value(row, key);
        if (value) counts.set(value, (counts.get(value) || 0) + 1);
      }
      const order = key === "status" ? this.data.statuses.filter((s) => counts.has(s)) : [...counts.keys()].sort();
      const checks = order.map((value) => this.check(key, value,
        [key === "status" ? visql.pill(value) : value, el("small", {}, String(counts.get(value)))]));
      const menu = this.menu(label, checks.map((c) => c.label), () => Boolean(this.filter.lists[key]?.length),
        () => checks.forEach((c) => c.box.show()));
      menu.hidden = order.length < 2;
      return menu;
    }

    categoryMenu() {
      const shows = [];
      const content = this.data.columns.filter((c) => c.key.startsWith("cat.")).map((column) => {
        const present = new Set(this.data.rows.map((row) => this.status(row, column.key)));
        const checks = this.data.statuses.filter((s) => present.has(s)).map((s) => this.check(column.key, s, [visql.pill(s)]));
        shows.push(...checks.map((c) => c.box.show));
        return el("div", {}, el("strong", {}, column.label), ...checks.map((c) => c.label));
      });
      for (const [key, text] of [["missing", "with missing products"], ["unseen", "not seen yet"]]) {
        const box = el("input", { type: "checkbox", on: { change: () => { this.filter[key] = box.checked; this.apply(); } } });
        shows.push(() => { box.checked = this.filter[key]; });
        content.push(el("label", {}, box, text));
      }
      return this.menu("More", content, () => this.filter.missing || this.filter.unseen ||
        Object.entries(this.filter.lists).some(([key, list]) => key.startsWith("cat.") && list.length), () => shows.forEach((show) => show()));
    }

    rangeMenu() {
      const shows = [];
      const line = (label, kind, get, set) => {
        const inputs = [0, 1].map((side) => {
          const name = `${label} ${side ? "at most" : "at least"}`;
          const input = el("input", { type: kind, step: "any", "aria-label": name, placeholder: side ? "to" : "from",
            on: { input: () => { set(side, input.value); this.apply(); } } });
          shows.push(() => { input.value = get(side); });
          return input;
        });
        return el("div", { class: "range" }, el("span", {}, label), ...inputs);
      };
      const days = line("Day", "date", (side) => this.filter[side ? "to" : "from"], (side, v) => { this.filter[side ? "to" : "from"] = v; });
      const numbers = this.data.columns.filter((c) => c.kind === "number" && this.data.rows.some((row) => this.value(row, c.key) !== null))
        .map((c) => line(c.unit ? `${c.label} [${c.unit}]` : c.label, "number", (side) => (this.filter.ranges[c.key] || ["", ""])[side],
          (side, v) => { (this.filter.ranges[c.key] = this.filter.ranges[c.key] || ["", ""])[side] = v; }));
      return this.menu("Ranges", [days, ...numbers], () => Boolean(this.filter.from || this.filter.to ||
        Object.values(this.filter.ranges).some(([low, high]) => low || high)), () => shows.forEach((show) => show()));
    }

    columnMenu() {
      const boxes = this.data.columns.filter((c) => c.key !== "date").map((column) => {
        const box = el("input", { type: "checkbox", on: { change: () => {
          const wanted = new Set(this.keys);
          if (box.checked) wanted.add(column.key); else wanted.delete(column.key);
          this.keys = this.data.columns.map((c) => c.key).filter((key) => wanted.has(key));
          visql.store.set("columns", this.keys);
          this.header();
          this.draw(true);
        } } });
        box.checked = this.keys.includes(column.key);
        return el("label", {}, box, column.label, column.unit ? el("small", {}, column.unit) : "");
      });
      return this.menu("Columns", boxes, () => false, () => {});
    }

    togglePictures() {
      this.pictures = !this.pictures;
      visql.store.set("pictures", this.pictures);
      this.header();
      this.draw(true);
    }

    csv() {
      const quote = (value) => {
        let text = value === null ? "" : String(value);
        if (typeof value === "string" && /^[=+@\-\t]/.test(text)) text = "'" + text; // no formula for a spreadsheet
        return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
      };
      const keys = this.keys.includes("name") ? this.keys : ["name", ...this.keys];
      const columns = keys.map((key) => this.data.columns[this.at[key]]);
      const lines = [columns.map((c) => quote(c.unit && c.kind === "number" ? `${c.key} [${c.unit}]` : c.key)).join(",")];
      for (const i of this.shown) {
        const row = this.data.rows[i];
        lines.push(columns.map((c) => quote(c.kind === "status" ? this.status(row, c.key) : this.value(row, c.key))).join(","));
      }
      visql.download(`visql_${this.group}.csv`, "text/csv", lines.join("\n") + "\n");
    }

    // --- one row ------------------------------------------------------------------------------

    pick(event) {
      const line = event.target.closest("tr[data-name]");
      if (!line || event.target.closest("a")) return;
      this.selected = this.shown.findIndex((i) => this.value(this.data.rows[i], "name") === line.dataset.name);
      this.draw(true);
    }

    move(step) {
      if (!this.shown.length) return true;
      this.selected = Math.min(this.shown.length - 1, Math.max(0, this.selected + step));
      const height = this.rowHeight + 1;
      const top = this.selected * height;
      const room = this.scroller.clientHeight - 40;
      if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
      if (top + height > this.scroller.scrollTop + room) this.scroller.scrollTop = top + height - room;
      this.scroller.scrollIntoView({ block: "nearest" });
      this.draw(true);
      return true;
    }

    open() {
      const row = this.data.rows[this.shown[this.selected]];
      if (!row) return false;
      location.href = this.address(row);
      return true;
    }

    toggleSeen() {
      const row = this.data.rows[this.shown[this.selected]];
      if (!row) return;
      const name = this.value(row, "name");
      visql.marks.set(name, { seen: !visql.marks.get(name).seen });
    }
  }

  function start() {
    const box = document.querySelector("[data-table]");
    const data = box && visql.groups && visql.groups[box.dataset.table];
    if (data) visql.table = new GroupTable(box, data);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
