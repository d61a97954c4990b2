// @ts-check
/** Server-sent events from bytes. EventSource hides the comment pings and the HTTP status, and both decide things here. */

/** @typedef {{event: string, id: string, data: string}} ServerEvent */

/**
 * @param {(event: ServerEvent) => void} take called for each complete event that carries data
 * @returns {(text: string) => void} feed it decoded text, cut anywhere
 */
export function eventParser(take) {
  let rest = "";
  let event = "message";
  let id = "";
  /** @type {string[]} */
  let data = [];
  const line = (/** @type {string} */ text) => {
    if (text === "") {
      if (data.length > 0) take({ event, id, data: data.join("\n") });
      event = "message";
      data = [];
      return;
    }
    const colon = text.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
    if (field === "event") event = value;
    else if (field === "id") id = value;
    else if (field === "data") data.push(value);
  };
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const item of lines) line(item);
  };
}
