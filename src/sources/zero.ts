/** @file Zero ablation: every patched activation becomes 0. */

import * as tf from "@tensorflow/tfjs-core";
import type { ActivationSource } from "./source.js";

/** Zeros at every site. Holds nothing. */
export function zeroSource(): ActivationSource {
  return {
    description: "zero",
    valuesAt: (_site, _layer, like) => tf.zerosLike(like),
    dispose() {},
  };
}
