/** `phantom status` */

import { openLibraries } from "../../ffi/libraries.ts";
import { PinFolder } from "../kernel/pins.ts";
import { Resources } from "../kernel/resources.ts";
import { askStatus, isAnswered, type ServerStatus, statusPath } from "../app/status_socket.ts";
import { mapUses, pinnedCounters, planeMapsFolder, planeStates } from "../tunnel/kernel/plane.ts";
import { relayReport } from "../relay/relay_state.ts";
import type { Command, Given } from "./args.ts";
import { usualConfig } from "./config_file.ts";
import { Exit } from "./exit.ts";
import { placesOf, PLANE_OPTIONS } from "./plane_options.ts";
import { type Report, statusText } from "./status_text.ts";

export const command: Command = {
  name: "status",
  summary: "show the running server, its users, and with --all its counters",
  options: [
    ...PLANE_OPTIONS,
    { name: "all", help: "also packets, tables, events, and all users" },
    { name: "json", help: "print JSON" },
  ],
  async run(given, { root }) {
    const resources = new Resources(root);
    const libs = openLibraries((name) => resources.library(name));
    const { pinPath, instance, stateDir } = placesOf(given, usualPlace(given));
    const pins = new PinFolder(libs, pinPath, instance);
    const socket = statusPath(stateDir, instance);
    const said = await askStatus(socket);
    const report: Report = {
      path: pins.path,
      isLoaded: pins.exists,
      interfaces: pins.exists ? planeStates(libs, pins) : [],
      counters: pins.exists ? pinnedCounters(libs, pins) : undefined,
      maps: pins.exists ? mapUses(libs, pins) : [],
      relay: pins.exists ? relayReport(libs, planeMapsFolder(pins)) : undefined,
      // One of the same instance, whose pins lie elsewhere, is not the one that was asked for.
      server: isAsked(said, pins.path, given.has("pin-path")) ? said : undefined,
      isSilent: said === undefined && await isAnswered(socket),
      commit: resources.commit()?.commit,
    };
    if (given.has("json")) print(report);
    else console.log(statusText(report, given.has("all"), Date.now()));
    return report.server !== undefined ? Exit.ok : Exit.failed;
  },
};

/** Whoever says nothing of places means the server that runs by the usual file. */
function usualPlace(given: Given): string | undefined {
  const isSaid = given.has("pin-path") || given.has("instance");
  return isSaid ? undefined : usualConfig();
}

/** Without pins a server is known by its state folder alone. */
function isAsked(said: ServerStatus | undefined, path: string, isExact: boolean): boolean {
  return said?.pins === path || (said?.pins === null && !isExact);
}

function print({ path, interfaces, counters, maps, relay, server, isSilent }: Report): void {
  const nothing = { counters: counters ?? null, server: server ?? null, isSilent };
  console.log(JSON.stringify({ path, interfaces, maps, relay, ...nothing }));
}
