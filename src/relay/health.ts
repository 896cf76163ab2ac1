/** When a backend is down: after some failed checks in a row, until some good ones in a row. */

export interface HealthRule {
  /** Failed checks in a row until down. */
  readonly fall: number;
  /** Good checks in a row until up. */
  readonly rise: number;
}

export class Health {
  readonly #rule: HealthRule;
  /** Up until shown otherwise: a start must not be an outage. */
  #isUp = true;
  /** Checks in a row that say otherwise. */
  #against = 0;

  constructor(rule: HealthRule) {
    this.#rule = rule;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Takes what a check has found; whether that changed anything. */
  tell(isGood: boolean): boolean {
    this.#against = isGood === this.#isUp ? 0 : this.#against + 1;
    const needed = this.#isUp ? this.#rule.fall : this.#rule.rise;
    if (this.#against < needed) return false;
    this.#isUp = !this.#isUp;
    this.#against = 0;
    return true;
  }
}
