/** `phantom config` */

import {
  type ClientConfig,
  clientExampleFile,
  type Config,
  exampleFile,
  referencePage,
} from "../config/mod.ts";
import type { Command } from "./args.ts";
import { clientConfig } from "./client_config.ts";
import { CONFIG_OPTION, configPath, readConfig } from "./config_file.ts";
import { Exit } from "./exit.ts";

export const command: Command = {
  name: "config",
  summary: "print the configuration as it is understood, an example, or the reference",
  options: [
    CONFIG_OPTION,
    { name: "client", help: "a client's file instead of the server's" },
    { name: "example", help: "print an example with every key and its default" },
    { name: "reference", help: "print the reference of all keys (Markdown)" },
  ],
  run(given) {
    const isClient = given.has("client");
    const example = isClient ? clientExampleFile : exampleFile;
    if (given.has("example")) console.log(example().trimEnd());
    else if (given.has("reference")) console.log(referencePage().trimEnd());
    else if (isClient) console.log(JSON.stringify(hidePasswords(clientConfig(given)), null, 2));
    else {
      const { config } = readConfig(configPath(given));
      console.log(JSON.stringify(shortened(config), null, 2));
    }
    return Exit.ok;
  },
};

/** Without passwords and the texts of lists. */
function shortened(config: Config): unknown {
  const outbounds = config.outbounds.map(({ password, ...rest }) => {
    return { ...rest, password: password === "" ? "" : "[secret]" };
  });
  const rules = config.rules.map(({ lists, ...rest }) => {
    return { ...rest, list: lists.map(({ name }) => name) };
  });
  return { ...config, outbounds, rules };
}

/** Keys hide themselves; passwords are texts. */
function hidePasswords(config: ClientConfig): unknown {
  const inboundUsers = config.inboundUsers.map(({ name }) => ({ name, password: "[secret]" }));
  return { ...config, inboundUsers };
}
