/**
 * A thread of delivery_bench.ts: one end of the tunnel, in its namespace, that sends as much as it
 * can, or takes what comes.
 */

import { endpoint } from "../../ffi/endpoint.ts";
import { openNative } from "../../ffi/native.ts";
import { ipBytes } from "../../src/base/ip.ts";
import { Log } from "../../src/base/log.ts";
import { ClientTunnel } from "../../src/tunnel/client/tunnel.ts";
import { Loop } from "../../src/loop/loop.ts";
import { ServerTunnel } from "../../src/tunnel/server/tunnel.ts";
import type { XskSpec } from "../../src/transport/xsk_spec.ts";
import { XskDelivery } from "../../src/transport/xsk.ts";
import type { Session } from "../../src/session/session.ts";
import { OpenedCode } from "../../src/wire/frames.ts";
import { inNamespace } from "../fixtures/netns.ts";
import { ADDRESS, clientStart, Notes, serverStart, Source } from "../fixtures/tunnel.ts";
import { nativePath } from "../native.ts";
import { pinThread } from "../fixtures/affinity.ts";

export interface TunnelEndStart {
  readonly role: "server" | "client";
  /** Who sends. */
  readonly sender: "server" | "client";
  readonly namespace: string;
  /** Of the server. */
  readonly address: string;
  readonly port: number;
  readonly cpu: number;
  readonly xsk?: XskSpec;
  /** Words of TunnelWord. */
  readonly shared: SharedArrayBuffer;
}

export const TunnelWord = { stop: 0, server: 1, client: 2, received: 3, byXsk: 4, count: 5 };

declare const self: {
  onmessage: ((event: MessageEvent<TunnelEndStart>) => void) | null;
  close(): void;
};

function runEnd(start: TunnelEndStart): void {
  const words = new Float64Array(start.shared);
  const loop = new Loop(openNative(nativePath()));
  const notes = new Notes();
  notes.data = (_session, _stream, _bytes, _at, length) => {
    words[TunnelWord.received]! += length;
    return length;
  };
  const tunnel = start.role === "server" ? server(loop, start, notes) : client(loop, start, notes);
  const delivery = tunnel instanceof ServerTunnel
    ? new XskDelivery(
      loop,
      tunnel.udp,
      new Log(({ level, message, fields }) => {
        if (level === "warn") console.error(message, fields);
      }),
    )
    : undefined;
  delivery?.set(start.xsk);
  words[TunnelWord[start.role]] = 1;
  while (words[TunnelWord.stop] === 0) {
    loop.round(50);
    if (delivery !== undefined) words[TunnelWord.byXsk] = delivery.received + delivery.sent;
  }
  if (Deno.env.has("VERBOSE")) {
    const { peers } = tunnel.pump;
    for (const peer of peers.all()) {
      const way = peer.session.recovery.path(0);
      console.log(start.role, way?.counters, way?.rtt.smoothed, way?.rtt.min, delivery?.counts());
    }
    console.log(start.role, tunnel.pump.received, tunnel.pump.sent);
  }
  tunnel.stop();
  delivery?.close();
  loop.close();
  words[TunnelWord[start.role]] = 0;
}

function server(loop: Loop, { sender, port }: TunnelEndStart, notes: Notes): ServerTunnel {
  const start = serverStart({ listen: endpoint(new Uint8Array(16), port) });
  const tunnel = new ServerTunnel(loop, start, loop, notes);
  const source = new Source(Infinity);
  notes.opened = (session: Session, stream: number) => {
    session.answer(stream, OpenedCode.ok, ADDRESS);
    if (sender === "server") source.pump(session, stream);
    tunnel.wake(session);
  };
  notes.writable = (session: Session, stream: number) => {
    if (sender === "server") source.pump(session, stream);
  };
  tunnel.start();
  return tunnel;
}

function client(loop: Loop, { sender, address, port }: TunnelEndStart, notes: Notes): ClientTunnel {
  const start = clientStart([endpoint(ipBytes(address), port)]);
  const tunnel = new ClientTunnel(loop, start, loop, notes);
  const source = new Source(Infinity);
  tunnel.start();
  const session = tunnel.session();
  const stream = session.openStream(ADDRESS);
  if (sender === "client") {
    notes.writable = () => source.pump(session, stream);
    source.pump(session, stream);
  }
  tunnel.wake(session);
  return tunnel;
}

self.onmessage = ({ data }) => {
  pinThread(data.cpu);
  inNamespace(data.namespace, () => runEnd(data));
  self.close();
};
