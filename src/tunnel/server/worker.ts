/** The entry of a server's worker. */

import { serveWorker } from "../../loop/host.ts";
import type { ServerStart } from "../protocol.ts";
import { ServerRehearsal } from "../rehearsal/server.ts";
import { WarmUp } from "../rehearsal/warm_up.ts";
import { TunnelService } from "./service.ts";
import { ServerTunnel } from "./tunnel.ts";

/** Main and the other workers still start. */
const WARM_UP_DELAY_MS = 300;

serveWorker<ServerStart>((host, start) => [
  new TunnelService(host, start, ({ loop, libs }, start, events) => {
    const { salts: sharedSalts, replayRecord } = start;
    return new ServerTunnel(loop, start, libs, events, {
      crowded: (user) => host.say("tunnel", { kind: "crowded", user, by: start.index }),
      ...(sharedSalts === undefined ? {} : { sharedSalts }),
      ...(replayRecord === undefined ? {} : { replayRecord }),
    });
  }),
  new WarmUp(host.loop, WARM_UP_DELAY_MS, (course) => new ServerRehearsal(host.libs, course)),
]);
