// @ts-check
/** @file The figures: drawn by ECharts from the options that `--svg` draws, with words on what is pointed at. */
import { elementOf, nodeOfRow, numberInRow, pageData, rowOfNode } from "./data.js";
import { plainText, shortText, signedText } from "./numbers.js";
import { orderedPositions } from "./ranked-list.js";
import { currentTheme, watchTheme } from "./theme.js";

/** More marks than this are drawn as a picture, not as elements each. */
const MOST_ELEMENTS = 4000;

/** Of the limit: smaller numbers are left out of cells, as in the figures' own. */
const LEAST_SHARE = 0.005;

/** @typedef {import("../page-data.js").Figure} Figure */

/**
 * @typedef {object} Drawn
 * @property {Figure} figure
 * @property {HTMLElement} element
 * @property {any} chart
 * @property {readonly any[]} data of the first series
 * @property {readonly string[]} nodes
 * @property {number} shared reach of the scale that figures of one kind have in common
 * @property {number} own
 * @property {string} scale
 */

/** @type {Drawn[]} */
const drawn = [];

export function showCharts() {
  for (const figure of pageData.figures) {
    const element = elementOf(`figure-${figure.id}`);
    element.style.height = `${figure.height}px`;
    element.style.setProperty("--least-width", `${figure.minWidth}px`);
    const { shared = 1, own = 1 } = figure.scale ?? {};
    drawn.push({
      figure,
      element,
      chart: undefined,
      data: seriesOf(figure)[0].data,
      nodes: figure.nodes ?? [],
      shared,
      own,
      scale: "shared",
    });
  }
  for (const each of drawn) draw(each);
  connectControls();
  watchTheme(() => {
    for (const each of drawn) draw(each);
  });
  new ResizeObserver(() => {
    for (const { chart } of drawn) chart.resize();
  }).observe(document.body);
  addEventListener("hashchange", showCell);
  showCell();
}

/**
 * Whether a figure has a node's cell.
 * @param {string} node
 */
export function hasCell(node) {
  const site = /\.([A-Za-z]+)/.exec(node)?.[1] ?? "";
  const figure = pageData.figures.find(({ id }) => id === site);
  return figure !== undefined && (site !== "neuron" || (figure.nodes?.includes(node) ?? false));
}

/** @param {Figure} figure */
function seriesOf({ option }) {
  return /** @type {any[]} */ ([option.series].flat());
}

/** @param {Drawn} each */
function draw(each) {
  const { figure, element, data } = each;
  each.chart?.dispose();
  each.chart = echarts.init(element, currentTheme(), {
    renderer: data.length > MOST_ELEMENTS ? "canvas" : "svg",
  });
  each.chart.setOption(optionOf(each));
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", `${figure.title}: ${data.length} marks; the tables have their numbers`);
  each.chart.on("click", (/** @type {any} */ at) => {
    const node = nodeAt(each, at);
    if (node !== undefined && rowOfNode(node) !== undefined)
      location.hash = `#row-${encodeURIComponent(node)}`;
  });
}

/** @param {Drawn} each */
function optionOf({ figure, data, shared, own, scale, nodes }) {
  const { option } = figure;
  const tooltip = {
    .../** @type {object} */ (option.tooltip),
    formatter: (/** @type {any} */ at) => hoverText({ figure, nodes }, at),
  };
  if (!figure.scale) return { ...option, tooltip };
  const [heat, ...others] = seriesOf(figure);
  const reach = scale === "own" ? own : shared;
  const root = scale === "root";
  const most = root ? Math.sqrt(reach) : reach;
  const cells = root ? data.map(withRoot) : data;
  const visualMap = {
    .../** @type {object} */ (option.visualMap),
    min: -most,
    max: most,
    dimension: root ? 3 : 2,
    text: [signedText(reach), signedText(-reach)],
  };
  return {
    ...option,
    tooltip,
    visualMap,
    series: [{ ...heat, data: cells, encode: { value: 2 } }, ...others],
  };
}

