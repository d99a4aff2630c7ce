// Chooses the frames to look at, and finds gestures that start and end, by the rules of infer.py --stream
// (src/inference/streaming.py explains them).

export const TIME_ROUNDING = 0.002; // seconds, because containers round times to milliseconds
const TOLERANCE = 1e-6; // seconds, because times are rounded sums
const FIRST_SCORING = 0.375; // seconds that the first scoring stands for
const LONGEST_SCORING = 0.75; // seconds that a scoring stands for after a gap

export function softmax(logits) {
  const largest = Math.max(...logits);
  const exponentials = Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value) => value / sum);
}

/**
 * Spaces frames in time: a frame is due once `interval` seconds have passed since the previous one was due.
 */
export class Sampler {
  constructor(interval) {
    this.interval = interval;
    this.due = -Infinity;
  }

  isDue(seconds) {
    return seconds >= this.due - TIME_ROUNDING;
  }

  /** Notes that the frame at `seconds`, which is due, is looked at. */
  take(seconds) {
    const late = seconds - this.due > this.interval;
    this.due = (late ? seconds : this.due) + this.interval;
  }
}

/**
 * Probabilities, scoring by scoring, into gestures {label, start, end, probability} that start (`end` null) and end.
 *
 * 1. A stretch begins when the classes that are no background have a probability of `on` or more together, and ends
 *    when they have less than `off`.
 * 2. In a stretch each class gathers evidence: its probability times the seconds since the scoring before.
 * 3. The gesture is the class with the most evidence. Its mean probability in the stretch must be `share` or more. It is
 *    reported as started when its evidence is `early` seconds; from then on its label is fixed.
 * 4. When the stretch ends, the gesture ends. One not reported before is reported now, if its evidence is `least`
 *    seconds or more; else the stretch shows none.
 */
export class EventDetector {
  constructor(categories, rules, background) {
    this.categories = categories;
    this.rules = rules;
    this.isGesture = categories.map((name) => !background.includes(name));
    this.current = null; // the gesture that has started and not ended
    this.began = null; // start of the stretch
    this.last = null; // time of the last scoring
    this.evidence = categories.map(() => 0);
    this.gathered = 0; // seconds of the stretch
  }

  /** Takes the probabilities of all classes at a time; returns the gestures that ended with it or started. */
  update(seconds, probabilities) {
    const passed = this.last === null ? FIRST_SCORING : Math.min(seconds - this.last, LONGEST_SCORING);
    this.last = seconds;
    const together = probabilities.reduce((sum, value, i) => sum + (this.isGesture[i] ? value : 0), 0);
    if (together < (this.began === null ? this.rules.on : this.rules.off)) {
      return this.finish(seconds);
    }
    if (this.began === null) {
      this.began = seconds;
      this.gathered = 0;
      this.evidence.fill(0);
    }
    this.evidence = this.evidence.map((sum, i) => sum + (this.isGesture[i] ? passed * probabilities[i] : 0));
    this.gathered += passed;
    if (this.current) {
      this.current = this.#gesture(this.categories.indexOf(this.current.label));
      return [];
    }
    return this.#report(this.rules.early);
  }

  /** Ends the stretch, as when the video ends; returns its gesture as ended, before as started if that is new. */
  finish(seconds) {
    const changes = this.began === null || this.current ? [] : this.#report(this.rules.least);
    if (this.current) {
      changes.push({ ...this.current, end: seconds });
    }
    this.began = this.current = null;
    return changes;
  }

  #report(least) {
    const label = this.evidence.indexOf(Math.max(...this.evidence));
    const gesture = this.#gesture(label);
    if (this.evidence[label] < least - TOLERANCE || gesture.probability < this.rules.share) {
      return [];
    }
    this.current = gesture;
    return [gesture];
  }

  #gesture(label) {
    const probability = this.evidence[label] / this.gathered;
    return { label: this.categories[label], start: this.began, end: null, probability };
  }
}
