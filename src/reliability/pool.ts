/**
 * A number of things that all sessions of a worker share. A holder may have at most half as many as
 * are free beside its own: alone a third of all, among n equally greedy ones 1 / (n + 2), so that
 * whoever comes late finds some. The same holds for the holders of a group together. A few each
 * gets in any case; a part is kept for those.
 */

/** It is short where less than this share is free. */
const SHORT_SHARE = 1 / 16;

export class Pool {
  readonly max: number;
  /** What each holder gets in any case. */
  sure: number;
  used = 0;
  /** Of which holders get more than that. */
  readonly #common: number;

  /** `reserve`: the share that is kept for what holders get in any case; 0: it comes on top. */
  constructor(max: number, sure: number, reserve = 0) {
    this.max = max;
    this.sure = sure;
    this.#common = max * (1 - reserve);
  }

  /**
   * Whether a holder that has so many, in a group that has so many, may have so many more, and
   * gives some back for them.
   */
  admits(held: number, ofGroup = held, more = 1, instead = 0): boolean {
    const wanted = more - instead;
    if (held + wanted <= this.sure) return true;
    return 2 * (Math.max(held, ofGroup) + wanted) <= this.#common - this.used + instead;
  }

  /** So little is left that whoever holds most should give some back. */
  get isShort(): boolean {
    return this.#common - this.used < SHORT_SHARE * this.max;
  }
}
