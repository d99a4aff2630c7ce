// The page: loads the network, takes pictures from a camera or a video, shows gestures and sends events to other code.
//
// document.addEventListener("gesture", ({ detail: { label, start, end, probability } }) => ...) is called twice for each
// gesture: when it starts (`end` is null) and when it ends.

import { openCamera, pixelsOf, VideoReader, watch } from "./camera.js";
import { clock, drawBars, drawFacts, drawTable, drawTimeline, percent } from "./drawing.js";
import { EventDetector, Sampler } from "./events.js";
import { allowedThreads, loadNetwork, readPage } from "./loading.js";
import { problemSentence } from "./sentences.js";

const GAP = 2; // seconds without a picture after which a camera begins anew
const SHOWN = 30; // seconds of a camera on the timeline
const KEPT = 100; // gestures of a camera in the table

const find = (id) => document.getElementById(id);
const main = document.querySelector("main");
const parameters = new URLSearchParams(location.search);

let page; // the content of page.json
let ask; // the worker
let threads;
let run = null; // the present camera or video: {live, kind, stop, ...}, see begin

/** Shows what happens. `state` is for tests and styles. */
function say(state, sentence, share) {
  main.dataset.state = state;
  find("status").textContent = sentence;
  find("progress").hidden = share === undefined;
  if (share === null) {
    find("progress").removeAttribute("value"); // the share is not known
  } else if (share !== undefined) {
    find("progress").value = share;
  }
}

/** Shows an error; `name` is the name of the video, if the error is about one. */
function explain(error, name) {
  console.error(error);
  say("problem", problemSentence(error, name));
  main.dataset.problem = error.kind ?? "bug";
}

function headline(text, beside = "", quiet = false) {
  find("gesture").textContent = text;
  find("gesture").classList.toggle("quiet", quiet);
  find("beside").textContent = beside;
}

function enable(working) {
  find("start").disabled = !ask;
  find("start").textContent = working ? "Stop" : "Start";
  find("open").hidden = !ask;
  find("file").disabled = find("sample").disabled = working;
  find("sample").hidden = !ask || !page.sample;
}

// ------------------------------------------------------------------------------------------------------------ watching

/** A new run, which keeps nothing of the last one. */
async function begin(live) {
  await ask({ type: "reset" });
  run = {
    live,
    sampler: new Sampler(page.window / page.num_segments),
    detector: new EventDetector(page.categories, page.events, page.background),
    scorings: [],
    gestures: [],
    arrived: 0, // frames of the camera, or of the video as far as it is known
    looked: 0, // frames that the network looked at
    late: 0, // frames that were due while the network was busy
    filled: 0,
    milliseconds: [],
    delays: [],
    seconds: 0,
    stopped: false,
    stop: () => {},
  };
  find("found").hidden = false;
  find("position").hidden = live;
  delete main.dataset.problem;
  enable(true);
  return run;
}

/** Looks at a picture: probabilities become gestures, and the page shows them. */
async function look(run, picture, seconds) {
  if (run.stopped) return; // the network has perhaps been reset for the next one
  run.looked += 1;
  const { data, width, height } = picture;
  const message = { type: "look", data: data.buffer, width, height };
  const { probabilities, milliseconds } = await ask(message, [data.buffer]); // moved, not copied
  run.milliseconds.push(milliseconds);
  run.seconds = seconds;
  run.filled = Math.min(run.filled + 1, page.num_segments);
  if (!probabilities || run.stopped) return;
  const together = probabilities.reduce((sum, value, i) => sum + (run.detector.isGesture[i] ? value : 0), 0);
  run.scorings.push({ seconds, together, probabilities });
  note(run, run.detector.update(seconds, probabilities));
}

/** Takes gestures that started or ended, and tells other code. */
function note(run, changes) {
  for (const gesture of changes) {
    run.gestures = [...run.gestures.filter(({ end }) => end !== null), gesture];
    document.dispatchEvent(new CustomEvent("gesture", { detail: { ...gesture } }));
  }
  const { current } = run.detector;
  if (current && run.gestures.length) {
    run.gestures[run.gestures.length - 1] = current; // its probability has changed
  }
}

function show(run, from, to) {
  const { categories } = page;
  const last = run.scorings[run.scorings.length - 1];
  if (last) {
    drawBars(find("bars"), categories, last.probabilities);
  }
  const { scorings, gestures } = run;
  drawTimeline(find("timeline"), { categories, scorings, gestures, from, to });
  find("from").textContent = clock(from);
  find("to").textContent = clock(to);
  drawTable(find("gestures"), categories, run.live ? [...gestures].reverse() : gestures, run.live ? null : seekTo);
  showFacts(run);
  if (run.stopped) headline("Stopped", foundSentence(gestures), true);
}

