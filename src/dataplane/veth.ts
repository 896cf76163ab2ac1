/** Of veths: a frame from XDP gets to the other end only where that has a program of its own. */

import { vethPeer } from "../../ffi/interfaces.ts";
import type { Libraries } from "../../ffi/libraries.ts";

/** The name of a veth's other end, where that takes no frames from XDP; undefined: all is well. */
export function deafPeer(libs: Libraries, ifindex: number): string | undefined {
  const peer = vethPeer(libs, ifindex);
  return peer === undefined || peer.xdp.native !== 0 ? undefined : peer.name;
}
