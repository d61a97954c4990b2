// @ts-check
/** Keeps one site current: snapshot, then numbered deltas; reconnects, resyncs, and says how fresh the page is. */
import { ApiError, askWho, get, sitePath } from "./api.js";
import { applyDelta, applySnapshot, fitsDelta } from "./protocol.js";
import { eventParser } from "./sse.js";
import { clockOffset, connection, failure, now } from "./store.js";

const SILENCE_MAX_MS = 20_000;
const CHECK_EVERY_MS = 5_000;
const HIDDEN_MAX_MS = 60_000;
const SHOWN_AGAIN_AGE_MS = 5_000;
const BACKOFF_FIRST_MS = 1_000;
const BACKOFF_MAX_MS = 30_000;
const RELOAD_PAUSE_MS = 1_000;

/**
 * Waiting time before attempt n (0, 1, ...): 1, 2, 4 ... 30 s, of which half is chance, so that viewers do not return as one.
 * @param {number} attempt @param {() => number} chance in 0..1
 */
export const backoff = (attempt, chance) => Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempt) * (0.5 + chance() / 2);

/** @param {string} id of the site */
export function follow(id) {
  const follower = new Follower(id);
  follower.start();
  return follower;
}

class Follower {
  /** @param {string} id */
  constructor(id) {
    this.path = sitePath(id);
    this.epoch = "";
    this.seq = -1;
    this.attempt = 0;
    this.lastByte = 0;
    this.lastLoad = -Infinity;
    this.hiddenSince = 0;
    this.timer = 0;
    this.running = new AbortController();
  }

  start() {
    window.setInterval(() => this.check(), CHECK_EVERY_MS);
    document.addEventListener("visibilitychange", () => this.visibility());
    window.addEventListener("online", () => this.load());
    window.addEventListener("offline", () => {
      connection.value = "offline";
    });
    void this.load();
  }

  /** Takes whatever ran before off the line; what it still does after that goes nowhere. */
  takeOver() {
    window.clearTimeout(this.timer);
    this.running.abort();
    this.running = new AbortController();
    return this.running.signal;
  }

  async load() {
    const signal = this.takeOver();
    this.lastLoad = performance.now();
    try {
      const snapshot = await get(`${this.path}/snapshot`);
      if (signal.aborted) return;
      applySnapshot(snapshot);
      this.epoch = snapshot.epoch;
      this.seq = snapshot.seq;
      this.lastByte = performance.now();
      failure.value = "";
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!signal.aborted) this.refused(error);
      return;
    }
    await this.listen(signal);
  }

  /** @param {ApiError} error */
  refused(error) {
    if (this.epoch === "") failure.value = error.status === 404 ? "not-found" : "unreachable";
    this.later(() => this.load());
  }

  /** @param {AbortSignal} signal */
  async listen(signal) {
    try {
      const answer = await fetch(`${this.path}/stream?since=${this.epoch}-${this.seq}`, {
        headers: { Accept: "text/event-stream" },
        cache: "no-store",
        signal,
      });
      if (answer.status === 401) askWho();
      if (!answer.ok || !answer.body) throw new ApiError(answer.status, {});
      connection.value = "live";
      await this.read(answer.body, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status === 404) {
        this.refused(error);
        return;
      }
    }
    if (!signal.aborted) this.later(() => this.listen(this.takeOver()));
  }

  /** @param {ReadableStream<Uint8Array<ArrayBuffer>>} body @param {AbortSignal} signal */
  async read(body, signal) {
    const feed = eventParser((event) => {
      if (!signal.aborted) this.take(event);
    });
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal.aborted) return;
      this.lastByte = performance.now();
      this.attempt = 0;
      connection.value = "live";
      feed(value);
    }
  }

  /** @param {import("./sse.js").ServerEvent} event */
  take(event) {
    if (event.event === "resync") {
      this.resync();
      return;
    }
    if (event.event !== "delta") return;
    const delta = JSON.parse(event.data);
    if (delta.epoch !== this.epoch || delta.seq !== this.seq + 1 || !fitsDelta(delta)) {
      this.resync();
      return;
    }
    this.seq = delta.seq;
    applyDelta(delta);
  }

  /** At most one snapshot a second, however often a server asks. */
  resync() {
    this.takeOver();
    const wait = Math.max(0, this.lastLoad + RELOAD_PAUSE_MS - performance.now());
    this.timer = window.setTimeout(() => this.load(), wait);
  }

  /** @param {() => unknown} again */
  later(again) {
    if (connection.peek() !== "stale") connection.value = navigator.onLine ? "reconnecting" : "offline";
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(again, backoff(this.attempt, Math.random));
    this.attempt += 1;
  }

  check() {
    now.value = Date.now() + clockOffset.peek();
    if (document.hidden) {
      if (this.hiddenSince && performance.now() - this.hiddenSince > HIDDEN_MAX_MS) this.takeOver();
      return;
    }
    if (this.epoch !== "" && performance.now() - this.lastByte > SILENCE_MAX_MS && connection.peek() !== "stale") {
      connection.value = "stale";
      void this.listen(this.takeOver());
    }
  }

  visibility() {
    this.hiddenSince = document.hidden ? performance.now() : 0;
    if (!document.hidden && performance.now() - this.lastByte > SHOWN_AGAIN_AGE_MS) void this.load();
  }
}
