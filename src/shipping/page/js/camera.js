// Frames of a camera, as they come, and of a video file, by their own times.

import { TIME_ROUNDING } from "./events.js";
import { Problem } from "./network.js";
import { pictureOfPlanes } from "./pixels.js";

// Milliseconds that a browser may take to paint the frame of a seek: if it tells when it has, and if it does not.
const PATIENCE = 5000, PATIENCE_UNTOLD = 500;
const canvas = document.createElement("canvas");
const context = canvas.getContext("2d", { willReadFrequently: true });

/** The pixels that a video element shows: {data, width, height}, RGBA. */
export function pixelsOf(video) {
  const { videoWidth: width, videoHeight: height } = video;
  Object.assign(canvas, { width, height });
  context.drawImage(video, 0, 0);
  return { data: context.getImageData(0, 0, width, height).data, width, height };
}

const CAMERA_PROBLEMS = {
  NotFoundError: "no-camera",
  OverconstrainedError: "no-camera",
  NotAllowedError: "refused",
  SecurityError: "refused",
  NotReadableError: "in-use",
  AbortError: "in-use",
};

/** Opens the camera and shows it in `video`. `ended` is called if it goes away. */
export async function openCamera(video, ended) {
  if (!navigator.mediaDevices) {
    throw new Problem("insecure", "no navigator.mediaDevices");
  }
  const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, facingMode: "user" };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
  } catch (error) {
    throw new Problem(CAMERA_PROBLEMS[error.name] ?? "in-use", `${error.name}: ${error.message}`);
  }
  stream.getVideoTracks()[0].addEventListener("ended", ended);
  video.srcObject = stream;
  await video.play();
  return stream;
}

/** Calls `onFrame(seconds)` for each new frame of a live video until the function that it returns is called. */
export function watch(video, onFrame) {
  let handle;
  const next = (now, { captureTime }) => {
    handle = video.requestVideoFrameCallback(next);
    onFrame((captureTime ?? now) / 1000);
  };
  handle = video.requestVideoFrameCallback(next);
  return () => video.cancelVideoFrameCallback(handle);
}

function happens(video, event) {
  const listening = new AbortController();
  const { signal } = listening;
  return new Promise((resolve, reject) => {
    video.addEventListener(event, resolve, { signal });
    const fail = () => reject(new Problem("video", video.error?.message || "cannot be decoded"));
    video.addEventListener("error", fail, { signal });
  }).finally(() => listening.abort());
}

/** The frames of a video file at wanted times, in any pace: the video jumps from one to the next. */
export class VideoReader {
  static async open(url) {
    const reader = new VideoReader();
    const video = (reader.video = document.createElement("video"));
    Object.assign(video, { muted: true, preload: "auto", playsInline: true, src: url });
    await happens(video, "loadeddata");
    if (!video.videoWidth) {
      throw new Problem("video", "has no picture");
    }
    if (!Number.isFinite(video.duration)) {
      await reader.#seek(1e7); // a recording of a browser states no duration, but has an end
    }
    reader.first = await reader.#seek(0);
    reader.last = (await reader.#seek(video.duration)) - reader.first;
    return reader;
  }

  /** Moves to the first frame at `seconds` or later and returns its time; null if the video ends before. */
  async moveTo(seconds) {
    if (seconds > this.last + TIME_ROUNDING) {
      return null;
    }
    const wanted = Math.max(seconds, 0);
    let before = null;
    for (let at = wanted; ; ) {
      const time = (await this.#seek(at + this.first)) - this.first;
      if (time >= wanted - TIME_ROUNDING) {
        this.gap = before === null ? this.gap : Math.min(this.gap ?? Infinity, time - before);
        return time;
      }
      before = time;
      at = Math.max(at + 1 / 120, this.gap ? time + this.gap + TIME_ROUNDING : at + 1 / 60);
    }
  }

  /** The pixels of the present frame; the same as in Python if the browser gives the frame's planes. */
  async pixels() {
    const { frame, video } = this;
    const upright = frame && !frame.rotation && frame.visibleRect?.width === video.videoWidth;
    if (!upright || !["I420", "NV12"].includes(frame.format) || frame.colorSpace.fullRange) {
      return pixelsOf(video);
    }
    const { format, visibleRect } = frame;
    const data = new Uint8Array(frame.allocationSize());
    const layout = await frame.copyTo(data);
    const { width, height } = visibleRect;
    return pictureOfPlanes({ data, layout, format, width, height });
  }

  close() {
    this.frame?.close();
    this.video.removeAttribute("src");
    this.video.load();
  }

  /** Shows the frame at a time; returns the frame's own time, where the browser tells it. */
  async #seek(seconds) {
    const { video, time: before } = this;
    const { currentTime } = video;
    const began = performance.now();
    const tells = video.requestVideoFrameCallback && !document.hidden;
    let painted = false;
    const note = (now, { presentationTime }) => {
      painted = presentationTime >= began; // else it is the frame of an earlier seek
      if (!painted) video.requestVideoFrameCallback(note);
    };
    if (tells) video.requestVideoFrameCallback(note);
    const seeked = happens(video, "seeked");
    video.currentTime = seconds;
    await seeked;
    this.#grab();
    if (video.currentTime === currentTime) {
      return this.time; // nothing is painted
    }
    // A busy browser says "seeked" before it has painted, and gives the frame before.
    const longest = this.gap ? 1.2 * this.gap + TIME_ROUNDING : 0.1; // that a frame is shown
    const near = () => Math.abs(video.currentTime - this.time) <= longest;
    const arrived = () => near() && (!tells || (this.frame && this.time !== before));
    while (!painted && !arrived() && performance.now() - began < (tells ? PATIENCE : PATIENCE_UNTOLD)) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      this.#grab();
    }
    return this.time;
  }

  /** Takes the frame that is shown now, and its time. */
  #grab() {
    if (typeof VideoFrame !== "function") {
      this.time = this.video.currentTime;
      return;
    }
    this.frame?.close();
    this.frame = new VideoFrame(this.video);
    this.time = this.frame.timestamp / 1e6;
  }
}
