/** Strings and bytes across the border. */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The text with the NUL byte that C wants behind it. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) {
    throw new TypeError(`Cannot pass a string to C as it holds a NUL: ${JSON.stringify(text)}`);
  }
  return encoder.encode(`${text}\0`);
}

/** The text in a fixed-size field: up to its first NUL. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** The string that a C function returned; "" for NULL. */
export function stringAt(pointer: Deno.PointerValue): string {
  return pointer === null ? "" : new Deno.UnsafePointerView(pointer).getCString();
}

/** A copy of `length` bytes behind a pointer. */
export function copyAt(pointer: Deno.PointerObject, length: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(length);
  new Deno.UnsafePointerView(pointer).copyInto(copy);
  return copy;
}

/** The address of a buffer, for a field of a struct. The buffer must outlive the call. */
export function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
}

const held: unknown[] = [];

/**
 * Runs `call` while `buffers` can't be collected. A call that is given only their addresses needs
 * this: to the engine such a buffer is unused after its last mention.
 */
export function holding<T>(buffers: readonly unknown[], call: () => T): T {
  const depth = held.push(buffers);
  try {
    return call();
  } finally {
    held.length = depth - 1;
  }
}

/** A generated struct view, as far as building one needs it. */
export interface StructLayout<T> {
  readonly size: number;
  write(view: DataView, at: number, value: Partial<T>): void;
}

/** The bytes of a struct with these fields, the others zero (and an option struct's own size). */
export function optionsOf<T>(
  layout: StructLayout<T>,
  fields: Partial<T> = {},
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(layout.size);
  layout.write(new DataView(bytes.buffer), 0, fields);
  return bytes;
}
