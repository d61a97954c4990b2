// @ts-check
/** The equipment table: what is not OK first, filters, 24 h strip; a row and its dot on the plan select each other. */
import { html, useEffect, useMemo, useRef, useState } from "../vendor/preact-bundle.js";
import { stateLook } from "./icons.js";
import { Ago } from "./ago.js";
import { cutPercent, measured } from "./numbers.js";
import { equipment, filter, select, selected } from "./store.js";
import { called, say } from "./words.js";

const ROWS_FIRST = 24;
const STRIP_STEP = 6;
const STRIP_BAR = 4;

const FILTERS = /** @type {Record<string, (state: string) => boolean>} */ ({
  all: () => true,
  fault: (state) => state === "FAULT",
  unknown: (state) => state === "UNKNOWN",
  maintenance: (state) => state === "PM" || state === "DRILL",
});
const RANK = ["FAULT", "EXT", "DEGRADED", "UNKNOWN", "PM", "DRILL"];
/** @param {string} state */
const rank = (state) => (RANK.includes(state) ? RANK.indexOf(state) : RANK.length);

/** Hours of one kind are one path: 24 bars cost at most six elements. @param {{states: string[]}} props */
function Strip({ states }) {
  const drawn = states.join();
  return useMemo(() => {
    const paths = /** @type {Record<string, string>} */ ({});
    states.forEach((state, index) => {
      const kind = stateLook(state).strip;
      const inset = kind === "none" ? 0.5 : 0;
      const top = kind === "up" || kind === "out" ? 1 : 0;
      const right = STRIP_BAR - 2 * inset;
      paths[kind] = `${paths[kind] ?? ""}M${index * STRIP_STEP + inset} ${top + inset}h${right}V${14 - top - inset}h${-right}Z`;
    });
    return html`<svg class="strip" viewBox="0 0 ${states.length * STRIP_STEP - 2} 14" preserveAspectRatio="none" aria-hidden="true">
      ${Object.entries(paths).map(([kind, d]) => html`<path class=${kind} d=${d} />`)}
    </svg>`;
  }, [drawn]);
}

/** @param {string[]} states */
function stripSummary(states) {
  const count = (/** @type {string} */ kind) => states.filter((state) => stateLook(state).strip === kind).length;
  return say("page.strip.summary", { ok: count("up") + count("warn"), fault: count("down") + count("ext"), unknown: count("none") });
}

/** @param {{state: string}} props */
export function StateTag({ state }) {
  const look = stateLook(state);
  return html`<span class="tag ${look.tone}" data-state=${state}>${look.icon()}${say(`state.equipment.${state.toLowerCase()}`)}</span>`;
}

/** @param {{id: string}} props */
function EquipmentRow({ id }) {
  const element = useRef(/** @type {HTMLElement | null} */ (null));
  const row = /** @type {import("./types.d.ts").Row | undefined} */ (equipment.value.get(id)?.value);
  const chosen = selected.value?.kind === "equipment" && selected.value.id === id;
  useEffect(() => {
    if (chosen) reveal(element.current);
  }, [chosen]);
  if (!row) return null;
  const value = measured(row.value, row.value_unit);
  return html`<tr ref=${element} aria-selected=${String(chosen)} data-testid="equipment-row" data-id=${id} onClick=${() => select("equipment", id, true)}>
    <td class="name"><button class="row-button">${called(row.name)}</button><span>${row.code}</span></td>
    <td class="state"><${StateTag} state=${row.state} /></td>
    <td class="since muted">${row.since ? html`<${Ago} at=${row.since} />` : "–"}</td>
    <td class="value-cell number ${value === null ? "muted" : ""}">${value ?? (row.value_unit === null ? "–" : say("page.no_data"))}</td>
    <td class="strip-cell"><${Strip} states=${row.strip} /><span class="hidden-text">${stripSummary(row.strip)}</span></td>
    <td class="intact number">${row.intact_24h === null ? html`<span class="muted">${say("page.no_data")}</span>` : `${cutPercent(row.intact_24h)} %`}</td>
  </tr>`;
}

/** Scrolls inside the table only; the page itself stays where the reader put it. @param {HTMLElement | null} row */
function reveal(row) {
  const box = row?.closest(".table-scroll");
  if (!row || !(box instanceof HTMLElement) || box.scrollHeight <= box.clientHeight) return;
  const place = row.getBoundingClientRect();
  const frame = box.getBoundingClientRect();
  if (place.top < frame.top + 34 || place.bottom > frame.bottom) box.scrollTop += place.top - frame.top - frame.height / 2;
}

export function Equipment() {
  const [whole, setWhole] = useState(false);
  const rows = [...equipment.value.values()].map((held) => /** @type {import("./types.d.ts").Row} */ (held.value));
  const kind = filter.value in FILTERS ? filter.value : "all";
  const chosen = selected.value?.kind === "equipment" ? selected.value.id : "";
  const wanted = rows.filter((row) => FILTERS[kind](row.state)).sort((a, b) => rank(a.state) - rank(b.state));
  const place = wanted.findIndex((row) => row.id === chosen);
  const shown = whole || place >= ROWS_FIRST ? wanted : wanted.slice(0, ROWS_FIRST);
  return html`<section class="card things-card" aria-label=${say("page.equipment.title")} data-testid="equipment">
    <div class="card-head">
      <h2>${say("page.equipment.title")}</h2>
      <div class="right seg" role="group" aria-label=${say("page.equipment.filter")}>
        ${Object.entries(FILTERS).map(
          ([name, fits]) => html`<button key=${name} data-testid="filter-${name}" aria-pressed=${String(kind === name)} onClick=${() => (filter.value = name)}>
            ${say(`page.filter.${name}`)} ${rows.filter((row) => fits(row.state)).length}
          </button>`,
        )}
      </div>
    </div>
    ${wanted.length === 0
      ? html`<div class="empty">${say(rows.length === 0 ? "page.equipment.empty" : "page.equipment.none")}</div>`
      : html`<div class="table-scroll" tabindex="-1">
          <table class="things">
            <thead><tr>
              <th scope="col">${say("page.column.name")}</th><th scope="col">${say("page.column.state")}</th>
              <th scope="col">${say("page.column.since")}</th><th scope="col" class="number">${say("page.column.value")}</th>
              <th scope="col">${say("page.column.strip")}</th><th scope="col" class="number">${say("page.column.intact")}</th>
            </tr></thead>
            <tbody>${shown.map((row) => html`<${EquipmentRow} key=${row.id} id=${row.id} />`)}</tbody>
          </table>
          ${shown.length < wanted.length && html`<div class="more"><button class="button link" data-testid="show-all" onClick=${() => setWhole(true)}>${say("page.equipment.all", { n: wanted.length })}</button></div>`}
        </div>`}
  </section>`;
}
