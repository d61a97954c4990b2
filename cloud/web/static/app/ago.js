// @ts-check
/** How long ago something was; ticks by itself and touches nothing but its own text. */
import { computed, html, useMemo } from "../vendor/preact-bundle.js";
import { ago, exactTime } from "./numbers.js";
import { now } from "./store.js";
import { say } from "./words.js";

/** @param {{at: string, word?: string}} props `word`: key of a text with {age} */
export function Ago({ at, word }) {
  const text = useMemo(
    () => computed(() => (word ? say(word, { age: ago(now.value - Date.parse(at)) }) : ago(now.value - Date.parse(at)))),
    [at, word],
  );
  return html`<span title=${exactTime(at)}>${text}</span>`;
}
