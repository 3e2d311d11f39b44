/** Who is signed in. A server without sessions, and an open one, ask nobody. */

import { get, has, post, Problem, remove } from "./client.ts";
import { protectWith } from "./headers.ts";
import type { Session } from "./types.ts";

const CALL = "/api/session";
const RANKS = { read: 0, run: 1, admin: 2 };

class Who {
  session = $state.raw<Session>();
  /** True once it is known whether somebody is signed in. */
  known = $state(false);

  async read(): Promise<void> {
    try {
      if (has(CALL)) this.take(await get<Session>(CALL));
      else this.take(await withoutSessions());
    } catch (error) {
      this.take(error instanceof Problem && error.status === 401 ? undefined : { who: "", scope: "read" });
    } finally {
      this.known = true;
    }
  }

  async signIn(by: { token: string } | { link: string }): Promise<void> {
    this.take(await post<Session>(CALL, by));
  }

  async signOut(): Promise<void> {
    if (has(CALL)) await remove(CALL);
    this.take(undefined);
  }

  /** The session ended on the server. */
  lost(): void {
    this.take(undefined);
  }

  may(scope: Session["scope"]): boolean {
    return this.session !== undefined && RANKS[this.session.scope] >= RANKS[scope];
  }

  /** Why a button is disabled; undefined when it is not. */
  refusal(scope: Session["scope"]): string | undefined {
    return this.may(scope) ? undefined : `needs scope ${scope}`;
  }

  private take(session: Session | undefined): void {
    this.session = session;
    protectWith(session?.csrf);
  }
}

export const who = new Who();

/** Without the call for sessions only an open API can be used from a page, and every read tells. */
async function withoutSessions(): Promise<Session> {
  await get("/api/queues");
  return { who: "anybody on this machine", scope: "admin", open: true };
}
