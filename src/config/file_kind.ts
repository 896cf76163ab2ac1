// Whose file it is, the server's or a client's, by the names at its top level.

import { CLIENT_SETTINGS } from "./client_settings.ts";
import { Report } from "./problem.ts";
import type { Group } from "./schema.ts";
import { SETTINGS } from "./settings.ts";
import { parseTree } from "./tree.ts";

export type FileKind = "server" | "client";

/** The kind whose own names are more, if any are; a file that names a server is a client's. */
export function fileKind(text: string): FileKind | undefined {
  const body = text.replace(/^\ufeff/, "");
  const entries = parseTree(body, new Report("", body))?.root.entries ?? [];
  const names = entries.map(({ name }) => name);
  // A section of that name is somebody's idea of the server's file.
  const server = entries.find(({ name }) => name === "server");
  if (server !== undefined) return server.value.kind === "scalar" ? "client" : undefined;
  const count = (own: ReadonlySet<string>) => names.filter((name) => own.has(name)).length;
  const clients = count(ownNames(CLIENT_SETTINGS, SETTINGS));
  const servers = count(ownNames(SETTINGS, CLIENT_SETTINGS));
  return clients === servers ? undefined : clients > servers ? "client" : "server";
}

/** Names at the top of one that stand nowhere in the other: those can't be misplaced. */
function ownNames(schema: Group, other: Group): ReadonlySet<string> {
  const foreign = new Set(namesIn(other));
  return new Set(Object.keys(schema.fields).filter((name) => !foreign.has(name)));
}

function namesIn(group: Group): string[] {
  return Object.entries(group.fields).flatMap(([name, field]) => {
    const inner = field.kind === "section" ? field : field.item;
    return inner === undefined ? [name] : [name, ...namesIn(inner)];
  });
}
