"use strict";
(() => {
  const root = document.documentElement;
  const stored = (value) => {
    // A page opened from a disk may have no storage: then the choice lasts as long as the page.
    try { if (value) localStorage.setItem("harness-theme", value); return localStorage.getItem("harness-theme"); } catch { return null; }
  };
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const toggle = document.querySelector(".theme");
  const show = () => { toggle.textContent = isDark() ? "Light" : "Dark"; toggle.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours"); };
  const before = stored();
  if (before === "dark" || before === "light") root.dataset.theme = before;
  toggle.hidden = false;
  toggle.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; stored(root.dataset.theme); show(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = text === "" ? NaN : Number(text);
    return Number.isNaN(number) ? text : number;
  };
  const order = (a, b) => {
    // What is absent stays last, whichever way the others go.
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return typeof a === "number" ? a - b : a.localeCompare(b);
  };
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
      const first = head.dataset.first || "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const way = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", way);
      const sign = way === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => { const [x, y] = [key(a, column), key(b, column)]; return typeof x === typeof y ? sign * order(x, y) : order(x, y); });
      table.tBodies[0].append(...rows);
    }));
  }
})();
