/** `phantom link` */

import { chooseInterface } from "../dataplane/interfaces.ts";
import type { Command } from "./args.ts";
import { CONFIG_OPTION, configPath, readConfig } from "./config_file.ts";
import { Exit } from "./exit.ts";
import { reachableHost, shareLink } from "./share_link.ts";

export const command: Command = {
  name: "link",
  summary: "print the link for a client (it holds the key)",
  options: [
    CONFIG_OPTION,
    { name: "host", value: "HOST", help: "the name or address that clients reach this machine by" },
  ],
  run(given) {
    const { config } = readConfig(configPath(given));
    const name = chooseInterface(config.ebpf.interface)?.name;
    console.log(shareLink(config, given.value("host") ?? reachableHost(config, name)));
    return Exit.ok;
  },
};
