/** `phantom status` */

import { openLibraries } from "../../ffi/libraries.ts";
import { layoutHash } from "../../ffi/layout.gen.ts";
import { Resources } from "../dataplane/resources.ts";
import { type RelayReport, relayReport } from "../relay/relay_state.ts";
import { pinnedCounters, planeStates } from "../dataplane/xdp_plane.ts";
import { columns, type Command } from "./args.ts";
import { Exit } from "./exit.ts";
import { pinsOf, PLANE_OPTIONS } from "./plane_options.ts";

export const command: Command = {
  name: "status",
  summary: "show what is attached and its counters",
  options: [...PLANE_OPTIONS, { name: "json", help: "print JSON" }],
  run(given, { root }) {
    const resources = new Resources(root);
    const libs = openLibraries((name) => resources.library(name));
    const pins = pinsOf(libs, given);
    const interfaces = pins.exists ? planeStates(libs, pins) : [];
    const counters = pins.exists ? pinnedCounters(libs, pins) : undefined;
    const relay = pins.exists ? relayReport(libs, pins.maps(layoutHash)) : undefined;
    if (given.has("json")) {
      const report = { path: pins.path, interfaces, counters: counters ?? null };
      console.log(JSON.stringify({ ...report, ...(relay === undefined ? {} : { relay }) }));
    } else if (!pins.exists) console.log(`nothing is loaded at ${pins.path}`);
    else {
      console.log(`${pins.path}\n`);
      const rows = interfaces.map(({ interfaceName, mode, programId }) =>
        [interfaceName, mode === undefined ? "lost" : `${mode} XDP, program ${programId}`] as const
      );
      if (rows.length > 0) console.log(columns(rows));
      if (counters === undefined) console.log("counters: another version's, not readable");
      else if (counters.length === 0) console.log("counters: nothing seen yet");
      else {
        console.log(
          columns(
            counters.map(({ verdict, reason, packets, bytes }) =>
              [`${verdict} ${reason}`, `${packets} packets, ${bytes} bytes`] as const
            ),
          ).trimEnd(),
        );
      }
      if (relay !== undefined) printRelay(relay);
    }
    return interfaces.some(({ mode }) => mode !== undefined) ? Exit.ok : Exit.failed;
  },
};

function printRelay({ backends, counts }: RelayReport): void {
  console.log("\nrelay:");
  const rows = backends.map((one) => {
    const { relay, address, state, flows, packetsOut, packetsIn } = one;
    const traffic = `${flows} clients, ${packetsOut} packets out, ${packetsIn} in`;
    return [`${relay} ${address}`, `${state}, ${traffic}`] as const;
  });
  const others = Object.entries(counts).map(([name, packets]) =>
    [name, `${packets} packets`] as const
  );
  console.log(columns([...rows, ...others]).trimEnd());
}
