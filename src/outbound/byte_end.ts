/**
 * One end of a connection whose bytes go both ways: a socket, or a stream of the tunnel. Two ends
 * are joined, each the other's peer: what one reads it writes to the other, and tells it of its own
 * half-close, its reset, and that it takes bytes again.
 *
 *     socket → SocketEnd ⇄ StreamEnd → session        the tunnel
 *     socket → SocketEnd ⇄ SocketEnd → socket         what stays on this machine
 */

export interface ByteEnd {
  /** When bytes passed last, in ms of the loop, where that is known. */
  readonly lastUsed?: number;
  /** Of a socket: see Stalled (src/tunnel/exit/stalled.ts). */
  look?(): number;
  readonly stalled?: number;
  /**
   * Takes bytes; how many. After less than `length` the peer is resumed once there is room: what
   * was not taken is the peer's to keep.
   */
  write(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): number;
  /** Bytes that it would take now. After 0 the peer is resumed once there is room. */
  room(): number;
  /** Nothing more will be written. */
  finish(): void;
  /** Drops everything, with a code of RST; the peer hears nothing of it. */
  reset(code: number): void;
  /** Its peer has gone, and it is reset a little later; where that costs something. */
  abandon?(): void;
  /** The peer takes bytes again. May come amidst a packet's frames. */
  resume(): void;
}
