/** What a session counts. */

/** Counted when a limit was hit or a peer misbehaved. */
export class SessionCounters {
  streamsRefused = 0;
  datagramsDropped = 0;
  datagramsTooLong = 0;
  framesRefused = 0;
  packetsBuilt = 0;
  packetsReceived = 0;
}
