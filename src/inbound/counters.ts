/** What inbounds count, and what they need of the tunnel. */

import type { Session } from "../session/session.ts";

/** Counted since the start. */
export class InboundCounters {
  accepted = 0;
  /** CONNECTIONS_MAX was hit. */
  connectionsRefused = 0;
  /** Connections that the system did not let us take (descriptors, memory). */
  acceptErrors = 0;
  greetingsTimedOut = 0;
  /** Connections without a request that went for one that came later. */
  greetingsGaveWay = 0;
  /** Requests that are none, or that come with the wrong password. */
  requestsRefused = 0;
  /** The session had no room for another stream. */
  streamsRefused = 0;
  /** Streams opened again since their session was lost before the server had heard of them. */
  reopened = 0;
  /** The server could not or would not reach the target. */
  targetsRefused = 0;
  /** Associations or peers of a UDP forward beyond their maximum. */
  associationsRefused = 0;
  datagramsUp = 0;
  datagramsDown = 0;
  datagramBytesUp = 0;
  datagramBytesDown = 0;
  /** Too long, malformed, from a stranger, or without room on their way. */
  datagramsDropped = 0;
  /** Those of them that no packet can carry. */
  datagramsTooLong = 0;
  /** SOCKS5's fragments. */
  fragments = 0;
  /** Exceptions that ended one connection or batch: none is expected. */
  faults = 0;

  /** What limits and rules refused. */
  get refusals(): number {
    return this.connectionsRefused + this.acceptErrors + this.greetingsTimedOut +
      this.requestsRefused + this.streamsRefused + this.associationsRefused;
  }
}

/** The client's tunnel, as far as inbounds need it. */
export interface InboundTunnel {
  /** A session that is usable at once; connects when there is none. */
  session(): Session;
  /** To be called after a session was written to. */
  wake(session: Session): void;
  /** Why there is no session, as far as that is known. */
  why?(): string | undefined;
}
