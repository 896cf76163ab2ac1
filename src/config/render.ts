// The example file and the reference page, both written from the schema.

import { CLIENT_SETTINGS } from "./client_settings.ts";
import { PROBLEMS_MAX } from "./problem.ts";
import { parseKey } from "./psk.ts";
import type { Field, Group, Leaf } from "./schema.ts";
import { PLACEHOLDER, SETTINGS } from "./settings.ts";
import { ALIASES_MAX, DEPTH_MAX, FILE_BYTES_MAX, PIECES_MAX } from "./tree.ts";

const WIDTH = 100;

const EXAMPLE_HEAD = `# The configuration of Phantom: every key with its default.
#
# Only the key (psk) has to be set; run \`phantom keygen\` to make one. A key may be left out when
# its default fits. Numbers whose name carries a unit also take a text with one: "1s", "1gbps".
# docs/CONFIG.md says the same as a page.
`;

const CLIENT_HEAD = `# The configuration of a Phantom client: every key with its default.
#
# Only the server and the key (psk) have to be set; \`phantom client --link\` needs no file at all.
# docs/CONFIG.md says the same as a page.
`;

const PAGE_HEAD = `# Configuration

<!-- Written from the schemas in src/config/settings.ts and client_settings.ts. Do not edit. -->

Phantom reads one YAML file: the server's (\`phantom run -c FILE\`) or a client's
(\`phantom client -c FILE\`). Of the server's, only the key (\`psk\`, \`psk_file\` or
\`PHANTOM_PSK\`) has to be set, of a client's also \`server\`; every other setting has the default
below. \`config.example.yaml\` and \`client.example.yaml\` hold all of them.

## Rules

- An unknown name, a name written twice and a value of the wrong kind are errors. All errors are
  reported at once, as \`file:line:column: path: what is wrong. what to do\`.
- Numbers have no quotes. Words and paths may have them; an address needs them when it starts
  with \`[\`.
- In an address to listen on, \`localhost\` is 127.0.0.1.
- A setting whose name carries a unit (\`check_interval_ms\`, \`up_mbps\`) takes a bare number in
  that unit or a text with any unit of its kind. Other durations, sizes and rates need a unit.

| Kind | Units | Examples |
|---|---|---|
| duration | \`ns us ms s m h d\` | \`250ms\`, \`30s\`, \`1m30s\` |
| size | \`B\`; by 1000: \`KB MB GB TB\`; by 1024: \`KiB MiB GiB TiB\` | \`64KiB\`, \`1MB\` |
| rate | \`bps kbps mbps gbps tbps\`, bits per second | \`100mbps\`, \`1gbps\` |

## The key

Server and clients share 32 secret bytes, written as base64 (standard or URL alphabet, padded or
not) or as 64 hex digits. \`phantom keygen\` makes a key. It is taken from the first of these:

1. the environment variable \`PHANTOM_PSK\`, when it is not empty;
2. the file named by \`psk_file\` (a relative path counts from the folder of this configuration);
3. \`psk\`.

\`psk\` and \`psk_file\` together are an error, as are the example's placeholder and a key whose
bytes are all equal. A key's own file that everybody may open, or its group write, is an error; one
that its group may read, and a configuration with a key that others may open, are warnings. Give
them mode 600.

\`phantom config\` prints a file as it is understood, every key by its name here, so that the text
is a file again. It prints no secret: where one stood in the file it writes \`"[secret]"\`, which
is refused as one. What \`psk_file\`, \`key_file\` or \`PHANTOM_PSK\` holds is read there again.
`;

/** The text of config.example.yaml. */
export function exampleFile(): string {
  return EXAMPLE_HEAD + exampleFields(SETTINGS, "").join("\n") + "\n";
}

/** The example file with a real key in it, for the first start. */
export function defaultConfigText(psk: string): string {
  const trimmed = psk.trim();
  if (parseKey(trimmed) === undefined) {
    throw new TypeError("Cannot write a configuration as the key is not 32 usable bytes");
  }
  return exampleFile().replace(PLACEHOLDER, () => trimmed);
}

/** The text of client.example.yaml. */
export function clientExampleFile(): string {
  return CLIENT_HEAD + exampleFields(CLIENT_SETTINGS, "").join("\n") + "\n";
}

