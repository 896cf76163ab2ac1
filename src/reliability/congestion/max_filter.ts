// Running maximum over a window, by three samples (Kathleen Nichols' algorithm, as in Linux).

const KEPT = 3;

/** Keeps the best, second and third best values, each younger than the one before. */
export class MaxFilter {
  readonly #length: number;
  /** Three values, and behind them their times. */
  readonly #samples = new Float64Array(2 * KEPT);

  constructor(length: number) {
    this.#length = length;
  }

  get max(): number {
    return this.#samples[0]!;
  }

  reset(time: number, value: number): void {
    this.#samples.fill(value, 0, KEPT);
    this.#samples.fill(time, KEPT);
  }

  update(time: number, value: number): void {
    if (value >= this.#samples[0]! || time - this.#samples[KEPT + 2]! > this.#length) {
      this.reset(time, value);
      return;
    }
    if (value >= this.#samples[1]!) {
      this.#set(1, time, value);
      this.#set(2, time, value);
    } else if (value >= this.#samples[2]!) {
      this.#set(2, time, value);
    }
    this.#expire(time, value);
  }

  #expire(time: number, value: number): void {
    const age = time - this.#samples[KEPT]!;
    if (age > this.#length) {
      this.#shift();
      this.#set(2, time, value);
      if (time - this.#samples[KEPT]! > this.#length) {
        this.#shift();
        this.#set(2, time, value);
      }
    } else if (this.#samples[KEPT + 1] === this.#samples[KEPT] && age > this.#length / 4) {
      // A quarter went by without a second: take this one.
      this.#set(1, time, value);
      this.#set(2, time, value);
    } else if (this.#samples[KEPT + 2] === this.#samples[KEPT + 1] && age > this.#length / 2) {
      this.#set(2, time, value);
    }
  }

  #shift(): void {
    this.#set(0, this.#samples[KEPT + 1]!, this.#samples[1]!);
    this.#set(1, this.#samples[KEPT + 2]!, this.#samples[2]!);
  }

  #set(index: number, time: number, value: number): void {
    this.#samples[KEPT + index] = time;
    this.#samples[index] = value;
  }
}
