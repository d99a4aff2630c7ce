// What Python computed: test_page_js.py writes it to the file that VALUES names.

import { readFileSync } from "node:fs";

const all = JSON.parse(readFileSync(process.env.VALUES, "utf-8"));

export const values = (name) => all[name];

/** An array of `type` from base64. */
export function decode(text, type) {
  const bytes = Uint8Array.from(Buffer.from(text, "base64"));
  return new type(bytes.buffer);
}
