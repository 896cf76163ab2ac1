// The configuration: load it, show it, explain it; the same for clients, and the link to one.

export {
  type Address,
  formatAddress,
  type HostPort,
  parseAddress,
  parseHost,
  parseHostPort,
} from "./address.ts";
export { clientOfLink, isLoopback, loadClientConfig, type LoadedClient } from "./client_load.ts";
export { type ClientConfig, type ForwardConfig } from "./client_settings.ts";
export { type FileKind, fileKind } from "./file_kind.ts";
export { type ConfigSources, KEY_VARIABLE, type Loaded } from "./keys.ts";
export { formatLink, isLinkName, type Link, parseLink } from "./link.ts";
export { UNTOLD } from "./leaves.ts";
export { parseLocalAddress } from "./list_leaves.ts";
export { loadConfig, type LoadedConfig, type RuleFault, type ServerSources } from "./load.ts";
export { ConfigError, formatProblem, type Problem } from "./problem.ts";
export { keyProblem, parseKey } from "./psk.ts";
export { type PortRange, type RelayConfig } from "./relay_settings.ts";
export { clientExampleFile, defaultConfigText, exampleFile, referencePage } from "./render.ts";
export { type WrittenSection } from "./schema.ts";
export {
  type CarrierKind,
  CARRIERS,
  type Config,
  type OutboundConfig,
  PLACEHOLDER,
  type RoutingConfig,
  type RuleConfig,
  type UserConfig,
  USERS_MAX,
} from "./settings.ts";
export { rateAdvice } from "./value_advice.ts";
export { writtenClient, writtenConfig, yamlText } from "./written_file.ts";
export { writtenName } from "./written.ts";
