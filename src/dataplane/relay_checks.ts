/** Whether a backend answers: by a TCP connection, or a datagram that comes back. */

import { endpoint, formatEndpoint, routeTo } from "../../ffi/endpoint.ts";
import type { Native } from "../../ffi/native.ts";
import { UdpInbox, UdpOutbox, UdpSocket } from "../../ffi/udp.ts";

import { isV4 } from "../relay/kernel_relay.ts";

export interface CheckTarget {
  readonly kind: "tcp" | "udp";
  /** 16 bytes. */
  readonly ip: Uint8Array;
  readonly port: number;
  readonly timeoutMs: number;
}

const POLL_MS = 5;
const PROBE = new TextEncoder().encode("phantom-relay-check");

/** Resolves within the time limit, to whether there was an answer. Never rejects. */
export function checkBackend(native: Native, target: CheckTarget): Promise<boolean> {
  return target.kind === "tcp" ? checkTcp(target) : checkUdp(native, target);
}

async function checkTcp({ ip, port, timeoutMs }: CheckTarget): Promise<boolean> {
  const text = formatEndpoint(endpoint(ip, port));
  const hostname = text.slice(0, text.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  const connecting = Deno.connect({ hostname, port });
  const timeout = Promise.withResolvers<undefined>();
  const timer = setTimeout(timeout.resolve, timeoutMs, undefined);
  try {
    const connection = await Promise.race([connecting, timeout.promise]);
    connection?.close();
    // One that comes too late is closed, too.
    if (connection === undefined) connecting.then((late) => late.close(), () => {});
    return connection !== undefined;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

async function checkUdp(
  native: Native,
  { ip, port, timeoutMs }: CheckTarget,
): Promise<boolean> {
  const any = Uint8Array.from(ip, (byte, at) => isV4(ip) && at < 12 ? byte : 0);
  try {
    using socket = new UdpSocket(native, { local: endpoint(any, 0), packetInfo: false });
    const outbox = new UdpOutbox(Uint8Array.from(PROBE));
    outbox.add(routeTo(endpoint(ip, port)), 0, PROBE.length);
    socket.send(outbox);
    if (outbox.result(0) !== 0) return false;
    const inbox = new UdpInbox({ slots: 1 });
    const deadline = performance.now() + timeoutMs;
    while (performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      const count = socket.receive(inbox);
      for (let i = 0; i < count; i++) {
        const peer = inbox.peer(i);
        if (peer.port === port && peer.ip.every((byte, at) => byte === ip[at])) return true;
      }
    }
    return false;
  } catch {
    return false;
  }
}
