// The whole book on one page, for `make pdf`: the first page opened with "?whole".
if (location.search === "?whole")
  document.addEventListener("DOMContentLoaded", () => {
    const name = (address) => new URL(address).pathname.split("/").pop().replace(".html", "");
    const inside = (address) => address.startsWith("file:");
    const page = document.querySelector("article.bd-article");
    const links = [...document.querySelectorAll("nav.bd-links a.internal")].map((a) => a.href.split("#")[0]);
    const chapters = [...new Set(links)].filter((link) => inside(link) && !link.includes("/api"));
    const kept = new Set(chapters.map(name));
    for (const address of chapters) {
      const request = new XMLHttpRequest(); // from the disk, which takes a flag of Chromium's
      request.open("GET", address, false);
      request.send();
      const source = new DOMParser().parseFromString(request.responseText, "text/html");
      const part = source.querySelector("article.bd-article");
      for (const node of part.querySelectorAll("[id]")) node.id = `${name(address)}-${node.id}`;
      for (const node of part.querySelectorAll("script, button, .headerlink")) node.remove();
      for (const node of part.querySelectorAll("img[src]:not([src^=data])"))
        node.src = new URL(node.getAttribute("src"), address).href;
      for (const node of part.querySelectorAll("a[href]")) {
        const { href, hash } = new URL(node.getAttribute("href"), address);
        if (!inside(href)) continue;
        if (!kept.has(name(href))) node.removeAttribute("href");
        else node.setAttribute("href", `#${name(href)}${hash.replace("#", "-")}`);
      }
      part.id = name(address);
      part.style.breakBefore = "page";
      page.append(part);
    }
  });
