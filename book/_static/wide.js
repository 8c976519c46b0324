// Marks what scrolls sideways, and lets the arrow keys scroll it.
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
});
