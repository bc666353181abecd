/**
 * @file How far a run is, on stderr: bars with the time left on a terminal, otherwise lines, few enough for a log file.
 */

import { MultiBar, SingleBar } from "cli-progress";
import type { DownloadProgress } from "../checkpoint/hub.js";
import type { Progress } from "../run-control.js";
import { printNote } from "./context.js";

/** What is counted, by stage. */
const UNITS: Readonly<Record<string, string>> = {
  load: "layers",
  estimate: "pairs",
  verify: "patched runs",
  patch: "patched runs",
  sample: "patched runs",
  mean: "pairs",
  write: "rows",
};

/** Lines are that far apart, in parts of the whole and in time; the last one of a stage always comes. */
const LINES_PER_STAGE = 10;
const MS_BETWEEN_LINES = 1000;

export interface ProgressDisplay {
  readonly stage: (progress: Progress) => void;
  readonly download: (progress: DownloadProgress) => void;
  /** Ends bars that are still moving, so that other text can follow. */
  readonly finish: () => void;
}

/** Bars if stderr is a terminal, lines if it is not. */
export function showProgress(): ProgressDisplay {
  return process.stderr.isTTY ? bars() : lines();
}

function bars(): ProgressDisplay {
  let stage: { readonly name: string; readonly bar: SingleBar } | undefined;
  let downloads: MultiBar | undefined;
  const files = new Map<string, ReturnType<MultiBar["create"]>>();
  const finish = () => {
    stage?.bar.stop();
    downloads?.stop();
    stage = downloads = undefined;
    files.clear();
  };
  return {
    stage({ stage: name, done, total }) {
      if (stage?.name !== name) {
        finish();
        const format = `${name.padEnd(8)} [{bar}] {percentage} % | {value} of {total} ${UNITS[name] ?? ""} | {eta_formatted} left`;
        const bar = new SingleBar({ format, barsize: 30, gracefulExit: false, stream: process.stderr });
        bar.start(total, 0);
        stage = { name, bar };
      }
      stage.bar.update(done);
      if (done === total) finish();
    },
    download({ file, loadedBytes, totalBytes }) {
      downloads ??= new MultiBar({
        format: "{file} [{bar}] {percentage} % | {loaded} of {all} MB | {eta_formatted} left",
        barsize: 30,
        gracefulExit: false,
        stream: process.stderr,
      });
      const values = { file, loaded: megabytes(loadedBytes), all: megabytes(totalBytes) };
      let bar = files.get(file);
      if (!bar) {
        bar = downloads.create(totalBytes, 0, values);
        files.set(file, bar);
      }
      bar.update(loadedBytes, values);
    },
    finish,
  };
}

function lines(): ProgressDisplay {
  const stages = new Map<string, { readonly startedAt: number; part: number; shownAt: number }>();
  let lastEventAt = performance.now();
  const show = (name: string, done: number, total: number, amount: string) => {
    const now = performance.now();
    // A stage reports what is done, never that it begins: it began when the one before it ended.
    const stage = stages.get(name) ?? { startedAt: lastEventAt, part: 0, shownAt: lastEventAt };
    stages.set(name, stage);
    lastEventAt = now;
    const part = Math.floor((done / total) * LINES_PER_STAGE);
    const isDue = part > stage.part && now - stage.shownAt >= MS_BETWEEN_LINES;
    if (!isDue && done < total) return;
    stage.part = part;
    stage.shownAt = now;
    const seconds = (now - stage.startedAt) / 1000;
    const time =
      done < total
        ? `${Math.floor((100 * done) / total)} %, about ${Math.ceil((seconds / done) * (total - done))} s left`
        : `${seconds.toFixed(1)} s`;
    printNote(`${name}: ${amount}, ${time}`);
  };
  return {
    stage: ({ stage, done, total }) =>
      show(stage, done, total, `${done} of ${total} ${UNITS[stage] ?? ""}`.trimEnd()),
    download: ({ file, loadedBytes, totalBytes }) =>
      show(
        `download ${file}`,
        loadedBytes,
        totalBytes,
        `${megabytes(loadedBytes)} of ${megabytes(totalBytes)} MB`,
      ),
    finish: () => {},
  };
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
