"use strict";
const by = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const HEADERS = {"X-Llava-Faba": "1"};
let about = {models: {}, tasks: [], aus: {}}, current = null, results = [], camera = null, running = null;

function make(name, values = {}, text = null, space = null) {
  const node = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(values)) node.setAttribute(key, value);
  if (text !== null) node.textContent = text;
  return node;
}
function tell(text, wrong = false) { by("status").textContent = text; by("status").className = wrong ? "wrong" : ""; }

async function ask(path, options = {}) {
  const response = await fetch(path, {...options, headers: HEADERS});
  if (!response.ok) {
    let why = `the server answered ${response.status}`;
    try { why = (await response.json()).error || why; } catch { /* no JSON */ }
    throw new Error(why);
  }
  return response;
}
async function follow(path, options, on) {
  const reader = (await ask(path, options)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const item = JSON.parse(part.slice(6));
      if (item.error) throw new Error(item.error);
      on(item);
    }
  }
}

async function take(file) {
  if (running) running.abort();
  running = new AbortController();
  closeCamera();
  try {
    if (file.type.startsWith("video/")) await clip(file, running.signal);
    else await picture(file, running.signal);
  } catch (error) {
    if (error.name !== "AbortError") tell(error.message, true);
  }
}

async function picture(file, signal) {
  tell("Looking for faces ...");
  const found = await (await ask("api/pictures", {method: "POST", body: file, signal})).json();
  current = {...found, name: file.name || "camera"};
  by("seen").hidden = false;
  const svg = make("svg", {viewBox: `0 0 ${found.width} ${found.height}`, role: "img",
    "aria-label": `${current.name}, ${found.faces.length} faces`}, null, SVG);
  const bitmap = URL.createObjectURL(file), unit = Math.max(found.width, found.height) / 100;
  svg.append(make("image", {href: await upright(bitmap, found), width: found.width, height: found.height}, null, SVG));
  by("choose").replaceChildren();
  found.faces.forEach((face, at) => {
    svg.append(make("rect", {x: face.x, y: face.y, width: face.width, height: face.height, "data-face": at}, null, SVG));
    for (const [x, y] of face.points) svg.append(make("circle", {cx: x, cy: y, r: unit / 6}, null, SVG));
    svg.append(make("text", {x: face.x, y: Math.max(face.y - unit, 4 * unit), "font-size": 5 * unit}, String(at + 1), SVG));
    const button = make("button", {type: "button", "aria-pressed": "false", "data-face": at}, `Face ${at + 1}`);
    button.addEventListener("click", () => read(at));
    by("choose").append(button);
  });
  by("picture").replaceChildren(svg);
  tell(found.faces.length ? `${found.faces.length} found.` : "No face was found.", !found.faces.length);
  if (found.faces.length) await read(0, signal);
}
// Browsers turn pictures by their EXIF data when they draw them, as the server does.
async function upright(url, size) {
  const image = new Image();
  image.src = url;
  try { await image.decode(); } catch { return ""; }
  const canvas = make("canvas", {width: size.width, height: size.height});
  canvas.getContext("2d").drawImage(image, 0, 0, size.width, size.height);
  URL.revokeObjectURL(url);
  return canvas.toDataURL("image/jpeg", .9);
}

async function read(at, signal) {
  for (const button of by("choose").children) button.setAttribute("aria-pressed", String(button.dataset.face === String(at)));
  for (const box of by("picture").querySelectorAll("rect")) box.classList.toggle("chosen", box.dataset.face === String(at));
  by("said").hidden = false;
  by("answer-list").replaceChildren();
  const models = Object.keys(about.models).filter(key => key === "model" || by("compare").checked);
  const row = {source: current.name, face: at, ...current.faces[at]};
  try {
    for (const task of about.tasks) for (const model of models) {
      const [article, text] = card(task, model);
      tell(`Asking about ${task === "au" ? "action units" : "emotion"} ...`);
      await follow(`api/pictures/${current.id}/${at}/${task}?model=${model}`, {method: "POST", signal}, item => {
        if (item.piece) text.textContent += item.piece;
        if (item.read) { text.textContent = item.read.text; show(article, item.read); row[`${model}_${task}`] = item.read; }
      });
    }
    results = results.filter(one => !(one.source === row.source && one.face === at)).concat(row);
    tell("Done.");
  } catch (error) {
    if (error.name !== "AbortError") tell(error.message, true);
  }
}
function card(task, model) {
  const article = make("article", {"data-task": task, "data-model": model});
  const text = make("p", {class: "text"});
  article.append(make("h3", {}, `${task === "au" ? "Action units" : "Emotion"}: ${about.models[model]}`), make("div", {class: "read"}), text);
  by("answer-list").append(article);
  return [article, text];
}
function show(article, found) {
  const place = article.querySelector(".read");
  if (found.task === "emotion") place.textContent = found.emotion || "could not be read from the answer";
  else if (!found.aus) place.textContent = "could not be read from the answer";
  else if (!found.aus.length) place.textContent = "none";
  else {
    const list = make("ul");
    for (const au of found.aus) list.append(make("li", {}, `${au} ${about.aus[au] || ""}`));
    place.replaceChildren(list);
  }
  if (found.prior === "not_found") article.append(make("p", {class: "text"}, "The model's own expert found no face in the crop: read from the pixels alone."));
}

