// @ts-check
/** What stands on the plan: spaces, robots, and equipment that is not OK. Marks keep their size on the screen. */
import { html } from "../vendor/preact-bundle.js";
import { stateLook } from "./icons.js";
import { box, point, turn } from "./plan-geometry.js";
import { equipment, robots, select, selected, spaces } from "./store.js";
import { called, say } from "./words.js";

/** @typedef {import("./plan-geometry.js").Frame} Frame */
/** @typedef {import("../vendor/preact-bundle.js").ReadonlySignal<number>} Scale drawing metres per screen pixel */

const BATTERY_LOW_PERCENT = 20;
const GLYPHS = /** @type {Record<string, string>} */ ({
  FAULT: "M-3 -3 3 3M3 -3 -3 3", EXT: "M0 -2.6V1.2M0 3.8v.1", DEGRADED: "M0 -3.4V.8M0 3.4v.1",
  UNKNOWN: "M-2.2 -1.6A2.2 2.2 0 1 1 .2 .6V1.4M.2 3.9v.1", PM: "M-3 3 1 -1M1 -3.4v2.4h2.4", DRILL: "M-3 3 1 -1M1 -3.4v2.4h2.4",
});
const SHAPES = /** @type {Record<string, unknown>} */ ({
  red: html`<rect class="mark" x="-7" y="-7" width="14" height="14" rx="2" />`,
  orange: html`<path class="mark" d="M0 -8.5 9 7.5H-9Z" />`,
});
const SILENT = ["RUN", "STANDBY", "OFF_DUTY"];

/** Patterns for what has no colour of its own: no data, closed. */
export const patterns = () => html`<defs>
  <pattern id="hatch" width="0.8" height="0.8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch-back" width="0.8" height="0.8" /><path class="hatch-line" d="M.2 0V.8" stroke-width="0.17" /></pattern>
  <pattern id="closed" width="1.2" height="1.2" patternUnits="userSpaceOnUse"><rect class="closed-back" width="1.2" height="1.2" /><path class="closed-line" d="M.2 .2 1 1M1 .2 .2 1" stroke-width="0.14" /></pattern>
</defs>`;
const FILLS = /** @type {Record<string, string>} */ ({ unknown: "url(#hatch)", closed: "url(#closed)" });

/** @param {{id: string, frame: Frame}} props */
function Space({ id, frame }) {
  const space = spaces.value.get(id);
  if (!space) return null;
  const state = space.state.value;
  const chosen = selected.value?.kind === "space" && selected.value.id === id;
  const place = box(frame, space.rect);
  return html`<rect class="space ${state} ${chosen ? "selected" : ""}" data-kind="space" data-id=${id} data-state=${state} fill=${FILLS[state]}
    x=${place.x} y=${place.y} width=${place.w} height=${place.h} rx=${Math.min(place.w, place.h) * 0.08} />`;
}

/** @param {{floor: string, frame: Frame}} props */
export function Spaces({ floor, frame }) {
  const shown = [...spaces.value.values()].filter((space) => space.floor === floor);
  return html`<g data-testid="spaces">${shown.map((space) => html`<${Space} key=${space.id} id=${space.id} frame=${frame} />`)}</g>`;
}

/** @param {import("./types.d.ts").Robot} robot */
const label = (robot) => (called(robot.name).length <= 3 ? called(robot.name) : robot.id.slice(-3).toUpperCase());

/** @param {{id: string, floor: string, frame: Frame, scale: Scale}} props */
function RobotMark({ id, floor, frame, scale }) {
  const robot = /** @type {import("./types.d.ts").Robot | undefined} */ (robots.value.get(id)?.value);
  if (!robot || robot.floor !== floor || robot.x === null || robot.y === null) return null;
  const [x, y] = point(frame, robot.x, robot.y);
  const chosen = selected.value?.kind === "robot" && selected.value.id === id;
  const low = robot.battery !== null && robot.battery < BATTERY_LOW_PERCENT;
  return html`<g class="robot ${robot.state} ${chosen ? "selected" : ""} ${low ? "low" : ""}" data-kind="robot" data-id=${id} data-testid="robot" data-state=${robot.state}
      transform="translate(${x.toFixed(3)} ${y.toFixed(3)}) scale(${scale.value.toFixed(5)})">
    <circle class="halo" r=${chosen ? 17 : 18} />
    ${robot.heading !== null && html`<path class="nose" d="M20 0 10.5 -7.5V7.5Z" transform="rotate(${turn(frame, robot.heading).toFixed(1)})" />`}
    <circle class="ring" r="13" /><circle class="body" r="11" />
    <text>${label(robot)}</text>
    ${robot.battery !== null && html`<rect class="cell" x="-9" y="-25" width="18" height="4.6" rx="1.4" /><rect class="charge" x="-8.2" y="-24.2" width=${(16.4 * Math.max(0, Math.min(100, robot.battery))) / 100} height="3" rx=".8" />`}
    <title>${called(robot.name)} · ${say(`state.robot.${robot.state}`)}</title>
  </g>`;
}

/** @param {{floor: string, frame: Frame, scale: Scale}} props */
export function Robots({ floor, frame, scale }) {
  return html`<g data-testid="robots">${[...robots.value.keys()].map((id) => html`<${RobotMark} key=${id} id=${id} floor=${floor} frame=${frame} scale=${scale} />`)}</g>`;
}

/** @param {{id: string, floor: string, frame: Frame, scale: Scale}} props */
function EquipmentMark({ id, floor, frame, scale }) {
  const row = /** @type {import("./types.d.ts").Row | undefined} */ (equipment.value.get(id)?.value);
  if (!row || row.floor !== floor || row.position === null) return null;
  const chosen = selected.value?.kind === "equipment" && selected.value.id === id;
  if (!chosen && SILENT.includes(row.state)) return null;
  const [x, y] = point(frame, row.position[0], row.position[1]);
  const tone = stateLook(row.state).tone;
  return html`<g class="thing ${tone} ${chosen ? "selected" : ""}" data-kind="equipment" data-id=${id} data-testid="equipment-mark" data-state=${row.state}
      transform="translate(${x} ${y}) scale(${scale.value})">
    <circle class="back" r="13" />
    ${SHAPES[tone] ?? html`<circle class="mark" r="7.5" />`}
    <path class="glyph" d=${GLYPHS[row.state] ?? "M-3.2 .2 -.8 2.6 3.4 -2.4"} />
    <title>${called(row.name)} · ${say(`state.equipment.${row.state.toLowerCase()}`)}</title>
  </g>`;
}

/** @param {{floor: string, frame: Frame, scale: Scale}} props */
export function EquipmentMarks({ floor, frame, scale }) {
  return html`<g data-testid="equipment-marks">${[...equipment.value.keys()].map((id) => html`<${EquipmentMark} key=${id} id=${id} floor=${floor} frame=${frame} scale=${scale} />`)}</g>`;
}

/** One listener for all marks: the mark under the click says what it is. @param {Event} event */
export function choose(event) {
  const mark = event.target instanceof Element ? event.target.closest("[data-kind]") : null;
  if (!(mark instanceof SVGElement)) {
    selected.value = null;
    return;
  }
  select(/** @type {"space" | "robot" | "equipment"} */ (mark.dataset.kind), mark.dataset.id ?? "", false);
}
