/** The headers of a change: a key, so that a repeat changes nothing again, and the session's word against forgery. */

let csrf = "";

export function protectWith(token: string | undefined): void {
  csrf = token ?? "";
}

export function sent(): Record<string, string> {
  const headers: Record<string, string> = { "Idempotency-Key": key() };
  if (csrf) headers["X-Runfleet-CSRF"] = csrf;
  return headers;
}

/** crypto.randomUUID is missing where the page comes over plain HTTP from another machine. */
function key(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
