/**
 * Session ids of a server: which of its workers a session belongs to is in the lowest bits, so
 * that any worker, and the kernel, can tell. What else is in an id: crypto/session_ids.ts.
 */

/** The bits of a session id that say whose it is: 0 for one worker. */
export function ownerMask(workers: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, workers))) - 1;
}

/** The worker that a session id names; above the last one where the id is made up. */
export function ownerOf(session: number, mask: number): number {
  return session & mask;
}
