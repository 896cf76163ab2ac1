import assert from "node:assert/strict";
import { parseIp } from "../base/ip.ts";
import { AddressClass, classify } from "./address_class.ts";

/** Addresses of each class. */
const CASES: Readonly<Record<keyof typeof AddressClass, string>> = {
  PUBLIC: "1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 " +
    "169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 " +
    "198.17.255.255 198.20.0.0 198.51.101.0 203.0.114.0 223.255.255.255 " +
    "2606:4700::1111 2001:4860:4860::8888 2000:: 3ffe::1 64:ff9b::8.8.8.8 2002:808:808::1",
  UNSPECIFIED: "0.0.0.0 0.255.255.255 :: 64:ff9b::0.0.0.0 2002::1",
  LOOPBACK: "127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 " +
    "2002:7f00:1::1",
  PRIVATE: "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 " +
    "fc00:: fdff::1 fec0::1 ::ffff:10.0.0.1 ::10.0.0.1 64:ff9b::a00:1 2002:c0a8:1:: " +
    "2001:0:808:808:0:0:f5ff:fffe 2001:0:a00:1:0:0:f7f7:f7f7 2606:4700::5efe:a00:1",
  LINK_LOCAL: "169.254.0.0 169.254.255.255 fe80::1 febf::1",
  SHARED: "100.64.0.0 100.127.255.255",
  METADATA: "169.254.169.254 169.254.170.2 100.100.100.200 168.63.129.16 fd00:ec2::254 " +
    "fd20:ce::254 fd00:c1::a9fe:a9fe 64:ff9b::a9fe:a9fe ::ffff:169.254.169.254 ::a9fe:a9fe",
  MULTICAST: "224.0.0.0 239.255.255.255 ff02::1 ff00::",
  BROADCAST: "255.255.255.255",
  DOCUMENTATION: "192.0.2.0 192.0.2.255 198.51.100.1 203.0.113.1 2001:db8::1 3fff:fff::1",
  BENCHMARKING: "198.18.0.0 198.19.255.255 2001:2::1",
  RESERVED: "192.0.0.1 192.88.99.1 240.0.0.0 255.255.255.254 100::1 4000::1 ::ffff:0:1.1.1.1 " +
    "::8.8.8.8 2001:10::1 2001:2f:: 5f00::1 64:ff9b:2::1 64:ff9b::1:0:0",
  LOCAL_NAT64: "64:ff9b:1::1 64:ff9b:1:ffff::8.8.8.8",
};

Deno.test("every class is told at its edges, embedded IPv4 addresses included", () => {
  for (const [name, texts] of Object.entries(CASES)) {
    for (const text of texts.split(" ")) {
      const bytes = new Uint8Array(20);
      bytes.set(parseIp(text)!, 3);
      assert.equal(classify(bytes, 3), AddressClass[name as keyof typeof AddressClass], text);
    }
  }
});
