/**
 * What a field begins as that holds one number for many calls, like the time of a batch.
 *
 * V8 keeps a field that was never anything but a number as the bare number, and makes an object of
 * it whenever it is read and passed on: 16 bytes a packet and more. A field that began as something
 * else keeps the object. Written before it is read.
 */
export const NO_NUMBER = undefined as unknown as number;

/**
 * One number that is handed on by reference. As an argument or a result of a call that V8 does not
 * inline, a number that is no 32-bit integer is an object of 16 bytes each time: offsets of streams
 * are so from 2 GiB on.
 */
export type NumberCell = Float64Array<ArrayBuffer>;

export function numberCell(): NumberCell {
  return new Float64Array(1);
}
