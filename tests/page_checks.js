// What can be wrong inside one rendered page: returns complaints, and what its links need.
async () => {
  const complaints = [];
  const shown = (text) => text.replace(/\s+/g, " ").trim().slice(0, 120);

  if (window.MathJax?.startup?.promise) await window.MathJax.startup.promise;

  for (const image of document.images) {
    image.loading = "eager";
    await image.decode().catch(() => {});
    const name = shown(image.getAttribute("src") ?? "no src");
    if (!image.naturalWidth) complaints.push(`missing image: ${name}`);
    if (!image.alt.trim()) complaints.push(`image without alt text: ${name}`);
  }

  const raw = [
    [/\\\(|\\\[|\$\$|\\begin\{|\$[^$\n]*[\\^_][^$\n]*\$/, "unrendered mathematics"],
    [/\{[a-z][\w:-]*\}`|(:::|```)\s*\{/, "raw MyST"],
    [/\*\*[^*\s][^*]*\*\*/, "raw emphasis"],
    [/\|\s*:?[-\u2013\u2014]+:?\s*\|/, "a table as text"],
  ];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.parentElement.closest("pre, code, script, style, noscript, mjx-container")) continue;
    for (const [pattern, what] of raw)
      if (pattern.test(node.data)) complaints.push(`${what}: ${shown(node.data)}`);
  }
  for (const math of document.querySelectorAll(".math"))
    if (!math.querySelector("mjx-container"))
      complaints.push(`unrendered mathematics: ${shown(math.textContent)}`);
  for (const error of document.querySelectorAll("mjx-merror, [data-mjx-error]"))
    complaints.push(`mathematics with an error: ${shown(error.textContent)}`);

  const width = Math.max(document.documentElement.scrollWidth, document.body.scrollWidth);
  if (width > window.innerWidth) {
    const wide = [...document.body.querySelectorAll("*")].find(
      (node) => node.getBoundingClientRect().right > window.innerWidth + 1,
    );
    complaints.push(
      `sideways scroll: ${width} px on ${window.innerWidth}, ${shown(wide?.outerHTML ?? "")}`,
    );
  }

  // What is cut off, and cells in which words stand one below the other. Formulas hide a copy for
  // screen readers, and the stage of a plaything hides what leaves it.
  for (const node of document.body.querySelectorAll("*")) {
    if (!node.clientWidth || node.closest(".math, mjx-container, svg, .play-stage, .visually-hidden"))
      continue;
    const hides = ["hidden", "clip"].includes(getComputedStyle(node).overflowX);
    if (hides && node.scrollWidth > node.clientWidth + 2 && node.innerText?.trim())
      complaints.push(`clipped: ${shown(node.innerText)}`);
    const words = node.matches("td, th") ? node.innerText.trim().split(/\s+/).length : 0;
    if (words > 7 && node.clientWidth < 90) complaints.push(`stacked words: ${shown(node.innerText)}`);
  }

  return {
    complaints,
    theme: document.documentElement.dataset.theme ?? null,
    text: document.body.innerText,
    links: [...document.querySelectorAll("a[href]")].map((link) => link.href),
    ids: [...document.querySelectorAll("[id], a[name]")].map((node) => node.id || node.name),
  };
}
