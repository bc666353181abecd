/**
 * @file How byte-level tokenizers split text before merging. A GGUF file only names the way (`tokenizer.ggml.pre`);
 * what a name stands for is defined by llama.cpp (llama-vocab.cpp), which takes it from the published tokenizers. Given
 * here are the published patterns where llama.cpp has rewritten them for its own regular expressions; its rewritten
 * "tekken" and "gpt-4o" cut words at combining marks, the published ones do not.
 */

export interface PreTokenizer {
  /** Each splits what those before it have left whole; what matches is a part, and so is what lies between matches. */
  readonly patterns: readonly string[];
  /** Whether a part that is a token is taken as it is, without merging. */
  readonly ignoresMerges?: boolean;
  /** Whether a text begins with the BOS token where the file does not say. */
  readonly addsBos?: boolean;
  /**
   * Whether text is brought into Unicode's form NFC first. The published Qwen tokenizers do so and transformers with a
   * GGUF file, too; llama.cpp does not, which only text with decomposed characters shows.
   */
  readonly composes?: boolean;
}

const GPT2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";

/** The end of every pattern since GPT-4: punctuation with line breaks behind it, line breaks, other white space. */
const PUNCTUATION_AND_SPACE = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

const WORDS = String.raw`[^\r\n\p{L}\p{N}]?\p{L}+`;

const LLAMA3 = String.raw`${CONTRACTIONS}|${WORDS}|\p{N}{1,3}|${PUNCTUATION_AND_SPACE}`;

const QWEN2 = String.raw`${CONTRACTIONS}|${WORDS}|\p{N}|${PUNCTUATION_AND_SPACE}`;

const SEED_CODER = String.raw`${CONTRACTIONS}|${WORDS}|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+`;

/** Words end where small letters turn into capitals, as in "camelCase"; `suffix` may follow a word. */
function casedWords(suffix: string): string {
  const start = String.raw`[^\r\n\p{L}\p{N}]?`;
  const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
  const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
  return `${start}${upper}*${lower}+${suffix}|${start}${upper}+${lower}*${suffix}`;
}

const CASED_PUNCTUATION_AND_SPACE = String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

const TEKKEN = String.raw`${casedWords("")}|\p{N}|${CASED_PUNCTUATION_AND_SPACE}`;

const GPT4O = String.raw`${casedWords(`${CONTRACTIONS}?`)}|\p{N}{1,3}|${CASED_PUNCTUATION_AND_SPACE}`;

const DEEPSEEK_CODER = [
  String.raw`[\r\n]`,
  String.raw`\s?\p{L}+`,
  String.raw`\s?\p{P}+`,
  "[一-龥ࠀ-一가-퟿]+",
  String.raw`\p{N}`,
];

/** Names that mean the same. */
const GROUPS: readonly (readonly [PreTokenizer, readonly string[]])[] = [
  [
    { patterns: [GPT2] },
    [
      ...["gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "exaone4", "gigachat", "a.x-4.0", "mellum"],
      ...["granite-docling", "roberta-bpe", "modern-bert", "jina-es", "jina-de", "jina-v1-en", "jina-v2-es"],
      ...["jina-v2-de", "jina-v2-code"],
    ],
  ],
  [
    { patterns: [String.raw`\p{N}`, GPT2] },
    ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
  ],
  [
    { patterns: [LLAMA3], ignoresMerges: true, addsBos: true },
    [
      "llama-bpe",
      "llama3",
      "llama-v3",
      "falcon3",
      "falcon-h1",
      "pixtral",
      "midm-2.0",
      "lfm2",
      "jina-v5-nano",
    ],
  ],
  [{ patterns: [LLAMA3] }, ["dbrx", "smaug-bpe"]],
  [{ patterns: [QWEN2], composes: true }, ["qwen2"]],
  [
    { patterns: [QWEN2] },
    ["deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"],
  ],
  [{ patterns: [TEKKEN], ignoresMerges: true, addsBos: true }, ["tekken"]],
  [{ patterns: [GPT4O] }, ["gpt-4o", "llama4", "kanana2", "talkie"]],
  [{ patterns: DEEPSEEK_CODER }, ["deepseek-coder"]],
  [{ patterns: [SEED_CODER] }, ["seed-coder"]],
];

/** By the name in the file. */
export const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map(
  GROUPS.flatMap(([preTokenizer, names]) => names.map((name) => [name, preTokenizer] as const)),
);
