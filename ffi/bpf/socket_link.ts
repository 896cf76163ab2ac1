/**
 * Attachment of programs to sockets: to one of them, or to all in a sockmap or sockhash. None of
 * them is a link: they stay until the socket or the map goes, or they are taken off.
 */

import { checked } from "../errors.ts";
import type { Libraries } from "../libraries.ts";
import { BpfAttachType } from "./libbpf.gen.ts";
import type { BpfMap } from "./map.ts";
import type { BpfProgram } from "./program.ts";

const SO_ATTACH = { filter: 50, reuseport: 52 } as const;
const SO_DETACH_FILTER = 27;

/**
 * Puts a program on a socket: a filter of what it gets, or (SK_REUSEPORT) the choice among all
 * that share its port. It stays until the socket closes, or another takes its place.
 */
export function attachToSocket(
  libs: Libraries,
  program: BpfProgram,
  socket: number,
  as: keyof typeof SO_ATTACH,
): void {
  const result = libs.native.symbols.ph_attach_program(socket, SO_ATTACH[as], program.fd);
  checked(result, () => `attach ${program.label} to socket ${socket}`);
}

/** Takes a filter off a socket again. */
export function detachFromSocket(libs: Libraries, socket: number): void {
  const result = libs.native.symbols.ph_attach_program(socket, SO_DETACH_FILTER, 0);
  checked(result, () => `detach the filter of socket ${socket}`);
}

/** What a program does for the sockets of a map: cut a stream into messages, or say where to. */
const mapAttachTypes = {
  parser: BpfAttachType.skSkbStreamParser,
  streamVerdict: BpfAttachType.skSkbStreamVerdict,
  verdict: BpfAttachType.skSkbVerdict,
  messages: BpfAttachType.skMsgVerdict,
} as const;

export type SocketMapRole = keyof typeof mapAttachTypes;

/**
 * Puts a program on all sockets that come into a sockmap or sockhash from now on. A parser before
 * the verdict: sockets that are in the map already have only what was there when they came. For
 * tests, as long as no program of ours does.
 */
export function attachToSockets(
  libs: Libraries,
  program: BpfProgram,
  map: BpfMap,
  role: SocketMapRole,
): void {
  const result = libs.libbpf.bpf_prog_attach(program.fd, map.fd, mapAttachTypes[role], 0);
  checked(result, () => `attach ${program.label} to ${map.label} as ${role}`);
}

/** Takes it off again. For tests, like the other. */
export function detachFromSockets(
  libs: Libraries,
  program: BpfProgram,
  map: BpfMap,
  role: SocketMapRole,
): void {
  const result = libs.libbpf.bpf_prog_detach2(program.fd, map.fd, mapAttachTypes[role]);
  checked(result, () => `detach ${program.label} from ${map.label}`);
}
