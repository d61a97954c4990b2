// @ts-check
/** Brand, site, how live the page is, language and theme. */
import { html } from "../vendor/preact-bundle.js";
import { remove } from "./api.js";
import { brandMark, dot, half, moon, ring, sun } from "./icons.js";
import { connection, me, remember, site, themeChoice } from "./store.js";
import { called, chooseLanguage, language, say } from "./words.js";

const NEXT_THEME = /** @type {Record<string, string>} */ ({ auto: "light", light: "dark", dark: "auto" });
const THEME_ICON = /** @type {Record<string, () => unknown>} */ ({ auto: half, light: sun, dark: moon });

function Badge() {
  const kind = connection.value;
  return html`<span class="badge ${kind}" role="status" data-testid="live-badge" data-state=${kind} title=${say(`page.live.${kind}_hint`)}>
    ${kind === "live" ? dot() : ring()}<span class="words">${say(`page.live.${kind}`)}</span>
  </span>`;
}

function ThemeSwitch() {
  const choice = themeChoice.value in NEXT_THEME ? themeChoice.value : "auto";
  const next = () => {
    themeChoice.value = NEXT_THEME[choice];
    remember("theme", themeChoice.value);
    window.dispatchEvent(new Event("gatehouse:choose-theme"));
  };
  const label = say("page.theme.switch", { theme: say(`page.theme.${choice}`) });
  return html`<button class="button icon" data-testid="theme-switch" aria-label=${label} title=${label} onClick=${next}>
    <span class="glyph-box">${THEME_ICON[choice]()}</span>
  </button>`;
}

function LanguageSwitch() {
  const other = language.value === "zh-CN" ? "en" : "zh-CN";
  const word = other === "en" ? "English" : "中文";
  return html`<button class="button quiet" data-testid="language-switch" lang=${other} onClick=${() => chooseLanguage(other)}>${word}</button>`;
}

/** @param {{name: string}} props */
function SignOut({ name }) {
  const out = async () => {
    await remove("/api/v1/session");
    window.location.replace("/sign-in");
  };
  const label = say("page.sign_in.out_hint", { name });
  return html`<button class="button quiet" data-testid="sign-out" title=${label} aria-label=${label} onClick=${out}>${say("page.sign_in.out")}</button>`;
}

export function TopBar() {
  const shown = site.value;
  return html`<header class="top">
    <a class="skip" href="#main">${say("page.skip")}</a>
    <div class="top-inner">
      <a class="brand" href="/" aria-label="Gatehouse">${brandMark()}<span>Gatehouse</span></a>
      <div class="crumb">
        <h1 data-testid="site-name">${shown ? called(shown.name) : say("page.sites.title")}</h1>
        ${shown && html`<span class="zone" title=${say("page.zone_hint")}>${shown.zone}</span>`}
      </div>
      <div class="top-right">
        ${shown && html`<${Badge} />`}
        ${me.value && html`<${SignOut} name=${me.value.name} />`}
        <${LanguageSwitch} />
        <${ThemeSwitch} />
      </div>
    </div>
  </header>`;
}
