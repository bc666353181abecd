// @ts-check
/** @file Light or dark, as the reader's system says; always light on paper. */
import { pageData } from "./data.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const paper = matchMedia("print");
let printing = false;

export function currentTheme() {
  return dark.matches && !printing && !paper.matches ? pageData.themes.dark : pageData.themes.light;
}

/** @param {() => void} changed */
export function watchTheme(changed) {
  dark.addEventListener("change", changed);
  paper.addEventListener("change", changed);
  addEventListener("beforeprint", () => {
    printing = true;
    document.documentElement.classList.add("printing");
    changed();
  });
  addEventListener("afterprint", () => {
    printing = false;
    document.documentElement.classList.remove("printing");
    changed();
  });
}
