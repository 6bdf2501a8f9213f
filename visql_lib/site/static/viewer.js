// The viewer of an exposure: tiles of its focal plane with pan, zoom, stretch, overlays, and another exposure
// beside it. Needs no other file but viewer.css and the data scripts of `visql pyramid` and overlays.py.
//
// <div id="viewer" data-tiles="tiles.js" data-overlays="overlays.js" data-fallback="E.png"
//      data-label="E" data-command="how to make tiles" data-others='[{"label", "tiles", ...}]'></div>
//
// Coordinates: the view is in pixels of the mosaic, x to the right, y downwards, from the focal plane's origin, so
// that two exposures lie on each other. Under file:// a browser does not let us read the pixels of pictures:
// stretch and colours are a filter (SVG) on the whole canvas, from 256 grey levels to colours.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const VIRIDIS = ["440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725"];
  const CACHE = 400; // tiles kept per exposure: 100 MB
  const EDGE = 8; // grey levels below: no pixel
  const STORE = "visql.viewer";
  let count = 0;

  // Elements and data ------------------------------------------------------------------------------------

  function make(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (name === "class" || name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children);
    return element;
  }

  const scripts = new Map();

  // Data come as scripts that put them into window[variable] under the address they were asked for with.
  function load(variable, address) {
    if (!address) return Promise.resolve(null);
    if (!scripts.has(address)) {
      scripts.set(address, new Promise((resolve) => {
        const script = document.createElement("script");
        script.setAttribute("src", address);
        script.onload = () => resolve((window[variable] || {})[address] || null);
        script.onerror = () => resolve(null);
        document.head.append(script);
      }));
    }
    return scripts.get(address);
  }

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const signed = (value, digits) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
  const rgb = (text) => [0, 2, 4].map((i) => parseInt(text.slice(i, i + 2), 16));

  function viridis(t) {
    const at = t * (VIRIDIS.length - 1);
    const i = Math.min(VIRIDIS.length - 2, Math.floor(at));
    const [a, b] = [rgb(VIRIDIS[i]), rgb(VIRIDIS[i + 1])];
    return a.map((c, k) => (c + (b[k] - c) * (at - i)) / 255);
  }

  // Grey levels (0-255) and pixel values (ADU), as Stretch of visql_lib/frames/pyramid.py.
  class Scale {
    constructor(stretch) {
      this.s = stretch;
      this.low = Math.asinh((stretch.low - stretch.zero) / stretch.soft);
      const high = Math.asinh((stretch.high - stretch.zero) / stretch.soft);
      this.step = (high - this.low) / (stretch.brightest - stretch.darkest);
    }
    grey(adu) {
      return this.s.darkest + (Math.asinh((adu - this.s.zero) / this.s.soft) - this.low) / this.step;
    }
    adu(grey) {
      return this.s.zero + this.s.soft * Math.sinh(this.low + (grey - this.s.darkest) * this.step);
    }
  }

  // One exposure -----------------------------------------------------------------------------------------

  class Pane {
    constructor(viewer, source) {
      this.viewer = viewer;
      this.source = source;
      this.tiles = new Map();
      this.id = `visql-viewer-${(count += 1)}`;
      this.image = make("canvas", { class: "vv-image", "aria-hidden": "true" });
      this.over = make("canvas", { class: "vv-over", "aria-hidden": "true" });
      this.stage = make("div", { class: "vv-stage", tabIndex: 0, role: "application" }, this.image, this.over);
      this.stage.setAttribute("aria-roledescription", "zoomable picture");
      this.stage.setAttribute("aria-label", `Focal plane of ${source.label}: drag or arrow keys move it, plus and minus zoom, 0 shows all`);
      this.caption = make("div", { class: "vv-caption", textContent: source.label });
      this.readout = make("div", { class: "vv-readout", textContent: "\u00a0" });
      this.root = make("div", { class: "vv-pane" }, this.caption, this.stage, this.readout);
      this.makeFilter();
      this.ready = Promise.all([load("visqlTiles", source.tiles), load("visqlOverlays", source.overlays)]).then(
        ([data, overlays]) => this.start(data, overlays));
    }

    makeFilter() {
      const element = (name, attributes, ...children) => {
        const found = document.createElementNS(SVG, name);
        for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
        found.append(...children);
        return found;
      };
      this.functions = ["R", "G", "B"].map((c) => element(`feFunc${c}`, { type: "table" }));
      const transfer = element("feComponentTransfer", {}, ...this.functions);
      const place = { id: this.id, x: 0, y: 0, width: "100%", height: "100%", "color-interpolation-filters": "sRGB" };
      const svg = element("svg", { class: "vv-defs", "aria-hidden": "true", width: 0, height: 0 },
        element("filter", place, transfer));
      this.root.append(svg);
      this.image.style.filter = `url(#${this.id})`;
    }

    start(data, overlays) {
      if (!data || data.failed || !data.levels) {
        this.fallBack(data ? data.failed : "");
        return;
      }
      this.data = data;
      this.overlays = overlays;
      this.scale = new Scale(data.stretch);
      this.levels = data.levels;
      this.coarsest = this.levels[this.levels.length - 1];
      this.folder = this.source.tiles.slice(0, this.source.tiles.lastIndexOf("/") + 1);
      this.pa = data.pa ?? (overlays ? overlays.pa : null);
    }

    // Without tiles there is the thumbnail; text from data goes in as text only.
    fallBack(reason) {
      const why = reason ? `The tiles of this exposure could not be made: ${reason}` : "There are no tiles of this exposure to zoom into.";
      const text = make("p", { class: "vv-note" }, this.source.fallback ? `${why} This is its thumbnail.` : why);
      if (this.source.command) text.append(" To make them: ", make("code", { textContent: this.source.command }));
      this.stage.remove();
      this.readout.remove();
      this.root.append(text);
      if (this.source.fallback) {
        this.root.append(make("img", { class: "vv-fallback", src: this.source.fallback, alt: `Thumbnail of ${this.source.label}` }));
      }
    }

    resize() {
      this.width = this.stage.clientWidth;
      this.height = this.stage.clientHeight;
      this.dots = window.devicePixelRatio || 1;
      for (const canvas of [this.image, this.over]) {
        const [w, h] = [Math.round(this.width * this.dots), Math.round(this.height * this.dots)];
        if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
      }
    }

    // View -> CSS px from the stage's corner, of viewer coordinates (u, v) of some data.
    toScreen(u, v, origin = this.data) {
      const { x, y, zoom } = this.viewer.view;
      return [(u + origin.left - x) * zoom + this.width / 2, (v - origin.top - y) * zoom + this.height / 2];
    }

    draw() {
      if (!this.data) return;
      this.resize();
      if (!this.width || !this.height) return;
      this.drawTiles();
      this.drawOverlays();
      this.prune();
    }

    drawTiles() {
      const context = this.image.getContext("2d");
      context.fillStyle = "#000";
      context.fillRect(0, 0, this.image.width, this.image.height);
      const px = this.viewer.view.zoom * this.dots;
      // The coarsest level that is not coarser than the screen.
      let target = 0;
      while (target + 1 < this.levels.length && this.levels[target + 1].binning * px <= 1.25) target += 1;
      context.imageSmoothingEnabled = this.levels[target].binning * px < 2;
      this.pending = 0;
      for (let i = this.levels.length - 1; i >= target; i -= 1) {
        this.drawLevel(context, this.levels[i], i === target || i === this.levels.length - 1);
      }
    }

    drawLevel(context, level, wanted) {
      const { left, top, tile } = this.data;
      const { x, y, zoom } = this.viewer.view;
      const size = tile * level.binning;
      const [halfWidth, halfHeight] = [this.width / 2 / zoom, this.height / 2 / zoom];
      const from = [Math.floor((x - halfWidth - left) / size), Math.floor((y - halfHeight + top) / size)];
      const to = [Math.floor((x + halfWidth - left) / size), Math.floor((y + halfHeight + top) / size)];
      for (let row = Math.max(0, from[1]); row <= Math.min(to[1], level.present.length - 1); row += 1) {
        for (let column = Math.max(0, from[0]); column <= Math.min(to[0], level.present[row].length - 1); column += 1) {
          if (level.present[row][column] !== "1") continue;
          const picture = this.picture(level.binning, column, row, wanted);
          if (!picture) continue;
          // The last blocks may reach over the frame's edge: sizes are those of the picture.
          const [a, b] = this.toScreen(column * size, row * size);
          const [c, d] = this.toScreen(column * size + picture.naturalWidth * level.binning, row * size + picture.naturalHeight * level.binning);
          const [x0, y0, x1, y1] = [a, b, c, d].map((edge) => Math.round(edge * this.dots));
          context.drawImage(picture, x0, y0, x1 - x0, y1 - y0);
        }
      }
    }

    // The picture of a tile if it is there; asks for it if it is wanted.
    picture(binning, column, row, wanted) {
      const key = `${binning}/${column}_${row}.jpg`;
      let tile = this.tiles.get(key);
      if (!tile && wanted) {
        tile = { picture: new Image(), state: "loading" };
        tile.picture.decoding = "async";
        tile.picture.onload = () => { tile.state = "there"; this.viewer.invalidate(); };
        tile.picture.onerror = () => { tile.state = "broken"; this.viewer.invalidate(); };
        tile.picture.src = this.folder + key;
      }
      if (!tile) return null;
      this.tiles.delete(key); // to the end of the queue: the first ones are forgotten first
      this.tiles.set(key, tile);
      if (tile.state === "loading") this.pending += 1;
      return tile.state === "there" ? tile.picture : null;
    }

    prune() {
      for (const key of this.tiles.keys()) {
        if (this.tiles.size <= CACHE) return;
        this.tiles.delete(key);
      }
    }

    // Overlays --------------------------------------------------------------------------------------------

    drawOverlays() {
      const context = this.over.getContext("2d");
      context.setTransform(this.dots, 0, 0, this.dots, 0, 0);
      context.clearRect(0, 0, this.width, this.height);
      const shown = this.viewer.shown;
      for (const map of this.overlays ? this.overlays.maps : []) if (shown[map.kind]) this.drawMap(context, map);
      if (shown.quadrants) this.drawQuadrants(context);
      for (const marks of this.overlays ? this.overlays.marks : []) if (shown[marks.kind]) this.drawMarks(context, marks);
      if (this.pa !== null && this.pa !== undefined) this.drawNorth(context);
    }

    drawMap(context, map) {
      context.fillStyle = KINDS[map.kind].colour;
      const zoom = this.viewer.view.zoom;
      for (let i = 0; i < map.cells.length; i += 1) {
        const level = parseInt(map.cells[i], 36);
        if (!level) continue;
        const [x, y] = this.toScreen(map.u + (i % map.columns) * map.du, map.v + Math.floor(i / map.columns) * map.dv, this.overlays);
        context.globalAlpha = 0.75 * (level / 35) ** 2; // or a flat map would hide the frame
        context.fillRect(x, y, map.du * zoom, map.dv * zoom);
      }
      context.globalAlpha = 1;
    }

    drawQuadrants(context) {
      context.font = "12px system-ui, sans-serif";
      context.textBaseline = "top";
      for (const [name, u0, v0, u1, v1] of this.data.quadrants) {
        const [x0, y0] = this.toScreen(u0, v0);
        const [x1, y1] = this.toScreen(u1, v1);
        context.strokeStyle = KINDS.quadrants.colour;
        context.lineWidth = 1;
        context.strokeRect(x0, y0, x1 - x0, y1 - y0);
        const seen = Math.min(x1, this.width) - Math.max(x0, 0) > 48 && Math.min(y1, this.height) - Math.max(y0, 0) > 24;
        if (seen) halo(context, name, Math.max(x0, 0) + 4, Math.max(y0, 0) + 4, KINDS.quadrants.colour);
      }
    }

    drawMarks(context, marks) {
      const radius = clamp(60 * this.viewer.view.zoom, 4, 9);
      context.beginPath();
      for (let i = 0; i < marks.uv.length; i += 2) {
        const [x, y] = this.toScreen(marks.uv[i], marks.uv[i + 1], this.overlays);
        if (x < -9 || y < -9 || x > this.width + 9 || y > this.height + 9) continue;
        KINDS[marks.kind].path(context, x, y, radius);
      }
      for (const [colour, width] of [["rgba(0,0,0,.75)", 3], [KINDS[marks.kind].colour, 1.5]]) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.stroke();
      }
    }

    // North and east on the sky: as visql_lib/sky/projection.py turns them into the focal plane.
    drawNorth(context) {
      const roll = (this.pa + 90) * Math.PI / 180;
      const [x, y] = [this.width - 52, 52];
      for (const [name, dx, dy] of [["N", Math.sin(roll), -Math.cos(roll)], ["E", -Math.cos(roll), -Math.sin(roll)]]) {
        const [ex, ey] = [x + 28 * dx, y + 28 * dy];
        context.beginPath();
        context.moveTo(x, y);
        context.lineTo(ex, ey);
        for (const side of [2.6, -2.6]) {
          const angle = Math.atan2(dy, dx) + side;
          context.moveTo(ex, ey);
          context.lineTo(ex + 8 * Math.cos(angle), ey + 8 * Math.sin(angle));
        }
        for (const [colour, width] of [["rgba(0,0,0,.8)", 4], ["#fff", 1.8]]) {
          context.strokeStyle = colour;
          context.lineWidth = width;
          context.stroke();
        }
        context.font = "bold 13px system-ui, sans-serif";
        context.textAlign = "center";
        context.textBaseline = "middle";
        halo(context, name, x + 40 * dx, y + 40 * dy, "#fff");
        context.textAlign = "start";
      }
    }

    // Stretch ---------------------------------------------------------------------------------------------

    // Black and white [ADU] of this exposure: the viewer's, which are those of the first one, or as far from its own.
    limits() {
      const { black, white, own } = this.viewer.stretch;
      const first = this.viewer.panes[0];
      if (!own || !first.data || first === this) return [black, white];
      const [a, b] = [first.data.shown, this.data.shown];
      return [black, white].map((adu) => b[0] + (adu - a[0]) * (b[1] - b[0]) / (a[1] - a[0]));
    }

    applyStretch() {
      if (!this.data) return;
      const { scale } = this;
      const { linear, colours, invert } = this.viewer.stretch;
      const along = linear ? (adu) => adu : (adu) => scale.grey(adu);
      const [low, high] = this.limits().map(along);
      const gap = rgb((getComputedStyle(this.stage).getPropertyValue("--vv-gap").trim() || "#2b3440").slice(1)).map((c) => c / 255);
      const columns = [[], [], []];
      for (let grey = 0; grey < 256; grey += 1) {
        let colour = gap;
        if (grey >= EDGE) {
          const value = along(scale.adu(Math.max(grey, this.data.stretch.darkest)));
          const t = clamp((value - low) / Math.max(high - low, 1e-9), 0, 1);
          const shade = invert ? 1 - t : t;
          colour = colours === "viridis" ? viridis(shade) : [shade, shade, shade];
        }
        colour.forEach((c, i) => columns[i].push(c.toFixed(4)));
      }
      this.functions.forEach((f, i) => f.setAttribute("tableValues", columns[i].join(" ")));
    }

    // Cursor ----------------------------------------------------------------------------------------------

    // What lies at a place of the mosaic, as text.
    describe(x, y) {
      const { left, top, scale, quadrants } = this.data;
      const [u, v] = [x - left, y + top];
      const parts = scale ? [`X ${signed((x - 0.5) * scale, 5)}°  Y ${signed((-y - 0.5) * scale, 5)}°`] : [];
      const found = quadrants.find(([, u0, v0, u1, v1]) => u >= u0 && u < u1 && v >= v0 && v < v1);
      if (found) {
        const [name, u0, , , v1, ox, oy] = found;
        parts.push(...(name ? [name] : []), `x ${Math.floor(ox + 1 + u - u0)}  y ${Math.floor(oy + 1 + v1 - v)} px`);
        const grey = this.greyAt(u, v);
        if (grey >= EDGE) parts.push(`≈ ${this.scale.adu(Math.max(grey, this.data.stretch.darkest)).toFixed(grey > 200 ? 0 : 1)} ${this.data.unit || "ADU"}`);
      } else parts.push("between the detectors");
      return parts.join("   ");
    }

    // The grey level of the tile there, where the browser lets us look (not under file://), else -1.
    greyAt(u, v) {
      if (location.protocol === "file:") return -1;
      for (const { binning } of this.levels) {
        const [i, j] = [Math.floor(u / binning), Math.floor(v / binning)];
        const [column, row] = [Math.floor(i / this.data.tile), Math.floor(j / this.data.tile)];
        const tile = this.tiles.get(`${binning}/${column}_${row}.jpg`);
        if (!tile || tile.state !== "there") continue;
        this.probe = this.probe || make("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
        this.probe.drawImage(tile.picture, column * this.data.tile - i, row * this.data.tile - j);
        return this.probe.getImageData(0, 0, 1, 1).data[0];
      }
      return -1;
    }
  }

  function halo(context, text, x, y, colour) {
    context.lineJoin = "round";
    context.lineWidth = 3;
    context.strokeStyle = "rgba(0,0,0,.8)";
    context.strokeText(text, x, y);
    context.fillStyle = colour;
    context.fillText(text, x, y);
  }

  // What can be drawn over the frame; colours of Okabe and Ito, shapes that differ.
  const KINDS = {
    stars: { colour: "#f0e442", symbol: "○", path: (c, x, y, r) => { c.moveTo(x + r, y); c.arc(x, y, r, 0, 7); } },
    gaia: {
      colour: "#56b4e9", symbol: "◇",
      path: (c, x, y, r) => { const d = 1.6 * r; c.moveTo(x, y - d); c.lineTo(x + d, y); c.lineTo(x, y + d); c.lineTo(x - d, y); c.closePath(); },
    },
    cosmic: { colour: "#e69f00", symbol: "▦" },
    xray: { colour: "#cc79a7", symbol: "▦" },
    quadrants: { colour: "#9adbc8", symbol: "▭" },
  };

  // The viewer -------------------------------------------------------------------------------------------

  class Viewer {
    constructor(element, options) {
      this.element = element;
      const data = { ...element.dataset, ...(options || {}) };
      const { tiles, overlays, fallback, command } = data;
      this.others = typeof data.others === "string" ? JSON.parse(data.others) : data.others || [];
      this.view = { x: 0, y: 0, zoom: 1 };
      this.shown = { stars: false, gaia: false, cosmic: false, xray: false, quadrants: false };
      this.stretch = { black: 0, white: 1, linear: true, colours: "grey", invert: false, own: true };
      this.recall();
      this.panes = [];
      this.row = make("div", { class: "vv-row" });
      this.bar = make("div", { class: "vv-bar", role: "group", "aria-label": "Viewer controls" });
      element.classList.add("vv");
      element.replaceChildren(this.row);
      this.ready = this.addPane({ tiles, overlays, fallback, command, label: data.label || "this exposure" }).then(() => this.begin());
    }

    addPane(source) {
      const pane = new Pane(this, source);
      this.panes.push(pane);
      this.row.append(pane.root);
      return pane.ready.then(() => { if (pane.data) new Hand(this, pane); return pane; });
    }

    begin() {
      const [pane] = this.panes;
      if (!pane.data) return this;
      this.element.prepend(this.bar);
      [this.stretch.black, this.stretch.white] = pane.data.shown;
      this.buildBar();
      new ResizeObserver(() => this.invalidate()).observe(this.row);
      const repaint = () => this.restretch();
      window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
      new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-theme", "class"] });
      this.fit();
      this.restretch();
      return this;
    }

    // Marks and colours stay as they were on the last page; private windows may refuse.
    recall() {
      try {
        const kept = JSON.parse(localStorage.getItem(STORE) || "{}");
        if (["grey", "viridis"].includes(kept.colours)) this.stretch.colours = kept.colours;
        this.stretch.invert = kept.invert === true;
        for (const kind of Object.keys(this.shown)) this.shown[kind] = (kept.shown || {})[kind] === true;
      } catch { /* as on the first visit */ }
    }

    remember() {
      const { colours, invert } = this.stretch;
      try { localStorage.setItem(STORE, JSON.stringify({ colours, invert, shown: this.shown })); } catch { /* see recall */ }
    }

    // Drawing ---------------------------------------------------------------------------------------------

    invalidate() {
      if (this.waiting) return;
      this.waiting = true;
      requestAnimationFrame(() => {
        this.waiting = false;
        for (const pane of this.panes) pane.draw();
      });
    }

    restretch() {
      for (const pane of this.panes) pane.applyStretch();
      const { scale } = this.panes[0];
      for (const [name, input, text] of this.sliders || []) {
        input.value = String(Math.round(4 * scale.grey(this.stretch[name])));
        text.textContent = `${this.stretch[name].toFixed(Math.abs(this.stretch[name]) < 1e4 ? 1 : 0)} ${this.panes[0].data.unit || "ADU"}`;
        input.setAttribute("aria-valuetext", text.textContent);
      }
      this.remember();
    }

    // Moving ----------------------------------------------------------------------------------------------

    get frame() {
      return this.panes[0].data;
    }

    fitZoom() {
      const { stage } = this.panes[0];
      return 0.98 * Math.min(stage.clientWidth / this.frame.width, stage.clientHeight / this.frame.height) || 1e-3;
    }

    fit() {
      const { left, top, width, height } = this.frame;
      Object.assign(this.view, { x: left + width / 2, y: height / 2 - top, zoom: this.fitZoom() });
      this.invalidate();
    }

    // Zoom by a factor; (dx, dy) [CSS px from the middle] stays where it is.
    zoomBy(factor, dx = 0, dy = 0) {
      const { zoom } = this.view;
      const finest = this.frame.levels[0].binning;
      const next = clamp(zoom * factor, Math.min(0.7 * this.fitZoom(), zoom), Math.max(12 / finest, zoom));
      this.view.zoom = next;
      this.moveTo(this.view.x + dx * (1 / zoom - 1 / next), this.view.y + dy * (1 / zoom - 1 / next));
    }

    moveTo(x, y) {
      const { left, top, width, height } = this.frame;
      this.view.x = clamp(x, left, left + width);
      this.view.y = clamp(y, -top, height - top);
      this.invalidate();
    }

    panBy(dx, dy) {
      this.moveTo(this.view.x - dx / this.view.zoom, this.view.y - dy / this.view.zoom);
    }

    // Show what lies at a place of all panes.
    point(x, y) {
      for (const pane of this.panes) if (pane.data) pane.readout.textContent = pane.describe(x, y);
    }

    // Controls --------------------------------------------------------------------------------------------

    buildBar() {
      this.legend = make("div", { class: "vv-group vv-legend", role: "group", "aria-label": "Overlays" });
      this.buildLegend();
      const more = make("div", { class: "vv-more" }, this.stretchControls(), this.legend);
      if (this.others.length) more.append(this.compareControl());
      // On a phone the controls would fill the screen.
      const folded = make("details", {}, make("summary", { textContent: "Stretch, overlays, comparison" }), more);
      const narrow = window.matchMedia("(max-width: 700px)");
      const fold = () => { folded.open = !narrow.matches; };
      narrow.addEventListener("change", fold);
      fold();
      this.bar.append(this.zoomButtons(), folded);
    }

    zoomButtons() {
      const button = (text, label, action) => {
        const made = make("button", { type: "button", textContent: text, title: label, "aria-label": label });
        made.addEventListener("click", action);
        return made;
      };
      return make("div", { class: "vv-group" },
        button("−", "Zoom out (-)", () => this.zoomBy(1 / 1.6)),
        button("+", "Zoom in (+)", () => this.zoomBy(1.6)),
        button("All", "Show the whole focal plane (0)", () => this.fit()),
        button("1:1", "One pixel of the tiles is one of the screen", () => this.zoomBy(1 / this.frame.levels[0].binning / this.view.zoom)));
    }

    stretchControls() {
      const { darkest, brightest } = this.frame.stretch;
      const slider = (name, label) => {
        const input = make("input", { type: "range", min: 4 * darkest, max: 4 * brightest, step: 1, "aria-label": `${label} level` });
        const text = make("output", { class: "vv-adu" });
        input.addEventListener("input", () => {
          const { scale } = this.panes[0];
          let grey = Number(input.value) / 4;
          const other = scale.grey(this.stretch[name === "black" ? "white" : "black"]);
          grey = name === "black" ? Math.min(grey, other - 0.5) : Math.max(grey, other + 0.5);
          this.stretch[name] = scale.adu(grey);
          this.restretch();
        });
        (this.sliders = this.sliders || []).push([name, input, text]);
        return make("label", { class: "vv-slider" }, label, input, text);
      };
      const preset = this.choice("Stretch", { sky: "sky", stars: "stars", all: "whole range" }, "sky", (name) => this.preset(name));
      const colours = this.choice("Colours", { grey: "grey", viridis: "viridis" }, this.stretch.colours, (name) => {
        this.stretch.colours = name;
        this.restretch();
      });
      const invert = this.check("invert", this.stretch.invert, (on) => { this.stretch.invert = on; this.restretch(); });
      return make("div", { class: "vv-group", role: "group", "aria-label": "Stretch" },
        preset, slider("black", "black"), slider("white", "white"), colours, invert);
    }

    // Sky: linear, a few times the noise; stars: asinh up to a thousand times the noise; all: asinh, everything.
    preset(name) {
      const { shown, stretch } = this.frame;
      const [black, white] = shown;
      const bright = Math.min(white + 100 * (white - black), stretch.high);
      this.stretch.linear = name === "sky";
      [this.stretch.black, this.stretch.white] = { sky: shown, stars: [black, bright], all: [stretch.low, stretch.high] }[name];
      this.restretch();
    }

    choice(label, options, value, action) {
      const select = make("select", {}, ...Object.entries(options).map(([name, text]) => make("option", { value: name, textContent: text })));
      select.value = value;
      select.addEventListener("change", () => action(select.value));
      return make("label", {}, label, select);
    }

    check(label, on, action) {
      const input = make("input", { type: "checkbox", checked: on });
      input.addEventListener("change", () => action(input.checked));
      return make("label", { class: "vv-check" }, input, ...[label].flat());
    }

    buildLegend() {
      const { data, overlays } = this.panes[0];
      const entries = data.quadrants.some(([name]) => name) ? [["quadrants", "quadrants"]] : [];
      for (const marks of overlays ? overlays.marks : []) {
        const drawn = marks.uv.length / 2;
        entries.push([marks.kind, drawn < marks.total ? `${marks.label} (brightest ${drawn} of ${marks.total})` : `${marks.label} (${drawn})`]);
      }
      for (const map of overlays ? overlays.maps : []) entries.push([map.kind, `${map.label} (up to ${map.largest} per bin)`]);
      this.legend.replaceChildren(...entries.map(([kind, label]) => {
        const symbol = make("span", { class: "vv-symbol", "aria-hidden": "true", textContent: KINDS[kind].symbol });
        symbol.style.color = KINDS[kind].colour;
        const made = this.check([symbol, label], this.shown[kind], (on) => {
          this.shown[kind] = on;
          this.remember();
          this.invalidate();
        });
        made.dataset.kind = kind;
        return made;
      }));
    }

    // Two exposures ---------------------------------------------------------------------------------------

    compareControl() {
      const options = Object.fromEntries([["", "nothing"], ...this.others.map((other, i) => [String(i), other.label])]);
      const own = this.check("each by its own level", this.stretch.own, (on) => { this.stretch.own = on; this.restretch(); });
      own.hidden = true;
      const select = this.choice("Compare with", options, "", (i) => {
        own.hidden = i === "";
        this.compare(i === "" ? null : this.others[Number(i)]);
      });
      select.classList.add("vv-compare");
      return make("div", { class: "vv-group", role: "group", "aria-label": "Comparison" }, select, own);
    }

    // Show another exposure ({label, tiles, overlays, fallback}) beside this one, or (null) this one alone.
    async compare(source) {
      for (const pane of this.panes.splice(1)) pane.root.remove();
      this.element.classList.toggle("vv-two", Boolean(source));
      const wide = this.view.zoom <= 1.01 * this.fitZoom();
      if (source) await this.addPane(source);
      if (wide && this.frame) this.fit();
      if (this.frame) this.restretch();
      this.invalidate();
    }
  }

  // Mouse, fingers, keys -----------------------------------------------------------------------------------

  class Hand {
    constructor(viewer, pane) {
      Object.assign(this, { viewer, pane, pointers: new Map() });
      const { stage } = pane;
      stage.addEventListener("pointerdown", (event) => this.down(event));
      stage.addEventListener("pointermove", (event) => this.move(event));
      for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => this.up(event));
      stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      stage.addEventListener("dblclick", (event) => viewer.zoomBy(event.shiftKey ? 0.5 : 2, ...this.fromMiddle(event)));
      stage.addEventListener("keydown", (event) => this.key(event));
    }

    fromMiddle(event) {
      const box = this.pane.stage.getBoundingClientRect();
      return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
    }

    down(event) {
      if (event.button > 0) return;
      try { this.pane.stage.setPointerCapture(event.pointerId); } catch { /* the pointer is gone already */ }
      this.pointers.set(event.pointerId, this.fromMiddle(event));
      this.pane.stage.classList.add("vv-held");
    }

    move(event) {
      const { view } = this.viewer;
      const at = this.fromMiddle(event);
      const before = this.pointers.get(event.pointerId);
      if (before) {
        const other = [...this.pointers].find(([id]) => id !== event.pointerId);
        this.pointers.set(event.pointerId, at);
        if (other) this.pinch(before, at, other[1]);
        else this.viewer.panBy(at[0] - before[0], at[1] - before[1]);
      }
      this.viewer.point(view.x + at[0] / view.zoom, view.y + at[1] / view.zoom);
    }

    // One of two fingers moved: what was between them stays between them.
    pinch(before, at, other) {
      const distance = (a) => Math.max(8, Math.hypot(a[0] - other[0], a[1] - other[1]));
      this.viewer.panBy((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
      this.viewer.zoomBy(distance(at) / distance(before), (at[0] + other[0]) / 2, (at[1] + other[1]) / 2);
    }

    up(event) {
      this.pointers.delete(event.pointerId);
      if (!this.pointers.size) this.pane.stage.classList.remove("vv-held");
    }

    wheel(event) {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 16 : 1;
      const speed = event.ctrlKey ? 0.01 : 0.0015; // a pinch on a touch pad comes as ctrl and wheel
      this.viewer.zoomBy(Math.exp(-clamp(event.deltaY * lines, -400, 400) * speed), ...this.fromMiddle(event));
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const { viewer } = this;
      const arrows = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
      if (event.key === "+" || event.key === "=") viewer.zoomBy(1.6);
      else if (event.key === "-") viewer.zoomBy(1 / 1.6);
      else if (event.key === "0") viewer.fit();
      else if (arrows[event.key]) viewer.panBy(...arrows[event.key]);
      else return;
      event.preventDefault();
      event.stopPropagation(); // on the page, arrows go to other exposures
      viewer.point(viewer.view.x, viewer.view.y);
    }
  }

  // Attach to an element, once; `options` stand before its data attributes. Returns the viewer.
  function attach(element, options) {
    element.visqlViewer = element.visqlViewer || new Viewer(element, options);
    return element.visqlViewer;
  }

  window.visqlViewer = { attach };
  const begin = () => { const element = document.getElementById("viewer"); if (element) attach(element); };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
