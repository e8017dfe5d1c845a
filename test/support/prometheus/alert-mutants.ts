// Tests only: weaker copies of the alerts' rules, to see whether the alerts' tests would notice them.
// Guarantees: every rule of every alert is weakened in each way that there is, one way at a time: without its threshold,
// without its `for`, without one of the conditions that it is joined to. All of them are evaluated in one run.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";

export interface AlertRule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}
type Recording = { readonly record: string; readonly expr: string };
interface RuleFile {
  readonly groups: readonly { readonly name: string; readonly rules: readonly (AlertRule | Recording)[] }[];
}
interface Assertion {
  readonly eval_time: string;
  readonly alertname: string;
  readonly exp_alerts: readonly { readonly exp_labels: Readonly<Record<string, string>> }[];
}
interface AlertTestFile {
  readonly rule_files: readonly string[];
  readonly evaluation_interval: string;
  readonly group_eval_order?: readonly string[];
  readonly tests: readonly {
    readonly name: string;
    readonly input_series: readonly object[];
    readonly alert_rule_test?: readonly Assertion[];
  }[];
}

interface Mutant {
  readonly name: string;
  readonly of: AlertRule;
  readonly how: string;
  readonly rule: Omit<AlertRule, "annotations">;
}

const isAlert = (rule: AlertRule | Recording): rule is AlertRule => "alert" in rule;
const ymlIn = (folder: string): string[] => readdirSync(folder).filter((name) => name.endsWith(".yml"));

/** @param directory deploy/prometheus */
export function readAlertRules(directory: string): AlertRule[] {
  return readRuleFiles(directory).flatMap(({ groups }) =>
    groups.flatMap(({ rules }) => rules.filter(isAlert)),
  );
}

export function readRuleFiles(directory: string): RuleFile[] {
  return ymlIn(join(directory, "rules")).map((name) => readRules(join(directory, "rules", name)));
}

export function readAssertions(directory: string): Assertion[] {
  return ymlIn(join(directory, "tests")).flatMap((name) =>
    readTests(join(directory, "tests", name)).tests.flatMap(({ alert_rule_test = [] }) => alert_rule_test),
  );
}

const readRules = (file: string): RuleFile => parse(readFileSync(file, "utf8")) as RuleFile;
const readTests = (file: string): AlertTestFile => parse(readFileSync(file, "utf8")) as AlertTestFile;

interface Clause {
  /** Joins it to what stands before; empty for the first. */
  readonly operator: string;
  readonly text: string;
}

/** Cut at `and`, `or` and `unless` outside of any parentheses. */
export function clausesOf(expr: string): Clause[] {
  const clauses: Clause[] = [];
  let [depth, from, operator] = [0, 0, ""];
  for (const { 0: token, index } of expr.matchAll(/"[^"]*"|[({[]|[)}\]]|\b(?:and|or|unless)\b/g)) {
    if ("({[".includes(token)) depth++;
    else if (")}]".includes(token)) depth--;
    else if (depth === 0 && !token.startsWith('"')) {
      clauses.push({ operator, text: expr.slice(from, index).trim() });
      [operator, from] = [token, index + token.length];
    }
  }
  return [...clauses, { operator, text: expr.slice(from).trim() }];
}

const joinClauses = (clauses: readonly Clause[]): string =>
  clauses.map(({ operator, text }) => `${operator} ${text}`.trim()).join(" ");

function mutantsOf(rule: AlertRule, prefix: string): Mutant[] {
  const { annotations: _none, ...bare } = rule;
  const clauses = clausesOf(rule.expr);
  const [first, ...joined] = clauses;
  if (first === undefined) throw new Error(`${rule.alert} has no expression`);
  const weaker: { readonly how: string; readonly rule: Omit<AlertRule, "annotations"> }[] = [];
  const withoutThreshold = first.text.replace(/\s*(?:[<>]=?|==)(?![^(]*\))[^<>=]*$/, "");
  if (withoutThreshold !== first.text) {
    const expr = joinClauses([{ operator: "", text: withoutThreshold }, ...joined]);
    weaker.push({ how: "without its threshold", rule: { ...bare, expr } });
  }
  if (rule.for !== undefined) {
    const { for: _for, ...atOnce } = bare;
    weaker.push({ how: `without for: ${rule.for}`, rule: atOnce });
  }
  for (const [i, { operator, text }] of clauses.entries()) {
    if (i === 0) continue;
    const expr = joinClauses(clauses.filter((_, k) => k !== i));
    weaker.push({ how: `without: ${operator} ${text}`, rule: { ...bare, expr } });
  }
  return weaker.map(({ how, rule: one }, i) => {
    const name = `${prefix}_${i}`;
    return { name, of: rule, how, rule: { ...one, alert: name } };
  });
}

