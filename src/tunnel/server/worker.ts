/** The entry of a server's worker. */

import { serveWorker } from "../../loop/host.ts";
import type { ServerStart } from "../protocol.ts";
import { ServerRehearsal } from "../rehearsal/server.ts";
import { type Course, WarmUp } from "../rehearsal/warm_up.ts";
import type { Neighbours } from "./handed_over.ts";
import { TunnelService } from "./service.ts";
import { ServerTunnel } from "./tunnel.ts";

/** HELLOs of handshakes that another worker has; carriers use their own small numbers. */
const HELLO_SERVICE = 0x100;
/** Packets of sessions that another worker has. */
const STRAY_SERVICE = 0x101;
/** Of the ring to another worker, what packets leave free for all else. */
const STRAYS_LEAVE_BYTES = 64 << 10;
/** Main and the other workers still start. */
const WARM_UP_DELAY_MS = 300;

serveWorker<ServerStart>((host, start) => {
  const service = new TunnelService(host, start, (host, start, events, guests) => {
    const { loop, libs, handOver } = host;
    const crowded = (user: string, silentMs?: number): void =>
      host.say("tunnel", {
        ...{ kind: "crowded", user, by: start.index },
        ...(silentMs === undefined ? {} : { silentMs }),
      });
    if (handOver === undefined) {
      return new ServerTunnel(loop, start, libs, events, { crowded, guests });
    }
    const neighbours: Neighbours = {
      tell: (worker, message) => void handOver.tell(worker, HELLO_SERVICE, message),
      stray: (worker, message) => handOver.tell(worker, STRAY_SERVICE, message, STRAYS_LEAVE_BYTES),
    };
    const tunnel = new ServerTunnel(loop, start, libs, events, { crowded, guests, neighbours });
    handOver.hear(HELLO_SERVICE, (message) => tunnel.takeHandedOver(message));
    handOver.hear(STRAY_SERVICE, (message) => tunnel.takeStrays(message));
    return tunnel;
  });
  if (start.rehearses === false) return [service];
  const rehearsal = (course: Course) => new ServerRehearsal(host.libs, course);
  return [service, new WarmUp(host.loop, WARM_UP_DELAY_MS, rehearsal)];
});
