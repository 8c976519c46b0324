// The whole book on one page, for `make pdf`: the first page opened from the disk with "?whole".
if (location.search === "?whole")
  document.addEventListener("DOMContentLoaded", () => {
    const plain = (address) => address.split(/[?#]/)[0];
    const name = (address) => plain(address).split("/").pop().replace(".html", "");
    const first = document.querySelector("article.bd-article");
    const links = [...document.querySelectorAll("nav.bd-links a.internal")].map((a) => plain(a.href));
    const chapters = [...new Set(links)].filter((link) => name(link) !== "index" && !link.includes("/api"));
    const kept = new Set(["index", ...chapters.map(name)]);

    // Names and addresses of a page, as they are among all pages.
    const adapted = (part, address) => {
      for (const node of part.querySelectorAll("script, button, .headerlink")) node.remove();
      for (const node of part.querySelectorAll("[id]")) node.id = `${name(address)}-${node.id}`;
      for (const node of part.querySelectorAll("img[src]:not([src^=data])"))
        node.src = new URL(node.getAttribute("src"), address).href;
      for (const node of part.querySelectorAll("a[href]")) {
        const { href, hash, protocol } = new URL(node.getAttribute("href"), address);
        if (protocol !== "file:") continue;
        if (!kept.has(name(href))) node.removeAttribute("href");
        else node.setAttribute("href", `#${name(href)}${hash.replace("#", "-")}`);
      }
      part.id = name(address);
      return part;
    };

    let last = adapted(first, plain(location.href));
    for (const address of chapters) {
      const request = new XMLHttpRequest(); // of a file, which takes a flag of Chromium's
      request.open("GET", address, false);
      request.send();
      const source = new DOMParser().parseFromString(request.responseText, "text/html");
      const part = adapted(source.querySelector("article.bd-article"), address);
      part.style.breakBefore = "page";
      last.after(part);
      last = part;
    }
    window.MathJax?.startup?.promise.then(() => window.MathJax.typesetPromise());
  });
