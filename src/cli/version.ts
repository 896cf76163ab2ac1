/** `phantom version` */

import denoJson from "../../deno.json" with { type: "json" };
import type { Command } from "./args.ts";
import { Exit } from "./exit.ts";

export const command: Command = {
  name: "version",
  summary: "print the version",
  options: [{ name: "json", help: "print JSON" }],
  run(given) {
    const { version } = denoJson;
    const runtime = `${Deno.version.deno} (V8 ${Deno.version.v8})`;
    if (given.has("json")) {
      console.log(JSON.stringify({ version, runtime, target: Deno.build.target }));
    } else console.log(`phantom ${version} (Deno ${runtime}, ${Deno.build.target})`);
    return Exit.ok;
  },
};
