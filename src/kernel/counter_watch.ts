/** Notices a program that no packet reaches: its interfaces receive, its counters stand still. */

/** So many packets must have come by: what a device counts before its program can be fewer. */
const PACKETS_MIN = 1000;
const LOOKS_MIN = 3;

export class CounterWatch {
  #counted = -1;
  #receivedBefore = 0;
  #looks = 0;

  /**
   * To be told now and then what the interfaces have received and the program has counted, in
   * all; true once when that does not fit.
   */
  isStill(received: number, counted: number): boolean {
    // Also when interfaces came or went: the sums begin anew.
    if (counted !== this.#counted || received < this.#receivedBefore) {
      this.#counted = counted;
      this.#receivedBefore = received;
      this.#looks = 0;
      return false;
    }
    this.#looks++;
    if (this.#looks < LOOKS_MIN || received - this.#receivedBefore < PACKETS_MIN) return false;
    this.reset();
    return true;
  }

  /** Begins anew, as after a change of the interfaces. */
  reset(): void {
    this.#counted = -1;
  }
}
