// Tests what TOPICS_FILE may hold.
// Guarantees: every field has its bounds; whatever is wrong is refused with its line.
import { expect, test } from "vitest";
import { DEFAULT_TOPIC_RULE, TopicRules } from "../../protocol/topics/topic-rules.js";
import { readTopicRules } from "./read-topics-file.js";

const rule = (fields: string): string =>
  `{\n  "rules": [\n    {\n      "topics": "room.*",\n      ${fields}\n    }\n  ]\n}\n`;

test("a rule states what differs from the defaults; the first matching one applies", () => {
  const rules = readTopicRules(
    JSON.stringify({
      rules: [
        {
          topics: "room.vip.*",
          historySize: 0,
          presence: "list",
          clientPublish: true,
          publishPerUserPerSecond: 1,
        },
        { topics: "room.*", historySeconds: 60, historyBytes: 1, presence: "count" },
        { topics: "room.vip.late", historySize: 5 },
        { topics: "*", historySize: 7 },
      ],
    }),
  );
  const all = new TopicRules(rules);
  expect(all.ruleOf("room.vip.late")).toEqual({
    ...DEFAULT_TOPIC_RULE,
    topics: "room.vip.*",
    historySize: 0,
    presence: "list",
    clientPublish: true,
    publishPerUserPerSecond: 1,
  });
  expect(all.ruleOf("room.7")).toEqual({
    ...DEFAULT_TOPIC_RULE,
    topics: "room.*",
    historySeconds: 60,
    historyBytes: 1,
    presence: "count",
  });
  expect(all.ruleOf("news").historySize).toBe(7);
  expect(readTopicRules('{"rules":[]}')).toEqual([]);
});

test.each<[string, string]>([
  // What the file is
  ["[]", 'line 1: the file must be an object with "rules"'],
  ["{}", 'line 1: "rules" must be a list'],
  ['{\n"rules": {}}', 'line 2: "rules" must be a list'],
  ['{"rules": [],\n"rule": []}', 'line 2: unknown field "rule"; there is only "rules"'],
  ['{"rules": [\n{"topics":"a"},\n"b"]}', "line 3: a rule must be an object"],
  ['{"rules": [\n{"topics":"a"},\n{"historySize":1}]}', 'line 3: a rule must have "topics"'],
  ['{"rules": [\n{"topics":"a",}]}', "line 2: a name in quotes is missing here"],
  // A field
  [rule('"historysize": 5'), 'line 5: unknown field "historysize"; a rule may have topics, historySize,'],
  [rule('"presence": "off",\n"presence": "list"'), 'line 6: "presence" occurs twice'],
  [rule('"historySize": -1'), 'line 5: "historySize" must be a whole number from 0 to 100000, not -1'],
  [
    rule('"historySize": 100001'),
    'line 5: "historySize" must be a whole number from 0 to 100000, not 100001',
  ],
  [rule('"historySize": "5"'), 'line 5: "historySize" must be a whole number from 0 to 100000, not "5"'],
  [rule('"historySize": 1.5'), 'line 5: "historySize" must be a whole number'],
  [rule('"historySize": null'), 'line 5: "historySize" must be a whole number'],
  [rule('"historySeconds":\n0'), 'line 6: "historySeconds" must be a whole number from 1 to 2592000, not 0'],
  [rule('"historySeconds": 2592001'), 'line 5: "historySeconds" must be a whole number from 1 to 2592000'],
  [rule('"historyBytes": 0'), 'line 5: "historyBytes" must be a whole number from 1 to 67108864, not 0'],
  [rule('"historyBytes": 67108865'), 'line 5: "historyBytes" must be a whole number'],
  [rule('"presence": "all"'), 'line 5: "presence" must be one of off, count, list, not "all"'],
  [rule('"presence": true'), 'line 5: "presence" must be one of off, count, list, not true'],
  [rule('"clientPublish": "true"'), 'line 5: "clientPublish" must be true or false, not "true"'],
  [
    rule('"publishPerUserPerSecond": 0'),
    'line 5: "publishPerUserPerSecond" must be a whole number from 1 to',
  ],
  [rule('"archive": 1'), 'line 5: "archive" must be true or false, not 1'],
  ['{"rules": [\n{"topics": "$all",\n"presence": "list"}]}', 'line 3: "presence" cannot be set for "$all"'],
  // A pattern
  ...["room.*.x", "*room", "ro om", "room/", "", "..", "$al", "$all*", "**", "x".repeat(129), 7].map(
    (topics): [string, string] => [
      `{"rules": [\n{"topics": ${JSON.stringify(topics)}}]}`,
      `line 2: "topics" must be a topic's name, or its beginning with "*" at the end, not ${JSON.stringify(topics)}`,
    ],
  ),
])("refuses %j", (source, said) => {
  expect(() => readTopicRules(source)).toThrow(said);
});

test("a rule for `$all` may set the archive; one for all other topics does not affect it", () => {
  const of = (...rules: readonly object[]): boolean =>
    new TopicRules(readTopicRules(JSON.stringify({ rules }))).ruleOf("$all").archive;
  expect(of({ topics: "*", archive: true })).toBe(false);
  expect(of({ topics: "*" }, { topics: "$all", archive: true })).toBe(true);
});

test("refuses `archive` without an archive", () => {
  const source = '{"rules": [\n{"topics": "a"},\n{"topics": "b",\n"archive": true}]}';
  expect(readTopicRules(source)[1]?.archive).toBe(true);
  expect(() => readTopicRules(source, ({ archive }) => archive)).toThrow(
    'line 4: "archive" needs MESSAGE_ARCHIVE_URL',
  );
});

test("accepts rules up to the maximum, and no more", () => {
  const many = (count: number): string =>
    `{"rules":[\n${Array.from({ length: count }, (_, i) => `{"topics":"t${i}"}`).join(",\n")}]}`;
  expect(readTopicRules(many(1_000))).toHaveLength(1_000);
  expect(() => readTopicRules(many(1_001))).toThrow('line 1002: "rules" must be at most 1000');
});
