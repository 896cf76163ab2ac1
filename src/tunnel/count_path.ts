/** What both tunnels tell main of their packets. */

import type { PacketPump } from "./packet_pump.ts";
import { SharedWord } from "./protocol.ts";

export function countPath(words: BigInt64Array, { received, sends, links }: PacketPump): void {
  words[SharedWord.datagrams] = BigInt(received.datagrams);
  words[SharedWord.junk] = BigInt(received.junk + received.forged);
  words[SharedWord.sessions] = BigInt(links.count);
  words[SharedWord.bytesIn] = BigInt(received.bytes);
  words[SharedWord.bytesOut] = BigInt(sends.counters.bytes);
}
