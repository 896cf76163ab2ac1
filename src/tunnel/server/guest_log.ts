/**
 * Tells the log who comes, who goes, and who may not come in: a line each, and nothing of what they
 * visit. A user who goes on at a limit is told of once a minute.
 */

import { formatEndpoint, readEndpoint, type Route } from "../../../ffi/endpoint.ts";
import type { Log } from "../../base/log.ts";
import type { HelloOpened } from "../../crypto/hello.ts";
import { CloseCode } from "../../wire/frames.ts";
import { TIME_SKEW_MS_MAX } from "../../wire/limits.ts";
import { endWords } from "../close_words.ts";
import type { Guest } from "./guest.ts";

/** A client whose clock is off by so much is told of: it is on its way to be locked out. */
const CLOCK_OFF_MS = 10_000;
export const LIMIT_TOLD_EVERY_MS = 60_000;
/** Users and limits that are remembered; beyond, the oldest may be told of again too early. */
const LIMITS_MAX = 4096;

/** HELLOs of a right key whose clock is off by much, if not by too much; and by too much. */
interface HelloCounters {
  clocksOff: number;
  clocksRefused: number;
  unproven: number;
}

export class GuestLog {
  readonly #log: Log;
  readonly #now: () => number;
  readonly #seen: (user: string, from?: string) => void;
  /** By user and limit: when it was told of. */
  readonly #toldAt = new Map<string, number>();

  /** `seen`: a named user shows life, for who keeps that. */
  constructor(log: Log, now: () => number, seen: (user: string, from?: string) => void) {
    this.#log = log;
    this.#now = now;
    this.#seen = seen;
  }

  /** The first packet of a session has opened: somebody is there. */
  came(guest: Guest, carrier: string): void {
    guest.cameAt = this.#now();
    this.#log.often("info", "client_in", "client in", () => ({ ...whoOf(guest), carrier }));
    const name = nameOf(guest);
    if (name !== "") this.#seen(name, whoOf(guest).from);
  }

  /** Its session is over, by a CloseCode of ours or of theirs. */
  left(guest: Guest, code: number, isLocal: boolean): void {
    // Who never came in has not left.
    if (guest.cameAt === undefined) return;
    const seconds = Math.round((this.#now() - guest.cameAt) / 1000);
    this.#log.often("info", "client_gone", "client gone", () => {
      const { receivedBytes, sentBytes } = guest.session;
      const done = isLocal ? "the server stops" : "the client stopped";
      // What a client says of its end is its own word.
      const said = isLocal ? endWords(code) : `the client says: ${endWords(code)}`;
      const why = code === CloseCode.done ? done : said;
      return { ...whoOf(guest), in: receivedBytes, out: sentBytes, seconds, why };
    });
    const name = nameOf(guest);
    if (name !== "") this.#seen(name);
  }

  /**
   * A HELLO was looked at: of one that has opened it shows how far its client's clock is off, and
   * of another whether it is the psk's, with a name or key that no user has.
   */
  lookedAt(
    { user, skewMs, isUnproven }: Pick<HelloOpened, "user" | "skewMs" | "isUnproven">,
    arrival: { readonly route: Route },
    counters: HelloCounters,
  ): void {
    if (isUnproven) {
      counters.unproven++;
      if (!this.#log.tellsDebug) return;
      const from = addressOf(arrival.route);
      this.#log.debug("unproven", "a client knows the psk, and has no user's name and key", {
        from,
      });
      return;
    }
    const offMs = Math.abs(skewMs);
    if (user === undefined || offMs < CLOCK_OFF_MS) return;
    const isRefused = offMs > TIME_SKEW_MS_MAX;
    if (isRefused) counters.clocksRefused++;
    else counters.clocksOff++;
    if (!this.#log.tellsDebug) return;
    this.#log.debug("clock_off", "a client with the right key has another time", {
      ...{ ...userOf(user.name), from: addressOf(arrival.route) },
      ...{ offSeconds: Math.round(-skewMs / 1000), admitted: !isRefused },
    });
  }

  /** A user who has proved their key is not let in, or not served, as this code says. */
  limited(user: string, code: number, route?: Route): void {
    const key = `${code} ${user}`;
    const now = this.#now();
    if (now < (this.#toldAt.get(key) ?? -Infinity) + LIMIT_TOLD_EVERY_MS) return;
    this.#toldAt.delete(key);
    this.#toldAt.set(key, now);
    if (this.#toldAt.size > LIMITS_MAX) {
      const [oldest] = this.#toldAt.keys();
      this.#toldAt.delete(oldest!);
    }
    const from = route === undefined ? undefined : addressOf(route);
    const fields = { ...userOf(user), from, limit: endWords(code) };
    this.#log.info("user_limit", "a user is at a limit", fields);
  }
}

/** "" where a PSK alone makes all one user. */
function nameOf(guest: Guest): string {
  return guest.user?.user.name ?? "";
}

function whoOf(guest: Guest): { user?: string; from?: string } {
  const route = guest.routes[Math.max(0, guest.session.activePath)] ?? guest.routes[0];
  return {
    ...userOf(nameOf(guest)),
    ...(route === undefined ? {} : { from: addressOf(route) }),
  };
}

/** Where a PSK alone makes all one user there is nothing to say. */
function userOf(user: string): { user?: string } {
  return user === "" ? {} : { user };
}

function addressOf(route: Route): string {
  return formatEndpoint(readEndpoint(route, 0));
}
