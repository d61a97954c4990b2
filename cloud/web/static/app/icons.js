// @ts-check
/** Inline drawings; every state and severity has a shape besides its colour. */
import { html } from "../vendor/preact-bundle.js";

/** @param {unknown} inside @param {string} [box] */
const icon = (inside, box = "0 0 16 16") => html`<svg viewBox=${box} aria-hidden="true" focusable="false">${inside}</svg>`;
/** @param {string} d */
const line = (d) => icon(html`<path d=${d} fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" />`);

export const severityIcon = (/** @type {string} */ severity) =>
  ({
    red: icon(html`<rect x="1.5" y="1.5" width="13" height="13" rx="1.5" fill="currentColor" />`),
    orange: icon(html`<path d="M8 1.2 15.4 14.6H.6Z" fill="currentColor" />`),
    yellow: icon(html`<circle cx="8" cy="8" r="7" fill="currentColor" />`),
  })[severity];

export const check = () => line("M2.5 8.5 6.3 12.3 13.5 4");
export const cross = () => line("M3.5 3.5 12.5 12.5M12.5 3.5 3.5 12.5");
export const question = () => line("M5 5.6A3 3 0 1 1 8 9v1.2M8 13.4v.1");
export const wrench = () => line("M13.8 4.2a3.6 3.6 0 0 1-4.9 4.4L4.6 13a1.6 1.6 0 0 1-2.3-2.3l4.4-4.3a3.6 3.6 0 0 1 4.4-4.9L9 3.7l.6 2 2 .6Z");
export const pause = () => line("M5.5 3.5v9M10.5 3.5v9");
export const plug = () => line("M5.5 1.5v3.5M10.5 1.5v3.5M3.5 5h9v2.5a4.5 4.5 0 0 1-9 0ZM8 12v2.8");
export const warn = () => line("M8 3.4v5.4M8 12.3v.2");
export const plus = () => line("M8 3v10M3 8h10");
export const minus = () => line("M3 8h10");
export const fit = () => line("M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10");
export const sun = () => line("M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6M8 1v1.3M8 13.7V15M1 8h1.3M13.7 8H15M3 3l.9.9M12.1 12.1l.9.9M13 3l-.9.9M3.9 12.1l-.9.9");
export const moon = () => line("M13.6 9.7A6 6 0 0 1 6.3 2.4a6 6 0 1 0 7.3 7.3Z");
export const half = () => icon(html`<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="1.8" /><path d="M8 2a6 6 0 0 1 0 12Z" fill="currentColor" />`);
export const dot = () => icon(html`<circle cx="8" cy="8" r="7" fill="currentColor" />`);
export const ring = () => icon(html`<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="3" stroke-dasharray="5 3.4" />`);
export const overviewIcon = () => line("M2 2h5v7H2ZM9 2h5v4H9ZM9 8h5v6H9ZM2 11h5v3H2Z");
export const planIcon = () => line("M2 3.5 6 2l4 1.5L14 2v10.5L10 14l-4-1.5L2 14ZM6 2v10.5M10 3.5V14");
export const alertIcon = () => line("M3.5 11.5V7.2a4.5 4.5 0 0 1 9 0v4.3ZM2 11.5h12M6.7 14h2.6");
export const equipmentIcon = () => line("M8 5.6a2.4 2.4 0 1 0 0 4.8 2.4 2.4 0 0 0 0-4.8M8 1.6v2M8 12.4v2M1.6 8h2M12.4 8h2M3.5 3.5l1.4 1.4M11.1 11.1l1.4 1.4M12.5 3.5l-1.4 1.4M4.9 11.1l-1.4 1.4");
export const brandMark = () =>
  icon(
    html`<defs><linearGradient id="mark" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="#1f5fd6" /><stop offset="1" stop-color="#12906a" /></linearGradient></defs>
      <rect width="32" height="32" rx="8" fill="url(#mark)" />
      <path d="M8 24V13l8-6 8 6v11M13 24v-7a3 3 0 0 1 6 0v7" fill="none" stroke="#fff" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round" />`,
    "0 0 32 32",
  );

/** Equipment state -> tag colour, icon and what the 24 h strip draws. */
export const STATES = /** @type {Record<string, {tone: string, icon: () => unknown, strip: string}>} */ ({
  RUN: { tone: "ok", icon: check, strip: "up" },
  STANDBY: { tone: "ok", icon: check, strip: "up" },
  DEGRADED: { tone: "yellow", icon: warn, strip: "warn" },
  EXT: { tone: "orange", icon: plug, strip: "ext" },
  FAULT: { tone: "red", icon: cross, strip: "down" },
  UNKNOWN: { tone: "", icon: question, strip: "none" },
  OFF_DUTY: { tone: "", icon: pause, strip: "out" },
  PM: { tone: "", icon: wrench, strip: "out" },
  DRILL: { tone: "", icon: wrench, strip: "out" },
});
/** @param {string} state */
export const stateLook = (state) => STATES[state] ?? STATES.UNKNOWN;
