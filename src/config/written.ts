// What a file calls the fields of a configuration, for who tells people which of them changed.

import { CLIENT_SETTINGS } from "./client_settings.ts";
import { fieldName, type Group } from "./schema.ts";
import { SETTINGS } from "./settings.ts";

const NAMES = new Map([SETTINGS, CLIENT_SETTINGS].flatMap(namesIn));

/** `idleMs` → `idle`; what is no field of a file's stays as it is. */
export function writtenName(field: string): string {
  return NAMES.get(field) ?? field;
}

/** Of a group and of the sections in it. */
function namesIn(group: Group): [string, string][] {
  return Object.entries(group.fields).flatMap(([name, field]) => [
    [fieldName(name, field), name] as [string, string],
    ...(field.kind === "section" ? namesIn(field) : []),
  ]);
}
