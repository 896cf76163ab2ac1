/**
 * Who gives way when a user has as many sessions as they may and comes again: mostly it is a client
 * that was killed, whose session nobody has ended. The one unheard of for longest is asked for a
 * sign of life and ends without one, so that the client's next HELLO finds room; where all answer,
 * it is refused.
 */

import { CloseCode } from "../../wire/frames.ts";
import type { PacketPump } from "../packet_pump.ts";
import type { Guest } from "./guest.ts";
import type { TunnelUser } from "./users.ts";

/** How long a session has to show that it lives; a client's second HELLO comes after as long. */
const ANSWER_MS = 900;
/** Before that nobody is refused: the session may be another worker's, which hears of it late. */
const REFUSE_AFTER_MS = 2000;
/** So long it is known then that nobody gives way. */
const KNOWN_MS = 5000;

export class GiveWay {
  /** Sessions that did not answer. */
  count = 0;
  readonly #pump: PacketPump<Guest>;
  /** When users' sessions were asked last, and when each of those that have to answer. */
  readonly #askedAt = new Map<TunnelUser, number>();
  readonly #asked = new Map<Guest, number>();

  constructor(pump: PacketPump<Guest>) {
    this.#pump = pump;
  }

  /** Whether the user's sessions have just been asked, and all live. */
  isRefused(user: TunnelUser): boolean {
    const age = this.#ageOf(user);
    return age >= REFUSE_AFTER_MS && age < KNOWN_MS;
  }

  /** Whether they are to be asked now: here, and by the other workers. */
  isDue(user: TunnelUser): boolean {
    return this.#ageOf(user) >= KNOWN_MS;
  }

  /** Asks the longest silent session of the user that there is here. */
  ask(user: TunnelUser): void {
    const { now } = this.#pump;
    this.#askedAt.set(user, now);
    const guest = this.#silentest(user);
    if (guest === undefined || this.#asked.has(guest)) return;
    this.#asked.set(guest, now);
    guest.session.ping(guest.session.activePath, 0, 0);
    guest.ownDueAt = Math.min(guest.ownDueAt, now + ANSWER_MS);
    this.#pump.wake(guest);
  }

  /** Its time is over. False: it was not asked. */
  due(guest: Guest, now: number): boolean {
    const askedAt = this.#asked.get(guest);
    if (askedAt === undefined) return false;
    this.#asked.delete(guest);
    if (heardOf(guest) > askedAt) return true;
    this.count++;
    guest.session.close(now, CloseCode.tooManySessions);
    this.#pump.release(guest);
    return true;
  }

  /** It is over. */
  forget(guest: Guest): void {
    this.#asked.delete(guest);
  }

  #ageOf(user: TunnelUser): number {
    return this.#pump.now - (this.#askedAt.get(user) ?? -Infinity);
  }

  #silentest(user: TunnelUser): Guest | undefined {
    let silentest: Guest | undefined;
    for (const guest of this.#pump.peers.all()) {
      if (guest.user !== user || !guest.session.isOpen) continue;
      if (silentest === undefined || heardOf(guest) < heardOf(silentest)) silentest = guest;
    }
    return silentest;
  }
}

function heardOf({ heardAt }: Guest): number {
  return Math.max(...heardAt);
}
