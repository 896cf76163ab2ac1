/**
 * Which folder may import which, as data, and the rules that read it.
 *
 * @module
 */
import { dirname, join } from "node:path/posix";
import type { Finding, Import, SourceModel } from "./lint_source.ts";

/** One row of the import table. */
export interface Layer {
  /** A folder, with its slash, or a file. */
  readonly path: string;
  /** Layers it may import from, beside itself. */
  readonly may: readonly string[];
  /** Layers of which it may import types, but no code. */
  readonly types?: readonly string[];
  /** Whether it may import packages. */
  readonly packages: boolean;
}

const SYSTEMS = ["tunnel", "relay", "sni", "policy", "monitor"];
const SHARED = [
  ...["switcher", "transport", "inbound", "outbound", "kernel", "loop"],
  ...["session", "crypto", "reliability", "proxy", "wire"],
];
const BELOW_APP = ["admin", ...SYSTEMS, ...SHARED, "config", "base", "ffi"];

/** The table, from the top down: a layer imports what is below it, and only what it names. */
export const LAYERS: Readonly<Record<string, Layer>> = {
  main: { path: "main.ts", may: ["cli"], packages: false },
  cli: { path: "src/cli/", may: ["app", ...BELOW_APP], packages: true },
  app: { path: "src/app/", may: BELOW_APP, packages: true },
  admin: {
    path: "src/admin/",
    may: ["base"],
    types: BELOW_APP.filter((name) => name !== "admin" && name !== "base"),
    packages: true,
  },
  tunnel: {
    path: "src/tunnel/",
    may: [...SHARED, "base", "ffi"],
    types: ["config"],
    packages: true,
  },
  relay: {
    path: "src/relay/",
    may: ["kernel", "loop", "crypto", "wire", "base", "ffi"],
    types: ["config"],
    packages: false,
  },
  sni: {
    path: "src/sni/",
    may: ["outbound", "kernel", "loop", "proxy", "wire", "base", "ffi"],
    types: ["config"],
    packages: false,
  },
  policy: {
    path: "src/policy/",
    may: ["kernel", "loop", "wire", "base", "ffi"],
    types: ["config"],
    packages: false,
  },
  monitor: {
    path: "src/monitor/",
    may: ["kernel", "loop", "wire", "base", "ffi"],
    types: ["config"],
    packages: false,
  },
  inbound: {
    path: "src/inbound/",
    may: ["outbound", "session", "loop", "proxy", "wire", "base", "ffi"],
    packages: false,
  },
  outbound: {
    path: "src/outbound/",
    may: ["loop", "proxy", "wire", "base", "ffi"],
    types: ["config"],
    packages: true,
  },
  transport: {
    path: "src/transport/",
    may: ["loop", "crypto", "wire", "base", "ffi"],
    packages: false,
  },
  kernel: { path: "src/kernel/", may: ["base", "ffi"], types: ["config"], packages: false },
  loop: { path: "src/loop/", may: ["base", "ffi"], packages: true },
  switcher: { path: "src/switcher/", may: ["base"], packages: false },
  session: { path: "src/session/", may: ["reliability", "wire", "base"], packages: false },
  crypto: { path: "src/crypto/", may: ["wire", "base"], packages: false },
  reliability: { path: "src/reliability/", may: ["wire", "base"], packages: false },
  proxy: { path: "src/proxy/", may: ["wire", "base"], packages: false },
  wire: { path: "src/wire/", may: ["base"], packages: false },
  config: { path: "src/config/", may: ["base"], packages: true },
  ffi: { path: "ffi/", may: ["base"], packages: false },
  base: { path: "src/base/", may: [], packages: false },
};

/**
 * Imports against the table that are still there, file → what it leads to. One that is gone has to
 * go from here, and none may come.
 */
export const DEBTS: Readonly<Record<string, readonly string[]>> = {};

/** No I/O, no Deno, no clock, no randomness of their own: these get them passed in. */
export const PURE: readonly RegExp[] = [
  /^src\/(wire|crypto|reliability|config|session|proxy)\//,
  /^src\/relay\/(maglev|health|plan)\.ts$/,
  /^src\/switcher\/decision[^/]*\.ts$/,
  /^src\/policy\/compile[^/]*\.ts$/,
  /^src\/sni\/client_hello[^/]*\.ts$/,
];

