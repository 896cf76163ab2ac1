/**
 * A thing of the kernel's or of C's that must be let go of exactly once: by `using`, or by
 * `close()`. Use after that is an Error with the thing's name, and never a crash.
 */
export abstract class Handle {
  readonly label: string;
  #closed = false;

  constructor(label: string) {
    this.label = label;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** To be called at the start of every use. */
  protected assertOpen(): void {
    if (this.#closed) throw new Error(`Cannot use ${this.label} as it is closed`);
  }

  /** Lets go; runs at most once. */
  protected abstract release(): void;

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.release();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
