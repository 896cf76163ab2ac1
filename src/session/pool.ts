/**
 * A number of things that all sessions of a worker share. A holder may have at most half as many as
 * are free beside its own: alone a third of all, among n equally greedy ones 1 / (n + 2), so that
 * whoever comes late finds some. A few it gets in any case, beyond the maximum if need be.
 */

export class Pool {
  readonly max: number;
  /** What each holder gets in any case. */
  readonly sure: number;
  used = 0;

  constructor(max: number, sure: number) {
    this.max = max;
    this.sure = sure;
  }

  /** Whether a holder that has so many may have so many more. */
  admits(held: number, more = 1): boolean {
    const wanted = held + more;
    return wanted <= this.sure || 2 * wanted <= this.max - this.used;
  }
}
