"use strict";
{
  const search = document.querySelector(".search");
  const input = search.querySelector("input");
  const count = search.querySelector("[role=status]");
  const none = document.querySelector(".none");
  const guides = [...document.querySelectorAll(".guide")];

  const links = document.querySelectorAll("nav ul ul a"); // one for each entry, in the same order
  const entries = [...document.querySelectorAll(".entry")].map((entry, i) => ({
    elements: [entry, links[i].parentElement],
    text: (entry.querySelector(".about").textContent + JSON.parse(entry.querySelector("pre").textContent).error.message).toLowerCase(),
  }));

  // find shows the codes whose texts have all words of the search.
  function find() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const { elements, text } of entries) {
      const matches = words.every((word) => text.includes(word));
      elements.forEach((element) => (element.hidden = !matches));
      found += matches;
    }
    const searching = words.length > 0;
    guides.forEach((guide) => (guide.hidden = searching));
    none.hidden = found > 0 || !searching;
    count.textContent = searching ? `${found} of ${entries.length} codes` : "";
  }

  function clear() {
    input.value = "";
    find();
  }

  // reveal shows the target of a link again if the search has hidden it.
  function reveal(target) {
    const hidden = target?.closest("[hidden]");
    if (hidden) clear();
    return hidden && target;
  }

  async function copy(button, code) {
    let copied = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch { // there is no clipboard without HTTPS
      getSelection().selectAllChildren(code);
      copied = document.execCommand("copy");
    }
    button.textContent = copied ? "Copied" : "Selected";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }

  for (const figure of document.querySelectorAll("figure")) {
    const caption = figure.querySelector("figcaption");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.ariaLive = "polite";
    button.addEventListener("click", () => copy(button, figure.querySelector("code")));
    caption.append(button);
  }

  search.hidden = false;
  document.querySelector(".formats").hidden = location.protocol === "file:"; // its links need the server
  input.addEventListener("input", () => {
    find();
    scrollTo(0, 0);
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && input.value) {
      event.preventDefault();
      clear();
    } else if (event.key === "Enter" && event.target === input && input.value && !event.isComposing) {
      entries.find(({ elements: [entry] }) => !entry.hidden)?.elements[1].firstElementChild.click();
    } else if (event.key === "/" && event.target !== input && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
      input.select();
    }
  });
  addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (link) reveal(document.getElementById(link.hash.slice(1)));
  });
  addEventListener("hashchange", () => reveal(document.querySelector(":target"))?.scrollIntoView());
}
