// The theme: as the system, light or dark.
import { h } from "./dom.js";

const ORDER = ["system", "light", "dark"];

function stored() {
  try {
    return localStorage.getItem("scopegate-theme") ?? "system";
  } catch {
    return "system";
  }
}

/** Makes `button` go from one theme to the next. */
export function makeTheme(button) {
  let theme = stored();
  const set = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const [mark, word] = { system: ["◐", "Auto"], light: ["☀", "Light"], dark: ["☾", "Dark"] }[theme];
    button.replaceChildren(h("span", { "aria-hidden": "true" }, `${mark} `), h("span", { class: "hidden-text" }, "Theme: "), word);
  };
  set();
  button.addEventListener("click", () => {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
    set();
    try {
      localStorage.setItem("scopegate-theme", theme);
    } catch {
      // It holds for this visit.
    }
  });
}
