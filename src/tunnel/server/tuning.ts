/** What a server's tunnel can be given beside its start message, and what it counts. */

import type { TunnelTuning } from "../tunnel.ts";
import type { GuestLog } from "./guest_log.ts";
import type { Neighbours } from "./handed_over.ts";

/** Named maxima of a server, smaller in tests; each is counted when it is hit. */
export interface ServerTuning extends TunnelTuning {
  /** The other workers; none where there is one worker. */
  readonly neighbours?: Neighbours;
  /** A user has as many sessions as they may: some may be other workers'. */
  readonly crowded?: (user: string, silentMs?: number) => void;
  /** Hears of who comes, and who may not. */
  readonly guests?: Pick<GuestLog, "came" | "limited" | "lookedAt">;
  readonly sessionsPerSource?: number;
  readonly handshakesPerSecond?: number;
  /** Bytes of 0-RTT frames held back, of all sessions. */
  readonly heldBytes?: number;
  /** A session whose client never sends DATA is dropped after this. */
  readonly confirmMs?: number;
}

/** How often a maximum was hit, and what else is worth a number. */
export class ServerCounters {
  handshakes = 0;
  /** HELLOs of a handshake that was answered before. */
  repeated = 0;
  /** Those whose handshake another worker has, which was told. */
  handedOver = 0;
  /** Handshakes from before a restart: sessions whose first frames were not run. */
  notRun = 0;
  resets = 0;
  sessionsRefused = 0;
  /** By sessions a source. */
  sourcesRefused = 0;
  /** By handshakes a second. */
  rateRefused = 0;
  /** By bytes of 0-RTT frames held back. */
  heldRefused = 0;
  /** Copies of a salt that was looked at as often as it may. */
  copiesRefused = 0;
  /** Of users who have expired, or used up their traffic. */
  usersRefused = 0;
  /** No cipher that both ends have. */
  ciphersRefused = 0;
  /** No place in the cache of handshakes, or a public key of small order. */
  keysRefused = 0;
  neverConfirmed = 0;
  /** HELLOs of a right key whose clock is off by much, if not by too much; and by too much. */
  clocksOff = 0;
  clocksRefused = 0;
  /** HELLOs under our psk that no user's name and key are behind. */
  unproven = 0;

  /** HELLOs that limits refused. */
  get refusals(): number {
    return this.sessionsRefused + this.sourcesRefused + this.rateRefused + this.heldRefused +
      this.usersRefused + this.ciphersRefused + this.keysRefused;
  }
}
