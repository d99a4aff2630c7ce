// The network: a picture to its feature, the features of the last T pictures to probabilities.

import { softmax } from "./events.js";
import { networkInput } from "./pixels.js";

/** A problem that the page explains; `kind` chooses the sentence. */
export class Problem extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

export class Network {
  /**
   * @param ort the module onnxruntime-web
   * @param page the content of page.json
   * @param files {frame, head}: the bytes of the two files
   */
  static async load(ort, page, { frame, head }) {
    const network = new Network();
    Object.assign(network, { ort, page, features: [] });
    try {
      network.frame = await ort.InferenceSession.create(frame);
      // More optimisation would make products of 8 bits, which the web's kernels lack for weights of three dimensions.
      network.head = await ort.InferenceSession.create(head, { graphOptimizationLevel: "basic" });
    } catch (error) {
      throw new Problem(/backend|wasm|WebAssembly|memory/i.test(error.message) ? "runtime" : "model", error.message);
    }
    const black = { data: new Uint8Array(4), width: 1, height: 1 };
    for (let i = 0; i < page.num_segments; i++) {
      const scores = await network.look(black); // the first runs are slow
      if (scores && scores.length !== page.categories.length) {
        throw new Problem("classes", `${scores.length} scores, ${page.categories.length} classes`);
      }
    }
    network.reset();
    return network;
  }

  /** Forgets all pictures. */
  reset() {
    this.features = [];
  }

  /** Probabilities of all classes after this picture; null until there are T pictures. */
  async look(picture) {
    const { num_segments: segments, image_size: size } = this.page;
    this.features.push(await this.#run(this.frame, networkInput(picture, this.page), [1, 3, size, size]));
    this.features.splice(0, this.features.length - segments);
    if (this.features.length < segments) {
      return null;
    }
    const rows = new Float32Array(this.features.flatMap((feature) => Array.from(feature)));
    const logits = await this.#run(this.head, rows, [1, segments, rows.length / segments]);
    if (!logits.every(Number.isFinite)) {
      throw new Problem("scores", "a score is NaN or infinite");
    }
    return softmax(logits);
  }

  async #run(session, values, shape) {
    const input = new this.ort.Tensor("float32", values, shape);
    const outputs = await session.run({ [session.inputNames[0]]: input });
    return outputs[session.outputNames[0]].data.slice();
  }
}
