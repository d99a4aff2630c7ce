import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "node:test";

import { Network } from "../../../src/shipping/page/js/network.js";
import { decode, values } from "./values.mjs";

const { runtime, cases } = values("network");
const ort = await import(pathToFileURL(join(runtime, "ort.wasm.min.mjs")).href);
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = pathToFileURL(`${runtime}/`).href;
ort.env.wasm.wasmBinary = readFileSync(join(runtime, "ort-wasm-simd-threaded.wasm"));

for (const { name, folder, pictures, features, probabilities } of cases) {
  test(name, async () => {
    const page = JSON.parse(readFileSync(join(folder, "page.json")));
    const [frame, head] = [page.frame, page.head].map(({ file }) => new Uint8Array(readFileSync(join(folder, file))));
    const network = await Network.load(ort, page, { frame, head });
    const found = [];
    for (const { data, width, height } of pictures) {
      found.push(await network.look({ data: decode(data, Uint8Array), width, height }));
      const feature = network.features[network.features.length - 1];
      const expected = features[found.length - 1];
      assert.equal(feature.length, expected.length);
      feature.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-3, `${value}, ${expected[i]}`));
    }
    assert.deepEqual(found.slice(0, page.num_segments - 1), Array(page.num_segments - 1).fill(null));
    found.slice(page.num_segments - 1).forEach((row, place) => {
      row.forEach((value, i) => assert.ok(Math.abs(value - probabilities[place][i]) < 1e-3));
    });
    await assert.rejects(Network.load(ort, page, { frame: frame.slice(0, 1000), head }), { kind: "model" });
    const others = { ...page, categories: [...page.categories, "One more"] };
    await assert.rejects(Network.load(ort, others, { frame, head }), { kind: "classes" });
  });
}
