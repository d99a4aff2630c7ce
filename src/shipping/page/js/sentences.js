// A sentence for each problem, with advice.

const SENTENCES = {
  insecure: () =>
    "Browsers give the camera only to pages of HTTPS or localhost, and this page is neither. Open a video instead, or " +
    "serve the page over HTTPS.",
  "no-camera": () => "No camera was found. Connect one and press Start again, or open a video.",
  refused: () =>
    "The browser refused the camera. Allow it in the browser's settings for this page and press Start again, or open a " +
    "video.",
  "in-use": () =>
    "The camera cannot be read; perhaps another program uses it. Close that program and press Start again, or open a " +
    "video.",
  "camera-gone": () => "The camera stopped. Connect it again and press Start, or open a video.",
  wasm: () => "This browser has no WebAssembly, which the network needs. Open the page in a current browser.",
  runtime: (message) =>
    `The network does not run in this browser (${message}). It needs WebAssembly with SIMD: open the page in a current ` +
    "browser.",
  missing: (message) => `A file of the page is missing (${message}). Copy the whole folder to the server again.`,
  damaged: (message) =>
    `A file of the page is damaged or of another page (${message}). Copy the whole folder to the server again, then ` +
    "reload.",
  model: (message) => `The model file cannot be read (${message}). Make the page again with scripts/make_page.sh.`,
  classes: (message) =>
    `The model has another number of classes than page.json names (${message}). Make the page again with ` +
    "scripts/make_page.sh.",
  scores: () => "The network's scores are NaN or infinite, so it recognises nothing. Use another model.",
  network: (message) => `A file cannot be loaded (${message}). Check the connection and reload the page.`,
  video: (message, name) =>
    `${name}: this browser cannot play it (${message}). Browsers play MP4 with H.264, and WebM with VP8, VP9 or AV1; ` +
    "convert the video, or choose another.",
};

/** The sentence for an error with a `kind`, which may be about the video `name`. */
export function problemSentence({ kind, message }, name) {
  const sentence = SENTENCES[kind] ?? (() => `The page has a fault (${message}). Reload it.`);
  return sentence(message, name);
}
