// Running maximum over a window, by three samples (Kathleen Nichols' algorithm, as in Linux).

/** Keeps the best, second and third best values, each younger than the one before. */
export class MaxFilter {
  readonly #length: number;
  readonly #value = new Float64Array(3);
  readonly #time = new Float64Array(3);

  constructor(length: number) {
    this.#length = length;
  }

  get max(): number {
    return this.#value[0]!;
  }

  reset(time: number, value: number): void {
    this.#value.fill(value);
    this.#time.fill(time);
  }

  update(time: number, value: number): void {
    if (value >= this.#value[0]! || time - this.#time[2]! > this.#length) {
      this.reset(time, value);
      return;
    }
    if (value >= this.#value[1]!) {
      this.#set(1, time, value);
      this.#set(2, time, value);
    } else if (value >= this.#value[2]!) {
      this.#set(2, time, value);
    }
    this.#expire(time, value);
  }

  #expire(time: number, value: number): void {
    const age = time - this.#time[0]!;
    if (age > this.#length) {
      this.#shift();
      this.#set(2, time, value);
      if (time - this.#time[0]! > this.#length) {
        this.#shift();
        this.#set(2, time, value);
      }
    } else if (this.#time[1] === this.#time[0] && age > this.#length / 4) {
      // A quarter went by without a second: take this one.
      this.#set(1, time, value);
      this.#set(2, time, value);
    } else if (this.#time[2] === this.#time[1] && age > this.#length / 2) {
      this.#set(2, time, value);
    }
  }

  #shift(): void {
    this.#set(0, this.#time[1]!, this.#value[1]!);
    this.#set(1, this.#time[2]!, this.#value[2]!);
  }

  #set(index: number, time: number, value: number): void {
    this.#time[index] = time;
    this.#value[index] = value;
  }
}
