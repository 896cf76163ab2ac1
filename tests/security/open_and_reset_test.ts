/** Finding 5f: who opens and closes all the time has a share of the time, as everybody else. */

import type { Frame } from "../interop/frames.ts";
import { closedPort } from "../interop/peers.ts";
import { churn } from "./sessions.ts";
import { measuredTest } from "./stage.ts";

measuredTest("streams: OPEN and RST 73 times in each of 200 packets a second", () => {
  let next = 0;
  const address = { host: "127.0.0.1", port: closedPort() };
  const one = (): Frame[] => {
    const stream = next++;
    return [{ type: "open", stream, kind: 1, address }, { type: "rst", stream, code: 0 }];
  };
  return churn(() => Array.from({ length: 73 }, one).flat(), 200);
});

measuredTest("streams: a datagram and the end of its association, 400 times a second", async () => {
  let assoc = 0;
  const address = { host: "127.0.0.1", port: closedPort() };
  await churn(() => {
    assoc++;
    const data = new Uint8Array(10);
    return [{ type: "datagram", assoc, address, data }, { type: "assoc_end", assoc }];
  }, 400);
});
