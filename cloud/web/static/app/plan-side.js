// @ts-check
/** Beside the drawing: what is chosen, the legend, and every registered robot, also those without a position. */
import { computed, html, useMemo } from "../vendor/preact-bundle.js";
import { StateTag } from "./equipment.js";
import { cross } from "./icons.js";
import { Ago } from "./ago.js";
import { measured } from "./numbers.js";
import { equipment, hiddenLayers, now, robots, select, selected, spaces } from "./store.js";
import { called, say } from "./words.js";

const TONES = /** @type {Record<string, string>} */ ({ fault: "red", paused: "yellow", manual: "yellow", charging: "ok" });
const SEEN_OLD_MS = 30_000;

/** @param {string | null} instant */
const seen = (instant) => (instant === null ? say("page.robot.never_seen") : html`<${Ago} at=${instant} word="page.robot.seen" />`);

export function Chosen() {
  const chosen = selected.value;
  const inside = chosen && { space: chosenSpace, robot: chosenRobot, equipment: chosenEquipment }[chosen.kind](chosen.id);
  if (!inside) return null;
  return html`<div class="plan-tip" data-testid="chosen" role="status">
    ${inside}
    <button class="close" aria-label=${say("page.close")} onClick=${() => (selected.value = null)}><span class="glyph-box small">${cross()}</span></button>
  </div>`;
}

/** @param {string} id */
function chosenSpace(id) {
  const space = spaces.value.get(id);
  return space && html`<strong>${say("page.space", { id })}</strong><span class="tag">${say(`state.space.${space.state.value}`)}</span>`;
}

/** @param {string} id */
function chosenRobot(id) {
  const robot = robots.value.get(id)?.value;
  if (!robot) return null;
  return html`<strong>${called(robot.name)}</strong><span class="tag ${TONES[robot.state] ?? ""}">${say(`state.robot.${robot.state}`)}</span>
    <span class="note">${robot.battery === null ? say("page.robot.no_battery") : say("page.robot.battery", { percent: Math.floor(robot.battery) })}</span>
    <span class="note">${seen(robot.seen_at)}</span>
    ${robot.x === null && html`<span class="note">${say("page.robot.no_position")}</span>`}`;
}

/** @param {string} id */
function chosenEquipment(id) {
  const row = equipment.value.get(id)?.value;
  if (!row) return null;
  const value = measured(row.value, row.value_unit);
  return html`<strong>${called(row.name)}</strong><${StateTag} state=${row.state} />
    ${row.since && html`<span class="note"><${Ago} at=${row.since} /></span>`}
    ${value !== null && html`<span class="note">${value}</span>`}
    ${row.position === null && html`<span class="note">${say("page.equipment.no_position")}</span>`}`;
}

/** A small space drawn as on the plan. @param {string} state @param {string} [fill] */
const sample = (state, fill) => html`<svg viewBox="0 0 14 14"><rect class="space ${state}" x="1" y="1" width="12" height="12" rx="2" fill=${fill} /></svg>`;

export function Legend() {
  const hidden = hiddenLayers.value;
  const present = new Set([...spaces.value.values()].map((space) => space.state.value));
  const states = ["free", "occupied", "unknown", "reserved", "closed"].filter((state) => present.has(state));
  return html`<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>
      <pattern id="legend-unknown" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch-back" width="4" height="4" /><path class="hatch-line" d="M1 0V4" stroke-width="1.3" /></pattern>
      <pattern id="legend-closed" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="closed-back" width="6" height="6" /><path class="closed-line" d="M1 1 5 5M5 1 1 5" stroke-width=".9" /></pattern>
    </defs></svg>
    <ul class="legend" aria-label=${say("page.legend")}>
    ${!hidden.has("spaces") && states.map((state) => html`<li key=${state}>${sample(state, ["unknown", "closed"].includes(state) ? `url(#legend-${state})` : undefined)}${say(`state.space.${state}`)}</li>`)}
    ${!hidden.has("coverage") && html`<li><span class="ramp"></span>${say("page.legend.passes")}</li>`}
    ${!hidden.has("equipment") && html`<li>${say("page.legend.equipment")}</li>`}
  </ul>`;
}

/** @param {{id: string}} props */
function RobotChip({ id }) {
  const robot = /** @type {import("./types.d.ts").Robot | undefined} */ (robots.value.get(id)?.value);
  const at = robot?.seen_at ?? null;
  const old = useMemo(() => computed(() => at === null || now.value - Date.parse(at) > SEEN_OLD_MS), [at]).value;
  if (!robot) return null;
  const chosen = selected.value?.kind === "robot" && selected.value.id === id;
  return html`<button class="robot-chip" data-testid="robot-row" data-id=${id} aria-pressed=${String(chosen)} onClick=${() => select("robot", id, true)}>
    <strong>${called(robot.name)}</strong>
    <span class="tag ${TONES[robot.state] ?? ""}">${say(`state.robot.${robot.state}`)}</span>
    <span class="muted">${old ? seen(robot.seen_at) : robot.battery === null ? say("page.robot.no_battery") : `${Math.floor(robot.battery)} %`}</span>
  </button>`;
}

export function RobotList() {
  if (robots.value.size === 0) return null;
  return html`<div class="robots" role="group" aria-label=${say("page.layer.robots")}>${[...robots.value.keys()].map((id) => html`<${RobotChip} key=${id} id=${id} />`)}</div>`;
}
