// @ts-check
/** @file Tables first, because they can be read at once; then the figures. */
import { hasCell, showCharts } from "./charts.js";
import { showRankedList } from "./ranked-list.js";
import { showSheets } from "./sheets.js";

async function showPage() {
  const root = document.documentElement;
  root.classList.add("scripted");
  await showRankedList(hasCell);
  root.dataset.ready = "list";
  // Lets the browser draw what is there.
  await new Promise((resolve) => setTimeout(resolve));
  showCharts();
  await showSheets();
  root.dataset.ready = "all";
}

showPage();