function average(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function showFacts(run) {
  const facts = [
    ["Knows", page.categories.join(" · ")],
    ["Window", `${page.window} s: a gesture is named when most of it has been seen`],
    ["Runs on", `${threads === 1 ? "one thread" : `${threads} threads`} of the processor (WebAssembly)`],
  ];
  if (run && run.milliseconds.length) {
    const spent = `${average(run.milliseconds.slice(-50)).toFixed(0)} ms`;
    facts.push(["Time of the network", `${spent} a frame looked at`]);
  }
  if (run && run.arrived) {
    facts.push(["Frames looked at", `${run.looked} of ${run.arrived} (${percent(run.looked / run.arrived)})`]);
  }
  if (run && run.delays.length) {
    const delay = `${(1000 * average(run.delays.slice(-50))).toFixed(0)} ms`;
    facts.push(["Frame to answer", delay], ["Due but left out", `${run.late} because the network was busy`]);
  }
  const checked = window.isSecureContext ? "checked" : "only its size was checked, the page has no HTTPS";
  facts.push(["Model", `${page.precision}, SHA-256 ${page.frame.sha256.slice(0, 12)}… ${checked}`]);
  facts.push(["Made by", `TRN ${page.trn_version}, onnxruntime-web ${page.runtime.version}`]);
  drawFacts(find("facts"), facts);
}

function stop() {
  if (run && !run.stopped) {
    run.stopped = true;
    run.stop();
  }
}

// -------------------------------------------------------------------------------------------------------------- camera

async function startCamera() {
  const video = find("video");
  say("asking", "Waiting for the camera. Allow it if the browser asks.", null);
  let stream;
  try {
    stream = await openCamera(video, () => {
      stop();
      explain({ kind: "camera-gone" });
    });
  } catch (error) {
    explain(error);
    return;
  }
  const watched = await begin(true);
  video.hidden = false;
  video.controls = false;
  headline("Looking …", "", true);
  say("camera", `The camera runs. The first answer comes after ${page.window} s.`);
  let busy = false;
  let began = null;
  let previous = null;
  const unwatch = watch(video, async (now) => {
    if (previous !== null && now - previous > GAP && !busy) {
      note(watched, watched.detector.finish(previous - began)); // the page was hidden
      watched.sampler = new Sampler(watched.sampler.interval);
      watched.filled = 0;
      ask({ type: "reset" });
    }
    began ??= now;
    previous = now;
    watched.arrived += 1;
    const seconds = now - began;
    if (!watched.sampler.isDue(seconds)) return;
    if (busy) {
      watched.late += 1;
      return;
    }
    busy = true;
    watched.sampler.take(seconds);
    try {
      await look(watched, pixelsOf(video), seconds);
      watched.delays.push(performance.now() / 1000 - now);
      if (!watched.stopped) showLive(watched);
    } catch (error) {
      stop();
      explain(error);
    }
    busy = false;
  });
  watched.stop = () => {
    unwatch();
    stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    video.hidden = true;
    note(watched, watched.detector.finish(watched.seconds));
    show(watched, Math.max(0, watched.seconds - SHOWN), watched.seconds);
    say("ready", "The camera is off.");
    enable(false);
  };
}

function showLive(run) {
  const last = run.scorings[run.scorings.length - 1];
  const { current } = run.detector;
  if (!last) {
    say("filling", `Filling the first ${page.window} s.`, run.filled / page.num_segments);
  } else {
    say("camera", "Watching. Make a gesture in front of the camera.");
    showMoment(last, current);
  }
  run.scorings = run.scorings.filter(({ seconds }) => seconds > run.seconds - SHOWN);
  run.gestures = run.gestures.slice(-KEPT);
  run.milliseconds = run.milliseconds.slice(-500);
  run.delays = run.delays.slice(-500);
  show(run, Math.max(0, run.seconds - SHOWN), Math.max(run.seconds, page.window));
}

/** The gesture, or the likeliest class. */
function showMoment({ probabilities }, gesture) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  const likeliest = `likeliest now: ${page.categories[best]}, ${percent(probabilities[best])}`;
  if (gesture) {
    headline(gesture.label, likeliest);
  } else {
    headline("No gesture", likeliest, true);
  }
}

function foundSentence(gestures) {
  return gestures.length === 1 ? "1 gesture found" : `${gestures.length || "No"} gestures found`;
}

// --------------------------------------------------------------------------------------------------------------- video