async function clip(file, signal) {
  by("seen").hidden = true; by("said").hidden = false; by("answer-list").replaceChildren();
  let count = 0;
  tell("Reading the clip ...");
  await follow("api/clips?every=0.5", {method: "POST", body: file, signal}, item => {
    const row = item.row;
    if (row.end) return tell(`Done: ${row.end}.`);
    count += 1;
    tell(`${row.time.toFixed(1)} s ...`);
    results.push({source: file.name, ...row, picture: undefined});
    const article = make("article"), aus = row.au_aus;
    article.append(make("h3", {}, `${row.time.toFixed(2)} s` + (row.face === null ? ", no face" : `, face ${row.face}`)),
      make("img", {src: row.picture, alt: `frame at ${row.time.toFixed(2)} seconds`}));
    if (row.face !== null) article.append(make("div", {class: "read"}, row.emotion_emotion || "emotion not read"),
      make("p", {class: "text"}, aus ? aus.join(" ") || "no AU" : "AUs not read"));
    by("answer-list").append(article);
  });
  if (!by("status").textContent.startsWith("Done")) tell(`Done: ${count} rows.`);
}

async function openCamera() {
  try {
    camera = await navigator.mediaDevices.getUserMedia({video: {width: 1280, height: 720}});
  } catch (error) { return tell(`The camera cannot be used: ${error.message}`, true); }
  by("live").hidden = false; by("video").srcObject = camera; await by("video").play(); by("snap").focus();
}
function closeCamera() {
  if (camera) for (const track of camera.getTracks()) track.stop();
  camera = null; by("live").hidden = true;
}
function snap() {
  const video = by("video"), canvas = make("canvas", {width: video.videoWidth, height: video.videoHeight});
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob(blob => take(new File([blob], `camera-${new Date().toISOString()}.png`, {type: "image/png"})), "image/png");
}

function save(name, text, type) {
  const link = make("a", {href: URL.createObjectURL(new Blob([text], {type})), download: name});
  link.click();
  URL.revokeObjectURL(link.href);
}
// A cell that a spreadsheet would take for a formula gets an apostrophe before it.
const cell = value => { let text = value == null ? "" : String(value); if (/^[=+\-@\t\r]/.test(text) && isNaN(text)) text = "'" + text;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text; };
function csv() {
  const names = ["source", "time", "face", "x", "y", "width", "height", "confidence", "emotion", ...Object.keys(about.aus), "au_text", "emotion_text"];
  const lines = results.map(row => {
    const au = row.model_au || (row.au_text === undefined ? {} : {aus: row.au_aus, text: row.au_text});
    const emotion = row.model_emotion || {emotion: row.emotion_emotion, text: row.emotion_text};
    const flat = {...row, emotion: emotion.emotion, au_text: au.text, emotion_text: emotion.text};
    for (const name of Object.keys(about.aus)) flat[name] = au.aus ? Number(au.aus.includes(name)) : "";
    return names.map(name => cell(flat[name])).join(",");
  });
  save("faces.csv", [names.join(","), ...lines].join("\n") + "\n", "text/csv");
}

by("file").addEventListener("change", event => { if (event.target.files[0]) take(event.target.files[0]); event.target.value = ""; });
for (const kind of ["dragover", "dragleave", "drop"]) by("drop").addEventListener(kind, event => {
  event.preventDefault();
  by("drop").classList.toggle("over", kind === "dragover");
  if (kind === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
});
by("camera").addEventListener("click", openCamera);
by("snap").addEventListener("click", snap);
by("stop").addEventListener("click", closeCamera);
by("csv").addEventListener("click", csv);
by("json").addEventListener("click", () => save("faces.json", JSON.stringify(results, null, 1), "application/json"));
by("clear").addEventListener("click", async () => {
  if (running) running.abort();
  results = []; current = null; by("seen").hidden = by("said").hidden = true;
  by("picture").replaceChildren(); by("answer-list").replaceChildren();
  try { await ask("api/pictures", {method: "DELETE"}); tell("Cleared, here and on the server."); } catch (error) { tell(error.message, true); }
});
(async () => {
  try { about = await (await ask("api/about")).json(); } catch (error) { return tell(error.message, true); }
  by("compare-line").hidden = !about.models.compare;
  by("compare-name").textContent = about.models.compare || "";
  by("about").textContent = `Model ${about.models.model}; faces by ${about.finder}; a clip's first ${about.most_frames} frames, two a second.`;
  document.body.dataset.ready = "1";
})();
