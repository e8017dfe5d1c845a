// Tests only: the Dockerfile as its stages, each with what it inherits.
// Guarantees: a stage's own instructions win over inherited ones; shell form and exec form are told apart.
import { DockerfileParser } from "dockerfile-ast";

export interface DockerInstruction {
  readonly keyword: string;
  /** Its arguments, as one line. */
  readonly text: string;
  /** The words of the exec form; undefined for the shell form. */
  readonly words: readonly string[] | undefined;
}

export interface DockerStage {
  readonly name: string;
  readonly base: string;
  readonly instructions: readonly DockerInstruction[];
}

export function readDockerfile(text: string): DockerStage[] {
  const stages: { name: string; base: string; instructions: DockerInstruction[] }[] = [];
  const lines = text.split("\n");
  for (const one of DockerfileParser.parse(text).getInstructions()) {
    const keyword = one.getKeyword();
    const { start, end } = one.getRange();
    // The parser's own arguments omit the options before them.
    const content = lines
      .slice(start.line, end.line + 1)
      .map((line) => line.replace(/\\$/, "").trim())
      .join(" ")
      .slice(keyword.length + 1);
    if (keyword === "FROM") {
      const [base = "", , name = ""] = content.split(/\s+/).filter((word) => !word.startsWith("--"));
      stages.push({ name, base, instructions: [] });
    } else {
      stages.at(-1)?.instructions.push({ keyword, text: content, words: wordsOf(content) });
    }
  }
  return stages;
}

/** A stage's instructions after those of the stages it is built on. */
export function inheritedInstructions(stages: readonly DockerStage[], name: string): DockerInstruction[] {
  const stage = stages.find((one) => one.name === name);
  if (stage === undefined) return [];
  return [...inheritedInstructions(stages, stage.base), ...stage.instructions];
}

/** The last of a kind, which is the one that counts. */
export function lastOf(
  instructions: readonly DockerInstruction[],
  keyword: string,
): DockerInstruction | undefined {
  return instructions.findLast((one) => one.keyword === keyword);
}

/** The environment after the stage's ENV instructions. */
export function environmentOf(instructions: readonly DockerInstruction[]): Record<string, string> {
  return Object.fromEntries(
    instructions
      .filter(({ keyword }) => keyword === "ENV")
      .flatMap(({ text }) => text.split(/\s+/))
      .map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]),
  );
}

/** After options and, in HEALTHCHECK, the word CMD. */
function wordsOf(content: string): readonly string[] | undefined {
  const list = /\[.*\]$/.exec(content)?.[0];
  if (list === undefined || !/^(--\S+ )*(CMD )?\[/.test(content)) return undefined;
  const words: unknown = JSON.parse(list);
  return Array.isArray(words) && words.every((word) => typeof word === "string") ? words : undefined;
}
