/** `phantom config` */

import { exampleFile, referencePage } from "../config/mod.ts";
import type { Command } from "./args.ts";
import { CONFIG_OPTION, configPath, readConfig } from "./config_file.ts";
import { Exit } from "./exit.ts";

export const command: Command = {
  name: "config",
  summary: "print the configuration as it is understood, an example, or the reference",
  options: [
    CONFIG_OPTION,
    { name: "example", help: "print an example with every key and its default" },
    { name: "reference", help: "print the reference of all keys (Markdown)" },
  ],
  run(given) {
    if (given.has("example")) console.log(exampleFile().trimEnd());
    else if (given.has("reference")) console.log(referencePage().trimEnd());
    else console.log(JSON.stringify(readConfig(configPath(given)).config, null, 2));
    return Exit.ok;
  },
};
