// The HTTP API, as a browser calls it. Every failure becomes a ServiceError.

const TIMEOUT_S = 20;
const KEY_PATTERN = /^[\x21-\x7e]+$/; // the characters that a header can have

/** Why there is no answer. */
export class ServiceError extends Error {
  /**
   * @param {string} code as in the service's errors; "unreachable" and "timeout" come from this page
   * @param {string} message for people
   * @param {{status?: number, field?: string | null, retryAfterS?: number | null}} details
   */
  constructor(code, message, { status = 0, field = null, retryAfterS = null } = {}) {
    super(message);
    Object.assign(this, { code, status, field, retryAfterS });
  }
}

/** Runs one request at a time: a newer request cancels the one before, and its answer is ignored. */
export class LatestRequest {
  #running = null;

  /**
   * @template T
   * @param {(signal: AbortSignal) => Promise<T>} request
   * @returns {Promise<T | undefined>} undefined: a newer request or `cancel` came first
   */
  async run(request) {
    this.cancel();
    const own = new AbortController();
    this.#running = own;
    try {
      const answer = await request(own.signal);
      return this.#running === own ? answer : undefined;
    } catch (error) {
      if (this.#running === own) throw error;
      return undefined;
    }
  }

  cancel() {
    this.#running?.abort();
    this.#running = null;
  }
}

/** Paths are relative to the page, so that the service may be behind a prefix. */
export function findItems(text, limit, key, signal) {
  return ask(`v1/items?${new URLSearchParams({ search: text, limit })}`, {}, key, signal);
}

export function similarItems(itemId, k, key, signal) {
  return ask(`v1/items/${encodeURIComponent(itemId)}/similar?${new URLSearchParams({ k })}`, {}, key, signal);
}

export function explainUser(userId, key, signal) {
  return ask(`v1/users/${encodeURIComponent(userId)}/explanation`, {}, key, signal);
}

export function recommend(body, key, signal) {
  const headers = { "Content-Type": "application/json" };
  return ask("v1/recommendations", { method: "POST", headers, body: JSON.stringify(body) }, key, signal);
}

async function ask(path, options, key, signal) {
  if (key && !KEY_PATTERN.test(key)) {
    throw new ServiceError("unauthorized", "a key has no blanks, accents or emoji", { field: "Authorization" });
  }
  const headers = { Accept: "application/json", ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  const timeout = AbortSignal.timeout(TIMEOUT_S * 1000);
  try {
    const response = await fetch(path, {
      ...options,
      headers,
      signal: AbortSignal.any([signal, timeout]),
      credentials: "omit",
      cache: "no-store",
    });
    if (response.ok) return await response.json();
    throw await errorOf(response);
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    if (timeout.aborted) throw new ServiceError("timeout", `no answer within ${TIMEOUT_S} s`);
    if (error instanceof SyntaxError) throw new ServiceError("failed", "the answer is not JSON");
    throw new ServiceError("unreachable", "is it running, and are you online?");
  }
}

async function errorOf(response) {
  const body = await response.json().catch(() => null);
  const error = body?.error ?? {};
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return new ServiceError(String(error.code ?? "failed"), String(error.message ?? `HTTP ${response.status}`), {
    status: response.status,
    field: error.field ?? null,
    retryAfterS: Number.isNaN(seconds) ? null : seconds,
  });
}
