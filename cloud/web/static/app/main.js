// @ts-check
/** Starts the page: words first, then the list of sites or one site, as the address says. */
import { effect, html, render } from "../vendor/preact-bundle.js";
import { Alerts } from "./alerts.js";
import { ApiError, get } from "./api.js";
import { Cards } from "./cards.js";
import { Equipment } from "./equipment.js";
import { alertIcon, equipmentIcon, overviewIcon, planIcon } from "./icons.js";
import { Plan } from "./plan.js";
import { SignIn } from "./sign-in.js";
import { actor, alerts, failure, keepAddress, me, selected, site, sites, view } from "./store.js";
import { follow } from "./stream.js";
import { TopBar } from "./top-bar.js";
import { Trends, followTrends } from "./trends.js";
import { called, chooseLanguage, language, say } from "./words.js";

const SITES_RETRY_MS = 3_000;
const signingIn = window.location.pathname === "/sign-in";
const TABS = { overview: overviewIcon, plan: planIcon, alerts: alertIcon, equipment: equipmentIcon };

function Tabs() {
  const waiting = alerts.value.filter((alert) => alert.handling === "new").length;
  const shown = view.value in TABS ? view.value : "overview";
  const go = (/** @type {string} */ name) => {
    view.value = name;
    window.scrollTo(0, 0);
  };
  return html`<nav class="tabs-bottom" aria-label=${say("page.tabs")}>
    ${Object.entries(TABS).map(
      ([name, icon]) => html`<button key=${name} data-testid="tab-${name}" aria-current=${shown === name ? "page" : undefined} onClick=${() => go(name)}>
        ${icon()}<span>${say(`page.tab.${name}`)}</span>
        ${name === "alerts" && waiting > 0 && html`<span class="count">${waiting}</span>`}
      </button>`,
    )}
  </nav>`;
}

function SitePage() {
  return html`<main class="page" id="main" data-testid="site" data-view=${view.value in TABS ? view.value : "overview"}>
      <${Cards} /><${Plan} /><${Alerts} />
      <div class="lower"><${Equipment} /><${Trends} /></div>
    </main>
    <${Tabs} />`;
}

function SiteList() {
  return html`<main class="page" id="main"><div class="sites" data-testid="sites">
    ${(sites.value ?? []).map(
      (item) => html`<a class="card site-link" key=${item.id} href="/s/${encodeURIComponent(item.id)}">
        <strong>${called(item.name)}</strong>
        <span>${say("page.sites.gateways", { n: item.gateways_online, d: item.gateways_total })} · ${item.zone}</span>
      </a>`,
    )}
  </div></main>`;
}

/** @param {{name: string, command?: string}} props */
function Message({ name, command }) {
  return html`<main id="main" class="card message" data-testid="message-${name}"><h2>${say(`page.message.${name}`)}</h2><p>${say(`page.message.${name}_hint`)}</p>${command && html`<code>${command}</code>`}</main>`;
}

function shown() {
  if (signingIn) return html`<${SignIn} />`;
  if (site.value) return html`<${SitePage} />`;
  if (failure.value) return html`<${Message} name=${failure.value} />`;
  if (sites.value === null) return html`<main id="main" aria-busy="true"></main>`;
  if (sites.value.length > 0) return html`<${SiteList} />`;
  return html`<${Message} name="no-site" command="gatehouse cloud ledger import ledger.yaml" />`;
}

function App() {
  return html`<${TopBar} />${shown()}`;
}

function keepTitle() {
  effect(() => {
    const red = alerts.value.filter((alert) => alert.severity === "red" && alert.handling === "new").length;
    const name = site.value ? `${called(site.value.name)} · Gatehouse` : "Gatehouse";
    document.title = red > 0 ? `(${red}) ${name}` : name;
  });
}

/** @param {string} id */
function openSite(id) {
  keepAddress();
  follow(id);
  void followTrends(id);
  window.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !(event.target instanceof HTMLInputElement)) selected.value = null;
  });
}

/** Who is signed in; where nobody needs to, nobody is. */
async function askMyself() {
  try {
    const who = await get("/api/v1/session");
    if (!who.name) return;
    me.value = who;
    actor.value = who.name;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

async function listSites() {
  try {
    const { items } = await get("/api/v1/sites");
    failure.value = "";
    if (items.length === 1) {
      window.location.replace(`/s/${encodeURIComponent(items[0].id)}`);
      return;
    }
    sites.value = items;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    failure.value = "unreachable";
  }
  if (failure.value || sites.value?.length === 0) window.setTimeout(() => void listSites(), SITES_RETRY_MS);
}

const address = /^\/s\/([^/]+)\/?$/.exec(window.location.pathname);
if (address) openSite(decodeURIComponent(address[1]));
else if (!signingIn) void listSites();
if (!signingIn) void askMyself();
await chooseLanguage(language.peek());
render(html`<${App} />`, /** @type {Element} */ (document.getElementById("app")));
keepTitle();
