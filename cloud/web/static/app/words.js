// @ts-check
/** The word catalogue of the chosen language; text is looked up at render time, so a switch changes every visible word. */
import { computed, signal } from "../vendor/preact-bundle.js";
import { remember, remembered } from "./store.js";

export const LANGUAGES = ["en", "zh-CN"];
/** The pseudo-locale: English in brackets, to see what does not come from the catalogue. */
const PSEUDO = "xx";

const asked = new URLSearchParams(window.location.search).get("lang");
const usual = () => (navigator.languages.find((tag) => /^(zh|en)\b/i.test(tag))?.toLowerCase().startsWith("zh") ? "zh-CN" : "en");

export const language = signal(asked ?? remembered("language") ?? usual());
const catalogue = signal(/** @type {Record<string, string>} */ ({}));
export const locale = computed(() => (language.value === PSEUDO ? "en" : language.value));

/** @param {string} chosen */
export async function chooseLanguage(chosen) {
  const known = [...LANGUAGES, PSEUDO].includes(chosen) ? chosen : "en";
  const file = known === PSEUDO ? "en" : known;
  const address = document.querySelector(`meta[name="words-${file}"]`)?.getAttribute("content") ?? `/i18n/${file}.json`;
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`no words for ${file}: HTTP ${answer.status}`);
  catalogue.value = await answer.json();
  language.value = known;
  document.documentElement.lang = known;
  if (known !== PSEUDO && asked === null) remember("language", known);
}

/**
 * The text of a key with its {placeholders} filled.
 * @param {string} key
 * @param {Record<string, string | number>} [parameters]
 */
export function say(key, parameters = {}) {
  const text = (catalogue.value[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => String(parameters[name] ?? whole));
  return language.value === PSEUDO ? `⟦${text}⟧` : text;
}

/** @param {string} key */
export const knows = (key) => key in catalogue.value;

/**
 * A name given per language.
 * @param {Record<string, string>} names
 */
export const called = (names) => names[locale.value] ?? names["en"] ?? Object.values(names)[0] ?? "";