async function openVideo(url, name) {
  const watched = await begin(false);
  watched.stop = () => {
    headline("Stopped", foundSentence(watched.gestures), true);
    say("ready", `${name}: stopped.`);
  };
  headline("Looking …", name, true);
  say("opening-video", `${name}: opening.`, null);
  const video = find("video");
  URL.revokeObjectURL(video.src);
  Object.assign(video, { src: url, controls: true, hidden: false, srcObject: null });
  let reader;
  try {
    reader = await VideoReader.open(url);
    await lookThrough(watched, reader, name);
  } catch (error) {
    stop();
    headline("No video", name, true);
    explain(error, name);
  }
  reader?.close();
  if (run === watched) enable(false); // else the next one has begun
}

/** Looks at the frames of a video that are due, as fast as the network can. */
async function lookThrough(watched, reader, name) {
  const { duration } = reader.video;
  const { sampler, detector } = watched;
  find("position").max = duration;
  for (;;) {
    const seconds = await reader.moveTo(sampler.due);
    if (seconds === null || watched.stopped) break;
    sampler.take(seconds);
    await look(watched, await reader.pixels(), seconds);
    if (watched.stopped) break;
    say("video", `${name}: ${clock(seconds)} of ${clock(duration)} looked at.`, Math.min(seconds / duration, 1));
    show(watched, 0, duration);
  }
  note(watched, detector.finish(watched.stopped ? watched.seconds : reader.last));
  if (run !== watched) return;
  watched.arrived = watched.stopped ? 0 : Math.round(reader.last / (reader.gap ?? 1 / 30)) + 1;
  show(watched, 0, duration);
  if (watched.stopped) return;
  const { gestures, scorings } = watched;
  if (!scorings.length) {
    headline("Too short", name, true);
    const needed = `${page.num_segments} pictures over ${page.window} s`;
    say("too-short", `${name}: ${clock(duration)} are too short, the network needs ${needed}. Open a longer video.`);
  } else {
    const what = `${foundSentence(gestures)} in ${clock(duration)}`;
    const names = gestures.map(({ label }) => label).join(", ");
    const several = gestures.length ? `${gestures.length} gestures` : "No gesture";
    headline(gestures.length === 1 ? gestures[0].label : several, names, !gestures.length);
    const next = gestures.length ? " Choose one to see it." : "";
    say("done", `${name}: ${what}.${next}`);
  }
  watched.stopped = true;
}

/** Plays the video from a little before a gesture was noticed, which is when most of it has been seen. */
function seekTo(seconds) {
  const video = find("video");
  video.currentTime = Math.max(seconds - page.window / 2, 0);
  video.play().catch(() => {}); // a video that the browser does not start shows the frame all the same
}

/** The gesture at the present time of the video. */
function followVideo() {
  if (!run || run.live || main.dataset.state !== "done") return;
  const now = find("video").currentTime;
  find("position").value = now;
  const past = run.scorings.filter(({ seconds }) => seconds <= now + 1e-3);
  if (past.length) {
    const scoring = past[past.length - 1];
    drawBars(find("bars"), page.categories, scoring.probabilities);
    showMoment(scoring, run.gestures.find(({ start, end }) => start <= now && now <= end));
  }
}

// --------------------------------------------------------------------------------------------------------------- start

function listen() {
  find("start").addEventListener("click", () => (run && !run.stopped ? (stop(), enable(false)) : startCamera()));
  find("file").addEventListener("change", ({ target }) => {
    const [file] = target.files;
    if (file) openVideo(URL.createObjectURL(file), file.name);
    target.value = "";
  });
  find("sample").addEventListener("click", async () => {
    try {
      const response = await fetch(page.sample);
      openVideo(URL.createObjectURL(await response.blob()), "The sample");
    } catch (error) {
      explain({ kind: "network", message: error.message });
    }
  });
  find("position").addEventListener("input", ({ target }) => (find("video").currentTime = Number(target.value)));
  find("video").addEventListener("timeupdate", followVideo);
  find("video").addEventListener("seeked", followVideo);
}

async function open() {
  const phases = {
    load: (share) => `Loading the network: ${percent(share)}.`,
    prepare: () => "Preparing the network.",
  };
  try {
    say("loading", "Loading.", null);
    page = await readPage();
    threads = allowedThreads(Number(parameters.get("threads")));
    const progress = (phase, share) => {
      if (main.dataset.state === "loading") say("loading", phases[phase](share), share); // else a file has failed
    };
    ask = await loadNetwork(page, threads, progress);
  } catch (error) {
    explain(error);
    return;
  }
  listen();
  enable(false);
  showFacts(null);
  const secure = navigator.mediaDevices ? "" : ` ${problemSentence({ kind: "insecure" })}`;
  say("ready", `Start the camera, or open a video.${secure}`);
  headline("Make a gesture", "in front of the camera", true);
  if (parameters.has("camera")) {
    startCamera();
  }
}

open();
