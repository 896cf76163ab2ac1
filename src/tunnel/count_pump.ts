/** What both tunnels tell main of their packets. */

import type { PacketPump } from "./packet_pump.ts";
import type { Peer } from "./peer.ts";
import { SharedWord } from "./protocol.ts";

export function countPump<P extends Peer>(
  words: BigInt64Array,
  { received, sent, peers }: PacketPump<P>,
): void {
  words[SharedWord.datagrams] = BigInt(received.datagrams);
  words[SharedWord.junk] = BigInt(received.junk + received.forged);
  words[SharedWord.sessions] = BigInt(peers.count);
  words[SharedWord.bytesIn] = BigInt(received.bytes);
  words[SharedWord.bytesOut] = BigInt(sent.bytes);
}
