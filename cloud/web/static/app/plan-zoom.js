// @ts-check
/** Wheel, pinch, drag, double tap and keys on the plan, as changes of its view box. */
import { useEffect, useRef } from "../vendor/preact-bundle.js";
import { kept, zoomed } from "./plan-geometry.js";

/** @typedef {import("./plan-geometry.js").Box} Box */

const WHEEL_STEP = 1.0016;
const DOUBLE_TAP_MS = 300;
const DRAG_MIN_PX = 4;

/**
 * @param {{current: SVGSVGElement | null}} svg
 * @param {{value: Box, peek(): Box}} view
 * @param {Box} all the whole floor
 */
export function useZoom(svg, view, all) {
  const held = useRef(all);
  held.current = all;
  useEffect(() => {
    const element = svg.current;
    return element ? attach(element, view, () => held.current) : undefined;
  }, [svg.current]);
}

/** @param {SVGSVGElement} svg @param {{value: Box, peek(): Box}} view @param {() => Box} all @returns {() => void} */
function attach(svg, view, all) {
  /** @type {Map<number, {x: number, y: number}>} */
  const fingers = new Map();
  const stop = new AbortController();
  let moved = 0;
  let tapped = -Infinity;
  const on = (/** @type {string} */ name, /** @type {(event: any) => void} */ run, passive = true) =>
    svg.addEventListener(name, run, { signal: stop.signal, passive });
  const isWhole = () => view.peek().w >= all().w - 1e-6;
  const metres = (/** @type {number} */ clientX, /** @type {number} */ clientY) => {
    const place = svg.getBoundingClientRect();
    const box = view.peek();
    return { x: box.x + ((clientX - place.left) / place.width) * box.w, y: box.y + ((clientY - place.top) / place.height) * box.h };
  };
  const zoomAt = (/** @type {number} */ factor, /** @type {number} */ clientX, /** @type {number} */ clientY) => {
    const fixed = metres(clientX, clientY);
    view.value = zoomed(view.peek(), all(), factor, fixed.x, fixed.y);
  };
  const shift = (/** @type {number} */ dx, /** @type {number} */ dy) => {
    const place = svg.getBoundingClientRect();
    const box = view.peek();
    view.value = kept({ ...box, x: box.x - (dx / place.width) * box.w, y: box.y - (dy / place.height) * box.h }, all());
  };

  on("wheel", (event) => {
    if (event.deltaY > 0 && isWhole()) return; // nothing left to zoom out of: let the page scroll
    event.preventDefault();
    zoomAt(WHEEL_STEP ** -Math.max(-240, Math.min(240, event.deltaY * (event.deltaMode === 1 ? 30 : 1))), event.clientX, event.clientY);
  }, false);
  on("pointerdown", (event) => {
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.size === 1) moved = 0;
  });
  on("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before.x, event.clientY - before.y];
    if (fingers.size === 1) {
      moved += Math.hypot(dx, dy);
      if (moved < DRAG_MIN_PX || isWhole()) {
        if (moved >= DRAG_MIN_PX) fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
        return;
      }
      svg.setPointerCapture(event.pointerId);
      shift(dx, dy);
    } else if (fingers.size === 2) {
      moved = DRAG_MIN_PX;
      const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)?.[1] ?? before;
      const spread = Math.hypot(before.x - other.x, before.y - other.y);
      const now = Math.hypot(event.clientX - other.x, event.clientY - other.y);
      shift(dx / 2, dy / 2);
      zoomAt(now / Math.max(spread, 1), (event.clientX + other.x) / 2, (event.clientY + other.y) / 2);
    }
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  const lift = (/** @type {PointerEvent} */ event) => {
    fingers.delete(event.pointerId);
    if (event.type !== "pointerup" || moved >= DRAG_MIN_PX || fingers.size > 0) return;
    if (event.timeStamp - tapped < DOUBLE_TAP_MS) zoomAt(2, event.clientX, event.clientY);
    tapped = event.timeStamp;
  };
  on("pointerup", lift);
  on("pointercancel", lift);
  on("click", (event) => {
    if (moved >= DRAG_MIN_PX) event.stopImmediatePropagation(); // the end of a drag chooses nothing
  });
  on("keydown", (event) => {
    const place = svg.getBoundingClientRect();
    const [x, y] = [place.left + place.width / 2, place.top + place.height / 2];
    const step = place.width / 10;
    const moves = /** @type {Record<string, () => void>} */ ({
      "+": () => zoomAt(1.5, x, y), "=": () => zoomAt(1.5, x, y), "-": () => zoomAt(1 / 1.5, x, y), 0: () => (view.value = all()),
      ArrowLeft: () => shift(step, 0), ArrowRight: () => shift(-step, 0), ArrowUp: () => shift(0, step), ArrowDown: () => shift(0, -step),
    });
    const move = event.ctrlKey || event.metaKey ? undefined : moves[event.key];
    if (!move || (event.key.startsWith("Arrow") && isWhole())) return;
    event.preventDefault();
    move();
  }, false);
  return () => stop.abort();
}
