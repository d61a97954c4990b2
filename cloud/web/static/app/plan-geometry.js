// @ts-check
/**
 * Floor metres (y upwards, origin lower left) to drawing metres (y downwards). On a phone a wide floor is turned upright,
 * clockwise by a quarter, so that it fills the screen.
 * @typedef {{width: number, height: number, turned: boolean, left: number, bottom: number}} Frame
 * @typedef {{x: number, y: number, w: number, h: number}} Box
 */

export const ZOOM_MAX = 8;

/**
 * The frame that holds the floor, or the bounding box of its spaces when the floor has no size.
 * @param {import("./types.d.ts").Floor} floor @param {{rect: number[]}[]} spaces @param {boolean} upright
 * @returns {Frame}
 */
export function frameOf(floor, spaces, upright) {
  let [left, bottom, right, top] = [0, 0, floor.width_m, floor.height_m];
  if (!(right > 0 && top > 0)) {
    left = Math.min(...spaces.map(({ rect }) => rect[0]), 0) - 2;
    bottom = Math.min(...spaces.map(({ rect }) => rect[1]), 0) - 2;
    right = Math.max(...spaces.map(({ rect }) => rect[0] + rect[2]), 10) + 2;
    top = Math.max(...spaces.map(({ rect }) => rect[1] + rect[3]), 10) + 2;
  }
  const [wide, high] = [right - left, top - bottom];
  const turned = upright && wide > high;
  return { width: turned ? high : wide, height: turned ? wide : high, turned, left, bottom };
}

/** @param {Frame} frame @param {number} x @param {number} y @returns {[number, number]} */
export const point = (frame, x, y) =>
  frame.turned ? [y - frame.bottom, x - frame.left] : [x - frame.left, frame.height - (y - frame.bottom)];

/** @param {Frame} frame @param {number[]} rect x, y, w, h in floor metres @returns {Box} */
export function box(frame, [x, y, w, h]) {
  const [ax, ay] = point(frame, x, y);
  const [bx, by] = point(frame, x + w, y + h);
  return { x: Math.min(ax, bx), y: Math.min(ay, by), w: Math.abs(bx - ax), h: Math.abs(by - ay) };
}

/** Degrees clockwise on the screen from "right". @param {Frame} frame @param {number} heading rad, counter-clockwise from +x */
export const turn = (frame, heading) => {
  const [dx, dy] = frame.turned ? [Math.sin(heading), Math.cos(heading)] : [Math.cos(heading), -Math.sin(heading)];
  return (Math.atan2(dy, dx) * 180) / Math.PI;
};

/** The whole floor with a margin for its walls. @param {Frame} frame @returns {Box} */
export const whole = (frame) => {
  const margin = Math.max(frame.width, frame.height) * 0.012;
  return { x: -margin, y: -margin, w: frame.width + 2 * margin, h: frame.height + 2 * margin };
};

/**
 * Zoomed by `factor` with the point (px, py) staying where it is; never beyond the whole floor nor closer than ZOOM_MAX.
 * @param {Box} view @param {Box} all @param {number} factor above 1 is closer @param {number} px @param {number} py
 */
export function zoomed(view, all, factor, px, py) {
  const w = Math.min(all.w, Math.max(all.w / ZOOM_MAX, view.w / factor));
  const scale = w / view.w;
  return kept({ x: px - (px - view.x) * scale, y: py - (py - view.y) * scale, w, h: view.h * scale }, all);
}

/** The view moved back over the floor. @param {Box} view @param {Box} all @returns {Box} */
export const kept = (view, all) => ({
  ...view,
  x: Math.min(Math.max(view.x, all.x), all.x + all.w - view.w),
  y: Math.min(Math.max(view.y, all.y), all.y + all.h - view.h),
});

/** A view centred on a point, at least twice as close as the whole. @param {Box} view @param {Box} all @param {number} x @param {number} y */
export function centred(view, all, x, y) {
  const w = Math.min(view.w, all.w / 2);
  const h = (w / all.w) * all.h;
  return kept({ x: x - w / 2, y: y - h / 2, w, h }, all);
}
