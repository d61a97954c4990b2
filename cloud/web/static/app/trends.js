// @ts-check
/** Loads the trends behind the sparklines and draws the two charts. */
import { html } from "../vendor/preact-bundle.js";
import { ApiError, get, sitePath } from "./api.js";
import { Chart } from "./chart.js";
import { clock, day, dayAndClock, hourOf } from "./numbers.js";
import { trends } from "./store.js";
import { say } from "./words.js";

const REFRESH_MS = 300_000;
const RETRY_MS = 30_000;
/** indicator id -> days asked for; hours come for occupancy, days for the others */
const ASKED = { "equipment.intact_rate": 30, "robot.coverage": 14, "parking.occupancy": 2 };

/** @param {string} site */
export async function followTrends(site) {
  const ask = async (/** @type {[string, number]} */ [id, days]) => {
    try {
      const trend = await get(`${sitePath(site)}/indicators/${id}/trend?days=${days}`);
      trends.value = new Map([...trends.peek(), [id, trend]]);
      return REFRESH_MS;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return error.status === 404 ? REFRESH_MS : RETRY_MS; // 404: this site has no such indicator
    }
  };
  const waits = await Promise.all(Object.entries(ASKED).map(ask));
  window.setTimeout(() => void followTrends(site), Math.min(...waits));
}

export function Trends() {
  const intact = trends.value.get("equipment.intact_rate");
  const occupancy = trends.value.get("parking.occupancy");
  const every = intact ? Math.max(1, Math.round(intact.items.length / 7)) : 1;
  const fromEnd = (/** @type {number} */ index, /** @type {number} */ count) => count - 1 - index;
  return html`<div class="trends">
    ${intact && html`<${Chart} id="intact" kind="line" title=${say("page.chart.intact", { n: intact.items.length })} trend=${intact} full=${day}
      tick=${(/** @type {string} */ at, /** @type {number} */ index) => (fromEnd(index, intact.items.length) % every === 0 ? day(at) : "")} />`}
    ${occupancy && html`<${Chart} id="occupancy" kind="bars" title=${say("page.chart.occupancy", { n: occupancy.items.length })} trend=${occupancy} full=${dayAndClock}
      tick=${(/** @type {string} */ at) => (hourOf(at) === 0 ? day(at) : hourOf(at) % 6 === 0 ? clock(at) : "")} />`}
  </div>`;
}