/** @param {any} cell */
function withRoot(cell) {
  const value = Array.isArray(cell) ? cell : cell.value;
  const rooted = [...value, Math.sign(value[2]) * Math.sqrt(Math.abs(value[2]))];
  return Array.isArray(cell) ? rooted : { ...cell, value: rooted };
}

/**
 * @param {Pick<Drawn, "figure" | "nodes">} each
 * @param {any} at
 * @returns {string | undefined}
 */
function nodeAt({ figure, nodes }, at) {
  if (figure.scale) return nodes[at.dataIndex];
  return figure.id === "estimate-against-exact" ? at.name : undefined;
}

/**
 * @param {Pick<Drawn, "figure" | "nodes">} each
 * @param {any} at
 */
function hoverText(each, at) {
  const node = nodeAt(each, at);
  const value = at.value ?? [];
  const lines =
    node === undefined ? [at.seriesName, ...valueLines(each.figure, at)] : [node, ...nodeLines(node)];
  if (each.figure.scale && node !== undefined && rowOfNode(node) === undefined) {
    lines.push(`${each.figure.headsOf ? "added up over positions" : "mean effect"}: ${signedText(value[2])}`);
  }
  const box = document.createElement("div");
  lines.forEach((text, place) => {
    const line = box.appendChild(document.createElement("div"));
    line.textContent = text;
    if (place === 0) line.style.fontWeight = "bold";
  });
  return box;
}

/** @param {string} node */
function nodeLines(node) {
  const { ranked } = pageData;
  const row = rowOfNode(node);
  if (!ranked || row === undefined) return [];
  const token = ranked.token[row];
  const number = (/** @type {import("../page-data.js").NumberColumn} */ column) =>
    numberInRow(ranked, column, row);
  const withError = (/** @type {number} */ mean, /** @type {number | undefined} */ error) =>
    `${signedText(mean)}${error === undefined ? "" : ` ± ${plainText(error)}`}`;
  const [effect, estimate] = [number("effect_mean"), number("estimate_mean")];
  const contributions = [number("effect_contribution"), number("estimate_contribution")];
  return [
    ...(token === null ? [] : [`token ${ranked.tokens[token]}`]),
    `rank ${plainText(number("rank") ?? Number.NaN)}`,
    ...(effect === undefined ? [] : [`exact effect ${withError(effect, number("effect_se"))}`]),
    ...(estimate === undefined ? [] : [`estimate ${withError(estimate, number("estimate_se"))}`]),
    ...["exact", "estimated"].flatMap((name, place) => {
      const contribution = contributions[place];
      return contribution === undefined ? [] : [`${name} contribution ${plainText(contribution)}`];
    }),
  ];
}

/**
 * @param {Figure} figure
 * @param {any} at
 */
function valueLines({ id }, at) {
  const [x, y, look] = at.value ?? [];
  if (id === "bound")
    return [...(look > 0 ? [`look ${look}`] : []), `${plainText(x)} samples: ${plainText(y)}`];
  if (id === "curves" || id === "faithfulness") return [`first ${at.name}: f = ${plainText(y)}`];
  return [`${plainText(x)}, ${plainText(y)}`];
}

function connectControls() {
  for (const select of document.querySelectorAll("select.scale")) {
    select.addEventListener("input", () => {
      for (const each of drawnIn(select)) {
        each.scale = select instanceof HTMLSelectElement ? select.value : "shared";
        draw(each);
      }
    });
  }
  const { ranked } = pageData;
  for (const select of document.querySelectorAll("select.heads-position")) {
    if (!(select instanceof HTMLSelectElement) || !ranked) continue;
    const heads = drawnIn(select);
    const sites = new Set(heads.map(({ figure }) => ranked.sites.indexOf(figure.headsOf ?? "")));
    const present = new Set(ranked.position.filter((_, row) => sites.has(ranked.site[row])));
    const options = orderedPositions(ranked).filter(({ place }) => present.has(place));
    select.append(
      new Option("added up", ""),
      ...options.map(({ place, text }) => new Option(text, String(place))),
    );
    select.addEventListener("input", () => showPosition(heads, select.value));
  }
}

