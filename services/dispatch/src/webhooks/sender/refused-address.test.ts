// Tests which addresses and URLs are refused, in any spelling.
import { describe, expect, test } from "vitest";
import { problemOfUrl } from "./check-url.js";
import { isRefusedAddress } from "./refused-address.js";

const refused = [
  "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1",
  "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1",
  "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1",
  "255.255.255.255", "::", "::1", "::10.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::ffff:a00:1", "64:ff9b::a00:1",
  "64:ff9b::8.8.8.8", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:db8::1", "2002:a00:1::1", "3fff::1", "fc00::1",
  "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "5f00::1", "name.example", "",
]; // prettier-ignore
const passing = [
  "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
  "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.1", "192.167.255.255", "192.169.0.0",
  "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888",
]; // prettier-ignore

test.each(refused)("refuses %s", (address) => expect(isRefusedAddress(address)).toBe(true));
test.each(passing)("accepts %s", (address) => expect(isRefusedAddress(address)).toBe(false));

describe("a URL", () => {
  test.each([
    "https://127.0.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://017700000001/",
    "https://127.1/", "https://127.0.0.1./", "https://0/", "https://[::1]/", "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:0a00:1]:8443/", "https://[64:ff9b::7f00:1]/", "https://169.254.169.254/latest/meta-data",
    "https://１２７.0.0.1/", "https://192.168.1.1:8443/hook", "https://[fd00::1]/", "https://0xa9.0xfe.0xa9.0xfe/",
  ])("%s names a refused address", (url) => {
    expect(problemOfUrl(url, false)).toMatch(/^must not name a private or special address/);
    expect(problemOfUrl(url, true)).toBeUndefined();
  }); // prettier-ignore

  test.each([
    ["https://shop.example/hook?x=1", undefined],
    ["https://8.8.8.8:8443/hook", undefined],
    ["https://bücher.example/hook", undefined],
    ["http://shop.example/hook", "must begin with https:"],
    ["ftp://shop.example/", "must begin with https:"],
    ["file:///etc/passwd", "must begin with https:"],
    ["https://a:b@shop.example/", "must not contain a user"],
    ["https://shop.example/#part", "must not contain a fragment"],
    ["https://shop.example/a b", "must be a URL"],
    ["https://shop.exam\nple/", "must be a URL"],
    [" https://shop.example/", "must be a URL"],
    ["shop.example/hook", "must be a URL"],
    ["https://1.2.3.4.5/", "must be a URL"],
    ["", "must be a URL"],
    [`https://shop.example/${"x".repeat(2_048)}`, "must not be longer"],
  ])("%j: %s", (url, problem) => {
    if (problem === undefined) expect(problemOfUrl(url, false)).toBeUndefined();
    else expect(problemOfUrl(url, false)).toContain(problem);
  });

  test("an international name passes, however many URLs were checked before", () => {
    // Node 20's `URL.canParse` misreads such a name once it is compiled for speed.
    for (let i = 0; i < 50_000; i++) problemOfUrl("https://shop.example/hook", false);
    expect(problemOfUrl("https://bücher.example/hook", false)).toBeUndefined();
  });

  test("http: only if private addresses are allowed", () => {
    expect(problemOfUrl("http://shop.example/", true)).toBeUndefined();
    expect(problemOfUrl("ftp://shop.example/", true)).toBeDefined();
  });
});
