import assert from "node:assert/strict";
import { test } from "node:test";

import { centreCrop, networkInput } from "../../../src/shipping/page/js/pixels.js";
import { decode, values } from "./values.mjs";

for (const { name, width, height, image, size, crop, exact, input, page } of values("pixels")) {
  test(name, () => {
    const picture = { data: decode(image, Uint8Array), width, height };
    const expected = decode(crop, Uint8Array);
    const found = centreCrop(picture, size);
    assert.equal(found.length, expected.length);
    const levels = found.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
    assert.ok(levels <= (exact ? 0 : 1), `${levels} levels`);
    const given = networkInput(picture, page);
    const wanted = decode(input, Float32Array);
    assert.equal(given.length, wanted.length);
    const most = Math.max(...page.scales) * (exact ? 0 : 1) + 1e-6;
    given.forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) <= most, `${i}: ${value}, ${wanted[i]}`));
  });
}
