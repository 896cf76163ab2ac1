/** Rules as they are configured → as the workers take them. */

import type { RuleConfig } from "../config/mod.ts";
import type { RuleText } from "./worker_protocol.ts";

/** Without the conditions that were not written: an empty list would match nothing. */
export function ruleText({ network, outbound, ...lists }: RuleConfig): RuleText {
  const written = Object.entries(lists).filter(([, list]) => list.length > 0);
  return {
    ...Object.fromEntries(written),
    ...(network === "any" ? {} : { network }),
    outbound,
  };
}
