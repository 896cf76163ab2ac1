/** Which instance's pins a command works on. */

import type { Libraries } from "../../ffi/libraries.ts";
import { PinFolder } from "../kernel/pins.ts";
import { type Given, type Option, UsageError } from "./args.ts";
import { type Config, ConfigError, formatProblem } from "../config/mod.ts";
import { warn } from "./complain.ts";
import { CONFIG_OPTION, readPlaces } from "./config_file.ts";

const DEFAULT_PIN_PATH = "/sys/fs/bpf/phantom";
const DEFAULT_INSTANCE = "default";
const DEFAULT_STATE_DIR = "/var/lib/phantom";
/** As in the configuration: such a name never leads out of the pin path. */
const INSTANCE = /^[a-z0-9-]{1,32}$/;

export const PLANE_OPTIONS: readonly Option[] = [
  { ...CONFIG_OPTION, help: "take pin path and instance from this configuration" },
  { name: "pin-path", value: "DIR", help: `where the pins are (default: ${DEFAULT_PIN_PATH})` },
  { name: "instance", value: "NAME", help: `which instance (default: ${DEFAULT_INSTANCE})` },
];

/** From the flags, else from -c, else the defaults: no configuration is needed to clean up. */
export function pinsOf(libs: Libraries, given: Given): PinFolder {
  const { pinPath, instance } = placesOf(given);
  return new PinFolder(libs, pinPath, instance);
}

export interface Places {
  readonly pinPath: string;
  readonly instance: string;
  readonly stateDir: string;
}

/** Where an instance keeps what is its own; `usual`: a configuration need not be named. */
export function placesOf(given: Given, usual?: string): Places {
  const file = given.value("config");
  const config = file !== undefined
    ? readPlaces(file)
    : usual !== undefined
    ? placesOfUsual(usual)
    : undefined;
  const pinPath = given.value("pin-path") ?? config?.ebpf.pinPath ?? DEFAULT_PIN_PATH;
  const instance = given.value("instance") ?? config?.instance ?? DEFAULT_INSTANCE;
  const stateDir = config?.stateDir ?? DEFAULT_STATE_DIR;
  if (!pinPath.startsWith("/")) throw new UsageError("--pin-path wants an absolute path");
  if (!INSTANCE.test(instance)) {
    throw new UsageError("--instance wants 1 to 32 lower-case letters, digits or dashes");
  }
  return { pinPath, instance, stateDir };
}

/** A file that nobody named and that is wrong is no reason not to look: it tells, and is left. */
function placesOfUsual(path: string): Config | undefined {
  try {
    return readPlaces(path);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [first] = error.problems;
    const where = first === undefined ? path : formatProblem(first);
    warn(`warning: ${where} Looking where a server keeps its things by default.`);
    return undefined;
  }
}