/** @param {Element} control */
function drawnIn(control) {
  const section = control.closest("section");
  return drawn.filter(({ element }) => section?.contains(element));
}

/**
 * Redraws heads for one position, or added up over all.
 * @param {Drawn[]} heads
 * @param {string} position place in `positions`; "" for all
 */
function showPosition(heads, position) {
  const cells = heads.map(({ figure }) => cellsAt(figure.headsOf ?? "", Number(position)));
  const reaches = cells.map(
    (each) => each.reduce((most, { value }) => Math.max(most, Math.abs(value[2])), 0) || 1,
  );
  heads.forEach((each, place) => {
    const { figure } = each;
    if (position === "") {
      each.data = seriesOf(figure)[0].data;
      each.nodes = figure.nodes ?? [];
      each.shared = figure.scale?.shared ?? 1;
      each.own = figure.scale?.own ?? 1;
    } else {
      each.shared = Math.max(...reaches);
      each.own = reaches[place];
      const labelled = seriesOf(figure)[0].label.show;
      each.data = cells[place].map((cell) => (labelled ? labelledCell(cell, each.shared) : cell.value));
      each.nodes = cells[place].map(({ node }) => node);
    }
    draw(each);
  });
}

/**
 * @param {string} site
 * @param {number} position
 */
function cellsAt(site, position) {
  const { ranked } = pageData;
  if (!ranked) return [];
  const at = ranked.sites.indexOf(site);
  return ranked.site.flatMap((of, row) => {
    if (of !== at || ranked.position[row] !== position) return [];
    const verified = ranked.verified[row] === 1;
    const effect = numberInRow(ranked, verified ? "effect_mean" : "estimate_mean", row);
    if (effect === undefined) return [];
    return [
      { node: nodeOfRow(ranked, row), value: [ranked.index[row] ?? 0, ranked.layer[row], effect], verified },
    ];
  });
}

/**
 * As the figure's own cells are.
 * @param {{ value: number[], verified: boolean }} cell
 * @param {number} limit
 */
function labelledCell({ value, verified }, limit) {
  const faint = Math.abs(value[2]) < LEAST_SHARE * limit;
  const formatter = faint ? "" : `${verified ? "" : "≈"}${shortText(value[2], limit)}`;
  return { value, label: { formatter, fontWeight: verified ? "bold" : "normal" } };
}

/** Leads to the cell that the address names. */
function showCell() {
  const hash = decodeURIComponent(location.hash);
  if (!hash.startsWith("#cell-")) return;
  const node = hash.slice("#cell-".length);
  const each = drawn.find(({ figure }) => figure.id === /\.([A-Za-z]+)/.exec(node)?.[1]);
  if (!each) return;
  if (each.figure.headsOf) choosePosition(each, node.slice(node.indexOf("@") + 1));
  const dataIndex = each.nodes.indexOf(node);
  if (dataIndex < 0) return;
  each.element.scrollIntoView({ block: "center" });
  each.element.parentElement?.focus({ preventScroll: true });
  for (const other of drawn) other.chart.dispatchAction({ type: "downplay", seriesIndex: 0 });
  each.chart.dispatchAction({ type: "highlight", seriesIndex: 0, dataIndex });
  each.chart.dispatchAction({ type: "showTip", seriesIndex: 0, dataIndex });
}

/**
 * @param {Drawn} each
 * @param {string} position
 */
function choosePosition({ element }, position) {
  const select = element.closest("section")?.querySelector("select.heads-position");
  const place = pageData.ranked?.positions.findIndex((known) => String(known) === position) ?? -1;
  if (!(select instanceof HTMLSelectElement) || place < 0 || select.value === String(place)) return;
  select.value = String(place);
  showPosition(drawnIn(select), select.value);
}