/** Tests import what they like. */
export function isTest(path: string): boolean {
  return path.endsWith("_test.ts") || path.startsWith("tests/");
}

export function layerOf(path: string): string | undefined {
  return Object.keys(LAYERS).find((name) => {
    const prefix = LAYERS[name]!.path;
    return prefix.endsWith("/") ? path.startsWith(prefix) : path === prefix;
  });
}

/** The repository path an import leads to, or undefined for a package. */
export function resolveImport(from: string, specifier: string): string | undefined {
  return specifier.startsWith(".") ? join(dirname(from), specifier) : undefined;
}

function checkImport(from: string, name: string, item: Import): string | undefined {
  const layer = LAYERS[name]!;
  const target = resolveImport(from, item.specifier);
  if (target === undefined) {
    return layer.packages
      ? undefined
      : `${name} imports no packages: pass in what it needs from "${item.specifier}"`;
  }
  const other = layerOf(target);
  // The version is told in one place.
  if (target === "deno.json") return undefined;
  if (other === undefined) return `"${item.specifier}" is in no layer: move it into one`;
  if (other === name || layer.may.includes(other)) return undefined;
  if (DEBTS[from]?.includes(other)) return undefined;
  if (layer.types?.includes(other)) {
    return item.typeOnly ? undefined : `${name} may import only types of ${other}: import type`;
  }
  const allowed = [...layer.may, ...(layer.types ?? [])].join(", ") || "nothing";
  return `${name} can't import ${other} (it may: ${allowed}): move the code, or pass it in`;
}

/** Imports against the table, for one file of main, src or ffi. */
export function checkLayer(source: SourceModel): Finding[] {
  const { path } = source;
  if (isTest(path) || !/^(main\.ts$|src\/|ffi\/)/.test(path)) return [];
  const name = layerOf(path);
  if (name === undefined) {
    const remedy = "no layer holds this file: move it, or add a row to tools/lint_layers.ts";
    return [{ path, line: 1, rule: "layer", remedy }];
  }
  const leadsTo = (other: string): boolean =>
    source.imports.some(({ specifier }) => layerOf(resolveImport(path, specifier) ?? "") === other);
  const paid = (DEBTS[path] ?? []).filter((other) => !leadsTo(other)).map((other) => {
    const remedy = `the import of ${other} is gone: take it off DEBTS in tools/lint_layers.ts`;
    return { path, line: 1, rule: "layer", remedy };
  });
  return source.imports.flatMap((item) => {
    const remedy = checkImport(path, name, item);
    return remedy === undefined ? [] : [{ path, line: item.line, rule: "layer", remedy }];
  }).concat(paid);
}

/** Files that import each other in a ring, each ring once. Tests may not close one either. */
export function checkCycles(sources: readonly SourceModel[]): Finding[] {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const done = new Set<string>();
  const trail: string[] = [];
  const findings: Finding[] = [];
  const visit = (path: string): void => {
    const source = byPath.get(path);
    if (source === undefined || done.has(path)) return;
    trail.push(path);
    for (const item of source.imports) {
      const target = resolveImport(path, item.specifier);
      if (target === undefined) continue;
      const start = trail.indexOf(target);
      if (start < 0) visit(target);
      else findings.push(cycleFinding([...trail.slice(start), target], path, item.line));
    }
    trail.pop();
    done.add(path);
  };
  for (const source of sources) visit(source.path);
  return findings;
}

function cycleFinding(ring: readonly string[], path: string, line: number): Finding {
  const remedy = `${ring.join(" → ")}: move what both need into a file that imports neither`;
  return { path, line, rule: "cycle", remedy };
}

/** The table as Markdown, for ARCHITECTURE.md. */
export function tableMarkdown(): string {
  const names = (list: readonly string[] | undefined): string => list?.join(", ") || "–";
  const rows = Object.entries(LAYERS).map(([name, layer]) =>
    `| ${name} | \`${layer.path}\` | ${names(layer.may)} | ${names(layer.types)} | ` +
    `${layer.packages ? "yes" : "no"} |`
  );
  return [
    "| layer | where | may import | types only from | packages |",
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n") + "\n";
}
