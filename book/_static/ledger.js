// Sorts and filters the ledger's table. Without a script the table is whole and in order.
document.addEventListener("DOMContentLoaded", () => {
  const table = document.querySelector("table.symscope-sortable");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];

  // Filters: what can be chosen is what the rows hold.
  const bar = document.createElement("form");
  bar.className = "symscope-filters";
  bar.setAttribute("aria-label", "Filter the claims");
  const status = document.createElement("p");
  status.setAttribute("role", "status");
  const chosen = {};
  const show = () => {
    let shown = 0;
    for (const row of rows) {
      row.hidden = Object.entries(chosen).some(([key, want]) => want && row.dataset[key] !== want);
      shown += !row.hidden;
    }
    status.textContent = `${shown} of ${rows.length} claims`;
  };
  for (const [key, name] of [
    ["paper", "Whose"],
    ["notebook", "Notebook"],
    ["verdict", "Verdict"],
  ]) {
    const label = document.createElement("label");
    label.append(`${name} `);
    const select = document.createElement("select");
    select.name = key;
    select.append(new Option("all", ""));
    for (const value of new Set(rows.map((row) => row.dataset[key])))
      select.append(new Option(value, value));
    select.addEventListener("change", () => {
      chosen[key] = select.value;
      show();
    });
    label.append(select);
    bar.append(label);
  }
  bar.addEventListener("submit", (event) => event.preventDefault());
  bar.append(status);
  (table.closest(".pst-scrollable-table-container") ?? table).before(bar);

  // Sorting: a button in each heading; once more turns the order round.
  const words = new Intl.Collator("en", { numeric: true });
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.order ?? cell.textContent.trim();
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const sorted = [...rows].sort((a, b) => words.compare(value(a, column), value(b, column)));
      if (!up) sorted.reverse();
      body.append(...sorted);
    });
  });
  show();
});
