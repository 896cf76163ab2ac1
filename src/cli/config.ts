/** `phantom config` */

import {
  clientExampleFile,
  exampleFile,
  KEY_VARIABLE,
  referencePage,
  UNTOLD,
  writtenClient,
  writtenConfig,
  type WrittenSection,
  yamlText,
} from "../config/mod.ts";
import { ANY_CONFIG_OPTIONS, anyConfig } from "./any_config.ts";
import type { Command, Given } from "./args.ts";
import { clientConfig, parseClientConfig } from "./client_config.ts";
import { parseConfig, printWarnings } from "./config_file.ts";
import { Exit } from "./exit.ts";

export const command: Command = {
  name: "config",
  summary: "print the configuration as it is understood, an example, or the reference",
  options: [
    ...ANY_CONFIG_OPTIONS,
    { name: "example", help: "print an example with every key and its default" },
    { name: "reference", help: "print the reference of all keys (Markdown)" },
    { name: "json", help: "print the configuration as JSON" },
  ],
  run(given) {
    const example = given.has("client") ? clientExampleFile : exampleFile;
    if (given.has("example")) console.log(example().trimEnd());
    else if (given.has("reference")) console.log(referencePage().trimEnd());
    else console.log(understood(given));
    return Exit.ok;
  },
};

function understood(given: Given): string {
  const written = writtenOf(given);
  if (given.has("json")) return JSON.stringify(written, null, 2);
  const body = yamlText(written).trimEnd();
  const head = ["# The configuration as it is understood, with every default."];
  if (body.includes(`"${UNTOLD}"`)) {
    head.push(`# Keys and passwords are not printed: each "${UNTOLD}" stands for one.`);
  }
  if (isKeyOutside()) head.push(`# The key (psk) is that of ${KEY_VARIABLE}.`);
  return [...head, "", body].join("\n");
}

function writtenOf(given: Given): WrittenSection {
  const options = { isKeyOutside: isKeyOutside() };
  // Here what `phantom client` takes, which may be a link of the environment.
  if (given.has("client")) return writtenClient(clientConfig(given), options);
  const { path, text, kind } = anyConfig(given);
  if (kind === "client") {
    const { config, warnings } = parseClientConfig(path, text);
    printWarnings(warnings);
    return writtenClient(config, options);
  }
  const { config, warnings } = parseConfig(path, text);
  printWarnings(warnings);
  return writtenConfig(config, options);
}

function isKeyOutside(): boolean {
  return (Deno.env.get(KEY_VARIABLE)?.trim() ?? "") !== "";
}
