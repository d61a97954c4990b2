// @ts-check
/** The four cards: value, bounds, numerator and denominator, verdict against the target, age. "No data" is never 0. */
import { html } from "../vendor/preact-bundle.js";
import { check, cross, question, severityIcon } from "./icons.js";
import { ago, cut, cutPercent, exactTime, targetPercent } from "./numbers.js";
import { alerts, connection, indicators, now, trends } from "./store.js";
import { Spark } from "./spark.js";
import { say } from "./words.js";

/** An indicator is computed at least every 30 s; three of these without a newer one and its age stands out. */
const OLD_AFTER_MS = 90_000;
const MS_PER_HOUR = 3_600_000;
/** Below this many equipment-hours a decimal is shown. */
const SMALL_HOURS = 100;

const VERDICTS = /** @type {Record<string, {tone: string, icon: () => unknown}>} */ ({
  PASS: { tone: "ok", icon: check },
  FAIL: { tone: "red", icon: cross },
  INDETERMINATE: { tone: "", icon: question },
});

/** @param {{item: import("./types.d.ts").Indicator}} props */
function Verdict({ item }) {
  if (item.target === null || item.verdict === null) return null;
  const look = VERDICTS[item.verdict] ?? VERDICTS.INDETERMINATE;
  const target = targetPercent(item.target);
  return html`<span class="tag ${look.tone}" data-testid="verdict" data-verdict=${item.verdict} title=${say("page.target", { target })}>
    ${look.icon()}${say(`page.verdict.${item.verdict}`, { target })}
  </span>`;
}

/** @param {import("./types.d.ts").Indicator} item */
function counts(item) {
  const scale = item.unit === "ms" ? MS_PER_HOUR : 1;
  const unit = item.unit === "ms" ? "hours" : item.unit;
  const digits = scale > 1 && item.denominator / scale < SMALL_HOURS ? 1 : 0;
  const label = `page.of.${["hours", "cells", "spaces"].includes(unit) ? unit : "any"}`;
  return say(label, { n: cut(item.numerator / scale, digits), d: cut(item.denominator / scale, digits), unit });
}

/** @param {import("./types.d.ts").Indicator} item */
function bounds(item) {
  if (item.low === null || item.low === item.high) return "";
  const low = cutPercent(item.low);
  if (item.high === null) return say("page.at_least", { low });
  const high = cutPercent(item.high);
  return low === high ? "" : `${low}–${high} %`;
}

/** @param {{item: import("./types.d.ts").Indicator}} props */
function Age({ item }) {
  const age_ms = now.value - Date.parse(item.window.to);
  const old = age_ms > OLD_AFTER_MS || connection.value === "stale" || connection.value === "offline";
  const text = ago(age_ms);
  return html`<span class="age ${old ? "old" : ""}" data-testid="age" title=${exactTime(item.window.to)}>
    ${old ? say("page.age.old", { age: text }) : text}
  </span>`;
}

/** @param {{id: string, neutral?: boolean}} props */
function IndicatorCard({ id, neutral }) {
  const item = indicators.value.get(id);
  const trend = trends.value.get(id);
  const range = item ? bounds(item) : "";
  return html`<section class="card kpi" data-testid="card-${id}" aria-label=${say(`page.card.${id}`)}>
    <div class="kpi-head"><h2>${say(`page.card.${id}`)}</h2>${item && html`<${Age} item=${item} />`}</div>
    ${item && item.value !== null
      ? html`<div class="value" data-testid="value">
          ${cutPercent(item.value, item)}<small>%</small>
          ${range && html`<span class="bounds" data-testid="bounds" title=${say("page.bounds_hint")}>${range}</span>`}
        </div>`
      : html`<div class="value none" data-testid="value">${say("page.no_data")}</div>`}
    ${trend && html`<div class="spark"><${Spark} items=${trend.items.slice(-48)} target=${trend.target} neutral=${neutral} /></div>`}
    <div class="facts">
      ${item && html`<${Verdict} item=${item} />`}
      ${item && item.denominator > 0 && html`<span data-testid="counts" title=${item.unit === "ms" ? say("page.of.hours_hint") : undefined}>${counts(item)}</span>`}
      ${!item && html`<span>${say("page.card.waiting")}</span>`}
    </div>
  </section>`;
}

function AlertsCard() {
  const open = alerts.value;
  const waiting = open.filter((alert) => alert.handling === "new").length;
  return html`<section class="card kpi" data-testid="card-alerts" aria-label=${say("page.card.alerts")}>
    <div class="kpi-head"><h2>${say("page.card.alerts")}</h2></div>
    <div class="value" data-testid="value">${open.length}</div>
    <div class="facts">
      ${open.length === 0 ? html`<span class="tag ok">${check()}${say("page.alerts.none_short")}</span>` : html`<${SeverityCounts} />`}
      ${open.length > 0 && html`<span>${say("page.alerts.waiting", { n: waiting })}</span>`}
    </div>
  </section>`;
}

export function SeverityCounts() {
  const open = alerts.value;
  return ["red", "orange", "yellow"].map((severity) => {
    const count = open.filter((alert) => alert.severity === severity).length;
    if (count === 0) return null;
    const word = say(`page.severity.${severity}`);
    return html`<span class="tag ${severity}" key=${severity} title=${word}>${severityIcon(severity)}${count}<span class="hidden-text"> ${word}</span></span>`;
  });
}

export function Cards() {
  return html`<div class="cards">
    <${IndicatorCard} id="equipment.intact_rate" />
    <${IndicatorCard} id="robot.coverage" />
    <${IndicatorCard} id="parking.occupancy" neutral />
    <${AlertsCard} />
  </div>`;
}