/** The text of docs/CONFIG.md. */
export function referencePage(): string {
  const mib = FILE_BYTES_MAX / (1 << 20);
  return [
    PAGE_HEAD,
    ...tables("Server", SETTINGS),
    ...tables("Client", CLIENT_SETTINGS),
    `## Targets

A server leads to public addresses only. What is private, of the machine itself (127.0.0.1) or of a
cloud's metadata is refused, also in disguise (IPv4 in IPv6, NAT64, 6to4, Teredo, ISATAP), and so
are all addresses that the machine itself has, for TCP and UDP, whatever name leads there: what
listens on them may count on a firewall that a client would be behind. A rule whose \`cidr\` lies
inside the private net opens it; a public address of the machine's own takes a rule with that very
address. One that only leads to the machine from outside (an elastic IP, a port that a router
forwards) it does not know: name it in a rule that rejects.

## The state folder

What outlives a restart is in \`state-INSTANCE/\` of \`state_dir\`, for the server's user alone; one
server at a time has it. Without the folder, or without a file of it, a server runs all the same:

| File | Holds | Without it |
|---|---|---|
| \`secret\` | 32 random bytes and the count of starts | clients notice a restart late |
| \`traffic\` | what each user has used of \`traffic_max\` | all users begin at zero |
| \`replay\` | recent HELLOs, from a clean stop to the next start | 0-RTT begins 90 s after it |

A name with \`.draft\` behind it is a file that was being written; the next start removes it.

## Limits

A file holds at most ${mib} MiB, ${PIECES_MAX} words and signs, ${DEPTH_MAX} levels of nesting and
${ALIASES_MAX} aliases, in one YAML document without tags and merge keys. At most ${PROBLEMS_MAX}
problems are listed; the rest is counted.
`,
  ].join("\n");
}

/** One file: its top level, its sections, what its lists hold. */
function tables(title: string, schema: Group): string[] {
  const parts = [`## ${title}\n`, table(schema)];
  for (const [name, field] of Object.entries(schema.fields)) {
    if (field.kind === "section") {
      parts.push(`### ${title}: \`${name}\`\n`, `${field.doc}.\n`, table(field));
    } else if (field.item !== undefined) {
      parts.push(`### ${title}: each of \`${name}\`\n`, table(field.item));
      for (const [inner, { item }] of listsOf(field.item)) {
        parts.push(`### ${title}: each of \`${name}\`'s \`${inner}\`\n`, table(item));
      }
    }
  }
  return parts;
}

/** The lists of sections in a section. */
function listsOf(group: Group): [string, { readonly item: Group }][] {
  return Object.entries(group.fields).flatMap(([name, field]) =>
    field.kind === "leaf" && field.item !== undefined ? [[name, { item: field.item }]] : []
  );
}

function exampleFields(group: Group, indent: string): string[] {
  return Object.entries(group.fields).flatMap(([name, field]) => [
    "",
    ...comment(field, indent),
    ...(field.kind === "leaf"
      ? [`${indent}${name}: ${field.fallbackText}`]
      : [`${indent}${name}:`, ...exampleFields(field, `${indent}  `).slice(1)]),
  ]);
}

function comment(field: Field, indent: string): string[] {
  const lines = wrap(field.kind === "leaf" ? field.doc : `${field.doc}.`, indent);
  if (field.kind === "section") return lines;
  const facts = [...lines, ...wrap(describe(field), indent)];
  for (const [name, inner] of Object.entries(field.item?.fields ?? {})) {
    if (inner.kind === "leaf") facts.push(...wrap(`- ${name}: ${describe(inner)}`, indent));
    if (inner.kind !== "leaf" || inner.item === undefined) continue;
    for (const [below, leaf] of Object.entries(inner.item.fields)) {
      if (leaf.kind !== "leaf") continue;
      facts.push(...wrap(`- ${name}.${below}: ${describe(leaf)}`, indent));
    }
  }
  return facts;
}

/** One line of facts: kind, unit, range and default. */
function describe(leaf: Leaf<unknown, string>): string {
  const range = leaf.unit === "" ? leaf.range : `${leaf.range} ${leaf.unit}`;
  const facts = [leaf.type, range, leaf.required ? "has to be set" : `default ${defaultOf(leaf)}`];
  return facts.filter((fact) => fact !== "").join("; ");
}

function defaultOf(leaf: Leaf<unknown, string>): string {
  return leaf.type === "secret" || leaf.required ? "none" : leaf.fallbackText;
}

function wrap(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = `${indent}#`;
  for (const word of text.split(" ")) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = `${indent}#`;
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

function table(group: Group): string {
  const rows = ["| Key | Kind | Unit | Default | Allowed | Why |", "|---|---|---|---|---|---|"];
  for (const [name, field] of Object.entries(group.fields)) {
    if (field.kind === "section") continue;
    const { type, unit, range, doc } = field;
    const hasNone = type === "secret" || field.required === true;
    const fallback = hasNone ? "none" : `\`${defaultOf(field)}\``;
    rows.push(`| \`${name}\` | ${type} | ${unit} | ${fallback} | ${range} | ${doc} |`);
  }
  return rows.join("\n") + "\n";
}
