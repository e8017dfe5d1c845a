// Tests which endpoints are taken.
import { expect, test } from "vitest";
import { PushHosts } from "./push-hosts.js";
import { DEFAULT_WEB_PUSH_HOSTS } from "./web-push-settings.js";

const hosts = new PushHosts([...DEFAULT_WEB_PUSH_HOSTS, "http://127.0.0.1:7129"]);

test.each([
  "https://fcm.googleapis.com/fcm/send/abc:DEF-_1",
  "https://updates.push.services.mozilla.com/wpush/v2/gAAAA",
  "https://web.push.apple.com/QGx",
  "https://wns2-by3p.notify.windows.com/w/?token=BQY%3d",
])("accepts %s", (endpoint) => {
  expect(hosts.judge(endpoint)).toEqual({ ok: true, isNamed: false });
});

test("accepts a listed origin, which may be private", () => {
  expect(hosts.judge("http://127.0.0.1:7129/push/1")).toEqual({ ok: true, isNamed: true });
});

test.each([
  "http://fcm.googleapis.com/x",
  "https://fcm.googleapis.com:8443/x",
  "https://evil.example/fcm.googleapis.com",
  "https://fcm.googleapis.com.evil.example/x",
  "https://evilfcm.googleapis.com/x",
  "https://push.apple.com/x",
  "https://evil-push.apple.com/x",
  "https://user:secret@fcm.googleapis.com/x",
  "https://fcm.googleapis.com/x#y",
  "https://fcm.googleapis.com/a/../b",
  "https://FCM.googleapis.com/x",
  "https://fcm.googleapis.com",
  "https://fcm.googleapis.com./x",
  "https://169.254.169.254/x",
  "https://[::1]/x",
  "http://127.0.0.1:7130/x",
  "http://127.0.0.1:7129@evil.example/",
  "http://0x7f000001:7129/x",
  "ftp://fcm.googleapis.com/x",
  "https://fcm.googleapis.com/\tx",
  "nonsense",
  "",
])("refuses %j", (endpoint) => {
  expect(hosts.judge(endpoint).ok).toBe(false);
});

test.each([
  "*",
  "*.com/x",
  "https://push.example/",
  "push.example:443",
  "Push.example",
  "https://*.push.example",
  "com",
])("%j in the list stops the start", (entry) => {
  expect(() => new PushHosts([entry])).toThrow(`WEB_PUSH_HOSTS: ${JSON.stringify(entry)}`);
});
