// Elements, made from text alone: nothing that a token or a configuration says becomes markup.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** `text` with what stands in backticks as code. */
export function prose(text) {
  return String(text).split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));
}

/** Tabs after the ARIA Authoring Practices: arrows, Home and End move, one tab stop. */
export function tabs(list, panels, entries, chosen, choose) {
  const buttons = entries.map(({ id, title }) => h("button", {
    type: "button", role: "tab", id: `tab-${id}`, "aria-controls": `panel-${id}`,
    onclick: () => { show(id); choose(id); },
  }, title));
  list.replaceChildren(...buttons);
  panels.replaceChildren(...entries.map(({ id, panel }) => {
    panel.id = `panel-${id}`;
    panel.classList.add("panel");
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", `tab-${id}`);
    return panel;
  }));
  list.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const button = buttons.at(to % buttons.length);
    button.focus();
    button.click();
  });
  function show(id) {
    entries.forEach((entry, at) => {
      const isChosen = entry.id === id;
      buttons[at].setAttribute("aria-selected", String(isChosen));
      buttons[at].tabIndex = isChosen ? 0 : -1;
      entry.panel.hidden = !isChosen;
    });
  }
  show(chosen);
  return show;
}
