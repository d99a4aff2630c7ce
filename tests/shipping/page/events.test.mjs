import assert from "node:assert/strict";
import { test } from "node:test";

import { EventDetector, Sampler, softmax } from "../../../src/shipping/page/js/events.js";
import { values } from "./values.mjs";

const near = (found, expected) => assert.ok(Math.abs(found - expected) < 1e-9, `${found}, expected ${expected}`);

function sameGestures(found, expected) {
  assert.deepEqual(
    found.map(({ label, start, end }) => ({ label, start, end })),
    expected.map(({ label, start, end }) => ({ label, start, end })),
  );
  found.forEach(({ probability }, i) => near(probability, expected[i].probability));
}

for (const { name, categories, background, rules, scorings, finish } of values("events")) {
  test(name, () => {
    const detector = new EventDetector(categories, rules, background);
    for (const { seconds, probabilities, changes, current } of scorings) {
      sameGestures(detector.update(seconds, probabilities), changes);
      sameGestures(detector.current ? [detector.current] : [], current ? [current] : []);
    }
    sameGestures(detector.finish(finish.seconds), finish.changes);
    assert.equal(detector.current, null);
  });
}

for (const { name, interval, times, taken } of values("sampler")) {
  test(name, () => {
    const sampler = new Sampler(interval);
    const found = times.filter((seconds) => {
      const due = sampler.isDue(seconds);
      if (due) sampler.take(seconds);
      return due;
    });
    assert.deepEqual(found, taken);
  });
}

test("softmax", () => {
  for (const { logits, probabilities } of values("softmax")) {
    softmax(logits).forEach((value, i) => assert.ok(Math.abs(value - probabilities[i]) < 1e-6));
  }
});
