// @ts-check
/** How numbers, ages and times are written. Nothing here rounds into success. */
import { site } from "./store.js";
import { locale, say } from "./words.js";

const EPSILON = 1e-9;
const NOW_S = 5;
const SYMBOLS = /** @type {Record<string, string>} */ ({
  percent: "%", celsius: "°C", kelvin: "K", volt: "V", ampere: "A", watt: "W", kilowatt: "kW", hertz: "Hz",
  watt_hour: "Wh", kilowatt_hour: "kWh", pascal: "Pa", bar: "bar", metre: "m", second: "s", hour: "h", rpm: "rpm",
});

/**
 * A share as percent with one decimal, cut and never rounded: 0.9795 is 97.9. The integers decide where they are known,
 * because 0.979 * 100 is 97.8999 in floating point.
 * @param {number} value in 0..1
 * @param {{numerator: number, denominator: number}} [counts] exact source of the value
 */
export function cutPercent(value, counts) {
  let tenths = Math.floor(value * 1000 + EPSILON);
  if (counts && counts.denominator > 0 && Math.abs(counts.numerator / counts.denominator - value) < EPSILON) {
    const scaled = counts.numerator * 1000;
    tenths = (scaled - (scaled % counts.denominator)) / counts.denominator;
  }
  return new Intl.NumberFormat(locale.value, { minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(tenths / 10);
}

/** A target as percent without idle decimals: 0.98 is "98". @param {number} value */
export const targetPercent = (value) => new Intl.NumberFormat(locale.value, { maximumFractionDigits: 2 }).format(value * 100);

/** Cut to so many decimals. @param {number} value @param {number} digits */
export const cut = (value, digits) =>
  new Intl.NumberFormat(locale.value, { maximumFractionDigits: digits }).format(Math.floor(value * 10 ** digits + EPSILON) / 10 ** digits);

/** @param {number | null} value @param {string | null} unit */
export function measured(value, unit) {
  if (value === null) return null;
  const digits = Math.abs(value) >= 1000 ? 0 : Math.abs(value) >= 100 ? 1 : 2;
  const number = new Intl.NumberFormat(locale.value, { maximumFractionDigits: digits }).format(value);
  const symbol = unit ? SYMBOLS[unit] ?? unit : "";
  return symbol ? `${number} ${symbol}` : number;
}

/** "6m ago", in the largest unit that fits. @param {number} age_ms */
export function ago(age_ms) {
  const seconds = Math.max(0, Math.floor(age_ms / 1000));
  if (seconds < NOW_S) return say("page.age.now");
  const format = new Intl.RelativeTimeFormat(locale.value, { style: "narrow", numeric: "always" });
  if (seconds < 60) return format.format(-seconds, "second");
  if (seconds < 3600) return format.format(-Math.floor(seconds / 60), "minute");
  if (seconds < 48 * 3600) return format.format(-Math.floor(seconds / 3600), "hour");
  return format.format(-Math.floor(seconds / 86_400), "day");
}

/** @param {Intl.DateTimeFormatOptions} options */
const inSiteTime = (options) => new Intl.DateTimeFormat(locale.value, { timeZone: site.value?.zone ?? "UTC", ...options });

/** @param {string | number} instant */
export const clock = (instant) => inSiteTime({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(new Date(instant));
/** @param {string | number} instant */
export const day = (instant) => inSiteTime({ month: "short", day: "numeric" }).format(new Date(instant));
/** @param {string | number} instant */
export const dayAndClock = (instant) =>
  inSiteTime({ month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(new Date(instant));
/** Site time with seconds and zone, and UTC: for tooltips. @param {string} instant */
export const exactTime = (instant) =>
  `${inSiteTime({ dateStyle: "medium", timeStyle: "long" }).format(new Date(instant))} · ${instant}`;
/** The hour of the day in site time, 0..23. @param {string} instant */
export const hourOf = (instant) => Number(inSiteTime({ hour: "numeric", hourCycle: "h23" }).formatToParts(new Date(instant)).find((part) => part.type === "hour")?.value);
