// Files of the page with progress and digests, and the worker that runs the network.

import { Problem } from "./network.js";

// "no-cache" asks the server whether the kept copy still holds, "no-store" keeps none.
async function fetched(path, cache = "no-cache") {
  let response;
  try {
    response = await fetch(path, { cache });
  } catch (error) {
    throw new Problem("network", `${path}: ${error.message}`);
  }
  if (!response.ok) {
    throw new Problem("missing", `${path}: HTTP ${response.status}`);
  }
  return response;
}

export async function readPage() {
  // Servers compare times in whole seconds, and a page may be made twice in one: its small index is always read anew.
  const response = await fetched("page.json", "no-store");
  try {
    return await response.json();
  } catch (error) {
    throw new Problem("damaged", `page.json: ${error.message}`);
  }
}

async function sha256(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The bytes of a file {file, bytes, sha256}; `advance` is told of each piece. Without HTTPS only the size is checked. */
async function read({ file, bytes, sha256: expected }, advance) {
  const reader = (await fetched(file)).body.getReader();
  const pieces = [];
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      pieces.push(value);
      length += value.length;
      advance(value.length);
    }
  } catch (error) {
    throw new Problem("network", `${file}: ${error.message}`);
  }
  const content = new Uint8Array(length);
  pieces.reduce((at, piece) => (content.set(piece, at), at + piece.length), 0);
  if (length !== bytes || (window.isSecureContext && (await sha256(content)) !== expected)) {
    throw new Problem("damaged", `${file}: another SHA-256 or size than page.json says`);
  }
  return content;
}

/** Threads that the browser allows: one, unless the server sends the headers that isolate the page. */
export function allowedThreads(wanted) {
  const most = window.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 4) : 1;
  return Math.max(1, Math.min(wanted || most, most));
}

/** A worker as a function from a message to its answer, one after the other. */
function startWorker() {
  // A worker that begins as a blob keeps the page's content security policy; one from a file would have none.
  const script = `import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`;
  const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });
  let last = Promise.resolve();
  const ask = (message, transfer) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        const { problem } = data;
        if (problem) reject(new Problem(problem.kind, problem.message));
        else resolve(data);
      };
      worker.onerror = (event) => reject(new Problem("runtime", event.message || "the worker did not start"));
      worker.postMessage(message, transfer);
    });
  return (message, transfer = []) => {
    const answer = last.then(() => ask(message, transfer));
    last = answer.catch(() => {});
    return answer;
  };
}

/** The worker with the network of `page`, ready; `progress` gets a phase and the share of it that is done. */
export async function loadNetwork(page, threads, progress) {
  if (typeof WebAssembly !== "object" || typeof Worker !== "function") {
    throw new Problem("wasm", "no WebAssembly");
  }
  const files = [page.runtime, page.frame, page.head];
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let loaded = 0;
  const advance = (bytes) => progress("load", (loaded += bytes) / total);
  const [runtime, frame, head] = await Promise.all(files.map((file) => read(file, advance)));
  progress("prepare", null);
  const ask = startWorker();
  const message = { type: "load", page, threads, runtime: runtime.buffer, frame, head };
  await ask(message, [runtime, frame, head].map(({ buffer }) => buffer)); // moved, not copied
  return ask;
}
