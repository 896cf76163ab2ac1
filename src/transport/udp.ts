/** The ways out of a worker: AF_XDP to whom it can reach, the UDP socket for everything else. */

import type { UdpOutbox, UdpSocket } from "../../ffi/udp.ts";
import type { XskPort } from "../../ffi/xsk.ts";
import { type Loop, NOT_ARMED, type Timer } from "../loop/loop.ts";

/** Frames that the kernel did not take at once are offered again after this. */
const KICK_MS = 1;

export class Outlet implements Timer {
  heapIndex = NOT_ARMED;
  dueAt = 0;
  socket: UdpSocket | undefined;
  port: XskPort | undefined;
  readonly #loop: Loop;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  /**
   * As UdpSocket.send, but that what AF_XDP took is no longer in the outbox. Nothing is sent where
   * there is no socket.
   */
  send(outbox: UdpOutbox): number {
    const { socket, port } = this;
    if (socket === undefined) return 0;
    if (port !== undefined) {
      port.send(outbox);
      if (this.heapIndex === NOT_ARMED && port.kick()) {
        this.#loop.arm(this, this.#loop.now + KICK_MS);
      }
      if (outbox.count === 0) return 0;
    }
    return socket.send(outbox);
  }

  fire(now: number): void {
    if (this.port?.kick() === true) this.#loop.arm(this, now + KICK_MS);
  }
}
