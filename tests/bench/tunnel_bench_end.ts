/**
 * One end of the tunnel for tunnel_bench.ts: the server takes what comes, the client sends as much
 * as it can. As a worker it is told its role by its first message.
 */

import { getHeapStatistics } from "node:v8";
import { endpoint } from "../../ffi/endpoint.ts";
import type { Native } from "../../ffi/native.ts";
import { ClientTunnel } from "../../src/tunnel/client/tunnel.ts";
import { Loop } from "../../src/loop/loop.ts";
import { ServerTunnel } from "../../src/tunnel/server/tunnel.ts";
import { OpenedCode } from "../../src/wire/frames.ts";
import { ADDRESS, clientStart, LOOPBACK, Notes, serverStart, Source } from "../fixtures/tunnel.ts";

/** Looked at so often, or what is collected in between is not seen. */
const HEAP_ROUNDS = 4;

/** Doubles that both threads see. */
export const Word = {
  port: 0,
  stop: 1,
  received: 2,
  datagrams: 3,
  heapBytes: 4,
  packets: 5,
  rttMs: 6,
  lost: 7,
  /** The warm-up is over. */
  isWarm: 8,
  count: 16,
} as const;

export type Role = "server" | "client";

/** Runs an end until the stop word is set. */
export function runEnd(
  native: Native,
  role: Role,
  words: Float64Array,
  onWarm: () => void = () => {},
): void {
  const loop = new Loop(native);
  const end = role === "server" ? server(loop, words) : client(loop, words);
  let heap = getHeapStatistics().used_heap_size;
  let rounds = 0;
  let isWarm = false;
  while (words[Word.stop] === 0) {
    if (!isWarm && words[Word.isWarm] === 1) {
      isWarm = true;
      onWarm();
    }
    loop.round(100);
    end.publish();
    if (role === "client" && rounds++ % HEAP_ROUNDS === 0) {
      const used = getHeapStatistics().used_heap_size;
      if (used > heap) words[Word.heapBytes]! += used - heap;
      heap = used;
    }
  }
  end.stop();
  loop.close();
}

interface End {
  publish(): void;
  stop(): void;
}

function server(loop: Loop, words: Float64Array): End {
  const notes = new Notes();
  const start = serverStart();
  const tunnel = new ServerTunnel(loop, start, loop, notes);
  notes.opened = (session, stream) => session.answer(stream, OpenedCode.ok, ADDRESS);
  notes.data = (_session, _stream, _bytes, _at, length) => {
    words[Word.received]! += length;
    return length;
  };
  tunnel.start();
  words[Word.port] = tunnel.port;
  return {
    publish() {
      words[Word.datagrams] = tunnel.pump.received.datagrams;
    },
    stop: () => tunnel.stop(),
  };
}

function client(loop: Loop, words: Float64Array): End {
  const notes = new Notes();
  const start = clientStart([endpoint(LOOPBACK, words[Word.port]!)]);
  const tunnel = new ClientTunnel(loop, start, loop, notes);
  const source = new Source(Infinity);
  tunnel.start();
  const session = tunnel.session();
  const stream = session.openStream(ADDRESS);
  notes.writable = () => source.pump(session, stream);
  source.pump(session, stream);
  tunnel.wake(session);
  return {
    publish() {
      const way = session.recovery.path(0);
      words[Word.packets] = tunnel.pump.sent.packets;
      words[Word.rttMs] = way?.rtt.smoothed ?? 0;
      words[Word.lost] = way?.counters.lostPackets ?? 0;
    },
    stop: () => tunnel.stop(),
  };
}
