/** @file The note of a coordinator or worker that works without a key. */

import { KEY_VARIABLE, type QueueKey } from "../batch/queue/queue-key.js";
import type { QueueAddress } from "../batch/queue/queue-url.js";

/** Said where others than this machine's users may reach the server. */
export function noteWithoutKey(
  { isLocal, shown }: QueueAddress,
  key: QueueKey | undefined,
  onNotice: (text: string) => void,
): void {
  if (key || isLocal) return;
  onNotice(
    `warning: without ${KEY_VARIABLE} whoever can write to ${shown} can hand in results of their own (docs/clusters.md)`,
  );
}
