/** The entry of the relay's worker. */

import { serveWorker } from "../loop/host.ts";
import type { RelayStart } from "./protocol.ts";
import { RelayService } from "./service.ts";

serveWorker<RelayStart>((host, start) => [new RelayService(host, start)]);
