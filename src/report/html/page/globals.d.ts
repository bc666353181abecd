/** The libraries of the page, which are scripts before it. Their types want more of a DOM than is used here. */
declare const echarts: {
  // biome-ignore lint/suspicious/noExplicitAny: options are data of `Figure`, built and checked on the other side.
  init(element: HTMLElement, theme: object, options: { readonly renderer: "svg" | "canvas" }): any;
};
declare const Tabulator: {
  // biome-ignore lint/suspicious/noExplicitAny: the package has no types.
  new (element: HTMLElement, options: object): any;
};
