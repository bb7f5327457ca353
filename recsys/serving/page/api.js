// The HTTP contract, from a browser's side: asks, and turns whatever goes wrong into a Fault. It knows no page.

const TIMEOUT_S = 20;
const KEY_SIGNS = /^[\x21-\x7e]+$/; // what a header can carry

/** Why there is no answer. */
export class Fault extends Error {
  /**
   * @param {string} code as in the service's errors; "unreachable" and "timeout" are this page's own
   * @param {string} message for people
   * @param {{status?: number, field?: string | null, retryAfterS?: number | null}} details
   */
  constructor(code, message, { status = 0, field = null, retryAfterS = null } = {}) {
    super(message);
    Object.assign(this, { code, status, field, retryAfterS });
  }
}

/** Runs one request at a time: a newer one ends the one before, whose answer is never told. */
export class Latest {
  #running = null;

  /**
   * @template T
   * @param {(signal: AbortSignal) => Promise<T>} request
   * @returns {Promise<T | undefined>} undefined: a newer request, or `cancel`, came in between
   */
  async run(request) {
    this.cancel();
    const mine = new AbortController();
    this.#running = mine;
    try {
      const answer = await request(mine.signal);
      return this.#running === mine ? answer : undefined;
    } catch (fault) {
      if (this.#running === mine) throw fault;
      return undefined;
    }
  }

  cancel() {
    this.#running?.abort();
    this.#running = null;
  }
}

/** Paths are relative to the page, so that the service may live behind a prefix. */
export function findItems(text, limit, key, signal) {
  return ask(`v1/items?${new URLSearchParams({ search: text, limit })}`, {}, key, signal);
}

export function recommend(body, key, signal) {
  const headers = { "Content-Type": "application/json" };
  return ask("v1/recommendations", { method: "POST", headers, body: JSON.stringify(body) }, key, signal);
}

async function ask(path, options, key, signal) {
  if (key && !KEY_SIGNS.test(key)) {
    throw new Fault("unauthorized", "a key holds no blanks, accents or emoji", { field: "Authorization" });
  }
  const headers = { Accept: "application/json", ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  const late = AbortSignal.timeout(TIMEOUT_S * 1000);
  try {
    const response = await fetch(path, {
      ...options,
      headers,
      signal: AbortSignal.any([signal, late]),
      credentials: "omit",
      cache: "no-store",
    });
    if (response.ok) return await response.json();
    throw await faultOf(response);
  } catch (error) {
    if (error instanceof Fault) throw error;
    if (late.aborted) throw new Fault("timeout", `no answer within ${TIMEOUT_S} s`);
    if (error instanceof SyntaxError) throw new Fault("failed", "the answer is no JSON");
    throw new Fault("unreachable", "is it running, and are you online?");
  }
}

async function faultOf(response) {
  const body = await response.json().catch(() => null);
  const error = body?.error ?? {};
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new Fault(String(error.code ?? "failed"), String(error.message ?? `HTTP ${response.status}`), {
    status: response.status,
    field: error.field ?? null,
    retryAfterS: Number.isNaN(seconds) ? null : seconds,
  });
}
