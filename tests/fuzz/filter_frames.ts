/** Frames that unmask, nearly do and do not, for fuzzing what looks at them with keys. */

import { masked, type MaskedOptions, WINDOW } from "../bpf/tunnel/keyed_packets.ts";
import {
  type Bytes,
  cut,
  destination,
  ethernet,
  frame,
  ipv4,
  ipv6,
  padded,
  udp,
  vlan,
  withRightSum,
} from "../bpf/packets.ts";
import { casePorts, xdpCases } from "../bpf/tunnel/xdp_cases.ts";
import { frameBytesMin } from "../bpf/tunnel/xdp_harness.ts";
import { keyedCases } from "../bpf/tunnel/xdp_keyed_cases.ts";
import type { Rng } from "./rng.ts";

const known: readonly Bytes[] = [...keyedCases.values(), ...xdpCases.values()].flat()
  .map((one) => one.frame)
  .filter(({ length }) => length < 300);
const portList = [...casePorts];

function randomPacket(rng: Rng): Bytes {
  const options: MaskedOptions = {
    kind: rng.chance(0.9) ? rng.int(1, 5) : rng.int(0, 255),
    window: WINDOW + rng.pick([0, 0, 0, -1, 1, -2, 2, 14, -14]),
    session: rng.int(0, 0xffff_ffff) * 0x1_0000 + rng.int(0, 0xffff),
    number: rng.int(0, 1 << 30),
    bytes: rng.int(32, 120),
    from: rng.chance(0.05) ? 1 : 0,
  };
  const ports = { from: rng.int(0, 200), to: rng.pick(portList) };
  const tags = rng.chance(0.1) ? [vlan()] : [];
  const sum = rng.chance(0.2) ? { checksum: rng.int(0, 0xffff) } : {};
  const lower = rng.chance(0.5)
    ? [ipv4({ from: `192.0.2.${rng.int(0, 9)}`, ...sum })]
    : [ipv6({ from: `2001:db8::${rng.int(0, 9)}` }), ...(rng.chance(0.2) ? [destination()] : [])];
  return frame(ethernet(), ...tags, ...lower, udp(ports), masked(options));
}

export function randomFrame(rng: Rng): Bytes {
  let bytes = rng.chance(0.4) ? randomPacket(rng) : rng.pick(known);
  if (rng.chance(0.5)) bytes = rng.mutate(bytes, rng.int(1, 3));
  if (rng.chance(0.1)) bytes = cut(bytes, rng.int(frameBytesMin, bytes.length + 1));
  if (rng.chance(0.1)) bytes = padded(bytes, rng.int(20, 400), rng.int(0, 255));
  if (rng.chance(0.5)) bytes = withRightSum(bytes);
  return cut(padded(bytes, frameBytesMin), 3000);
}
