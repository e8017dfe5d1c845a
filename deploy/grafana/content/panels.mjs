// content/*.mjs -> here: what a panel is made of: a title, a unit, queries.
export const COLUMNS = 24;

/** @param {string} expr @param {string} legendFormat */
export const query = (expr, legendFormat = "") => ({ expr, legendFormat });

export const row = (title) => ({ row: title });
export const stat = (title, unit, expr, { thresholds = [], description = "" } = {}) => ({
  kind: "stat",
  title,
  unit,
  description,
  thresholds,
  width: 4,
  height: 4,
  targets: [query(expr)],
});
export const graph = (
  title,
  unit,
  targets,
  { description = "", stack = false, bars = false, max, width = 8 } = {},
) => ({
  kind: "timeseries",
  title,
  unit,
  description,
  stack,
  bars,
  max,
  width,
  height: 8,
  targets,
});

export const rate = (selector) => `rate(${selector}[$__rate_interval])`;
export const quantile = (q, by, selector) => `histogram_quantile(${q}, sum by (le${by}) (${rate(selector)}))`;
export const red = (value) => [
  { color: "green", value: null },
  { color: "red", value },
];

export const ofNode = '{instance=~"$instance"}';
export const withNode = (labels) => `{${labels},instance=~"$instance"}`;
export const nodeProcess = withNode('component="push-node"');
