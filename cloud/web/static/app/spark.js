// @ts-check
/** A small line without axes: the last values of an indicator, gaps left as gaps. */
import { html } from "../vendor/preact-bundle.js";

const WIDTH = 104;
const HEIGHT = 36;

/**
 * Runs of neighbouring known points, so that a gap is never bridged.
 * @param {([number, number] | null)[]} points
 * @returns {[number, number][][]}
 */
export function runs(points) {
  /** @type {[number, number][][]} */
  const found = [];
  let open = false;
  for (const point of points) {
    if (point === null) {
      open = false;
      continue;
    }
    if (open) found[found.length - 1].push(point);
    else found.push([point]);
    open = true;
  }
  return found;
}

/** @param {[number, number][]} run */
export const linePath = (run) => run.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/** @param {{items: [string, number | null][], target: number | null, neutral?: boolean}} props */
export function Spark({ items, target, neutral }) {
  const known = items.flatMap(([, value]) => (value === null ? [] : [value]));
  if (known.length < 2) return null;
  const marks = target === null ? known : [...known, target];
  const low = Math.min(...marks);
  const span = Math.max(Math.max(...marks) - low, 0.004);
  const step = WIDTH / Math.max(items.length - 1, 1);
  const y = (/** @type {number} */ value) => HEIGHT - 3 - ((value - low) / span) * (HEIGHT - 6);
  const lines = runs(items.map(([, value], index) => (value === null ? null : [index * step, y(value)])));
  const last = known[known.length - 1];
  const end = lines[lines.length - 1].slice(-1)[0];
  const tone = neutral ? "neutral" : target !== null && last < target ? "below" : "";
  return html`<svg class="spark ${tone}" viewBox="0 0 ${WIDTH} ${HEIGHT}" aria-hidden="true">
    ${lines.map((run) => html`<path class="area" d="${linePath(run)}L${run[run.length - 1][0]} ${HEIGHT}L${run[0][0]} ${HEIGHT}Z" />`)}
    ${target !== null && html`<line class="target" x1="0" x2=${WIDTH} y1=${y(target)} y2=${y(target)} />`}
    ${lines.map((run) => html`<path class="line" d=${linePath(run)} />`)}
    <circle cx=${end[0]} cy=${end[1]} r="2.4" />
  </svg>`;
}
