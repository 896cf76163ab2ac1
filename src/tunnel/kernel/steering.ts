/**
 * Programs on the workers' sockets (bpf/steer.bpf.c): packets reach the worker that owns their
 * session, whatever their address, and where no XDP program has dropped junk it ends there.
 *
 * They need no interface and no pins: attached to sockets, they end with them.
 */

import type { Libraries } from "../../../ffi/libraries.ts";
import { keyOfIndex } from "../../../ffi/bpf/map.ts";
import { BpfObject } from "../../../ffi/bpf/object.ts";
import { attachToSocket } from "../../../ffi/bpf/socket_link.ts";
import type { BpfMap } from "../../../ffi/bpf/map.ts";
import type { BpfCode } from "../../kernel/resources.ts";

export interface SteeringOptions {
  readonly libs: Libraries;
  readonly code: BpfCode;
  /** Of every worker, in the order of their indices. */
  readonly sockets: readonly number[];
  /** Of the XDP program, where one is loaded; else the programs have their own. */
  readonly shared: ((name: string) => BpfMap) | undefined;
  /** Choose the worker. */
  readonly steers: boolean;
  /** Drop junk. */
  readonly filters: boolean;
}

/** The sockets, by index; all else the programs share with xdp_phantom. */
const WORKERS = "workers";

export class Steering {
  readonly #object: BpfObject;

  private constructor(object: BpfObject) {
    this.#object = object;
  }

  static start({ libs, code, sockets, shared, steers, filters }: SteeringOptions): Steering {
    const object = new BpfObject(libs, code.name, code.bytes);
    try {
      for (const { name } of shared === undefined ? [] : object.shapes()) {
        if (name !== WORKERS) object.reuse(name, shared!(name));
      }
      if (!steers) object.skip("steer");
      if (!filters) object.skip("drop_junk");
      object.load();
      if (steers) steer(libs, object, sockets);
      if (filters) {
        for (const socket of sockets) {
          attachToSocket(libs, object.program("drop_junk"), socket, "filter");
        }
      }
      return new Steering(object);
    } catch (error) {
      object.close();
      throw error;
    }
  }

  map(name: string): BpfMap {
    return this.#object.map(name);
  }

  /** Lets go; the programs stay on the sockets. */
  close(): void {
    this.#object.close();
  }
}

function steer(libs: Libraries, object: BpfObject, sockets: readonly number[]): void {
  const workers = object.map(WORKERS);
  for (const [index, socket] of sockets.entries()) {
    workers.set(keyOfIndex(index), new Uint8Array(BigUint64Array.of(BigInt(socket)).buffer));
  }
  // One for all of the group.
  attachToSocket(libs, object.program("steer"), sockets[0]!, "reuseport");
}
