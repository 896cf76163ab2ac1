/** What a session counts. */

/** Counted when a limit was hit or a peer misbehaved. */
export class SessionCounters {
  streamsRefused = 0;
  datagramsDropped = 0;
  datagramsTooLong = 0;
  /** Datagrams that came faster than the peer may send. */
  datagramsOverRate = 0;
  framesRefused = 0;
  packetsBuilt = 0;
  packetsReceived = 0;
}
