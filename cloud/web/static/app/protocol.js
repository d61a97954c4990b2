// @ts-check
/** Snapshot and deltas into the store. Decides nothing about connections; stream.js owns those. */
import { batch, signal } from "../vendor/preact-bundle.js";
import { alerts, clockOffset, coverage, equipment, floors, indicators, now, robots, site, spaces } from "./store.js";

const SEVERITY = { red: 0, orange: 1, yellow: 2 };

/** @param {import("./types.d.ts").Alert} alert */
export const isOpen = (alert) => alert.handling !== "resolved" && !alert.historical;

/**
 * Red first, then newest; the id breaks ties.
 * @param {import("./types.d.ts").Alert[]} items
 */
export const inOrder = (items) =>
  [...items].sort(
    (a, b) =>
      SEVERITY[a.severity] - SEVERITY[b.severity] || b.opened_at.localeCompare(a.opened_at) || a.id.localeCompare(b.id),
  );

/** @param {import("./types.d.ts").Snapshot} snapshot */
export function applySnapshot(snapshot) {
  batch(() => {
    setServerTime(snapshot.time);
    site.value = snapshot.site;
    floors.value = snapshot.floors;
    spaces.value = new Map(
      Object.entries(snapshot.spaces).map(([id, space]) => [id, { id, floor: space.floor, rect: space.rect, state: signal(space.state) }]),
    );
    robots.value = new Map(snapshot.robots.map((robot) => [robot.id, signal(robot)]));
    equipment.value = new Map(snapshot.equipment.map((row) => [row.id, signal(row)]));
    alerts.value = inOrder(snapshot.alerts.filter(isOpen));
    indicators.value = new Map(snapshot.indicators.map((item) => [item.id, item]));
    coverage.value = new Map(
      Object.entries(snapshot.coverage).map(([id, grid]) => [
        id,
        { cell_m: grid.cell_m, columns: grid.columns, rows: grid.rows, passes: new Map(grid.cells), version: signal(0) },
      ]),
    );
  });
}

/**
 * False when a delta covers cells of a floor whose grid the snapshot did not have yet: only a new snapshot tells its size.
 * @param {import("./types.d.ts").Delta} delta
 */
export const fitsDelta = (delta) => Object.keys(delta.coverage ?? {}).every((id) => coverage.peek().has(id));

/** @param {import("./types.d.ts").Delta} delta */
export function applyDelta(delta) {
  batch(() => {
    setServerTime(delta.t);
    for (const [id, state] of Object.entries(delta.spaces ?? {})) {
      const space = spaces.peek().get(id);
      if (space) space.state.value = state;
    }
    merge(robots.peek(), delta.robots);
    merge(equipment.peek(), delta.equipment);
    if (delta.alerts) takeAlerts(delta.alerts);
    if (delta.indicators) {
      indicators.value = new Map([...indicators.peek(), ...delta.indicators.map((item) => /** @type {const} */ ([item.id, item]))]);
    }
    for (const [id, cells] of Object.entries(delta.coverage ?? {})) takeCells(id, cells);
  });
}

/** @param {import("./types.d.ts").Alert[]} changed */
export function takeAlerts(changed) {
  const ids = new Set(changed.map((alert) => alert.id));
  alerts.value = inOrder([...alerts.peek().filter((alert) => !ids.has(alert.id)), ...changed.filter(isOpen)]);
}

/**
 * A delta tells the fields that changed, not the whole row.
 * @param {Map<string, import("../vendor/preact-bundle.js").Signal<any>>} signals @param {{id: string}[] | undefined} changed
 */
function merge(signals, changed) {
  for (const item of changed ?? []) {
    const held = signals.get(item.id);
    if (held) held.value = { ...held.peek(), ...item };
  }
}

/** @param {string} id @param {[number, number][]} cells */
function takeCells(id, cells) {
  const grid = coverage.peek().get(id);
  if (!grid) return;
  for (const [index, passes] of cells) {
    if (passes > 0) grid.passes.set(index, passes);
    else grid.passes.delete(index);
  }
  grid.version.value += 1;
}

/** @param {string} instant */
function setServerTime(instant) {
  clockOffset.value = Date.parse(instant) - Date.now();
  now.value = Date.parse(instant);
}
