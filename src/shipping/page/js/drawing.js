// Draws probabilities and gestures.

const SVG = "http://www.w3.org/2000/svg";
const SHOWN = 5; // classes

export const percent = (share) => `${(100 * share).toFixed(share > 0.995 || share < 0.1 ? 1 : 0)} %`;
export const clock = (seconds) => `${seconds.toFixed(1)} s`;

/** A colour for each class, as far apart as they can be. */
export function colourOf(categories, label) {
  return `hsl(${Math.round((360 * categories.indexOf(label)) / categories.length)} 70% 50%)`;
}

/** An element with attributes and children. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
  element.append(...children);
  return element;
}

/** The likeliest classes as bars. */
export function drawBars(list, categories, probabilities) {
  const order = categories.map((_, i) => i).sort((a, b) => probabilities[b] - probabilities[a]);
  const rows = order.slice(0, SHOWN).map((i) => {
    const row = make("li", {}, make("span", {}, categories[i]), make("span", {}, percent(probabilities[i])));
    row.style.setProperty("--share", probabilities[i]);
    return row;
  });
  list.replaceChildren(...rows);
}

/**
 * Gestures as coloured spans and the probability of all of them together as a line, from `from` to `to` seconds.
 *
 * @param scorings [{seconds, together}]
 */
export function drawTimeline(svg, { categories, scorings, gestures, from, to }) {
  const x = (seconds) => (1000 * (seconds - from)) / (to - from || 1);
  const shape = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    return element;
  };
  const spans = gestures.map(({ label, start, end }) => {
    const [left, right] = [x(start), x(end ?? to)];
    const width = Math.max(right - left, 2);
    return shape("rect", { class: "span", x: left, y: 0, width, height: 100, fill: colourOf(categories, label) });
  });
  const points = scorings.map(({ seconds, together }) => `${x(seconds).toFixed(1)},${(98 - 96 * together).toFixed(1)}`);
  svg.replaceChildren(...spans, shape("polyline", { class: "together", points: points.join(" ") }));
}

/** One row for each gesture; with `seek` its name is a button that moves the video there. */
export function drawTable(body, categories, gestures, seek) {
  const rows = gestures.map((gesture) => {
    const { label, start, end, probability } = gesture;
    const colour = make("span", { class: "colour" });
    colour.style.background = colourOf(categories, label);
    const name = seek ? make("button", { type: "button" }, colour, label) : make("span", {}, colour, label);
    if (seek) {
      name.addEventListener("click", () => seek(start));
    }
    const cells = [clock(start), end === null ? "…" : clock(end), percent(probability)];
    const row = make("tr", {}, make("td", {}, name), ...cells.map((text) => make("td", {}, text)));
    Object.assign(row.dataset, { label, start, end: end ?? "", probability });
    return row;
  });
  body.replaceChildren(...rows);
}

/** Pairs of a name and a text. */
export function drawFacts(list, facts) {
  list.replaceChildren(...facts.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
}
