// @ts-check
/** A line or bar chart of shares against a target, in plain SVG, with a table for those who cannot see it. */
import { html, useEffect, useRef, useState } from "../vendor/preact-bundle.js";
import { cutPercent } from "./numbers.js";
import { linePath, runs } from "./spark.js";
import { say } from "./words.js";

const HEIGHT = 178;
const LABEL_MIN_PX = 58;
const LEFT = 46;
const RIGHT = 10;
const TOP = 12;
const BOTTOM = 22;

/** Round steps that give three to five lines. @param {number} low @param {number} high */
function ticks(low, high) {
  const step = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25].find((size) => (high - low) / size <= 5.5) ?? 0.25;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, index) => (first + index) * step);
}

/**
 * @typedef {object} ChartProps
 * @property {string} title
 * @property {string} id for tests
 * @property {"line" | "bars"} kind
 * @property {import("./types.d.ts").Trend} trend
 * @property {(instant: string) => string} full label of one value
 * @property {(instant: string, index: number) => string} tick label under the axis, "" for none
 */

/** @param {ChartProps} props */
export function Chart(props) {
  const [asTable, setAsTable] = useState(false);
  const { title, trend } = props;
  const known = trend.items.filter(([, value]) => value !== null);
  return html`<section class="card" aria-label=${title} data-testid="chart-${props.id}">
    <div class="card-head">
      <h2>${title}</h2>
      <div class="right"><button class="button quiet" aria-pressed=${String(asTable)} onClick=${() => setAsTable(!asTable)}>${say(asTable ? "page.chart.drawing" : "page.chart.table")}</button></div>
    </div>
    ${known.length === 0
      ? html`<div class="empty">${say("page.chart.empty")}</div>`
      : asTable
        ? html`<${ChartTable} ...${props} />`
        : html`<${Drawing} ...${props} />`}
  </section>`;
}

/** @param {ChartProps} props */
function ChartTable({ trend, full }) {
  return html`<div class="chart"><div class="chart-table"><table>
    <thead><tr><th scope="col">${say("page.chart.time")}</th><th scope="col">${say("page.chart.value")}</th></tr></thead>
    <tbody>${[...trend.items].reverse().map(([at, value]) => html`<tr key=${at}><td>${full(at)}</td><td>${value === null ? say("page.no_data") : `${cutPercent(value)} %`}</td></tr>`)}</tbody>
  </table></div></div>`;
}

/** @param {ChartProps} props */
function summary({ trend, title }) {
  const values = trend.items.flatMap(([, value]) => (value === null ? [] : [value]));
  const share = (/** @type {number} */ value) => `${cutPercent(value)} %`;
  return say("page.chart.summary", {
    title, low: share(Math.min(...values)), high: share(Math.max(...values)), last: share(values[values.length - 1]),
  });
}

