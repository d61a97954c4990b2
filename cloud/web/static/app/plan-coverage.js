// @ts-check
/** Cells that robots covered today: one canvas pixel per cell, shown as an image in the plan. */
import { html, useMemo } from "../vendor/preact-bundle.js";
import { box } from "./plan-geometry.js";
import { coverage, theme } from "./store.js";

const STEPS = 9;

/** @param {string} name of a CSS variable holding #rrggbb @returns {number[]} */
function colour(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16));
}

/** @returns {number[][]} step -> r, g, b */
function ramp() {
  const [from, to] = [colour("--cover-1"), colour("--cover-9")];
  return Array.from({ length: STEPS }, (_, step) => from.map((value, index) => Math.round(value + ((to[index] - value) * step) / (STEPS - 1))));
}

/**
 * @param {{columns: number, rows: number, passes: Map<number, number>}} grid
 * @param {boolean} turned
 * @returns {string} data URL
 */
function paint(grid, turned) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = turned ? [grid.rows, grid.columns] : [grid.columns, grid.rows];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(canvas.width, canvas.height);
  const steps = ramp();
  for (const [index, passes] of grid.passes) {
    const [row, column] = [Math.floor(index / grid.columns), index % grid.columns];
    const pixel = (turned ? column * canvas.width + row : (grid.rows - 1 - row) * canvas.width + column) * 4;
    const [r, g, b] = steps[Math.min(passes, STEPS) - 1];
    image.data.set([r, g, b, 255], pixel);
  }
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

/** @param {{floor: string, frame: import("./plan-geometry.js").Frame}} props */
export function Coverage({ floor, frame }) {
  const grid = coverage.value.get(floor);
  const version = grid?.version.value;
  const picture = useMemo(
    () => (grid && grid.columns > 0 && grid.rows > 0 ? paint(grid, frame.turned) : ""),
    [grid, version, theme.value, frame.turned],
  );
  if (!grid || picture === "") return null;
  const place = box(frame, [0, 0, grid.columns * grid.cell_m, grid.rows * grid.cell_m]);
  return html`<image data-testid="coverage" data-cells=${grid.passes.size} href=${picture} x=${place.x} y=${place.y} width=${place.w} height=${place.h} preserveAspectRatio="none" opacity=".75" />`;
}
