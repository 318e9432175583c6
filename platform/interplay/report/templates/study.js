"use strict";
// A table is sorted by a column's numbers, or its words where it has none; what has neither stays last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map((row) => [row, key(row.cells[place])]);
      rows.sort(([, a], [, b]) => compare(a, b, down ? -1 : 1));
      table.tBodies[0].append(...rows.map(([row]) => row));
    });
  });
}

function key(cell) {
  if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
  const text = cell.textContent.trim();
  return text === "" || text === "—" || cell.classList.contains("n") ? null : text;
}

function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  if (typeof a === "number" && typeof b === "number") return sign * (a - b);
  return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
}

// Of the figures of a choice one is shown.
for (const choice of document.querySelectorAll(".choice")) {
  const select = choice.querySelector("select");
  const figures = [...choice.querySelectorAll("figure")];
  const show = () => figures.forEach((figure) => (figure.hidden = figure.id !== select.value));
  select.addEventListener("change", show);
  show();
}
