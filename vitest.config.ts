import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Tests that start processes take longest and wait for these: they begin first, so that no core is idle at the end. */
class ProcessesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const starts = ({ moduleId }: TestSpecification) => /\/test\/(batch|cli|docs)\//.test(moduleId);
    return [...sorted.filter(starts), ...sorted.filter((file) => !starts(file))];
  }
}

/** Tests that compute and leave nothing behind: no environment, no mocks, no processes. */
const COMPUTING = "test/{atp,atpstar,bounds,exact,model,nodes,prompts,sources}/**/*.test.ts";

const shared = { pool: "forks", testTimeout: 120_000, hookTimeout: 120_000 } as const;

export default defineConfig({
  test: {
    globalSetup: "test/support/compile-program.ts",
    sequence: { sequencer: ProcessesFirst },
    maxWorkers: 2,
    projects: [
      // A TensorFlow.js engine is one per process and keeps its heap: a process for each file, two at a time.
      { test: { ...shared, name: "alone", include: ["test/**/*.test.ts"], exclude: [COMPUTING] } },
      // These files need no heap of their own, and most compute for less time than an engine takes to start.
      { test: { ...shared, name: "computing", include: [COMPUTING], isolate: false } },
    ],
  },
});
