/** What the tests of the relay lead where, and frames for it. */

import type { RelayPlan } from "../../../src/relay/kernel_relay.ts";
import { V4, V6 } from "../../bench/relay_net.ts";
import {
  type Bytes,
  ethernet,
  frame,
  ipv4,
  type Ipv4Options,
  ipv6,
  type Layer,
  payload,
  udp,
} from "../packets.ts";
import { bytesOf } from "./relay_harness.ts";

export const PHANTOM_PORT = 4060;

export const PLAN: RelayPlan = {
  services: [
    { first: 4000, last: 4003, backends: [backend(V4.receiver, 7000)] },
    { first: 4010, last: 4010, backends: [backend(V6.receiver, 7000)] },
    // The backend is where the client is: frames leave as they came.
    { first: 4020, last: 4020, backends: [backend(V4.sender, 7000)] },
    { ip: bytesOf(V4.relayIn), first: 4030, last: 4030, backends: [backend(V4.receiver, 7001)] },
    {
      ...{ first: 4040, last: 4040, byPort: true },
      backends: [backend(V4.receiver, 7002), backend(V4.receiver, 7003, 3)],
    },
    // A route leads there, and no neighbour answers.
    { first: 4050, last: 4050, backends: [backend("10.92.2.77", 7000)] },
    { first: 4051, last: 4051, backends: [backend("203.0.113.1", 7000)] },
    {
      first: PHANTOM_PORT,
      last: PHANTOM_PORT,
      backends: [backend(V4.receiver, 7004)],
      phantomOnly: true,
    },
  ],
  ports: { first: 20_000, count: 1000 },
  idleMs: 60_000,
  flowsMax: 4096,
};

function backend(ip: string, port: number, weight = 1) {
  return { ip: bytesOf(ip), port, weight };
}

export const RELAY4 = { from: V4.sender, to: V4.relayIn };
export const RELAY6 = { from: V6.sender, to: V6.relayIn };

export function to4(
  port: number,
  bytes = 22,
  options: Ipv4Options = {},
  from = 5000,
): Bytes {
  return frame(
    ethernet(),
    ipv4({ ...RELAY4, ...options }),
    udp({ from, to: port }),
    payload(bytes),
  );
}

export function to6(port: number, bytes = 22, from = 5000): Bytes {
  return frame(ethernet(), ipv6(RELAY6), udp({ from, to: port }), payload(bytes));
}

/** A datagram's checksum as a sender leaves it to hardware: the pseudo-header's sum. */
export function begun(ip: Layer, port: number, bytes: number, from = 5001): Bytes {
  const { addresses } = ip;
  const both = [...addresses!.from, ...addresses!.to];
  let sum = 17 + 8 + bytes;
  for (let at = 0; at < both.length; at += 2) sum += both[at]! << 8 | both[at + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return frame(ethernet(), ip, udp({ from, to: port, checksum: sum }), payload(bytes));
}

/** The same datagram from its receiver to its sender; the sums stay right. */
export function answerTo(frame: Uint8Array): Bytes {
  const out = Uint8Array.from(frame);
  const [at, length] = frame[12] === 8 ? [26, 4] : [22, 16];
  const udpAt = at + 2 * length;
  out.set(frame.subarray(at, at + length), at + length);
  out.set(frame.subarray(at + length, at + 2 * length), at);
  out.set(frame.subarray(udpAt, udpAt + 2), udpAt + 2);
  out.set(frame.subarray(udpAt + 2, udpAt + 4), udpAt);
  return out;
}
