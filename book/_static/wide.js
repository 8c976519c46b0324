// Marks what scrolls sideways, lets the arrow keys scroll it, and lets every table be saved as CSV.
document.addEventListener("DOMContentLoaded", () => {
  const boxes = document.querySelectorAll(".pst-scrollable-table-container, div.cell_output .text_html");
  const mark = () => {
    for (const box of boxes) {
      const wide = box.scrollWidth > box.clientWidth + 2;
      box.classList.toggle("is-wide", wide);
      if (wide) box.tabIndex = 0;
    }
  };
  mark();
  window.addEventListener("resize", mark);

  const quoted = (cell) => `"${cell.innerText.trim().replaceAll('"', '""')}"`;
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
});