/** @param {ChartProps} props */
function Drawing(props) {
  const { trend, kind, full, tick } = props;
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const [width, setWidth] = useState(560);
  const [at, setAt] = useState(-1);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => setWidth(Math.max(220, entry.contentRect.width)));
    if (box.current) watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  const { items, target } = trend;
  const values = items.flatMap(([, value]) => (value === null ? [] : [value]));
  const [low, high] = kind === "bars" ? [0, 1] : range(values, target);
  const slot = (width - LEFT - RIGHT) / items.length;
  const x = (/** @type {number} */ index) => LEFT + slot * (index + 0.5);
  const y = (/** @type {number} */ value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const move = (/** @type {PointerEvent} */ event) => {
    const left = box.current?.getBoundingClientRect().left ?? 0;
    const index = Math.floor((event.clientX - left - LEFT) / slot);
    setAt(index >= 0 && index < items.length ? index : -1);
  };
  const pointed = at >= 0 && at < items.length ? items[at] : null;
  return html`<div class="chart"><div ref=${box} style="position:relative" onPointerMove=${move} onPointerDown=${move} onPointerLeave=${() => setAt(-1)}>
    <svg viewBox="0 0 ${width} ${HEIGHT}" role="img" aria-label=${summary(props)}>
      <defs><pattern id="chart-gap" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="1.2" height="6" class="gap-line" fill="var(--line)" /></pattern></defs>
      ${target !== null && target > low && html`<rect class="breach" x=${LEFT} width=${width - LEFT - RIGHT} y=${y(target)} height=${Math.max(0, y(low) - y(target))} />`}
      ${ticks(low, high).map((value) => html`<line class="grid" x1=${LEFT} x2=${width - RIGHT} y1=${y(value)} y2=${y(value)} /><text x=${LEFT - 8} y=${y(value) + 4} text-anchor="end">${Math.round(value * 10000) / 100}%</text>`)}
      ${items.map(([, value], index) => value === null && html`<rect x=${x(index) - slot / 2} width=${slot} y=${TOP} height=${HEIGHT - TOP - BOTTOM} fill="url(#chart-gap)" />`)}
      ${kind === "bars" ? bars(items, x, y, slot, at) : lines(items, x, y, target)}
      ${target !== null && html`<line class="target" x1=${LEFT} x2=${width - RIGHT} y1=${y(target)} y2=${y(target)} />`}
      <line class="axis" x1=${LEFT} x2=${width - RIGHT} y1=${HEIGHT - BOTTOM} y2=${HEIGHT - BOTTOM} />
      ${labels(items, tick, x).map(([at, text]) => html`<text x=${at} y=${HEIGHT - 5} text-anchor="middle">${text}</text>`)}
      ${pointed && kind === "line" && html`<line class="cross" x1=${x(at)} x2=${x(at)} y1=${TOP} y2=${HEIGHT - BOTTOM} />`}
    </svg>
    ${pointed && html`<div class="tip" style="left:${Math.min(Math.max(x(at), 90), width - 90)}px">${full(pointed[0])} · ${pointed[1] === null ? say("page.no_data") : `${cutPercent(pointed[1])} %`}</div>`}
  </div></div>`;
}

/**
 * The wished labels from the newest back, without those that would run into their neighbour.
 * @param {[string, number | null][]} items @param {(instant: string, index: number) => string} tick @param {(index: number) => number} x
 */
function labels(items, tick, x) {
  /** @type {[number, string][]} */
  const kept = [];
  for (let index = items.length - 1; index >= 0; index -= 1) {
    const text = tick(items[index][0], index);
    if (text && (kept.length === 0 || kept[kept.length - 1][0] - x(index) >= LABEL_MIN_PX)) kept.push([x(index), text]);
  }
  return kept;
}

/** Room for the target and a little air; never a scale that makes a tenth of a percent look like a cliff. @param {number[]} values @param {number | null} target */
function range(values, target) {
  const marks = target === null ? values : [...values, target];
  const lowest = Math.min(...marks);
  const highest = Math.max(...marks);
  const air = Math.max((highest - lowest) * 0.15, 0.004);
  return [Math.max(0, lowest - air), Math.min(1, highest + air)];
}

/** @param {[string, number | null][]} items @param {(index: number) => number} x @param {(value: number) => number} y @param {number} slot @param {number} at */
function bars(items, x, y, slot, at) {
  const width = Math.max(1.5, slot * 0.72);
  return items.map(([instant, value], index) =>
    value === null ? null : html`<rect key=${instant} class="bar ${index === at ? "on" : ""}" x=${x(index) - width / 2} width=${width} y=${y(value)} height=${Math.max(0, y(0) - y(value))} rx=${Math.min(2, width / 3)} />`,
  );
}

/** @param {[string, number | null][]} items @param {(index: number) => number} x @param {(value: number) => number} y @param {number | null} target */
function lines(items, x, y, target) {
  const drawn = runs(items.map(([, value], index) => (value === null ? null : [x(index), y(value)])));
  const last = items.findLastIndex(([, value]) => value !== null);
  return html`${drawn.map((run) => html`<path class="series" d=${linePath(run)} />`)}
    ${items.map(([instant, value], index) => {
      if (value === null) return null;
      const below = target !== null && value < target;
      const alone = (items[index - 1]?.[1] ?? null) === null && (items[index + 1]?.[1] ?? null) === null;
      return (below || alone || index === last) && html`<circle key=${instant} class="dot ${below ? "below" : ""}" cx=${x(index)} cy=${y(value)} r="3.5" />`;
    })}`;
}
