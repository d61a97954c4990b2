// @ts-check
/** Open alerts of the site, new and acknowledged alike; acknowledging asks once who you are. */
import { html, useEffect, useRef, useState } from "../vendor/preact-bundle.js";
import { ApiError, post } from "./api.js";
import { SeverityCounts } from "./cards.js";
import { check, severityIcon } from "./icons.js";
import { Ago } from "./ago.js";
import { clock, dayAndClock } from "./numbers.js";
import { takeAlerts } from "./protocol.js";
import { actor, alerts, equipment, remember, robots, select, selected } from "./store.js";
import { called, say } from "./words.js";

const NAME_CHARACTERS_MAX = 60;
const INSTANT = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/;
const ANNOUNCE_EVERY_MS = 10_000;

/** The alert's sentence in the reader's language; instants become site time. @param {import("./types.d.ts").Alert} alert */
export function alertText(alert) {
  const parameters = /** @type {Record<string, string | number>} */ ({ ...alert.text.parameters, thing_name: called(alert.thing_name) });
  for (const [key, value] of Object.entries(parameters)) {
    if (typeof value === "string" && INSTANT.test(value)) {
      parameters[key] = Date.now() - Date.parse(value) < 20 * 3_600_000 ? clock(value) : dayAndClock(value);
    }
  }
  return say(alert.text.key, parameters);
}

/** @param {import("./types.d.ts").Alert} alert */
function show(alert) {
  if (equipment.peek().has(alert.thing)) select("equipment", alert.thing, true);
  else if (robots.peek().has(alert.thing)) select("robot", alert.thing, true);
}

/** @param {{alert: import("./types.d.ts").Alert}} props */
function Acknowledge({ alert }) {
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => {
    if (asking) field.current?.focus();
  }, [asking]);
  const send = async (/** @type {string} */ name) => {
    setBusy(true);
    setProblem("");
    try {
      takeAlerts([await post(`/api/v1/alerts/${encodeURIComponent(alert.id)}/acknowledgement`, { actor: name, note: "" })]);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.code === "already_acknowledged") {
        const by = error.problem.acknowledged_by ?? "";
        takeAlerts([{ ...alert, handling: "acknowledged", acknowledged_by: by, acknowledged_at: error.problem.acknowledged_at ?? null }]);
        return;
      }
      setProblem(error.status === 0 ? say("page.alerts.unsent") : error.message);
    } finally {
      setBusy(false);
    }
  };
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const name = (asking ? (field.current?.value ?? "") : actor.value).trim();
    if (name === "") {
      setAsking(true);
      return;
    }
    actor.value = name;
    remember("actor", name);
    setAsking(false);
    void send(name);
  };
  return html`<form class="alert-actions" onSubmit=${submit} onClick=${(/** @type {Event} */ event) => event.stopPropagation()}>
      ${asking && html`<input ref=${field} data-testid="actor" maxlength=${NAME_CHARACTERS_MAX} autocomplete="name" placeholder=${say("page.alerts.your_name")} aria-label=${say("page.alerts.your_name")} />`}
      <button class="button primary" data-testid="acknowledge" disabled=${busy}>${say(busy ? "page.alerts.sending" : "page.alerts.acknowledge")}</button>
    </form>
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}`;
}

/** @param {{alert: import("./types.d.ts").Alert}} props */
function AlertItem({ alert }) {
  const row = equipment.value.get(alert.thing)?.value;
  const severity = say(`page.severity.${alert.severity}`);
  const current = selected.value !== null && selected.value.id === alert.thing;
  return html`<li class="alert ${alert.severity}" data-testid="alert" data-id=${alert.id} tabindex="0" aria-current=${String(current)} onClick=${() => show(alert)}>
    <div class="alert-top">
      <span class="tag ${alert.severity}">${severityIcon(alert.severity)}${severity}</span>
      ${alert.condition === "cleared" && html`<span class="tag ok">${check()}${say("page.alerts.cleared")}</span>`}
      <${Ago} at=${alert.opened_at} />
      ${alert.count > 1 && html`<span title=${say("page.alerts.count_hint")}>×${alert.count}</span>`}
      <span class="thing">${row ? row.code : called(alert.thing_name)}</span>
    </div>
    <p class="alert-text">${alertText(alert)}</p>
    ${alert.handling === "acknowledged"
      ? html`<p class="alert-meta" data-testid="acknowledged-by">
          ${say("page.alerts.acknowledged_by", { name: alert.acknowledged_by ?? "?" })}
          ${alert.acknowledged_at && html` · <${Ago} at=${alert.acknowledged_at} />`}
        </p>`
      : html`<${Acknowledge} alert=${alert} />`}
  </li>`;
}

/** Tells a screen reader of new red and orange alerts, at most one sentence every ten seconds. */
function Announcer() {
  const [text, setText] = useState("");
  const known = useRef(/** @type {Set<string> | null} */ (null));
  const spoken = useRef(-Infinity);
  const open = alerts.value;
  useEffect(() => {
    const fresh = open.filter((alert) => known.current !== null && !known.current.has(alert.id) && alert.severity !== "yellow");
    if (fresh.length > 0 && performance.now() - spoken.current > ANNOUNCE_EVERY_MS) {
      spoken.current = performance.now();
      setText(say("page.alerts.announce", { severity: say(`page.severity.${fresh[0].severity}`), text: alertText(fresh[0]) }));
    }
    known.current = new Set(open.map((alert) => alert.id));
  }, [open]);
  return html`<div class="hidden-text" aria-live="polite">${text}</div>`;
}

/** j and k walk, a acknowledges, Enter shows on the plan: only while the focus is inside the list. @param {KeyboardEvent} event */
function keys(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
  const item = /** @type {HTMLElement | null} */ (target.closest(".alert"));
  if (!item) return;
  const next = event.key === "j" ? item.nextElementSibling : event.key === "k" ? item.previousElementSibling : null;
  if (next instanceof HTMLElement) next.focus();
  if (event.key === "a") /** @type {HTMLElement | null} */ (item.querySelector("[data-testid=acknowledge]"))?.click();
  if (event.key === "Enter" && target === item) item.click();
}

export function Alerts() {
  const open = alerts.value;
  return html`<section class="card alerts" aria-label=${say("page.alerts.title")} data-testid="alerts">
    <div class="card-head"><h2>${say("page.alerts.title")}</h2><${SeverityCounts} /></div>
    ${open.length === 0
      ? html`<div class="empty" data-testid="no-alerts">${check()}${say("page.alerts.none")}</div>`
      : html`<ul class="alert-list" onKeyDown=${keys}>${open.map((alert) => html`<${AlertItem} key=${alert.id} alert=${alert} />`)}</ul>`}
    <${Announcer} />
  </section>`;
}
