// Runs the network beside the page, so that the picture never stops. One message in, one out.

import * as ort from "../runtime/ort.wasm.min.mjs";
import { Network } from "./network.js";

let network = null;

const answers = {
  async load({ page, frame, head, runtime, threads }) {
    ort.env.wasm.wasmBinary = runtime;
    ort.env.wasm.wasmPaths = new URL("../runtime/", import.meta.url).href;
    ort.env.wasm.numThreads = threads;
    network = await Network.load(ort, page, { frame, head });
    return {};
  },
  async look({ data, width, height }) {
    const began = performance.now();
    const probabilities = await network.look({ data: new Uint8ClampedArray(data), width, height });
    return { probabilities, milliseconds: performance.now() - began };
  },
  async reset() {
    network.reset();
    return {};
  },
};

self.onmessage = async ({ data: { type, ...message } }) => {
  try {
    self.postMessage(await answers[type](message));
  } catch (error) {
    self.postMessage({ problem: { kind: error.kind ?? "runtime", message: String(error.message ?? error) } });
  }
};
