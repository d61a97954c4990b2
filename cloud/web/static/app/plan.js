// @ts-check
/** The floor plan: layers, zoom, what is chosen, legend, and the robots as a list beside it. */
import { html, useComputed, useEffect, useMemo, useRef, useSignal } from "../vendor/preact-bundle.js";
import { fit, minus, plus } from "./icons.js";
import { centred, frameOf, point, whole, zoomed } from "./plan-geometry.js";
import { Coverage } from "./plan-coverage.js";
import { EquipmentMarks, Robots, Spaces, choose, patterns } from "./plan-marks.js";
import { Chosen, Legend, RobotList } from "./plan-side.js";
import { useZoom } from "./plan-zoom.js";
import { centreRequest, coverage, equipment, floor, floorShown, floors, hiddenLayers, robots, selected, spaces } from "./store.js";
import { called, say } from "./words.js";

const LAYERS = ["spaces", "coverage", "robots", "equipment"];
const PHONE = window.matchMedia("(max-width: 639px)");
const BUTTON_STEP = 1.6;

/** @param {string} layer */
function toggle(layer) {
  const next = new Set(hiddenLayers.value);
  if (!next.delete(layer)) next.add(layer);
  hiddenLayers.value = next;
}

/** Where the chosen thing stands. @returns {{floor: string, x: number, y: number} | null} floor metres */
function chosenPlace() {
  const chosen = selected.peek();
  if (!chosen) return null;
  if (chosen.kind === "space") {
    const space = spaces.peek().get(chosen.id);
    return space ? { floor: space.floor, x: space.rect[0] + space.rect[2] / 2, y: space.rect[1] + space.rect[3] / 2 } : null;
  }
  if (chosen.kind === "robot") {
    const robot = robots.peek().get(chosen.id)?.peek();
    return robot && robot.x !== null && robot.y !== null && robot.floor ? { floor: robot.floor, x: robot.x, y: robot.y } : null;
  }
  const row = equipment.peek().get(chosen.id)?.peek();
  return row?.position && row.floor ? { floor: row.floor, x: row.position[0], y: row.position[1] } : null;
}

function Head() {
  const shown = floor.value;
  const here = [...spaces.value.values()].filter((space) => space.floor === shown?.id).length;
  const layers = LAYERS.filter((layer) => (layer === "spaces" ? here > 0 : layer === "robots" ? robots.value.size > 0 : layer === "coverage" ? coverage.value.size > 0 : true));
  return html`<div class="card-head">
    <h2>${say("page.plan.title", { floor: shown ? called(shown.name) : "" })}</h2>
    <span class="note">${say("page.plan.counts", { spaces: here, equipment: equipment.value.size, robots: robots.value.size })}</span>
    ${floors.value.length > 1 && html`<div class="seg" role="group" aria-label=${say("page.plan.floors")}>
      ${floors.value.map((item) => html`<button key=${item.id} data-testid="floor-${item.id}" aria-pressed=${String(item === shown)} onClick=${() => (floorShown.value = item.id)}>${called(item.name)}</button>`)}
    </div>`}
    <div class="right seg" role="group" aria-label=${say("page.plan.layers")}>
      ${layers.map((layer) => html`<button key=${layer} data-testid="layer-${layer}" aria-pressed=${String(!hiddenLayers.value.has(layer))} onClick=${() => toggle(layer)}>${say(`page.layer.${layer}`)}</button>`)}
    </div>
  </div>`;
}

/** @param {{shown: import("./types.d.ts").Floor}} props */
function Drawing({ shown }) {
  const svg = useRef(/** @type {SVGSVGElement | null} */ (null));
  const upright = useSignal(PHONE.matches);
  const pixels = useSignal(800);
  const here = [...spaces.value.values()].filter((space) => space.floor === shown.id);
  const frame = useMemo(() => frameOf(shown, here, upright.value), [shown, spaces.value, upright.value]);
  const all = useMemo(() => whole(frame), [frame]);
  const view = useSignal(all);
  const scale = useComputed(() => view.value.w / pixels.value);
  const hidden = hiddenLayers.value;
  useEffect(() => {
    view.value = all;
  }, [all]);
  useEffect(() => {
    const change = () => (upright.value = PHONE.matches);
    const watch = new ResizeObserver(([entry]) => (pixels.value = Math.max(1, entry.contentRect.width)));
    PHONE.addEventListener("change", change);
    if (svg.current) watch.observe(svg.current);
    return () => {
      PHONE.removeEventListener("change", change);
      watch.disconnect();
    };
  }, []);
  useEffect(() => {
    const place = centreRequest.value > 0 ? chosenPlace() : null;
    if (!place) return;
    if (place.floor !== shown.id) floorShown.value = place.floor;
    else view.value = centred(view.peek(), all, ...point(frame, place.x, place.y));
  }, [centreRequest.value, frame]);
  useZoom(svg, view, all);
  const step = (/** @type {number} */ factor) => {
    const box = view.peek();
    view.value = zoomed(box, all, factor, box.x + box.w / 2, box.y + box.h / 2);
  };
  const box = view.value;
  const walls = shown.walls.map((wall) => wall.map(([x, y]) => point(frame, x, y).join(",")).join(" "));
  const layer = (/** @type {string} */ name) => !hidden.has(name);
  return html`<div class="plan-frame">
    <svg ref=${svg} class="plan-svg ${box.w < all.w - 1e-6 ? "zoomed" : ""}" data-testid="plan" tabindex="0" role="group" aria-label=${say("page.plan.label", { floor: called(shown.name) })}
        viewBox="${box.x} ${box.y} ${box.w} ${box.h}" style="aspect-ratio: ${all.w} / ${all.h}" onClick=${choose}>
      ${patterns()}
      ${layer("coverage") && html`<${Coverage} floor=${shown.id} frame=${frame} />`}
      ${walls.map((points) => html`<polyline class="wall" points=${points} stroke-width=${Math.max(all.w * 0.0035, 0.2)} />`)}
      ${layer("spaces") && html`<${Spaces} floor=${shown.id} frame=${frame} />`}
      ${layer("equipment") && html`<${EquipmentMarks} floor=${shown.id} frame=${frame} scale=${scale} />`}
      ${layer("robots") && html`<${Robots} floor=${shown.id} frame=${frame} scale=${scale} />`}
    </svg>
    <${Chosen} />
  </div>
  <div class="plan-foot">
    <${Legend} />
    <div class="plan-tools">
      <button class="button icon" data-testid="zoom-in" aria-label=${say("page.plan.zoom_in")} onClick=${() => step(BUTTON_STEP)}><span class="glyph-box">${plus()}</span></button>
      <button class="button icon" data-testid="zoom-out" aria-label=${say("page.plan.zoom_out")} onClick=${() => step(1 / BUTTON_STEP)}><span class="glyph-box">${minus()}</span></button>
      <button class="button icon" data-testid="zoom-fit" aria-label=${say("page.plan.fit")} onClick=${() => (view.value = all)}><span class="glyph-box">${fit()}</span></button>
    </div>
  </div>`;
}

export function Plan() {
  const shown = floor.value;
  return html`<section class="card plan" aria-label=${say("page.plan.section")} data-testid="plan-card">
    <${Head} />
    ${shown ? html`<${Drawing} key=${shown.id} shown=${shown} />` : html`<div class="empty">${say("page.plan.empty")}</div>`}
    <${RobotList} />
  </section>`;
}
