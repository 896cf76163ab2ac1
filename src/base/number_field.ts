/**
 * What a field begins as that holds one number for many calls, like the time of a batch.
 *
 * V8 keeps a field that was never anything but a number as the bare number, and makes an object of
 * it whenever it is read and passed on: 16 bytes a packet and more. A field that began as something
 * else keeps the object. Written before it is read.
 */
export const NO_NUMBER = undefined as unknown as number;
