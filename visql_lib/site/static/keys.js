// The keyboard: / to search, j and k (or arrows) to move, Enter to open, ? for help.
"use strict";

(() => {
  const follow = (relation) => document.querySelector(`a[rel~="${relation}"]`)?.click();

  function toggleSeen() {
    const box = document.querySelector("[data-mark] input[type=checkbox]");
    if (box) box.click();
    else visql.table?.toggleSeen();
  }

  function help() {
    const dialog = document.getElementById("help");
    if (dialog.open) dialog.close();
    else dialog.showModal();
  }

  function act(key, inTable) {
    const table = visql.table;
    switch (key) {
      case "/": {
        const search = document.getElementById("search") || document.getElementById("compare");
        if (!search) return false;
        search.focus();
        search.select();
        return true;
      }
      case "j": return table ? table.move(1) : follow("next") !== null;
      case "k": return table ? table.move(-1) : follow("prev") !== null;
      case "ArrowDown": return table && inTable ? table.move(1) : false;
      case "ArrowUp": return table && inTable ? table.move(-1) : false;
      case "Enter": return table ? table.open() : false;
      case "ArrowRight": return inTable ? false : follow("next") !== null;
      case "ArrowLeft": return inTable ? false : follow("prev") !== null;
      case "m": toggleSeen(); return true;
      case "t": visql.toggleTheme(); return true;
      case "?": help(); return true;
      default: return false;
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target;
    if (target.closest("input, textarea, select, [contenteditable], #viewer, .bk-root, dialog")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (event.key === "Enter" && target.closest("a, button, summary")) return;
    if (act(event.key, Boolean(target.closest(".scroller")))) event.preventDefault();
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-help]")) help();
  });
})();
