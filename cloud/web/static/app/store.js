// @ts-check
/** All state of the page, and nothing else holds any. Values arrive through protocol.js and the address bar. */
import { computed, effect, signal } from "../vendor/preact-bundle.js";

/** @typedef {import("../vendor/preact-bundle.js").Signal<any>} AnySignal */

/**
 * @template T
 * @param {T} value
 * @returns {import("../vendor/preact-bundle.js").Signal<T>}
 */
const state = (value) => signal(value);

/** @returns {string | null} */
export const remembered = (/** @type {string} */ key) => {
  try {
    return window.localStorage.getItem(`gatehouse.${key}`);
  } catch {
    return null; // storage may be forbidden: the choice then lasts as long as the page
  }
};
export const remember = (/** @type {string} */ key, /** @type {string} */ value) => {
  try {
    window.localStorage.setItem(`gatehouse.${key}`, value);
  } catch {
    // as above
  }
};

const query = new URLSearchParams(window.location.search);
const chosenInAddress = /^(space|robot|equipment):(.+)$/.exec(query.get("sel") ?? "");

/** "loading" | "live" | "reconnecting" | "stale" | "offline" */
export const connection = state("loading");
/** Why the page shows nothing: "" | "not-found" | "unreachable" */
export const failure = state("");
/** Server time minus this machine's time, ms; set by each snapshot and delta. */
export const clockOffset = state(0);
/** Server time as last ticked, ms since 1970 UTC; ticks every few seconds, ages are computed from it. */
export const now = state(Date.now());

export const site = state(/** @type {import("./types.d.ts").Site | null} */ (null));
export const sites = state(/** @type {import("./types.d.ts").SiteItem[] | null} */ (null));
export const floors = state(/** @type {import("./types.d.ts").Floor[]} */ ([]));
/** Each space, robot and equipment row has a signal of its own: a change renders that one thing. */
export const spaces = state(/** @type {Map<string, {id: string, floor: string, rect: number[], state: AnySignal}>} */ (new Map()));
export const robots = state(/** @type {Map<string, AnySignal>} */ (new Map()));
export const equipment = state(/** @type {Map<string, AnySignal>} */ (new Map()));
export const alerts = state(/** @type {import("./types.d.ts").Alert[]} */ ([]));
export const indicators = state(/** @type {Map<string, import("./types.d.ts").Indicator>} */ (new Map()));
/** floor -> grid; `version` grows with every change of `passes`. */
export const coverage = state(/** @type {Map<string, {cell_m: number, columns: number, rows: number, passes: Map<number, number>, version: AnySignal}>} */ (new Map()));
/** indicator id -> trend, absent while not loaded */
export const trends = state(/** @type {Map<string, import("./types.d.ts").Trend>} */ (new Map()));

export const theme = state(document.documentElement.dataset.theme ?? "light");
export const themeChoice = state(remembered("theme") ?? "auto");
export const actor = state(remembered("actor") ?? "");
/** Who is signed in, null where nobody is or needs to be. */
export const me = state(/** @type {{name: string} | null} */ (null));

export const view = state(query.get("view") ?? "overview");
export const filter = state(query.get("filter") ?? "all");
export const floorShown = state(query.get("floor") ?? "");
export const hiddenLayers = state(new Set((query.get("hide") ?? "").split(",").filter(Boolean)));
export const selected = state(
  /** @type {import("./types.d.ts").Chosen | null} */ (chosenInAddress ? { kind: chosenInAddress[1], id: chosenInAddress[2] } : null),
);
/** Grows when a selection asks the plan to centre on it. */
export const centreRequest = state(chosenInAddress ? 1 : 0);

export const floor = computed(() => floors.value.find((item) => item.id === floorShown.value) ?? floors.value[0] ?? null);

/** @param {"space" | "robot" | "equipment"} kind @param {string} id @param {boolean} centre */
export function select(kind, id, centre) {
  selected.value = { kind, id };
  if (centre) centreRequest.value = centreRequest.peek() + 1;
}

window.addEventListener("gatehouse:theme", () => {
  theme.value = document.documentElement.dataset.theme ?? "light";
});

/** What is seen is in the address, so that it survives a reload and can be shared. */
export function keepAddress() {
  return effect(() => {
    const next = new URLSearchParams(window.location.search);
    const put = (/** @type {string} */ key, /** @type {string} */ value, /** @type {string} */ usual) =>
      value === usual ? next.delete(key) : next.set(key, value);
    put("view", view.value, "overview");
    put("filter", filter.value, "all");
    put("floor", floorShown.value, "");
    put("hide", [...hiddenLayers.value].join(","), "");
    put("sel", selected.value ? `${selected.value.kind}:${selected.value.id}` : "", "");
    const text = next.toString();
    window.history.replaceState(null, "", `${window.location.pathname}${text ? `?${text}` : ""}`);
  });
}
