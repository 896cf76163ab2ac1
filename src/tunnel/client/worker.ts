/** The entry of a client's worker. */

import { serveWorker } from "../../loop/host.ts";
import type { ClientStart } from "../protocol.ts";
import { ClientRehearsal } from "../rehearsal/client.ts";
import { type Course, WarmUp } from "../rehearsal/warm_up.ts";
import { ClientService } from "./service.ts";
import { ClientTunnel } from "./tunnel.ts";

/** The ready line comes first. */
const WARM_UP_DELAY_MS = 10;

serveWorker<ClientStart>((host, start) => {
  const service = new ClientService(
    host,
    start,
    ({ loop, libs }, start, events) => new ClientTunnel(loop, start, libs, events),
  );
  // Without inbounds it is there for a question or two.
  if (start.inbounds.length === 0 || start.rehearses === false) return [service];
  const rehearsal = (course: Course) => new ClientRehearsal(host.libs, course);
  return [service, new WarmUp(host.loop, WARM_UP_DELAY_MS, rehearsal)];
});
