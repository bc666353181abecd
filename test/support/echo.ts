/** @file A thread or process that says what it hears, louder. */

import { parentPort, workerData } from "node:worker_threads";
import { loud } from "./loud.js";

const answer = (heard: string): string => `${workerData ?? process.env.ECHO_NAME}: ${loud(heard)}`;

parentPort?.on("message", (heard: string) => parentPort?.postMessage(answer(heard)));
process.on("message", (heard: string) => process.send?.(answer(heard)));
