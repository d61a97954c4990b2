// @ts-check
/** Requests to the public interface; a refusal becomes an ApiError that carries the problem's own words. */

const REQUEST_TIMEOUT_MS = 15_000;

export class ApiError extends Error {
  /** @param {number} status 0 when no answer came @param {Record<string, any>} problem */
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `HTTP ${status}`);
    this.status = status;
    this.code = String(problem.code ?? "");
    this.problem = problem;
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<any>}
 */
async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS), ...options });
  } catch (error) {
    throw new ApiError(0, { detail: String(error) });
  }
  const body = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
  if (answer.status === 401 && !path.startsWith("/api/v1/session")) askWho();
  if (!answer.ok) throw new ApiError(answer.status, body);
  return body;
}

/** Go to the sign-in page, and come back to this very address afterwards. */
export function askWho() {
  const here = window.location.pathname + window.location.search;
  window.location.replace(`/sign-in?next=${encodeURIComponent(here)}`);
}

/** @param {string} path */
export const get = (path) => request(path, { headers: { Accept: "application/json" }, cache: "no-cache" });

/** @param {string} path @param {unknown} body */
export const post = (path, body) =>
  request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Gatehouse": "1" },
    body: JSON.stringify(body),
  });

/** @param {string} path */
export const remove = (path) => request(path, { method: "DELETE", headers: { "X-Gatehouse": "1" } });

/** @param {string} site */
export const sitePath = (site) => `/api/v1/sites/${encodeURIComponent(site)}`;
