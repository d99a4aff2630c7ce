// Pixels of a picture as the network takes them. A browser scales pictures in its own way, so the resize is this one:
// Pillow's bilinear filter, with its integer weights.

const PRECISION = 22; // bits of a weight

/**
 * For each of `count` outputs from `first` on, of `outSize` in all: its first input and the integer weights.
 */
export function weights(inSize, outSize, first, count) {
  const scale = inSize / outSize;
  const support = Math.max(scale, 1);
  return Array.from({ length: count }, (_, place) => {
    const center = (first + place + 0.5) * scale;
    const begin = Math.max(Math.trunc(center - support + 0.5), 0);
    const end = Math.min(Math.trunc(center + support + 0.5), inSize);
    const values = [];
    for (let x = begin; x < end; x++) {
      values.push(Math.max(0, 1 - Math.abs((x - center + 0.5) / support)));
    }
    const sum = values.reduce((total, value) => total + value, 0);
    return { begin, values: values.map((value) => Math.floor((value / sum) * 2 ** PRECISION + 0.5)) };
  });
}

function clip8(sum) {
  return Math.min(Math.max(Math.floor(sum / 2 ** PRECISION + 0.5), 0), 255);
}

/**
 * The picture (RGBA `data`, `width`, `height`) with its shorter side scaled to R = S * 256 / 224, and of that the centre
 * S x S: Uint8Array [S, S, 3] RGB.
 */
export function centreCrop({ data, width, height }, size) {
  const target = Math.floor((size * 256) / 224);
  const shorter = Math.min(width, height);
  const [scaledWidth, scaledHeight] = [width, height].map((side) => Math.floor((target * side) / shorter));
  const [left, top] = [scaledWidth, scaledHeight].map((side) => 2 * Math.floor((side - size) / 4));
  const columns = weights(width, scaledWidth, left, size);
  const rows = weights(height, scaledHeight, top, size);
  const firstRow = rows[0].begin;
  const lastRow = rows[size - 1].begin + rows[size - 1].values.length;
  const wide = new Uint8Array((lastRow - firstRow) * size * 3);
  for (let y = firstRow, out = 0; y < lastRow; y++) {
    for (const { begin, values } of columns) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let i = 0, at = (y * width + begin) * 4 + channel; i < values.length; i++, at += 4) {
          sum += data[at] * values[i];
        }
        wide[out++] = clip8(sum);
      }
    }
  }
  const crop = new Uint8Array(size * size * 3);
  for (let y = 0, out = 0; y < size; y++) {
    const { begin, values } = rows[y];
    for (let x = 0; x < size * 3; x++) {
      let sum = 0;
      for (let i = 0; i < values.length; i++) {
        sum += wide[(begin - firstRow + i) * size * 3 + x] * values[i];
      }
      crop[out++] = clip8(sum);
    }
  }
  return crop;
}

/**
 * The network's input for a picture: Float32Array [3, S, S], (value - mean) * scale for each channel.
 */
export function networkInput(picture, { image_size: size, channel_order: order, channel_means: means, scales }) {
  const crop = centreCrop(picture, size);
  const input = new Float32Array(3 * size * size);
  for (let channel = 0; channel < 3; channel++) {
    const source = order === "BGR" ? 2 - channel : channel;
    const [mean, scale] = [Math.fround(means[channel]), Math.fround(scales[channel])];
    for (let i = 0; i < size * size; i++) {
      input[channel * size * size + i] = Math.fround(crop[i * 3 + source] - mean) * scale;
    }
  }
  return input;
}

const scaled = (value, factor) => (value * 8 * factor) >> 16;
const factor = (value) => Math.round(value * 8192);
const BLACK = 16;
// BT.601: of luma to all, of V to red and green, of U to green and blue.
const [Y_ALL, V_RED, V_GREEN, U_GREEN, U_BLUE] = [255 / 219, 1.59603, -0.81297, -0.39176, 2.01723].map(factor);

/**
 * A decoded frame of limited range, planes of 4:2:0 as the browser copies them ("I420", or "NV12" with U and V in
 * turns), as RGBA. Each term is rounded down, as FFmpeg does it, from which Python has its frames. A canvas is 1 or 2 levels brighter.
 */
export function pictureOfPlanes({ data, layout, format, width, height }) {
  const step = format === "NV12" ? 2 : 1;
  const [luma, first, second] = layout;
  const [u0, v0] = [first.offset, format === "NV12" ? first.offset + 1 : second.offset];
  const picture = new Uint8ClampedArray(width * height * 4);
  for (let y = 0, out = 0; y < height; y++) {
    const row = (y >> 1) * first.stride;
    for (let x = 0; x < width; x++, out += 4) {
      const at = row + (x >> 1) * step;
      const bright = scaled(data[luma.offset + y * luma.stride + x] - BLACK, Y_ALL);
      const [u, v] = [data[u0 + at] - 128, data[v0 + at] - 128];
      picture[out] = bright + scaled(v, V_RED);
      picture[out + 1] = bright + scaled(u, U_GREEN) + scaled(v, V_GREEN);
      picture[out + 2] = bright + scaled(u, U_BLUE);
      picture[out + 3] = 255;
    }
  }
  return { data: picture, width, height };
}
