// @ts-check
/** The sign-in page: name and password, or the token of a one-time link behind the #, which no server ever sees in a log. */
import { html, signal, useRef } from "../vendor/preact-bundle.js";
import { ApiError, post } from "./api.js";
import { say } from "./words.js";

const PASSWORD_CHARACTERS_MIN = 10;
const token = window.location.hash.slice(1);
const problem = signal("");
const busy = signal(false);

/** Only an address of our own is gone to. */
function next() {
  const asked = new URLSearchParams(window.location.search).get("next") ?? "/";
  return /^\/(?![/\\])/.test(asked) ? asked : "/";
}

/** @param {string} path @param {unknown} body */
async function begin(path, body) {
  busy.value = true;
  problem.value = "";
  try {
    await post(path, body);
    window.location.replace(next());
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    problem.value = error.code in KNOWN ? KNOWN[error.code] : "failed";
    busy.value = false;
  }
}

const KNOWN = /** @type {Record<string, string>} */ ({
  wrong_password: "wrong",
  too_many_tries: "wait",
  link_used: "link_used",
  weak_password: "weak",
});

export function SignIn() {
  const name = useRef(/** @type {HTMLInputElement | null} */ (null));
  const password = useRef(/** @type {HTMLInputElement | null} */ (null));
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const secret = password.current?.value ?? "";
    if (token) void begin("/api/v1/session/link", secret ? { token, password: secret } : { token });
    else void begin("/api/v1/session", { name: name.current?.value ?? "", password: secret });
  };
  return html`<main id="main" class="card message sign-in" data-testid="sign-in">
    <h2>${say(token ? "page.sign_in.welcome" : "page.sign_in.title")}</h2>
    <form onSubmit=${submit}>
      ${!token && html`<label>${say("page.sign_in.name")}<input ref=${name} name="username" autocomplete="username" required maxlength="100" data-testid="sign-in-name" /></label>`}
      <label>${say(token ? "page.sign_in.new_password" : "page.sign_in.password")}<input ref=${password} type="password" name="password" autocomplete=${token ? "new-password" : "current-password"} required=${!token} minlength=${token ? PASSWORD_CHARACTERS_MIN : 1} maxlength="200" data-testid="sign-in-password" /></label>
      ${token && html`<p>${say("page.sign_in.password_hint", { n: PASSWORD_CHARACTERS_MIN })}</p>`}
      ${problem.value && html`<p class="problem" role="alert" data-testid="sign-in-problem">${say(`page.sign_in.${problem.value}`)}</p>`}
      <button class="button primary" type="submit" disabled=${busy.value} data-testid="sign-in-go">${say("page.sign_in.go")}</button>
    </form>
  </main>`;
}
