/** `phantom unload` */

import { openLibraries } from "../../ffi/libraries.ts";
import { Resources } from "../kernel/resources.ts";
import { unloadPlane } from "../tunnel/kernel/plane.ts";
import type { Command } from "./args.ts";
import { Exit } from "./exit.ts";
import { pinsOf, PLANE_OPTIONS } from "./plane_options.ts";

export const command: Command = {
  name: "unload",
  summary: "take the BPF programs, maps and pins off this machine",
  options: [...PLANE_OPTIONS, { name: "json", help: "print JSON" }],
  run(given, { root }) {
    const resources = new Resources(root);
    const libs = openLibraries((name) => resources.library(name));
    const pins = pinsOf(libs, given);
    const wasLoaded = pins.exists;
    const interfaces = unloadPlane(libs, pins);
    if (given.has("json")) console.log(JSON.stringify({ path: pins.path, wasLoaded, interfaces }));
    else if (!wasLoaded) console.log(`nothing is loaded at ${pins.path}`);
    else console.log(`unloaded ${pins.path} from ${interfaces.join(", ") || "no interface"}`);
    return Exit.ok;
  },
};
