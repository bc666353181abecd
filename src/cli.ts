#!/usr/bin/env node
/** @file The `atp` command. */

import { main } from "./cli/main.js";

await main(process.argv.slice(2));
