// The configuration: load it, show it, explain it.

export { type Address, formatAddress, parseAddress } from "./address.ts";
export { type ConfigSources, KEY_VARIABLE, loadConfig, type LoadedConfig } from "./load.ts";
export { ConfigError, formatProblem, type Problem } from "./problem.ts";
export { keyProblem, parseKey } from "./psk.ts";
export { defaultConfigText, exampleFile, referencePage } from "./render.ts";
export { type Config, PLACEHOLDER, type Transport, TRANSPORTS } from "./settings.ts";