/**
 * @param directory deploy/prometheus
 * @returns the weaker rules that no test tells from the real ones, as `Alert (severity): how`; and how many there were
 */
export function findUnnoticedMutants(directory: string): {
  readonly tried: number;
  readonly unnoticed: string[];
} {
  const work = mkdtempSync(join(tmpdir(), "petrel-alert-mutants-"));
  try {
    for (const folder of ["rules", "tests"]) mkdirSync(join(work, folder));
    const mutants = ymlIn(join(directory, "rules")).flatMap((name) => writeMutants(directory, work, name));
    const files = ymlIn(join(directory, "tests"));
    const asked = files.flatMap((name) => writeAssertions(directory, work, name, mutants));
    const { stdout, stderr } = spawnSync(
      "promtool",
      ["test", "rules", ...files.map((name) => `tests/${name}`)],
      {
        cwd: work,
        encoding: "utf8",
        maxBuffer: 2 ** 28,
      },
    );
    const answers = readAnswers(stdout + stderr);
    const noticed = new Set(
      asked
        .filter(({ key, expected }) => expected !== (answers.get(key) ?? ""))
        .map(({ mutant }) => mutant.name),
    );
    const unnoticed = mutants
      .filter(({ name }) => !noticed.has(name))
      .map(({ of, how }) => `${of.alert} (${of.labels["severity"]}): ${how}`);
    return { tried: mutants.length, unnoticed };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function writeMutants(directory: string, work: string, name: string): Mutant[] {
  const { groups } = readRules(join(directory, "rules", name));
  const made: Mutant[] = [];
  const mutated = groups.map((group, g) => ({
    ...group,
    rules: group.rules.flatMap((rule, i): (Recording | Mutant["rule"])[] => {
      if (!isAlert(rule)) return [rule];
      const mutants = mutantsOf(rule, `${rule.alert}_${g}_${i}`);
      made.push(...mutants);
      return mutants.map((mutant) => mutant.rule);
    }),
  }));
  writeFileSync(join(work, "rules", name), stringify({ groups: mutated }));
  return made;
}

interface Asked {
  readonly mutant: Mutant;
  readonly key: string;
  /** What the real rule gives at that time. */
  readonly expected: string;
}

/** Each assertion of an alert becomes one of each of its mutants, that nothing fires: promtool then says what does. */
function writeAssertions(directory: string, work: string, name: string, mutants: readonly Mutant[]): Asked[] {
  const file = readTests(join(directory, "tests", name));
  const asked: Asked[] = [];
  const tests = file.tests.map((one) => ({
    ...one,
    promql_expr_test: undefined,
    alert_rule_test: (one.alert_rule_test ?? []).flatMap((assertion) =>
      mutants
        .filter(({ of }) => of.alert === assertion.alertname)
        .map((mutant) => {
          const own = assertion.exp_alerts.filter(({ exp_labels }) =>
            Object.entries(mutant.of.labels).every(([label, value]) => exp_labels[label] === value),
          );
          const expected = own
            .map(({ exp_labels }) => labelText(exp_labels))
            .sort()
            .join();
          asked.push({ mutant, key: `${name} ${mutant.name} ${assertion.eval_time}`, expected });
          return { eval_time: assertion.eval_time, alertname: mutant.name, exp_alerts: [] };
        }),
    ),
  }));
  writeFileSync(join(work, "tests", name), stringify({ ...file, tests }, { aliasDuplicateObjects: false }));
  return asked;
}

const labelText = (labels: Readonly<Record<string, string>>): string =>
  `{${Object.entries(labels)
    .map(([label, value]) => `${label}=${value}`)
    .sort()
    .join(" ")}}`;

/** promtool's report: which alerts there were where none was expected, by file, alert and time. */
function readAnswers(report: string): ReadonlyMap<string, string> {
  const answers = new Map<string, string>();
  for (const part of report.split(/^Unit Testing: +/m).slice(1)) {
    const [, name = ""] = /^tests\/(\S+)/.exec(part) ?? [];
    for (const [, alert = "", time = "", got = ""] of part.matchAll(
      /alertname: (\w+), time: (\w+),[^]*?got:\[([^]*?)\n {12}\]/g,
    )) {
      const alerts = [...got.matchAll(/Labels:\{(.*)\}$/gm)].map(([, labels = ""]) =>
        labelText(
          Object.fromEntries(
            [...labels.matchAll(/(\w+)="([^"]*)"/g)]
              .map(([, label = "", value = ""]) => [label, value] as const)
              .filter(([label]) => label !== "alertname"),
          ),
        ),
      );
      answers.set(`${name} ${alert} ${time}`, alerts.sort().join());
    }
  }
  return answers;
}
