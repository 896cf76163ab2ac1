/**
 * What the generated layouts (layout.gen.ts, libbpf.gen.ts) need beyond DataView.
 *
 * @module
 */

/** A copy: what it was read from may be overwritten by the next batch. */
export function getBytes(view: DataView, at: number, length: number): Uint8Array {
  return bytesOf(view, at, length).slice();
}

/** Writes exactly `length` bytes; `field` names them in the error. */
export function setBytes(
  view: DataView,
  at: number,
  value: Uint8Array,
  length: number,
  field: string,
): void {
  checkLength(value.length, length, field);
  bytesOf(view, at, length).set(value);
}

/** Zeroes padding: the kernel compares map keys byte by byte, with their padding. */
export function setZero(view: DataView, at: number, length: number): void {
  bytesOf(view, at, length).fill(0);
}

/** Throws RangeError unless an array has as many elements as its C counterpart. */
export function checkLength(actual: number, expected: number, field: string): void {
  if (actual !== expected) {
    throw new RangeError(
      `Cannot write ${field} as its length must be ${expected}: current value is ${actual}`,
    );
  }
}

function bytesOf(view: DataView, at: number, length: number): Uint8Array {
  // The view is what the caller handed out, its buffer may be larger: DataView's own methods
  // check this, a Uint8Array made from the buffer does not.
  if (at < 0 || at + length > view.byteLength) {
    throw new RangeError(`Cannot reach byte ${at + length}: the view has ${view.byteLength}`);
  }
  return new Uint8Array(view.buffer, view.byteOffset + at, length);
}
