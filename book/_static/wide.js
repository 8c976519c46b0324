// Tables and formulas that are wide or long, on any screen; every table can be saved as CSV; one
// switch for all code of a page.
document.addEventListener("DOMContentLoaded", () => {
  const boxes = document.querySelectorAll(
    ".pst-scrollable-table-container, div.cell_output .text_html, .bd-article div.math, " +
      ".bd-article figure:has(> img.dark-light)",
  );
  const isWide = (box) =>
    [box, ...box.querySelectorAll(":scope > mjx-container")].some(
      (each) => each.scrollWidth > each.clientWidth + 2,
    );

  // Marks what scrolls sideways, and lets the arrow keys scroll it.
  const mark = () => {
    for (const box of boxes) {
      box.classList.toggle("is-wide", isWide(box));
      if (isWide(box)) box.tabIndex = 0;
    }
  };
  window.addEventListener("resize", mark);
  window.addEventListener("load", mark);

  const quoted = (cell) => `"${cell.innerText.trim().replace(/\s+/g, " ").replaceAll('"', '""')}"`;
  const page = location.pathname.split("/").pop().replace(".html", "");
  const tables = document.querySelectorAll("div.cell_output table, .bd-article table.table");
  [...tables].filter((table) => table.rows.length > 2).forEach((table, k) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "save-table", textContent: "save as CSV" });
    button.setAttribute("aria-label", `save table ${k + 1} as CSV`);
    button.addEventListener("click", () => {
      const lines = [...table.rows].map((row) => [...row.cells].map(quoted).join(","));
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
      link.download = `${page}-${k + 1}.csv`;
      link.click();
      URL.revokeObjectURL(link.href);
    });
    (table.closest(".pst-scrollable-table-container, .text_html") ?? table).after(button);
  });

  // Where numbers with their intervals are too wide side by side, each interval gets a line, and
  // sentences break.
  for (const table of document.querySelectorAll("table.dataframe")) {
    const box = table.closest(".text_html");
    if (!box || !isWide(box)) continue;
    for (const cell of table.querySelectorAll("td")) {
      const parts = /^(\S+) (\[[^\]]*\])$/.exec(cell.textContent.trim());
      if (parts) cell.replaceChildren(parts[1], document.createElement("br"), parts[2]);
      else if (cell.textContent.trim().length > 40) cell.classList.add("words");
    }
    table.classList.toggle("tight", isWide(box));
  }

  // A long table of raw values is folded, like code.
  for (const table of document.querySelectorAll("div.cell_output table.dataframe")) {
    const box = table.closest(".text_html");
    const rows = table.tBodies[0]?.rows.length ?? 0;
    if (!box || rows < 20) continue;
    const fold = document.createElement("details");
    fold.className = "long-table";
    fold.append(Object.assign(document.createElement("summary"), { textContent: `Show ${rows} rows` }));
    box.before(fold);
    fold.append(box);
    fold.addEventListener("toggle", mark);
  }

  // On a telephone a table of sentences that would scroll, or stand in a narrow column, is read row
  // by row instead; each cell then says its column.
  const telephone = matchMedia("(max-width: 600px)");
  const byRows = () => {
    for (const table of document.querySelectorAll("table.symscope-ledger, .bd-article table.table")) {
      table.classList.remove("by-rows");
      const box = table.closest(".pst-scrollable-table-container, .text_html");
      if (!telephone.matches || !box) continue;
      const heads = [...(table.tHead?.rows[0]?.cells ?? [])].map((cell) => cell.innerText.trim());
      const rows = [...(table.tBodies[0]?.rows ?? [])];
      const cells = rows.flatMap((row) => [...row.cells]);
      const long = cells.some((cell) => cell.innerText.length > 30);
      const narrow = cells.some((cell) => cell.innerText.length > 60 && cell.clientWidth < 150);
      if (!heads.length || !(narrow || (long && isWide(box)))) continue;
      for (const row of rows)
        [...row.cells].forEach((cell, k) => {
          cell.dataset.column = k && cell.innerText.trim() ? heads[k] : "";
        });
      table.classList.add("by-rows");
    }
    mark();
  };
  byRows();
  telephone.addEventListener("change", byRows);

  // One switch for all code of a chapter.
  const folds = document.querySelectorAll("div.cell details.hide");
  const line = document.querySelector("p.symscope-run");
  if (line && folds.length > 2) {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.className = "all-code";
    const said = () => (button.textContent = button.ariaPressed === "true" ? "hide all code" : "show all code");
    button.ariaPressed = "false";
    button.addEventListener("click", () => {
      button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
      for (const fold of folds) fold.open = button.ariaPressed === "true";
      said();
    });
    said();
    line.append(" · ", button);
  }

  // A formula that is too wide is made smaller, within limits. And no line begins with the full stop
  // or the comma behind a formula.
  const afterMath = () => {
    for (const formula of document.querySelectorAll(".bd-article div.math > mjx-container")) {
      const share = Math.max(0.72, (0.98 * formula.clientWidth) / formula.scrollWidth);
      if (share < 0.97) formula.style.fontSize = `${share * parseFloat(formula.style.fontSize)}%`;
    }
    for (const math of document.querySelectorAll(".bd-article span.math")) {
      const next = math.nextSibling;
      const stop = next?.nodeType === Node.TEXT_NODE && /^[.,;:?!)]+/.exec(next.data);
      if (!stop || math.offsetWidth > math.parentElement.clientWidth - 20) continue;
      next.data = next.data.slice(stop[0].length);
      math.append(stop[0]);
      math.style.whiteSpace = "nowrap";
    }
    mark();
  };
  mark();
  window.addEventListener("load", () => window.MathJax?.startup?.promise.then(afterMath));
});
