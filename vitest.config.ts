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

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "test/support/compile-program.ts",
    sequence: { sequencer: ProcessesFirst },
    // A TensorFlow.js engine is one per process and keeps its heap: a process for each file, two at a time.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
