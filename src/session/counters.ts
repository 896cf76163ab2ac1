/** What a session counts. */

/** What keeps a session from sending more. */
export const Limit = { app: 0, window: 1, pacing: 2, flow: 3, buffer: 4 } as const;

/** How long a session did not send for each reason, in ms: where a slow transfer loses its time. */
export class SendLimits {
  /** Nothing was there to be sent. */
  app = 0;
  /** The congestion window was full, or what recovery remembers. */
  window = 0;
  /** It waited for its turn at the pacing rate. */
  pacing = 0;
  /** The peer's limit for the stream or the session was used up. */
  flow = 0;
  /** A stream held as much as it may that was not acknowledged. */
  buffer = 0;
  #what: number = Limit.app;
  #since = -1;

  /** From now on it waits for this (a Limit); until now it was what it said before. */
  note(now: number, what: number): void {
    const ms = this.#since < 0 ? 0 : now - this.#since;
    if (this.#what === Limit.pacing) this.pacing += ms;
    else if (this.#what === Limit.window) this.window += ms;
    else if (this.#what === Limit.flow) this.flow += ms;
    else if (this.#what === Limit.buffer) this.buffer += ms;
    else this.app += ms;
    this.#what = what;
    this.#since = now;
  }
}

/** Counted when a limit was hit or a peer misbehaved. */
export class SessionCounters {
  streamsRefused = 0;
  /** Frames of streams that no OPEN has made, where there was no room for one more of those. */
  unopenedRefused = 0;
  /** OPENs that were not taken: they came too fast. */
  openingsOverRate = 0;
  /** OPENs that were not taken: the peer has too many answers to acknowledge. */
  answersFull = 0;
  /** Streams that were given up since others needed the memory that they held. */
  streamsCut = 0;
  /** How often the peer did not answer for some probe timeouts while data waited for it. */
  silences = 0;
  datagramsDropped = 0;
  datagramsTooLong = 0;
  /** Datagrams that came faster than the peer may send. */
  datagramsOverRate = 0;
  framesRefused = 0;
  packetsBuilt = 0;
  packetsReceived = 0;
  readonly limits: SendLimits = new SendLimits();
}
