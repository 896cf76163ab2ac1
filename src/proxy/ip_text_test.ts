import assert from "node:assert/strict";
import { formatIp, parseIp } from "./ip_text.ts";

Deno.test("parseIp() and formatIp() agree, in the form of RFC 5952", () => {
  const cases: [string, string][] = [
    ["0.0.0.0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["64:ff9b::10.0.0.1", "64:ff9b::a00:1"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
  ];
  for (const [text, shown] of cases) {
    const ip = parseIp(text);
    assert.ok(ip, text);
    assert.equal(formatIp(ip), shown);
    assert.deepEqual(parseIp(shown), ip);
  }
});

Deno.test("parseIp() refuses what is no address, or only to some resolvers", () => {
  const bad = [
    ...["", ".", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.256", "0x7f.0.0.1", "2130706433"],
    ...["127.1", "1.2.3.4 ", " 1.2.3.4", "1.2.3.-4", "1.2.3.4.", ":", ":::", "1::2::3", "::1%lo"],
    ...["1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "g::", "12345::", "[::1]"],
    ...["::1.2.3", "1.2.3.4::", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", ":1", "1:", "1".repeat(99)],
  ];
  for (const text of bad) assert.equal(parseIp(text), undefined, text);
});
