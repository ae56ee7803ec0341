const [form, choice, threshold, crf, file, drop, state, result, left, right] =
  ["form", "choice", "threshold", "crf", "file", "drop", "status", "result", "left", "right"].map((id) => document.getElementById(id));
const stage = document.querySelector(".stage");
let picture = null; // the file that is looked at
let asked = 0; // only the answer to the last question counts

function choose() {
  const { threshold: first, crf: refined } = choice.selectedOptions[0].dataset;
  document.getElementById("threshold-label").hidden = first === undefined;
  document.getElementById("crf-label").hidden = refined === undefined;
  if (first !== undefined) threshold.value = first;
  document.getElementById("at").textContent = Number(threshold.value).toFixed(2);
}

function say(text, wrong = false) {
  state.textContent = text;
  state.classList.toggle("wrong", wrong);
}

function fail(text) {
  say(text, true);
  result.hidden = true;
}

async function ask() {
  if (!picture) return;
  const mine = ++asked;
  say(`looking at ${picture.name} ...`);
  const data = new FormData(form);
  if (document.getElementById("crf-label").hidden) data.delete("crf");
  data.append("image", picture);
  try {
    const reply = await fetch("predict", { method: "POST", body: data });
    const found = await reply.json().catch(() => ({ error: `the server answered ${reply.status}` }));
    if (mine !== asked) return;
    if (found.error) fail(found.error);
    else tell(found);
  } catch {
    if (mine === asked) fail("no answer: is jaxseg view still running?");
  }
}

function options(select, names, wanted) {
  const kept = names.includes(select.value) ? select.value : wanted;
  select.replaceChildren(...names.map((name) => new Option(name, name, false, name === kept)));
}

function tell({ pictures, size, legend, found, seconds }) {
  const names = Object.keys(pictures);
  stage.querySelectorAll("img").forEach((image) => image.remove());
  for (const name of names) {
    const image = Object.assign(document.createElement("img"), { src: pictures[name], alt: `${name} of ${picture.name}` });
    image.dataset.view = name;
    stage.prepend(image);
  }
  stage.style.aspectRatio = `${size[0]} / ${size[1]}`;
  stage.style.maxWidth = `calc(80vh * ${size[0] / size[1]})`;
  const refined = names.includes("with CRF");
  if (refined !== [...left.options].some((option) => option.value === "with CRF")) left.value = right.value = "";
  options(left, names, refined ? "prediction" : "image");
  options(right, names, refined ? "with CRF" : "prediction");
  show(stage, left.value, right.value);
  document.getElementById("legend").replaceChildren(...Object.entries(legend).map(([name, colour]) => {
    const item = document.createElement("li");
    const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
    swatch.style.background = colour;
    item.append(swatch, name);
    return item;
  }));
  const shares = found.length > 0 && "share" in found[0];
  document.getElementById("kind").textContent = shares ? "of the picture" : "score";
  document.getElementById("found").replaceChildren(...found.map((one) => {
    const row = document.createElement("tr");
    const name = Object.assign(document.createElement("th"), { scope: "row", textContent: one.class });
    const value = shares ? `${(100 * one.share).toFixed(1)} %` : one.score.toFixed(2);
    row.append(name, Object.assign(document.createElement("td"), { textContent: value }));
    return row;
  }));
  result.hidden = false;
  say(`${picture.name}: ${found.length} ${shares ? "classes" : "found"}, ${seconds} s`);
}

function take(files) {
  if (!files?.length) return;
  picture = files[0];
  ask();
}

compare(stage);
choose();
choice.addEventListener("change", () => { choose(); ask(); });
threshold.addEventListener("input", () => { document.getElementById("at").textContent = Number(threshold.value).toFixed(2); });
threshold.addEventListener("change", ask);
crf.addEventListener("change", ask);
file.addEventListener("change", () => take(file.files));
for (const select of [left, right]) select.addEventListener("change", () => show(stage, left.value, right.value));
form.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
document.addEventListener("dragleave", () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files));
