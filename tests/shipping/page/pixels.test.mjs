import assert from "node:assert/strict";
import { test } from "node:test";

import { centreCrop, networkInput, pictureOfPlanes } from "../../../src/shipping/page/js/pixels.js";
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

for (const { name, width, height, planes, rgb } of values("planes")) {
  const i420 = decode(planes, Uint8Array);
  const [half, rows] = [(width + 1) >> 1, (height + 1) >> 1];
  const [size, quarter] = [width * height, half * rows];
  const layout = [
    { offset: 0, stride: width },
    { offset: size, stride: half },
    { offset: size + quarter, stride: half },
  ];
  const nv12 = i420.slice();
  for (let i = 0; i < quarter; i++) {
    nv12.set([i420[size + i], i420[size + quarter + i]], size + 2 * i);
  }
  const twice = [layout[0], { offset: size, stride: 2 * half }];
  for (const given of [
    { format: "I420", data: i420, layout },
    { format: "NV12", data: nv12, layout: twice },
  ]) {
    test(`${name}, ${given.format}`, () => {
      const { data } = pictureOfPlanes({ ...given, width, height });
      const found = data.filter((_, place) => place % 4 < 3);
      assert.deepEqual(Array.from(found), Array.from(decode(rgb, Uint8Array)));
    });
  }
}
